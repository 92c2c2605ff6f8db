//! What this kernel, as it is set up, offers to a sandbox: found by trying wherever something can be tried.
//!
//! [`probe`] changes nothing. Its last feature is the proof of all others: a real sandbox, started and ended.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::cgroup::Controller;
use crate::proc::number;
use crate::{Error, Sandbox, host, landlocked, limits, sys};

/// The new mount API with `mount_setattr`, which the mount view is built with.
const MOUNT_API: (u32, u32) = (5, 12);
/// `pid_max` belongs to the pid namespace since then, and can bound its processes without a control group.
const PID_MAX: (u32, u32) = (6, 14);
/// Whoever waits for a held call is told since then that nobody is left to make one.
const TAKING_UP_ENDS: (u32, u32) = (6, 11);
/// Watches below this are used up by one large workspace.
const WATCHES: u64 = 65_536;

/// What was found on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Probe {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The processor's architecture.
    pub architecture: String,
    /// One after the other, what is needed first.
    pub features: Vec<Feature>,
}

/// One thing a kernel can offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// A fixed word for scripts.
    pub name: String,
    /// Whether it is there and usable by this user.
    pub present: bool,
    /// What was looked at, and what it said.
    pub detail: String,
    /// Whether a sandbox cannot start without it, unless its plan allows the protection to be missing.
    pub needed: bool,
    /// What to do when it is not there.
    pub advice: Option<String>,
}

impl Probe {
    /// What is needed and not there.
    pub fn missing(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().filter(|feature| feature.needed && !feature.present)
    }
}

/// Looks at this machine, as this user. Takes as long as one sandbox takes to start.
#[must_use]
pub fn probe() -> Probe {
    let kernel = running();
    // The proof: everything at once, for real.
    let tried = Sandbox::builder().system().start();
    let mut features = vec![
        proc_here(),
        user_namespaces(&tried),
        mount_api(&kernel),
        openat2_resolves(),
        landlock(),
        seccomp(&tried),
        executable_memory(),
        inotify(),
        process_limit(&kernel),
        overlay(),
    ];
    features.extend(limits());
    features.push(launch(&tried));
    Probe { kernel, architecture: std::env::consts::ARCH.to_owned(), features }
}

fn feature(name: &str, needed: bool, present: bool, detail: impl Into<String>, advice: &str) -> Feature {
    let advice = (!present).then(|| advice.to_owned());
    Feature { name: name.to_owned(), present, detail: detail.into(), needed, advice }
}

/// What cannot be looked at because a file of `/proc` is not there: neither present nor missing.
fn unknown(name: &str, path: &str) -> Feature {
    feature(name, false, false, format!("not known: {path} cannot be read"), "mount a whole /proc, then look again")
}

/// A sandbox is made and watched through `/proc`, and most of what follows is read there.
fn proc_here() -> Feature {
    let present = statfs("/proc").is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC);
    let detail = if present { "/proc is mounted" } else { "/proc is not mounted, or covered" };
    feature("proc", true, present, detail, "mount -t proc proc /proc; in a container, let the engine do it")
}

/// Whether a sandbox gets its namespaces, with the rights that belong to them.
fn user_namespaces(tried: &Result<Sandbox, Error>) -> Feature {
    let refused = tried.as_ref().err().and_then(host::refused);
    const MOST: &str = "/proc/sys/user/max_user_namespaces";
    let detail = match (refused, number(MOST)) {
        (Some((reason, _)), _) => reason.to_owned(),
        (None, Some(most)) => format!("user.max_user_namespaces is {most}"),
        (None, None) if tried.is_ok() => "a sandbox has its own".to_owned(),
        (None, None) => return unknown("user-namespaces", MOST),
    };
    feature("user-namespaces", true, refused.is_none(), detail, refused.map_or("", |(_, fix)| fix))
}

fn mount_api(kernel: &str) -> Feature {
    let present = release(kernel).is_some_and(|found| found >= MOUNT_API);
    let detail = format!("Linux {kernel}; mount_setattr came with {}.{}", MOUNT_API.0, MOUNT_API.1);
    feature("mount-api", true, present, detail, "use Linux 5.12 or newer; 6.12 for everything")
}

fn openat2_resolves() -> Feature {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let tried = openat2(AT_FDCWD, Path::new("/"), how);
    let detail = match &tried {
        Ok(_) => "openat2 resolves paths without symlinks".to_owned(),
        Err(errno) => format!("openat2: {}", errno.desc()),
    };
    feature("openat2", true, tried.is_ok(), detail, "use Linux 5.6 or newer; in a container, allow the call")
}

fn landlock() -> Feature {
    let abi = sys::landlock::abi();
    let detail = if abi == 0 { "no Landlock".to_owned() } else { landlocked::describe(abi) };
    let advice = "use Linux 5.19 or newer, better 6.12, with CONFIG_SECURITY_LANDLOCK and `landlock` among the lsm= of the kernel's command line";
    feature("landlock", true, landlocked::suffices(abi), detail, advice)
}

fn seccomp(tried: &Result<Sandbox, Error>) -> Feature {
    const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";
    let actions = fs::read_to_string(ACTIONS).unwrap_or_default();
    let has = |wanted: &str| actions.split_whitespace().any(|action| action == wanted);
    let (present, detail) = match actions.trim() {
        "" if tried.is_ok() => (true, "a sandbox is filtered"),
        "" if !Path::new("/proc/sys/kernel").exists() => return unknown("seccomp", ACTIONS),
        "" => (false, "no seccomp"),
        actions => (["kill_process", "errno", "allow"].into_iter().all(has), actions),
    };
    feature("seccomp", true, present, detail, "use a kernel with CONFIG_SECCOMP_FILTER")
}

/// The first program inside is executed from memory.
fn executable_memory() -> Feature {
    const REFUSED: &str = "/proc/sys/vm/memfd_noexec";
    let (present, detail) = match number(REFUSED) {
        Some(value) => (value < 2, format!("vm.memfd_noexec is {value}")),
        None if !Path::new("/proc/sys/vm").exists() => return unknown("executable-memory", REFUSED),
        None => (true, "no vm.memfd_noexec".to_owned()),
    };
    feature("executable-memory", true, present, detail, "sysctl -w vm.memfd_noexec=1")
}

/// Denied files that appear later are noticed with inotify.
fn inotify() -> Feature {
    const WATCHED: &str = "/proc/sys/fs/inotify/max_user_watches";
    let tried = Inotify::init(InitFlags::IN_CLOEXEC);
    let (present, detail) = match (&tried, number(WATCHED)) {
        (Err(Errno::EMFILE), _) => (false, "fs.inotify.max_user_instances is used up".to_owned()),
        (Err(errno), _) => (false, format!("inotify: {}", errno.desc())),
        (Ok(_), None) => return unknown("inotify", WATCHED),
        (Ok(_), Some(watches)) => {
            (watches >= WATCHES, format!("fs.inotify.max_user_watches is {watches}, one for each directory"))
        }
    };
    let advice = "sysctl -w fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512";
    // A small workspace needs few watches: only a kernel without any is unusable.
    feature("inotify", tried.is_err(), present, detail, advice)
}

/// The running kernel's release.
fn running() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether `kernel.pid_max` written in a new pid namespace bounds that namespace. On an older kernel root would change the
/// whole host with it.
pub(crate) fn namespace_bounds_processes() -> bool {
    release(&running()).is_some_and(|found| found >= PID_MAX)
}

/// Whether taking up a held call returns when nobody is left who could make one (seccomp_unotify(2)).
pub(crate) fn taking_up_ends() -> bool {
    release(&running()).is_some_and(|found| found >= TAKING_UP_ENDS)
}

fn process_limit(kernel: &str) -> Feature {
    let present = release(kernel).is_some_and(|found| found >= PID_MAX);
    let detail = format!("Linux {kernel}; pid_max belongs to the pid namespace since {}.{}", PID_MAX.0, PID_MAX.1);
    feature("pid-max-of-namespace", false, present, detail, "use Linux 6.14 or newer, or delegate a control group")
}

/// Who holds the limits whose holder depends on the host.
fn limits() -> [Feature; 3] {
    [("memory", Controller::Memory), ("pids", Controller::Pids), ("cpus", Controller::Cpu)].map(|(key, controller)| {
        let holder = limits::holder(controller);
        let detail = holder.clone().unwrap_or_else(|| "nothing can hold it here".into());
        let advice = "run under `systemd-run --user --scope -p Delegate=yes`, which gives a control group to divide";
        feature(&format!("limit-{key}"), false, holder.is_some(), detail, advice)
    })
}

fn overlay() -> Feature {
    const KNOWN: &str = "/proc/filesystems";
    let Ok(known) = fs::read_to_string(KNOWN) else { return unknown("overlayfs", KNOWN) };
    let present = known.split_whitespace().any(|name| name == "overlay");
    let detail = if present { "overlay is registered" } else { "overlay is not registered" };
    feature("overlayfs", false, present, detail, "modprobe overlay")
}

fn launch(tried: &Result<Sandbox, Error>) -> Feature {
    let detail = match tried {
        Ok(_) => "a sandbox started and ended".to_owned(),
        Err(error) => chain(error),
    };
    feature("launch", true, tried.is_ok(), detail, "see what is missing above")
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Major and minor number of a kernel release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_launches_misses_nothing() {
        let probe = probe();
        let named = |name: &str| probe.features.iter().find(|feature| feature.name == name).unwrap();
        if named("launch").present {
            assert_eq!(probe.missing().collect::<Vec<_>>(), Vec::<&Feature>::new());
        } else {
            assert!(!named("launch").detail.is_empty());
        }
        for feature in &probe.features {
            assert_eq!(feature.advice.is_none(), feature.present, "{feature:?}");
        }
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(release("6.18.44-fc-v509"), Some((6, 18)));
        assert_eq!(release("5.4"), Some((5, 4)));
        assert!(release("6.8.0").unwrap() < PID_MAX && release("10.1").unwrap() > PID_MAX);
        assert_eq!(release("linux"), None);
    }
}
