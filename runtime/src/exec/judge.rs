//! The two looks: judging a program before it is executed, and comparing before its code runs.

use super::{
    Exec, ExecAnswer, ExecGuard, Withheld,
    chain::{self, Chain, Request},
    file::{self, Files},
    names::Names,
    stack::{LOADER, Loader},
};
use crate::{
    error::{Error, Result},
    notify::{Handler, Held, Listener, Target, View},
    sys::{call::Identity, notify},
};
use std::{
    cell::OnceCell,
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

/// Allowed executions remembered before those of ended processes are forgotten.
const REMEMBERED: usize = 1024;
/// Code below this address is no dynamic program's (which the kernel places higher), so it may be pid 1's.
const LOW: u64 = 1 << 28;

/// Answers `execve` and what follows it.
pub(crate) struct Judge {
    guard: Arc<dyn ExecGuard>,
    view: View,
    /// The resident program: pid 1, and what it becomes until its own `execve`.
    resident: Identity,
    files: Files,
    names: Names,
    /// The loader that tells where stacks are, once it was looked for.
    loader: OnceCell<Option<Loader>>,
    withheld: Option<Arc<dyn Withheld>>,
    allowed: Allowed,
    /// Tests take the second look away.
    looks_twice: bool,
}

impl Judge {
    /// For the sandbox whose pid 1 has this number on the host.
    pub(crate) fn new(guard: Arc<dyn ExecGuard>, first: i32) -> Result<Self> {
        let look = Error::io("look into the sandbox");
        let found = View::of(first).and_then(|view| Ok((view, file::identity(format!("/proc/{first}/exe").as_ref())?)));
        let (view, resident) = found.map_err(look)?;
        let (files, names, allowed) = (Files::default(), Names::of(first), Allowed::default());
        let (loader, withheld) = (OnceCell::new(), None);
        Ok(Self { guard, view, resident, files, names, loader, withheld, allowed, looks_twice: true })
    }

    /// Refuses some files before the guard is asked.
    pub(crate) fn withholding(mut self, files: Option<Arc<dyn Withheld>>) -> Self {
        self.withheld = files;
        self
    }

    #[cfg(test)]
    pub(crate) fn looking_once(mut self) -> Self {
        self.looks_twice = false;
        self
    }

    fn first_look(&mut self, listener: &Arc<Listener>, call: &Held) {
        if self.is_command(call) {
            return listener.proceed(call);
        }
        let (exec, identity) = match self.read(call) {
            Ok(Some(read)) => read,
            Ok(None) => return listener.proceed(call),
            Err(errno) => return listener.refuse(call, errno),
        };
        // Still waiting: what was read was its own.
        if !listener.is_valid(call) {
            return;
        }
        match self.guard.judge(&exec) {
            ExecAnswer::Refuse => listener.refuse(call, libc::EACCES),
            ExecAnswer::Allow => {
                self.allowed.insert(exec, identity);
                listener.proceed(call);
            }
            ExecAnswer::Later(decide) => {
                let (allowed, to, held) = (self.allowed.clone(), Arc::clone(listener), *call);
                let later = move || {
                    let _answered = Answered(&to, &held);
                    if decide(&exec) {
                        allowed.insert(exec, identity);
                        to.proceed(&held);
                    }
                };
                if thread::Builder::new().name("held exec".into()).spawn(later).is_err() {
                    listener.refuse(call, libc::EAGAIN);
                }
            }
        }
    }

    /// Whether the caller is about to become a command that was started from outside.
    fn is_command(&self, call: &Held) -> bool {
        let exe = || file::identity(format!("/proc/{}/exe", call.thread).as_ref());
        call.instruction < LOW && exe().is_ok_and(|exe| exe == self.resident)
    }

    /// What would be executed; nothing when the caller only asks if it could.
    fn read(&mut self, call: &Held) -> std::result::Result<Option<(Exec, Identity)>, i32> {
        let target = Target::of(call);
        let request = Request::read(target, call)?;
        if request.only_checks() {
            return Ok(None);
        }
        let withheld = self.withheld.as_deref();
        let followed = chain::follow(&self.view, &mut self.files, &mut self.names, withheld, target, &request)?;
        let Chain { stages, executed, identity, fixed } = followed;
        // What is withheld is looked at again whatever its name.
        let fixed = fixed && self.withheld.is_none();
        let pid = target.process().ok_or(libc::ESRCH)?;
        let (directory, environment) = (OnceLock::new(), OnceLock::new());
        let variables = request.variables;
        let exec = Exec { pid, stages, executed, long: None, fixed, target, variables, directory, environment };
        Ok(Some((exec, identity)))
    }

    /// Nothing was allowed to what pid 1 becomes, nor to a process that sets up its thread without having executed anything.
    fn second_look(&mut self, listener: &Listener, call: &Held) {
        let (view, guard, names) = (&self.view, &self.guard, &self.names);
        self.loader.get_or_init(|| loader(view, names));
        let mut loader = self.loader.get_mut().and_then(Option::as_mut);
        let mut shows = |exec: &Exec| {
            let expected = exec.on_stack().zip(loader.as_mut());
            expected.is_some_and(|((name, argv), loader)| loader.shows(Target::of(call), call.instruction, name, argv))
        };
        let as_allowed = |(exec, identity): &(Exec, Identity)| {
            let same = shows(exec) || exec.became(*identity).unwrap_or(false);
            if !same && kill(listener, call) {
                guard.killed(exec);
            }
            same
        };
        if !self.looks_twice || self.allowed.of(call.thread, as_allowed).unwrap_or(true) {
            listener.proceed(call);
        } else {
            listener.refuse(call, libc::EPERM);
        }
    }
}

/// The loader of this sandbox's programs, when nobody inside can exchange it.
fn loader(view: &View, names: &Names) -> Option<Loader> {
    let place = view.place(&names.fixed(view, LOADER.as_ref())?).ok()?;
    Loader::parse(&file::content(&place).ok()?)
}

impl Handler for Judge {
    fn takes(&self, _: &Held) -> bool {
        true
    }

    fn answer(&mut self, listener: &Arc<Listener>, call: &Held) {
        match call.number {
            libc::SYS_execve | libc::SYS_execveat => self.first_look(listener, call),
            _ => self.second_look(listener, call),
        }
    }
}

/// The guard of who only withholds.
pub(crate) struct Anything;

impl ExecGuard for Anything {
    fn judge(&self, _: &Exec) -> ExecAnswer {
        ExecAnswer::Allow
    }
}

/// Refuses a call when dropped. A call that has its answer does not notice.
struct Answered<'a>(&'a Listener, &'a Held);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.refuse(self.1, libc::EACCES);
    }
}

/// Kills the caller, and nobody who might have its number by now.
fn kill(listener: &Listener, call: &Held) -> bool {
    notify::open_process(call.thread)
        .and_then(|process| if listener.is_valid(call) { notify::kill(&process) } else { Err(libc::ESRCH) })
        .is_ok()
}

/// What each process was last allowed to execute. It stays when the process has been compared with it: another thread of the
/// old program can do what a new one does first, and would otherwise use the comparison up.
#[derive(Clone, Default)]
struct Allowed(Arc<Mutex<HashMap<i32, (Exec, Identity)>>>);

impl Allowed {
    /// To be called before the kernel may go on.
    fn insert(&self, mut exec: Exec, identity: Identity) {
        exec.shorten();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && known.len() == known.capacity() {
            known.retain(|pid, _| notify::leads(*pid));
        }
        known.insert(exec.pid, (exec, identity));
    }

    fn of<T>(&self, pid: i32, look: impl FnOnce(&(Exec, Identity)) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pid).map(look)
    }
}
