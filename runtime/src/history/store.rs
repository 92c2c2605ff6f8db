//! Object databases in the view: where they are and what lies in them, as far as listing directories tells it.

use super::object::{Format, ObjectName};
use crate::{
    error::{Error, Result},
    survey::{Repository, repository},
};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
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
        let around = self.path.parent().unwrap_or(&self.path);
        let found = self.try_list().map_err(|error| self.fault(error.to_string()))?;
        match channels.iter().find(|channel| channel.starts_with(around)) {
            Some(channel) if found.is_some() => Err(self.fault(format!("{} is no file", channel.display()))),
            _ => Ok(found),
        }
    }

    fn try_list(&self) -> io::Result<Option<Listing>> {
        let (mut loose, mut packs, mut long) = (Vec::new(), Vec::new(), false);
        let (mut pack_text, mut text) = (String::new(), String::new());
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if is_byte(name.as_bytes()) {
                for object in present(fs::read_dir(self.path.join(&name)))?.into_iter().flatten() {
                    let object = ObjectName::parse(&[name.as_bytes(), object?.file_name().as_bytes()].concat());
                    loose.extend(object);
                }
            }
        }
        for entry in present(fs::read_dir(self.packs()))?.into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(pack) = name.as_bytes().strip_suffix(b".idx") {
                long |= pack.len() > "pack-".len() + 2 * Format::Sha1.length();
                packs.push(entry.path());
            }
            if name.as_bytes().starts_with(b"pack-") {
                let found = entry.metadata()?;
                let (size, seconds, part) = (found.len(), found.mtime(), found.mtime_nsec());
                write!(pack_text, "{name:?} {size} {seconds}.{part} {}", found.ino()).unwrap_or_default();
            }
        }
        if loose.is_empty() && packs.is_empty() {
            return Ok(None);
        }
        loose.sort_unstable();
        packs.sort_unstable();
        long |= loose.iter().any(|name| name.as_bytes().len() == Format::Sha256.length());
        let format = if long { Format::Sha256 } else { Format::Sha1 };
        for index in &self.repository.indexes {
            let found = fs::metadata(index)?;
            let (size, seconds, part) = (found.len(), found.mtime(), found.mtime_nsec());
            writeln!(text, "index {} {size} {seconds}.{part} {}", index.display(), found.ino()).unwrap_or_default();
        }
        for name in &loose {
            writeln!(text, "loose {name}").unwrap_or_default();
        }
        Ok(Some(Listing { format, loose, packs, pack_text, text }))
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

fn is_byte(name: &[u8]) -> bool {
    matches!(name, [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f'])
}

fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        read => read.map(Some),
    }
}
