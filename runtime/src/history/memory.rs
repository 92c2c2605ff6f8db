//! What is remembered of a store between runs: what was hidden stays hidden, whatever a command has made of the history since,
//! and nothing is looked at twice.

use super::object::ObjectName;
use crate::error::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fmt::Display,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A directory of a store's own, locked while this lives.
pub(super) struct Memory {
    path: PathBuf,
    _lock: Flock<File>,
}

/// What was seen and made when a store was looked at.
pub(super) struct Looked {
    /// The name of the packs to show, if there are any.
    pub(super) packs: String,
    /// A digest of what is not in them.
    pub(super) hidden: String,
    /// Whether every tree could be walked.
    pub(super) whole: bool,
    /// What was asked, in one line.
    pub(super) asked: String,
    /// The packs of the store, in one line, and what else lay there.
    pub(super) pack_text: String,
    pub(super) seen: String,
}

/// Below the path of the store, apart from stores that lie below it.
const NAME: &str = "@history";
const LOOKED: &str = "looked";
const HIDDEN: &str = "hidden";
const COMMITS: &str = "commits";
const WHOLE: &str = "whole";

impl Memory {
    /// That of the store at `store`, in the directory `state`.
    pub(super) fn open(state: &Path, store: &Path) -> Result<Self> {
        let path = state.join(store.strip_prefix("/").unwrap_or(store)).join(NAME);
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            let lock =
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join("lock"))?;
            Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))
        };
        match open() {
            Ok(_lock) => Ok(Self { path, _lock }),
            Err(error) => Err(Error::Plan {
                what: "the memory of what is hidden in",
                path,
                why: format!("{error}; it has to be writable"),
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last look, if it came to its end and what it found is there.
    pub(super) fn looked(&self) -> Result<Option<Looked>> {
        let Some(text) = self.read(LOOKED)?.filter(|_| self.path.join(HIDDEN).exists()) else { return Ok(None) };
        let parts: Vec<String> = text.splitn(6, '\n').map(str::to_owned).collect();
        let Ok([packs, hidden, whole, asked, pack_text, seen]) = <[String; 6]>::try_from(parts) else {
            return Ok(None);
        };
        Ok(Some(Looked { packs, hidden, whole: whole == WHOLE, asked, pack_text, seen }))
    }

    /// Every object that was ever hidden.
    pub(super) fn hidden(&self) -> Result<Vec<ObjectName>> {
        self.names(HIDDEN)
    }

    /// The commits that were walked.
    pub(super) fn commits(&self) -> Result<Vec<ObjectName>> {
        self.names(COMMITS)
    }

    /// Remembers what is hidden and which commits were walked to find it.
    pub(super) fn keep<'n>(
        &self,
        hidden: impl IntoIterator<Item = &'n ObjectName>,
        commits: impl IntoIterator<Item = &'n ObjectName>,
    ) -> Result<()> {
        self.write(HIDDEN, &lines(hidden))?;
        self.write(COMMITS, &lines(commits))
    }

    /// Remembers that a look came to its end. Without that everything is looked at again.
    pub(super) fn keep_look(&self, look: &Looked) -> Result<()> {
        let Looked { packs, hidden, whole, asked, pack_text, seen } = look;
        let whole = if *whole { WHOLE } else { "partly" };
        self.write(LOOKED, &[packs, hidden, whole, asked, pack_text, seen].join("\n"))
    }

    fn names(&self, name: &str) -> Result<Vec<ObjectName>> {
        let text = self.read(name)?.unwrap_or_default();
        let names = text.lines().map(|line| ObjectName::parse(line.as_bytes()).ok_or_else(|| self.damaged(name)));
        names.collect()
    }

    fn damaged(&self, name: &str) -> Error {
        Error::Plan {
            what: "the memory of what is hidden in",
            path: self.path.join(name),
            why: "it is damaged; remove its directory to have the history looked through as if for the first time"
                .into(),
        }
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        match fs::read_to_string(self.path.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read what is hidden in the history of git")(error)),
        }
    }

    /// All or nothing, also when the machine stops meanwhile.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (new, place) = (self.path.join(format!("{name}.new")), self.path.join(name));
        let written = fs::write(&new, text).and_then(|()| File::open(&new)?.sync_all());
        written.and_then(|()| fs::rename(&new, &place)).map_err(Error::io("write what is hidden in the history of git"))
    }
}

fn lines(names: impl IntoIterator<Item = impl Display>) -> String {
    names.into_iter().map(|name| format!("{name}\n")).collect()
}
