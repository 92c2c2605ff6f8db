//! How much a sandbox has added to the host's file systems: what changed in its writable trees since it started, and what its
//! processes hold of files that have no name any more.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Bytes that files hold which were changed. Of a file that was there before, everything counts.
    pub(super) bytes: u64,
    /// Files that were made.
    pub(super) files: u64,
    /// Something could not be looked at although it was changed: a directory nobody may list, a descriptor on its way.
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
    let mut measured = Measure { since, seen: HashSet::new(), growth: Growth::default() };
    for pid in processes {
        measured.process(*pid, devices);
    }
    let mut open: Vec<PathBuf> = trees.map(Path::to_owned).collect();
    while let Some(directory) = open.pop() {
        if enough(&measured.growth) {
            break;
        }
        measured.directory(&directory, &mut open);
    }
    measured.growth
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
    fn directory(&mut self, directory: &Path, open: &mut Vec<PathBuf>) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // Removed meanwhile; or made unreadable, which hides what was put there only when that was done meanwhile.
            Err(error) => {
                let changed = fs::symlink_metadata(directory).is_ok_and(|found| self.changed(&found));
                self.growth.hidden |= error.kind() == io::ErrorKind::PermissionDenied && changed;
                return;
            }
        };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if self.changed(&found)
                && (found.nlink() < 2 || found.is_dir() || self.seen.insert((found.dev(), found.ino())))
            {
                self.count(&found);
            }
            if found.is_dir() {
                open.push(entry.path());
            }
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
    fn process(&mut self, pid: i32, devices: &[u64]) {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return };
        for entry in open.flatten() {
            let Ok(found) = fs::metadata(entry.path()) else { continue };
            if found.nlink() == 0
                && self.changed(&found)
                && devices.contains(&found.dev())
                && self.seen.insert((found.dev(), found.ino()))
            {
                self.count(&found);
            }
            self.growth.hidden |= on_its_way(pid, &entry.file_name().to_string_lossy());
        }
        self.mapped(pid);
    }

    /// A file without a name that only a mapping holds: how much of it there is, nobody tells, so the mapping counts.
    fn mapped(&mut self, pid: i32) {
        for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default().lines() {
            // A file in memory has a device whose major number is 0 (proc_pid_maps(5)).
            let mut fields = line.split_ascii_whitespace();
            let (Some(range), Some(device), Some(inode)) = (fields.next(), fields.nth(2), fields.next()) else {
                continue;
            };
            if !line.ends_with(" (deleted)") || device.starts_with("00:") {
                continue;
            }
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
            let device = device
                .split_once(':')
                .map_or(0, |(major, minor)| libc::makedev(number(major) as u32, number(minor) as u32));
            if let (Some((from, to)), Ok(inode)) = (range.split_once('-'), inode.parse())
                && self.seen.insert((device, inode))
            {
                self.growth.bytes += number(to).saturating_sub(number(from));
                self.growth.files += 1;
            }
        }
    }
}

/// Whether a socket holds descriptors that were sent and not yet received: what those are, nobody tells (unix(7)).
fn on_its_way(pid: i32, descriptor: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default();
    info.lines().any(|line| line.strip_prefix("scm_fds:").is_some_and(|count| count.trim() != "0"))
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
    fn what_was_made_unreadable_is_hidden() {
        let tree = tempfile::tempdir().unwrap();
        let closed = tree.path().join("closed");
        let since = SystemTime::now();
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
        // Root reads it all the same.
        assert_eq!(measured(tree.path(), since, &[]).hidden, fs::read_dir(&closed).is_err());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    }
}
