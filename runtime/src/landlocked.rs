//! The Landlock ruleset of a plan: the second wall behind the mount view. Built here with hard requirements, enforced by
//! the prepared program.

use crate::{
    enforced::{Enforced, Protection},
    error::{Error, Result},
    plan::{Access, Mount, Plan},
    sys,
};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// What is handled, up to device ioctls, and the scopes of ABI 6 (signals, abstract sockets).
pub(crate) const HANDLED: ABI = ABI::V5;
pub(crate) const NEEDED: i32 = 6;

/// What is allowed on paths that exist only inside, as the kernel's numbers.
pub(crate) fn inside(plan: &Plan) -> Vec<(PathBuf, u64)> {
    let (read, all) = (AccessFs::from_read(HANDLED), AccessFs::from_all(HANDLED));
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
    let private = plan.view.iter().filter(writable).map(|mount| (mount.path().clone(), all.bits()));
    fixed.into_iter().map(|(path, access)| (PathBuf::from(path), access.bits())).chain(private).collect()
}

/// What is allowed on the host's files and directories. A file has fewer rights than a directory.
fn outside(plan: &Plan) -> impl Iterator<Item = (&Path, BitFlags<AccessFs>)> {
    plan.view.iter().filter_map(|mount| match mount {
        Mount::Bind { path, access: Access::ReadOnly } => Some((path.as_path(), AccessFs::from_read(HANDLED))),
        Mount::Bind { path, access: Access::ReadWrite } => Some((path.as_path(), AccessFs::from_all(HANDLED))),
        _ => None,
    })
}

/// A ruleset that allows what the plan binds. `None` when the kernel lacks Landlock and the plan allows that.
pub(crate) fn ruleset(plan: &Plan, enforced: &mut Enforced) -> Result<Option<OwnedFd>> {
    let abi = sys::landlock::abi();
    if abi < NEEDED {
        let needs = format!(
            "Landlock ABI {NEEDED} is needed (Linux 6.12, CONFIG_SECURITY_LANDLOCK, lsm=landlock), found {abi}"
        );
        if plan.allow_missing.contains(&Protection::Landlock) {
            enforced.missing(Protection::Landlock, needs);
            return Ok(None);
        }
        return Err(Error::Unsupported { protection: Protection::Landlock, needs });
    }
    let built = build(plan)
        .map_err(|error| Error::Unsupported { protection: Protection::Landlock, needs: error.to_string() })?;
    enforced.holds(Protection::Landlock, format!("ABI {abi}: files, device ioctls, signals, abstract sockets"));
    Ok(built)
}

fn build(plan: &Plan) -> std::result::Result<Option<OwnedFd>, Box<dyn std::error::Error>> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(HANDLED))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for (path, wanted) in outside(plan) {
        let wanted = if path.is_dir() { wanted } else { wanted & AccessFs::from_file(HANDLED) };
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, wanted))?;
    }
    Ok(ruleset.into())
}

/// The whole ruleset as data, for who builds it elsewhere: numbers of `linux/landlock.h`. A rule names what a directory may
/// be allowed; on a file only [`AccessFs::from_file`] of it has a meaning.
#[cfg(feature = "oci")]
pub(crate) fn as_json(plan: &Plan) -> serde_json::Value {
    let mut rules: Vec<(PathBuf, u64)> = outside(plan).map(|(path, access)| (path.to_owned(), access.bits())).collect();
    rules.extend(inside(plan));
    let rules: Vec<_> =
        rules.iter().map(|(path, allowed)| serde_json::json!({"path": path, "allowed": allowed})).collect();
    let scoped = BitFlags::from(Scope::AbstractUnixSocket) | Scope::Signal;
    serde_json::json!({
        "abi": NEEDED,
        "handled_access_fs": AccessFs::from_all(HANDLED).bits(),
        "scoped": scoped.bits(),
        "rules": rules,
    })
}
