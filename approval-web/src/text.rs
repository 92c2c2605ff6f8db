//! The one encoder of untrusted bytes, for the terminal, the page and every log.
//!
//! What an agent writes must never look like what Holdpoint says. Every byte string that comes from outside passes
//! through [`visible`] before a person sees it. Its output holds only characters that have ink (and the plain space),
//! and it is injective: two different inputs never look the same, and [`decode`] gives the input back.
//!
//! Letters of right-to-left scripts stay as they are: they have ink. The page shows them in a left-to-right override,
//! so that they cannot reorder what stands around them; their *controls* are escaped here.

use std::fmt::Write as _;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Combining marks allowed on one base character; further ones are escaped, so that a pile of marks cannot paint over
/// the lines above and below.
const MARKS_PER_BASE: usize = 2;

/// A piece of [`visible`] text: either shown as it is, or one escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The text to show.
    pub text: String,
    /// Whether `text` is one escape that stands for something that cannot be shown.
    pub escape: bool,
}

impl Segment {
    /// Whether this escape stands for a line feed (a page may break the line after it).
    #[must_use]
    pub fn is_line_feed(&self) -> bool {
        self.escape && self.text == "\\n"
    }
}

/// Splits bytes into shown runs and escapes, in order. Joined, the pieces are [`visible`].
#[must_use]
pub fn segments(bytes: &[u8]) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    scan(bytes, &mut |piece| match piece {
        Piece::Plain(c) => match out.last_mut() {
            Some(last) if !last.escape => last.text.push(c),
            _ => out.push(Segment { text: c.to_string(), escape: false }),
        },
        hidden => {
            let mut text = String::new();
            write_escape(hidden, &mut text);
            out.push(Segment { text, escape: true });
        }
    });
    out
}

/// Shows any bytes as text without hidden or misleading characters.
///
/// Controls, format and bidi characters, unassigned and private code points, default-ignorable and blank characters,
/// spaces other than U+0020, surplus combining marks and invalid UTF-8 become `\n`, `\t`, `\r`, `\xNN` or `\u{…}`; a
/// backslash becomes `\\`.
///
/// ```
/// use holdpoint_approval_web::text::{decode, visible};
/// let name = "report\u{202e}fdp.exe".as_bytes();
/// assert_eq!(visible(name), "report\\u{202e}fdp.exe");
/// assert_eq!(decode(&visible(name)).as_deref(), Some(name));
/// ```
#[must_use]
pub fn visible(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    scan(bytes, &mut |piece| match piece {
        Piece::Plain(c) => out.push(c),
        hidden => write_escape(hidden, &mut out),
    });
    out
}

/// Gives back the bytes that [`visible`] encoded. `None` for text that [`visible`] never produces, so that the
/// encoding is one to one in both directions.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut tail = rest[at + 1..].chars();
        match tail.next()? {
            '\\' => out.push(b'\\'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'x' => {
                let hex = tail.as_str().get(..2)?;
                out.push(u8::from_str_radix(hex, 16).ok()?);
                tail = tail.as_str()[2..].chars();
            }
            'u' => {
                let body = tail.as_str().strip_prefix('{')?;
                let (hex, after) = body.split_once('}')?;
                let c = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                tail = after.chars();
            }
            _ => return None,
        }
        rest = tail.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    (visible(&out) == text).then_some(out)
}

/// Shows an argument list as one line of shell: what a person may read, and paste into bash.
///
/// Plain words stay bare, others are single-quoted, and words with anything hidden in them use `$'…'` with escapes.
///
/// ```
/// use holdpoint_approval_web::text::command_line;
/// assert_eq!(command_line(["rm", "-rf", "my dir"]), "rm -rf 'my dir'");
/// assert_eq!(command_line(["echo", "a\u{200b}b", ""]), "echo $'a\\u200bb' ''");
/// ```
#[must_use]
pub fn command_line<I, A>(argv: I) -> String
where
    I: IntoIterator<Item = A>,
    A: AsRef<[u8]>,
{
    let mut line = String::new();
    for arg in argv {
        if !line.is_empty() {
            line.push(' ');
        }
        push_word(arg.as_ref(), &mut line);
    }
    line
}

fn push_word(word: &[u8], line: &mut String) {
    let bare = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(b);
    if !word.is_empty() && word.iter().all(bare) {
        line.extend(word.iter().map(|b| char::from(*b)));
        return;
    }
    let mut hidden = false;
    scan(word, &mut |piece| hidden |= !matches!(piece, Piece::Plain(_) | Piece::Backslash));
    if !hidden && !word.contains(&b'\'') {
        line.push('\'');
        line.push_str(&String::from_utf8_lossy(word));
        line.push('\'');
        return;
    }
    line.push_str("$'");
    scan(word, &mut |piece| match piece {
        Piece::Plain('\'') => line.push_str("\\'"),
        Piece::Plain(c) => line.push(c),
        // bash knows \uXXXX and \UXXXXXXXX, of fixed width, not \u{…}.
        Piece::Hidden(c) if !c.is_ascii() => push(line, format_args!("{}", BashEscape(c))),
        other => write_escape(other, line),
    });
    line.push('\'');
}

struct BashEscape(char);

impl std::fmt::Display for BashEscape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match u32::from(self.0) {
            n @ ..=0xffff => write!(f, "\\u{n:04x}"),
            n => write!(f, "\\U{n:08x}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Piece {
    Plain(char),
    Backslash,
    Hidden(char),
    Invalid(u8),
}

fn scan(bytes: &[u8], each: &mut dyn FnMut(Piece)) {
    // A mark needs a visible base of the same text: at the start, or after an escape, it would sit on our own words.
    let mut room_for_marks = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_mark(c) && !is_hidden(c) && room_for_marks > 0 {
                room_for_marks -= 1;
                each(Piece::Plain(c));
                continue;
            }
            room_for_marks = 0;
            if c == '\\' {
                each(Piece::Backslash);
            } else if is_hidden(c) || is_mark(c) {
                each(Piece::Hidden(c));
            } else {
                each(Piece::Plain(c));
                room_for_marks = if c == ' ' { 0 } else { MARKS_PER_BASE };
            }
        }
        for byte in chunk.invalid() {
            room_for_marks = 0;
            each(Piece::Invalid(*byte));
        }
    }
}

fn write_escape(piece: Piece, out: &mut String) {
    match piece {
        Piece::Plain(c) => out.push(c),
        Piece::Backslash => out.push_str("\\\\"),
        Piece::Hidden('\n') => out.push_str("\\n"),
        Piece::Hidden('\t') => out.push_str("\\t"),
        Piece::Hidden('\r') => out.push_str("\\r"),
        Piece::Hidden(c) if c.is_ascii() => push(out, format_args!("\\x{:02x}", u32::from(c))),
        Piece::Hidden(c) => push(out, format_args!("\\u{{{:x}}}", u32::from(c))),
        Piece::Invalid(byte) => push(out, format_args!("\\x{byte:02x}")),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    out.write_fmt(text).unwrap_or_default();
}

fn is_mark(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    !c.is_ascii() && matches!(get_general_category(c), NonspacingMark | EnclosingMark | SpacingMark)
}

/// Whether a character must never be shown as it is: it has no ink, or it changes how its neighbours look.
fn is_hidden(c: char) -> bool {
    use GeneralCategory as G;
    if c == ' ' {
        return false;
    }
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        get_general_category(c),
        G::Control
            | G::Format
            | G::Surrogate
            | G::PrivateUse
            | G::Unassigned
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::SpaceSeparator
    ) || is_default_ignorable(c)
        || is_blank(c)
}

/// Default_Ignorable_Code_Point of Unicode (DerivedCoreProperties.txt), including its reserved ranges.
fn is_default_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Assigned characters of other categories whose glyph is empty, and the two that stand for "something else was here".
fn is_blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{fffc}' | '\u{fffd}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}' | '\u{1d159}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Independent of the encoder's own tables: what no output may ever hold.
    fn has_only_ink(text: &str) -> bool {
        text.chars().all(|c| {
            use GeneralCategory as G;
            c == ' '
                || !matches!(
                    get_general_category(c),
                    G::Control
                        | G::Format
                        | G::Surrogate
                        | G::PrivateUse
                        | G::Unassigned
                        | G::LineSeparator
                        | G::ParagraphSeparator
                        | G::SpaceSeparator
                ) && !"\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{2800}\u{3164}\u{ffa0}\u{fffc}"
                    .contains(c)
                    && !('\u{fe00}'..='\u{fe0f}').contains(&c)
                    && !('\u{e0000}'..='\u{e0fff}').contains(&c)
        })
    }

    #[test]
    fn every_code_point_is_shown_with_ink_and_comes_back() {
        const PARTS: u32 = 4;
        std::thread::scope(|scope| {
            for part in 0..PARTS {
                let numbers = (part..=u32::from(char::MAX)).step_by(PARTS as usize);
                scope.spawn(move || numbers.filter_map(char::from_u32).for_each(check));
            }
        });

        fn check(c: char) {
            let mut bytes = [b'a'; 5];
            let len = 1 + c.encode_utf8(&mut bytes[1..]).len();
            // After a letter, where a mark is at its most harmless, and alone.
            for text in [&bytes[..len], &bytes[1..len]] {
                let shown = visible(text);
                assert!(has_only_ink(&shown), "U+{:04X} is shown raw: {shown:?}", u32::from(c));
                assert_eq!(decode(&shown).as_deref(), Some(text), "U+{:04X}", u32::from(c));
            }
            let line = command_line([&bytes[1..len]]);
            assert!(has_only_ink(&line), "U+{:04X} in a command line: {line:?}", u32::from(c));
        }
    }

    #[test]
    fn every_pair_of_bytes_comes_back() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let bytes = [a, b];
                let shown = visible(&bytes);
                assert!(has_only_ink(&shown), "{bytes:?} is shown as {shown:?}");
                assert_eq!(decode(&shown).as_deref(), Some(&bytes[..]));
            }
        }
    }

    #[test]
    fn an_escape_and_its_spelling_look_different() {
        assert_eq!(visible(b"\x1b"), r"\x1b");
        assert_eq!(visible(br"\x1b"), r"\\x1b");
        assert_eq!(visible("\u{202e}".as_bytes()), r"\u{202e}");
        assert_eq!(visible(br"\u{202e}"), r"\\u{202e}");
        assert_eq!(visible(b"\xff"), r"\xff");
        assert_eq!(visible("\u{ff}".as_bytes()), "\u{ff}");
    }

    #[test]
    fn text_the_encoder_never_writes_is_not_decoded() {
        for text in
            ["\\", "\\q", "\\x", "\\x4", "\\x41", "\\u{41}", "\\u{d800}", "\\u41", "\u{1b}", "a\u{200b}", "\\U{1}"]
        {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn piles_of_marks_and_marks_without_a_base_are_escaped() {
        assert_eq!(visible("e\u{301}".as_bytes()), "e\u{301}");
        assert_eq!(visible("\u{301}e".as_bytes()), "\\u{301}e");
        assert_eq!(visible(" \u{301}".as_bytes()), " \\u{301}");
        assert_eq!(visible("\n\u{301}".as_bytes()), "\\n\\u{301}");
        assert_eq!(visible("e\u{301}\u{302}\u{303}\u{304}".as_bytes()), "e\u{301}\u{302}\\u{303}\\u{304}");
    }

    #[test]
    fn segments_join_to_the_visible_text() {
        let bytes = b"a\nb\xffc\\\x1b[31m";
        let joined: String = segments(bytes).into_iter().map(|s| s.text).collect();
        assert_eq!(joined, visible(bytes));
        assert!(segments(b"\n")[0].is_line_feed());
        assert!(!segments(b"\\n").iter().any(Segment::is_line_feed));
    }

    #[test]
    fn bash_reads_the_command_line_back() {
        let nasty: Vec<Vec<u8>> = vec![
            b"plain".to_vec(),
            b"".to_vec(),
            b"two words".to_vec(),
            b"it's".to_vec(),
            b"back\\slash".to_vec(),
            b"back\\slash's".to_vec(),
            b"$(reboot) `x` $HOME *".to_vec(),
            b"line\nfeed\ttab\x1b[0m".to_vec(),
            "a\u{202e}b\u{1d173}c\u{e0041}d".as_bytes().to_vec(),
            b"raw \xff\xfe byte".to_vec(),
            "\u{301}mark".as_bytes().to_vec(),
            b"-n".to_vec(),
            b"~root".to_vec(),
            b"!history".to_vec(),
            b"\xffabc".to_vec(),
            "\u{200b}af".as_bytes().to_vec(),
        ];
        let script = format!("printf '%s\\0' {}", command_line(&nasty));
        let output =
            std::process::Command::new("bash").env("LC_ALL", "C.UTF-8").args(["-c", &script]).output().unwrap();
        let mut expected = Vec::new();
        for word in &nasty {
            expected.extend_from_slice(word);
            expected.push(0);
        }
        assert_eq!(output.stdout, expected, "script: {script}");
    }
}
