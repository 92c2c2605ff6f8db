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
        wire::{CONTROL, FIRST_RESERVED, NEXT_DIRECTORY, NEXT_GROUPS},
    },
};
use std::{
    ffi::CString,
    fs::File,
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

/// Waits for its owner and the sandbox to be gone, then sweeps. Dropping it ends the sandbox, and waits for the sweeper's end.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// Our end of the conversation: its end tells the sweeper that its owner is gone.
    owner: Option<OwnedFd>,
    process: Started,
    /// The socket of a sandbox that it follows.
    control: Option<Arc<OwnedFd>>,
}

impl Sweeper {
    /// Starts a sweeper for names that are about to be reserved in `held`, and for `groups`.
    pub(crate) fn start(
        resident: &OwnedFd,
        watch: Option<BorrowedFd<'_>>,
        held: &[Reservation],
        groups: &[Place],
    ) -> Result<Self> {
        let (theirs, ours) = socket::pair()?;
        // A process that ends closes its descriptors in order: the watch before this.
        let owner = Some(program::lift(ours.as_fd(), LIFTED)?);
        drop(ours);
        let process = launch_sweeper(resident, &theirs, watch, held, groups)?;
        Ok(Self { owner, process, control: None })
    }

    /// Has it wait for the sandbox whose pid 1 has the pidfd `first` and serves the socket `control`.
    pub(crate) fn follow(&mut self, first: BorrowedFd<'_>, control: Arc<OwnedFd>) -> Result<()> {
        self.control = Some(control);
        self.tell(&[first.as_raw_fd()])
    }

    fn tell(&self, first: &[RawFd]) -> Result<()> {
        let Some(owner) = &self.owner else { return Ok(()) };
        match socket::send_packet(owner.as_fd(), &[IoSlice::new(&[0])], first) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Ended { why: "what removes its reservations is gone" }),
            Err(errno) => Err(Error::errno("talk to the sweeper")(errno)),
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        match &self.control {
            Some(control) => socket::hang_up(control),
            // There is no pid 1, so that it need not wait for one.
            None => self.tell(&[]).unwrap_or_default(),
        }
        drop(self.owner.take());
        self.process.reap();
    }
}

fn launch_sweeper(
    resident: &OwnedFd,
    owner: &OwnedFd,
    watch: Option<BorrowedFd<'_>>,
    held: &[Reservation],
    groups: &[Place],
) -> Result<Started> {
    let count = RawFd::try_from(held.len() + groups.len() + 1).unwrap_or(RawFd::MAX / 2);
    let mut program = Lifting { above: (FIRST_RESERVED + count).max(LIFTED), held: Vec::new(), steps: Vec::new() };
    let resident = program.lift(resident.as_fd())?;
    program.place(owner.as_fd(), CONTROL)?;
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
