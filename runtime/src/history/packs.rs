//! Packs to show in the place of a store's own: one with all that may be read, and one in which the name of each hidden
//! object stands for a line of ours. Git needs the names to be there (`git commit` looks for every file of its index), and
//! compares a name with what it stands for when it receives an object, not when it reads one.

use super::{
    git::{Bench, Git},
    memory::Memory,
    object::ObjectName,
};
use crate::error::{Error, Result};
use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    path::Path,
    time::{Duration, SystemTime},
};

/// What a hidden object says.
const TEXT: &[u8] = b"hidden by holdpoint\n";
/// Packs that nobody has asked for since are removed.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
const PREFIX: &str = "packs.";

/// Makes a directory of packs in `memory` with the objects `shown` and stand-ins for those that are `hidden`. Returns its name.
pub(super) fn make(
    git: &Git<'_>,
    bench: &Bench,
    memory: &Memory,
    shown: &HashSet<ObjectName>,
    hidden: &[ObjectName],
) -> Result<String> {
    let wrong = || Error::io("write packs without what is denied");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("{PREFIX}{}", now.as_nanos());
    let place = bench.place().join(&name);
    fs::create_dir(&place).map_err(wrong())?;
    if !shown.is_empty() {
        git.pack(shown.iter(), &place)?;
    }
    let stand_ins = if hidden.is_empty() { Ok(()) } else { stand_ins(&place, hidden) };
    stand_ins.and_then(|()| fs::rename(&place, memory.path().join(&name))).map_err(wrong())?;
    Ok(name)
}

/// Removes packs that were made for what a store held before, but for `current`: a sandbox may still show them.
pub(super) fn forget(memory: &Memory, current: &str) -> io::Result<()> {
    for entry in fs::read_dir(memory.path())? {
        let entry = entry?;
        let name = entry.file_name();
        let old = || Ok::<_, io::Error>(entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > KEPT));
        if name.to_string_lossy().starts_with(PREFIX) && name != current && old()? {
            match fs::remove_dir_all(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Says that packs are in use.
pub(super) fn use_again(packs: &Path) -> io::Result<()> {
    fs::File::open(packs)?.set_modified(SystemTime::now())
}

/// A pack (gitformat-pack(5)) of version 2 and its index. Its checksums are none: git looks only whether both files have the
/// same, and whoever verifies a pack finds that nothing in it is what it is called.
fn stand_ins(place: &Path, hidden: &[ObjectName]) -> io::Result<()> {
    const BLOB: u8 = 3;
    let count = u32::try_from(hidden.len()).map_err(|_| ErrorKind::FileTooLarge)?;
    let mut sorted = hidden.to_vec();
    sorted.sort_unstable();
    let checksum = vec![0; hidden.first().map_or(0, |name| name.as_bytes().len())];
    // Four bits of the size beside the kind, then the rest.
    let head = [0x80 | BLOB << 4 | (TEXT.len() as u8 & 15), TEXT.len() as u8 >> 4];
    let entry = [&head[..], &deflated(TEXT)].concat();
    let mut pack = [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes()].concat();
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..=u8::MAX {
        let up_to = sorted.partition_point(|name| name.as_bytes()[0] <= first);
        index.extend((up_to as u32).to_be_bytes());
    }
    sorted.iter().for_each(|name| index.extend(name.as_bytes()));
    index.extend(vec![0; 4 * sorted.len()]);
    for _ in &sorted {
        let offset =
            u32::try_from(pack.len()).ok().filter(|offset| offset >> 31 == 0).ok_or(ErrorKind::FileTooLarge)?;
        index.extend(offset.to_be_bytes());
        pack.extend(&entry);
    }
    pack.extend(&checksum);
    index.extend([&checksum[..], &checksum].concat());
    let name = place.join(format!("pack-{}", "0".repeat(2 * checksum.len())));
    fs::write(name.with_extension("pack"), pack)?;
    fs::write(name.with_extension("idx"), index)
}

/// A short text as zlib keeps it (RFC 1950, RFC 1951), in one block that is not compressed.
fn deflated(text: &[u8]) -> Vec<u8> {
    let length = text.len() as u16;
    // Adler-32.
    let (low, high) = text.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65521;
        (low, (high + low) % 65521)
    });
    let (length, complement) = (length.to_le_bytes(), (!length).to_le_bytes());
    [&[0x78, 0x01, 0x01], &length[..], &complement, text, &(high << 16 | low).to_be_bytes()].concat()
}
