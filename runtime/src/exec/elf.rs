//! Just enough of elf(5) to tell a dynamic loader from the programs it loads.

use super::file::{START, read_at};
use std::os::fd::OwnedFd;

const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
const DYNAMIC_OBJECT: u16 = 3;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const STRING_TABLE: u64 = 5;
const SONAME: u64 = 14;
/// More program headers or dynamic entries than any loader has.
const MOST: usize = 64;

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Whether a 64-bit ELF file of this machine is a loader; `None` when it is no such file.
pub(super) fn read(file: &OwnedFd, start: &[u8; START]) -> Option<bool> {
    // 64 bits, in this machine's byte order.
    if !start.starts_with(b"\x7fELF\x02\x01") || half(start, 18)? != MACHINE {
        return None;
    }
    let segments = segments(file, start)?;
    let standing_alone = !segments.iter().any(|segment| segment.kind == INTERPRETER);
    Some(
        half(start, 16)? == DYNAMIC_OBJECT
            && standing_alone
            && soname(file, &segments).is_some_and(|name| loads(&name)),
    )
}

fn segments(file: &OwnedFd, start: &[u8]) -> Option<Vec<Segment>> {
    let (table, size, count) = (word(start, 32)?, usize::from(half(start, 54)?), usize::from(half(start, 56)?));
    if size < 56 {
        return None;
    }
    let mut bytes = vec![0; size * count.min(MOST)];
    read_at(file, table, &mut bytes)?;
    let segment = |entry: &[u8]| {
        let (offset, address, size) = (word(entry, 8)?, word(entry, 16)?, word(entry, 32)?);
        Some(Segment { kind: u32::from_ne_bytes(entry.get(..4)?.try_into().ok()?), offset, address, size })
    };
    bytes.chunks_exact(size).map(segment).collect()
}

/// The name that a shared object gives itself.
fn soname(file: &OwnedFd, segments: &[Segment]) -> Option<Vec<u8>> {
    let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
    let mut bytes = [0; MOST * 16];
    read_at(file, dynamic.offset, &mut bytes)?;
    let value = |tag| bytes.chunks_exact(16).find(|entry| word(entry, 0) == Some(tag)).and_then(|entry| word(entry, 8));
    let address = value(STRING_TABLE)?;
    let holds = |segment: &&Segment| {
        segment.kind == LOAD && address.checked_sub(segment.address).is_some_and(|into| into < segment.size)
    };
    let load = segments.iter().find(holds)?;
    let offset = (address - load.address).checked_add(load.offset)?.checked_add(value(SONAME)?)?;
    let mut name = [0; 32];
    read_at(file, offset, &mut name)?;
    name.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
}

/// glibc's loader is `ld-linux-x86-64.so.2` and the like; musl's is its libc.
fn loads(name: &[u8]) -> bool {
    name.starts_with(b"ld-") || name.starts_with(b"ld.so") || name.starts_with(b"ld64.so") || name.starts_with(b"libc.")
}

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]))
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
