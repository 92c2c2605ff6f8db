//! `holdpoint session`: start a sandbox that lives on, run commands in it, see which there are, end them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use holdpoint_approval_web::hold::HoldId;
use holdpoint_policy::HookEvent;
use nix::unistd::{close, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use rustix::process::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::approver::away;
use crate::args::{Answer, SessionCommand, SessionKeep, SessionRun, SessionStart, SessionStop};
use crate::confine::confinement;
use crate::error::{Error, plain};
use crate::load::load;
use crate::places::{Places, Workspace};
use crate::report::{self, encoded};
use crate::session::{
    self, Ask, GLANCE, Guests, Hello, Keeper, Name, PAUSE, Place, Reached, Rights, Seat, Status, Terms, Told, VERSION,
};
use crate::signals::Signals;
use crate::{exit, identity, inner, invocation};

/// How long a session may take to end everything inside.
const PATIENCE: Duration = Duration::from_secs(30);

/// Do what was asked.
///
/// # Errors
/// Whatever the subcommand has to report.
pub(super) fn session(command: &SessionCommand) -> Result<u8, Error> {
    match command {
        SessionCommand::Start(args) => start(args),
        SessionCommand::Run(args) => run(args),
        SessionCommand::List(answer) => list(answer),
        SessionCommand::Stop(args) => stop(args),
        SessionCommand::Keep(args) => keep(args),
    }
}

/// What `start` tells the keeper.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    terms: Terms,
    json: bool,
}

/// What the keeper says once it listens.
const READY: &[u8] = b"ready\n";

fn start(args: &SessionStart) -> Result<u8, Error> {
    let root = Workspace::find(args.flags.workspace.as_deref())?.root;
    let name = args.name.clone().unwrap_or_else(|| Name::of_workspace(&root));
    let wrong = |error: io::Error| Error::Internal { what: "start the session".into(), why: error.to_string() };
    let terms = Terms::new(args, &root).map_err(wrong)?;
    let json = args.flags.answer.json;
    let order = Order { terms, json };
    // This very program, whatever its file is called by now.
    let mut keeper = Command::new("/proc/self/exe");
    keeper.arg0("holdpoint").args(["session", "keep", name.as_str()]).current_dir(&root);
    let started = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut keeper = started.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::no_thread("start the session", &error),
        _ => wrong(io::Error::other(format!("/proc/self/exe: {error}"))),
    })?;
    if let Some(mut input) = keeper.stdin.take() {
        let order = serde_json::to_vec(&order).map_err(|error| wrong(error.into()))?;
        // One that has ended already says why in its exit code.
        input.write_all(&order).ok();
    }
    let mut said = Vec::new();
    if let Some(output) = keeper.stdout.take() {
        BufReader::new(output).read_until(b'\n', &mut said).map_err(wrong)?;
    }
    if said != READY {
        let status = keeper.wait().map_err(wrong)?;
        report::output(&said)?;
        return Ok(exit::of_status(status).max(1));
    }
    if json {
        report::result(&json!({"name": name.as_str(), "pid": keeper.id()}))?;
    } else {
        report::output(format!("{name}\n").as_bytes())?;
    }
    Ok(exit::SUCCESS)
}

fn keep(args: &SessionKeep) -> Result<u8, Error> {
    leave_the_caller();
    let mut order = Vec::new();
    let read = io::stdin().read_to_end(&mut order).map_err(|error| Error::io("read the terms", error))?;
    let order: Order = serde_json::from_slice(&order[..read])
        .map_err(|error| Error::Usage { why: error.to_string(), next: "use `holdpoint session start`".into() })?;
    let kept = keep_in_order(&args.name, &order);
    if let (Err(error), true) = (&kept, order.json) {
        report::result(&report::error_json(error))?;
    }
    kept
}

/// No terminal whose keys reach us, no descriptor that whoever started us had open (a lock, a pipe somebody reads to its
/// end).
fn leave_the_caller() {
    // We lead a group already only when somebody started us by hand: then the terminal is theirs to give.
    setsid().ok();
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The listing's own is closed already.
        close(fd).ok();
    }
}

fn keep_in_order(name: &Name, order: &Order) -> Result<u8, Error> {
    let signals = Signals::take()?;
    let unknown = || Error::Usage { why: "the terms hold unknown words".into(), next: String::new() };
    let flags = order.terms.flags().ok_or_else(unknown)?;
    let loaded = load(&flags)?;
    let Some(mut confined) = confinement(&loaded)? else {
        return Err(Error::Usage {
            why: "the profile says sandbox = \"none\", so there is nothing to keep".into(),
            next: "use `holdpoint run`, or another --profile".into(),
        });
    };
    let guests = Arc::<Guests>::default();
    confined.judge_inside(&loaded, order.terms.hold_timeout, Arc::clone(&guests) as Arc<dyn inner::Told>);
    let root = &loaded.workspace.root;
    let workspace = identity::of_directory(root).map_err(|error| Error::setting(root, error, ""))?;
    confined.warnings.iter().for_each(|warning| report::say(&encoded(warning)));
    let place = Place::open(&loaded.places)?;
    let sandbox = confined.start(None)?;
    invocation::remark(sandbox.enforced());
    let id = HoldId::new().map_err(away)?.to_string();
    let hello = Hello {
        version: VERSION.into(),
        id: id.clone(),
        terms: order.terms.clone(),
        made_of: confined.digest(),
        workspace,
    };
    let status = Status {
        name: name.to_string(),
        workspace: root.as_path().into(),
        profile: loaded.policy.profile.clone(),
        pid: std::process::id(),
        age: 0,
        commands: 0,
        running: 0,
    };
    let keeper = Keeper { sandbox, guests, hello, status, idle_timeout: order.terms.idle_timeout };
    invocation::tell(&flags, &signals, &id, HookEvent::SessionStart)?;
    let listener = place.listen(name)?;
    let log = place.log(name)?;
    let settled = settle(&log).map_err(|error| Error::io("go to the background", error));
    // Not before pid 1 has those that whoever started us would give a command.
    let usual = session::raise_open_files();
    let kept = settled.and_then(|()| {
        session::keep(keeper, &listener, &signals).map_err(|error| Error::io("keep the session", error))
    });
    // Hooks are no part of the keeper.
    setrlimit(Resource::Nofile, usual).ok();
    drop(listener);
    place.clean(name);
    let ended = kept?;
    report::say(&encoded(&format!("session {name} has ended: {}", ended.why)));
    invocation::tell(&flags, &signals, &id, HookEvent::SessionEnd)?;
    Ok(exit::SUCCESS)
}

/// Tell whoever started us that the session can be used, and be theirs no more.
fn settle(log: &File) -> io::Result<()> {
    // What lies below the current directory could not be unmounted.
    std::env::set_current_dir("/")?;
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stderr(log)?;
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    dup2_stdout(log)?;
    Ok(())
}

fn run(args: &SessionRun) -> Result<u8, Error> {
    super::program_named(&args.argv, "holdpoint session run")?;
    let name = named(args.name.as_ref())?;
    let (stream, hello) = Place::open(&Places::find()?)?.connect(&name)?;
    let flags = hello.terms.flags().ok_or_else(|| Error::Internal {
        what: format!("use session {name}"),
        why: "its terms hold unknown words".into(),
    })?;
    let rights = Rights::new(&args.rights).map_err(|error| Error::io("find the current directory", error))?;
    let seat = Seat::new(name, stream, hello, rights);
    invocation::run_in(&seat, &flags, &args.argv, args.wait.hold_timeout)
}

/// The session that is meant when none is named: that of the workspace.
fn named(name: Option<&Name>) -> Result<Name, Error> {
    match name {
        Some(name) => Ok(name.clone()),
        None => Ok(Name::of_workspace(&Workspace::find(None)?.root)),
    }
}

fn list(answer: &Answer) -> Result<u8, Error> {
    let place = Place::open(&Places::find()?)?;
    let mut found = Vec::new();
    for name in place.names()? {
        match place.reach(&name) {
            Ok(reached) => found.extend(look(&place, &name, &reached)),
            // The socket of one that was killed is gone now.
            Err(Error::Session { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if answer.json {
        report::result(&found)?;
        return Ok(exit::SUCCESS);
    }
    let mut out: String = found.iter().map(line).collect();
    if found.is_empty() {
        out.push_str("no session lives\n");
    }
    report::output(out.as_bytes())?;
    Ok(exit::SUCCESS)
}

/// A session that has a keeper.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Found {
    Well(Status),
    /// It cannot be used, for this reason.
    Ill {
        name: String,
        pid: i32,
        problem: String,
    },
}

/// How a session is; nothing when it just ends.
fn look(place: &Place, name: &Name, reached: &Reached) -> Option<Found> {
    let stream = &reached.stream;
    let problem = match session::greeted(stream, GLANCE) {
        Ok(Some(hello)) if hello.version == VERSION => {
            let asked = stream.set_read_timeout(Some(GLANCE)).and_then(|()| session::send(stream, &Ask::Status, &[]));
            match asked.and_then(|()| session::receive::<Told>(stream)) {
                Ok(Some((Told::Status(status), _))) => return Some(Found::Well(status)),
                Ok(_) => return None,
                Err(error) => error,
            }
        }
        Ok(Some(hello)) => io::Error::other(format!("it is Holdpoint {}, and this is {VERSION}", hello.version)),
        Ok(None) => {
            thread::sleep(PAUSE);
            place.reach(name).ok()?;
            io::Error::other("it hangs up; it may get no thread")
        }
        Err(error) => error,
    };
    let problem = if session::is_silence(&problem) { "it does not answer".to_owned() } else { plain(&problem) };
    Some(Found::Ill { name: name.to_string(), pid: reached.keeper.as_raw_nonzero().get(), problem })
}

fn line(found: &Found) -> String {
    let Status { name, workspace, profile, pid, age, commands, running } = match found {
        Found::Well(status) => status,
        Found::Ill { name, pid, problem } => {
            return format!("{}  pid {pid}, cannot be used: {}\n", encoded(name), encoded(problem));
        }
    };
    let age = match age {
        0..120 => format!("{age} s"),
        120..7200 => format!("{} min", age / 60),
        _ => format!("{} h", age / 3600),
    };
    let (name, profile) = (encoded(name), encoded(profile));
    format!("{name}  {workspace}  profile {profile}, pid {pid}, {age} old, {commands} commands, {running} running\n")
}

fn stop(args: &SessionStop) -> Result<u8, Error> {
    let place = Place::open(&Places::find()?)?;
    let names = if args.all { place.names()? } else { vec![named(args.name.as_ref())?] };
    let (mut stopped, mut killed) = (Vec::new(), Vec::new());
    for name in names {
        match end(&place, &name) {
            // Of all sessions, one that has just ended by itself is no failure.
            Err(Error::Session { .. }) if args.all => {}
            Err(error) => return Err(error),
            Ok(Ending::Stopped) => stopped.push(name.to_string()),
            Ok(Ending::Killed) => killed.push(name.to_string()),
        }
    }
    if args.answer.json {
        report::result(&json!({"stopped": stopped, "killed": killed}))?;
    } else {
        let mut lines: String = stopped.iter().map(|name| format!("stopped {name}\n")).collect();
        lines.extend(killed.iter().map(|name| format!("killed {name}: its keeper did not answer\n")));
        report::output(lines.as_bytes())?;
    }
    Ok(exit::SUCCESS)
}

/// How a session was ended.
enum Ending {
    Stopped,
    /// Its keeper did not answer, and the kernel has ended everything inside with it.
    Killed,
}

/// Ask a keeper to end, and wait until it has: then nothing inside is left. One that does not answer is killed.
fn end(place: &Place, name: &Name) -> Result<Ending, Error> {
    let wrong = |error: io::Error| Error::io(format!("stop session {name}"), error);
    let patience = Instant::now() + GLANCE;
    let reached = loop {
        let reached = place.reach(name)?;
        // What it says is of no matter; that it says something is.
        match session::greeted(&reached.stream, GLANCE) {
            // It is about to end, or has no thread for us.
            Ok(None) if Instant::now() < patience => thread::sleep(PAUSE),
            Err(error) if !session::is_silence(&error) => break reached,
            Ok(Some(_)) => break reached,
            Ok(None) | Err(_) => {
                place.kill(name, reached.keeper).map_err(wrong)?;
                place.clean(name);
                return Ok(Ending::Killed);
            }
        }
    };
    let stream = &reached.stream;
    stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    session::send(stream, &Ask::Stop, &[]).map_err(wrong)?;
    until_closed(stream).map_err(|error| match session::is_silence(&error) {
        true => Error::Session {
            why: format!("session {name} was told to stop and has not ended within {} s", PATIENCE.as_secs()),
            next: format!("wait, or kill its keeper and all that runs in it: kill -KILL {}", reached.keeper),
        },
        false => wrong(error),
    })?;
    Ok(Ending::Stopped)
}

/// Waits for the end of a conversation, and passes on what is said to the person meanwhile.
fn until_closed(mut stream: &UnixStream) -> io::Result<()> {
    loop {
        match session::receive::<Told>(stream) {
            Ok(Some((Told::Said(text), _))) => report::tell(&text),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) if session::is_silence(&error) => return Err(error),
            // Of another version, maybe: that it closes is what counts.
            Err(_) => return io::copy(&mut stream, &mut io::sink()).map(drop),
        }
    }
}
