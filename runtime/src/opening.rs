//! The part of a sandbox that needs no plan, made on a thread of its own while the caller still finds out what the plan is.
//! Namespaces and the new root take the kernel about as long as reading a policy and looking through a workspace take us.

use crate::{
    compile::{self, Ends, Laid},
    error::{Error, Result},
    executable,
    host::Failed,
    landlocked,
    program::{self, Fault, LIFTED, Program, Step},
    sandbox::{self, NAMESPACES},
    socket,
    sys::{gate::Gate, launch::Started, processors::Processors},
    threads::processors,
};
use landlock::RulesetCreated;
use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::Arc,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

/// The beginning of a sandbox: namespaces that wait for a plan. Give it to
/// [`Builder::start_in`](crate::Builder::start_in); dropped, it ends and nothing is left of it.
///
/// Beginning never fails: what went wrong is told by the start. On a machine with one processor nothing is begun, because
/// nothing would be gained.
#[derive(Debug)]
pub struct Opening(Option<Box<Running>>);

/// What must exist before the child does, for it to have them.
#[derive(Debug)]
pub(crate) struct Descriptors {
    pub(crate) resident: OwnedFd,
    pub(crate) control: Arc<OwnedFd>,
    pub(crate) ruleset: Option<RulesetCreated>,
    pub(crate) theirs: Theirs,
    /// What the child lays out before it waits.
    pub(crate) laid: Laid,
}

/// The child's ends, which we keep until it has its own.
#[derive(Debug)]
pub(crate) struct Theirs {
    control: OwnedFd,
    ruleset: Option<OwnedFd>,
}

/// A child that waits at the gate, and the thread that waits for the child.
#[derive(Debug)]
pub(crate) struct Running {
    gate: Arc<Gate>,
    /// Until they are asked for.
    descriptors: Option<Result<Descriptors>>,
    outcome: Receiver<Outcome>,
    worker: Worker,
    /// Where what is inside may run, and its beginning only off our processor.
    all: Processors,
}

/// What came of starting the child, and where its opening failed if it did.
type Outcome = (io::Result<Started>, Option<Fault>);

/// A thread that is there already and has nothing more to do; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Worker(Sender<Work>);

type Work = Box<dyn FnOnce() + Send>;

impl Worker {
    /// Gives it something to do.
    pub(crate) fn work(self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.0.send(Box::new(work)).map_err(|_| io::Error::other("its thread failed"))
    }
}

impl Running {
    fn new() -> io::Result<Self> {
        let gate = Arc::new(Gate::new()?);
        let own = Arc::clone(&gate);
        let (hand, program) = mpsc::channel();
        let (tell, outcome) = mpsc::channel();
        let (give, work) = mpsc::channel::<Work>();
        let (keep, kept) = mpsc::channel::<()>();
        let all = Processors::allowed()?;
        let thread = move || {
            // None comes when it could not be prepared. Nobody listens any more when the caller has given up; then there is no
            // work either.
            program.into_iter().for_each(|program| drop(tell.send(own.launch(program, NAMESPACES as u64))));
            drop(tell);
            // Its end says that nobody will keep us apart any more.
            kept.into_iter().for_each(drop);
            all.restore();
            work.into_iter().for_each(|work| work());
        };
        all.keep_apart(&thread::Builder::new().name("opening".into()).spawn(thread)?);
        drop(keep);
        // While the thread comes to life.
        let descriptors = prepare(&gate).and_then(|(program, descriptors)| {
            hand.send(program).map_err(|_| lost())?;
            Ok(descriptors)
        });
        Ok(Self { gate, descriptors: Some(descriptors), outcome, worker: Worker(give), all })
    }
}

/// The program of a child that does what no plan is needed for, and waits at the gate.
fn prepare(gate: &Arc<Gate>) -> Result<(Program, Descriptors)> {
    let (opening, laid) = compile::opening()?;
    let descriptors = Descriptors::new(laid)?;
    // Whatever the caller closes while the child waits must be closed: ends of pipes, locks.
    let first = keep_only(descriptors.ends(), gate);
    let steps = [first].into_iter().chain(opening).chain([Step::Await(Arc::clone(gate))]);
    Ok((Program::new(steps.collect(), Vec::new()), descriptors))
}

/// A child that goes on with the steps of its plan, until [`stands`](Self::stands) says what came of it. Dropped, it ends.
pub(crate) struct Going {
    begun: Opening,
    /// The whole program, where nothing was begun.
    whole: Option<Program>,
    control: Arc<OwnedFd>,
}

impl Going {
    /// Tells it that all is done that its steps need up to the next at which it wants to hear something.
    pub(crate) fn tell(&self) -> Result<()> {
        // Whether it is still there to hear it, [`stands`](Self::stands) says better.
        socket::send_packet(self.control.as_fd(), &[IoSlice::new(&[1])], &[])
            .map(drop)
            .map_err(Error::errno("talk to the sandbox"))
    }

    /// Waits until the child has become pid 1. The worker is free from here on.
    pub(crate) fn stands(mut self) -> std::result::Result<(Started, Option<Worker>), Failed> {
        if let Some(mut program) = self.whole.take() {
            return Ok((sandbox::run(&mut program, NAMESPACES)?, None));
        }
        let Running { outcome, worker, .. } = *self.begun.0.take().ok_or_else(lost)?;
        let (started, fault) = outcome.recv().map_err(|_| lost())?;
        Ok((sandbox::stand(started, fault, NAMESPACES)?, Some(worker)))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        // It may be waiting to be told something.
        if self.begun.0.is_some() {
            socket::hang_up(&self.control);
        }
    }
}

impl Descriptors {
    fn new(laid: Laid) -> Result<Self> {
        let lift = |fd: OwnedFd| program::lift(fd.as_fd(), LIFTED);
        let resident = lift(executable::resident()?)?;
        let (control, inside) = socket::pair()?;
        let ruleset = landlocked::ruleset()?;
        let copy = ruleset.as_ref().map(landlocked::copy).transpose()?.flatten();
        let theirs = Theirs { control: lift(inside)?, ruleset: copy.map(lift).transpose()? };
        Ok(Self { resident, control: Arc::new(control), ruleset, theirs, laid })
    }

    pub(crate) fn ends(&self) -> Ends {
        Ends {
            opener: None,
            resident: self.resident.as_raw_fd(),
            control: self.theirs.control.as_raw_fd(),
            ruleset: self.theirs.ruleset.as_ref().map(AsRawFd::as_raw_fd),
        }
    }
}

impl Opening {
    /// Begins a sandbox beside the caller's work.
    #[must_use]
    pub fn begin() -> Self {
        Self((processors(2) > 1).then(Running::new).and_then(io::Result::ok).map(Box::new))
    }

    /// Nothing that was begun.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The descriptors, which the caller must keep until the child has its own.
    pub(crate) fn descriptors(&mut self) -> Result<Descriptors> {
        match &mut self.0 {
            None => Descriptors::new(compile::opening()?.1),
            Some(running) => running.descriptors.take().ok_or_else(lost)?,
        }
    }

    /// Lets it go on with the rest: the steps of a plan, in which it hears from `control`. `group` is the control group to begin
    /// in, which only what has not begun can. `edit` has a last word about the whole program, where there is one.
    pub(crate) fn go_on(
        mut self,
        mut steps: Vec<Step>,
        control: Arc<OwnedFd>,
        group: Option<RawFd>,
        edit: impl FnOnce(&mut Program),
    ) -> Result<Going> {
        if group.is_none()
            && let Some(running) = &mut self.0
        {
            // The last one executes pid 1.
            steps.insert(steps.len().saturating_sub(1), Step::Processors(running.all));
            running.gate.open(Program::new(steps, Vec::new())).map_err(Error::io("hand the plan to the sandbox"))?;
            return Ok(Going { begun: self, whole: None, control });
        }
        let mut program = Program::new(compile::opening()?.0.into_iter().chain(steps).collect(), Vec::new());
        program.group = group;
        edit(&mut program);
        Ok(Going { begun: Self::none(), whole: Some(program), control })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some(running) = self.0.take() else { return };
        let Running { gate, outcome, .. } = *running;
        gate.close();
        if let Ok((Ok(started), _)) = outcome.recv() {
            started.reap();
        }
    }
}

fn lost() -> Error {
    Error::Io { doing: "begin the sandbox", source: io::Error::other("its thread failed") }
}

/// Closes every descriptor of the child but those that the program uses.
fn keep_only(ends: Ends, gate: &Gate) -> Step {
    let mut kept = vec![ends.resident, ends.control];
    kept.extend(ends.ruleset);
    kept.extend(gate.descriptors());
    kept.sort_unstable();
    let mut gaps = Vec::new();
    let mut first = 3;
    for fd in kept {
        gaps.extend((first < fd).then(|| (first.cast_unsigned(), (fd - 1).cast_unsigned())));
        first = fd + 1;
    }
    gaps.push((first.cast_unsigned(), u32::MAX));
    Step::Close(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Builder, Sandbox};
    use nix::{
        poll::{PollFd, PollFlags, PollTimeout, poll},
        sys::resource::{Resource, getrlimit, setrlimit},
    };
    use std::{
        env, fs,
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    fn children(pid: u32) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    fn described() -> (tempfile::TempDir, Builder) {
        let workspace = tempfile::tempdir().unwrap();
        let mut builder = Sandbox::builder();
        builder.system().workspace(workspace.path(), Access::ReadWrite);
        (workspace, builder)
    }

    /// A sweeper ends a moment after its sandbox.
    fn await_sweepers() {
        let limit = Instant::now() + Duration::from_secs(20);
        while !children(std::process::id()).is_empty() {
            assert!(Instant::now() < limit, "a sweeper does not end");
            thread::yield_now();
        }
    }

    /// Runs a test in a process of its own: others have children as well.
    fn alone(test: &str, body: impl FnOnce()) {
        if env::var_os("HOLDPOINT_TEST_ALONE").is_some() {
            body();
            assert_eq!(children(std::process::id()), Vec::<String>::new());
            return;
        }
        let name = format!("opening::tests::{test}");
        let mut own = Command::new(env::current_exe().unwrap());
        let status = own.args(["--exact", &name, "--nocapture"]).env("HOLDPOINT_TEST_ALONE", "1").status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn what_was_begun_and_not_started_leaves_nothing() {
        alone("what_was_begun_and_not_started_leaves_nothing", || {
            let opening = Opening::begin();
            assert!(opening.0.is_some() || processors(2) == 1);
            drop(opening);
        });
    }

    #[test]
    fn a_pipe_of_the_caller_ends_while_a_sandbox_waits() {
        let (ours, theirs) = io::pipe().unwrap();
        let _opening = Opening::begin();
        drop(theirs);
        let mut end = [PollFd::new(ours.as_fd(), PollFlags::empty())];
        assert_eq!(poll(&mut end, PollTimeout::from(20_000_u16)), Ok(1), "the child holds the caller's pipe open");
    }

    #[test]
    fn a_plan_that_cannot_be_carried_out_is_told_and_leaves_nothing() {
        alone("a_plan_that_cannot_be_carried_out_is_told_and_leaves_nothing", plan_that_changed);
    }

    fn plan_that_changed() {
        let (workspace, shown) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut builder = Sandbox::builder();
        builder.system().workspace(workspace.path(), Access::ReadWrite).read_only(shown.path());
        let plan = builder.plan().unwrap();
        // As large as it was, and another one.
        let moved = workspace.path().join("moved");
        fs::rename(shown.path(), &moved).unwrap();
        std::os::unix::fs::symlink(&moved, shown.path()).unwrap();
        let error = Sandbox::start_in(plan, Opening::begin(), None).unwrap_err();
        assert!(matches!(error, Error::Setup { .. }), "{error:?}");
        fs::remove_file(shown.path()).unwrap();
        fs::create_dir(shown.path()).unwrap();
    }

    #[test]
    fn a_failure_while_it_waits_to_hear_something_is_told_and_leaves_nothing() {
        alone("a_failure_while_it_waits_to_hear_something_is_told_and_leaves_nothing", || {
            let (workspace, builder) = described();
            let plan = builder.plan().unwrap();
            // Wanted for a reservation, and somebody's by now.
            let taken = workspace.path().join(".claude");
            fs::create_dir(&taken).unwrap();
            let error = Sandbox::start_in(plan, Opening::begin(), None).unwrap_err();
            assert!(matches!(error, Error::Plan { what: "protected names of workspace", .. }), "{error:?}");
            let left: Vec<_> = fs::read_dir(workspace.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(left, [taken]);
        });
    }

    #[test]
    fn wherever_descriptors_run_out_it_is_told_and_nothing_is_left() {
        alone("wherever_descriptors_run_out_it_is_told_and_nothing_is_left", || {
            let (workspace, builder) = described();
            let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            let (mut told, mut started) = (0, 0);
            for most in 3..80 {
                setrlimit(Resource::RLIMIT_NOFILE, most, hard).unwrap();
                let begun = builder.start_in(Opening::begin());
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
                match begun.map(drop) {
                    Err(_) => told += 1,
                    Ok(()) => started += 1,
                }
                assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0, "with {most} descriptors");
            }
            assert!(told > 10 && started > 0, "{told} {started}");
            await_sweepers();
        });
    }

    #[test]
    fn everything_may_run_on_every_processor_again() {
        alone("everything_may_run_on_every_processor_again", || {
            let allowed = |status: &str| {
                status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:").map(str::to_owned)).unwrap()
            };
            let own = allowed(&fs::read_to_string("/proc/thread-self/status").unwrap());
            let (_workspace, builder) = described();
            let sandbox = builder.start_in(Opening::begin()).unwrap();
            let inside = sandbox.command("cat").arg("/proc/self/status").output().unwrap();
            assert_eq!(allowed(&String::from_utf8(inside.stdout).unwrap()), own);
            let limit = Instant::now() + Duration::from_secs(20);
            let everywhere = || {
                let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
                let read = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
                tasks.filter_map(read).all(|status| allowed(&status) == own)
            };
            while !everywhere() {
                assert!(Instant::now() < limit, "a thread is kept from a processor");
                thread::yield_now();
            }
            drop(sandbox);
            await_sweepers();
        });
    }

    /// Not a test by itself: what `a_killed_caller_leaves_nothing` kills.
    #[test]
    fn caller() {
        if env::var_os("HOLDPOINT_TEST_BEGIN").is_some() {
            let _opening = Opening::begin();
            eprintln!("begun");
            thread::sleep(Duration::from_secs(60));
        }
    }

    #[test]
    fn a_killed_caller_leaves_nothing() {
        let mut caller = Command::new(env::current_exe().unwrap())
            .args(["--exact", "opening::tests::caller", "--nocapture"])
            .env("HOLDPOINT_TEST_BEGIN", "1")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(caller.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        let limit = Instant::now() + Duration::from_secs(20);
        while children(caller.id()).is_empty() && processors(2) > 1 {
            assert!(Instant::now() < limit, "nothing was begun");
            thread::yield_now();
        }
        let begun = children(caller.id());
        caller.kill().unwrap();
        caller.wait().unwrap();
        while begun.iter().any(|pid| fs::exists(format!("/proc/{pid}")).unwrap()) {
            assert!(Instant::now() < limit, "what was begun outlives its caller");
            thread::yield_now();
        }
    }
}
