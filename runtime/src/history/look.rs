//! A look at one database: what is to be hidden in it, and whether anything has changed since the last look.

use super::{
    Request,
    git::{Bench, Git, Kind, Object},
    memory::{Looked, Memory},
    object::ObjectName,
    packs,
    store::{Listing, Store},
    walk::Walk,
};
use crate::{
    error::{Error, Result},
    survey,
};
use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// One store and what is known of it.
pub(super) struct Look<'a> {
    request: &'a Request<'a>,
    store: Store,
    listing: Listing,
    memory: Memory,
    /// What the last look saw.
    before: Option<Looked>,
    /// What was asked of the one before and of this one has to be the same, or it is a first look.
    asked: String,
    hidden: HashSet<ObjectName>,
    /// Whether every tree could be walked.
    whole: bool,
    /// The name of the packs to show, if there are any.
    packs: String,
}

/// A larger file is compared with nothing.
const LARGEST_COPY: u64 = 64 << 20;

impl<'a> Look<'a> {
    pub(super) fn new(request: &'a Request<'a>, store: Store, listing: Listing, memory: Memory) -> Result<Self> {
        let mut asked = format!("{:?} {:?} {:?}", request.deny, request.roots, store.repository.trees);
        let before = memory.looked()?;
        if request.living.is_some() && before.as_ref().is_none_or(|before| before.asked != asked) {
            // The next start looks for the first time, when nobody is writing.
            asked.insert_str(0, "living ");
        }
        let hidden: HashSet<ObjectName> = memory.hidden()?.into_iter().collect();
        if hidden.iter().any(|name| name.as_bytes().len() != listing.format.length()) {
            return Err(store.fault("its objects had names of another length".into()));
        }
        let packs = before.as_ref().map(|before| before.packs.clone()).unwrap_or_default();
        let whole = before.as_ref().is_some_and(|before| before.whole);
        Ok(Self { request, store, listing, memory, before, asked, hidden, whole, packs })
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What has to be hidden wherever it lies.
    pub(super) fn hidden(&self) -> impl Iterator<Item = &ObjectName> {
        self.hidden.iter()
    }

    /// The look before, if the same was asked.
    fn before(&self) -> Option<&Looked> {
        self.before.as_ref().filter(|before| before.asked == self.asked)
    }

    /// That look, if there were the same packs.
    fn before_with_packs(&self) -> Option<&Looked> {
        self.before().filter(|before| before.pack_text == self.listing.pack_text)
    }

    /// Whether there is something that the last look has not seen.
    pub(super) fn has_changed(&self) -> bool {
        self.before_with_packs().is_none_or(|before| before.seen != self.listing.text)
    }

    /// Finds what has to be hidden, and remembers it.
    pub(super) fn find(&mut self, bench: &Bench) -> Result<()> {
        let git = Git::new(bench, &self.store, self.listing.format)?;
        let enough = self.before_with_packs().filter(|before| before.whole);
        let new: Option<Vec<ObjectName>> = enough.map(|before| self.new_files(Some(before)).collect());
        let objects = git.objects(new.as_deref())?;
        let mut known: HashSet<ObjectName> = match self.before() {
            Some(_) => self.memory.commits()?.into_iter().collect(),
            None => HashSet::new(),
        };
        let commits = objects.iter().filter(|object| object.kind == Kind::Commit).map(|object| object.name);
        let new: Vec<ObjectName> = commits.filter(|commit| known.insert(*commit)).collect();
        let mut walk = Walk::new(&self.request.survey.globs, self.request.roots, &self.store.repository.trees);
        self.whole = walk.commits(&git, &new)?;
        if !self.whole {
            // The rest may come.
            new.iter().for_each(|commit| {
                known.remove(commit);
            });
        }
        for index in &self.store.repository.indexes {
            let text = read(index).map_err(|error| self.store.fault(format!("{}: {error}", index.display())))?;
            survey::for_each_file(&text, self.listing.format.length(), |path, blob| {
                if let Some(blob) = ObjectName::new(blob) {
                    walk.file(path, blob);
                }
            });
        }
        let nowhere = objects.iter().filter(|object| object.kind == Kind::Blob && !walk.open.contains(&object.name));
        let more = match self.before() {
            // Of what is being written now some has no place yet.
            None if self.request.living.is_none() => nowhere.map(|object| object.name).collect(),
            before => self.copies(&git, nowhere, before)?,
        };
        self.hidden.extend(more);
        self.hidden.extend(&walk.denied);
        // Nothing is no secret.
        self.hidden.retain(|name| Some(*name) != self.listing.format.nothing());
        self.memory.keep(&self.hidden, &known)
    }

    /// The objects that have got a file of their own since.
    fn new_files(&self, before: Option<&Looked>) -> impl Iterator<Item = ObjectName> {
        let seen = before.into_iter().flat_map(|before| before.seen.lines());
        let seen: HashSet<&str> = seen.filter_map(|line| line.strip_prefix("loose ")).collect();
        self.listing.loose.iter().copied().filter(move |name| !seen.contains(name.to_string().as_str()))
    }

    /// Of those that stand nowhere and were not there `before`, the ones that say the same as a denied file.
    fn copies<'o>(
        &self,
        git: &Git<'_>,
        nowhere: impl Iterator<Item = &'o Object>,
        before: Option<&Looked>,
    ) -> Result<Vec<ObjectName>> {
        let files: HashSet<ObjectName> = self.new_files(before).collect();
        let new: Vec<&Object> = nowhere.filter(|object| files.contains(&object.name)).collect();
        let sizes: HashSet<u64> = new.iter().map(|object| object.size).filter(|size| *size <= LARGEST_COPY).collect();
        let denied = self.request.survey.masks.iter().filter(|mask| !mask.directory && !sizes.is_empty());
        let content = |path: &PathBuf| {
            let file = survey::open_plain(path).ok()??;
            let size = file.metadata().ok()?.len();
            let mut content = Vec::new();
            sizes.contains(&size).then(|| file.take(size).read_to_end(&mut content).ok())??;
            Some(content)
        };
        let same: HashSet<ObjectName> = git.hash(denied.filter_map(|mask| content(&mask.path)))?.into_iter().collect();
        Ok(new.into_iter().map(|object| object.name).filter(|name| same.contains(name)).collect())
    }

    /// Whether the packs that were made before will do for what is `hidden` now.
    pub(super) fn has_packs_for(&self, hidden: &BTreeSet<ObjectName>) -> bool {
        self.before_with_packs().is_some_and(|before| before.hidden == digest(hidden))
            && match self.packs.as_str() {
                "" => !self.shows_others(),
                packs => self.memory.path().join(packs).is_dir(),
            }
    }

    /// Whether others stand in for its packs already, in a sandbox that lives.
    fn shows_others(&self) -> bool {
        self.request.living.is_some_and(|shown| shown.contains_key(&self.store.packs()))
    }

    /// Makes packs without what is hidden, where the store's own have any of it.
    pub(super) fn replace_packs(&mut self, bench: &Bench, hidden: &BTreeSet<ObjectName>) -> Result<()> {
        let git = Git::new(bench, &self.store, self.listing.format)?;
        let mut packed = HashSet::new();
        for index in &self.listing.packs {
            packed.extend(git.packed(index)?);
        }
        let out: Vec<ObjectName> = packed.extract_if(|name| hidden.contains(name)).collect();
        self.packs = match out.as_slice() {
            [] if !self.shows_others() => String::new(),
            out => packs::make(&git, bench, &self.memory, &packed, out)?,
        };
        packs::forget(&self.memory, &self.packs).map_err(Error::io("remove old packs"))
    }

    /// Remembers that all of it was looked at.
    pub(super) fn remember(&self, hidden: &BTreeSet<ObjectName>) -> Result<()> {
        self.memory.keep_look(&Looked {
            packs: self.packs.clone(),
            hidden: digest(hidden),
            whole: self.whole,
            asked: self.asked.clone(),
            pack_text: self.listing.pack_text.clone(),
            seen: self.listing.text.clone(),
        })
    }

    /// The files of objects that are hidden.
    pub(super) fn loose(&self, hidden: &BTreeSet<ObjectName>) -> impl Iterator<Item = PathBuf> {
        self.listing.loose.iter().filter(|name| hidden.contains(*name)).map(|name| self.store.file(name))
    }

    /// The directory of packs, and what is to be shown in its place.
    pub(super) fn packs(&self) -> Result<Option<(PathBuf, PathBuf)>> {
        if self.packs.is_empty() {
            return Ok(None);
        }
        let by = self.memory.path().join(&self.packs);
        packs::use_again(&by).map_err(Error::io("keep packs"))?;
        Ok(Some((self.store.packs(), by)))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    survey::open_plain(path)?.ok_or(io::ErrorKind::NotFound)?.read_to_end(&mut text)?;
    Ok(text)
}

fn digest(names: &BTreeSet<ObjectName>) -> String {
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
