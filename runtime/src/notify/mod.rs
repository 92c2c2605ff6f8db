//! Calls of the processes inside that wait until they are answered from outside (seccomp_unotify(2)): pid 1 installs a
//! program that traps them before any command runs, every command inherits it, and one thread here answers.
//!
//! Fail closed: when that thread ends for whatever reason, so does the sandbox, and what still waits gets `ENOSYS`.

mod glance;
mod target;
mod view;

pub(crate) use crate::sys::notify::Held;
use crate::{
    ending::Ending,
    error::{Error, Result},
    executable, probe, socket,
    sys::{
        self, notify,
        wire::{FAILED, LISTENING, Reply, Request, TRAP},
    },
};
pub(crate) use glance::Glance;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};
pub(crate) use target::{PAGE, Target};
pub(crate) use view::{LINKS, View, components, path_of};

/// Which calls wait. A process can have one listener, so one program traps whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traps(u8);

#[allow(dead_code, reason = "who judges opens uses the rest")]
impl Traps {
    /// Nothing waits.
    pub(crate) const NONE: Self = Self(0);
    /// What executes programs.
    pub(crate) const EXEC: Self = Self(1);
    /// What opens files.
    pub(crate) const OPEN: Self = Self(2);
    /// What changes modes and times of files.
    pub(crate) const MODES: Self = Self(4);
}

impl std::ops::BitOrAssign for Traps {
    fn bitor_assign(&mut self, more: Self) {
        self.0 |= more.0;
    }
}

/// Where held calls arrive and are answered, from any thread. An answer to a caller that is gone is lost, and that is
/// no failure.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Whether the caller still waits. What was read of its memory before counts only then.
    pub(crate) fn is_valid(&self, call: &Held) -> bool {
        notify::is_valid(self.0.as_fd(), call.id)
    }

    /// Lets the kernel carry out the call, with what its pointers point at by then.
    pub(crate) fn proceed(&self, call: &Held) {
        Self::sent(notify::proceed(self.0.as_fd(), call.id));
    }

    /// Answers that the call was carried out.
    pub(crate) fn done(&self, call: &Held) {
        Self::sent(notify::succeed(self.0.as_fd(), call.id));
    }

    /// Fails the call.
    pub(crate) fn refuse(&self, call: &Held, errno: i32) {
        Self::sent(notify::refuse(self.0.as_fd(), call.id, errno));
    }

    /// Gives the caller a copy of `fd` as the call's result.
    #[allow(dead_code, reason = "who judges opens uses it")]
    pub(crate) fn answer_with(&self, call: &Held, fd: impl AsFd, close_on_exec: bool) -> sys::Result<()> {
        notify::answer_with(self.0.as_fd(), call.id, fd.as_fd(), close_on_exec)
    }

    /// Gives the caller a copy of `fd` and lets it wait on; the number of the copy.
    pub(crate) fn place(&self, call: &Held, fd: impl AsFd, close_on_exec: bool) -> sys::Result<i32> {
        notify::place(self.0.as_fd(), call.id, fd.as_fd(), close_on_exec)
    }

    /// Answers with a value, without the kernel doing anything.
    pub(crate) fn answer_with_value(&self, call: &Held, value: i32) {
        Self::sent(notify::return_value(self.0.as_fd(), call.id, value.into()));
    }

    fn sent(answered: sys::Result<()>) {
        // Killed meanwhile: nobody waits for the answer.
        if answered.is_err() {}
    }
}

/// Who answers some of the calls.
pub(crate) trait Handler: Send {
    /// Whether the call is one of its.
    fn takes(&self, call: &Held) -> bool;

    /// Answers it, or sees to it that another thread does. It must not wait for anything: every other caller would, too.
    fn answer(&mut self, listener: &Arc<Listener>, call: &Held);
}

/// The thread that takes up calls. It ends when nothing inside is left.
#[derive(Debug)]
pub(crate) struct Supervisor {
    ending: Arc<Ending>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

impl Supervisor {
    /// Has pid 1, to which no command was sent yet, install the traps and starts to answer. What no handler takes is refused.
    pub(crate) fn start(ending: Arc<Ending>, traps: Traps, handlers: Vec<Box<dyn Handler>>) -> Result<Self> {
        let listener = Arc::new(install(ending.control(), traps)?);
        let failed = Arc::new(AtomicBool::new(false));
        let end = EndSandbox { ending: Arc::clone(&ending), failed: Arc::clone(&failed), well: false };
        let thread = thread::Builder::new().name("supervisor".into());
        let thread =
            thread.spawn(move || supervise(&listener, handlers, end)).map_err(Error::io("start the supervisor"))?;
        Ok(Self { ending, thread: Some(thread), failed })
    }

    /// Why the sandbox was ended, when it was because calls could not be answered any more.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.failed.load(Ordering::Acquire).then_some("what waited for an answer could get none any more")
    }
}

impl Drop for Supervisor {
    /// Ends the sandbox, if it still lives, and waits for the thread.
    fn drop(&mut self) {
        self.ending.end();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // A handler panicked: the sandbox ended with it.
        }
    }
}

fn install(control: &OwnedFd, traps: Traps) -> Result<Listener> {
    let program = notify::TRAPS[usize::from(traps.0)];
    let image = executable::memory_file(program)?;
    let (ours, theirs) = socket::pair()?;
    let request = Request { op: TRAP, length: program.len() as u64, ..Request::default() };
    socket::send(control.as_fd(), &request, &[], &[image.as_raw_fd(), theirs.as_raw_fd()])?;
    drop(theirs);
    match socket::receive(ours.as_fd(), true)? {
        Some((Reply { kind: LISTENING, .. }, mut fds)) if !fds.is_empty() => {
            let listener = fds.remove(0);
            if notify::wake_in_place(listener.as_fd()).is_err() {
                // Before Linux 6.6 an answer costs a few microseconds more.
            }
            Ok(Listener(listener))
        }
        Some((Reply { kind: FAILED, value, .. }, _)) => Err(Error::Setup {
            step: "install the seccomp program that holds calls".into(),
            source: io::Error::from_raw_os_error(value),
        }),
        _ => Err(Error::Ended { why: "its pid 1 is gone" }),
    }
}

/// Ends the sandbox when the supervisor does, also when it panics: nothing runs unanswered. It is dropped before the listener,
/// so that nobody sees how a call fails that nobody answers any more.
struct EndSandbox {
    ending: Arc<Ending>,
    failed: Arc<AtomicBool>,
    well: bool,
}

impl Drop for EndSandbox {
    fn drop(&mut self) {
        self.failed.store(!self.well, Ordering::Release);
        self.ending.end();
    }
}

fn supervise(listener: &Arc<Listener>, mut handlers: Vec<Box<dyn Handler>>, mut end: EndSandbox) {
    let ends = probe::taking_up_ends();
    let mut waits_first = !ends;
    loop {
        if waits_first {
            match wait(listener) {
                Some(true) => {}
                Some(false) => {
                    end.well = true;
                    return;
                }
                None => return,
            }
        }
        waits_first = !ends;
        let call = match notify::receive(listener.0.as_fd()) {
            Ok(call) => call,
            // Killed before it was taken up, or nobody is left.
            Err(libc::ENOENT) => {
                waits_first = true;
                continue;
            }
            Err(libc::EINTR) => continue,
            Err(_) => return,
        };
        match handlers.iter_mut().find(|handler| handler.takes(&call)) {
            Some(handler) => handler.answer(listener, &call),
            None => listener.refuse(&call, libc::ENOSYS),
        }
    }
}

/// Blocks until a call waits (true) or nobody is left who could make one (false).
fn wait(listener: &Listener) -> Option<bool> {
    loop {
        let mut waits = [PollFd::new(listener.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waits, PollTimeout::NONE) {
            Ok(_) => {
                let events = waits[0].revents()?;
                return if events.contains(PollFlags::POLLIN) {
                    Some(true)
                } else {
                    events.contains(PollFlags::POLLHUP).then_some(false)
                };
            }
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests;
