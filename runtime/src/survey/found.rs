//! What the walks find.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::globs::States;
use super::walk::{Kind, open_directory};
use super::{Inode, Mask};
use crate::sys::entries;

/// What the walks found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) masks: Vec<Mask>,
    /// Directories that were read and are not masked.
    pub(crate) directories: Vec<Listed>,
    /// Entries whose name is worth protecting, in the workspace.
    pub(crate) named: Vec<PathBuf>,
    /// Symlinks whose own name is denied.
    pub(crate) links: Vec<PathBuf>,
    /// Symlinks that give a directory, once they lead to one, a second name by which patterns apply to it.
    pub(crate) aliasing: Vec<PathBuf>,
    /// Directories below masks, and those that absolute patterns search outside of every root.
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) beyond: Vec<PathBuf>,
    /// Sockets and FIFOs with somebody at their other end.
    pub(crate) channels: Vec<PathBuf>,
    /// Inodes of denied files.
    pub(crate) denied: Vec<Inode>,
    pub(crate) warnings: Vec<String>,
    /// Directories masked after they may have been read already.
    pub(crate) later: Vec<PathBuf>,
    /// Whether some directory lies on a file system that is not [`is_local`](super::walk::is_local).
    pub(crate) foreign: bool,
    /// Directories to read once more under another name.
    pub(super) queue: Vec<(PathBuf, States)>,
    /// All that were.
    pub(super) aliases: HashSet<(PathBuf, States)>,
}

/// A directory, and the regular files in it that are not denied by their name.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(super) files: Box<[Inode]>,
}

impl Found {
    /// Takes in what another thread has found.
    pub(super) fn append(&mut self, mut other: Found) {
        self.masks.append(&mut other.masks);
        self.directories.append(&mut other.directories);
        for (own, others) in [
            (&mut self.named, &mut other.named),
            (&mut self.links, &mut other.links),
            (&mut self.channels, &mut other.channels),
            (&mut self.aliasing, &mut other.aliasing),
            (&mut self.hidden, &mut other.hidden),
            (&mut self.beyond, &mut other.beyond),
            (&mut self.later, &mut other.later),
        ] {
            own.append(others);
        }
        self.denied.append(&mut other.denied);
        self.warnings.append(&mut other.warnings);
        self.queue.append(&mut other.queue);
        self.foreign |= other.foreign;
    }

    /// Masks every other name of a denied file. Reads those directories again that hold one.
    pub(crate) fn mask_hard_links(&mut self) {
        if self.denied.is_empty() {
            return;
        }
        self.denied.sort_unstable();
        self.denied.dedup();
        let sieve = Sieve::new(&self.denied);
        let denied = |inode: &Inode| sieve.may_hold(inode) && self.denied.binary_search(inode).is_ok();
        let mut masks = Vec::new();
        for holder in self.directories.iter().filter(|directory| directory.files.iter().any(denied)) {
            let Ok(directory) = open_directory(&holder.path) else { continue };
            let mut buffer = vec![0; 32 << 10];
            while let Ok(length @ 1..) = entries::read(directory.as_fd(), &mut buffer) {
                for entry in entries::entries(&buffer[..length]) {
                    let name = OsStr::from_bytes(entry.name);
                    let Ok(status) = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
                    if Kind::of(&status) == Kind::File && denied(&(status.st_dev, status.st_ino)) {
                        masks.push(Mask { path: holder.path.join(name), directory: false });
                    }
                }
            }
        }
        self.masks.append(&mut masks);
    }
}

/// Tells for most inodes that they are not in a set, without looking into it.
struct Sieve([u64; 1024]);

impl Sieve {
    fn new(inodes: &[Inode]) -> Sieve {
        let mut words = [0; 1024];
        for inode in inodes {
            let (word, bit) = Self::place(inode);
            words[word] |= bit;
        }
        Sieve(words)
    }

    fn may_hold(&self, inode: &Inode) -> bool {
        let (word, bit) = Self::place(inode);
        self.0[word] & bit != 0
    }

    fn place(inode: &Inode) -> (usize, u64) {
        let bit = inode.1 % (1024 * 64);
        ((bit / 64) as usize, 1 << (bit % 64))
    }
}
