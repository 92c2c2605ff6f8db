//! The sweeper: waits beside the sandbox until its owner and its pid 1 are gone, then removes what reserved protected
//! names, and the control groups. It outlives an owner that was killed. Its arguments are the names, after a mark for their
//! directory.

use crate::{
    files::NONE,
    syscall::{self, Arguments},
    wire::{CONTROL, FIRST_RESERVED, NEXT_DIRECTORY, NEXT_GROUPS},
};

pub(crate) fn sweep(arguments: &Arguments) -> ! {
    syscall::block_signals();
    // Removing a reservation also lifts the mount on it, so nobody may be left inside.
    match outlive_owner() {
        Some(NONE) => {}
        Some(first) => drop(syscall::wait_readable([first])),
        // There may be a pid 1. Its socket is closed as well, so it ends, and no command was there long enough to know of this.
        None => syscall::pause(200),
    }
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

/// Waits for the end of the owner: what it has told of pid 1, which is a pidfd or that there is none ([`NONE`]).
fn outlive_owner() -> Option<i32> {
    let mut told = None;
    loop {
        let mut fds = [NONE; 8];
        match syscall::receive(CONTROL, &mut [0], &mut fds) {
            Ok((1.., _)) => told = Some(fds[0]),
            _ => return told,
        }
    }
}

/// Lets the next run have the directory now: at the exit the lock would go after the watch, which takes milliseconds.
fn unlock(directory: i32) {
    if directory >= FIRST_RESERVED {
        syscall::close(directory);
    }
}
