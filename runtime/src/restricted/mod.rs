//! A sandbox where the host gives no namespaces: Landlock and seccomp alone, chosen only when the plan lets namespaces be
//! missing. The same prepared program starts the same resident program; what differs is what stands in for what:
//!
//! | namespace or mount | here |
//! |---|---|
//! | mount view | Landlock rules on the same paths; what is denied or protected is spared by granting its siblings |
//! | masks that follow new files | nothing: late masks are missing too |
//! | ownership of files in the view | modes and times are changed by us, where files may be written; owners by nobody (`modes`) |
//! | network and ipc | no sockets but connected pairs, no System V or POSIX objects (seccomp) |
//! | pid | a Landlock domain: signals and traces stay in it, and its supervisor kills all of it at the end |
//! | private `/tmp` and home | a directory made for the run |

mod grants;
mod modes;
mod place;

pub(crate) use modes::Modes;
pub(crate) use place::Place;

use crate::{
    compile::{self, Entrance},
    enforced::{Enforced, Protection},
    error::{Error, Result},
    executable,
    host::{Failed, Refusal},
    plan::Plan,
    program::{self, Arguments, Descriptor, LIFTED, Program, Step},
    socket,
    sys::{
        self,
        launch::Started,
        seccomp::Calls,
        wire::{BELOW, CONTROL, LOCK},
    },
};
use grants::{Grants, HANDLED};
use landlock::{
    Access as _, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Scopes of signals and abstract sockets: nothing else protects the neighbours.
const ABI_NEEDED: i32 = 6;
/// Directories named in one warning.
const NAMED: usize = 6;

/// What of a sandbox without namespaces lives outside. Dropped when nothing inside is left.
#[derive(Debug)]
pub(crate) struct Restricted {
    place: Place,
}

impl Restricted {
    /// The private directory.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// A sandbox whose supervisor inside waits for commands.
pub(crate) struct Launched {
    pub(crate) first: Started,
    pub(crate) control: OwnedFd,
    pub(crate) restricted: Restricted,
    pub(crate) modes: Modes,
}

/// Starts a sandbox for a plan without the namespaces that the host refuses.
///
/// # Errors
/// [`Error::Unsupported`] for what cannot be had here, nor be missing; [`Error::Setup`] when a step fails.
pub(crate) fn start(
    plan: &Plan,
    Refusal { reason, fix }: &Refusal,
    enforced: &mut Enforced,
    entrance: Entrance,
) -> Result<Launched> {
    let abi = sys::landlock::abi();
    possible(plan, &format!("{reason} ({fix})"), abi)?;
    let place = Place::make(plan)?;
    let grants = grants::grants(plan).map_err(Error::io("read the directories that hold something denied"))?;
    let ruleset = files(&grants, &place).map_err(unsupported)?;
    let below = scope_of_signals().map_err(unsupported)?;
    let (control, inside) = socket::pair()?;
    let lift = |fd: OwnedFd| program::lift(fd.as_fd(), LIFTED);
    let held = [lift(executable::resident()?)?, lift(inside)?, lift(ruleset)?, lift(below)?];
    let lock = program::lift(place.lock(), LIFTED)?;
    let mut program = prepare(plan, &held, &lock, entrance);
    let modes = Modes::new(&grants, place.path()).map_err(Error::io("look at the root directory"))?;
    let first = crate::sandbox::run(&mut program, 0).map_err(Failed::into_error)?;
    report(plan, reason, abi, &grants, enforced);
    Ok(Launched { first, control, restricted: Restricted { place }, modes })
}

/// Refuses where less than this backend needs is there, or more is asked for than it has.
fn possible(plan: &Plan, why: &str, abi: i32) -> Result<()> {
    let need = |protection, needs: String| Err(Error::Unsupported { protection, needs });
    let allowed = |protection| plan.allow_missing.contains(&protection);
    if abi < ABI_NEEDED {
        let needs = format!("{why}; without namespaces Landlock ABI {ABI_NEEDED} is needed (Linux 6.12), found {abi}");
        return need(Protection::Landlock, needs);
    }
    if !plan.deny_read.is_empty() && !allowed(Protection::LateMasks) {
        let needs = format!("{why}, and without them nothing covers denied files that appear during a run");
        return need(Protection::LateMasks, needs);
    }
    if plan.limits.pids.is_some() && !allowed(Protection::ProcessLimit) {
        let needs = format!("{why}, and without them all processes of this user would count");
        return need(Protection::ProcessLimit, needs);
    }
    Ok(())
}

fn unsupported(error: RulesetError) -> Error {
    Error::Unsupported { protection: Protection::Landlock, needs: error.to_string() }
}

/// The domain of everything inside, its supervisor included.
fn files(grants: &Grants, place: &Place) -> std::result::Result<OwnedFd, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(HANDLED))?
        .handle_access(landlock::AccessNet::from_all(landlock::ABI::V4))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    let own = (place.path().to_owned(), AccessFs::from_all(HANDLED));
    for (path, rights) in grants.rules.iter().chain([&own]) {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        // What has gone since, or has become a link, gets no rule.
        if let Ok(place) = openat2(AT_FDCWD, path, how) {
            rules = rules.add_rule(PathBeneath::new(place, *rights))?;
        }
    }
    created(rules.into())
}

/// The domain of each command, below the supervisor's. Every layer refuses to move files to another directory unless it
/// says that it does not (LANDLOCK_ACCESS_FS_REFER in landlock(7)).
fn scope_of_signals() -> std::result::Result<OwnedFd, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .scope(Scope::Signal)?
        .create()?;
    if let Ok(root) = openat2(AT_FDCWD, "/", OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC)) {
        rules = rules.add_rule(PathBeneath::new(root, AccessFs::Refer))?;
    }
    created(rules.into())
}

fn created(rules: Option<OwnedFd>) -> std::result::Result<OwnedFd, RulesetError> {
    rules.ok_or(RulesetError::CreateRuleset(landlock::CreateRulesetError::MissingHandledAccess))
}

fn prepare(
    plan: &Plan,
    [resident, control, ruleset, below]: &[OwnedFd; 4],
    lock: &OwnedFd,
    entrance: Entrance,
) -> Program {
    let known = |fd: &OwnedFd| Descriptor::Known(fd.as_raw_fd());
    let mut steps: Vec<Step> = compile::enter_groups(entrance.doors).collect();
    steps.extend([Step::SessionKeyring, Step::NullStandard]);
    let of_user =
        |step: &Step| matches!(step, Step::Limit { resource, .. } if *resource == i64::from(libc::RLIMIT_NPROC));
    steps.extend(compile::bounds(plan).filter(|step| !of_user(step)));
    steps.extend([
        Step::NewSession,
        Step::Descriptor { from: known(control), to: CONTROL },
        Step::Descriptor { from: known(below), to: BELOW },
        Step::Descriptor { from: known(lock), to: LOCK },
        Step::CloseFrom(LOCK + 1),
        Step::NoNewPrivileges,
        Step::Capabilities(0),
        Step::LandlockRestrict { ruleset: ruleset.as_raw_fd() },
    ]);
    steps.extend(plan.limits.disk.map(|_| Step::NoPreallocation));
    steps.extend([
        Step::Seccomp(Calls::Restricted),
        Step::Execute { program: known(resident), arguments: Arguments::new(vec![c"restricted".into()]) },
    ]);
    let mut program = Program::new(steps, Vec::new());
    program.group = entrance.group;
    program
}

fn report(plan: &Plan, why: &str, abi: i32, grants: &Grants, enforced: &mut Enforced) {
    enforced.missing(
        Protection::Namespaces,
        format!(
            "{why}; instead, sockets and shared objects are refused, and a Landlock domain keeps signals and traces"
        ),
    );
    enforced.missing(
        Protection::MountView,
        format!("{} Landlock rules instead: names, sizes and links outside can be seen", grants.rules.len()),
    );
    enforced.holds(Protection::Landlock, format!("ABI {abi}: files, device ioctls, signals, traces, abstract sockets"));
    enforced
        .holds(Protection::Seccomp, "as with namespaces; also sockets, shared objects, file modes and owners refused");
    if !plan.deny_read.is_empty() {
        enforced.missing(Protection::LateMasks, "a denied file that appears in a writable directory can be read");
    }
    if let Some(pids) = plan.limits.pids {
        enforced
            .missing(Protection::ProcessLimit, format!("without a namespace {pids} would count for all of this user"));
    }
    warn(enforced, "nothing can be created, removed or renamed directly in", &grants.fixed);
    warn(enforced, "what is in them cannot be listed, because a directory below may not be:", &grants.unlisted);
    if plan.limits.tmp.is_some() {
        enforced.uncovered.push("the limit on /tmp is not enforced: it is a directory of the host".to_owned());
    }
}

fn warn(enforced: &mut Enforced, what: &str, directories: &[std::path::PathBuf]) {
    if directories.is_empty() {
        return;
    }
    let names: Vec<String> = directories.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    let more = directories.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    enforced.warnings.push(format!("{what} {}{more}", names.join(", ")));
}
