//! The process that keeps a session: holds the sandbox, runs in it what its own user asks, and ends with it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use holdpoint_runtime::{Child, Error as Runtime, Sandbox, Stdio, Trap, give_back_code};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::guests::{Guest, Guests};
use super::place::{PAUSE, peer};
use super::wire::{Ask, Hello, Run, Status, Told, receive, send};
use crate::error::plain;
use crate::identity;
use crate::process::chain;
use crate::report;
use crate::signals::Signals;

/// How often the workspace is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// How long somebody who has begun to speak may take to finish.
const PATIENCE: Duration = Duration::from_secs(10);

/// Standard input, output and error.
const STREAMS: usize = 3;

/// A session, while it lives.
pub(crate) struct Keeper {
    pub(crate) sandbox: Sandbox,
    pub(crate) guests: Arc<Guests>,
    pub(crate) hello: Hello,
    pub(crate) status: Status,
    pub(crate) idle_timeout: Duration,
}

/// What the threads of a keeper share.
struct Shared<'a> {
    keeper: &'a Keeper,
    begin: Instant,
    /// When somebody was last here.
    last: Mutex<Instant>,
    connected: AtomicUsize,
    commands: AtomicU64,
    running: AtomicUsize,
    /// Readable once the session ends.
    end: io::PipeReader,
    /// Closed to say that it does, after the reason was written down.
    ending: Mutex<(Option<io::PipeWriter>, String)>,
    /// Those who wait for the end.
    waiting: Mutex<Vec<UnixStream>>,
    left: Mutex<Left>,
}

/// What commands have left for programs outside.
#[derive(Default)]
struct Left {
    all: BTreeSet<Trap>,
    /// Nobody has been told of these yet.
    untold: Vec<Trap>,
}

/// How a session has ended.
pub(crate) struct Ended {
    pub(crate) why: String,
    /// Dropped, it tells those who wait that all is done.
    pub(crate) _waiting: Vec<UnixStream>,
}

/// As many open files as whoever started us allows at all: every command takes a few. Returns what was in force, for those who
/// are not the keeper.
pub(crate) fn raise_open_files() -> Rlimit {
    let now = getrlimit(Resource::Nofile);
    // Where it cannot be raised, it is as it was.
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }).ok();
    now
}

/// Keep a session until somebody stops it, nobody has used it for long, or what it stands on is gone. Returns why; by
/// then nothing inside is left.
///
/// # Errors
/// When a pipe cannot be had.
pub(crate) fn keep(keeper: Keeper, listener: &UnixListener, signals: &Signals) -> io::Result<Ended> {
    let (end, ending) = io::pipe()?;
    let shared = Shared {
        keeper: &keeper,
        begin: Instant::now(),
        last: Mutex::new(Instant::now()),
        connected: AtomicUsize::new(0),
        commands: AtomicU64::new(0),
        running: AtomicUsize::new(0),
        end,
        ending: Mutex::new((Some(ending), String::new())),
        waiting: Mutex::default(),
        left: Mutex::default(),
    };
    listener.set_nonblocking(true)?;
    thread::scope(|scope| {
        while let Some(stream) = shared.next(listener, signals) {
            shared.connected.fetch_add(1, Ordering::SeqCst);
            let shared = &shared;
            let attend = move || {
                if let Err(error) = shared.attend(&stream) {
                    report::say(&report::readable(&format!("a connection failed: {error}")));
                }
                *shared.last() = Instant::now();
                shared.connected.fetch_sub(1, Ordering::SeqCst);
            };
            if let Err(error) = thread::Builder::new().name("guest".into()).spawn_scoped(scope, attend) {
                report::say(&report::encoded(&format!("there is no thread for a connection: {}", plain(&error))));
                shared.connected.fetch_sub(1, Ordering::SeqCst);
                thread::sleep(PAUSE);
            }
        }
    });
    keeper.sandbox.end();
    shared.look_behind();
    let (why, left) = (shared.why(), shared.left_behind());
    let waiting = shared.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Nobody may wait: then it stands in the log.
    report::tell(&left);
    for stream in waiting.iter().filter(|_| !left.is_empty()) {
        // Whoever does not wait any more has nothing to be told.
        send(stream, &Told::Said(left.clone()), &[]).ok();
    }
    keeper.sandbox.shut_down();
    Ok(Ended { why, _waiting: waiting })
}

impl Shared<'_> {
    fn last(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn why(&self) -> String {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Begin to end; the first reason counts.
    fn finish(&self, why: &str) {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if ending.1.is_empty() {
            *ending = (None, why.to_owned());
        }
    }

    /// The next one who connects; `None` when the session ends.
    fn next(&self, listener: &UnixListener, signals: &Signals) -> Option<UnixStream> {
        let mut rests = false;
        loop {
            let idle = self.keeper.idle_timeout;
            let left = match self.connected.load(Ordering::SeqCst) {
                0 => idle.saturating_sub(self.last().elapsed()),
                _ => idle,
            };
            let fds = [listener.as_fd(), signals.stop_fd(), self.keeper.sandbox.pidfd(), self.end.as_fd()];
            let [connects, stops, gone, ended] = ready(fds, Some(left.min(LOOK)));
            if ended {
                return None;
            }
            if !(connects || stops || gone || std::mem::replace(&mut rests, true)) {
                give_back_code();
            }
            if let Some(signal) = signals.stopped() {
                self.finish(&format!("it was told to by {signal}"));
            } else if gone {
                self.finish("its sandbox has ended, or could not keep what it promises");
            } else if !self.has_workspace() {
                self.finish("its workspace is gone");
            } else if left.is_zero() && self.connected.load(Ordering::SeqCst) == 0 {
                self.finish(&format!("nobody has used it for {idle:?}"));
            } else {
                match listener.accept() {
                    Ok((stream, _)) => return Some(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // Too many files are open: who waits will be taken once some are closed.
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        }
    }

    fn has_workspace(&self) -> bool {
        let path = self.keeper.status.workspace.to_path();
        identity::of_directory(&path).is_ok_and(|now| now == self.keeper.hello.workspace)
    }

    /// Do what one who has connected asks.
    fn attend(&self, stream: &UnixStream) -> io::Result<()> {
        peer(stream)?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        send(stream, &self.keeper.hello, &[])?;
        let [_, ended] = ready([stream.as_fd(), self.end.as_fd()], None);
        if ended {
            return send(stream, &Told::Gone { why: self.why() }, &[]);
        }
        match receive::<Ask>(stream)? {
            Some((Ask::Run(run), fds)) => {
                self.commands.fetch_add(1, Ordering::Relaxed);
                self.running.fetch_add(1, Ordering::Relaxed);
                let done = self.run(stream, &run, fds);
                self.running.fetch_sub(1, Ordering::Relaxed);
                // Whoever asked has the answer: in a large workspace they would wait longer for this than for their command.
                self.look_behind();
                done
            }
            Some((Ask::Status, _)) => {
                let mut status = self.keeper.status.clone();
                status.age = self.begin.elapsed().as_secs();
                status.commands = self.commands.load(Ordering::Relaxed);
                status.running = self.running.load(Ordering::Relaxed);
                send(stream, &Told::Status(status), &[])
            }
            Some((Ask::Stop, _)) => {
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
                self.finish("it was stopped");
                Ok(())
            }
            Some((Ask::Signal(_) | Ask::Kill, _)) | None => Ok(()),
        }
    }

    fn look_behind(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        for trap in self.keeper.sandbox.traps() {
            if left.all.insert(trap.clone()) {
                left.untold.push(trap);
            }
        }
    }

    /// What nobody has been told yet, for a person.
    fn left_behind(&self) -> String {
        report::left_behind(&std::mem::take(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner).untold))
    }

    fn run(&self, stream: &UnixStream, run: &Run, fds: Vec<OwnedFd>) -> io::Result<()> {
        let Keeper { hello, sandbox, guests, .. } = self.keeper;
        if run.made_of != hello.made_of || run.workspace != hello.workspace || !self.has_workspace() {
            return send(stream, &Told::Stale, &[]);
        }
        if fds.len() != STREAMS {
            let why = "its streams have not arrived; the keeper of its session may have too many files open".into();
            return send(stream, &Told::NotStarted { why }, &[]);
        }
        let before = sandbox.limits_reached();
        let mut child = match spawn(sandbox, run, fds) {
            Ok(child) => child,
            Err(error) => return send(stream, &not_started(&error), &[]),
        };
        let terminal = child.terminal.take();
        let passed: Vec<BorrowedFd<'_>> = terminal.iter().map(AsFd::as_fd).collect();
        let told = send(stream, &Told::Started, &passed).and_then(|()| {
            let left = self.left_behind();
            if !left.is_empty() {
                send(stream, &Told::Said(left), &[])?;
            }
            let guest = guests.enter(child.id())?;
            self.follow(stream, &mut child, &guest)
        });
        match told {
            Ok(Some(told)) => {
                let mut reached = sandbox.limits_reached();
                reached.retain(|limit, count| before.get(limit).is_none_or(|before| before < count));
                send(stream, &Told::Ended { status: told, reached: reached.into_keys().collect() }, &[])
            }
            Ok(None) => send(stream, &Told::Gone { why: self.why() }, &[]),
            Err(error) => {
                // Whoever asked is gone or talks nonsense: what was started for them ends.
                child.kill_tree().map_err(io::Error::other)?;
                match error.kind() {
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Be there until the command has ended: its wait status, or nothing when the session ends before.
    fn follow(&self, stream: &UnixStream, child: &mut Child, guest: &Guest) -> io::Result<Option<i32>> {
        loop {
            let fds = [stream.as_fd(), child.pidfd(), self.end.as_fd(), guest.fd()];
            let [asked, exited, ended, said] = ready(fds, None);
            if said {
                hand_on(stream, guest)?;
            }
            if exited {
                return match child.wait() {
                    Ok(status) => Ok(Some(status.into_raw())),
                    // Asked again, it says how the command ended.
                    Err(Runtime::Io { doing, source }) => {
                        send(stream, &Told::NotWritten { what: doing.into(), why: plain(&source) }, &[])?;
                        continue;
                    }
                    Err(error) => {
                        self.finish(&chain(&error));
                        Ok(None)
                    }
                };
            }
            if ended {
                return Ok(None);
            }
            if asked {
                match receive::<Ask>(stream)? {
                    Some((Ask::Signal(signal), _)) => child.signal(signal).map_err(io::Error::other)?,
                    Some((Ask::Kill, _)) => child.kill_tree().map_err(io::Error::other)?,
                    Some(_) => return Err(io::ErrorKind::InvalidData.into()),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        }
    }
}

fn not_started(error: &Runtime) -> Told {
    let why = chain(error);
    match error {
        Runtime::Plan { .. } => Told::NotGiven { why, unsupported: false },
        Runtime::Unsupported { .. } => Told::NotGiven { why, unsupported: true },
        Runtime::Spawn { stage: "execute", source, .. } => Told::NotExecuted { errno: source.raw_os_error(), why },
        // A directory that is denied or not shown.
        Runtime::Spawn { stage: "enter", .. } => Told::NotExecuted { errno: None, why },
        _ => Told::NotStarted { why },
    }
}

/// Tell the one who waits what was said about its command, unless that one reads nothing: it may be suspended.
fn hand_on(stream: &UnixStream, guest: &Guest) -> io::Result<()> {
    let Some(text) = guest.said() else { return Ok(()) };
    let mut room = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut room, PollTimeout::ZERO)? == 0 { Ok(()) } else { send(stream, &Told::Said(text), &[]) }
}

fn spawn(sandbox: &Sandbox, run: &Run, fds: Vec<OwnedFd>) -> Result<Child, Runtime> {
    let text = |bytes: &holdpoint_approval_web::plan::Bytes| bytes.to_os_string();
    let mut command = sandbox.command(text(&run.program));
    let (name, arguments) = run.argv.split_first().map_or((&run.program, &[][..]), |(name, rest)| (name, rest));
    command.arg0(text(name)).args(arguments.iter().map(text)).current_dir(run.cwd.to_path());
    command.envs(run.env.iter().map(|(name, value)| (text(name), text(value))));
    let own = |index: usize| run.terminal.as_ref().is_some_and(|terminal| index < 2 || terminal.error);
    let mut streams = fds.into_iter().map(Stdio::from);
    for index in 0..STREAMS {
        // One that was not sent is nothing, never ours.
        let stream = streams.next().unwrap_or_else(Stdio::null);
        match index {
            _ if own(index) => {}
            0 => drop(command.stdin(stream)),
            1 => drop(command.stdout(stream)),
            _ => drop(command.stderr(stream)),
        }
    }
    if let Some(terminal) = &run.terminal {
        command.terminal(terminal.rows, terminal.columns);
    }
    if let Some(umask) = run.umask {
        command.umask(umask);
    }
    run.rights.give(&mut command);
    command.spawn()
}

/// Which descriptors are readable or closed, as soon as one is or the time has passed.
fn ready<const N: usize>(fds: [BorrowedFd<'_>; N], within: Option<Duration>) -> [bool; N] {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let timeout = within.map_or(PollTimeout::NONE, |time| {
        // Rounded up, or the last millisecond would be spent spinning.
        PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    // Interrupted: nothing is ready, and the caller asks again.
    poll(&mut polled, timeout).ok();
    polled.map(|fd| fd.any().unwrap_or(false))
}
