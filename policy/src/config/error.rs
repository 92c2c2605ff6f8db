//! A configuration error, shown where it stands: source line, caret, nearest known word.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What kind of mistake a [`ConfigError`] is, for callers that treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// The text is not TOML.
    Syntax,
    /// The file is not UTF-8.
    NotUtf8,
    /// A key nobody knows.
    UnknownKey,
    /// A word or name that is not among those known in its place.
    UnknownWord,
    /// A value of the wrong type or out of range, or a pattern that cannot be enforced.
    BadValue,
    /// A key that promises a protection this version does not enforce.
    NotEnforced,
    /// A project's own file asks for something that could loosen the policy.
    Loosens,
    /// An example in a rule does not hold.
    Example,
}

/// What is wrong with a configuration, and where.
///
/// `Display` is one line, `FILE:LINE:COLUMN: what`; [`ConfigError::render`] shows the source with a caret.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// The file, or the flag.
    pub origin: String,
    /// Line, counted from 1; 0 when the mistake stands in no file.
    pub line: usize,
    /// Column in characters, counted from 1; 0 when the mistake stands in no file.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
    /// The kind of mistake.
    pub mistake: Mistake,
    place: Option<Box<Place>>,
}

/// The piece of source an error points at.
#[derive(Clone, Debug)]
struct Place {
    source: Arc<str>,
    span: Range<usize>,
}

impl ConfigError {
    /// A mistake that stands in no file: in a flag, or in what no file says.
    pub fn elsewhere(mistake: Mistake, origin: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: origin.into(),
            line: 0,
            column: 0,
            message: visible(&message.into()),
            suggestion: None,
            mistake,
            place: None,
        }
    }

    /// A mistake at `span` (bytes) of `source`.
    pub(crate) fn at(
        mistake: Mistake,
        origin: &str,
        source: &Arc<str>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> ConfigError {
        let (line, column) = line_column(source, span.start);
        let place = Place { source: Arc::clone(source), span: clamp(source, span) };
        ConfigError { line, column, place: Some(Box::new(place)), ..ConfigError::elsewhere(mistake, origin, message) }
    }

    /// The same error with advice.
    #[must_use]
    pub(crate) fn suggest(mut self, suggestion: impl Into<String>) -> ConfigError {
        self.suggestion = Some(visible(&suggestion.into()));
        self
    }

    /// The same error with "did you mean" when one of `known` is near `word`, else with all of `known`.
    #[must_use]
    pub(crate) fn suggest_among<S: AsRef<str>>(self, word: &str, known: &[S]) -> ConfigError {
        match super::nearest::nearest(word, known) {
            Some(near) => self.suggest(format!("did you mean `{near}`?")),
            None if known.is_empty() => self,
            None => self.suggest(format!("known are {}", crate::mode::list(known))),
        }
    }

    /// The error for a screen: message, source line, caret and suggestion; with ANSI colours when `color`.
    ///
    /// ```
    /// use holdpoint_policy::config::{Config, Origin};
    ///
    /// let error = Config::parse("[profile.default]\nsandbx = \"read-only\"\n", &Origin::file("config.toml")).unwrap_err();
    /// let text = error.render(false);
    /// assert!(text.contains("--> config.toml:2:1"));
    /// assert!(text.contains("2 | sandbx = \"read-only\""));
    /// assert!(text.contains("^^^^^^"));
    /// assert!(text.contains("did you mean `sandbox`?"));
    /// ```
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut group = Group::with_title(Level::ERROR.primary_title(&*self.message));
        let path = visible(&self.origin);
        match &self.place {
            Some(place) => {
                let annotation = AnnotationKind::Primary.span(place.span.clone());
                group = group.element(Snippet::source(&*place.source).path(path).annotation(annotation));
            }
            None => group = group.element(Level::NOTE.message(format!("in {path}"))),
        }
        if let Some(suggestion) = &self.suggestion {
            group = group.element(Level::HELP.message(&**suggestion));
        }
        let mut text = renderer.render(&[group]).to_string();
        text.push('\n');
        text
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = visible(&self.origin);
        match self.line {
            0 => write!(f, "{path}: {}", self.message)?,
            line => write!(f, "{path}:{line}:{}: {}", self.column, self.message)?,
        }
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Line and column, both from 1, of a byte offset; the column counts characters.
pub(crate) fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..floor_boundary(source, offset)];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// A span inside the source and on one line, so that a whole table shows its header and not a page of text.
fn clamp(source: &str, span: Range<usize>) -> Range<usize> {
    let start = floor_boundary(source, span.start);
    let end = floor_boundary(source, span.end).max(start);
    let line_end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
    start..end.min(line_end)
}

fn floor_boundary(source: &str, offset: usize) -> usize {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Text of a foreign file inside our own sentence: control, bidi and invisible characters become visible.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
        if hidden {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}
