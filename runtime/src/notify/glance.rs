//! What a call points at, read at once: its strings and lists mostly lie close together, and each look into foreign memory
//! costs more than all that it reads.

use super::target::{Result, Target};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

/// Bytes read from each address on, but never beyond its page: the next one need not be there.
const WINDOW: usize = 2048;
const WORD: usize = size_of::<u64>();

/// The memory of a caller as it was at two addresses and a little further. What lies elsewhere is read when it is asked for.
pub(crate) struct Glance {
    target: Target,
    bytes: [u8; 2 * WINDOW],
    /// Address, and the place and length in `bytes`.
    windows: [(u64, usize, usize); 2],
}

impl Glance {
    /// Addresses at which nothing is are an error only for who asks for what is there.
    pub(crate) fn at(target: Target, addresses: [u64; 2]) -> Self {
        let lengths = addresses.map(|address| Target::to_page_end(address).min(WINDOW));
        let mut bytes = [0; 2 * WINDOW];
        let asked = [(addresses[0], lengths[0]), (addresses[1], lengths[1])];
        let read = target.read_pieces(&asked, &mut bytes[..lengths[0] + lengths[1]]).unwrap_or(0);
        let first = read.min(lengths[0]);
        Self { target, bytes, windows: [(addresses[0], 0, first), (addresses[1], first, read - first)] }
    }

    /// As [`Target::read_string`].
    pub(crate) fn string(&self, address: u64, longest: usize) -> Result<Vec<u8>> {
        match self.text(address) {
            Some(text) if text.len() <= longest => Ok(text.to_vec()),
            _ => self.target.read_string(address, longest),
        }
    }

    /// As [`Target::read_strings`].
    pub(crate) fn strings(&self, address: u64) -> Result<Vec<OsString>> {
        let Some(pointers) = self.pointers(address) else { return self.target.read_strings(address) };
        let text = |pointer: &u64| self.text(*pointer).map(|text| OsString::from_vec(text.to_vec()));
        match pointers.iter().map(text).collect() {
            Some(strings) => Ok(strings),
            None => self.target.read_each(&pointers),
        }
    }

    /// The list of pointers at an address, when all of it was read.
    fn pointers(&self, address: u64) -> Option<Vec<u64>> {
        let (words, _) = self.from(address)?.as_chunks::<WORD>();
        let words = words.iter().map(|word| u64::from_ne_bytes(*word));
        let mut pointers = Vec::with_capacity(16);
        for word in words {
            if word == 0 {
                return Some(pointers);
            }
            pointers.push(word);
        }
        None
    }

    fn text(&self, address: u64) -> Option<&[u8]> {
        let bytes = self.from(address)?;
        bytes.iter().position(|byte| *byte == 0).map(|end| &bytes[..end])
    }

    /// What was read from an address on.
    fn from(&self, address: u64) -> Option<&[u8]> {
        self.windows.iter().find_map(|(start, place, length)| {
            let into = usize::try_from(address.checked_sub(*start)?).ok()?;
            self.bytes[*place..place + length].get(into..).filter(|bytes| !bytes.is_empty())
        })
    }
}
