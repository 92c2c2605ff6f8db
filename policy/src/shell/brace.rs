//! Brace expansion: `{rm,-rf,x}` is three words.

/// Most words one expansion may make, and most braces in a word that turn out to be none.
const MOST_WORDS: usize = 64;

/// What became of a word with braces.
pub(super) enum Braces {
    /// The words it expands to; itself when there is nothing to expand.
    Words(Vec<String>),
    /// More than anyone would write by hand.
    TooMany,
}

/// The word with every unquoted `{a,b}` expanded.
pub(super) fn braces(raw: &str) -> Braces {
    if !raw.contains('{') {
        return Braces::Words(vec![raw.to_owned()]);
    }
    let mut done = Vec::new();
    let mut waiting: Vec<Vec<char>> = vec![raw.chars().collect()];
    while let Some(text) = waiting.pop() {
        match first_brace(&text) {
            Err(TooManyBraces) => return Braces::TooMany,
            Ok(None) => done.push(text.into_iter().collect()),
            Ok(Some((start, parts, end))) => {
                for part in parts.iter().rev() {
                    let mut joined = text[..start].to_vec();
                    joined.extend(part);
                    joined.extend(&text[end..]);
                    waiting.push(joined);
                }
            }
        }
        if done.len() + waiting.len() > MOST_WORDS {
            return Braces::TooMany;
        }
    }
    Braces::Words(done)
}

struct TooManyBraces;

type Brace = (usize, Vec<Vec<char>>, usize);

/// Start, alternatives and end of the first brace expansion.
fn first_brace(text: &[char]) -> Result<Option<Brace>, TooManyBraces> {
    let mut at = 0;
    let mut tried = 0;
    while at < text.len() {
        match text[at] {
            '\\' => at += 1,
            quote @ ('\'' | '"' | '`') => at = skip_quotes(text, at, quote),
            '$' if matches!(text.get(at + 1), Some('{' | '(' | '[')) => at = skip_nested(text, at + 1),
            '{' => {
                if let Some((parts, end)) = alternatives(text, at) {
                    return Ok(Some((at, parts, end)));
                }
                tried += 1;
                if tried > MOST_WORDS {
                    return Err(TooManyBraces);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(None)
}

/// The top-level, comma-separated alternatives of the brace at `open`, and where it ends.
fn alternatives(text: &[char], open: usize) -> Option<(Vec<Vec<char>>, usize)> {
    let mut parts = vec![Vec::new()];
    let mut depth = 0;
    let mut at = open;
    while at < text.len() {
        let start = at;
        match text[at] {
            '\\' => at += 1,
            quote @ ('\'' | '"' | '`') => at = skip_quotes(text, at, quote),
            '$' if matches!(text.get(at + 1), Some('{' | '(' | '[')) => at = skip_nested(text, at + 1),
            '{' => depth += 1,
            '}' => depth -= 1,
            c if c.is_whitespace() => return None,
            _ => {}
        }
        let end = (at + 1).min(text.len());
        match (depth, text[start]) {
            (0, _) => return (parts.len() > 1).then_some((parts, end)),
            (1, ',') => parts.push(Vec::new()),
            (1, '{') if start == open => {}
            _ => parts.last_mut()?.extend(&text[start..end]),
        }
        at += 1;
    }
    None
}

fn skip_quotes(text: &[char], open: usize, quote: char) -> usize {
    let mut at = open + 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' && quote != '\'' { 2 } else { 1 };
    }
    at
}

fn skip_nested(text: &[char], open: usize) -> usize {
    let close = match text[open] {
        '{' => '}',
        '(' => ')',
        _ => ']',
    };
    let mut depth = 0;
    for (at, c) in text.iter().enumerate().skip(open) {
        depth += i32::from(*c == text[open]) - i32::from(*c == close);
        if depth == 0 {
            return at;
        }
    }
    text.len()
}
