//! Held calls with the real kernel: seen, refused, answered with a descriptor, and what happens when nobody answers.

use super::*;
use crate::{Sandbox, command::Command};
use std::{
    ffi::OsStr,
    io::{Seek, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Answers calls with these numbers by a function.
struct By<F>(&'static [i64], F);

impl<F: FnMut(&Arc<Listener>, &Held) + Send> Handler for By<F> {
    fn takes(&self, call: &Held) -> bool {
        self.0.contains(&call.number)
    }

    fn answer(&mut self, listener: &Arc<Listener>, call: &Held) {
        (self.1)(listener, call);
    }
}

fn sandbox() -> Sandbox {
    Sandbox::builder().system().start().unwrap()
}

fn sh<'s>(sandbox: &'s Sandbox, script: &str) -> Command<'s> {
    let mut command = sandbox.command("/bin/sh");
    command.args(["-c", script]);
    command
}

fn path_argument(call: &Held, index: usize) -> Vec<u8> {
    Target::of(call).read_string(call.arguments[index], 4095).unwrap()
}

#[test]
fn calls_are_seen_with_their_memory_and_refused_or_carried_out() {
    let sandbox = sandbox();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let handler = By(&[libc::SYS_execve], move |listener: &Arc<Listener>, call: &Held| {
        let path = path_argument(call, 0);
        assert!(listener.is_valid(call));
        note.lock().unwrap().push(String::from_utf8(path.clone()).unwrap());
        if path.ends_with(b"/id") { listener.refuse(call, libc::EACCES) } else { listener.proceed(call) }
    });
    #[cfg(target_arch = "x86_64")]
    const SETUP: &[i64] = &[libc::SYS_arch_prctl];
    #[cfg(target_arch = "aarch64")]
    const SETUP: &[i64] = &[libc::SYS_set_tid_address, libc::SYS_sched_getaffinity];
    let looks = Arc::new(Mutex::new(0));
    let count = Arc::clone(&looks);
    let setup = By(SETUP, move |listener: &Arc<Listener>, call: &Held| {
        *count.lock().unwrap() += 1;
        listener.proceed(call);
    });
    let handlers: Vec<Box<dyn Handler>> = vec![Box::new(handler), Box::new(setup)];
    let supervisor = Supervisor::start(sandbox.ending().unwrap(), Traps::EXEC, handlers).unwrap();
    let output = sh(&sandbox, "/usr/bin/id; echo $?; /bin/echo on").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "126\non\n");
    assert_eq!(*seen.lock().unwrap(), ["/bin/sh", "/usr/bin/id", "/bin/echo"]);
    assert_eq!(*looks.lock().unwrap(), 2, "sh and echo set up their threads");
    drop(sandbox);
    assert_eq!(supervisor.failed(), None);
}

#[test]
fn an_open_is_answered_with_a_descriptor_of_ours() {
    let sandbox = sandbox();
    let mut ours = tempfile::tempfile().unwrap();
    ours.write_all(b"from outside\n").unwrap();
    let handler = By(&[libc::SYS_openat], move |listener: &Arc<Listener>, call: &Held| {
        if path_argument(call, 1) == b"/no/such/file" {
            ours.rewind().unwrap();
            listener.answer_with(call, &ours, true).unwrap();
        } else {
            listener.proceed(call);
        }
    });
    let _supervisor = Supervisor::start(sandbox.ending().unwrap(), Traps::OPEN, vec![Box::new(handler)]).unwrap();
    let output = sandbox.command("/bin/cat").arg("/no/such/file").output().unwrap();
    assert_eq!(output.stdout, b"from outside\n");
    assert!(!sandbox.command("/bin/cat").arg("/no/other/file").output().unwrap().status.success());
}

#[test]
fn what_nobody_takes_is_refused_and_a_supervisor_that_fails_ends_the_sandbox() {
    let sandbox = sandbox();
    let supervisor = Supervisor::start(sandbox.ending().unwrap(), Traps::EXEC, Vec::new()).unwrap();
    let error = sandbox.command("/bin/true").spawn().unwrap_err();
    assert!(matches!(&error, Error::Spawn { source, .. } if source.raw_os_error() == Some(libc::ENOSYS)), "{error:?}");
    drop((sandbox, supervisor));

    let sandbox = self::sandbox();
    let fails = By(&[libc::SYS_execve], |_: &Arc<Listener>, _: &Held| panic!("a handler that fails (expected here)"));
    let supervisor = Supervisor::start(sandbox.ending().unwrap(), Traps::EXEC, vec![Box::new(fails)]).unwrap();
    assert!(sandbox.command("/bin/true").spawn().is_err());
    nix::sys::wait::waitid(
        nix::sys::wait::Id::PIDFd(sandbox.pidfd()),
        nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT,
    )
    .unwrap();
    assert!(supervisor.failed().is_some());
}

#[test]
fn names_mean_what_they_mean_to_the_caller() {
    let workspace = tempfile::tempdir().unwrap();
    let root = workspace.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("sub")).unwrap();
    for (name, target) in [
        ("absolute", Path::new("/usr/bin/env")),
        ("own", Path::new("/proc/self/exe")),
        ("up", Path::new("../../../../../../../usr/bin/env")),
    ] {
        std::os::unix::fs::symlink(target, root.join("sub").join(name)).unwrap();
    }
    let sandbox = Sandbox::builder().system().workspace(&root, crate::Access::ReadWrite).start().unwrap();
    let view = View::of(sandbox.first()).unwrap();
    let found = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&found);
    let handler = By(&[libc::SYS_openat], move |listener: &Arc<Listener>, call: &Held| {
        let path = path_argument(call, 1);
        if let Some(name) = path.strip_prefix(b"?") {
            let place = view.find(Target::of(call), call.arguments[0] as i32, Path::new(OsStr::from_bytes(name)), true);
            note.lock().unwrap().push(place.and_then(|place| path_of(place.as_fd())));
        }
        listener.proceed(call);
    });
    let _supervisor = Supervisor::start(sandbox.ending().unwrap(), Traps::OPEN, vec![Box::new(handler)]).unwrap();
    let script = "import os\n\
                  os.chdir('sub')\n\
                  d = os.open('/usr/lib', os.O_RDONLY)\n\
                  e = os.open('/usr/bin/env', os.O_RDONLY)\n\
                  for name, fd in [('absolute', None), ('own', None), ('up', None), ('../sub/absolute', None), ('os-release', d),\n\
                                   ('/dev/fd/%d' % e, None), ('/proc/self/fd/%d' % e, d), ('/proc/%d/cwd/own' % os.getpid(), None),\n\
                                   ('/proc/thread-self/exe', None), ('missing', None), ('/proc/1/exe', None)]:\n\
                  \ttry: os.open('?' + name, os.O_RDONLY, dir_fd=fd)\n\
                  \texcept OSError: pass\n";
    assert!(sandbox.command("/usr/bin/python3").args(["-c", script]).status().unwrap().success());
    let python = std::fs::canonicalize("/usr/bin/python3").unwrap();
    let env = PathBuf::from("/usr/bin/env");
    let release = PathBuf::from("/usr/lib/os-release");
    let found = found.lock().unwrap();
    let (last, rest) = found.split_last().unwrap();
    assert_eq!(
        rest,
        [
            Ok(env.clone()),
            Ok(python.clone()),
            Ok(env.clone()),
            Ok(env.clone()),
            Ok(release),
            Ok(env.clone()),
            Ok(env),
            Ok(python.clone()),
            Ok(python),
            Err(Errno::ENOENT),
        ]
    );
    // Pid 1 is open to the outside only; what the kernel then says to the caller is its own affair.
    assert!(last.is_ok(), "{last:?}");
}
