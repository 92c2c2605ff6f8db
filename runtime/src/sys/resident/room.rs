//! The memory in which pid 1 lays out each command, one after the other. It is asked for once: whatever commands use up
//! later, the next one can still be started, and no command pays for a mapping.

use crate::syscall::{self, Result};
use core::{mem, ptr};

/// More than the kernel lets a command have of arguments and environment, with the pointers to them (execve(2)).
const SIZE: usize = 8 << 20;
/// Of the process that becomes the command; the lowest part, so that what grows beyond it meets nothing.
const STACK: usize = 16 * 1024;
/// A command that took more gives the memory back to the kernel; a few pages are cheaper to clear and keep.
const KEPT: usize = 64 * 1024;

/// E2BIG.
const TOO_LONG: i32 = 7;

pub(crate) struct Room {
    start: *mut u8,
}

/// What lies in it for one command; cleared when dropped.
pub(crate) struct Laid<'room> {
    room: &'room Room,
    length: usize,
    table: usize,
}

impl Room {
    pub(crate) fn new() -> Result<Room> {
        Ok(Room { start: syscall::map(-1, SIZE)? })
    }

    /// Reads `length` bytes of the file into it. Everything above them is zero.
    pub(crate) fn read(&self, image: i32, length: usize) -> Result<Laid<'_>> {
        let table = length.checked_next_multiple_of(mem::align_of::<usize>()).filter(|table| *table < SIZE - STACK);
        let laid = Laid { room: self, length, table: table.ok_or(TOO_LONG)? };
        let mut at = 0;
        while at < length {
            // The descriptor's own place in the file is at its end.
            match syscall::read_at(image, laid.text().wrapping_add(at), length - at, at)? {
                0 => return Err(5 /* EIO */),
                read => at += read,
            }
        }
        Ok(laid)
    }
}

impl Laid<'_> {
    /// What was read.
    pub(crate) fn text(&self) -> *mut u8 {
        self.room.start.wrapping_add(STACK)
    }

    /// Room for so many pointers, all null.
    pub(crate) fn table(&mut self, count: usize) -> Result<*mut *const u8> {
        let end = count.checked_mul(mem::size_of::<usize>()).and_then(|bytes| bytes.checked_add(self.table));
        self.length = end.filter(|end| *end <= SIZE - STACK).ok_or(TOO_LONG)?;
        Ok(self.text().wrapping_add(self.table).cast())
    }

    /// Where the stack begins, which grows down.
    pub(crate) fn stack(&self) -> usize {
        self.text() as usize
    }
}

impl Drop for Laid<'_> {
    /// The next command finds zeroes, and nothing of this one stays here.
    fn drop(&mut self) {
        if self.length > KEPT {
            return syscall::forget(self.room.start, SIZE);
        }
        let words: *mut u64 = self.text().cast();
        for at in 0..self.length.div_ceil(mem::size_of::<u64>()) {
            // SAFETY: the room is larger by far, and its text begins at a page. Volatile, or the compiler makes it a call.
            unsafe { ptr::write_volatile(words.add(at), 0) };
        }
    }
}
