//! Denied reads without a window (`deny_read_strict`): every call that opens a file, or gives one another name, is held until
//! it has been judged, and is then carried out by the opener, a process inside, on the very file that was judged.
//!
//! - The caller's path is copied once; nothing the caller changes afterwards counts (the race in seccomp_unotify(2)).
//! - The opener names the file (`O_PATH`) under the caller's root, directory and `/proc/self`, as the kernel would. Then what
//!   has appeared meanwhile is covered; if there was something, the file is named again and the mask is found.
//! - The name is judged by where the file is now; a file with several names also by what it is.
//! - What passed is opened by that descriptor, and the caller gets it as the result of its call.
//!
//! Because no denied name can be renamed, linked, removed or given another mode from inside, no file can lose its denied name
//! except by somebody outside. What is executed is judged by the same rule, and by the two looks of the exec guard ([`execution`]).
//! The kernel is never told to go on by itself, for it would read the path again; except where the
//! caller only wants to name a file (`O_PATH`), not open it.

mod call;
mod execution;
mod opener;
mod turn;

use crate::{
    compile::OpenerEnds,
    ending::Ending,
    enforced::{Enforced, Protection},
    error::{Error, Result},
    guard::Late,
    landlocked,
    notify::{Handler, Listener, Target},
    plan::Plan,
    program::{self, LIFTED},
    socket,
    sys::notify::Held,
};
use call::Call;
use opener::{Opener, Status};
use std::{
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
    thread,
};
use turn::{Stop, Turn};

/// Both ends of the opener's socket and what keeps signals from it, before the launch.
pub(crate) struct Ends {
    ours: OwnedFd,
    theirs: OwnedFd,
    apart: Option<OwnedFd>,
}

impl Ends {
    pub(crate) fn new(landlock: bool) -> Result<Self> {
        let lift = |fd: OwnedFd| program::lift(fd.as_fd(), LIFTED);
        let (ours, theirs) = socket::pair()?;
        let apart = landlock.then(landlocked::apart).transpose()?.flatten().map(lift).transpose()?;
        Ok(Self { ours, theirs: lift(theirs)?, apart })
    }

    /// For the program that starts the opener.
    pub(crate) fn passed(&self) -> OpenerEnds {
        OpenerEnds { socket: self.theirs.as_raw_fd(), apart: self.apart.as_ref().map(AsRawFd::as_raw_fd) }
    }

    /// After the launch.
    pub(crate) fn ours(self) -> OwnedFd {
        self.ours
    }
}

/// Where there is no mount view, nobody opens files for others.
pub(crate) fn missing(plan: &Plan, enforced: &mut Enforced) -> Result<()> {
    let needs = "namespaces, which this host refuses, are needed".to_owned();
    if !plan.allow_missing.contains(&Protection::StrictReads) {
        return Err(Error::Unsupported { protection: Protection::StrictReads, needs });
    }
    enforced.missing(Protection::StrictReads, needs);
    Ok(())
}

impl Shared {
    /// Whether an open place, called `path`, is denied.
    fn denies(&self, place: &OwnedFd, path: &Path, status: Status) -> std::result::Result<bool, i32> {
        let late = &self.late;
        let directory = status.is(libc::S_IFDIR);
        // What was removed since is called by its last name and this. What never had one is called `pipe:[1]`.
        let removed =
            path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(|named| Path::new(OsStr::from_bytes(named)));
        if late.denies(path, directory) || removed.is_some_and(|named| late.denies(named, directory)) {
            return Ok(true);
        }
        if !status.is(libc::S_IFREG) || !late.may_know(status.inode) {
            return Ok(false);
        }
        let file = place.try_clone().and_then(|place| File::from(place).metadata()).map_err(|_| libc::EACCES)?;
        Ok(late.knows(&file))
    }
}

/// Answers the held calls that name files.
pub(crate) struct Strict {
    shared: Arc<Shared>,
    opener: Opener,
}

/// What every answer needs.
struct Shared {
    late: Arc<Late>,
    ending: Arc<Ending>,
}

impl Strict {
    /// Waits for the opener behind `socket`. `late` covers what appears; `ending` is for when a call cannot be judged any
    /// more.
    pub(crate) fn start(socket: OwnedFd, late: Option<Arc<Late>>, ending: Arc<Ending>) -> Result<Self> {
        let late = late.ok_or_else(|| Error::Unsupported {
            protection: Protection::StrictReads,
            needs: "late masks, which the plan allows to be missing, are needed".into(),
        })?;
        Ok(Self { shared: Arc::new(Shared { late, ending }), opener: Opener::greet(socket)? })
    }
}

impl Handler for Strict {
    fn takes(&self, call: &Held) -> bool {
        call::NUMBERS.contains(&call.number)
    }

    fn answer(&mut self, listener: &Arc<Listener>, held: &Held) {
        let call = match Call::of(held, Target::of(held)) {
            Ok(call) => call,
            Err(errno) => return listener.refuse(held, errno),
        };
        let turn = Turn { shared: &self.shared, opener: &self.opener, listener, held, waits: false };
        match turn.take(&call) {
            Err(Stop::Waits) => self.answer_apart(listener, held, call),
            done => finish(&self.shared, listener, held, done),
        }
    }
}

impl Strict {
    /// A call that may wait for long gets a thread and an opener of its own.
    fn answer_apart(&self, listener: &Arc<Listener>, held: &Held, call: Call) {
        let (shared, listener, held) = (Arc::clone(&self.shared), Arc::clone(listener), *held);
        let apart = self.opener.fork().and_then(|opener| {
            let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
            let work = move || {
                let turn = Turn { shared: &shared, opener: &opener, listener: &listener, held: &held, waits: true };
                let done = turn.take(&call);
                finish(&shared, &listener, &held, done);
            };
            thread::Builder::new().name("waiting open".into()).spawn(work).map_err(Error::io("start a thread"))
        });
        if apart.is_err() {
            // Too many wait already.
            listener.refuse(&held, libc::ENFILE);
        }
    }
}

fn finish(shared: &Shared, listener: &Listener, held: &Held, done: std::result::Result<(), Stop>) {
    match done {
        Ok(()) => {}
        Err(Stop::Errno(errno)) => listener.refuse(held, errno),
        Err(Stop::Waits | Stop::Broken) => {
            shared.ending.end();
            listener.refuse(held, libc::EACCES);
        }
    }
}
