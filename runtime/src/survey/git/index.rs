//! The files in a git index (gitformat-index(5)).

use std::ffi::CStr;

/// Calls `each` with path and object of every file in a git index of version 2, 3 or 4, whose hashes have `hash` bytes; stops
/// where the index makes no sense.
pub(crate) fn for_each_file(index: &[u8], hash: usize, mut each: impl FnMut(&[u8], &[u8])) -> Option<()> {
    let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    if index.get(..4)? != b"DIRC" {
        return None;
    }
    let version = number(4)?;
    let mut at = 12;
    let mut path: Vec<u8> = Vec::new();
    for _ in 0..number(8)? {
        let start = at;
        let flags = u16::from_be_bytes(index.get(at + 40 + hash..at + 42 + hash)?.try_into().ok()?);
        let object = index.get(at + 40..at + 40 + hash)?;
        at += 42 + hash;
        if version >= 3 && flags & 0x4000 != 0 {
            at += 2;
        }
        if version == 4 {
            // The path is the one before it, shortened by a number, and a new end.
            let mut byte = *index.get(at)?;
            let mut cut = usize::from(byte & 0x7f);
            at += 1;
            while byte & 0x80 != 0 {
                byte = *index.get(at)?;
                cut = ((cut.checked_add(1)?) << 7) + usize::from(byte & 0x7f);
                at += 1;
            }
            path.truncate(path.len().checked_sub(cut)?);
        } else {
            path.clear();
        }
        let rest = CStr::from_bytes_until_nul(index.get(at..)?).ok()?.to_bytes();
        let end = at + rest.len();
        path.extend_from_slice(rest);
        each(&path, object);
        // Before version 4 entries are padded with at least one NUL to a multiple of eight.
        at = if version == 4 { end + 1 } else { start + (end - start + 8) / 8 * 8 };
    }
    Some(())
}
