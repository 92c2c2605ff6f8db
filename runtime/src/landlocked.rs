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
use std::os::fd::OwnedFd;

/// What is handled, up to device ioctls, and the scopes of ABI 6 (signals, abstract sockets).
pub(crate) const HANDLED: ABI = ABI::V5;
pub(crate) const NEEDED: i32 = 6;

/// Access masks as numbers, for rules on paths that exist only inside.
pub(crate) struct Rights {
    pub(crate) all: u64,
    pub(crate) list: u64,
    pub(crate) devices: u64,
    pub(crate) settings: u64,
}

pub(crate) fn rights() -> Rights {
    let read = AccessFs::from_read(HANDLED);
    let devices = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    Rights {
        all: AccessFs::from_all(HANDLED).bits(),
        list: BitFlags::from(AccessFs::ReadDir).bits(),
        devices: devices.bits(),
        settings: (read | AccessFs::WriteFile | AccessFs::Truncate).bits(),
    }
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
    for mount in &plan.view {
        let Mount::Bind { path, access } = mount else { continue };
        let wanted = match access {
            Access::ReadOnly => AccessFs::from_read(HANDLED),
            Access::ReadWrite => AccessFs::from_all(HANDLED),
        };
        let wanted = if path.is_dir() { wanted } else { wanted & AccessFs::from_file(HANDLED) };
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, wanted))?;
    }
    Ok(ruleset.into())
}
