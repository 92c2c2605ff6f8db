//! One control group: its directory, its bounds, its counters, its end.

use super::{Controller, Place, Version};
use nix::fcntl::{Flock, FlockArg};
use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What the name of every group begins with, before the number of its owner.
const PREFIX: &str = "holdpoint-";

/// How many groups without an owner one start removes: it has something else to do.
const AT_ONCE: usize = 16;

/// Distinguishes the groups of one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// How long the kernel may take to count out the last process of a sandbox that has ended.
const LAST_LEAVES: Duration = Duration::from_secs(2);

/// Microseconds in which a processor's share is measured out.
const PERIOD: u64 = 100_000;

/// A group of our own, removed when dropped. Its lock says that it has an owner.
#[derive(Debug)]
pub(crate) struct Group {
    parent: PathBuf,
    name: String,
    directory: Flock<File>,
    version: Version,
    held: Vec<Controller>,
}

impl Group {
    /// Makes one, and removes some of those that have no owner any more.
    pub(crate) fn make(parent: &Path, version: Version) -> io::Result<Self> {
        remove_abandoned(parent);
        let (name, directory) = loop {
            let name = format!("{PREFIX}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = parent.join(&name);
            match fs::create_dir(&path).and_then(|()| claim(&path)) {
                Ok(directory) => break (name, directory),
                // Of a process that has or had our number, or taken for one without an owner before it was ours.
                Err(error) if taken(&error) && parent.exists() => {}
                Err(error) => {
                    remove(&path);
                    return Err(error);
                }
            }
        };
        Ok(Self { parent: parent.to_owned(), name, directory, version, held: Vec::new() })
    }

    /// Bounds what the group may use.
    pub(crate) fn bound(&mut self, controller: Controller, bound: u64) -> io::Result<()> {
        match (self.version, controller) {
            (Version::Two, Controller::Memory) => {
                self.write("memory.max", bound)?;
                // Swap would be more memory; a kernel without swap has no such file.
                self.write_where_there("memory.swap.max", 0)?;
            }
            (Version::One, Controller::Memory) => {
                self.write("memory.limit_in_bytes", bound)?;
                self.write_where_there("memory.memsw.limit_in_bytes", bound)?;
            }
            (_, Controller::Pids) => self.write("pids.max", bound)?,
            (Version::Two, Controller::Cpu) => self.write("cpu.max", format!("{} {PERIOD}", bound * PERIOD / 1000))?,
            (Version::One, Controller::Cpu) => {
                self.write("cpu.cfs_period_us", PERIOD)?;
                self.write("cpu.cfs_quota_us", bound * PERIOD / 1000)?;
            }
        }
        self.held.push(controller);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    fn write(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.path().join(file), value.to_string())
    }

    fn write_where_there(&self, file: &str, value: u64) -> io::Result<()> {
        match self.write(file, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(crate) fn place(&self) -> Place {
        Place { directory: self.parent.clone(), name: self.name.clone() }
    }

    pub(crate) fn is_below(&self, parent: &Path) -> bool {
        self.parent == parent
    }

    pub(crate) fn holds(&self, controller: Controller) -> bool {
        self.held.contains(&controller)
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Where a process writes `0` to enter.
    pub(crate) fn door(&self) -> Option<CString> {
        CString::new(self.path().join("cgroup.procs").as_os_str().as_bytes()).ok()
    }

    pub(crate) fn killed_for_memory(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        self.counter(file, "oom_kill")
    }

    pub(crate) fn refused_processes(&self) -> u64 {
        self.counter("pids.events", "max")
    }

    fn counter(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.path());
    }
}

/// Takes the lock of a group that is there, unless its owner has it.
fn claim(path: &Path) -> io::Result<Flock<File>> {
    let directory = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)?;
    let directory = Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    // Not one that was removed between the two.
    if fs::symlink_metadata(path)?.ino() == directory.metadata()?.ino() {
        Ok(directory)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
}

/// Removes groups whose owner is dead, and who removes them in its place is too. In another pid namespace a living owner has
/// no number; its lock holds there as well. A group in which something still lives cannot be removed (cgroups(7)).
fn remove_abandoned(parent: &Path) {
    let own_ones = format!("{PREFIX}{}-", process::id());
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        is_name(&name) && !name.starts_with(&own_ones)
    });
    let abandoned = groups.filter_map(|group| claim(&group.path()).ok().map(|lock| (group.path(), lock)));
    for (path, _lock) in abandoned.take(AT_ONCE) {
        if fs::remove_dir(path).is_err() {
            // Not empty yet, or not ours to remove.
        }
    }
}

/// Whether a directory is called as groups are: by the number of an owner, and one among its own.
fn is_name(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(owner, one)| owner.parse::<u32>().is_ok() && one.parse::<u32>().is_ok())
}

/// Removes a group that the last process is leaving: that it has ended is known a moment before it is counted out.
fn remove(path: &Path) {
    let until = Instant::now() + LAST_LEAVES;
    while let Err(error) = fs::remove_dir(path) {
        if error.raw_os_error() != Some(libc::EBUSY) || Instant::now() >= until {
            break;
        }
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cgroup::Hierarchies,
        program::{Arguments, Descriptor, Program, Step},
        sys::launch,
    };
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use std::os::fd::AsRawFd;

    /// Where a test can make a group of version 2 and start processes in it, controllers or not: as root wherever it is
    /// mounted, otherwise where it is delegated.
    fn parent() -> Option<PathBuf> {
        let (_, own) = Hierarchies::read().own_unified()?;
        let usable = |group: &&Path| fs::OpenOptions::new().write(true).open(group.join("cgroup.procs")).is_ok();
        own.ancestors().take_while(usable).last().map(Path::to_owned)
    }

    #[test]
    fn a_process_begins_in_its_group_and_the_group_goes_after_it() {
        let Some(parent) = parent() else { return };
        let group = Group::make(&parent, Version::Two).unwrap();
        let path = group.path();
        let cat = File::open("/usr/bin/sleep").unwrap();
        let arguments = Arguments::new(vec![c"sleep".into(), c"100".into()]);
        let execute = Step::Execute { program: Descriptor::Known(cat.as_raw_fd()), arguments };
        let mut program = Program::new(vec![execute], Vec::new());
        program.group = Some(group.directory().as_raw_fd());
        let started = launch::launch(&mut program, 0).unwrap();
        let inside = fs::read_to_string(path.join("cgroup.procs")).unwrap();
        assert_eq!(inside.trim(), started.pid.to_string());
        fs::write(path.join("cgroup.kill"), "1").unwrap();
        waitid(Id::PIDFd(started.pidfd.as_fd()), WaitPidFlag::WEXITED).unwrap();
        drop(group);
        assert!(!path.exists());
    }

    /// Makes a group and takes it, which somebody else's start can precede.
    fn taken<T>(group: &Path, take: impl Fn() -> Option<T>) -> T {
        let attempt = |_| {
            drop(fs::create_dir(group));
            take()
        };
        (0..1000).find_map(attempt).expect("nobody else is that quick a thousand times")
    }

    #[test]
    fn a_group_without_an_owner_goes_with_the_next_start_and_no_other_does() {
        let Some(parent) = parent() else { return };
        // No process has this number (pid_max in proc_sys_kernel(5)).
        let path = |one: u32| parent.join(format!("{PREFIX}4194305-{}{one}", process::id()));
        let (owned, used, other) = (path(0), path(1), parent.join(format!("{PREFIX}x-{}", process::id())));
        let left: Vec<PathBuf> = (2..9).map(path).collect();
        for group in left.iter().chain([&other]) {
            fs::create_dir(group).unwrap();
        }
        let mut user = process::Command::new("sleep").arg("100").spawn().unwrap();
        let lock = taken(&owned, || claim(&owned).ok());
        taken(&used, || fs::write(used.join("cgroup.procs"), user.id().to_string()).ok());

        // Another test's start can be at the same one.
        let start = || drop(Group::make(&parent, Version::Two).unwrap());
        let until = Instant::now() + Duration::from_secs(20);
        let gone = |group: &PathBuf| !group.exists();
        while !left.iter().all(gone) && Instant::now() < until {
            start();
        }
        assert!(left.iter().all(gone));
        assert!([&owned, &used, &other].iter().all(|group| group.exists()));

        drop(lock);
        user.kill().unwrap();
        user.wait().unwrap();
        while ![&owned, &used].into_iter().all(gone) && Instant::now() < until {
            start();
        }
        assert!(gone(&owned) && gone(&used));
        fs::remove_dir(&other).unwrap();
    }

    #[test]
    fn bounds_stand_where_the_kernel_counts() {
        let bounds = [(Controller::Memory, 64 << 20), (Controller::Pids, 99), (Controller::Cpu, 1500)];
        let groups = super::super::Groups::make(&bounds);
        let read = |group: &Group, file: &str| fs::read_to_string(group.path().join(file)).unwrap().trim().to_owned();
        for group in &groups.0 {
            for controller in &group.held {
                let (file, text) = match (group.version, controller) {
                    (Version::One, Controller::Memory) => ("memory.limit_in_bytes", "67108864"),
                    (Version::Two, Controller::Memory) => ("memory.max", "67108864"),
                    (_, Controller::Pids) => ("pids.max", "99"),
                    (Version::One, Controller::Cpu) => ("cpu.cfs_quota_us", "150000"),
                    (Version::Two, Controller::Cpu) => ("cpu.max", "150000 100000"),
                };
                assert_eq!(read(group, file), text);
            }
        }
        let paths: Vec<PathBuf> = groups.0.iter().map(Group::path).collect();
        drop(groups);
        assert!(!paths.iter().any(|path| path.exists()));
    }
}
