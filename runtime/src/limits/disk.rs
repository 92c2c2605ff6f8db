//! The bounds on what a sandbox may add to the host's own file systems. No quota exists for an ordinary user, so they are
//! watched: asking a file system how full it is costs a microsecond, and only when it has filled by more than the limit the
//! sandbox's own part is measured. What is written cannot be taken back, so everything inside is ended.
//!
//! Space is taken no faster than memory is copied, because [`Step::NoPreallocation`](crate::program::Step::NoPreallocation)
//! refuses the calls that take gigabytes at once; that is what makes looking often enough.

use super::{
    growth::{self, Growth},
    hit::Limit,
    inside::Inside,
    ticker::{Ticker, pause},
};
use crate::{
    error::{Error, Result},
    proc,
};
use nix::sys::statvfs::fstatvfs;
use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Bytes a second that one machine writes to its page cache.
const BYTES_RATE: u64 = 8 << 30;
/// Files a second that one machine makes.
const FILES_RATE: u64 = 500_000;
/// A measurement that found little is not repeated before a file system has filled by this part of the limit once more.
const STEP: u64 = 16;

/// What may be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: Option<u64>,
    pub(super) files: Option<u64>,
}

/// The writable parts of the host and the file systems they lie on, as they were before anything ran.
#[derive(Debug)]
pub(super) struct Before {
    trees: Vec<PathBuf>,
    filesystems: HashMap<u64, Filesystem>,
    at: SystemTime,
    bounds: Bounds,
}

#[derive(Debug)]
struct Filesystem {
    root: File,
    /// How much may be in use before the sandbox's part is measured.
    bytes: u64,
    files: u64,
}

impl Before {
    /// Looks at what is writable, and at what is mounted below.
    pub(super) fn look(trees: Vec<PathBuf>, bounds: Bounds) -> Result<Self> {
        let mut before = Self { trees: Vec::new(), filesystems: HashMap::new(), at: SystemTime::now(), bounds };
        let mounts = fs::read("/proc/self/mountinfo").map_err(Error::io("read the list of mounts"))?;
        let points = mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
        let mounted = points.filter_map(proc::mounted);
        let below = mounted.filter(|mount| trees.iter().any(|tree| mount.starts_with(tree)));
        for path in trees.iter().cloned().chain(below) {
            before.fill(&path)?;
        }
        before.trees = trees;
        Ok(before)
    }

    /// One more writable directory.
    pub(super) fn add(&mut self, directory: &Path) -> Result<()> {
        self.trees.push(directory.to_owned());
        self.fill(directory)
    }

    /// Looks how full the file system is that `path` lies on.
    fn fill(&mut self, path: &Path) -> Result<()> {
        // What the user cannot enter cannot be entered inside either.
        let Ok(root) = File::open(path) else { return Ok(()) };
        let device = root.metadata().map_err(Error::io("look at a writable directory"))?.dev();
        let (bytes, files) = in_use(&root)?;
        let room = |used: u64, bound: Option<u64>| used.saturating_add(bound.unwrap_or(u64::MAX));
        let (bytes, files) = (room(bytes, self.bounds.bytes), room(files, self.bounds.files));
        self.filesystems.entry(device).or_insert(Filesystem { root, bytes, files });
        Ok(())
    }

    /// The file systems that do not count their files, on which a bound on files cannot be watched.
    pub(super) fn uncounted(&self) -> bool {
        self.filesystems.values().any(|filesystem| fstatvfs(&filesystem.root).is_ok_and(|found| found.files() == 0))
    }

    /// Ends everything inside when more was added than may be.
    pub(super) fn watch(self, inside: Inside) -> Result<Ticker> {
        let bounds = self.bounds;
        let mut disk = Disk { before: self, inside, bounds };
        Ticker::start("disk", move || disk.look())
    }
}

struct Disk {
    before: Before,
    inside: Inside,
    bounds: Bounds,
}

impl Disk {
    fn look(&mut self) -> Option<Duration> {
        let mut soonest = Duration::MAX;
        for device in self.before.filesystems.keys().copied().collect::<Vec<_>>() {
            let filesystem = self.before.filesystems.get(&device)?;
            // A file system that cannot be asked any more is as good as full.
            let (bytes, files) = in_use(&filesystem.root).unwrap_or((u64::MAX, u64::MAX));
            if bytes > filesystem.bytes || files > filesystem.files {
                let growth = self.measure();
                if let Some(limit) = self.exceeded(&growth) {
                    self.inside.end(limit);
                    return None;
                }
                self.allow(device, (bytes, files), &growth);
            }
            let filesystem = self.before.filesystems.get(&device)?;
            soonest = soonest
                .min(pause(filesystem.bytes.saturating_sub(bytes), BYTES_RATE))
                .min(pause(filesystem.files.saturating_sub(files), FILES_RATE));
        }
        Some(soonest)
    }

    fn measure(&self) -> Growth {
        let Before { trees, filesystems, at, .. } = &self.before;
        let devices: Vec<u64> = filesystems.keys().copied().collect();
        let over = |growth: &Growth| self.exceeded(growth).is_some();
        growth::measure(trees.iter().map(PathBuf::as_path), &devices, *at, &self.inside.commands(), over)
    }

    fn exceeded(&self, growth: &Growth) -> Option<Limit> {
        let over = |grown: u64, bound: Option<u64>| bound.is_some_and(|bound| growth.hidden || grown > bound);
        if over(growth.bytes, self.bounds.bytes) {
            Some(Limit::Disk)
        } else {
            over(growth.files, self.bounds.files).then_some(Limit::Files)
        }
    }

    /// Somebody else has filled the file system: what the sandbox may still add is counted from here.
    fn allow(&mut self, device: u64, (bytes, files): (u64, u64), growth: &Growth) {
        let room = |used: u64, grown: u64, bound: Option<u64>| {
            bound.map_or(u64::MAX, |bound| used.saturating_add((bound.saturating_sub(grown)).max(bound / STEP)))
        };
        if let Some(filesystem) = self.before.filesystems.get_mut(&device) {
            filesystem.bytes = room(bytes, growth.bytes, self.bounds.bytes);
            filesystem.files = room(files, growth.files, self.bounds.files);
        }
    }
}

/// Bytes and files in use on the file system of `root`.
fn in_use(root: &File) -> Result<(u64, u64)> {
    let found = fstatvfs(root).map_err(Error::errno("ask how full a file system is"))?;
    Ok((
        (found.blocks() - found.blocks_free()) * found.fragment_size(),
        found.files().saturating_sub(found.files_free()),
    ))
}

/// The writable directories of the host among what a sandbox sees, none inside another.
pub(super) fn writable<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let mut trees: Vec<PathBuf> = paths.map(Path::to_owned).collect();
    trees.sort();
    trees.dedup_by(|path, above| path.starts_with(above.as_path()));
    trees
}
