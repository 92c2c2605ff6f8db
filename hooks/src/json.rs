//! JSON that survives `echo "$INPUT"` in every shell.
//!
//! `echo` of dash and of many other shells turns `\n` and `\\` of its argument into a line break and one backslash. A
//! hook that greps a line at a time would then not see `curl \⏎ -X DELETE`, and `echo "$INPUT" | jq` would be given
//! broken JSON and, in a pipe, fail unnoticed. So no escape but `\"` and `\u00XX` is written: no `echo` touches those.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Write `value` as one line of JSON.
///
/// # Errors
/// Only what serialising `value` itself gives: a [`serde_json::Value`] never fails.
pub(crate) fn to_line(value: &serde_json::Value) -> serde_json::Result<String> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, EchoSafe))?;
    // serde_json writes UTF-8 only; the lossy conversion never changes a byte.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct EchoSafe;

impl Formatter for EchoSafe {
    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let code = match escape {
            CharEscape::Quote => return writer.write_all(b"\\\""),
            CharEscape::Solidus => return writer.write_all(b"/"),
            CharEscape::ReverseSolidus => b'\\',
            CharEscape::Backspace => 0x08,
            CharEscape::FormFeed => 0x0c,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(code) => code,
        };
        write!(writer, "\\u{code:04x}")
    }
}

#[cfg(test)]
mod tests {
    use super::to_line;
    use serde_json::json;

    #[test]
    fn no_escape_is_left_that_an_echo_would_interpret() {
        let value = json!({"command": "a\\b\nc\td\u{1b}[0m\"e\"\u{8}"});
        let line = to_line(&value).unwrap();
        assert_eq!(line, r#"{"command":"a\u005cb\u000ac\u0009d\u001b[0m\"e\"\u0008"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }

    #[test]
    fn text_beyond_ascii_stays_readable() {
        assert_eq!(to_line(&json!(["grüße 🚂"])).unwrap(), "[\"grüße 🚂\"]");
    }
}
