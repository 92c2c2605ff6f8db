//! What one command may do less than its sandbox: a Landlock layer of its own (landlock(7)) and lower resource limits
//! (setrlimit(2)). Both only take away: what the sandbox refuses stays refused.

use crate::{
    cell,
    enforced::Protection,
    error::{Error, Result},
    landlocked::{COMPLETE, HANDLED},
    plan::{Access, Mount, Plan},
    sys::{self, wire::UNCHANGED},
    view,
};
use landlock::{
    Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{Mode, SFlag, fstat},
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

/// Rights of one command below those of its sandbox; everything its sandbox may do by default.
#[derive(Debug)]
pub(crate) struct Rights {
    pub(crate) write: Option<Vec<PathBuf>>,
    pub(crate) read: Option<Vec<PathBuf>>,
    limits: [u64; 3],
}

impl Default for Rights {
    fn default() -> Self {
        Self { write: None, read: None, limits: [UNCHANGED; 3] }
    }
}

impl Rights {
    pub(crate) fn cpu_time(&mut self, time: Duration) {
        // Whole seconds, rounded up: a limit of zero would mean one of a second all the same.
        self.limits[0] = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    }

    pub(crate) fn open_files(&mut self, count: u64) {
        self.limits[1] = count;
    }

    pub(crate) fn file_size(&mut self, bytes: u64) {
        self.limits[2] = bytes;
    }

    /// In the order of [`RESOURCES`](crate::sys::wire::RESOURCES).
    /// Whether it takes a Landlock layer of the command's own.
    pub(crate) fn narrows_paths(&self) -> bool {
        self.read.is_some() || self.write.is_some()
    }

    pub(crate) fn limits(&self) -> [u64; 3] {
        self.limits
    }

    /// The ruleset that the command enters before it is executed, if its paths are narrowed. `root` is the
    /// root of what the command sees as the host names it: paths mean what they mean inside. A private `/tmp` is its own.
    pub(crate) fn layer(&self, plan: &Plan, root: &Path, private_tmp: bool) -> Result<Option<OwnedFd>> {
        if self.write.is_none() && self.read.is_none() {
            return Ok(None);
        }
        let abi = sys::landlock::abi();
        // Here nothing else stands between two commands: what an older ABI lacks would be a gap.
        if abi < COMPLETE {
            return Err(unsupported(&format!("ABI {COMPLETE} is needed (Linux 6.12), found {abi}")));
        }
        let own: Vec<PathBuf> = cell::PRIVATE.iter().filter(|_| private_tmp).map(PathBuf::from).collect();
        let mut layer = Layer::new(root)?;
        let (reading, writing) = (AccessFs::from_read(HANDLED), AccessFs::from_write(HANDLED));
        let unnarrowed = [(&self.read, reading), (&self.write, writing)].into_iter().filter(|(only, _)| only.is_none());
        layer.allow(Path::new("/"), unnarrowed.fold(BitFlags::EMPTY, |sum, (_, access)| sum | access))?;
        if let Some(paths) = &self.read {
            for path in system(plan).chain([Path::new("/proc")]) {
                layer.allow(path, reading)?;
            }
            layer.allow_devices(reading)?;
            for (path, _) in plan.private_files() {
                // Programs take settings that are there and cannot be read for an error. Another command may have removed them.
                if layer.open(path).is_ok() {
                    layer.allow(path, reading)?;
                }
            }
            paths.iter().chain(&own).try_for_each(|path| layer.allow(path, reading))?;
        }
        if let Some(paths) = &self.write {
            layer.allow(Path::new("/proc"), AccessFs::WriteFile | AccessFs::Truncate)?;
            layer.allow_devices(AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev)?;
            paths.iter().chain(&own).try_for_each(|path| layer.allow(path, writing))?;
        }
        Ok(layer.rules.into())
    }
}

/// What of the view belongs to the system and its toolchains: without it no program runs.
fn system(plan: &Plan) -> impl Iterator<Item = &Path> {
    let work = |path: &PathBuf| plan.workspace.as_ref() == Some(path) || plan.roots.contains(path);
    plan.view.iter().filter_map(move |mount| match mount {
        Mount::Bind { path, access: Access::ReadOnly } if !work(path) => Some(path.as_path()),
        _ => None,
    })
}

/// A ruleset that handles everything, so that what no rule names is refused.
struct Layer {
    root: OwnedFd,
    rules: RulesetCreated,
}

impl Layer {
    fn new(root: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(root, flags, Mode::empty()).map_err(Error::errno("open the root of the sandbox"))?;
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(HANDLED))
            // The others in the sandbox may do more: no signals to them, and no words.
            .and_then(|rules| rules.scope(Scope::AbstractUnixSocket | Scope::Signal))
            .and_then(Ruleset::create)
            .map_err(|error| unsupported(&error))?;
        Ok(Self { root, rules })
    }

    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<()> {
        let wrong = |why: &str| Error::Plan { what: "right of a command on", path: path.to_owned(), why: why.into() };
        if access.is_empty() {
            return Ok(());
        }
        if !path.is_absolute() {
            return Err(wrong("must be absolute; give the full path"));
        }
        let place = self.open(path).map_err(|errno| match errno {
            nix::errno::Errno::ELOOP => {
                wrong("is or lies behind a symbolic link, which a command could turn elsewhere; name the real path")
            }
            other => wrong(&format!("{}; name something that exists inside", other.desc())),
        })?;
        let found = fstat(&place).map_err(Error::errno("look at a path inside"))?;
        let directory = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        let access = if directory { access } else { access & AccessFs::from_file(HANDLED) };
        (&mut self.rules).add_rule(PathBeneath::new(place, access)).map_err(|error| unsupported(&error))?;
        Ok(())
    }

    fn open(&self, path: &Path) -> nix::Result<OwnedFd> {
        let resolve =
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS;
        openat2(&self.root, path, OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve))
    }

    /// Not `/dev/shm`: that is memory like `/tmp`.
    fn allow_devices(&mut self, access: impl Into<BitFlags<AccessFs>>) -> Result<()> {
        let access = access.into();
        for device in view::DEVICES.iter().chain(&["pts"]) {
            self.allow(&Path::new("/dev").join(device), access)?;
        }
        Ok(())
    }
}

fn unsupported(why: &dyn std::fmt::Display) -> Error {
    Error::Unsupported { protection: Protection::Landlock, needs: format!("for the rights of one command: {why}") }
}
