//! The sweeper's host side: a process that outlives a killed owner and removes the reservations of protected names.

use crate::{
    error::{Error, Result},
    program::{Arguments, Descriptor, LIFTED, Program, Step},
    reserve::{self, Reservation},
    sys::{
        launch::{self, Started},
        wire::{CONTROL, FIRST_RESERVED, NEXT_DIRECTORY, SECOND},
    },
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::wait::{Id, WaitPidFlag, waitid},
};
use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
};

/// Waits for its owner and the sandbox to be gone, then sweeps. Dropping it is the owner's way to be gone.
#[derive(Debug)]
pub(crate) struct Sweeper {
    owner: Option<OwnedFd>,
    process: Started,
}

impl Sweeper {
    /// Starts a sweeper for what is `held`, or none when that is nothing. `first` is the pidfd of the sandbox's pid 1.
    pub(crate) fn start(resident: &OwnedFd, first: &OwnedFd, held: Vec<Reservation>) -> Result<Option<Self>> {
        if held.is_empty() {
            return Ok(None);
        }
        let (theirs, ours) = io::pipe().map_err(Error::io("make the sweeper's pipe"))?;
        match launch_sweeper(resident, first, &theirs.into(), &held) {
            Ok(process) => Ok(Some(Self { owner: Some(ours.into()), process })),
            Err(error) => {
                reserve::release(held);
                Err(error)
            }
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.owner.take());
        while let Err(Errno::EINTR) = waitid(Id::PIDFd(self.process.pidfd.as_fd()), WaitPidFlag::WEXITED) {}
    }
}

fn launch_sweeper(resident: &OwnedFd, first: &OwnedFd, owner: &OwnedFd, held: &[Reservation]) -> Result<Started> {
    let count = RawFd::try_from(held.len()).unwrap_or(RawFd::MAX / 2);
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
        let lifted = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(self.above)).map_err(Error::errno("move a descriptor"))?;
        self.held.push(launch::adopt(lifted));
        Ok(lifted)
    }

    fn place(&mut self, fd: BorrowedFd<'_>, at: RawFd) -> Result<()> {
        let from = Descriptor::Known(self.lift(fd)?);
        self.steps.push(Step::Descriptor { from, to: at });
        Ok(())
    }
}
