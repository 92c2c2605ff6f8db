//! Object databases in the view: where they are and what lies in them, as far as listing directories tells it.

use super::object::{Format, ObjectName};
use crate::{
    error::{Error, Result},
    survey::{Repository, repository},
};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// A directory with objects (gitrepository-layout(5)), and what uses it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) path: PathBuf,
    pub(super) repository: Repository,
}

/// What lies in a store.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) format: Format,
    /// Objects with a file of their own, sorted.
    pub(super) loose: Vec<ObjectName>,
    /// The indexes of the packs.
    pub(super) packs: Vec<PathBuf>,
    /// Change with the packs, and with everything else: what two listings have in common is the same in the store.
    pub(super) pack_text: String,
    pub(super) text: String,
}

/// The stores among `directories`: every directory with a `pack` or with the names of a byte in it. What they are called says
/// nothing, for one can be renamed.
pub(super) fn stores(directories: &[PathBuf]) -> Vec<Store> {
    let is_part = |name: &[u8]| name == b"pack" || is_byte(name);
    let parts = directories.iter().filter(|path| path.file_name().is_some_and(|name| is_part(name.as_bytes())));
    let holders: BTreeSet<&Path> = parts.filter_map(|path| path.parent()).collect();
    let store =
        |path: &Path| Store { path: path.to_owned(), repository: path.parent().map(repository).unwrap_or_default() };
    holders.into_iter().map(store).collect()
}

impl Store {
    /// Where an object with a file of its own lies.
    pub(super) fn file(&self, name: &ObjectName) -> PathBuf {
        let name = name.to_string();
        let (first, rest) = name.split_at(2);
        self.path.join(first).join(rest)
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.path.join("pack")
    }

    /// Lists it; none when there is nothing in it. None of the `channels` may lie in it, because git would wait for whoever
    /// is at their other ends.
    pub(super) fn list(&self, channels: &[PathBuf]) -> Result<Option<Listing>> {
        let Some(listing) = self.try_list().map_err(|error| self.fault(error.to_string()))? else { return Ok(None) };
        if let Some(channel) = channels.iter().find(|channel| channel.starts_with(&self.path)) {
            return Err(self.fault(format!("{} is no file", channel.display())));
        }
        let lengths = listing.loose.iter().copied().chain(listing.packs.iter().filter_map(|index| called(index)));
        // Whoever could have one taken for the other would have git find nothing.
        if lengths.into_iter().any(|name| name.as_bytes().len() != listing.format.length()) {
            return Err(self.fault("names of SHA-1 and of SHA-256 lie in it".into()));
        }
        Ok(Some(listing))
    }

    fn try_list(&self) -> io::Result<Option<Listing>> {
        let (mut loose, mut packs, mut pack_lines, mut lines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for entry in entries(&self.path)? {
            let name = entry?.file_name();
            if is_byte(name.as_bytes()) {
                for object in entries(&self.path.join(&name))? {
                    let object = ObjectName::parse(&[name.as_bytes(), object?.file_name().as_bytes()].concat());
                    loose.extend(object);
                }
            }
        }
        for entry in entries(&self.packs())? {
            let path = entry?.path();
            pack_lines.push(stamp(&path)?);
            packs.extend(path.extension().is_some_and(|kind| kind == "idx").then_some(path));
        }
        if loose.is_empty() && packs.is_empty() {
            return Ok(None);
        }
        for index in &self.repository.indexes {
            lines.push(format!("index {}", stamp(index)?));
        }
        loose.sort_unstable();
        packs.sort_unstable();
        pack_lines.sort_unstable();
        lines.extend(loose.iter().map(|name| format!("loose {name}")));
        let long = |name: ObjectName| name.as_bytes().len() == Format::Sha256.length();
        let first = loose.first().copied().or_else(|| packs.iter().find_map(|index| called(index)));
        let format = if first.is_some_and(long) { Format::Sha256 } else { Format::Sha1 };
        Ok(Some(Listing { format, loose, packs, pack_text: pack_lines.join(" "), text: lines.join("\n") }))
    }

    /// Says what is wrong with it.
    pub(super) fn fault(&self, why: String) -> Error {
        Error::Plan {
            what: "the history of git in",
            path: self.path.clone(),
            why: format!("{why}; take deny_read_git_history away or deny this directory"),
        }
    }
}

/// Whether git keeps something of its history in a file at `path`, by what it is called.
pub(crate) fn is_part(path: &Path) -> bool {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().map(OsStrExt::as_bytes)) else { return false };
    match directory.file_name().map(OsStrExt::as_bytes) {
        Some(b"pack") => name.ends_with(b".idx"),
        Some(byte) if is_byte(byte) => ObjectName::parse(&[byte, name].concat()).is_some(),
        _ => name == b"index" && directory.join("HEAD").symlink_metadata().is_ok(),
    }
}

fn is_byte(name: &[u8]) -> bool {
    matches!(name, [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f'])
}

/// What is in a directory: nothing when it is gone, or shut, for then it is covered.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => Ok(None),
        read => read.map(Some),
    }
    .map(|entries| entries.into_iter().flatten())
}

/// Another one for another content, in one line.
fn stamp(file: &Path) -> io::Result<String> {
    let found = file.symlink_metadata()?;
    let (size, seconds, part, inode) = (found.len(), found.mtime(), found.mtime_nsec(), found.ino());
    Ok(format!("{:?} {size} {seconds}.{part} {inode}", file.as_os_str()))
}

/// The name of a pack, as git gives it.
fn called(index: &Path) -> Option<ObjectName> {
    ObjectName::parse(index.file_stem()?.as_bytes().strip_prefix(b"pack-")?)
}
