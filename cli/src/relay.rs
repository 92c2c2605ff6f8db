//! Copying between the person's terminal and a command's own one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};

use crate::error::Error;
use crate::terminal::{self, Raw};

/// Bytes moved at once.
const PIECE: usize = 16 * 1024;

/// Typed bytes kept for a command that does not read; then the keyboard waits.
const TYPED_AHEAD: usize = 64 * 1024;

/// Pieces read after the command's end: more than a terminal holds, and an end to it when a stray process still writes.
const LAST_PIECES: usize = 16;

/// How long the person's terminal may refuse the last output, in milliseconds, before it is given up.
const PATIENCE: u16 = 5000;

/// How often a job in the background looks whether it has been given the terminal: a shell says so only to one that was stopped.
const LOOK: Duration = Duration::from_millis(200);

/// The two terminals and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Relay {
    raw: Raw,
    master: File,
    /// The settings of the command's terminal until it has been given those of the person's.
    new: Option<Termios>,
    /// Held open, so that the master never reports a hang-up while a command has closed its streams and runs on.
    _other_side: Option<OwnedFd>,
    typed: Vec<u8>,
    shown: Vec<u8>,
    keyboard: bool,
    screen: bool,
    /// Bytes that may still be shown, when there is a limit.
    left: Option<u64>,
    used_up: bool,
}

/// Which ends can move something.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ready {
    keyboard: bool,
    screen: bool,
    master: bool,
}

impl Relay {
    /// Put the person's terminal into raw mode, if it is ours now, and begin. At most `limit` bytes are shown.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn start(master: File, limit: Option<u64>) -> Result<Self, Error> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| Error::io("prepare the command's terminal", errno))?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let other_side = ioctl_tiocgptpeer(&master, flags).ok();
        let new = tcgetattr(&master).ok();
        let (typed, shown) = (Vec::new(), Vec::new());
        let mut relay = Self {
            raw: Raw::default(),
            master,
            new,
            _other_side: other_side,
            typed,
            shown,
            keyboard: true,
            screen: true,
            left: limit,
            used_up: false,
        };
        relay.enter()?;
        relay.resize();
        Ok(relay)
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.raw.enter()?;
        if self.raw.is_held()
            && let Some(new) = self.new.take()
            // A command that was in the background may have set it for itself meanwhile.
            && tcgetattr(&self.master).is_ok_and(|now| now == new)
        {
            self.raw.hand_on(&self.master);
        }
        Ok(())
    }

    /// When to [`resume`](Self::resume) without being told to.
    pub(crate) fn look(&self) -> Option<Duration> {
        (self.keyboard && !self.raw.is_held()).then_some(LOOK)
    }

    /// What to wait for, in the order that [`ready`](Self::ready) expects.
    pub(crate) fn interests<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let when = |wanted: bool, flag: PollFlags| if wanted { flag } else { PollFlags::empty() };
        // A closed end is ready all the time; the master stands in for it, asked for nothing.
        let listens = self.keyboard && self.raw.is_held();
        let keyboard = if listens { stdin_fd() } else { self.master.as_fd() };
        let screen = if self.screen { stdout_fd() } else { self.master.as_fd() };
        fds.push(PollFd::new(keyboard, when(listens && self.typed.len() < TYPED_AHEAD, PollFlags::POLLIN)));
        fds.push(PollFd::new(screen, when(self.screen && !self.shown.is_empty(), PollFlags::POLLOUT)));
        let reading = when(self.shown.is_empty(), PollFlags::POLLIN);
        fds.push(PollFd::new(self.master.as_fd(), reading | when(!self.typed.is_empty(), PollFlags::POLLOUT)));
    }

    /// What of [`interests`](Self::interests) has come true.
    pub(crate) fn ready(&self, fds: &[PollFd<'_>]) -> Ready {
        let is = |at: usize| fds.get(at).and_then(PollFd::revents).is_some_and(|got| !got.is_empty());
        Ready { keyboard: self.keyboard && self.raw.is_held() && is(0), screen: self.screen && is(1), master: is(2) }
    }

    /// Move what is ready. A terminal of the person's that is gone is no error: the command learns it by SIGHUP.
    pub(crate) fn copy(&mut self, ready: Ready) {
        if ready.keyboard && terminal::in_background() {
            self.raw.let_go();
        } else if ready.keyboard {
            let mut piece = [0; PIECE];
            match unistd::read(stdin_fd(), &mut piece).map_err(io::Error::from) {
                Ok(length) if length > 0 => self.typed.extend_from_slice(&piece[..length]),
                Err(error) if retry(&error) => {}
                Ok(_) | Err(_) => self.keyboard = false,
            }
        }
        if ready.master || !self.typed.is_empty() {
            self.send_typed();
        }
        if ready.master && self.shown.is_empty() {
            self.take_output();
        }
        if !self.shown.is_empty() && (ready.screen || writable(PollTimeout::ZERO)) {
            self.show();
        }
    }

    fn send_typed(&mut self) {
        if self.typed.is_empty() {
            return;
        }
        match self.master.write(&self.typed) {
            Ok(length) => drop(self.typed.drain(..length)),
            Err(error) if retry(&error) => {}
            // Nobody has the other side open: what was typed is for nobody.
            Err(_) => self.typed.clear(),
        }
    }

    /// Whether something was read.
    fn take_output(&mut self) -> bool {
        let mut piece = [0; PIECE];
        // EIO means that nobody has the other side open at this moment; the end is noticed elsewhere.
        let length = self.master.read(&mut piece).unwrap_or(0);
        let allowed = self.left.map_or(length, |left| length.min(usize::try_from(left).unwrap_or(usize::MAX)));
        self.used_up |= allowed < length;
        self.left = self.left.map(|left| left - allowed as u64);
        if self.screen {
            self.shown.extend_from_slice(&piece[..allowed]);
        }
        length > 0
    }

    /// Whether the command has printed more than it may.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up
    }

    fn show(&mut self) {
        match unistd::write(stdout_fd(), &self.shown).map_err(io::Error::from) {
            Ok(length) => drop(self.shown.drain(..length)),
            Err(error) if retry(&error) => {}
            Err(_) => {
                self.screen = false;
                self.shown.clear();
            }
        }
    }

    /// The person's terminal has another size.
    pub(crate) fn resize(&self) {
        terminal::resize(&self.master);
    }

    /// We may have the terminal again, after others had it: we were suspended and go on, or were in the background.
    pub(crate) fn resume(&mut self) {
        // One that is gone is no error: the command learns it by SIGHUP.
        self.keyboard &= self.enter().is_ok();
        self.resize();
    }

    /// Show what the command has left in its terminal, then give the person's back.
    pub(crate) fn finish(mut self) {
        for _ in 0..LAST_PIECES {
            while !self.shown.is_empty() {
                if !writable(PollTimeout::from(PATIENCE)) {
                    return;
                }
                self.show();
            }
            if !self.take_output() {
                return;
            }
        }
    }
}

// Not the buffered streams of the standard library: bytes must pass as they come.
fn stdin_fd() -> std::os::fd::BorrowedFd<'static> {
    static STDIN: std::sync::LazyLock<io::Stdin> = std::sync::LazyLock::new(io::stdin);
    STDIN.as_fd()
}

fn stdout_fd() -> std::os::fd::BorrowedFd<'static> {
    static STDOUT: std::sync::LazyLock<io::Stdout> = std::sync::LazyLock::new(io::stdout);
    STDOUT.as_fd()
}

fn writable(patience: PollTimeout) -> bool {
    let mut fds = [PollFd::new(stdout_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, patience).is_ok_and(|ready| ready > 0)
}

fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
