//! A plan as an OCI runtime configuration, for engines that want one (opencontainers/runtime-spec, `config.md`).
//!
//! The format says less than a plan does. What it cannot say stands in [`Exported::lost`]: read it before trusting the
//! configuration as much as a sandbox of this crate.

use std::path::Path;

use nix::unistd::{getegid, geteuid};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxIdMappingBuilder, LinuxMemoryBuilder, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxPidsBuilder, LinuxResourcesBuilder, MountBuilder, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::plan::{Access, Kept, Limits, Mount, Plan};

/// A configuration, and what of the plan is not in it.
#[derive(Debug)]
pub struct Exported {
    /// What an OCI runtime reads as `config.json`.
    pub spec: Spec,
    /// One line for each protection of the plan that the format cannot express.
    pub lost: Vec<String>,
}

/// What to run in the exported sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The program and its arguments.
    pub arguments: &'a [String],
    /// The environment, as `NAME=value`.
    pub environment: &'a [String],
    /// The working directory.
    pub directory: &'a Path,
    /// An empty directory of the bundle to mount the view on.
    pub root: &'a Path,
}

/// Why a plan cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The format holds text, and this path is none.
    #[error("{path:?} is not valid UTF-8, and an OCI configuration cannot name it")]
    Path {
        /// The path.
        path: std::path::PathBuf,
    },
    /// The library refused a value.
    #[error("cannot write the OCI configuration")]
    Spec(#[from] OciSpecError),
}

/// Writes `plan` as an OCI runtime configuration that runs `run` as the calling user.
///
/// # Errors
/// [`ExportError::Path`] for a path that is not text.
pub fn export(plan: &Plan, run: Run<'_>) -> Result<Exported, ExportError> {
    let spec = SpecBuilder::default()
        .version("1.2.0")
        .hostname(plan.hostname.clone())
        .root(RootBuilder::default().path(run.root).readonly(true).build()?)
        .mounts(mounts(plan)?)
        .process(process(&plan.limits, run)?)
        .linux(linux(plan)?)
        .build()?;
    Ok(Exported { spec, lost: lost(plan) })
}

fn mounts(plan: &Plan) -> Result<Vec<oci_spec::runtime::Mount>, ExportError> {
    let mount = |kind: &str, source: &Path, place: &Path, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        MountBuilder::default().typ(kind).source(source).destination(place).options(options).build()
    };
    let size = plan.limits.tmp.map(|bytes| format!("size={bytes}"));
    let private = |place: &Path, mode: &str| {
        let mut options = vec!["nosuid", "nodev", mode];
        options.extend(size.as_deref());
        mount("tmpfs", Path::new("tmpfs"), place, &options)
    };
    let mut mounts = vec![
        mount("proc", Path::new("proc"), Path::new("/proc"), &["nosuid", "noexec", "nodev"])?,
        mount(
            "tmpfs",
            Path::new("tmpfs"),
            Path::new("/dev"),
            &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"],
        )?,
        mount(
            "devpts",
            Path::new("devpts"),
            Path::new("/dev/pts"),
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        )?,
        private(Path::new("/dev/shm"), "mode=1777")?,
        private(Path::new("/tmp"), "mode=1777")?,
    ];
    for entry in &plan.view {
        mounts.push(match entry {
            Mount::Bind { path, access: Access::ReadOnly } => {
                mount("bind", path, path, &["rbind", "nosuid", "nodev", "rro"])?
            }
            Mount::Bind { path, access: Access::ReadWrite } => {
                mount("bind", path, path, &["rbind", "nosuid", "nodev"])?
            }
            // The format has no symlinks: what the link leads to stands in its place.
            Mount::Link { path, .. } => mount("bind", path, path, &["rbind", "nosuid", "nodev", "rro"])?,
            Mount::Private { path, access: Access::ReadOnly } => {
                mount("tmpfs", Path::new("tmpfs"), path, &["nosuid", "nodev", "ro"])?
            }
            Mount::Private { path, access: Access::ReadWrite } => private(path, "mode=700")?,
        });
    }
    for pin in &plan.pins {
        mounts.push(mount("bind", pin, pin, &["rbind", "nosuid", "nodev"])?);
    }
    Ok(mounts)
}

fn process(limits: &Limits, run: Run<'_>) -> Result<Process, ExportError> {
    let none = LinuxCapabilitiesBuilder::default()
        .bounding([])
        .effective([])
        .inheritable([])
        .permitted([])
        .ambient([])
        .build()?;
    let mut rlimits: Vec<PosixRlimit> = Vec::new();
    let seconds = limits.cpu_time.map(|time| time.as_secs().max(1));
    for (kind, limit) in [(PosixRlimitType::RlimitCpu, seconds), (PosixRlimitType::RlimitNofile, limits.open_files)] {
        if let Some(limit) = limit {
            rlimits.push(PosixRlimitBuilder::default().typ(kind).hard(limit).soft(limit).build()?);
        }
    }
    let user = UserBuilder::default().uid(geteuid().as_raw()).gid(getegid().as_raw()).build()?;
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args(run.arguments)
        .env(run.environment)
        .cwd(run.directory)
        .capabilities(none)
        .rlimits(rlimits)
        .no_new_privileges(true)
        .build()?;
    Ok(process)
}

fn linux(plan: &Plan) -> Result<Linux, ExportError> {
    let kinds = [
        LinuxNamespaceType::User,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
    ];
    let mut namespaces = Vec::new();
    for kind in kinds {
        namespaces.push(LinuxNamespaceBuilder::default().typ(kind).build()?);
    }
    let same = |id: u32| LinuxIdMappingBuilder::default().host_id(id).container_id(id).size(1_u32).build();
    let mut masked = Vec::new();
    for mask in &plan.masks {
        masked.push(text(&mask.path)?);
    }
    let mut kept = vec!["/proc/sys".to_owned(), "/proc/sysrq-trigger".to_owned(), "/proc/bus".to_owned()];
    for entry in &plan.kept {
        if let Kept::Existing { path } = entry {
            kept.push(text(path)?);
        }
    }
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .uid_mappings([same(geteuid().as_raw())?])
        .gid_mappings([same(getegid().as_raw())?])
        .rootfs_propagation("private")
        .masked_paths(masked)
        .readonly_paths(kept)
        .build()?;
    if plan.limits.memory.is_some() || plan.limits.pids.is_some() {
        let mut resources = LinuxResourcesBuilder::default();
        if let Some(bytes) = plan.limits.memory {
            resources = resources.memory(LinuxMemoryBuilder::default().limit(signed(bytes)).build()?);
        }
        if let Some(pids) = plan.limits.pids {
            resources = resources.pids(LinuxPidsBuilder::default().limit(signed(pids)).build()?);
        }
        linux.set_resources(Some(resources.build()?));
    }
    Ok(linux)
}

/// What has no word in the format.
fn lost(plan: &Plan) -> Vec<String> {
    let mut lost = vec![
        "the list of refused system calls: give the engine a seccomp profile".to_owned(),
        "Landlock, the second wall on files, signals and abstract sockets".to_owned(),
    ];
    let mut say = |count: usize, what: &str| {
        if count > 0 {
            lost.push(format!("{count} {what}"));
        }
    };
    let (absent, links) = plan.kept.iter().fold((0, 0), |(absent, links), entry| match entry {
        Kept::Absent { .. } => (absent + 1, links),
        Kept::Symlink { .. } => (absent, links + 1),
        Kept::Existing { .. } => (absent, links),
    });
    say(absent, "protected names that do not exist yet: they can be created");
    say(links, "protected symlinks: they can be replaced");
    say(plan.deny_read.len(), "patterns of denied files that appear later: only what exists now is masked");
    say(plan.exec_deny.len(), "programs that must not be executed: they can be");
    lost
}

fn text(path: &Path) -> Result<String, ExportError> {
    path.to_str().map(str::to_owned).ok_or_else(|| ExportError::Path { path: path.to_owned() })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    #[test]
    fn a_plan_becomes_a_configuration_that_says_what_it_lacks() {
        let workspace = tempfile::tempdir().unwrap();
        let root = workspace.path().canonicalize().unwrap();
        std::fs::write(root.join(".env"), "x").unwrap();
        std::fs::write(root.join("AGENTS.md"), "x").unwrap();
        let limits = Limits { memory: Some(1 << 30), open_files: Some(256), ..Limits::default() };
        let plan = Sandbox::builder()
            .system()
            .workspace(&root, Access::ReadWrite)
            .deny_read(".env")
            .limits(limits)
            .plan()
            .unwrap();
        let arguments = ["true".to_owned()];
        let run = Run { arguments: &arguments, environment: &[], directory: &root, root: Path::new("rootfs") };
        let exported = export(&plan, run).unwrap();
        let json = serde_json::to_value(&exported.spec).unwrap();
        assert!(json["linux"]["maskedPaths"].as_array().unwrap().contains(&serde_json::json!(root.join(".env"))));
        let kept = json["linux"]["readonlyPaths"].as_array().unwrap();
        assert!(kept.contains(&serde_json::json!(root.join("AGENTS.md"))));
        assert_eq!(json["process"]["noNewPrivileges"], true);
        assert_eq!(json["process"]["capabilities"]["effective"], serde_json::json!([]));
        assert_eq!(json["linux"]["resources"]["memory"]["limit"], 1 << 30);
        assert_eq!(json["linux"]["namespaces"].as_array().unwrap().len(), 7);
        let bound =
            json["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == serde_json::json!(root));
        assert!(!bound.unwrap()["options"].as_array().unwrap().contains(&"rro".into()));
        assert!(exported.lost.iter().any(|line| line.contains("do not exist yet")), "{:?}", exported.lost);
        assert!(exported.lost.iter().any(|line| line.contains("appear later")));
    }
}
