//! Where this process may make a control group: the group above or around its own that it may fill and divide (cgroups(7)).

use super::Controller;
use crate::proc;
use nix::unistd::{AccessFlags, access};
use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A directory in which a group with a controller can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// Below it the controllers of version 2 are switched on.
    Unified(PathBuf),
    /// A hierarchy of version 1 that has this controller.
    Single(PathBuf),
}

/// What `/proc/self` says about control groups, read once.
#[derive(Debug)]
pub(crate) struct Hierarchies {
    groups: String,
    mounts: String,
}

impl Hierarchies {
    pub(crate) fn read() -> Self {
        let read = |path| proc::text(path).unwrap_or_default();
        Self { groups: read("/proc/self/cgroup"), mounts: read("/proc/self/mountinfo") }
    }

    /// Where a group with `controller` can be made: version 2 where it has the controller, version 1 otherwise.
    pub(crate) fn parent(&self, controller: Controller) -> Option<Parent> {
        self.unified(controller).map(Parent::Unified).or_else(|| self.single(controller).map(Parent::Single))
    }

    /// A group that holds processes cannot hand out controllers, unless it is the root: so ours is usually made beside us, in
    /// the nearest group above that is ours to divide. What is above a group that is not, never is.
    fn unified(&self, controller: Controller) -> Option<PathBuf> {
        let (mount, own) = self.own_unified()?;
        let ours = |group: &&Path| group.starts_with(&mount) && divisible(group);
        own.ancestors().take_while(ours).find(|group| hands_out(group, controller)).map(Path::to_owned)
    }

    /// Where version 2 is mounted, and this process's group there.
    pub(crate) fn own_unified(&self) -> Option<(PathBuf, PathBuf)> {
        let own = self.groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.place(|kind, _| kind == "cgroup2", own)
    }

    fn single(&self, controller: Controller) -> Option<PathBuf> {
        let has = |list: &str| list.split(',').any(|name| name == controller.name());
        let own = self.groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            fields.next().filter(|list| has(list)).and(fields.next())
        })?;
        let (_, own) = self.place(|kind, options| kind == "cgroup" && has(options), own)?;
        writable(&own).then_some(own)
    }

    /// The mount of a hierarchy and the directory of the group `own` in it. A mount shows a hierarchy from some group on, and
    /// a group outside of that cannot be named.
    fn place(&self, wanted: impl Fn(&str, &str) -> bool, own: &str) -> Option<(PathBuf, PathBuf)> {
        self.mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut right = right.split(' ');
            let (kind, options) = (right.next()?, right.nth(1)?);
            let mut left = left.split(' ').skip(3);
            let (root, mount) = (left.next()?, PathBuf::from(left.next()?));
            let below = Path::new(own).strip_prefix(root).ok()?;
            let named = !below.as_os_str().as_bytes().starts_with(b"..");
            // Without the slash that joining nothing would add.
            (wanted(kind, options) && named).then(|| (mount.clone(), mount.join(below).components().collect()))
        })
    }
}

fn writable(path: &Path) -> bool {
    access(path, AccessFlags::W_OK).is_ok()
}

/// Whether this user may make groups in it and move processes below it: that is what delegation gives.
fn divisible(group: &Path) -> bool {
    writable(group) && ["cgroup.procs", "cgroup.subtree_control"].iter().all(|file| writable(&group.join(file)))
}

/// Whether groups made in it have the controller, or can have it once it is switched on.
fn hands_out(group: &Path, controller: Controller) -> bool {
    let is_root = || !group.join("cgroup.type").exists();
    let is_empty = || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty());
    lists(group, "cgroup.subtree_control", controller)
        || (lists(group, "cgroup.controllers", controller) && (is_root() || is_empty()))
}

/// Gives groups made in `parent` the controller.
pub(super) fn switch_on(parent: &Path, controller: Controller) -> io::Result<()> {
    const CONTROL: &str = "cgroup.subtree_control";
    if lists(parent, CONTROL, controller) {
        return Ok(());
    }
    fs::write(parent.join(CONTROL), format!("+{}", controller.name()))
}

fn lists(group: &Path, file: &str, controller: Controller) -> bool {
    let list = fs::read_to_string(group.join(file)).unwrap_or_default();
    list.split_ascii_whitespace().any(|name| name == controller.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_the_mount_that_shows_them() {
        let found = Hierarchies {
            groups: "4:memory:/jobs/7\n1:cpu,cpuacct:/\n0::/user.slice/me\n".into(),
            mounts: "35 31 0:32 /jobs /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
                .into(),
        };
        let unified = PathBuf::from("/sys/fs/cgroup/unified");
        assert_eq!(found.own_unified(), Some((unified.clone(), unified.join("user.slice/me"))));
        let memory = found.place(|kind, options| kind == "cgroup" && options.contains("memory"), "/jobs/7");
        assert_eq!(memory.unwrap().1, PathBuf::from("/sys/fs/cgroup/memory/7"));
        let outside = found.place(|kind, options| kind == "cgroup" && options.contains("memory"), "/other");
        assert_eq!(outside, None);
        let nothing = Hierarchies { groups: String::new(), mounts: String::new() };
        assert_eq!((nothing.own_unified(), nothing.parent(Controller::Memory)), (None, None));
    }
}
