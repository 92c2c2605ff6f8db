//! Who is told what becomes of executions inside: the process that waits for the command they belong to, and the log.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::inner::{Log, Told};

/// What a pipe takes whole or not at all (pipe(7)).
const WHOLE: usize = 4096;

/// What a pipe holds.
const ALL: usize = 1 << 16;

/// Texts kept for commands that have only just been started.
const EARLY: usize = 64;

/// Those who wait for commands of one session.
#[derive(Default)]
pub(crate) struct Guests {
    log: Log,
    texts: Mutex<Texts>,
}

#[derive(Default)]
struct Texts {
    /// By the number inside of the command's first process, which leads a session (setsid(2)) of this number.
    present: HashMap<i32, File>,
    /// What was said when nobody was there for it yet, by the sessions it could belong to.
    early: VecDeque<(Vec<i32>, String)>,
}

/// One who waits for a command, as long as it runs.
pub(crate) struct Guest {
    guests: Arc<Guests>,
    command: i32,
    texts: File,
}

impl Guests {
    fn lock(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits for the command whose first process has this number inside.
    ///
    /// # Errors
    /// When there is no pipe to be had.
    pub(super) fn enter(self: &Arc<Self>, command: i32) -> io::Result<Guest> {
        let (texts, said) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let mut said = File::from(said);
        let mut known = self.lock();
        known.early.retain(|(sessions, text)| {
            let mine = sessions.contains(&command);
            if mine {
                write(&mut said, text);
            }
            !mine
        });
        known.present.insert(command, said);
        Ok(Guest { guests: Arc::clone(self), command, texts: texts.into() })
    }
}

impl Told for Guests {
    fn tell(&self, process: i32, text: &str) {
        self.log.tell(text);
        let sessions = sessions_of(process);
        let mut known = self.lock();
        match sessions.iter().find(|session| known.present.contains_key(session)) {
            Some(session) => drop(known.present.get_mut(session).map(|said| write(said, text))),
            None => {
                if known.early.len() == EARLY {
                    known.early.pop_front();
                }
                known.early.push_back((sessions, text.to_owned()));
            }
        }
    }
}

impl Guest {
    /// Readable when something was said.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.texts.as_fd()
    }

    /// What was said since.
    pub(super) fn said(&self) -> Option<String> {
        let mut bytes = vec![0; ALL];
        match (&self.texts).read(&mut bytes) {
            Ok(length) if length > 0 => Some(String::from_utf8_lossy(&bytes[..length]).into_owned()),
            _ => None,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.lock().present.remove(&self.command);
    }
}

/// Never waits: whoever does not read finds it in the log.
fn write(said: &mut File, text: &str) {
    let whole = if text.len() <= WHOLE { text } else { &format!("{}\n", &text[..text.floor_char_boundary(WHOLE - 1)]) };
    said.write_all(whole.as_bytes()).ok();
}

/// The sessions of a process and of those it descends from, by their numbers inside.
fn sessions_of(process: i32) -> Vec<i32> {
    let keeper = std::process::id().cast_signed();
    let (mut sessions, mut next) = (Vec::new(), process);
    // Above us nobody is inside.
    while next > 1 && next != keeper {
        // Its name may be any bytes.
        let Ok(status) = fs::read(format!("/proc/{next}/status")) else { break };
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().last()?.parse().ok())
        };
        let (Some(session), Some(parent)) = (field("NSsid:"), field("PPid:")) else { break };
        if sessions.last() != Some(&session) {
            sessions.push(session);
        }
        next = parent;
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_with_a_name_of_any_bytes_has_a_session() {
        let place = tempfile::tempdir().unwrap();
        let named = place.path().join(OsStr::from_bytes(b"\xff"));
        fs::copy("/bin/cat", &named).unwrap();
        let mut cat = Command::new(named).stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(sessions_of(cat.id().cast_signed()), [nix::unistd::getsid(None).unwrap().as_raw()]);
        drop(cat.stdin.take());
        assert!(cat.wait().unwrap().success());
    }
}
