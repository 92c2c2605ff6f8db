//! The sweeper: waits beside the sandbox until its owner and its pid 1 are gone, then removes the empty directories that
//! reserved protected names. It outlives an owner that was killed. `rmdir` cannot destroy data.

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
        if let Some(name) = names.get(index)
            && syscall::lock_alone(pair)
        {
            syscall::remove_directory(pair + 1, name.as_ptr());
        }
    }
    syscall::exit(0)
}
