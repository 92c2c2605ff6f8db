//! The sweeper's host side: a process that outlives a killed owner and removes the reservations of protected names and the
//! control groups. It also closes the watch last: the kernel takes milliseconds to tear one down, and nobody has to wait for that.

use crate::{
    cgroup::Place,
    error::{Error, Result},
    program::{self, Arguments, Descriptor, LIFTED, Program, Step},
    reserve::Reservation,
    socket,
    sys::{
        launch::{self, Started},
        wire::{CONTROL, FIRST_RESERVED, NEXT_DIRECTORY, NEXT_GROUPS, SECOND},
    },
};
use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, waitid},
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// Waits for its owner and the sandbox to be gone, then sweeps. Dropping it is the owner's way to be gone, and waits for its
/// end.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// Our end of the conversation: its end tells the sweeper to sweep.
    owner: Option<OwnedFd>,
    process: Started,
}

impl Sweeper {
    /// Starts a sweeper for what is `held` and for `groups`. `first` is the pidfd of the sandbox's pid 1.
    pub(crate) fn start(
        resident: &OwnedFd,
        first: &OwnedFd,
        watch: Option<BorrowedFd<'_>>,
        held: &[Reservation],
        groups: &[Place],
    ) -> Result<Self> {
        let (theirs, ours) = socket::pair()?;
        let process = launch_sweeper(resident, first, &theirs, watch, held, groups)?;
        // A process that ends closes its descriptors in order: the watch before this.
        Ok(Self { owner: Some(program::lift(ours.as_fd(), LIFTED)?), process })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.owner.take());
        while let Err(Errno::EINTR) = waitid(Id::PIDFd(self.process.pidfd.as_fd()), WaitPidFlag::WEXITED) {}
    }
}

fn launch_sweeper(
    resident: &OwnedFd,
    first: &OwnedFd,
    owner: &OwnedFd,
    watch: Option<BorrowedFd<'_>>,
    held: &[Reservation],
    groups: &[Place],
) -> Result<Started> {
    let count = RawFd::try_from(held.len() + groups.len() + 1).unwrap_or(RawFd::MAX / 2);
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
    for (at, Place { directory, name }) in (FIRST_RESERVED..).skip(held.len()).zip(groups) {
        let directory = File::open(directory).map_err(Error::io("open the directory of a control group"))?;
        program.place(directory.as_fd(), at)?;
        arguments.extend([NEXT_GROUPS.into(), CString::new(name.as_str()).unwrap_or_default()]);
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
