//! Reading small files that others may have written: never a device or a pipe, never more than a bound.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::Error;

/// The largest configuration or AGENTS.md file that is read.
pub(crate) const LARGEST: u64 = 1 << 20;

/// The content of a regular file of at most [`LARGEST`] bytes, wherever links lead; `None` when there is no such file. For
/// files that the person or the administrator names; those of a project are read by [`crate::project`].
///
/// # Errors
/// [`Error::Setting`] for anything else: a file that is there and cannot be read may hold what forbids something.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let wrong = |why: &dyn std::fmt::Display, next: &str| Error::setting(path, why, next);
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_held(path) => return Ok(None),
        Err(error) => return Err(wrong(&error, "make it a readable file, or remove it")),
    };
    content(file, path).map(Some)
}

/// All of a file of at most [`LARGEST`] bytes.
///
/// # Errors
/// [`Error::Setting`] when it is larger or cannot be read.
pub(crate) fn content(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |why: &dyn std::fmt::Display, next: &str| Error::setting(path, why, next);
    let mut content = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| wrong(&error, "make it readable, or remove it"))?;
    if content.len() as u64 > LARGEST {
        return Err(wrong(&"it is larger than 1 MiB", "make it smaller"));
    }
    Ok(content)
}

/// Whether this name, or the directory it would be in, is a socket, or was one a moment ago: it says nothing. A sandbox of
/// another run holds protected names that do not exist with sockets.
pub(crate) fn is_held(path: &Path) -> bool {
    let held = |path: &Path| match path.symlink_metadata() {
        Ok(found) => found.file_type().is_socket(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    held(path) || path.parent().is_some_and(held)
}

/// Open a regular file for reading without ever waiting for one (a pipe would block, a device might act).
///
/// # Errors
/// What the system says, and `InvalidInput` for anything but a regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, read};

    #[test]
    fn only_a_regular_file_of_sensible_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        assert_eq!(read(&file).unwrap(), None);
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read(&file).unwrap().unwrap(), b"text");
        assert!(read(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        std::fs::File::create(&file).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("larger than"));
    }

    #[test]
    fn a_name_that_another_run_holds_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let _held = std::os::unix::net::UnixListener::bind(dir.path().join("held")).unwrap();
        assert_eq!(read(&dir.path().join("held")).unwrap(), None);
        assert_eq!(read(&dir.path().join("held/config.toml")).unwrap(), None);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(read(&dir.path().join("file/config.toml")).is_err());
        // It goes between two looks.
        let name = dir.path().join("comes and goes");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                for _ in 0..2000 {
                    let _held = std::os::unix::net::UnixListener::bind(&name).unwrap();
                    std::fs::remove_file(&name).unwrap();
                }
            });
            while !other.is_finished() {
                assert_eq!(read(&name).unwrap(), None);
                assert_eq!(read(&name.join("config.toml")).unwrap(), None);
            }
        });
    }

    #[test]
    fn a_pipe_does_not_make_us_wait() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("p");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&pipe).unwrap_err().to_string().contains("not a regular file"));
    }
}
