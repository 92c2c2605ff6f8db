//! What pid 1 gets from the kernel and a supervisor without a pid namespace has to do itself: orphans come to it, nothing
//! inside can signal it, and at its end it kills everything inside and nothing else. The last two are Landlock's work
//! (LANDLOCK_SCOPE_SIGNAL in landlock(7)): the supervisor is in a domain of its own, each command in one below that.

use crate::{
    init,
    syscall::{self, Result},
    wire::BELOW,
};
use core::sync::atomic::{AtomicBool, Ordering};

static ALONE: AtomicBool = AtomicBool::new(false);

const SIGKILL: i32 = 9;

/// Serves as `init` does. Refuses to when it could signal its parent: then it would kill that one as well at its end.
pub(crate) fn serve() -> ! {
    let confined = syscall::kill(syscall::parent(), 0) == Err(1 /* EPERM */);
    if !confined || syscall::adopt_orphans().is_err() {
        syscall::exit(71);
    }
    ALONE.store(true, Ordering::Relaxed);
    init::serve()
}

/// In a new command: from here on its supervisor is out of its reach.
pub(crate) fn step_below() -> Result<()> {
    if ALONE.load(Ordering::Relaxed) { syscall::restrict(BELOW).map(drop) } else { Ok(()) }
}

/// Ends this process, after everything that descends from it. A process that is about to be killed starts no other
/// (fork(2) fails with a signal pending), so one round reaches all; the next ones are for what was told by nobody.
pub(crate) fn end(code: i32) -> ! {
    if ALONE.load(Ordering::Relaxed) {
        loop {
            if syscall::kill(-1, SIGKILL).is_err() {
                // Nobody is left to be signalled; what has ended is still to be waited for.
            }
            if !syscall::reap_waiting() {
                break;
            }
        }
    }
    syscall::exit(code)
}
