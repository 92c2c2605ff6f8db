//! Where sessions are: `sessions/` in the state directory, a socket and a log for each.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::geteuid;

use super::client::start_again;
use super::name::Name;
use super::wire::{self, Hello};
use crate::error::Error;
use crate::places::Places;
use crate::report::encoded;

/// How long a keeper may take to say hello.
const PATIENCE: Duration = Duration::from_secs(10);

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
    pub(crate) fn reach(&self, name: &Name) -> Result<UnixStream, Error> {
        let next = format!("start one: holdpoint session start --name {name}");
        let none = |why: String| Error::Session { why, next };
        let stream = UnixStream::connect(self.socket(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => none(format!("there is no session {name}")),
            ErrorKind::ConnectionRefused => {
                self.clean(name);
                none(format!("the session {name} was killed, and all that ran in it"))
            }
            _ => Error::io(format!("reach session {name}"), error),
        })?;
        peer(&stream).map_err(|error| Error::io(format!("talk to session {name}"), error))?;
        Ok(stream)
    }

    /// Reach a session's keeper and hear what it keeps.
    ///
    /// # Errors
    /// As [`reach`](Self::reach), and [`Error::Session`] when we do not understand each other.
    pub(crate) fn connect(&self, name: &Name) -> Result<(UnixStream, Hello), Error> {
        let stream = self.reach(name)?;
        let hello = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| wire::receive::<Hello>(&stream));
        let hello = hello.and_then(|hello| stream.set_read_timeout(None).map(|()| hello));
        let why = match hello {
            Ok(Some((hello, _))) if hello.version == VERSION => return Ok((stream, hello)),
            Ok(Some((hello, _))) => format!("it is Holdpoint {}, and this is {VERSION}", encoded(&hello.version)),
            Ok(None) => "it hung up".into(),
            Err(error) => error.to_string(),
        };
        Err(Error::Session { why: format!("session {name} cannot be used: {why}"), next: start_again(name) })
    }
}

/// Who is at the other end: this user in this user namespace, or an error. No sandbox sees the socket; should one reach it
/// all the same, its user number would look like ours, and its namespace would not.
pub(super) fn peer(stream: &UnixStream) -> io::Result<()> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    if credentials.uid.as_raw() != geteuid().as_raw() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    if namespace(&credentials.pid.as_raw_nonzero().to_string())? != namespace("self")? {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is in another user namespace"));
    }
    Ok(())
}
