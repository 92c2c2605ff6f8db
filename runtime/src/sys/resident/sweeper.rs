//! The sweeper: waits beside the sandbox until its owner and its pid 1 are gone, then removes what reserved protected
//! names. It outlives an owner that was killed. Its arguments are the names, each after a letter: `d` for an empty
//! directory, `f` for a file.

use crate::{
    syscall::{self, Arguments},
    wire::{CONTROL, FIRST_RESERVED, SECOND},
};

pub(crate) fn sweep(names: &Arguments) -> ! {
    syscall::block_signals();
    // The owner never writes: readable means that its end is closed.
    syscall::wait_readable([CONTROL]);
    // Removing a reservation also lifts the mount on it, so nobody may be left inside.
    syscall::wait_readable([SECOND]);
    for index in 1..names.len() {
        let pair = FIRST_RESERVED + 2 * (index as i32 - 1);
        let Some([kind, name @ ..]) = names.get(index) else { continue };
        if syscall::lock_alone(pair) && syscall::is_at(pair, pair + 1, name.as_ptr()) {
            syscall::remove(pair + 1, name.as_ptr(), *kind == b'd');
        }
    }
    syscall::exit(0)
}
