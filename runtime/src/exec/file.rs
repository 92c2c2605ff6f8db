//! What the kernel would make of a file that is to be executed (binfmt_script and binfmt_elf).

use super::elf;
use crate::sys::call::Identity;
use nix::{
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::{
        stat::{FileStat, Mode, SFlag, stat},
        uio::pread,
    },
};
use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes at the start of a file that the kernel looks at (`BINPRM_BUF_SIZE`).
pub(super) const START: usize = 256;
/// Files remembered before all are forgotten.
const REMEMBERED: usize = 4096;

/// A file that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An ELF file of this machine.
    Program,
    /// An ELF file of this machine that loads others: `ld.so`.
    Loader,
    /// A text with a `#!` line: interpreter and its argument, if there is one.
    Script(OsString, Option<OsString>),
}

/// What was seen of files before. A file is looked at again when its times or its size have changed.
#[derive(Debug, Default)]
pub(crate) struct Files(HashMap<Identity, (Version, Kind)>);

type Version = (i64, i64, i64, i64, i64);

impl Files {
    /// The file at an open place, of which this was found, or the errno with which the kernel would refuse it.
    pub(crate) fn look(&mut self, place: &OwnedFd, found: &FileStat) -> Result<Kind, i32> {
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG || found.st_mode & 0o111 == 0 {
            return Err(libc::EACCES);
        }
        let identity = identity_of(found);
        let version = (found.st_size, found.st_mtime, found.st_mtime_nsec, found.st_ctime, found.st_ctime_nsec);
        if let Some((_, kind)) = self.0.get(&identity).filter(|(seen, _)| *seen == version) {
            return Ok(kind.clone());
        }
        let kind = read(place)?;
        if settled(found) {
            if self.0.len() == REMEMBERED {
                self.0.clear();
            }
            self.0.insert(identity, (version, kind.clone()));
        }
        Ok(kind)
    }
}

/// Whether the next change of the file will show in its times, which have the grain of a clock tick.
fn settled(found: &FileStat) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    now.saturating_sub(found.st_ctime.unsigned_abs()) > 1
}

/// Which file a path of the host means.
pub(crate) fn identity(path: &Path) -> io::Result<Identity> {
    Ok(identity_of(&stat(path)?))
}

pub(crate) fn identity_of(found: &FileStat) -> Identity {
    Identity { device: found.st_dev, inode: found.st_ino }
}

/// All of the file at an open place.
pub(crate) fn content(place: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(open(place)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open(place: &OwnedFd) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    openat(AT_FDCWD, path.as_str(), flags, Mode::empty())
}

fn read(place: &OwnedFd) -> Result<Kind, i32> {
    let file = open(place).map_err(|errno| errno as i32)?;
    let mut start = [0; START];
    read_at(&file, 0, &mut start).ok_or(libc::EIO)?;
    if start.starts_with(b"#!") {
        return script(&start).ok_or(libc::ENOEXEC);
    }
    match elf::read(&file, &start).ok_or(libc::ENOEXEC)? {
        true => Ok(Kind::Loader),
        false => Ok(Kind::Program),
    }
}

/// Fills `buffer` as far as the file goes.
pub(super) fn read_at(file: &OwnedFd, offset: u64, buffer: &mut [u8]) -> Option<usize> {
    pread(file, buffer, i64::try_from(offset).ok()?).ok()
}

/// The `#!` line as `fs/binfmt_script.c` reads it: one interpreter, the rest of the line as one argument. `None` where the
/// kernel answers `ENOEXEC`.
fn script(start: &[u8; START]) -> Option<Kind> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let rest = &start[2..];
    let line = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => &rest[..end],
        None => {
            // Without an end of the line the interpreter's name must end within what was read, or it was cut.
            let rest = &rest[..rest.len() - 1];
            let name = rest.iter().position(|byte| !blank(byte))?;
            rest[name..].iter().position(|byte| blank(byte) || *byte == 0)?;
            rest
        }
    };
    let line = &line[..line.iter().rposition(|byte| !blank(byte))? + 1];
    let line = &line[line.iter().position(|byte| !blank(byte))?..];
    let end = line.iter().position(|byte| blank(byte) || *byte == 0).unwrap_or(line.len());
    let (name, argument) = line.split_at(end);
    let argument = match argument.first() {
        None | Some(0) => None,
        Some(_) => argument.iter().position(|byte| !blank(byte)).map(|first| &argument[first..]),
    };
    let until_nul = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let text = |bytes: &[u8]| OsString::from_vec(until_nul(bytes));
    (!name.is_empty()).then(|| Kind::Script(text(name), argument.map(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Option<(String, Option<String>)> {
        let mut start = [0; START];
        start[..text.len()].copy_from_slice(text);
        match script(&start)? {
            Kind::Script(name, argument) => {
                Some((name.into_string().unwrap(), argument.map(|argument| argument.into_string().unwrap())))
            }
            other => panic!("{other:?}"),
        }
    }

    fn named(name: &str, argument: Option<&str>) -> Option<(String, Option<String>)> {
        Some((name.into(), argument.map(Into::into)))
    }

    #[test]
    fn a_line_is_read_as_the_kernel_reads_it() {
        assert_eq!(line(b"#!/bin/sh\necho"), named("/bin/sh", None));
        assert_eq!(line(b"#! \t/usr/bin/env  -S a b \t\nx"), named("/usr/bin/env", Some("-S a b")));
        assert_eq!(line(b"#!/bin/sh"), named("/bin/sh", None));
        assert_eq!(line(b"#!/bin/sh -e\r\nx"), named("/bin/sh", Some("-e\r")));
        assert_eq!(line(b"#!/bin/sh\0-x\n"), named("/bin/sh", None));
        assert_eq!(line(b"#!\n/bin/sh"), None);
        assert_eq!(line(b"#!   \t "), None);
        assert_eq!(line(&[b"#!".as_slice(), &[b'a'; START - 2]].concat()), None, "a name that may have been cut");
        let long = [b"#!/bin/sh ".as_slice(), &[b'a'; START - 10]].concat();
        assert_eq!(line(&long), named("/bin/sh", Some(&"a".repeat(START - 11))), "an argument is cut");
    }

    #[test]
    fn loaders_are_told_from_programs_by_what_they_are_not_by_their_name() {
        let directory = tempfile::tempdir().unwrap();
        let look = |path: &Path| {
            let place = openat(AT_FDCWD, path, OFlag::O_PATH, Mode::empty()).unwrap();
            Files::default().look(&place, &nix::sys::stat::fstat(&place).unwrap())
        };
        let name =
            if cfg!(target_arch = "x86_64") { "/lib64/ld-linux-x86-64.so.2" } else { "/lib/ld-linux-aarch64.so.1" };
        let copy = directory.path().join("innocent");
        std::fs::copy(name, &copy).unwrap();
        assert_eq!(look(&std::fs::canonicalize(name).unwrap()), Ok(Kind::Loader));
        assert_eq!(look(&copy), Ok(Kind::Loader));
        assert_eq!(look(Path::new("/bin/true")), Ok(Kind::Program));
        assert_eq!(look(directory.path()), Err(libc::EACCES));
        let text = directory.path().join("text");
        std::fs::write(&text, "echo").unwrap();
        assert_eq!(look(&text), Err(libc::EACCES));
        std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(look(&text), Err(libc::ENOEXEC));
        std::fs::write(&text, "#!/bin/sh -e\n").unwrap();
        assert_eq!(look(&text), Ok(Kind::Script("/bin/sh".into(), Some("-e".into()))));
    }
}
