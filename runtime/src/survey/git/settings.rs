//! The text of git's configuration files (git-config(1)).

/// Section and key in lower case, and value.
pub(in crate::survey) type Setting = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Section and key in lower case, and value, of every setting in the text of a git configuration; subsections are dropped.
pub(super) fn settings(text: &[u8]) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut section = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        match first {
            b'#' | b';' => rest = rest.iter().position(|&byte| byte == b'\n').map_or(&[], |end| &rest[end..]),
            b'[' => {
                let end =
                    after.iter().position(|byte| matches!(byte, b']' | b' ' | b'"' | b'\n')).unwrap_or(after.len());
                section = after[..end].to_ascii_lowercase();
                // A subsection stands in quotes and may hold a bracket, and quotes after a backslash.
                let (mut quoted, mut escaped) = (false, false);
                let close = after.iter().position(|&byte| {
                    quoted ^= byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    byte == b'\n' || (byte == b']' && !quoted)
                });
                rest = close.map_or(&[], |close| &after[close + 1..]);
            }
            byte if byte.is_ascii_alphabetic() => {
                let end =
                    rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(rest.len());
                let key = rest[..end].to_ascii_lowercase();
                let (value, left) = value(&rest[end..]);
                settings.push((section.clone(), key, value));
                rest = left;
            }
            _ => rest = after,
        }
    }
    settings
}

/// A value with quotes, escapes, continued lines and comments resolved, and what follows its line.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let (mut quoted, mut comment, mut equals) = (false, false, false);
    let mut solid = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\n' => break,
            _ if comment => {}
            b'=' if !equals => equals = true,
            _ if !equals => {}
            b'\\' => {
                let escaped = text.get(at).copied();
                at += 1;
                match escaped {
                    Some(b'\n') | None => {}
                    Some(b'n') => value.push(b'\n'),
                    Some(b't') => value.push(b'\t'),
                    Some(other) => value.push(other),
                }
                solid = value.len();
            }
            b'"' => quoted = !quoted,
            b'#' | b';' if !quoted => comment = true,
            b' ' | b'\t' | b'\r' if !quoted && value.is_empty() => {}
            other => {
                value.push(other);
                if quoted || !other.is_ascii_whitespace() {
                    solid = value.len();
                }
            }
        }
    }
    value.truncate(solid);
    (value, text.get(at..).unwrap_or_default())
}
