//! What `deny_read_paths` says: patterns, each with the exceptions written after it in the same list.

use crate::paths::{self, Globs, PatternError};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// A pattern of what cannot be read, and what of it can be read all the same.
///
/// An exception (`!pattern`) takes back only from the patterns before it in its own list. So no file, and no other list of the
/// same file, loosens what another one denies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DenyRead {
    /// A glob: relative to the workspace, absolute, or starting with `~/`.
    pub glob: String,
    /// Globs of what this one leaves readable.
    pub except: Vec<String>,
}

impl DenyRead {
    /// The patterns of one list, in its order. The list has been checked.
    ///
    /// ```
    /// use holdpoint_policy::DenyRead;
    ///
    /// let list = DenyRead::list([".env*", "!.env.example", "*.pem"].into_iter());
    /// assert_eq!(list[0].to_string(), "**/.env* but not **/.env.example");
    /// assert_eq!(list[1].to_string(), "**/*.pem");
    /// assert!(list[0].covers("app/.env.local".as_ref()) && !list[0].covers("app/.env.example".as_ref()));
    /// ```
    pub fn list<'a>(words: impl Iterator<Item = &'a str>) -> Vec<DenyRead> {
        let mut list: Vec<DenyRead> = Vec::new();
        for word in words {
            match word.strip_prefix('!') {
                Some(exception) => {
                    let exception = paths::normalize(exception);
                    list.iter_mut().for_each(|pattern| pattern.except.push(exception.clone()));
                }
                None => list.push(DenyRead { glob: paths::normalize(word), except: Vec::new() }),
            }
        }
        list
    }

    /// Whether it is relative and starts at one place, so that it matters which.
    pub(crate) fn is_anchored(&self) -> bool {
        paths::is_anchored(&self.glob)
    }

    /// The same with what is relative to one place starting in an absolute directory.
    pub(crate) fn below(&self, directory: &str) -> DenyRead {
        let below = |glob: &String| match paths::is_anchored(glob) {
            true => format!("{}/{glob}", paths::literal(directory).trim_end_matches('/')),
            false => glob.clone(),
        };
        DenyRead { glob: below(&self.glob), except: self.except.iter().map(below).collect() }
    }

    /// Whether it names a place of the machine and not one of the workspace.
    pub(crate) fn is_absolute(&self) -> bool {
        self.glob.starts_with(['/', '~'])
    }

    /// Whether the path is denied, as a file or as a directory. What is not certain to be excepted is denied.
    pub fn covers(&self, path: &Path) -> bool {
        // Patterns are checked when they are read; should one be broken here all the same, nothing is readable.
        let denied = Globs::new(&[&self.glob]).map_or(true, |globs| globs.matches(path, true).is_some());
        denied && !Globs::exceptions(&self.except).is_ok_and(|globs| globs.matches(path, false).is_some())
    }
}

impl fmt::Display for DenyRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.glob)?;
        match self.except.as_slice() {
            [] => Ok(()),
            except => write!(f, " but not {}", except.join(", ")),
        }
    }
}

/// Checks one word of a list; `first` when no pattern stands before it.
pub(crate) fn check(word: &str, first: bool) -> Result<(), PatternError> {
    match word.strip_prefix('!') {
        None => paths::check(word),
        Some(_) if first => Err(PatternError {
            pattern: word.to_owned(),
            why: "an exception (`!`) takes back from the patterns before it in the same list, and there is none; \
                  what another list denies stays denied"
                .to_owned(),
        }),
        Some(exception) => paths::check(exception),
    }
}
