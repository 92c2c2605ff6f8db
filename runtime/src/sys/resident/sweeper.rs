//! The sweeper: waits beside the sandbox until its owner and its pid 1 are gone, then removes what reserved protected
//! names, and the control groups. It outlives an owner that was killed. Its arguments are the names, after a mark for their
//! directory.

use crate::{
    syscall::{self, Arguments},
    wire::{CONTROL, FIRST_RESERVED, NEXT_DIRECTORY, NEXT_GROUPS, SECOND},
};

pub(crate) fn sweep(arguments: &Arguments) -> ! {
    syscall::block_signals();
    // The owner never writes: readable means that its end is closed.
    syscall::wait_readable([CONTROL]);
    // Removing a reservation also lifts the mount on it, so nobody may be left inside.
    syscall::wait_readable([SECOND]);
    let (mut directory, mut alone, mut groups) = (FIRST_RESERVED - 1, false, false);
    for argument in (1..arguments.len()).filter_map(|index| arguments.get(index)) {
        if argument == NEXT_GROUPS.to_bytes() {
            unlock(directory);
            directory += 1;
            groups = true;
        } else if groups {
            syscall::remove_group(directory, argument.as_ptr());
        } else if argument == NEXT_DIRECTORY.to_bytes() {
            unlock(directory);
            directory += 1;
            alone = syscall::lock_alone(directory);
        } else if alone && syscall::is_reservation(directory, argument.as_ptr()) {
            syscall::remove(directory, argument.as_ptr());
        }
    }
    unlock(directory);
    syscall::exit(0)
}

/// Lets the next run have the directory now: at the exit the lock would go after the watch, which takes milliseconds.
fn unlock(directory: i32) {
    if directory >= FIRST_RESERVED {
        syscall::close(directory);
    }
}
