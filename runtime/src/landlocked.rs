//! The Landlock ruleset of a plan: the second wall behind the mount view. Built here with hard requirements against the
//! ABI that the kernel has, enforced by the prepared program.

use crate::{
    enforced::{Enforced, Protection},
    error::{Error, Result},
    plan::{Access, Mount, Plan},
    sys,
};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Everything that is asked for: files up to device ioctls, and the scopes of ABI 6 (signals, abstract sockets).
pub(crate) const HANDLED: ABI = ABI::V5;
pub(crate) const COMPLETE: i32 = 6;

/// The first that takes nothing from programs: ABI 1 refuses every rename and link from one directory to another.
const OLDEST: i32 = 2;

/// What came with which ABI. An older one is no gap, only one wall where there are two: a mount view and namespaces of
/// the sandbox's own keep each of these.
const LATER: [(i32, &str); 3] = [(3, "truncation"), (5, "device ioctls"), (6, "signals and abstract sockets")];

/// Whether this ABI makes a wall.
pub(crate) fn suffices(abi: i32) -> bool {
    abi >= OLDEST
}

/// Whether this kernel's does.
pub(crate) fn suffices_here() -> bool {
    suffices(sys::landlock::abi())
}

/// What an ABI enforces here, and what is left to the first wall alone.
pub(crate) fn describe(abi: i32) -> String {
    let (without, with): (Vec<_>, Vec<_>) = LATER.iter().partition(|(since, _)| abi < *since);
    let list = |words: Vec<&(i32, &'static str)>| words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ");
    let with = if with.is_empty() { "files".to_owned() } else { format!("files, {}", list(with)) };
    match without.is_empty() {
        true => format!("ABI {abi}: {with}"),
        false => format!("ABI {abi}: {with}; {} by mount view and namespaces alone", list(without)),
    }
}

/// The file rights that an ABI knows, of those that are asked for.
fn handled(abi: i32) -> ABI {
    match abi {
        ..=2 => ABI::V2,
        3..=4 => ABI::V3,
        _ => HANDLED,
    }
}

/// What is allowed on paths that exist only inside, as the kernel's numbers, of what an ABI knows.
pub(crate) fn inside(plan: &Plan, abi: i32) -> Vec<(PathBuf, u64)> {
    let (read, all) = (AccessFs::from_read(HANDLED), AccessFs::from_all(HANDLED));
    let known = AccessFs::from_all(handled(abi));
    let settings = read | AccessFs::WriteFile | AccessFs::Truncate;
    let fixed = [
        ("/", AccessFs::ReadDir.into()),
        ("/proc", settings),
        ("/dev", settings | AccessFs::IoctlDev),
        ("/dev/shm", all),
        ("/tmp", all),
        ("/var/tmp", all),
    ];
    let writable = |mount: &&Mount| matches!(mount, Mount::Private { access: Access::ReadWrite, .. });
    let private = plan.view.iter().filter(writable).map(|mount| (mount.path().clone(), all));
    // Where the directory it stands in can only be read.
    let files = plan.private_files().map(|(path, _)| (path.to_owned(), AccessFs::ReadFile.into()));
    let fixed = fixed.into_iter().map(|(path, access)| (PathBuf::from(path), access));
    fixed.chain(private).chain(files).map(|(path, access)| (path, (access & known).bits())).collect()
}

/// What is allowed on the host's files and directories, of what an ABI knows. A file has fewer rights than a directory.
fn outside(plan: &Plan, abi: i32) -> impl Iterator<Item = (&Path, BitFlags<AccessFs>)> {
    let known = handled(abi);
    plan.view.iter().filter_map(move |mount| match mount {
        Mount::Bind { path, access: Access::ReadOnly } => Some((path.as_path(), AccessFs::from_read(known))),
        Mount::Bind { path, access: Access::ReadWrite } => Some((path.as_path(), AccessFs::from_all(known))),
        _ => None,
    })
}

/// A ruleset that allows nothing yet. `None` when the kernel has no Landlock that makes a wall.
pub(crate) fn ruleset() -> Result<Option<RulesetCreated>> {
    let abi = sys::landlock::abi();
    if suffices(abi) { empty(abi).map(Some) } else { Ok(None) }
}

fn empty(abi: i32) -> Result<RulesetCreated> {
    let build = || {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(handled(abi)))?;
        if abi >= COMPLETE {
            ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
        }
        ruleset.create()
    };
    build().map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Unsupported { protection: Protection::Landlock, needs: error.to_string() }
}

/// Without a ruleset the plan must let Landlock be missing.
pub(crate) fn require(ruleset: Option<&RulesetCreated>, plan: &Plan, enforced: &mut Enforced) -> Result<()> {
    let abi = sys::landlock::abi();
    if ruleset.is_some() {
        enforced.holds(Protection::Landlock, describe(abi));
        return Ok(());
    }
    let needs =
        format!("Landlock ABI {OLDEST} is needed (Linux 5.19, CONFIG_SECURITY_LANDLOCK, lsm=landlock), found {abi}");
    if plan.allow_missing.contains(&Protection::Landlock) {
        enforced.missing(Protection::Landlock, needs);
        return Ok(());
    }
    Err(refused(needs))
}

/// Allows what the plan binds.
pub(crate) fn allow(ruleset: RulesetCreated, plan: &Plan) -> Result<()> {
    fill(ruleset, plan, sys::landlock::abi())
}

fn fill(mut ruleset: RulesetCreated, plan: &Plan, abi: i32) -> Result<()> {
    for (path, wanted) in outside(plan, abi) {
        let wanted = if path.is_dir() { wanted } else { wanted & AccessFs::from_file(HANDLED) };
        let place = PathFd::new(path).map_err(refused)?;
        ruleset = ruleset.add_rule(PathBeneath::new(place, wanted)).map_err(refused)?;
    }
    Ok(())
}

/// A ruleset for pid 1 and the commands alone, which the opener is not under: they may not signal it. `None` where Landlock
/// knows no signals.
pub(crate) fn apart() -> Result<Option<OwnedFd>> {
    if sys::landlock::abi() < COMPLETE {
        return Ok(None);
    }
    let unsupported =
        |error: RulesetError| Error::Unsupported { protection: Protection::StrictReads, needs: error.to_string() };
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).scope(Scope::Signal);
    Ok(ruleset.and_then(Ruleset::create).map_err(unsupported)?.into())
}

/// As a descriptor of its own.
pub(crate) fn copy(ruleset: &RulesetCreated) -> Result<Option<OwnedFd>> {
    ruleset.try_clone().map(Into::into).map_err(Error::io("copy the Landlock ruleset"))
}

/// The whole ruleset as data, for who builds it elsewhere: numbers of `linux/landlock.h`. A rule names what a directory may
/// be allowed; on a file only [`AccessFs::from_file`] of it has a meaning.
#[cfg(feature = "oci")]
pub(crate) fn as_json(plan: &Plan) -> serde_json::Value {
    let mut rules: Vec<(PathBuf, u64)> =
        outside(plan, COMPLETE).map(|(path, access)| (path.to_owned(), access.bits())).collect();
    rules.extend(inside(plan, COMPLETE));
    let rules: Vec<_> =
        rules.iter().map(|(path, allowed)| serde_json::json!({"path": path, "allowed": allowed})).collect();
    let scoped = BitFlags::from(Scope::AbstractUnixSocket) | Scope::Signal;
    serde_json::json!({
        "abi": COMPLETE,
        "handled_access_fs": AccessFs::from_all(HANDLED).bits(),
        "scoped": scoped.bits(),
        "rules": rules,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_abi_names_what_it_leaves_to_the_first_wall() {
        assert_eq!(describe(7), "ABI 7: files, truncation, device ioctls, signals and abstract sockets");
        let older =
            "ABI 4: files, truncation; device ioctls, signals and abstract sockets by mount view and namespaces alone";
        assert_eq!(describe(4), older);
        assert!(describe(2).starts_with("ABI 2: files; truncation, "), "{}", describe(2));
        assert!(!suffices(1) && suffices(2));
    }

    #[test]
    fn no_abi_is_asked_for_more_than_it_knows() {
        let plan = crate::Sandbox::builder().system().plan().unwrap();
        for abi in 2..=7 {
            let known = AccessFs::from_all(ABI::from(abi));
            assert!(known.contains(AccessFs::from_all(handled(abi))), "ABI {abi}");
            fill(empty(abi).unwrap(), &plan, abi).unwrap_or_else(|error| panic!("ABI {abi}: {error}"));
        }
    }
}
