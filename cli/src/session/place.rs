//! Where sessions are: `sessions/` in the state directory, a socket and a log for each.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::name::Name;
use super::wire::{self, Hello};
use crate::error::{Error, plain};
use crate::places::Places;
use crate::report::encoded;

/// How long a keeper may take to say hello to a command, and to somebody who only looks.
const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const GLANCE: Duration = Duration::from_secs(3);

/// How long to wait before another try, when somebody could not be let in.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// What we are: a keeper of another version may do other things under the same words.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The directory of all sessions.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Sockets are named through this descriptor: their address has room for 107 bytes only (unix(7)).
    directory: File,
}

impl Place {
    /// Open it, made with mode 0700 when it is missing.
    ///
    /// # Errors
    /// [`Error::Setting`] when the state directory cannot be used.
    pub(crate) fn open(places: &Places) -> Result<Self, Error> {
        let path = places.state()?.join("sessions");
        let wrong = |error: io::Error| Error::setting(&path, error, "");
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(wrong)?;
        let directory = File::open(&path).map_err(wrong)?;
        Ok(Self { path, directory })
    }

    fn socket(&self, name: &Name) -> PathBuf {
        format!("/proc/self/fd/{}/{name}.sock", self.directory.as_raw_fd()).into()
    }

    fn log_file(&self, name: &Name) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }

    /// The names of all sessions, also of those whose keeper is dead.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn names(&self) -> Result<Vec<Name>, Error> {
        let entries = fs::read_dir(&self.path).map_err(|error| Error::io("list the sessions", error))?;
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".sock")?.parse().ok();
        let mut names: Vec<Name> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Whoever removes or makes a socket holds this; the end of the process gives it back.
    fn lock(&self) -> io::Result<File> {
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(self.path.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Listen as the keeper of `name`.
    ///
    /// # Errors
    /// [`Error::Usage`] when the session is there already, [`Error::Io`].
    pub(crate) fn listen(&self, name: &Name) -> Result<UnixListener, Error> {
        let wrong = |error: io::Error| Error::io(format!("make the socket of session {name}"), error);
        let _lock = self.lock().map_err(wrong)?;
        match UnixStream::connect(self.socket(name)) {
            Ok(_) => {
                return Err(Error::Usage {
                    why: format!("there is a session {name} already"),
                    next: format!("use it, stop it with `holdpoint session stop {name}`, or choose another --name"),
                });
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(self.socket(name)).map_err(wrong)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(wrong(error)),
        }
        let listener = UnixListener::bind(self.socket(name)).map_err(wrong)?;
        fs::set_permissions(self.socket(name), Permissions::from_mode(0o600)).map_err(wrong)?;
        Ok(listener)
    }

    /// Remove what a session had here, unless somebody listens.
    pub(crate) fn clean(&self, name: &Name) {
        let Ok(_lock) = self.lock() else { return };
        let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
        if UnixStream::connect(self.socket(name)).is_err_and(refused) {
            // What stays is removed by the next one that looks.
            fs::remove_file(self.socket(name)).ok();
            fs::remove_file(self.log_file(name)).ok();
        }
    }

    /// A new log for a keeper.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn log(&self, name: &Name) -> Result<File, Error> {
        let path = self.log_file(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).map_err(|error| Error::io(format!("write {}", path.display()), error))
    }

    /// Reach a session's keeper, whatever version it is.
    ///
    /// # Errors
    /// [`Error::Session`] when there is none, or it is not ours to talk to.
    pub(crate) fn reach(&self, name: &Name) -> Result<Reached, Error> {
        let stream = UnixStream::connect(self.socket(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.unknown(name),
            ErrorKind::ConnectionRefused => {
                self.clean(name);
                Error::Session {
                    why: format!("the session {name} was killed, and all that ran in it"),
                    next: format!("start it again, with the flags it had: holdpoint session start --name {name}"),
                }
            }
            _ => Error::io(format!("reach session {name}"), error),
        })?;
        let keeper = peer(&stream).map_err(|error| Error::io(format!("talk to session {name}"), error))?;
        Ok(Reached { stream, keeper })
    }

    fn unknown(&self, name: &Name) -> Error {
        let names = self.names().unwrap_or_default();
        let why = format!("there is no session {name}");
        if let Some((above, directory)) = of_a_directory_above(name, &names) {
            let directory = directory.display();
            let next =
                format!("that of {directory}, in which this lies, is {above}: holdpoint session run {above} -- CMD");
            return Error::Session { why, next };
        }
        let others: Vec<String> = names.iter().map(Name::to_string).collect();
        let there = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        let next = format!("there is {there}; to start one: holdpoint session start --name {name}");
        Error::Session { why, next }
    }

    /// Reach a session's keeper and hear what it keeps.
    ///
    /// # Errors
    /// As [`reach`](Self::reach), and [`Error::Session`] when we do not understand each other.
    pub(crate) fn connect(&self, name: &Name) -> Result<(UnixStream, Hello), Error> {
        let Reached { stream, keeper } = self.reach(name)?;
        let (why, next) = match greeted(&stream, PATIENCE) {
            Ok(Some(hello)) if hello.version == VERSION => return Ok((stream, hello)),
            Ok(Some(hello)) => {
                let why = format!("it is Holdpoint {}, and this is {VERSION}", encoded(&hello.version));
                (why, hello.terms.start_again(name))
            }
            Ok(None) => ("it hung up".into(), format!("its log says why: {}", self.log_file(name).display())),
            Err(error) if is_silence(&error) => (
                format!("its keeper, process {}, does not answer", keeper.as_raw_nonzero()),
                format!(
                    "let it go on with `kill -CONT {}`, or end it and all that runs in it: holdpoint session stop {name}",
                    keeper.as_raw_nonzero()
                ),
            ),
            Err(error) => {
                let next = format!("holdpoint session stop {name}, then start it again with the flags it had");
                (plain(&error), next)
            }
        };
        Err(Error::Session { why: format!("session {name} cannot be used: {why}"), next })
    }

    /// Kill a keeper, and with it all that runs in its session; returns when it is gone.
    ///
    /// # Errors
    /// When it is gone already, or cannot be killed.
    pub(crate) fn kill(&self, name: &Name, keeper: Pid) -> io::Result<()> {
        let process = pidfd_open(keeper, PidfdFlags::empty())?;
        // Nobody has listened since it ended: as long as it listens, the number is still the keeper's.
        if peer(&UnixStream::connect(self.socket(name))?)? != keeper {
            return Err(ErrorKind::NotConnected.into());
        }
        pidfd_send_signal(&process, Signal::KILL)?;
        poll(
            &mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)],
            PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX),
        )?;
        Ok(())
    }
}

/// A keeper that was reached and has said nothing yet.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) stream: UnixStream,
    /// Its process: whoever listens at the socket is a keeper.
    pub(crate) keeper: Pid,
}

/// What a keeper says first, within this time; `None` when it hangs up.
///
/// # Errors
/// When it says nothing, or nothing we understand.
pub(crate) fn greeted(stream: &UnixStream, within: Duration) -> io::Result<Option<Hello>> {
    stream.set_read_timeout(Some(within))?;
    let hello = wire::receive::<Hello>(stream)?;
    stream.set_read_timeout(None)?;
    Ok(hello.map(|(hello, _)| hello))
}

/// Whether an error means that nothing was said in time.
pub(crate) fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The process at the other end: of this user in this user namespace, or an error. No sandbox sees the socket; should one reach it
/// all the same, its user number would look like ours, and its namespace would not.
pub(super) fn peer(stream: &UnixStream) -> io::Result<Pid> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    if credentials.uid.as_raw() != geteuid().as_raw() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    if namespace(&credentials.pid.as_raw_nonzero().to_string())? != namespace("self")? {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is in another user namespace"));
    }
    Ok(credentials.pid)
}

/// Which of these sessions is that of a directory above the one we are in, when `name` is what the session of that would be called:
/// without a repository every directory is a workspace of its own.
fn of_a_directory_above(name: &Name, names: &[Name]) -> Option<(Name, PathBuf)> {
    let here = std::env::current_dir().and_then(fs::canonicalize).ok()?;
    let mut above = here.ancestors().map(|directory| (Name::of_workspace(directory), directory));
    above.find(|(own, _)| own == name)?;
    above.find(|(own, _)| names.contains(own)).map(|(own, directory)| (own, directory.to_owned()))
}
