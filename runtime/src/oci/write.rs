//! A plan, word by word.

use super::{Error, Exported, LANDLOCK, PLAN, Process, mounts, seccomp};
use crate::{
    compile::NO_CORE,
    enforced::{Applied, Enforced, Protection},
    landlocked,
    plan::{Kept, Limits, Net, Plan},
    view,
};
use serde_json::{Value, json};
use std::path::Path;

/// Every engine in use reads it; what came later is not needed.
const VERSION: &str = "1.0.2";

/// The root file system of a bundle, relative to it.
pub(super) const ROOT: &str = "rootfs";

/// Writes `plan` as an OCI runtime configuration that runs `process` in it. Of the host it looks only at which mounts are files.
///
/// # Errors
/// [`Error::Missing`] when the plan has protections that an engine does not give and [`Plan::allow_missing`] does not name,
/// [`Error::Path`] for a path that is not UTF-8, [`Error::Value`] for a limit beyond the format's numbers.
pub fn to_spec(plan: &Plan, process: &Process) -> Result<Exported, Error> {
    let plan = &plan.clone().with_settings_masked().with_packs_masked();
    let enforced = enforced(plan, process);
    let refused = |line: &&Applied| !line.holds && !plan.allow_missing.contains(&line.protection);
    let missing: Vec<Applied> = enforced.protections.iter().filter(refused).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::Missing { missing });
    }
    let spec = serde_json::from_value(config(plan, process, Path::is_file)?).map_err(Error::Format)?;
    Ok(Exported { spec, enforced })
}

/// The configuration as it stands in the file.
pub(super) fn config(plan: &Plan, process: &Process, is_file: impl Fn(&Path) -> bool) -> Result<Value, Error> {
    let json = serde_json::to_string(plan).map_err(|_| unspeakable(plan))?;
    let masked = view::PROC_MASKED.iter().map(|file| Ok(format!("/{file}")));
    let hidden = plan.masks.iter().map(|mask| &mask.path).chain(&plan.channels);
    let shown = hidden.filter(|path| mounts::shows(plan, path));
    let masked = masked.chain(shown.map(|path| text(path)));
    // The devices are the host's own inodes, whose mode the host's root could change.
    let devices = view::DEVICES.iter().filter(|_| process.user == 0).map(|device| Ok(format!("/dev/{device}")));
    let kept = plan.kept.iter().filter_map(|kept| match kept {
        Kept::Existing { path } => Some(text(path)),
        Kept::Symlink { .. } | Kept::Absent { .. } => None,
    });
    let read_only = view::PROC_READ_ONLY.iter().map(|directory| Ok(format!("/{directory}")));
    let read_only = read_only.chain([Ok("/dev".to_owned())]).chain(devices).chain(kept);
    let Net::None = plan.net;
    let namespaces = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];
    let mapping = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let mut config = json!({
        "ociVersion": VERSION,
        "hostname": plan.hostname,
        "root": {"path": ROOT, "readonly": true},
        "mounts": mounts::mounts(plan, is_file)?,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": process.arguments,
            "env": process.environment,
            "cwd": text(&process.directory)?,
            "capabilities": {"bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": []},
            "rlimits": rlimits(&plan.limits, process),
            "noNewPrivileges": true,
        },
        "linux": {
            "namespaces": namespaces.map(|kind| json!({"type": kind})),
            "uidMappings": mapping(process.user),
            "gidMappings": mapping(process.group),
            "rootfsPropagation": "private",
            "maskedPaths": masked.collect::<Result<Vec<_>, _>>()?,
            "readonlyPaths": read_only.collect::<Result<Vec<_>, _>>()?,
            "seccomp": seccomp::seccomp(),
        },
        "annotations": {PLAN: json, LANDLOCK: landlocked::as_json(plan).to_string()},
    });
    if let Some(resources) = resources(&plan.limits, process)? {
        config["linux"]["resources"] = resources;
    }
    Ok(config)
}

fn rlimits(limits: &Limits, process: &Process) -> Vec<Value> {
    let processes = limits.pids.filter(|_| !has_control_groups(process));
    let bounds = [
        ("RLIMIT_CORE", Some(NO_CORE)),
        ("RLIMIT_NPROC", processes),
        ("RLIMIT_CPU", limits.cpu_time.map(|time| time.as_secs().max(1))),
        ("RLIMIT_NOFILE", limits.open_files),
    ];
    let present = bounds.into_iter().filter_map(|(kind, bound)| Some((kind, bound?)));
    present.map(|(kind, bound)| json!({"type": kind, "hard": bound, "soft": bound})).collect()
}

fn resources(limits: &Limits, process: &Process) -> Result<Option<Value>, Error> {
    if !has_control_groups(process) || (limits.memory, limits.pids, limits.milli_cpus) == (None, None, None) {
        return Ok(None);
    }
    let signed = |what: &str, number: u64| {
        i64::try_from(number).map_err(|_| Error::Value { what: format!("a limit of {number} {what}") })
    };
    let mut resources = json!({});
    if let Some(bytes) = limits.memory {
        resources["memory"] = json!({"limit": signed("bytes of memory", bytes)?});
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({"limit": signed("processes", pids)?});
    }
    if let Some(share) = limits.milli_cpus {
        resources["cpu"] = json!({"quota": u64::from(share) * 100, "period": 100_000});
    }
    Ok(Some(resources))
}

/// Engines make control groups for root; an ordinary user has none that is his to fill.
fn has_control_groups(process: &Process) -> bool {
    process.user == 0
}

/// Every field of a plan is here: one that is added has to be looked at.
fn enforced(plan: &Plan, process: &Process) -> Enforced {
    let Plan { view, masks, kept, deny_read, deny_read_strict, limits, exec_guard, warnings, .. } = plan;
    let Plan { pins: _, exec_deny: _, hostname: _, net: _, .. } = plan; // In the configuration as they are.
    let Plan { workspace: _, protect: _, watched: _, surveyed: _, roots: _, allow_missing: _, .. } = plan; // Enforce nothing.
    let Limits { memory, pids, milli_cpus, cpu_time: _, open_files: _, tmp: _, wall_time, disk, files, output } =
        limits;
    let mut enforced = Enforced { warnings: warnings.clone(), ..Enforced::default() };
    enforced.holds(Protection::Namespaces, "user, mount, pid, network, ipc, uts, cgroup");
    let what = format!("{} mounts, {} masks, {} protected names, no network", view.len(), masks.len(), kept.len());
    enforced.holds(Protection::MountView, what);
    enforced.holds(Protection::Seccomp, "the same calls as in a sandbox");
    enforced.missing(Protection::Landlock, "the second wall on files; its rules stand in an annotation");
    if !deny_read.is_empty() {
        enforced.missing(Protection::LateMasks, "only what matched when the bundle was written is masked");
    }
    if *deny_read_strict {
        enforced.missing(Protection::StrictReads, "engines judge no open before it happens");
    }
    if *exec_guard {
        enforced.missing(Protection::ExecGuard, "engines ask nobody before a program is executed");
    }
    let unkept = kept.iter().filter(|kept| !matches!(kept, Kept::Existing { .. })).count();
    if unkept > 0 {
        let what = format!("{unkept} protected names do not exist or are symbolic links, and can be made or replaced");
        enforced.missing(Protection::ReservedNames, what);
    }
    match memory {
        Some(bytes) if has_control_groups(process) => {
            enforced.holds(Protection::MemoryLimit, format!("{bytes} bytes (control group)"));
        }
        Some(_) => enforced.missing(Protection::MemoryLimit, "an ordinary user's engine has no control group for it"),
        None => {}
    }
    if let Some(pids) = pids {
        let how = if has_control_groups(process) { "control group" } else { "RLIMIT_NPROC of the user" };
        enforced.holds(Protection::ProcessLimit, format!("{pids} at most ({how})"));
    }
    match milli_cpus {
        Some(share) if has_control_groups(process) => {
            enforced.holds(Protection::CpuLimit, format!("{share} thousandths of a processor (control group)"));
        }
        Some(_) => enforced.missing(Protection::CpuLimit, "an ordinary user's engine has no control group for it"),
        None => {}
    }
    let watched = [
        (Protection::TimeLimit, wall_time.is_some()),
        (Protection::DiskLimit, disk.is_some() || files.is_some()),
        (Protection::OutputLimit, output.is_some()),
    ];
    for (protection, _) in watched.into_iter().filter(|(_, asked)| *asked) {
        enforced.missing(protection, "an engine runs the bundle, and nobody watches it");
    }
    enforced
}

/// A path as the format holds it.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Path { path: path.to_owned() })
}

/// A plan is only ever no JSON because of a path.
fn unspeakable(plan: &Plan) -> Error {
    let view = plan.view.iter().map(|entry| entry.path());
    let masks = plan.masks.iter().map(|mask| &mask.path);
    let kept = plan.kept.iter().map(Kept::path);
    let others = plan
        .workspace
        .iter()
        .chain(&plan.channels)
        .chain(&plan.pins)
        .chain(&plan.exec_deny)
        .chain(&plan.watched)
        .chain(&plan.roots)
        .chain(&plan.links);
    let path = view.chain(masks).chain(kept).chain(others).find(|path| path.to_str().is_none());
    Error::Path { path: path.cloned().unwrap_or_default() }
}
