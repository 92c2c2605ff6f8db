//! A caller whose files may not grow beyond a size is told so by an error, and is not ended by SIGXFSZ for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::process::ExitStatusExt,
    process::Command,
};

use holdpoint_runtime::{Access, Error, Sandbox, Stdio};
use nix::sys::resource::{Resource, setrlimit};

const LIMIT: u64 = 100_000;

/// Alone in its file, for the limit is the whole process's.
#[test]
fn a_file_that_may_not_grow_is_said_and_ends_nobody() {
    let workspace = tempfile::tempdir().unwrap();
    let start = || Sandbox::builder().system().workspace(workspace.path(), Access::ReadWrite).start();
    let file = |name: &str| File::create(workspace.path().join(name)).unwrap();
    let sandbox = start().unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, LIMIT, LIMIT).unwrap();

    // The control: who writes the file himself is ended.
    let writes = "exec head -c 1000000 /dev/zero";
    let bare = Command::new("sh").args(["-c", writes]).stdout(file("bare")).status().unwrap();
    assert_eq!(bare.signal(), Some(libc::SIGXFSZ));

    let print = |name: &str| {
        let mut command = sandbox.command("sh");
        command.args(["-c", writes]).env("PATH", "/usr/bin:/bin").stdout(Stdio::from(file(name)));
        let mut child = command.spawn().unwrap();
        (child.wait(), child.wait())
    };
    for name in ["first", "second"] {
        let (told, status) = print(name);
        assert!(matches!(&told, Err(Error::Io { source, .. }) if source.kind() == ErrorKind::FileTooLarge), "{told:?}");
        assert_eq!(status.unwrap().signal(), Some(libc::SIGPIPE));
        assert_eq!(fs::metadata(workspace.path().join(name)).unwrap().len(), LIMIT);
    }
    // What waits for the end copies too.
    let mut command = sandbox.command("sh");
    let full = file("full");
    (&full).write_all(&[0; LIMIT as usize]).unwrap();
    let told = command.args(["-c", "echo x"]).env("PATH", "/usr/bin:/bin").stdout(Stdio::from(full)).status();
    assert!(told.is_err(), "{told:?}");
    // Less than a sandbox is made of.
    setrlimit(Resource::RLIMIT_FSIZE, 1000, 1000).unwrap();
    let error = start().unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge), "{error:?}");
}
