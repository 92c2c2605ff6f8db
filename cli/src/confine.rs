//! From a policy to the sandbox the runtime is asked for.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdpoint_approval_web::plan::Digest;
use holdpoint_policy::{Loss, SandboxMode, paths};
use holdpoint_runtime::{Access, Builder, Limits, Opening, Plan, Protection, SYSTEM, Sandbox};
use nix::unistd::{getegid, geteuid};

use crate::error::Error;
use crate::inner::{self, Here, Inner, Told};
use crate::load::Loaded;
use crate::places::resolved;
use crate::process::not_started;
use crate::report;
use crate::toolchains;

/// What a sandbox is made of, before the runtime looks at the host.
#[derive(Debug)]
pub(crate) struct Confinement {
    /// The request to the runtime.
    pub(crate) builder: Builder,
    /// Every host path that is visible inside, without symbolic links.
    visible: Vec<PathBuf>,
    /// The policy that judges what runs inside, if it does.
    judged_by: Option<String>,
    /// What may keep somebody waiting for the start.
    slow: Option<&'static str>,
    /// What the person should know: paths of the profile that do not exist.
    pub(crate) warnings: Vec<String>,
}

const HISTORY: &str = "looking through the history of git for what is denied; next time only what is new is looked at";

impl Confinement {
    /// Start the sandbox, in the one that was begun if there is one.
    ///
    /// # Errors
    /// [`Error::Unenforceable`] when it cannot be had as asked for.
    pub(crate) fn start(&self, opening: Option<Opening>) -> Result<Sandbox, Error> {
        self.patiently(|| self.builder.start_in(opening.unwrap_or_else(Opening::begin))).map_err(not_started)
    }

    /// Makes a plan or a sandbox, and says what takes so long when it does.
    pub(crate) fn patiently<T>(&self, make: impl FnOnce() -> T) -> T {
        match self.slow {
            Some(what) => report::while_waiting(what, make),
            None => make(),
        }
    }

    /// A digest of all that the sandbox is made of: with another one, another sandbox would be made. What the runtime adds to
    /// its request is part of it without being named here.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(format!("{:?} {:?}", self.builder, self.judged_by).as_bytes())
    }

    /// Says how long a hold of something inside waits for its decision, and who is told.
    pub(crate) fn judge_inside(&mut self, loaded: &Loaded, ttl: Duration, told: Arc<dyn Told>) {
        if loaded.policy.exec_guard.value {
            self.builder.on_exec(Inner::new(loaded.clone(), ttl, told));
            self.judged_by = Some(loaded.policy_digest());
        }
    }

    /// Whether a host path can be seen inside (a denied one is still a visible place).
    pub(crate) fn shows(&self, path: &Path) -> bool {
        self.visible.iter().any(|root| path.starts_with(root))
    }
}

/// The sandbox of a policy; `None` when the profile says `sandbox = "none"`.
///
/// # Errors
/// [`Error::Unenforceable`] for a mode that cannot be had yet, [`Error::Setting`] when Holdpoint's own state would be
/// visible inside.
pub(crate) fn confinement(loaded: &Loaded) -> Result<Option<Confinement>, Error> {
    let mode = loaded.policy.sandbox.value;
    match mode {
        SandboxMode::None if loaded.policy.exec_guard.value => {
            return Err(Error::Unenforceable {
                what: format!("exec_guard = true ({})", loaded.policy.exec_guard.origin),
                why: "what a command executes can be judged only in a sandbox, and the profile says sandbox = \"none\""
                    .into(),
                next: "use --sandbox workspace-write, or take exec_guard out of the profile".into(),
            });
        }
        SandboxMode::None if loaded.policy.deny_read_strict.value && !loaded.policy.deny_read.is_empty() => {
            return Err(Error::Unenforceable {
                what: format!("deny_read_strict = true ({})", loaded.policy.deny_read_strict.origin),
                why: "what a command opens can be judged only in a sandbox, and the profile says sandbox = \"none\""
                    .into(),
                next: "use --sandbox workspace-write, or take deny_read_strict out of the profile".into(),
            });
        }
        SandboxMode::None if loaded.policy.deny_read_git_history.value && !loaded.policy.deny_read.is_empty() => {
            return Err(Error::Unenforceable {
                what: format!("deny_read_git_history = true ({})", loaded.policy.deny_read_git_history.origin),
                why:
                    "a history can be hidden only from what runs in a sandbox, and the profile says sandbox = \"none\""
                        .into(),
                next: "use --sandbox workspace-write, or take deny_read_git_history out of the profile".into(),
            });
        }
        SandboxMode::None => return Ok(None),
        SandboxMode::WorkspaceWriteAndNet => {
            return Err(Error::Unenforceable {
                what: format!("sandbox = \"{mode}\" ({})", loaded.policy.sandbox.origin),
                why: "there is no safe path to the network yet, and sharing this host's network would let a command \
                      reach the approval page"
                    .into(),
                next: "use --sandbox workspace-write, which closes the network".into(),
            });
        }
        _ => {}
    }
    let confinement = build(loaded, mode);
    let state = resolved(&loaded.places.state);
    if let Some(root) = confinement.visible.iter().find(|root| state.starts_with(root) || root.starts_with(&state)) {
        let why = format!("it would be visible inside the sandbox, which shows {}", root.display());
        let next = "set XDG_STATE_HOME to a directory outside of it, or choose a smaller workspace with --workspace";
        return Err(Error::setting(&loaded.places.state, why, next));
    }
    Ok(Some(confinement))
}

/// What of the workspace can be read and changed at this moment by whoever may write in it, whether or not there is a sandbox.
///
/// # Errors
/// As a sandbox that cannot be planned.
pub(crate) fn plan_of_edits(loaded: &Loaded) -> Result<Plan, Error> {
    build(loaded, SandboxMode::WorkspaceWrite).builder.plan().map_err(not_started)
}

fn build(loaded: &Loaded, mode: SandboxMode) -> Confinement {
    let (policy, places, root) = (&loaded.policy, &loaded.places, &loaded.workspace.root);
    let access = if mode.writes_workspace() { Access::ReadWrite } else { Access::ReadOnly };
    let mut builder = Sandbox::builder();
    builder.system().workspace(root, access);
    if let Some(name) = loaded.workspace.other_name(std::env::var_os("PWD")) {
        builder.alias(name);
    }
    // A home inside the workspace is part of the work; a private one would hide it.
    if !places.home.starts_with(root) {
        builder.home(&places.home).git_config(true);
    }
    let mut visible: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    visible.push(root.clone());
    let mut warnings: Vec<String> =
        closed(root, access).map(|(why, next)| format!("WARNING: {why}; {next}")).into_iter().collect();
    for path in toolchains::find(&places.home, |name| std::env::var_os(name)) {
        builder.toolchain(&path);
        visible.push(resolved(&path));
    }
    let readable = policy.readable.iter().map(|entry| (entry, Access::ReadOnly));
    // In read-only mode nothing of the host is writable, whatever a profile adds.
    for (entry, access) in readable.chain(policy.writable.iter().map(|entry| (entry, access))) {
        let path = places.expand(&entry.value);
        if !path.exists() {
            warnings.push(format!("{} ({}) does not exist and is not shown", path.display(), entry.origin));
            continue;
        }
        match access {
            Access::ReadOnly => builder.read_only(&path),
            Access::ReadWrite => builder.read_write(&path),
        };
        visible.push(resolved(&path));
    }
    for entry in &policy.deny_read {
        let expanded = |glob: &String| expanded_pattern(&places.home, glob);
        builder.deny_read_except(expanded(&entry.value.glob), entry.value.except.iter().map(expanded));
    }
    builder.deny_read_strict(policy.deny_read_strict.value);
    if policy.deny_read_git_history.value {
        builder.deny_read_git_history(places.state.join("history"));
    }
    // What a file above the workspace protects may lie beside it, where nothing can be changed anyway.
    for entry in &policy.protect {
        if visible.iter().any(|shown| root.join(&entry.value).starts_with(shown)) {
            builder.protect(&entry.value);
        }
    }
    // Whatever decides about the next run must not be written by this one.
    for own in [&loaded.user_config, &places.config] {
        let own = resolved(own);
        if visible.iter().any(|shown| own.starts_with(shown)) {
            builder.protect(own.to_string_lossy());
        }
    }
    for entry in &policy.exec_deny {
        let path = places.expand(&entry.value);
        if path.exists() {
            builder.exec_deny(path);
        }
    }
    for loss in &policy.allow_missing {
        builder.allow_missing(protection(loss.value));
    }
    builder.limits(limits(policy));
    let slow = (policy.deny_read_git_history.value && !policy.deny_read.is_empty()).then_some(HISTORY);
    let mut confinement = Confinement { builder, visible, judged_by: None, slow, warnings };
    confinement.judge_inside(loaded, inner::HOLD, Arc::<Here>::default());
    confinement
}

/// Why root inside cannot do in the workspace what the mode allows, and what to do: without capabilities he is bound by the modes of
/// what belongs to others, as everybody is.
pub(crate) fn closed(root: &Path, access: Access) -> Option<(String, String)> {
    let found = root.metadata().ok().filter(|found| geteuid().is_root() && found.uid() != 0)?;
    let own = if found.gid() == getegid().as_raw() { found.mode() >> 3 } else { found.mode() };
    let (owner, group) = (found.uid(), found.gid());
    let refused = match own & 0o7 {
        open if open & 0o5 != 0o5 => "read or changed",
        open if open & 0o2 == 0 && access == Access::ReadWrite => "changed",
        _ => return None,
    };
    let why = format!(
        "the workspace {} belongs to user {owner}, and root has no power over others' files inside, so it cannot be {refused}",
        root.display()
    );
    let next = format!(
        "run it as that user, with HOME set to a directory of theirs: \
         setpriv --reuid={owner} --regid={group} --clear-groups holdpoint …"
    );
    Some((why, next))
}

/// The wall that a profile's word names.
fn protection(loss: Loss) -> Protection {
    match loss {
        Loss::Namespaces => Protection::Namespaces,
        Loss::Landlock => Protection::Landlock,
        Loss::LateMasks => Protection::LateMasks,
        Loss::ProcessLimit => Protection::ProcessLimit,
        Loss::MemoryLimit => Protection::MemoryLimit,
        Loss::ExecGuard => Protection::ExecGuard,
        Loss::StrictReads => Protection::StrictReads,
        Loss::CpuLimit => Protection::CpuLimit,
        Loss::DiskLimit => Protection::DiskLimit,
    }
}

fn limits(policy: &holdpoint_policy::Policy) -> Limits {
    let limits = &policy.limits;
    Limits {
        memory: limits.memory.as_ref().map(|limit| limit.value),
        pids: limits.pids.as_ref().map(|limit| limit.value),
        cpu_time: limits.cpu_time.as_ref().map(|limit| limit.value),
        open_files: limits.open_files.as_ref().map(|limit| limit.value),
        tmp: limits.tmp.as_ref().map(|limit| limit.value),
        milli_cpus: limits.cpus.as_ref().map(|limit| limit.value),
        disk: limits.disk.as_ref().map(|limit| limit.value),
        files: limits.files.as_ref().map(|limit| limit.value),
        output: limits.output.as_ref().map(|limit| limit.value),
        wall_time: limits.wall_time.as_ref().map(|limit| limit.value),
    }
}

/// A pattern with `~/` replaced by the home directory, whose own name is taken literally.
fn expanded_pattern(home: &Path, pattern: &str) -> String {
    match pattern.strip_prefix("~/") {
        None => pattern.to_owned(),
        Some(rest) => format!("{}/{rest}", paths::literal(&home.to_string_lossy())),
    }
}

#[cfg(test)]
mod tests {
    use super::{expanded_pattern, protection};
    use holdpoint_policy::Loss;
    use std::path::Path;

    #[test]
    fn a_profile_and_the_report_name_a_protection_alike() {
        for loss in Loss::ALL {
            assert_eq!(protection(loss).to_string(), loss.word());
        }
    }

    #[test]
    fn a_home_directory_in_a_pattern_is_taken_literally() {
        assert_eq!(expanded_pattern(Path::new("/home/a"), "~/.aws/**"), "/home/a/.aws/**");
        assert_eq!(expanded_pattern(Path::new("/home/[a]*"), "~/x"), "/home/[[]a[]][*]/x");
        assert_eq!(expanded_pattern(Path::new("/home/a"), "**/.env"), "**/.env");
    }
}
