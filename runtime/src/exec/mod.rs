//! The exec guard: every program that anything inside wants to execute is judged by the caller first.
//!
//! **First look.** `execve` and `execveat` wait ([`notify`](crate::notify)) while the name, the arguments, the file and what the
//! kernel will make of it (`#!` lines, `ld.so PROGRAM`) are read, and the caller's [`ExecGuard`] answers.
//!
//! **Second look.** The kernel reads name and arguments again once the call goes on, and another thread or process that shares
//! the memory can have exchanged them by then (seccomp_unotify(2), "Caveats regarding the use of
//! `SECCOMP_USER_NOTIF_FLAG_CONTINUE`"). So the first thing that a new program's libc or runtime does, setting up its main
//! thread, waits as well: what was really executed, its file and its arguments, is compared with what was allowed, and the
//! process is killed when it differs, before any of the program's own code has run. Nobody is traced, stopped or signalled
//! otherwise, so job control sees nothing. Where the name that was executed cannot be made to mean another file ([`fixed`]), the
//! new program's stack tells enough ([`stack`]); otherwise `/proc` does.
//!
//! **What this does not cover.** A program without libc that sets up no thread is not looked at twice. To execute one unseen,
//! somebody inside must already run code of his own, and that code could have done the same itself: programs brought along, or
//! written into the memory of an allowed program (ptrace(2)), are held by the sandbox, not by this guard. Neither is a copy of a
//! known program under a new name told apart from any other program.
//!
//! What [`Sandbox::command`](crate::Sandbox::command) starts is the caller's own choice and not judged; what that executes is.

mod chain;
mod elf;
mod file;
mod fixed;
mod judge;
mod loader;
mod names;
mod stack;

use crate::{notify::Target, sys::call::Identity};
pub(crate) use judge::{Anything, Judge};
use std::{
    ffi::OsString,
    fmt, fs,
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{LazyLock, OnceLock},
};

/// Bytes of arguments that are kept of an allowed execution.
const KEPT: usize = 16 << 10;

/// One program that wants to be executed, held until it is answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exec {
    /// The process, by its number on the host.
    pub pid: i32,
    /// What would run: first what was asked for, then what each makes of the one before. A script is followed by its
    /// interpreter (`#!`, up to five deep), a dynamic loader by the program it is told to load.
    pub stages: Vec<Stage>,
    /// Index of the stage whose file the kernel executes.
    executed: usize,
    /// What its arguments were, where they are [not kept](Self::shorten).
    long: Option<Listed>,
    /// Whether nobody inside can make the names of the stages mean other files.
    fixed: bool,
    target: Target,
    /// Where the caller's list of variables is.
    variables: u64,
    directory: OnceLock<PathBuf>,
    environment: OnceLock<Vec<OsString>>,
}

/// A file and the arguments it would get.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stage {
    /// The path inside, without symbolic links. Of a file in memory what `/proc/PID/exe` would say.
    pub program: PathBuf,
    /// The name by which it was called: a path relative to the working directory or absolute.
    pub name: PathBuf,
    /// What it sees as its arguments, its own name first. That name is whatever the caller chose.
    pub argv: Vec<OsString>,
}

impl Exec {
    /// The caller's working directory, as it is called inside. Read when first asked for; what was read is compared again
    /// before the program's code runs.
    ///
    /// # Errors
    /// When the caller is gone.
    pub fn current_dir(&self) -> io::Result<&Path> {
        once(&self.directory, || fs::read_link(self.proc("cwd"))).map(PathBuf::as_path)
    }

    /// The environment the program would get, `NAME=value` each. As with [`current_dir`](Self::current_dir).
    ///
    /// # Errors
    /// When the caller is gone or names memory that it does not have.
    pub fn environment(&self) -> io::Result<&[OsString]> {
        let read = || self.target.read_strings(self.variables).map_err(io::Error::from_raw_os_error);
        once(&self.environment, read).map(Vec::as_slice)
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }

    /// Whether what the process has become is what was judged.
    fn became(&self, executed: Identity) -> io::Result<bool> {
        let stage = &self.stages[self.executed];
        Ok(file::identity(self.proc("exe").as_ref())? == executed
            && self.shows("cmdline", self.long.unwrap_or_else(|| Listed::of(&stage.argv)))?
            && self.directory.get().map_or(Ok(true), |was| fs::read_link(self.proc("cwd")).map(|is| is == *was))?
            && self.environment.get().map_or(Ok(true), |was| self.shows("environ", Listed::of(was)))?)
    }

    /// What its stack would show, if that is enough to say that it has become what was judged: the name leads nowhere else, and
    /// nothing more was looked at. The name, and the arguments.
    fn on_stack(&self) -> Option<(&[u8], &[OsString])> {
        let asked = self.directory.get().is_some() || self.environment.get().is_some();
        let name = self.stages[0].name.as_os_str().as_encoded_bytes();
        (self.fixed && !asked && self.long.is_none()).then(|| (name, self.stages[self.executed].argv.as_slice()))
    }

    /// Lets go of most of its arguments when they are long: they can be compared without. There may be megabytes of them, and the
    /// process itself can let go of them, or end.
    fn shorten(&mut self) {
        let size = |word: &OsString| word.len() + size_of::<OsString>();
        let argv = &self.stages[self.executed].argv;
        if argv.iter().map(size).sum::<usize>() <= KEPT {
            return;
        }
        self.long = Some(Listed::of(argv));
        for stage in &mut self.stages {
            let mut room = KEPT;
            let fits = |word: &OsString| {
                room = room.saturating_sub(size(word));
                room > 0
            };
            stage.argv = std::mem::take(&mut stage.argv).into_iter().take_while(fits).collect();
            stage.argv.shrink_to_fit();
        }
    }

    /// Whether a file of the process lists exactly these strings.
    fn shows(&self, name: &str, strings: Listed) -> io::Result<bool> {
        let mut found = vec![0; strings.length + 1];
        let mut file = fs::File::open(self.proc(name))?;
        let mut length = 0;
        // One byte more than expected, so that what is longer shows.
        while length < found.len() {
            match file.read(&mut found[length..])? {
                0 => break,
                more => length += more,
            }
        }
        Ok(Listed::new(&found[..length]) == strings)
    }
}

/// Strings as `/proc/PID/cmdline` and `environ` show them, by their length and a sum that nobody else can foresee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    length: usize,
    sums: [u64; 2],
}

impl Listed {
    fn of(strings: &[OsString]) -> Self {
        Self::new(&joined(strings))
    }

    fn new(bytes: &[u8]) -> Self {
        static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
        Self { length: bytes.len(), sums: KEYS.each_ref().map(|key| key.hash_one(bytes)) }
    }
}

fn once<T>(cell: &OnceLock<T>, read: impl FnOnce() -> io::Result<T>) -> io::Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = read()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

/// As `/proc/PID/cmdline` and `environ` show strings.
fn joined(strings: &[OsString]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(strings.iter().map(|string| string.len() + 1).sum());
    for string in strings {
        bytes.extend(string.as_encoded_bytes());
        bytes.push(0);
    }
    bytes
}

/// What becomes of an execution.
#[non_exhaustive]
pub enum ExecAnswer {
    /// It goes ahead.
    Allow,
    /// It fails with `EACCES`, and its caller goes on.
    Refuse,
    /// Not known yet. The function is called on a thread of its own and may take as long as it likes: the caller waits in its
    /// `execve`, everybody else goes on. True is [`Allow`](Self::Allow).
    Later(Box<dyn FnOnce(&Exec) -> bool + Send>),
}

impl fmt::Debug for ExecAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "Allow",
            Self::Refuse => "Refuse",
            Self::Later(_) => "Later",
        })
    }
}

/// Files that nobody inside may execute, whatever the guard would say.
pub(crate) trait Withheld: Send + Sync {
    /// Judges an open file by where it is; the errno to refuse with.
    fn check(&self, place: &OwnedFd, path: &Path) -> Result<(), i32>;
}

/// Who judges executions; see [`Builder::on_exec`](crate::Builder::on_exec). A function is one.
pub trait ExecGuard: Send + Sync {
    /// Judges one. Called on the one thread that answers for the whole sandbox: be quick, or answer
    /// [`ExecAnswer::Later`]. A panic ends the sandbox.
    fn judge(&self, exec: &Exec) -> ExecAnswer;

    /// A process was killed because it executed something else than `allowed`, of which long arguments are left out.
    fn killed(&self, allowed: &Exec) {
        let _ = allowed;
    }
}

impl<F: Fn(&Exec) -> ExecAnswer + Send + Sync> ExecGuard for F {
    fn judge(&self, exec: &Exec) -> ExecAnswer {
        self(exec)
    }
}

#[cfg(test)]
mod tests;
