//! Reading a configuration file: TOML in, checked shape or an error with a caret out.

mod check;
mod error;
mod nearest;
#[cfg(feature = "schema")]
mod schema;
pub(crate) mod shape;
mod starts;
mod units;

pub(crate) use check::compile_rule;
pub use error::{ConfigError, Mistake};
pub(crate) use error::{line_column, visible};
pub(crate) use nearest::nearest;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use starts::Starts;
pub use units::{Cpus, Size, Time};

use crate::deny_read::DenyRead;
use shape::FileShape;
use std::ops::Range;
use std::sync::Arc;

/// Where a configuration text comes from, as error messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The path of the file as a person would type it.
    pub name: String,
}

impl Origin {
    /// The file of this name.
    pub fn file(name: impl Into<String>) -> Origin {
        Origin { name: name.into() }
    }
}

/// What kind of text the TOML stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file of its own.
    File,
    /// A block in `AGENTS.md`.
    Block,
}

/// One configuration text that was read and is well formed. What it means is decided by [`crate::layer::compile`].
#[derive(Clone, Debug)]
pub struct Config {
    origin: String,
    source: Arc<str>,
    pub(crate) shape: FileShape,
    pub(crate) starts: Starts,
}

impl Config {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Broken TOML, an unknown key or word, a value that means nothing, a pattern that cannot be enforced, a rule whose
    /// examples do not hold, and keys for protections this version does not enforce: all fail, none is ignored.
    ///
    /// ```
    /// use holdpoint_policy::config::{Config, Origin};
    ///
    /// let origin = Origin::file("config.toml");
    /// assert!(Config::parse("[profile.ci]\napproval_policy = \"full-auto\"\n", &origin).is_ok());
    ///
    /// let error = Config::parse("[profile.ci]\napproval_policy = \"full-atuo\"\n", &origin).unwrap_err();
    /// assert_eq!(error.to_string(), "config.toml:2:19: unknown word `full-atuo` (did you mean `full-auto`?)");
    /// ```
    pub fn parse(text: &str, origin: &Origin) -> Result<Config, ConfigError> {
        Config::read(text, text, origin, Place::File)
    }

    /// Reads a file's bytes, which must be UTF-8.
    ///
    /// # Errors
    /// As [`Config::parse`], and [`Mistake::NotUtf8`] at the first byte that is not.
    pub fn parse_bytes(bytes: &[u8], origin: &Origin) -> Result<Config, ConfigError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Config::parse(text, origin),
            Err(error) => {
                let good = error.valid_up_to();
                let source: Arc<str> = String::from_utf8_lossy(bytes).into();
                let message = format!("byte {} is not UTF-8", good + 1);
                Err(ConfigError::at(Mistake::NotUtf8, &origin.name, &source, good..good + 3, message)
                    .suggest("save the file as UTF-8"))
            }
        }
    }

    /// Reads `toml`, a text of the same length as `shown` in which what is not ours is blank; errors show `shown`.
    pub(crate) fn read(toml: &str, shown: &str, origin: &Origin, place: Place) -> Result<Config, ConfigError> {
        let source: Arc<str> = shown.into();
        let shape: FileShape =
            toml::from_str(toml).map_err(|error| check::explain_toml(&error, &origin.name, &source, place))?;
        let config = Config { origin: origin.name.clone(), source, shape, starts: Starts::default() };
        check::check(&config)?;
        Ok(config)
    }

    /// A configuration that says nothing.
    pub fn empty(origin: &Origin) -> Config {
        Config {
            origin: origin.name.clone(),
            source: "".into(),
            shape: FileShape::default(),
            starts: Starts::default(),
        }
    }

    /// The same with relative paths and patterns that start elsewhere.
    pub fn starting(self, starts: Starts) -> Config {
        Config { starts, ..self }
    }

    /// Every pattern of `deny_read_paths`, outside of profiles and in any of them.
    pub fn denied(&self) -> Vec<DenyRead> {
        let profiles = self.shape.profile.values().map(|profile| &profile.deny_read_paths);
        let lists = profiles.chain([&self.shape.deny_read_paths]);
        let patterns = lists.flat_map(|list| DenyRead::list(list.iter().map(|word| word.get_ref().as_str())));
        patterns.flat_map(|pattern| self.starts.denied(&pattern)).collect()
    }

    /// The file this was read from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The names of the profiles defined here, sorted.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.shape.profile.keys().map(|name| name.get_ref().as_str())
    }

    /// `FILE:LINE` of a span.
    pub(crate) fn source_of(&self, span: Range<usize>) -> String {
        format!("{}:{}", self.origin, line_column(&self.source, span.start).0)
    }

    /// An error at a span of this text.
    pub(crate) fn error(&self, mistake: Mistake, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(mistake, &self.origin, &self.source, span, message)
    }
}
