//! Programs that use too much: each does its harm without a limit, and is held by one. The amounts are small, so that a limit
//! that does not hold harms nobody.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod watching;

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use holdpoint_runtime::{Access, Error, Limit, Limits, Output, Protection, Sandbox, Stdio};
use tempfile::TempDir;
use watching::{assert_still, wait_for};

const MIB: u64 = 1 << 20;

/// A workspace on a disk: `/tmp` may be memory.
fn workspace() -> TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

/// What one test frees on the disk is room that the limit of another does not know of, and tests run in several processes and
/// for several users.
fn alone_on_the_disk() -> File {
    let place = File::open("/var/tmp").unwrap();
    place.lock().unwrap();
    place
}

fn start(workspace: &Path, limits: &Limits) -> Sandbox {
    Sandbox::builder().system().workspace(workspace, Access::ReadWrite).limits(limits.clone()).start().unwrap()
}

fn python(sandbox: &Sandbox, script: &str) -> Output {
    sandbox.command("python3").args(["-c", script]).output().unwrap()
}

/// The limits that were reached.
fn reached(sandbox: &Sandbox) -> Vec<Limit> {
    sandbox.limits_reached().into_keys().collect()
}

/// A program that prints `done` when it got everything: it does without a limit, and with it neither does nor stays unnoticed.
#[track_caller]
fn is_held(script: &str, limits: &Limits, by: Limit) {
    let _alone = matches!(by, Limit::Disk | Limit::Files).then(alone_on_the_disk);
    let place = workspace();
    let output = python(&start(place.path(), &Limits::default()), script);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.ends_with("done\n"), "it fails without a limit, so it proves nothing: {text}");
    let place = workspace();
    let sandbox = start(place.path(), limits);
    let output = python(&sandbox, script);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("done"), "it got everything: {:?}", sandbox.enforced());
    assert_eq!(reached(&sandbox), [by], "{:?} {:?}", output, sandbox.enforced());
}

/// Without a control group memory is added up every few hundredths of a second; who takes it must also hold it.
fn memory() -> Limits {
    Limits { memory: Some(96 * MIB), ..Limits::default() }
}

#[test]
fn memory_of_one_process() {
    is_held("import time; x = b'x' * (192 << 20); time.sleep(1); print('done')", &memory(), Limit::Memory);
}

#[test]
fn memory_of_many_processes() {
    let script = "
import os, time
r, w = os.pipe()
for _ in range(24):
    if os.fork() == 0:
        os.closerange(1, 3); x = b'x' * (8 << 20); os.write(w, b'.'); time.sleep(60); os._exit(0)
os.close(w)
got = 0
while got < 24: got += len(os.read(r, 24)) or 100
if os.waitpid(-1, os.WNOHANG) == (0, 0): print('done')
";
    is_held(script, &memory(), Limit::Memory);
}

#[test]
fn memory_that_is_shared() {
    let script = "
import mmap, time
m = mmap.mmap(-1, 192 << 20)
for at in range(0, 192 << 20, 1 << 20): m[at:at + (1 << 20)] = b'x' * (1 << 20)
time.sleep(1)
print('done')
";
    is_held(script, &memory(), Limit::Memory);
}

#[test]
fn memory_without_a_name_or_a_mapping() {
    let script = "
import os, time
fd = os.memfd_create('x')
for _ in range(192): os.write(fd, b'x' * (1 << 20))
time.sleep(1)
print('done')
";
    is_held(script, &memory(), Limit::Memory);
}

/// `hog()` in a process that shows little of itself: by a thread with descriptors of its own, after the first thread has ended,
/// by one that keeps its descriptors to itself.
fn in_disguise(hog: &str) -> [String; 3] {
    let prelude = format!(
        "
import array, ctypes, mmap, os, socket, threading, time
libc = ctypes.CDLL(None)
held = []
{hog}
def done(): hog(); time.sleep(1); print('done', flush=True); os._exit(0)
def apart(): libc.unshare(0x400); done()
"
    );
    let exit = libc::SYS_exit;
    [
        format!("{prelude}threading.Thread(target=apart).start(); time.sleep(60)"),
        format!("{prelude}threading.Thread(target=done).start(); libc.syscall({exit}, 0)"),
        format!("{prelude}libc.prctl(4, 0, 0, 0, 0); done()"),
    ]
}

#[test]
fn memory_in_disguise() {
    let own = "
def hog(): held.append(b'x' * (192 << 20))
";
    let unmapped = "
def hog():
    fd = os.memfd_create('x')
    for _ in range(192): os.write(fd, b'x' * (1 << 20))
";
    let on_its_way = "
import os, socket, time
pair = socket.socketpair()
for _ in range(6):
    fd = os.memfd_create('x')
    for _ in range(32): os.write(fd, b'x' * (1 << 20))
    socket.send_fds(pair[0], [b'x'], [fd]); os.close(fd)
time.sleep(1)
print('done')
";
    for script in in_disguise(own).iter().chain(&in_disguise(unmapped)).map(String::as_str).chain([on_its_way]) {
        is_held(script, &memory(), Limit::Memory);
    }
}

#[test]
fn files_in_memory() {
    for place in ["/tmp", "/dev/shm", "/var/tmp"] {
        let script = format!(
            "
with open('{place}/x', 'wb', 0) as f:
    for _ in range(192): f.write(b'x' * (1 << 20))
print('done')
"
        );
        is_held(&script, &memory(), Limit::Memory);
    }
}

/// The page cache belongs to nobody: programs that read and write much are not hogs.
#[test]
fn files_on_disk_are_not_memory() {
    let _alone = alone_on_the_disk();
    let place = workspace();
    let sandbox = start(place.path(), &memory());
    let script = "
for turn in range(2):
    with open('x', 'wb', 0) as f:
        for _ in range(192): f.write(b'x' * (1 << 20))
    with open('x', 'rb', 0) as f:
        while f.read(1 << 20): pass
print('done')
";
    assert_eq!(python(&sandbox, script).stdout, b"done\n");
    assert_eq!(reached(&sandbox), []);
}

#[test]
fn processes_and_threads() {
    let bomb = "
import os, time
made = 0
try:
    while made < 900:
        if os.fork() == 0: os.closerange(1, 3); time.sleep(60); os._exit(0)
        made += 1
except OSError: pass
print(made >= 900)
";
    let threads = "
import threading, time
made = 0
try:
    while made < 900:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        made += 1
except RuntimeError: pass
print(made >= 900, flush=True)
";
    for script in [bomb, threads] {
        for (pids, all) in [(None, "True\n"), (Some(320), "False\n")] {
            let place = workspace();
            let sandbox = start(place.path(), &Limits { pids, ..Limits::default() });
            assert_eq!(String::from_utf8(python(&sandbox, script).stdout).unwrap(), all, "{:?}", sandbox.enforced());
        }
    }
}

#[test]
fn fewer_processes_than_a_namespace_can_count() {
    let place = workspace();
    let limits = Limits { pids: Some(20), ..Limits::default() };
    let sandbox = start(place.path(), &limits);
    let script = "
import os, time
made = 0
try:
    while made < 100:
        if os.fork() == 0: os.closerange(1, 3); time.sleep(60); os._exit(0)
        made += 1
except OSError: pass
print(made)
";
    let made: u64 = String::from_utf8(python(&sandbox, script).stdout).unwrap().trim().parse().unwrap();
    let said = sandbox.enforced().protections.iter().find(|line| line.protection == Protection::ProcessLimit).unwrap();
    if said.detail.starts_with("20 ") {
        assert!(made < 20, "{made}");
    }
    if said.detail.contains("control group") {
        assert_eq!(reached(&sandbox), [Limit::Pids]);
    }
}

fn disk() -> Limits {
    Limits { disk: Some(64 * MIB), ..Limits::default() }
}

#[test]
fn disk_that_is_written() {
    let many = "
import os
for i in range(48):
    with open(f'x{i}', 'wb', 0) as f:
        for _ in range(8): f.write(b'x' * (1 << 20))
print('done')
";
    is_held(many, &disk(), Limit::Disk);
}

#[test]
fn disk_that_is_taken_without_writing() {
    // glibc writes where the kernel has no fallocate(2).
    let allocated = "
import os
for i in range(8):
    fd = os.open(f'x{i}', os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 48 << 20)
print('done')
";
    is_held(allocated, &disk(), Limit::Disk);
    let mapped = "
import mmap, os
for i in range(8):
    fd = os.open(f'x{i}', os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 48 << 20)
    m = mmap.mmap(fd, 48 << 20)
    for at in range(0, 48 << 20, 4096): m[at] = 1
print('done')
";
    is_held(mapped, &disk(), Limit::Disk);
}

#[test]
fn disk_that_nobody_can_find() {
    let unlinked = "
import os
held = []
for i in range(8):
    fd = os.open('x', os.O_CREAT | os.O_RDWR); os.unlink('x'); held.append(fd)
    for _ in range(48): os.write(fd, b'x' * (1 << 20))
print('done')
";
    is_held(unlinked, &disk(), Limit::Disk);
    let on_its_way = "
import os, socket, array
a, b = socket.socketpair()
for i in range(8):
    fd = os.open('x', os.O_CREAT | os.O_RDWR); os.unlink('x')
    socket.send_fds(a, [b'x'], [fd])
    for _ in range(48): os.write(fd, b'x' * (1 << 20))
    os.close(fd)
print('done')
";
    is_held(on_its_way, &disk(), Limit::Disk);
    let closed = "
import os
for i in range(8):
    os.mkdir(f'd{i}')
    with open(f'd{i}/x', 'wb', 0) as f:
        os.chmod(f'd{i}', 0)
        for _ in range(48): f.write(b'x' * (1 << 20))
print('done')
";
    is_held(closed, &disk(), Limit::Disk);
    let deep = "
import os
fd = os.open('.', os.O_RDONLY)
for _ in range(22):
    os.mkdir('d' * 200, dir_fd=fd); fd = os.open('d' * 200, os.O_RDONLY, dir_fd=fd)
for i in range(8):
    f = os.open(f'x{i}', os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    for _ in range(48): os.write(f, b'x' * (1 << 20))
print('done')
";
    is_held(deep, &disk(), Limit::Disk);
}

#[test]
fn disk_in_disguise() {
    let open = "
def hog():
    for i in range(8):
        fd = os.open('x', os.O_CREAT | os.O_RDWR); os.unlink('x'); held.append(fd)
        for _ in range(48): os.write(fd, b'x' * (1 << 20))
";
    // One page of each is mapped, beside a file whose name is no text.
    let mapped = "
def kept(name, size):
    fd = os.open(name, os.O_CREAT | os.O_RDWR); os.unlink(name)
    for _ in range(size): os.write(fd, b'x' * (1 << 20))
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap(None, 4096, 3, 1, fd, ctypes.c_long(0)); os.close(fd)
def hog():
    kept(b'\\xff\\xfe', 1)
    for i in range(8): kept('x', 48)
";
    for script in in_disguise(open).iter().chain(&in_disguise(mapped)) {
        is_held(script, &disk(), Limit::Disk);
    }
}

/// A program that was replaced while it runs is nothing hidden, and neither is a process that nobody has waited for.
#[test]
fn the_disk_of_others_does_not_count_beside_a_program_that_was_replaced() {
    let _alone = alone_on_the_disk();
    let place = workspace();
    let sandbox = start(place.path(), &disk());
    let script = "
import os, subprocess, sys
subprocess.run(['cp', '/bin/sleep', 'program'])
running, ended = subprocess.Popen(['./program', '60']), os.fork() or os._exit(0)
os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
os.unlink('program')
print('ready', flush=True)
sys.stdin.read()
sys.exit(1)
";
    let mut command = sandbox.command("python3");
    let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    let other = workspace();
    fs::write(other.path().join("x"), vec![1; 80 << 20]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(reached(&sandbox), []);
}

#[test]
fn one_file_is_no_larger_than_the_disk() {
    let place = workspace();
    let sandbox = start(place.path(), &disk());
    let status = sandbox.command("sh").args(["-c", "exec truncate -s 65M x"]).status().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGXFSZ));
    assert_eq!(
        start(place.path(), &Limits::default()).command("truncate").args(["-s", "65M", "x"]).status().unwrap().code(),
        Some(0)
    );
}

#[test]
fn the_calls_that_take_disk_at_once_are_refused() {
    // FS_IOC_RESVSP64 with a struct space_resv of one megabyte.
    let script = "
import ctypes, fcntl, os, struct
fd = os.open('x', os.O_CREAT | os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
print([ctypes.get_errno() if libc.fallocate(fd, mode, 0, 1 << 20) else 0 for mode in (0, 1, 3)])
try: fcntl.ioctl(fd, 0x4030582a, struct.pack('hhqqiI4i', 0, 0, 0, 1 << 20, 0, 0, 0, 0, 0, 0)); print('reserved')
except OSError as error: print(error.errno)
";
    let place = workspace();
    let output = |limits: &Limits| String::from_utf8(python(&start(place.path(), limits), script).stdout).unwrap();
    assert_eq!(output(&Limits::default()), "[0, 0, 0]\nreserved\n");
    assert_eq!(output(&disk()), "[95, 95, 0]\n95\n");
}

/// What others write to the same disk is not the sandbox's, nor is what was there before.
#[test]
fn the_disk_of_others_does_not_count() {
    let _alone = alone_on_the_disk();
    let place = workspace();
    fs::write(place.path().join("before"), vec![1; 100 << 20]).unwrap();
    let sandbox = start(place.path(), &disk());
    let elsewhere = workspace();
    let mut child = sandbox.command("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    fs::write(elsewhere.path().join("x"), vec![1; 200 << 20]).unwrap();
    let output = python(&sandbox, "open('x', 'wb').write(b'x' * (40 << 20)); print('done')");
    assert_eq!(output.stdout, b"done\n");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(reached(&sandbox), []);
}

#[test]
fn files() {
    let script = "
import os
os.mkdir('many')
for i in range(20000): os.close(os.open(f'many/{i}', os.O_CREAT | os.O_WRONLY))
print('done')
";
    is_held(script, &Limits { files: Some(4000), ..Limits::default() }, Limit::Files);
}

#[test]
fn private_files() {
    let script = "
import os, sys
made = 0
try:
    for i in range(20000): os.close(os.open(sys.argv[1] + f'/{i}', os.O_CREAT | os.O_WRONLY)); made += 1
except OSError as error: pass
print(made)
";
    for (limits, held) in [(Limits::default(), false), (Limits { files: Some(4000), ..Limits::default() }, true)] {
        let place = workspace();
        let sandbox = start(place.path(), &limits);
        for directory in ["/tmp", "/var/tmp", "/dev/shm"] {
            let output = sandbox.command("python3").args(["-c", script, directory]).output().unwrap();
            let made: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
            assert_eq!(made < 4000, held, "{directory}: {made}");
        }
        assert_eq!(reached(&sandbox), []);
    }
}

fn output_limit() -> Limits {
    Limits { output: Some(MIB), ..Limits::default() }
}

#[test]
fn output() {
    let flood = "head -c 16777216 /dev/zero; head -c 16777216 /dev/zero >&2";
    let place = workspace();
    let all = start(place.path(), &Limits::default()).command("sh").args(["-c", flood]).output().unwrap();
    assert_eq!(all.stdout.len() + all.stderr.len(), 32 << 20);
    let sandbox = start(place.path(), &output_limit());
    for flood in [flood, "yes", "yes >&2", "yes & yes >&2"] {
        let output = sandbox.command("sh").args(["-c", flood]).output().unwrap();
        assert!(!output.status.success(), "{flood}");
        assert_eq!(output.stdout.len() + output.stderr.len(), 1 << 20, "{flood}");
    }
    assert_eq!(reached(&sandbox), [Limit::Output]);
}

#[test]
fn output_into_a_file_of_the_caller() {
    let place = workspace();
    let sandbox = start(place.path(), &output_limit());
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = sandbox.command("yes");
    assert_eq!(command.stdout(file.reopen().unwrap()).status().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(file.as_file().metadata().unwrap().len(), MIB);
    // A command that stays below has written everything when it has ended.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = sandbox.command("sh");
    command.args(["-c", "head -c 1000000 /dev/zero; echo end"]).stdout(file.reopen().unwrap()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    assert!(fs::read(file.path()).unwrap().ends_with(b"end\n"));
}

#[test]
fn output_is_passed_on_as_it_comes() {
    let place = workspace();
    let sandbox = start(place.path(), &output_limit());
    let mut command = sandbox.command("sh");
    command.args(["-c", "echo first; read line; echo $line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut first = [0; 6];
    stdout.read_exact(&mut first).unwrap();
    std::io::Write::write_all(&mut stdin, b"second\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((&first, rest.as_str()), (b"first\n", "second\n"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn time_of_a_command() {
    let place = workspace();
    let limits = Limits { wall_time: Some(Duration::from_secs(2)), ..Limits::default() };
    let sandbox = start(place.path(), &limits);
    assert!(sandbox.command("true").status().unwrap().success());
    assert_eq!(reached(&sandbox), []);
    let on = "while :; do echo x >> beat; sleep 0.01; done";
    let script = format!("trap '' HUP INT TERM; setsid sh -c '{on}' & wait");
    assert_eq!(sandbox.command("sh").args(["-c", &script]).status().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(reached(&sandbox), [Limit::WallTime]);
    assert_still(&place.path().join("beat"));
    assert!(sandbox.command("true").status().unwrap().success(), "each command has its own time");
}

/// What `/proc` says of a process: its name may be any bytes, and its first thread may have ended while others go on.
#[test]
fn time_of_what_does_not_look_like_a_process() {
    let prelude = "
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
def rename(): libc.prctl(15, b'\\xff\\xfe')
def beat():
    while True:
        with open('beat', 'a') as file: file.write('x')
        time.sleep(.01)
";
    let named = "
if os.fork() == 0: rename(); beat()
";
    let below = "
if os.fork() == 0:
    rename()
    if os.fork() == 0: os.setsid(); beat()
    os.wait()
";
    let headless = format!(
        "
if os.fork() == 0:
    threading.Thread(target=beat).start()
    libc.syscall({}, 0)
",
        libc::SYS_exit
    );
    let limits = Limits { wall_time: Some(Duration::from_secs(2)), ..Limits::default() };
    for script in [named, below, &headless] {
        let place = workspace();
        let sandbox = start(place.path(), &limits);
        let script = format!("{prelude}{script}os.wait()");
        let output = python(&sandbox, &script);
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{script}{output:?}");
        assert_still(&place.path().join("beat"));
    }
}

#[test]
fn time_of_a_processor() {
    let place = workspace();
    let limits = Limits { cpu_time: Some(Duration::from_secs(1)), ..Limits::default() };
    let sandbox = start(place.path(), &limits);
    let spin = |prefix: &str| {
        let script = format!("{prefix} while :; do :; done");
        sandbox.command("sh").args(["-c", &script]).status().unwrap().signal()
    };
    assert_eq!(spin(""), Some(libc::SIGXCPU));
    assert_eq!(spin("trap '' XCPU;"), Some(libc::SIGKILL));
}

#[test]
fn open_files() {
    let script = "
import os
held = []
try:
    while len(held) < 900: held.append(os.dup(0))
except OSError as error: pass
print(len(held) >= 900)
";
    for (open_files, all) in [(None, "True\n"), (Some(64), "False\n")] {
        let place = workspace();
        let sandbox = start(place.path(), &Limits { open_files, ..Limits::default() });
        assert_eq!(String::from_utf8(python(&sandbox, script).stdout).unwrap(), all);
    }
}

/// Pid 1 needs more descriptors than its commands may have.
#[test]
fn few_open_files_are_those_of_commands() {
    let place = workspace();
    let sandbox = start(place.path(), &Limits { open_files: Some(4), ..Limits::default() });
    let script = "(ulimit -n 5) 2>/dev/null; sh -c 'ulimit -Hn'; ulimit -n; exit 7";
    for _ in 0..3 {
        let output = sandbox.command("sh").args(["-c", script]).output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(7), "4\n4\n"));
    }
    let said = sandbox.command("sh").args(["-c", "ulimit -n"]).open_files(20).output().unwrap();
    assert_eq!(said.stdout, b"4\n", "a command has no more than its sandbox");
}

/// Only a limit of one keeps the kernel from starting a handler of core dumps on the host (core(5)).
#[test]
fn core_dumps() {
    let place = workspace();
    let sandbox = start(place.path(), &Limits::default());
    let limit = python(&sandbox, "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))");
    assert_eq!(limit.stdout, b"(1, 1)\n");
    assert_eq!(sandbox.command("sh").args(["-c", "kill -SEGV $$"]).status().unwrap().signal(), Some(libc::SIGSEGV));
    let mut names = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().starts_with("core")));
}

#[test]
fn processors_are_shared_by_a_control_group_or_not_at_all() {
    let place = workspace();
    let limits = Limits { milli_cpus: Some(500), ..Limits::default() };
    let mut builder = Sandbox::builder();
    builder.system().workspace(place.path(), Access::ReadWrite).limits(limits);
    match builder.start() {
        Ok(sandbox) => {
            let group = groups_of(process::id()).into_iter().find(|group| {
                let is = |file: &str, text: &str| {
                    fs::read_to_string(group.join(file)).is_ok_and(|found| found.trim() == text)
                };
                is("cpu.max", "50000 100000") || is("cpu.cfs_quota_us", "50000")
            });
            let group = group.expect("a group has the share");
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap();
            assert!(!members.is_empty(), "pid 1 is in it");
            // Nothing inside sees where it is, or a file system of groups.
            let seen = sandbox.command("sh").args(["-c", "cat /proc/self/cgroup; ls -d /sys/fs"]).output().unwrap();
            let text = String::from_utf8(seen.stdout).unwrap();
            assert!(!text.contains("holdpoint") && !text.contains("/sys"), "{text}");
            drop(sandbox);
            assert!(!group.exists());
        }
        Err(Error::Unsupported { protection: Protection::CpuLimit, .. }) => {
            let sandbox = builder.allow_missing(Protection::CpuLimit).start().unwrap();
            let line = |line: &&holdpoint_runtime::Applied| line.protection == Protection::CpuLimit;
            assert!(!sandbox.enforced().protections.iter().find(line).unwrap().holds);
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Of which some are held by control groups, where there are any.
fn owned() -> Limits {
    Limits { memory: Some(256 * MIB), pids: Some(100), disk: Some(MIB), ..Limits::default() }
}

/// Runs in a process of its own: see the next tests.
#[test]
fn owner() {
    let Some(workspace) = env::var_os("OWNED_WORKSPACE") else { return };
    let sandbox = start(Path::new(&workspace), &owned());
    let script = "touch ready; while [ ! -e enough ]; do sleep 0.01; done";
    sandbox.command("sh").args(["-c", script]).status().unwrap();
}

#[test]
fn an_owner_leaves_no_group_behind_however_it_ends() {
    for killed in [true, false] {
        let place = workspace();
        let mut owner = start_owner(place.path());
        if killed {
            owner.kill().unwrap();
        } else {
            fs::write(place.path().join("enough"), "").unwrap();
        }
        owner.wait().unwrap();
        wait_for(|| groups_of(owner.id()).is_empty());
        wait_for(|| {
            fs::read_dir(place.path())
                .unwrap()
                .all(|entry| !entry.unwrap().file_name().as_encoded_bytes().starts_with(b"."))
        });
    }
}

#[test]
fn groups_that_nobody_is_left_to_remove_go_with_a_later_start() {
    let place = workspace();
    let mut owner = start_owner(place.path());
    if !groups_of(owner.id()).is_empty() {
        wait_for(|| sweeper_of(owner.id()).is_some());
        nix::sys::signal::kill(sweeper_of(owner.id()).unwrap(), nix::sys::signal::SIGKILL).unwrap();
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    let next = workspace();
    wait_for(|| {
        drop(start(next.path(), &owned()));
        groups_of(owner.id()).is_empty()
    });
}

/// Starts `owner`, and waits until its command runs.
fn start_owner(workspace: &Path) -> process::Child {
    let owner = process::Command::new(env::current_exe().unwrap())
        .args(["--exact", "owner", "--test-threads=1"])
        .env("OWNED_WORKSPACE", workspace)
        .stdout(process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| workspace.join("ready").exists());
    owner
}

/// Who removes what an owner cannot.
fn sweeper_of(owner: u32) -> Option<nix::unistd::Pid> {
    let tasks = fs::read_dir(format!("/proc/{owner}/task")).unwrap().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: String = children.collect();
    let is_sweeper =
        |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sweeper"));
    let found = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).find(is_sweeper);
    found.map(nix::unistd::Pid::from_raw)
}

/// The control groups that sandboxes of a process have made.
fn groups_of(owner: u32) -> Vec<PathBuf> {
    let prefix = format!("holdpoint-{owner}-");
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found
}

/// A bound on all programs of a user together: who takes all of it keeps others from watching, the next sandbox's guard too.
#[test]
fn what_watches_files_is_left_to_others() {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap();
    let most: u64 = read("max_user_instances").trim().parse().unwrap();
    let place = workspace();
    let sandbox = start(place.path(), &Limits::default());
    let script = "
import ctypes, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
libc, taken = ctypes.CDLL(None, use_errno=True), 0
while taken < 100000 and libc.inotify_init1(0) >= 0: taken += 1
print(taken, ctypes.get_errno(), flush=True)
import time; time.sleep(60)
";
    let mut command = sandbox.command("python3");
    let mut child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (taken, errno) = line.trim().split_once(' ').unwrap();
    assert_eq!(errno, "24");
    let taken: u64 = taken.parse().unwrap();
    assert!(taken > 0 && taken <= most / 2, "{taken} of {most}");
    drop(start(workspace().path(), &Limits::default()));
    child.kill().unwrap();
}
