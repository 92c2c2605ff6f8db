//! The text of a deny pattern, taken apart: braces expanded, one matcher for each component.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobMatcher};

/// Braces are expanded before matching; a pattern that multiplies beyond this is refused.
const MOST_ALTERNATIVES: usize = 1_000;

#[derive(Debug, Clone)]
pub(super) enum Part {
    /// `**`
    Any,
    Name(Name),
}

/// One component of a pattern, without `/`.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Literal(Vec<u8>),
    /// What stands between the stars of a component that has no other special character.
    Stars(Vec<Vec<u8>>),
    Glob(GlobMatcher),
}

impl Name {
    pub(super) fn new(text: &str) -> Result<Name, String> {
        let lower = text.to_ascii_lowercase();
        if !lower.contains(['*', '?', '[', ']', '\\', '{', '}']) {
            return Ok(Name::Literal(lower.into_bytes()));
        }
        if !lower.contains(['?', '[', ']', '\\', '{', '}']) {
            return Ok(Name::Stars(lower.split('*').map(|piece| piece.as_bytes().to_vec()).collect()));
        }
        let glob = glob(text).build().map_err(|error| format!("{} in `{text}`", error.kind()))?;
        Ok(Name::Glob(glob.compile_matcher()))
    }

    pub(super) fn matches(&self, lower: &[u8]) -> bool {
        match self {
            Name::Literal(literal) => literal == lower,
            Name::Stars(pieces) => stars(pieces, lower),
            Name::Glob(glob) => glob.is_match(OsStr::from_bytes(lower)),
        }
    }
}

pub(super) fn glob(text: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(text);
    builder.literal_separator(true).case_insensitive(true).backslash_escape(true).empty_alternates(true);
    builder
}

/// Whether `name` is the pieces in their order with anything between them. The leftmost place is right for each piece
/// but the first, which stands at the start, and the last, which stands at the end.
fn stars(pieces: &[Vec<u8>], name: &[u8]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    // Empty pieces are never compared: comparing nothing at a dangling address costs the processor a suppressed fault.
    let mut rest = name;
    if !first.is_empty() {
        let Some(after) = rest.strip_prefix(first.as_slice()) else { return false };
        rest = after;
    }
    for piece in middle.iter().filter(|piece| !piece.is_empty()) {
        let Some(at) = find(rest, piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    last.is_empty() || rest.ends_with(last)
}

/// Where `piece`, which is not empty, first stands in `text`. Names are short: looking for its first byte is enough.
fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    let last = text.len().checked_sub(piece.len())?;
    (0..=last).find(|&at| text[at] == piece[0] && text[at..].starts_with(piece))
}

/// Whether `text` has a character that makes a pattern of it.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// `a{b,c{d,e}}` as `ab`, `acd`, `ace`; escapes and classes stay as they are.
pub(super) fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut todo = vec![pattern.to_owned()];
    while let Some(text) = todo.pop() {
        let Some(brace) = first_brace(&text) else {
            done.push(text);
            continue;
        };
        for choice in brace.choices {
            todo.push(format!("{}{choice}{}", &text[..brace.start], &text[brace.end..]));
        }
        if todo.len() + done.len() > MOST_ALTERNATIVES {
            return Err(format!("its braces stand for more than {MOST_ALTERNATIVES} patterns"));
        }
    }
    Ok(done)
}

struct Brace {
    start: usize,
    end: usize,
    choices: Vec<String>,
}

fn first_brace(text: &str) -> Option<Brace> {
    let bytes = text.as_bytes();
    let (mut start, mut depth, mut from) = (0, 0_usize, 0);
    let mut choices = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' => at = class_end(bytes, at),
            b'{' => {
                depth += 1;
                if depth == 1 {
                    (start, from) = (at, at + 1);
                }
            }
            b',' if depth == 1 => {
                choices.push(text[from..at].to_owned());
                from = at + 1;
            }
            b'}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    choices.push(text[from..at].to_owned());
                    return Some(Brace { start, end: at + 1, choices });
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The index of the `]` that ends the class opened at `at`; a `]` right after the opening belongs to the class.
fn class_end(bytes: &[u8], at: usize) -> usize {
    let mut from = at + 1;
    if matches!(bytes.get(from), Some(b'!' | b'^')) {
        from += 1;
    }
    let skip = usize::from(bytes.get(from) == Some(&b']'));
    (from + skip..bytes.len()).find(|&index| bytes[index] == b']').unwrap_or(bytes.len())
}
