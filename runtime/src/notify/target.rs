//! The process whose call waits: its memory, and the files it means by a name.
//!
//! Memory can change at any time, for its owner has other threads and neighbours: what was read is what was there, not what
//! the kernel will find when it carries out the call.

use super::Held;
use nix::{
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};
use std::{ffi::OsString, io::IoSliceMut, os::unix::ffi::OsStringExt};

/// The smallest page there is: what begins in one can be read to its end.
pub(crate) const PAGE: usize = 4096;
const WORD: usize = size_of::<u64>();
/// Bytes of each string that are read at first, and strings that are read at once.
const PIECE: usize = 128;
const GROUP: usize = 128;
/// `MAX_ARG_STRLEN` without the NUL, and the most that all strings and pointers can take (execve(2)).
const LONGEST: usize = 32 * PAGE - 1;
const LARGEST: usize = 6 << 20;

/// What a reader of foreign memory can say instead of what is there; each an errno for the caller.
pub(super) type Result<T> = std::result::Result<T, i32>;

/// A caller that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(super) thread: i32,
}

impl Target {
    pub(crate) fn of(call: &Held) -> Self {
        Self { thread: call.thread }
    }

    #[cfg(test)]
    pub(crate) fn thread(thread: i32) -> Self {
        Self { thread }
    }

    /// Fills `buffer` from `address` on, as far as memory is there; the number of bytes.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize> {
        self.read_pieces(&[(address, buffer.len())], buffer)
    }

    /// The strings that a list of pointers at `address` names, ended by a null pointer; none when `address` is null.
    /// `E2BIG` when they are more than any program can be given (execve(2)).
    pub(crate) fn read_strings(&self, address: u64) -> Result<Vec<OsString>> {
        if address == 0 {
            return Ok(Vec::new());
        }
        self.read_each(&self.read_pointers(address)?)
    }

    /// The string at each of these addresses.
    pub(super) fn read_each(&self, pointers: &[u64]) -> Result<Vec<OsString>> {
        let mut strings = Vec::with_capacity(pointers.len());
        let mut total = 0;
        for group in pointers.chunks(GROUP) {
            for string in self.read_group(group)? {
                total += string.len() + 1 + size_of::<u64>();
                if total > LARGEST {
                    return Err(libc::E2BIG);
                }
                strings.push(OsString::from_vec(string));
            }
        }
        Ok(strings)
    }

    fn read_pointers(&self, address: u64) -> Result<Vec<u64>> {
        let mut pointers = Vec::new();
        let mut words = [0; 64 * WORD];
        let mut at = address;
        loop {
            let room = Self::to_page_end(at).min(words.len()).max(WORD) / WORD * WORD;
            let read = self.read(at, &mut words[..room])?;
            let (read, rest) = words[..read].as_chunks::<WORD>();
            // Half a pointer at the end of what is there is none.
            if read.is_empty() || !rest.is_empty() {
                return Err(libc::EFAULT);
            }
            for word in read {
                match u64::from_ne_bytes(*word) {
                    0 => return Ok(pointers),
                    pointer => pointers.push(pointer),
                }
            }
            if pointers.len() * WORD > LARGEST {
                return Err(libc::E2BIG);
            }
            at = at.checked_add((read.len() * WORD) as u64).ok_or(libc::EFAULT)?;
        }
    }

    /// Fills `buffer` with one piece after the other, each an address and a length, until one is not there.
    pub(crate) fn read_pieces(&self, pieces: &[(u64, usize)], buffer: &mut [u8]) -> Result<usize> {
        let from = pieces.iter().map(|(address, length)| RemoteIoVec { base: *address as usize, len: *length });
        let from: Vec<RemoteIoVec> = from.collect();
        let read = process_vm_readv(Pid::from_raw(self.thread), &mut [IoSliceMut::new(buffer)], &from);
        read.map_err(|errno| errno as i32)
    }

    /// Reads the beginnings of all strings at once, and the few that are longer one by one.
    fn read_group(&self, pointers: &[u64]) -> Result<Vec<Vec<u8>>> {
        let piece = |pointer: &u64| Self::to_page_end(*pointer).min(PIECE);
        let from: Vec<_> = pointers.iter().map(|pointer| (*pointer, piece(pointer))).collect();
        let mut buffer = vec![0; from.iter().map(|(_, length)| length).sum()];
        let read = self.read_pieces(&from, &mut buffer)?;
        let mut rest = &buffer[..read];
        pointers
            .iter()
            .map(|pointer| {
                let (start, after) = rest.split_at_checked(piece(pointer)).unwrap_or((rest, &[]));
                rest = after;
                match start.iter().position(|byte| *byte == 0) {
                    Some(end) => Ok(start[..end].to_vec()),
                    None => self.read_string(*pointer, LONGEST),
                }
            })
            .collect()
    }

    /// The string at `address` without its NUL. `ENAMETOOLONG` when it has more than `longest` bytes, as the kernel says of
    /// a path of more than 4095.
    pub(crate) fn read_string(&self, address: u64, longest: usize) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let at = address.checked_add(text.len() as u64).ok_or(libc::EFAULT)?;
            // Never beyond a page: the next one need not be there.
            let room = Self::to_page_end(at);
            let start = text.len();
            text.resize(start + room, 0);
            let read = self.read(at, &mut text[start..])?;
            if read == 0 {
                return Err(libc::EFAULT);
            }
            text.truncate(start + read);
            if let Some(end) = text[start..].iter().position(|byte| *byte == 0) {
                text.truncate(start + end);
                return if text.len() > longest { Err(libc::ENAMETOOLONG) } else { Ok(text) };
            }
            if text.len() > longest {
                return Err(libc::ENAMETOOLONG);
            }
        }
    }

    pub(super) fn to_page_end(address: u64) -> usize {
        PAGE - address as usize % PAGE
    }
}
