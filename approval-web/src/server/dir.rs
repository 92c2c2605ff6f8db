//! The state directory: private, locked by one server, with the socket in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::error::Error;

/// Name of the socket in the state directory.
pub(crate) const SOCKET: &str = "server.sock";
const LOCK: &str = "server.lock";
const DATABASE: &str = "holds.sqlite";

/// A state directory that this process alone serves, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    lock: File,
}

impl StateDir {
    /// Creates the directory when it is missing, makes sure it is ours and private, and locks it.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let fail = |why: String| Error::StateDir { path: path.into(), why };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| fail(format!("cannot be created ({e}); name another one")))?;
        let meta = fs::metadata(path).map_err(|e| fail(format!("cannot be looked at ({e})")))?;
        if meta.uid() != Uid::effective().as_raw() {
            return Err(fail(format!("belongs to user {}, not to you", meta.uid())));
        }
        if meta.mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700))
                .map_err(|e| fail(format!("is open to others and cannot be closed ({e})")))?;
        }
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|e| fail(format!("{LOCK} cannot be opened ({e}); the directory must be writable by you")))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::AlreadyRunning { path: path.into() }),
            Err(TryLockError::Error(e)) => return Err(fail(format!("{LOCK} cannot be locked ({e})"))),
        }
        // Only for a person who looks: the lock is what counts, and it ends with the process.
        let note = |lock: &mut File| lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        note(&mut lock).map_err(|e| fail(format!("{LOCK} cannot be written ({e})")))?;
        Ok(Self { path: path.into(), lock })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Opens the socket, mode 0600. One left behind by a server that was killed is replaced: the lock says it is dead.
    pub(crate) fn listen(&self) -> Result<UnixListener, Error> {
        let path = self.socket();
        let fail = |why: String| Error::Listen { what: path.display().to_string(), why };
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(fail(e.to_string())),
            Ok(meta) if meta.file_type().is_socket() && meta.uid() == Uid::effective().as_raw() => {
                fs::remove_file(&path).map_err(|e| fail(format!("a stale socket is there and stays ({e})")))?;
            }
            Ok(_) => return Err(fail("something else is there; move it away".into())),
        }
        let listener = UnixListener::bind(&path).map_err(|e| match e.kind() {
            ErrorKind::InvalidInput => fail(format!("{e}; name a state directory with a shorter path")),
            _ => fail(e.to_string()),
        })?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(|e| fail(e.to_string()))?;
        listener.set_nonblocking(true).map_err(|e| fail(e.to_string()))?;
        Ok(listener)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just forking shares the file until it executes.
        // Should unlocking fail, closing still follows.
        self.lock.unlock().ok();
    }
}
