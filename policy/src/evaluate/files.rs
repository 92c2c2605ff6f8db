//! Judging reads and writes of files, whether by a patch or by an agent's own tools.

use super::by_approval;
use crate::action::Edit;
use crate::deny_read::DenyRead;
use crate::mode::{ApprovalMode, SandboxMode};
use crate::paths;
use crate::policy::{Policy, Sourced};
use crate::verdict::{Judgement, Reason, Verdict};
use std::path::{Component, Path, PathBuf};

/// What every sandbox can read outside the workspace.
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"];

/// Agents' tools read host paths; these parts of the system are not the same seen from inside, or hold secrets.
const SYSTEM_SECRETS: [&str; 4] = ["/etc/shadow", "/etc/gshadow", "/etc/ssl/private", "/etc/sudoers"];

/// A patch. Nothing outside the workspace, nothing protected, nothing denied; then by the approval mode.
pub(super) fn edit(policy: &Policy, edit: &Edit) -> Judgement {
    let base = by_approval(policy, ApprovalMode::Suggest, "every file edit");
    edit.paths.iter().fold(base, |judged, path| judged.tighten(written(policy, path, Some(&edit.workspace))))
}

/// One file written whole by an agent's tool; an absolute path is fine where `writable_paths` opens it.
pub(super) fn write(policy: &Policy, path: &Path) -> Judgement {
    by_approval(policy, ApprovalMode::Suggest, "every file edit").tighten(written(policy, path, None))
}

/// A read of one file. Reads of what the sandbox shows go ahead in every mode.
pub(super) fn read(policy: &Policy, path: &Path) -> Judgement {
    if let Some(reason) = denied_read(policy, path) {
        return Judgement::of(reason);
    }
    let clean = paths::lexical(path);
    let open = policy.sandbox.value == SandboxMode::None
        || !leaves(&clean)
        || below_any(&clean, SYSTEM) && !below_any(&clean, SYSTEM_SECRETS)
        || opened(&clean, &policy.readable)
        || opened(&clean, &policy.writable);
    let (verdict, text) = match open {
        true => (Verdict::Allow, "the sandbox shows this file".to_owned()),
        false => (Verdict::Ask, "this file is outside the workspace, where no command could see it".to_owned()),
    };
    Judgement::of(Reason::new(verdict, sandbox_rule(policy), &policy.sandbox.origin, text))
}

/// What forbids writing this path whatever the approval mode; with a workspace, only what lies in that may be written.
fn written(policy: &Policy, path: &Path, workspace: Option<&Path>) -> Judgement {
    let clean = paths::lexical(path);
    let shown = path.display();
    let mut judged = Judgement::default();
    let mut deny = |rule: String, origin: &str, text: String| {
        let reason = Reason::new(Verdict::Deny, rule, origin, text);
        judged = std::mem::take(&mut judged).tighten(Judgement::of(reason));
    };
    if policy.sandbox.value == SandboxMode::ReadOnly {
        deny(sandbox_rule(policy), &policy.sandbox.origin, "nothing in the workspace may be written".to_owned());
    }
    let free = policy.sandbox.value == SandboxMode::None;
    let permitted = workspace.is_none() && (free || opened(&clean, &policy.writable));
    if leaves(&clean) && !permitted {
        deny(sandbox_rule(policy), &policy.sandbox.origin, format!("`{shown}` is outside the workspace"));
    }
    if let Some(name) = paths::protected(&clean) {
        deny(format!("protected: {name}"), crate::policy::BUILT_IN, format!("`{shown}` stays as it is in every mode"));
    }
    let whole = workspace.map(|workspace| workspace.join(&clean));
    let guard = |protect: &&Sourced<String>| {
        let protect = Path::new(&protect.value);
        starts_with_folded(&clean, protect) || whole.as_ref().is_some_and(|path| starts_with_folded(path, protect))
    };
    if let Some(protect) = policy.protect.iter().find(guard) {
        deny(format!("protect_paths: {}", protect.value), &protect.origin, format!("`{shown}` is protected"));
    }
    if let Some(reason) = denied_read(policy, path).or_else(|| denied_place(policy, whole.as_deref()?)) {
        deny(reason.rule, &reason.origin, format!("`{shown}` is denied, so it is not writable either"));
    }
    judged
}

fn denied_read(policy: &Policy, path: &Path) -> Option<Reason> {
    policy.deny_read.iter().find(|pattern| pattern.value.covers(path)).map(|pattern| unreadable(pattern, path))
}

/// As [`denied_read`], by the patterns that name a place of the machine.
fn denied_place(policy: &Policy, whole: &Path) -> Option<Reason> {
    let denies = |pattern: &&Sourced<DenyRead>| pattern.value.is_absolute() && pattern.value.covers(whole);
    policy.deny_read.iter().find(denies).map(|pattern| unreadable(pattern, whole))
}

fn unreadable(pattern: &Sourced<DenyRead>, path: &Path) -> Reason {
    let text = format!("`{}` cannot be read here", path.display());
    Reason::new(Verdict::Deny, format!("deny_read_paths: {}", pattern.value.glob), &pattern.origin, text)
}

fn sandbox_rule(policy: &Policy) -> String {
    format!("sandbox = \"{}\"", policy.sandbox.value)
}

/// Whether a path (already lexically clean) is not one of the workspace.
fn leaves(path: &Path) -> bool {
    !matches!(path.components().next(), None | Some(Component::Normal(_)))
}

fn below_any<const N: usize>(path: &Path, roots: [&str; N]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

/// Whether one of the paths opens this one. `~/` is not known here, so it stands for any home that can be told by its place.
fn opened(path: &Path, opened: &[Sourced<String>]) -> bool {
    opened.iter().any(|open| match open.value.strip_prefix("~/") {
        None => path.starts_with(&open.value),
        Some(rest) => {
            let below_home = path.strip_prefix("/root").ok().or_else(|| {
                let mut parts = path.strip_prefix("/home").ok()?.components();
                parts.next()?;
                Some(parts.as_path())
            });
            below_home.is_some_and(|below| below.starts_with(rest))
        }
    })
}

/// `starts_with` without regard to case, for filesystems that have none.
fn starts_with_folded(path: &Path, start: &Path) -> bool {
    let fold = |path: &Path| PathBuf::from(path.to_string_lossy().to_lowercase());
    fold(path).starts_with(fold(start))
}
