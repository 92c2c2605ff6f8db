//! How much a sandbox has added to the host's file systems: what changed in its writable trees since it started, and what its
//! processes hold of files that have no name any more.

use super::held;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::Mode,
};
use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Bytes that files hold which were changed. Of a file that was there before, everything counts.
    pub(super) bytes: u64,
    /// Files that were made.
    pub(super) files: u64,
    /// Something could not be looked at although it was changed: a directory nobody may list, a descriptor on its way, a file
    /// that only a mapping holds, what a process keeps to itself.
    pub(super) hidden: bool,
}

/// Measures until everything was seen or `enough` is. `devices` are those of the trees, `since` is when the sandbox started.
pub(super) fn measure<'a>(
    trees: impl Iterator<Item = &'a Path>,
    devices: &[u64],
    since: SystemTime,
    processes: &[i32],
    enough: impl Fn(&Growth) -> bool,
) -> Growth {
    let since = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos().cast_signed());
    let trees: Vec<&Path> = trees.collect();
    let mut measured = Measure { since, seen: HashSet::new(), growth: Growth::default() };
    for pid in processes {
        measured.process(*pid, devices, &trees);
    }
    let mut waiting: Vec<Place> = trees.iter().map(|tree| Place { from: None, path: (*tree).to_owned() }).collect();
    while let Some(place) = waiting.pop() {
        if enough(&measured.growth) {
            break;
        }
        if let Err(errno) = measured.directory(&place, &mut waiting) {
            measured.growth.hidden |= measured.hides(&place, errno);
        }
    }
    measured.growth
}

/// A directory to look at.
struct Place {
    /// Where its path starts, when that is not the root.
    from: Option<Arc<OwnedFd>>,
    path: PathBuf,
}

/// Bytes of a path after which another begins: the kernel takes none that is much longer, and trees can be deeper.
const LONG: usize = 2048;

impl Place {
    fn open(&self, flags: OFlag) -> nix::Result<OwnedFd> {
        let from = self.from.as_ref().map_or(AT_FDCWD, |from| from.as_fd());
        openat(from, &self.path, flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// A directory in this one, which is open as `opened`.
    fn below(&self, opened: &Arc<OwnedFd>, name: &OsStr) -> Self {
        match self.path.as_os_str().len() > LONG {
            true => Self { from: Some(Arc::clone(opened)), path: name.into() },
            false => Self { from: self.from.clone(), path: self.path.join(name) },
        }
    }
}

struct Measure {
    since: i128,
    /// Files with several names, and those without.
    seen: HashSet<(u64, u64)>,
    growth: Growth,
}

/// File systems keep times by the kernel's tick, which is behind the clock by up to ten milliseconds.
const TICK: i128 = 20_000_000;

impl Measure {
    fn directory(&mut self, place: &Place, waiting: &mut Vec<Place>) -> nix::Result<()> {
        let opened = Arc::new(place.open(OFlag::O_RDONLY)?);
        for entry in fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd())).map_err(errno)? {
            let entry = entry.map_err(errno)?;
            let found = match entry.metadata().map_err(errno) {
                Err(Errno::ENOENT) => continue,
                found => found?,
            };
            if self.changed(&found)
                && (found.nlink() < 2 || found.is_dir() || self.seen.insert((found.dev(), found.ino())))
            {
                self.count(&found);
            }
            if found.is_dir() {
                waiting.push(place.below(&opened, &entry.file_name()));
            }
        }
        Ok(())
    }

    /// Whether a directory that cannot be looked at may hold what was put there meanwhile.
    fn hides(&self, place: &Place, errno: Errno) -> bool {
        match errno {
            // Removed or replaced.
            Errno::ENOENT | Errno::ENOTDIR => false,
            // Made unreadable: now, or before anything ran.
            Errno::EACCES | Errno::EPERM => {
                match place.open(OFlag::O_PATH).map(File::from).map(|found| found.metadata()) {
                    Ok(Ok(found)) => self.changed(&found),
                    Err(Errno::ENOENT | Errno::ENOTDIR) => false,
                    _ => true,
                }
            }
            _ => true,
        }
    }

    fn changed(&self, found: &Metadata) -> bool {
        i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec()) + TICK >= self.since
    }

    fn count(&mut self, found: &Metadata) {
        self.growth.bytes += found.blocks() * 512;
        let born = found.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        let new = born.is_none_or(|born| born.as_nanos().cast_signed() + TICK >= self.since);
        self.growth.files += u64::from(new);
    }

    /// Files that a process still holds but nobody can find (unlink(2)).
    fn process(&mut self, pid: i32, devices: &[u64], trees: &[&Path]) {
        let hidden = held::look(pid, |_, found| self.nameless(found, devices));
        self.growth.hidden |= hidden;
        if let Ok(program) = fs::metadata(format!("/proc/{pid}/exe")) {
            self.nameless(&program, devices);
        }
        // The first thread has no memory any more once it has ended.
        for thread in held::tables(pid) {
            self.mapped(thread, devices, trees);
        }
    }

    fn nameless(&mut self, found: &Metadata, devices: &[u64]) {
        if found.nlink() == 0
            && devices.contains(&found.dev())
            && self.seen.insert((found.dev(), found.ino()))
            && self.changed(found)
        {
            self.count(found);
        }
    }

    /// Files without a name that perhaps only a mapping holds (proc_pid_maps(5)). What of them is mapped says nothing about how
    /// much there is; only root may look (proc_pid_map_files(5)).
    fn mapped(&mut self, thread: i32, devices: &[u64], trees: &[&Path]) {
        let maps = match fs::read(format!("/proc/{thread}/maps")) {
            Ok(maps) => maps,
            Err(error) => return self.growth.hidden |= !held::has_ended(&error),
        };
        for line in maps.split(|byte| *byte == b'\n') {
            let Some((range, inode, path)) = nameless_mapping(line) else { continue };
            if !trees.iter().any(|tree| path.starts_with(tree)) || self.seen.iter().any(|(_, seen)| *seen == inode) {
                continue;
            }
            match fs::metadata(format!("/proc/{thread}/map_files/{range}")) {
                Ok(found) => self.nameless(&found, devices),
                Err(error) => self.growth.hidden |= !held::has_ended(&error),
            }
        }
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The range, the inode and the former path of a mapped file that has no name any more.
fn nameless_mapping(line: &[u8]) -> Option<(String, u64, &Path)> {
    let mut fields = line.strip_suffix(b" (deleted)")?.splitn(6, |byte| *byte == b' ');
    let (from, to) = str::from_utf8(fields.next()?).ok()?.split_once('-')?;
    // As `map_files` has it.
    let range = [from, to].map(|address| address.trim_start_matches('0')).join("-");
    let inode = str::from_utf8(fields.nth(3)?).ok()?.parse().ok()?;
    Some((range, inode, Path::new(OsStr::from_bytes(fields.next()?.trim_ascii_start()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        io::Write,
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
        time::Duration,
    };

    fn measured(tree: &Path, since: SystemTime, processes: &[i32]) -> Growth {
        let device = fs::metadata(tree).unwrap().dev();
        measure([tree].into_iter(), &[device], since, processes, |_| false)
    }

    #[test]
    fn what_was_there_before_does_not_count() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("old"), [1; 100_000]).unwrap();
        let later = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(measured(tree.path(), later, &[]), Growth::default());
    }

    #[test]
    fn a_file_counts_once_by_whatever_it_is_found() {
        let tree = tempfile::tempdir().unwrap();
        let since = SystemTime::now();
        fs::create_dir(tree.path().join("deep")).unwrap();
        let file = tree.path().join("deep/file");
        fs::write(&file, [1; 1 << 20]).unwrap();
        fs::hard_link(&file, tree.path().join("again")).unwrap();
        let mut held = tempfile::tempfile_in(tree.path()).unwrap();
        held.write_all(&[1; 1 << 20]).unwrap();
        held.sync_all().unwrap();
        File::open(&file).unwrap().sync_all().unwrap();
        // Not this process: it holds files of other tests.
        let mut holder = Command::new("cat").stdin(Stdio::piped()).stdout(held).spawn().unwrap();
        let growth = measured(tree.path(), since, &[holder.id().cast_signed()]);
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
        // The directory, the file and the one without a name.
        assert_eq!(growth.files, 3);
        assert!((2 << 20..3 << 20).contains(&growth.bytes), "{growth:?}");
    }

    #[test]
    fn no_path_is_too_long() {
        let tree = tempfile::tempdir().unwrap();
        let since = SystemTime::now();
        let name = "d".repeat(250);
        let mut directory: OwnedFd = File::open(tree.path()).unwrap().into();
        for _ in 0..40 {
            nix::sys::stat::mkdirat(&directory, name.as_str(), Mode::S_IRWXU).unwrap();
            directory = openat(&directory, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
        let mut file = File::from(openat(&directory, "file", flags, Mode::S_IRWXU).unwrap());
        file.write_all(&[1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let growth = measured(tree.path(), since, &[]);
        assert_eq!((growth.files, growth.hidden), (41, false));
        assert!(growth.bytes > 1 << 20, "{growth:?}");
    }

    #[test]
    fn what_was_made_unreadable_is_hidden() {
        let tree = tempfile::tempdir().unwrap();
        let closed = tree.path().join("closed");
        let since = SystemTime::now();
        fs::create_dir_all(closed.join("inside")).unwrap();
        // Nothing of it is to be had, or its names alone.
        for mode in [0o0, 0o400] {
            fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
            // Root reads it all the same.
            assert_eq!(measured(tree.path(), since, &[]).hidden, fs::metadata(closed.join("inside")).is_err());
            let later = SystemTime::now() + Duration::from_secs(1);
            assert!(!measured(tree.path(), later, &[]).hidden, "it was so before");
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    }
}
