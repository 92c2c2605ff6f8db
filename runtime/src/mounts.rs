//! The kernel's bound on mounts in one namespace (`fs.mount-max`, Documentation/admin-guide/sysctl/fs.rst): a plan that needs
//! more is refused before anything is made.

use crate::{
    enforced::Protection,
    error::{Error, Result},
    plan::Plan,
};
use std::{fs, path::Path};

/// What a view has beside what the plan names: its root, `/proc`, `/dev` and what lies in them.
const OWN: usize = 64;
/// No machine is set up to allow fewer.
const FEW: usize = 1_000;

/// Whether the plan's mounts fit into one namespace, beside the host's, of which a new one starts with a copy.
pub(crate) fn fit(plan: &Plan) -> Result<()> {
    let asked = plan.masks.len() + plan.channels.len() + plan.kept.len() + plan.pins.len() + plan.exec_deny.len();
    if asked < FEW {
        return Ok(());
    }
    let most = fs::read_to_string("/proc/sys/fs/mount-max").ok().and_then(|text| text.trim().parse().ok());
    let host = lines(Path::new("/proc/self/mountinfo"));
    // Binds of the view bring the mounts below them along: at most once more all of the host's.
    let needed = asked + plan.view.len() + OWN + 2 * host;
    most.filter(|most| needed > *most)
        .map_or(Ok(()), |most| Err(too_many(plan, &format!("{most} mounts in one namespace"))))
}

/// What is said when the kernel refuses one more mount.
pub(crate) fn too_many(plan: &Plan, allowed: &str) -> Error {
    let needs = format!(
        "{} masks, {} protected names and {} pinned directories are needed, and this kernel allows {allowed}: deny whole \
         directories (`secrets/**`) instead of the many files in them, or raise the sysctl fs.mount-max",
        plan.masks.len(),
        plan.kept.len(),
        plan.pins.len()
    );
    Error::Unsupported { protection: Protection::MountView, needs }
}

fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |text| text.iter().filter(|&&byte| byte == b'\n').count())
}
