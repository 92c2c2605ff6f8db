//! The process whose call waits: its memory, and the files it means by a name.
//!
//! Memory can change at any time, for its owner has other threads and neighbours: what was read is what was there, not what
//! the kernel will find when it carries out the call.

use super::Held;
use nix::{
    errno::Errno,
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};
use std::io::IoSliceMut;

const PAGE: usize = 4096;

/// What a reader of foreign memory can say instead of what is there; each an errno for the caller.
type Result<T> = std::result::Result<T, i32>;

/// A caller that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(super) thread: i32,
}

impl Target {
    pub(crate) fn of(call: &Held) -> Self {
        Self { thread: call.thread }
    }

    /// Fills `buffer` from `address` on, as far as memory is there; the number of bytes.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize> {
        let from = RemoteIoVec { base: usize::try_from(address).map_err(|_| libc::EFAULT)?, len: buffer.len() };
        process_vm_readv(Pid::from_raw(self.thread), &mut [IoSliceMut::new(buffer)], &[from]).map_err(|errno| {
            match errno {
                Errno::EFAULT => libc::EFAULT,
                other => other as i32,
            }
        })
    }

    /// The string at `address` without its NUL. `ENAMETOOLONG` when it has more than `longest` bytes, as the kernel says of
    /// a path of more than 4095.
    pub(crate) fn read_string(&self, address: u64, longest: usize) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let at = address.checked_add(text.len() as u64).ok_or(libc::EFAULT)?;
            // Never beyond a page: the next one need not be there.
            let room = PAGE - (at as usize % PAGE);
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
}
