//! The sweeper's host side: a process that outlives a killed owner and removes the reservations of protected names. It also
//! closes the watch last: the kernel takes milliseconds to tear one down, and nobody has to wait for that.

use crate::{
    error::{Error, Result},
    program::{self, Arguments, Descriptor, LIFTED, Program, Step},
    reserve::{self, Reservation},
    socket,
    sys::{
        launch::{self, Started},
        wire::{CONTROL, FIRST_RESERVED, NEXT_DIRECTORY, SECOND},
    },
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{Shutdown, shutdown},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
};
use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

/// Waits for its owner and the sandbox to be gone, then sweeps. Dropping it is the owner's way to be gone, and waits for the
/// names to be removed.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// Our end of the conversation: closing our side tells it to sweep, the end of its side tells us that it has.
    owner: OwnedFd,
    process: Option<Started>,
}

/// Sweepers that have done their work and are about to end: reaped by the next one.
static ENDING: Mutex<Vec<Started>> = Mutex::new(Vec::new());

impl Sweeper {
    /// Starts a sweeper for what is `held`, or none when that is nothing and nothing is watched. `first` is the pidfd of the
    /// sandbox's pid 1.
    pub(crate) fn start(
        resident: &OwnedFd,
        first: &OwnedFd,
        watch: Option<BorrowedFd<'_>>,
        held: Vec<Reservation>,
    ) -> Result<Option<Self>> {
        if held.is_empty() && watch.is_none() {
            return Ok(None);
        }
        let started = socket::pair().and_then(|(theirs, ours)| {
            let process = launch_sweeper(resident, first, &theirs, watch, &held)?;
            Ok(Some(Self { owner: ours, process: Some(process) }))
        });
        if started.is_err() {
            reserve::release(held);
        }
        started
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if shutdown(self.owner.as_raw_fd(), Shutdown::Write).is_err() {
            // It has gone before us; then there is nothing to wait for either.
        }
        let mut end = [PollFd::new(self.owner.as_fd(), PollFlags::empty())];
        while let Err(Errno::EINTR) = poll(&mut end, PollTimeout::NONE) {}
        let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
        ending.retain(|process| !has_ended(process));
        ending.extend(self.process.take());
    }
}

fn has_ended(process: &Started) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    !matches!(waitid(Id::PIDFd(process.pidfd.as_fd()), flags), Ok(WaitStatus::StillAlive))
}

fn launch_sweeper(
    resident: &OwnedFd,
    first: &OwnedFd,
    owner: &OwnedFd,
    watch: Option<BorrowedFd<'_>>,
    held: &[Reservation],
) -> Result<Started> {
    let count = RawFd::try_from(held.len() + 1).unwrap_or(RawFd::MAX / 2);
    let mut program = Lifting { above: (FIRST_RESERVED + count).max(LIFTED), held: Vec::new(), steps: Vec::new() };
    let resident = program.lift(resident.as_fd())?;
    program.place(owner.as_fd(), CONTROL)?;
    program.place(first.as_fd(), SECOND)?;
    let mut arguments = vec![CString::from(c"sweeper")];
    for (at, reservation) in (FIRST_RESERVED..).zip(held) {
        program.place(reservation.directory(), at)?;
        arguments.push(NEXT_DIRECTORY.into());
        arguments.extend_from_slice(reservation.names());
    }
    if let Some(watch) = watch {
        program.place(watch, FIRST_RESERVED + count - 1)?;
    }
    program.steps.extend([
        Step::NewSession,
        Step::NullStandard,
        Step::CloseFrom(FIRST_RESERVED + count),
        Step::Execute { program: Descriptor::Known(resident), arguments: Arguments::new(arguments) },
    ]);
    let mut program = Program::new(program.steps, program.held);
    let started = launch::launch(&mut program, 0).map_err(Error::io("start the sweeper"))?;
    match program.failure {
        None => Ok(started),
        Some(failure) => {
            let source = io::Error::from_raw_os_error(failure.errno);
            Err(Error::Io { doing: "start the sweeper", source })
        }
    }
}

/// Descriptors moved out of the way of the fixed numbers at which they will be placed.
struct Lifting {
    above: RawFd,
    held: Vec<OwnedFd>,
    steps: Vec<Step>,
}

impl Lifting {
    fn lift(&mut self, fd: BorrowedFd<'_>) -> Result<RawFd> {
        let lifted = program::lift(fd, self.above)?;
        let number = lifted.as_raw_fd();
        self.held.push(lifted);
        Ok(number)
    }

    fn place(&mut self, fd: BorrowedFd<'_>, at: RawFd) -> Result<()> {
        let from = Descriptor::Known(self.lift(fd)?);
        self.steps.push(Step::Descriptor { from, to: at });
        Ok(())
    }
}
