//! A plan out of a configuration. Nothing is dropped: what was read is written again, and every difference is an error.

use super::{
    Error, PLAN, Process,
    compare::difference,
    mounts::{OWN, Written},
    write::config,
};
use crate::{
    plan::{Access, Kept, Limits, Masked, Mount, Net, Plan},
    view,
};
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Reads the plan and the process of a configuration. With the annotation [`PLAN`] it is the plan that was written, and the rest of the configuration
/// has to say the same. Without, it is the plan that the words alone stand for: what is masked is looked at on the host
/// to tell files from directories, no pattern is left, and nothing is missing by permission.
///
/// What lies in the root file system of the bundle is not looked at. A plan shows nothing of it.
///
/// # Errors
/// [`Error::Foreign`], which names the first place where the configuration says what a plan cannot, or leaves out what
/// every plan has; [`Error::Format`] for an annotation that is no plan.
pub fn from_spec(spec: &Spec) -> Result<(Plan, Process), Error> {
    read(&serde_json::to_value(spec).map_err(Error::Format)?)
}

/// As [`from_spec`], from the text of a `config.json`. A [`Spec`] forgets keys that its library does not know; here they
/// are errors like everything else that a plan cannot say.
///
/// # Errors
/// As [`from_spec`], and [`Error::Format`] for a text that is not JSON.
pub fn from_config(text: &str) -> Result<(Plan, Process), Error> {
    read(&serde_json::from_str(text).map_err(Error::Format)?)
}

fn read(spec: &Value) -> Result<(Plan, Process), Error> {
    let annotation = spec["annotations"][PLAN].as_str();
    let (plan, process) = match annotation {
        Some(text) => (serde_json::from_str(text).map_err(Error::Format)?, process(spec)),
        None => words(spec),
    };
    let files: HashSet<&Path> = mounts(spec).filter(|mount| mount.file).map(|mount| Path::new(mount.path)).collect();
    let mut written = config(&plan, &process, |path| files.contains(path))?;
    if annotation.is_none() {
        let annotations = written["annotations"].as_object_mut();
        annotations.map(|annotations| annotations.remove(PLAN));
    }
    // A later minor version means the same by these words.
    if spec["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")) {
        written["ociVersion"] = spec["ociVersion"].clone();
    }
    match difference(spec, &written) {
        None => Ok((plan, process)),
        Some((at, why)) => Err(Error::Foreign { at, why }),
    }
}

/// What the words say by themselves, right or wrong.
pub(super) fn words(spec: &Value) -> (Plan, Process) {
    (plan(spec), process(spec))
}

fn process(spec: &Value) -> Process {
    let process = &spec["process"];
    let host = |mappings: &Value| number(&mappings[0]["hostID"]).and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    Process {
        arguments: strings(&process["args"]).map(str::to_owned).collect(),
        environment: strings(&process["env"]).map(str::to_owned).collect(),
        directory: process["cwd"].as_str().unwrap_or_default().into(),
        user: host(&spec["linux"]["uidMappings"]),
        group: host(&spec["linux"]["gidMappings"]),
    }
}

/// The plan that the words stand for, as far as they stand for one.
fn plan(spec: &Value) -> Plan {
    let linux = &spec["linux"];
    let mut plan = Plan {
        view: Vec::new(),
        workspace: None,
        masks: Vec::new(),
        replaced: Vec::new(),
        git_history: None,
        channels: Vec::new(),
        strangers: false,
        kept: Vec::new(),
        pins: Vec::new(),
        deny_read: Vec::new(),
        deny_read_strict: false,
        protect: Vec::new(),
        exec_deny: Vec::new(),
        watched: Vec::new(),
        links: Vec::new(),
        denied: Vec::new(),
        surveyed: SystemTime::UNIX_EPOCH,
        roots: Vec::new(),
        hostname: spec["hostname"].as_str().unwrap_or_default().to_owned(),
        net: Net::None,
        limits: limits(spec),
        exec_guard: false,
        allow_missing: BTreeSet::new(),
        uncovered: Vec::new(),
        warnings: Vec::new(),
    };
    for mount in mounts(spec).filter(|mount| !OWN.contains(&mount.path)) {
        place(&mut plan, &mount);
    }
    let masked = view::PROC_MASKED.map(|file| format!("/{file}"));
    for path in strings(&linux["maskedPaths"]).filter(|path| !masked.iter().any(|own| own == path)) {
        plan.masks.push(Masked { path: path.into(), directory: Path::new(path).is_dir() });
    }
    let kept = strings(&linux["readonlyPaths"]).filter(|path| !path.starts_with("/proc/") && !own_device(path));
    plan.kept.extend(kept.map(|path| Kept::Existing { path: path.into() }));
    plan
}

/// What a mount is for shows in what it changes: a bind that leaves everything as it is around it can only be a pin.
fn place(plan: &mut Plan, mount: &Written<'_>) {
    let path = PathBuf::from(mount.path);
    let access = if mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
    if mount.private {
        plan.view.push(Mount::Private { path, access });
        return;
    }
    let around = super::mounts::around(plan, &path);
    let same = matches!(around, Some(Mount::Bind { access: around, .. }) if *around == access);
    let forbids = mount.no_exec && !plan.exec_deny.iter().any(|above| path.starts_with(above));
    match (same, forbids) {
        (true, true) => plan.exec_deny.push(path),
        (true, false) => plan.pins.push(path),
        (false, _) => {
            plan.exec_deny.extend(forbids.then(|| path.clone()));
            plan.view.push(Mount::Bind { path, access });
        }
    }
}

fn limits(spec: &Value) -> Limits {
    let resources = &spec["linux"]["resources"];
    let rlimit = |kind: &str| {
        let mut all = spec["process"]["rlimits"].as_array().into_iter().flatten();
        all.find(|limit| limit["type"] == kind).and_then(|limit| number(&limit["hard"]))
    };
    let tmp = mounts(spec).filter(|mount| mount.path == "/tmp").find_map(|mount| mount.size?.parse().ok());
    Limits {
        memory: number(&resources["memory"]["limit"]),
        pids: number(&resources["pids"]["limit"]).or_else(|| rlimit("RLIMIT_NPROC")),
        cpu_time: rlimit("RLIMIT_CPU").map(Duration::from_secs),
        open_files: rlimit("RLIMIT_NOFILE"),
        tmp,
        ..Limits::default()
    }
}

fn mounts(spec: &Value) -> impl Iterator<Item = Written<'_>> {
    spec["mounts"].as_array().into_iter().flatten().filter_map(Written::new)
}

fn own_device(path: &str) -> bool {
    path == "/dev" || view::DEVICES.iter().any(|device| path.strip_prefix("/dev/") == Some(device))
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64()
}
