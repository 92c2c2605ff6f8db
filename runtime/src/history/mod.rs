//! Denied files in the history of git: the objects that hold what stood at denied places, found and hidden.
//!
//! Git keeps each version of a file as an object, and reads it by its name, whatever lies on the file. So of the databases of
//! objects in the view is hidden
//!
//! - what stood at a denied place in any commit or index, even if it stood at others too;
//! - what stands nowhere when a database is looked at for the first time (files that were added and never committed);
//! - later, what stands nowhere and says the same as a file that is denied;
//! - what was hidden before, under whatever name a commit has it now.
//!
//! An object with a file of its own is covered like a denied file. One in a pack is left out: other packs are shown in the
//! place of the store's own ([`packs`]). `docs/decisions/git-history.md` says what was tried besides.

mod git;
mod living;
mod look;
mod memory;
mod object;
mod packs;
mod store;
mod walk;

use crate::{
    enforced::Protection,
    error::Result,
    plan::{Denied, Masked, Replaced},
    survey::Survey,
};
use git::Bench;
pub(crate) use living::{Living, Looks};
use look::Look;
use memory::Memory;
use object::ObjectName;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};
pub(crate) use store::is_part;

/// What to look for.
pub(crate) struct Request<'a> {
    /// Where to keep what was found.
    pub(crate) state: &'a Path,
    /// Directories in which relative patterns start, and all in which there may be databases.
    pub(crate) roots: &'a [PathBuf],
    pub(crate) deny: &'a [Denied],
    /// What may be missing where git runs too.
    pub(crate) allow_missing: &'a BTreeSet<Protection>,
    pub(crate) survey: &'a Survey,
    /// For a sandbox that lives: the directories of packs in it that others are shown in the place of.
    pub(crate) living: Option<&'a Shown>,
}

/// Directories of packs, and what is shown in the place of each.
pub(crate) type Shown = HashMap<PathBuf, PathBuf>;

/// What hides it.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    pub(crate) masks: Vec<Masked>,
    pub(crate) replaced: Vec<Replaced>,
}

/// Looks through every database of objects that will be seen. Starts sandboxes for git, and writes below `state`.
pub(crate) fn hide(request: &Request<'_>) -> Result<Hidden> {
    let mut all = Hidden::default();
    if request.deny.is_empty() {
        return Ok(all);
    }
    let mut looks = Vec::new();
    for store in store::stores(&request.survey.directories) {
        if let Some(listing) = store.list(&request.survey.channels)? {
            let memory = Memory::open(request.state, &store.path)?;
            looks.push(Look::new(request, store, listing, memory)?);
        }
    }
    let mut bench = None;
    for look in looks.iter_mut().filter(|look| look.has_changed()) {
        look.find(set_up(&mut bench, request, look.memory())?)?;
    }
    // One may borrow from another, and have another name for what it borrows.
    let hidden: BTreeSet<ObjectName> = looks.iter().flat_map(Look::hidden).copied().collect();
    for look in &mut looks {
        let packs_will_do = look.has_packs_for(&hidden);
        if !packs_will_do {
            look.replace_packs(set_up(&mut bench, request, look.memory())?, &hidden)?;
        }
        if look.has_changed() || !packs_will_do {
            look.remember(&hidden)?;
        }
        all.masks.extend(look.loose(&hidden).map(|path| Masked { path, directory: false }));
        all.replaced.extend(look.packs()?.map(|(path, by)| Replaced { path, by }));
    }
    Ok(all)
}

/// The sandbox for git, which most runs do without.
fn set_up<'b>(bench: &'b mut Option<Bench>, request: &Request<'_>, memory: &Memory) -> Result<&'b Bench> {
    let made = match bench.take() {
        Some(made) => made,
        None => Bench::new(request.roots, request.allow_missing, memory.path().join("work"))?,
    };
    Ok(bench.insert(made))
}
