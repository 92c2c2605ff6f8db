//! What `!` takes back from a deny pattern.
//!
//! Every pattern carries its own exceptions, so that those of one file never loosen what another file denies. A directory
//! is hidden as a whole only when no exception can apply below it; otherwise its entries are hidden one by one.

use super::SurveyError;
use super::globs::{Globs, Position};
use crate::plan::Denied;

/// The exceptions of a set of patterns.
#[derive(Debug)]
pub(super) struct Exceptions {
    globs: Globs,
    /// For each deny pattern, which of the exceptions are its own.
    of: Vec<Vec<u16>>,
}

/// What has been decided on the way down to one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Partly {
    /// How far each exception has come.
    positions: Vec<Position>,
    /// Patterns that deny the directory but for what they except. Sorted.
    denied: Vec<u16>,
    /// Exceptions that hold for the directory and all below it. Sorted.
    excepted: Vec<u16>,
}

impl Exceptions {
    /// `None` when there are none.
    pub(super) fn new(patterns: &[Denied]) -> Result<Option<Box<Exceptions>>, SurveyError> {
        let texts: Vec<String> = patterns.iter().flat_map(|denied| denied.except.iter().cloned()).collect();
        if texts.is_empty() {
            return Ok(None);
        }
        let globs = Globs::new(&texts).map_err(|error| match error {
            SurveyError::Pattern { pattern, why } => SurveyError::Pattern { pattern: format!("!{pattern}"), why },
            other => other,
        })?;
        let mut next = 0..=u16::MAX;
        let of = patterns.iter().map(|denied| next.by_ref().take(denied.except.len()).collect()).collect();
        Ok(Some(Box::new(Exceptions { globs, of })))
    }

    /// At the root of the machine.
    pub(super) fn absolute_start(&self) -> Partly {
        Partly { positions: self.globs.absolute_positions(), ..Partly::default() }
    }

    /// At the directory where relative patterns start.
    pub(super) fn start_relative(&self, at: &mut Partly) {
        self.globs.start_relative(&mut at.positions);
    }

    /// Enters the directory `lower`, which the patterns `hits` match by its name.
    pub(super) fn enter(&self, at: &Partly, lower: &[u8], hits: impl Iterator<Item = u16>) -> Partly {
        let excepted = self.taken_back(at, lower, true);
        let mut denied: Vec<u16> = at.denied.iter().copied().chain(hits).collect();
        denied.retain(|&pattern| !self.has(pattern, &excepted));
        denied.sort_unstable();
        denied.dedup();
        Partly { positions: self.globs.advance(&at.positions, lower), denied, excepted }
    }

    /// The first pattern, of those that match an entry by its name and those that deny its directory, that hides the entry
    /// as a whole.
    pub(super) fn hides(
        &self,
        at: &Partly,
        lower: &[u8],
        directory: bool,
        hits: impl Iterator<Item = u16>,
    ) -> Option<u16> {
        let mut hits = hits.chain(at.denied.iter().copied()).peekable();
        hits.peek()?;
        let back = self.taken_back(at, lower, directory);
        let below = if directory { self.globs.advance(&at.positions, lower) } else { Vec::new() };
        // A file has nothing below it, a directory may have something that stays readable.
        let spares = |own: &u16| back.binary_search(own).is_ok() || (directory && self.globs.reaches(*own, &below));
        hits.find(|&pattern| !self.of[usize::from(pattern)].iter().any(spares))
    }

    /// The exceptions that hold for the entry `lower`.
    fn taken_back(&self, at: &Partly, lower: &[u8], directory: bool) -> Vec<u16> {
        let mut back = at.excepted.clone();
        back.extend(self.globs.hits(&at.positions, lower, directory, true));
        back.sort_unstable();
        back.dedup();
        back
    }

    fn has(&self, pattern: u16, exceptions: &[u16]) -> bool {
        self.of[usize::from(pattern)].iter().any(|own| exceptions.binary_search(own).is_ok())
    }
}

impl Partly {
    /// Whether no pattern denies the directory.
    pub(super) fn is_open(&self) -> bool {
        self.denied.is_empty()
    }
}
