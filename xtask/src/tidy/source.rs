//! Rust source split, line by line, into code, comment and whether a string is left out: just enough of a lexer.

/// One line of source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The code, with the contents of strings and characters removed.
    pub code: String,
    /// The text of comments, their markers included.
    pub comment: String,
}

enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    /// A raw string, with the number of `#` that end it.
    Raw(usize),
}

/// Splits a whole file.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut state = State::Code;
    let mut lines = vec![Line::default()];
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let rest = &characters[at..];
        let mut step = 1;
        if character == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let Some(line) = lines.last_mut() else { break };
        match state {
            State::Code => {
                if rest.starts_with(&['/', '/']) {
                    state = State::LineComment;
                    line.comment.push(character);
                } else if rest.starts_with(&['/', '*']) {
                    state = State::BlockComment(1);
                    step = 2;
                } else if let Some((hashes, length)) = raw_string(rest, line.code.chars().next_back()) {
                    state = State::Raw(hashes);
                    step = length;
                } else if character == '"' {
                    state = State::Text;
                    line.code.push('"');
                } else if let Some(length) = character_literal(rest) {
                    step = length;
                } else {
                    line.code.push(character);
                }
            }
            State::LineComment => line.comment.push(character),
            State::BlockComment(depth) => {
                if rest.starts_with(&['*', '/']) {
                    state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
                    step = 2;
                } else if rest.starts_with(&['/', '*']) {
                    state = State::BlockComment(depth + 1);
                    step = 2;
                } else {
                    line.comment.push(character);
                }
            }
            State::Text => match character {
                // An escaped line end still ends the line.
                '\\' if rest.get(1) != Some(&'\n') => step = 2,
                '"' => {
                    line.code.push('"');
                    state = State::Code;
                }
                _ => {}
            },
            State::Raw(hashes) => {
                if character == '"' && rest[1..].iter().take_while(|&&next| next == '#').count() >= hashes {
                    step = 1 + hashes;
                    state = State::Code;
                }
            }
        }
        at += step;
    }
    lines
}

/// `r"`, `r#"`, `br##"`…: the number of `#` and the length of the opening.
fn raw_string(rest: &[char], before: Option<char>) -> Option<(usize, usize)> {
    if before.is_some_and(|before| before.is_alphanumeric() || before == '_') && rest.first() != Some(&'r') {
        return None;
    }
    let prefix = rest.iter().take_while(|&&next| matches!(next, 'b' | 'c' | 'r')).count();
    if prefix == 0 || prefix > 2 || rest[prefix - 1] != 'r' {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|&&next| next == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some((hashes, prefix + hashes + 1))
}

/// The length of a character literal, told apart from a lifetime.
fn character_literal(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', ..] => rest.iter().skip(3).position(|&next| next == '\'').map(|end| end + 4),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        lines(text).into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn strings_and_comments_are_not_code() {
        assert_eq!(code("let a = \"unsafe { // }\"; // unsafe"), ["let a = \"\"; "]);
        assert_eq!(code("let a = r#\"un\"safe\"#; b"), ["let a = ; b"]);
        assert_eq!(code("x /* unsafe /* deeper */ still */ y"), ["x  y"]);
        assert_eq!(lines("x // why").remove(0).comment, "// why");
    }

    #[test]
    fn lines_are_counted_through_long_strings() {
        assert_eq!(code("a(\"one\ntwo \\\nthree\") b\nc"), ["a(\"", "", "\") b", "c"]);
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        assert_eq!(code("fn f<'a>(c: &'a str) { '\"'; '\\''; g }"), ["fn f<'a>(c: &'a str) { ; ; g }"]);
    }
}
