//! Which processors a thread may run on. Only for a moment: a new thread is often made where its maker runs, and waits there
//! although another processor idles.

use super::call;
use std::{
    fmt, io, mem,
    os::unix::thread::{JoinHandleExt, RawPthread},
    thread::JoinHandle,
};

/// A set of processors, at most 1024 of them, as `sched_setaffinity(2)` wants it.
#[derive(Clone, Copy)]
pub(crate) struct Processors(libc::cpu_set_t);

impl Processors {
    /// Those that this thread may run on.
    pub(crate) fn allowed() -> io::Result<Self> {
        // SAFETY: plain numbers, of which the kernel writes as many as there are.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: as above.
        match unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } {
            0 => Ok(Self(set)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Keeps another thread off the processor of this one, as far as there are others.
    pub(crate) fn keep_apart<T>(&self, thread: &JoinHandle<T>) {
        unsafe extern "C" {
            /// Not in `libc` for every C library; see pthread_setaffinity_np(3).
            fn pthread_setaffinity_np(thread: RawPthread, size: usize, set: *const libc::cpu_set_t) -> libc::c_int;
        }
        let mut others = self.0;
        // SAFETY: has no arguments.
        if let Ok(here) = usize::try_from(unsafe { libc::sched_getcpu() }) {
            // SAFETY: stays within the set, whatever the number.
            unsafe { libc::CPU_CLR(here, &mut others) };
        }
        // SAFETY: the handle keeps the thread's identity alive, ended or not. An empty set is refused, and nothing changes.
        unsafe { pthread_setaffinity_np(thread.as_pthread_t(), size_of_val(&others), &raw const others) };
    }

    /// Lets this thread, or process, run on all of them again. Refused when none of them is there any more; then the kernel
    /// has chosen others already (cpuset(7)).
    pub(crate) fn restore(&self) {
        call::set_processors(&self.0).unwrap_or_default();
    }
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Processors").finish_non_exhaustive()
    }
}
