//! The text of git's configuration files (git-config(1)).

/// Section and key in lower case, and value.
pub(in crate::survey) type Setting = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Section and key in lower case, and value, of every setting in the text of a git configuration; subsections are dropped.
pub(super) fn settings(text: &[u8]) -> Vec<Setting> {
    entries(text).into_iter().map(|entry| (entry.section, entry.key, entry.value.unwrap_or_default())).collect()
}

/// Whether a list of sections and their keys has this one; `*` is all of a section.
pub(super) fn is_listed(list: &[(&str, &str)], section: &[u8], key: &[u8]) -> bool {
    let keys = list.iter().find(|(name, _)| name.as_bytes() == section).map(|(_, keys)| keys);
    keys.is_some_and(|keys| *keys == "*" || keys.split(' ').any(|one| one.as_bytes() == key))
}

/// A setting with all that is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In lower case.
    pub(super) section: Vec<u8>,
    /// What stands in quotes behind the section.
    pub(super) subsection: Option<Vec<u8>>,
    /// In lower case.
    pub(super) key: Vec<u8>,
    /// A key without a value means true.
    pub(super) value: Option<Vec<u8>>,
}

/// Every setting in the text of a git configuration.
pub(super) fn entries(text: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut section, mut subsection) = (Vec::new(), None);
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
                subsection = close.and_then(|close| quoted_part(&after[..close]));
                rest = close.map_or(&[], |close| &after[close + 1..]);
            }
            byte if byte.is_ascii_alphabetic() => {
                let end =
                    rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(rest.len());
                let key = rest[..end].to_ascii_lowercase();
                let (value, left) = value(&rest[end..]);
                entries.push(Entry { section: section.clone(), subsection: subsection.clone(), key, value });
                rest = left;
            }
            _ => rest = after,
        }
    }
    entries
}

/// What stands in quotes; a backslash takes the meaning from what follows it.
fn quoted_part(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.iter().position(|&byte| byte == b'"')? + 1;
    let mut part = Vec::new();
    let mut bytes = text[start..].iter();
    loop {
        match bytes.next()? {
            b'"' => return Some(part),
            b'\\' => part.push(*bytes.next()?),
            byte => part.push(*byte),
        }
    }
}

/// A value with quotes, escapes, continued lines and comments resolved, and what follows its line.
fn value(text: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
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
    (equals.then_some(value), text.get(at..).unwrap_or_default())
}
