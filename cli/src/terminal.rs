//! The person's terminal: raw while a command has a terminal of its own, and given back as it was in every case.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{Mutex, Once};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use crate::error::Error;

/// The settings to restore, where the panic hook finds them too.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether standard input and output are both a terminal: then the command gets a terminal of its own.
pub(crate) fn interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The person's terminal, raw as long as we have it; dropped, it is as it was before.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    /// Its settings as they were when we first had it.
    before: Option<Termios>,
    held: bool,
}

impl Raw {
    /// Put the terminal of standard input into raw mode, also once more after somebody (a shell that took it back for a while) has
    /// changed it; in the background leave it to those who have it.
    ///
    /// # Errors
    /// [`Error::Io`] when it does not answer as a terminal.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        if in_background() {
            self.let_go();
            return Ok(());
        }
        let before = match self.before.take() {
            Some(before) => before,
            None => tcgetattr(io::stdin()).map_err(|errno| Error::io("read the settings of the terminal", errno))?,
        };
        let mut settings = self.before.insert(before).clone();
        restore_on_panic();
        remember(Some(settings.clone()));
        self.held = true;
        cfmakeraw(&mut settings);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &settings)
            .map_err(|errno| Error::io("set the terminal to raw mode", errno))
    }

    /// Whether what is typed is for us.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Others have it, and have set it as they need it.
    pub(crate) fn let_go(&mut self) {
        self.held = false;
        remember(None);
    }

    /// Give a command's own terminal the settings that the person's has, if they are known.
    pub(crate) fn hand_on(&self, master: &File) {
        if let Some(before) = &self.before {
            // A command whose terminal has other settings still works; there is nobody to tell before it runs.
            tcsetattr(master, SetArg::TCSANOW, before).ok();
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        remember(None);
        if let Some(before) = self.before.as_ref().filter(|_| self.held && !in_background()) {
            // Drained, so that the command's last output is not taken for something else by the restored settings.
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, before).ok();
        }
    }
}

/// Whether others have the terminal now: to read or set it would stop us. One that is not ours to lose, or is gone, nobody else has.
pub(crate) fn in_background() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group != getpgrp())
}

/// Whether a line on it has to go back to its beginning by itself.
pub(crate) fn is_raw() -> bool {
    BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some()
}

fn remember(settings: Option<Termios>) {
    *BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
}

/// A panic that aborts runs no destructors, but its hook.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Ok(mut before) = BEFORE.try_lock()
                && let Some(settings) = before.take()
            {
                tcsetattr(io::stdin(), SetArg::TCSANOW, &settings).ok();
            }
            usual(panic);
        }));
    });
}

/// Rows and columns of the person's terminal; 24 × 80 when it does not say.
pub(crate) fn size() -> (u16, u16) {
    match tcgetwinsize(io::stdout()) {
        Ok(Winsize { ws_row, ws_col, .. }) if ws_row > 0 && ws_col > 0 => (ws_row, ws_col),
        _ => (24, 80),
    }
}

/// Make a command's terminal as large as the person's is now; the kernel tells the command (SIGWINCH).
pub(crate) fn resize(master: &impl AsFd) {
    if let Ok(size) = tcgetwinsize(io::stdout()) {
        // A command with the wrong size still runs.
        tcsetwinsize(master, size).ok();
    }
}
