//! The mount view as a list of mounts, each on its own path. An engine carries them out in order and knows no more than
//! what stands there, so what a sandbox gets by cloning a finished view is worked out here: what each mount inherits.

use super::{Error, write::text};
use crate::plan::{Access, Kept, Mount, Plan};
use serde_json::{Value, json};
use std::{collections::HashSet, path::Path};

/// Places that every sandbox has of its own.
pub(super) const OWN: [&str; 6] = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/tmp", "/var/tmp"];

/// `mounts`. A file is told apart because engines refuse the options for what is mounted in a directory on it, and a
/// directory without them would leave that as it is on the host.
pub(super) fn mounts(plan: &Plan, is_file: impl Fn(&Path) -> bool) -> Result<Vec<Value>, Error> {
    let tmpfs = |place: &str, mode: &str| {
        let size = plan.limits.tmp.map_or_else(|| "50%".into(), |bytes| bytes.to_string());
        mount("tmpfs", "tmpfs", place, &["nosuid", "nodev", mode, &format!("size={size}")])
    };
    let mut mounts = vec![
        mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"]),
        mount("devpts", "devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        tmpfs("/dev/shm", "mode=1777"),
        tmpfs("/tmp", "mode=1777"),
        tmpfs("/var/tmp", "mode=1777"),
    ];
    for path in places(plan) {
        let place = text(path)?;
        mounts.push(match at(plan, path) {
            Some(Mount::Private { .. }) => tmpfs(&place, "mode=700"),
            _ => mount("bind", &place, &place, &Flags::of(plan, path).options(is_file(path))),
        });
    }
    Ok(mounts)
}

fn mount(kind: &str, source: &str, place: &str, options: &[&str]) -> Value {
    json!({"type": kind, "source": source, "destination": place, "options": options})
}

/// Every path that becomes a mount point, shallow ones first and then by name: the same mounts are always in the same order.
fn places(plan: &Plan) -> Vec<&Path> {
    let view = plan.view.iter().filter(|entry| mounts_something(entry)).map(|entry| entry.path().as_path());
    let inside = plan.pins.iter().chain(&plan.exec_deny).map(|path| path.as_path());
    let inside = inside.filter(|path| shows(plan, path));
    let mut seen = HashSet::new();
    let mut places: Vec<&Path> = view.chain(inside).filter(|path| seen.insert(*path)).collect();
    places.sort_by_key(|path| (path.components().count(), *path));
    places
}

/// Links, and private directories that stay empty, are part of the root file system.
fn mounts_something(entry: &Mount) -> bool {
    matches!(entry, Mount::Bind { .. } | Mount::Private { access: Access::ReadWrite, .. })
}

/// The mount of the view that shows `path`: the deepest, and of several at one place the last.
pub(super) fn around<'plan>(plan: &'plan Plan, path: &Path) -> Option<&'plan Mount> {
    let shows = plan.view.iter().filter(|entry| mounts_something(entry) && path.starts_with(entry.path()));
    shows.max_by_key(|entry| entry.path().components().count())
}

/// Whether what is inside at `path` is the host's.
pub(super) fn shows(plan: &Plan, path: &Path) -> bool {
    matches!(around(plan, path), Some(Mount::Bind { .. }))
}

fn at<'plan>(plan: &'plan Plan, path: &Path) -> Option<&'plan Mount> {
    around(plan, path).filter(|entry| entry.path() == path)
}

/// What of a mount is taken away.
struct Flags {
    read_only: bool,
    no_exec: bool,
}

impl Flags {
    fn options(&self, file: bool) -> Vec<&'static str> {
        let mut options = vec![if file { "bind" } else { "rbind" }, "rprivate", "nosuid", "nodev"];
        options.extend(["ro"].iter().filter(|_| self.read_only));
        options.extend(["noexec"].iter().filter(|_| self.no_exec));
        if !file {
            options.extend(["rnosuid", "rnodev"]);
            options.extend(["rro"].iter().filter(|_| self.read_only));
            options.extend(["rnoexec"].iter().filter(|_| self.no_exec));
        }
        options
    }

    /// Also what is above it: a protected or forbidden directory is that as a whole, with what is mounted in it.
    fn of(plan: &Plan, path: &Path) -> Self {
        let kept = |kept: &Kept| matches!(kept, Kept::Existing { path: above } if path.starts_with(above));
        Self {
            read_only: matches!(around(plan, path), Some(Mount::Bind { access: Access::ReadOnly, .. }))
                || plan.kept.iter().any(kept),
            no_exec: plan.exec_deny.iter().any(|above| path.starts_with(above)),
        }
    }
}

/// A mount as it was written, read for what it does to the view.
pub(super) struct Written<'spec> {
    pub(super) path: &'spec str,
    pub(super) private: bool,
    pub(super) read_only: bool,
    pub(super) no_exec: bool,
    pub(super) file: bool,
    pub(super) size: Option<&'spec str>,
}

impl<'spec> Written<'spec> {
    pub(super) fn new(mount: &'spec Value) -> Option<Self> {
        let options: Vec<&str> = mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Some(Self {
            path: mount["destination"].as_str()?,
            private: mount["type"] == "tmpfs",
            read_only: options.contains(&"ro") || options.contains(&"rro"),
            no_exec: options.contains(&"noexec") || options.contains(&"rnoexec"),
            file: options.contains(&"bind"),
            size: options.iter().find_map(|option| option.strip_prefix("size=")),
        })
    }
}
