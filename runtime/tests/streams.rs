//! What a command can do with its standard streams beyond reading and writing: a descriptor of the caller's lies on the caller's
//! mounts and in the caller's network. Each attack is shown to work without a sandbox, and to fail in one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod watching;

use nix::pty::{OpenptyResult, openpty};
use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::PathBuf,
    process,
    sync::mpsc,
    thread,
    time::Duration,
};

use holdpoint_runtime::{Access, Child, Error, Sandbox, Stdio};
use watching::wait_for;

struct Scene {
    sandbox: Sandbox,
    workspace: tempfile::TempDir,
}

/// A script's three streams; `None` for one that leads nowhere.
type Streams = [Option<OwnedFd>; 3];

impl Scene {
    fn new(access: Access) -> Self {
        let workspace = tempfile::tempdir().unwrap();
        fs::write(workspace.path().join("AGENTS.md"), "rules\n").unwrap();
        fs::write(workspace.path().join("lines"), "one\ntwo\nthree\n").unwrap();
        let sandbox = Sandbox::builder().system().workspace(workspace.path(), access).start().unwrap();
        Self { sandbox, workspace }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workspace.path().join(name)
    }

    fn open(&self, name: &str) -> OwnedFd {
        File::open(self.path(name)).unwrap().into()
    }

    fn create(&self, name: &str) -> OwnedFd {
        File::create(self.path(name)).unwrap().into()
    }

    fn spawn(&self, script: &str, streams: Streams) -> Result<Child, Error> {
        let [input, output, error] = streams.map(|stream| stream.map_or_else(Stdio::null, Stdio::from));
        let mut command = self.sandbox.command("sh");
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin").stdin(input).stdout(output).stderr(error).spawn()
    }

    fn inside(&self, script: &str, streams: Streams) {
        self.spawn(script, streams).unwrap().wait().unwrap();
    }

    fn bare(script: &str, streams: Streams) {
        let [input, output, error] =
            streams.map(|stream| stream.map_or_else(process::Stdio::null, process::Stdio::from));
        let mut command = process::Command::new("sh");
        command.args(["-c", script]).stdin(input).stdout(output).stderr(error).status().unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        self.path(name).metadata().unwrap().permissions().mode() & 0o7777
    }
}

#[test]
fn a_file_that_is_read_is_not_opened_again_to_be_written() {
    let script = "echo evil >> /proc/self/fd/0; chmod 777 /proc/self/fd/0; touch -d 2001-01-01 /proc/self/fd/0";
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let scene = Scene::new(access);
        let before = scene.path("AGENTS.md").metadata().unwrap().modified().unwrap();
        scene.inside(script, [Some(scene.open("AGENTS.md")), None, None]);
        assert_eq!((scene.text("AGENTS.md").as_str(), scene.mode("AGENTS.md") & 0o22), ("rules\n", 0));
        assert_eq!(scene.path("AGENTS.md").metadata().unwrap().modified().unwrap(), before);
        Scene::bare(script, [Some(scene.open("AGENTS.md")), None, None]);
        assert_eq!((scene.text("AGENTS.md").as_str(), scene.mode("AGENTS.md")), ("rules\nevil\n", 0o777));
    }
}

#[test]
fn a_log_that_is_written_is_neither_cut_nor_made_setuid() {
    // Writing takes the bit away again, so it comes last.
    let script = ": > /proc/self/fd/1; echo more; chmod 4755 /proc/self/fd/1";
    let scene = Scene::new(Access::ReadOnly);
    let log = || Some(OpenOptions::new().append(true).open(scene.path("lines")).unwrap().into());
    scene.inside(script, [None, log(), None]);
    assert_eq!((scene.text("lines").as_str(), scene.mode("lines") & 0o4000), ("one\ntwo\nthree\nmore\n", 0));
    Scene::bare(script, [None, log(), None]);
    assert_eq!((scene.text("lines").as_str(), scene.mode("lines")), ("more\n", 0o4755));
}

#[test]
fn a_log_that_is_written_is_not_read() {
    let scene = Scene::new(Access::ReadWrite);
    let log = || Some(OpenOptions::new().read(true).append(true).open(scene.path("lines")).unwrap().into());
    let script = "exec 3>&1; timeout 1 cat /proc/self/fd/3 > seen";
    scene.inside(script, [None, log(), None]);
    assert_eq!(scene.text("seen"), "");
    let bare = script.replace("seen", scene.path("seen").to_str().unwrap());
    Scene::bare(&bare, [None, log(), None]);
    assert_eq!(scene.text("seen"), "one\ntwo\nthree\n");
}

#[test]
fn a_directory_as_a_stream_is_refused() {
    let scene = Scene::new(Access::ReadWrite);
    for path in [scene.workspace.path().to_owned(), "/".into()] {
        let directory = || Some(File::open(&path).unwrap().into());
        for streams in [[directory(), None, None], [None, directory(), None], [None, None, directory()]] {
            let refused = scene.spawn("true", streams).unwrap_err();
            assert!(refused.to_string().contains("the host's files"), "{refused}");
        }
    }
    let out = scene.create("out");
    Scene::bare(
        "cat /proc/self/fd/0/AGENTS.md",
        [Some(File::open(scene.workspace.path()).unwrap().into()), Some(out), None],
    );
    assert_eq!(scene.text("out"), "rules\n");
}

#[test]
fn the_null_device_is_the_sandboxes_own() {
    let scene = Scene::new(Access::ReadWrite);
    let null = || Some(OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into());
    let script = "readlink /proc/self/fd/0 > /proc/self/cwd/name; touch -c -d 2001-01-01 /proc/self/fd/0 && echo touched > touched";
    scene.inside(script, [null(), null(), null()]);
    assert_eq!(scene.text("name"), "/dev/null\n");
    assert!(!scene.path("touched").exists());
}

/// Somebody who listens on the host, and a connection of somebody else's.
fn connection() -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (listener, client, server)
}

#[test]
fn a_socket_as_a_stream_is_not_connected_anew() {
    let scene = Scene::new(Access::ReadWrite);
    let attack = |port: u16| {
        format!(
            "/usr/bin/python3 -c 'import ctypes,socket,struct
ctypes.CDLL(None).connect(0, struct.pack(\"H14x\", 0), 16)
socket.socket(fileno=0).connect((\"127.0.0.1\", {port}))'"
        )
    };
    for sandboxed in [true, false] {
        let (listener, _client, server) = connection();
        let script = attack(listener.local_addr().unwrap().port());
        listener.set_nonblocking(true).unwrap();
        let streams = [Some(server.into()), None, None];
        if sandboxed {
            scene.inside(&script, streams)
        } else {
            Scene::bare(&script, streams)
        }
        assert_eq!(listener.accept().is_err(), sandboxed);
    }
}

#[test]
fn a_socket_is_read_and_written_as_it_comes() {
    let scene = Scene::new(Access::ReadWrite);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let output = theirs.try_clone().unwrap();
    let mut child = scene
        .spawn(
            "read a; echo got $a; read b; echo and $b; echo last >&2",
            [Some(theirs.into()), Some(output.try_clone().unwrap().into()), Some(output.into())],
        )
        .unwrap();
    let mut answer = [0; 64];
    ours.write_all(b"this\n").unwrap();
    let length = ours.read(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"got this\n");
    ours.write_all(b"that\n").unwrap();
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    ours.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "and that\nlast\n");
}

#[test]
fn whoever_shares_a_file_goes_on_where_the_command_stopped() {
    let scene = Scene::new(Access::ReadWrite);
    let mut file = File::open(scene.path("lines")).unwrap();
    let shared = |file: &File| [Some(file.try_clone().unwrap().into()), None, None];
    scene.inside("true", shared(&file));
    assert_eq!(file.stream_position().unwrap(), 0);
    scene.inside("read line", shared(&file));
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\nthree\n");
    scene.inside("cat", shared(&file));
    assert_eq!(file.stream_position().unwrap(), 14);
}

#[test]
fn a_command_ends_though_its_input_is_held_open_or_filled() {
    let scene = Scene::new(Access::ReadWrite);
    for (left_behind, rest) in [("sleep 300", Some("two\nthree\n")), ("while echo more; do :; done >&3", None)] {
        let mut file = File::open(scene.path("lines")).unwrap();
        let script = format!("exec 3<>/proc/self/fd/0; read line; ({left_behind}) & exit 7");
        let mut child = scene.spawn(&script, [Some(file.try_clone().unwrap().into()), None, None]).unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(child.wait().unwrap().code()));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(Some(7)), "{left_behind}");
        if let Some(rest) = rest {
            let mut read = String::new();
            file.read_to_string(&mut read).unwrap();
            assert_eq!(read, rest);
        }
    }
}

#[test]
fn everything_arrives_and_in_order() {
    let scene = Scene::new(Access::ReadWrite);
    let many: Vec<u8> = (0..3_000_000_u32).flat_map(|number| [(number % 251) as u8, (number >> 16) as u8]).collect();
    fs::write(scene.path("many"), &many).unwrap();
    scene.inside("cat", [Some(scene.open("many")), Some(scene.create("copy")), None]);
    assert!(fs::read(scene.path("copy")).unwrap() == many);
    let both = scene.create("both");
    let error = both.try_clone().unwrap();
    scene.inside("echo 1; echo 2 >&2; echo 3; echo 4 >&2", [None, Some(both), Some(error)]);
    assert_eq!(scene.text("both"), "1\n2\n3\n4\n");
}

#[test]
fn what_cannot_be_written_is_said_and_how_the_command_ended_too() {
    let scene = Scene::new(Access::ReadWrite);
    // A file that was opened to be read takes nothing, as a full disk.
    let mut child = scene.spawn("echo lost", [None, Some(scene.open("lines")), None]).unwrap();
    let lost = child.wait().unwrap_err();
    assert!(lost.to_string().contains("could not write what the command printed"), "{lost}");
    child.wait().unwrap();
    assert_eq!(scene.text("lines"), "one\ntwo\nthree\n");
}

/// What a shell reads on with may be its script.
#[test]
fn a_pipe_that_is_lent_is_not_written_and_keeps_what_nobody_read() {
    let lines = "one\ntwo\nthree\n";
    let write = "echo evil > /proc/self/fd/0";
    let rest = |run: &dyn Fn(OwnedFd)| {
        let (mut read, mut written) = io::pipe().unwrap();
        written.write_all(lines.as_bytes()).unwrap();
        run(read.try_clone().unwrap().into());
        drop(written);
        let mut rest = String::new();
        read.read_to_string(&mut rest).unwrap();
        rest
    };
    let scene = Scene::new(Access::ReadWrite);
    let inside = |script: &str, input: OwnedFd| {
        let mut command = scene.sandbox.command("sh");
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin").stdin(input).spawn().unwrap().wait().unwrap();
    };
    assert!(rest(&|input| Scene::bare(write, [Some(input), None, None])).contains("evil"));
    assert_eq!(rest(&|input| inside(write, input)), lines);
    assert_eq!(rest(&|input| inside("head -c 4 > read", input)), "two\nthree\n");
    assert_eq!(scene.text("read"), "one\n");
    assert_eq!(rest(&|input| inside("exit 0", input)), lines);
}

/// Full of what the command has written itself, its own pipe takes nothing more.
#[test]
fn nobody_waits_for_room_in_a_pipe_that_the_command_has_filled() {
    let scene = Scene::new(Access::ReadWrite);
    let (mut read, mut written) = io::pipe().unwrap();
    let fill = "dd if=/dev/zero of=/proc/$$/fd/0 oflag=nonblock bs=4096 count=2 2> /dev/null; touch full; sleep 0.5";
    let mut child = scene.spawn(fill, [Some(read.try_clone().unwrap().into()), None, None]).unwrap();
    wait_for(|| scene.path("full").exists());
    written.write_all(b"late\n").unwrap();
    drop(written);
    child.wait().unwrap();
    let mut rest = String::new();
    read.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "late\n");
}

#[test]
fn all_of_a_pipe_that_is_lent_arrives_and_its_end_too() {
    let scene = Scene::new(Access::ReadWrite);
    let (read, mut written) = io::pipe().unwrap();
    let all: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let sent = all.clone();
    let writer = thread::spawn(move || sent.chunks(1000).for_each(|chunk| written.write_all(chunk).unwrap()));
    let mut command = scene.sandbox.command("cat");
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::from(read)).stdout(Stdio::from(scene.create("copy")));
    command.spawn().unwrap().wait().unwrap();
    writer.join().unwrap();
    assert!(fs::read(scene.path("copy")).unwrap() == all);
}

/// What is typed at a terminal that a command was given to print to is for others.
#[test]
fn a_terminal_that_is_printed_to_is_not_read() {
    let script = "for way in '<&2' '< /proc/self/fd/2' '<> /proc/self/fd/2'; do eval \"timeout 5 head -n 1 $way\"; done > read; \
                  test -t 2 && echo printed >&2";
    for sandboxed in [false, true] {
        let scene = Scene::new(Access::ReadWrite);
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut master = File::from(master);
        master.write_all(b"secret\nsecret\nsecret\n").unwrap();
        let streams = [None, None, Some(slave.try_clone().unwrap())];
        if sandboxed {
            scene.inside(script, streams);
        } else {
            env::set_current_dir(scene.workspace.path()).unwrap();
            Scene::bare(script, streams);
        }
        assert_eq!(scene.text("read").contains("secret"), !sandboxed);
        let mut printed = [0; 200];
        let length = master.read(&mut printed).unwrap();
        assert!(String::from_utf8_lossy(&printed[..length]).contains("secret"), "the echo of what was typed");
    }
}
