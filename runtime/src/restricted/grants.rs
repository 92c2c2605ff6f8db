//! What Landlock is to allow instead of the mount view. A rule counts for everything below its directory and nothing can
//! be taken back below it (landlock(7)), so a directory that holds something denied or protected gets no rule: its
//! entries get one each. What is created in it later has none.

use crate::plan::{Access, Kept, Mount, Plan};
use landlock::{ABI, Access as _, AccessFs, BitFlags};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

type Rights = BitFlags<AccessFs>;

/// Everything that Landlock knows of files up to device ioctls.
pub(super) const HANDLED: ABI = ABI::V5;

/// Files of `/proc` that belong to no process. What does belong to one tells about everybody's command lines.
const SYSTEM_STATE: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
];

/// The rules for a plan.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Paths without symbolic links, and what may be done there and below.
    pub(super) rules: Vec<(PathBuf, Rights)>,
    /// Writable directories in which nothing can be created, removed or renamed.
    pub(super) fixed: Vec<PathBuf>,
    /// Directories that cannot be listed, because one below them may not be.
    pub(super) unlisted: Vec<PathBuf>,
}

/// Why a place does not get the rights of what it lies in.
#[derive(Clone, Copy, Debug)]
struct Special {
    /// What it loses.
    without: Rights,
    /// Not even its names may be seen.
    hidden_directory: bool,
}

/// Lays out the rules. Reads the directories that have to be split.
pub(super) fn grants(plan: &Plan) -> io::Result<Grants> {
    let splitter = Splitter { specials: specials(plan) };
    let mut grants = Grants::default();
    for mount in &plan.view {
        let Mount::Bind { path, access } = mount else { continue };
        let rights = match access {
            Access::ReadOnly => AccessFs::from_read(HANDLED),
            Access::ReadWrite => AccessFs::from_all(HANDLED),
        };
        splitter.grant(path, rights, &mut grants)?;
    }
    let state = SYSTEM_STATE.iter().map(PathBuf::from).filter(|path| path.exists());
    for path in state {
        let rights = AccessFs::from_read(HANDLED);
        grants.rules.push((path.clone(), if path.is_dir() { rights } else { rights & AccessFs::from_file(HANDLED) }));
    }
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let devices = crate::view::DEVICES.iter().map(|name| Path::new("/dev").join(name)).filter(|path| path.exists());
    grants.rules.extend(devices.map(|path| (path, device)));
    Ok(grants)
}

fn specials(plan: &Plan) -> BTreeMap<PathBuf, Special> {
    let mut specials: BTreeMap<PathBuf, Special> = BTreeMap::new();
    let mut add = |path: &Path, without: Rights, hidden_directory: bool| {
        let special = specials.entry(path.to_owned()).or_insert(Special { without, hidden_directory });
        special.without |= without;
        special.hidden_directory |= hidden_directory;
    };
    for mask in &plan.masks {
        add(&mask.path, AccessFs::from_all(HANDLED), mask.directory);
    }
    for kept in &plan.kept {
        match kept {
            Kept::Existing { path } | Kept::Symlink { path } | Kept::Absent { path, .. } => {
                add(path, AccessFs::from_write(HANDLED), false);
            }
        }
    }
    for path in &plan.exec_deny {
        add(path, AccessFs::Execute.into(), false);
    }
    let binds = |wanted: Access| {
        plan.view.iter().filter_map(move |mount| match mount {
            Mount::Bind { path, access } if *access == wanted => Some(path),
            _ => None,
        })
    };
    for path in binds(Access::ReadOnly) {
        if binds(Access::ReadWrite).any(|above| path.starts_with(above)) {
            add(path, AccessFs::from_write(HANDLED), false);
        }
    }
    specials
}

struct Splitter {
    specials: BTreeMap<PathBuf, Special>,
}

impl Splitter {
    fn grant(&self, path: &Path, rights: Rights, grants: &mut Grants) -> io::Result<()> {
        let rights = self.specials.get(path).map_or(rights, |special| rights & !special.without);
        if rights.is_empty() {
            return Ok(());
        }
        let kind = match path.symlink_metadata() {
            Ok(found) => found.file_type(),
            Err(error) => return gone(error),
        };
        if kind.is_symlink() {
            return Ok(());
        }
        if !kind.is_dir() {
            grants.rules.push((path.to_owned(), rights & AccessFs::from_file(HANDLED)));
            return Ok(());
        }
        let below = self.below(path, rights);
        if below.is_empty() {
            grants.rules.push((path.to_owned(), rights));
            return Ok(());
        }
        self.split(path, rights, &below, grants)
    }

    /// What below `path` takes any of `rights` away.
    fn below(&self, path: &Path, rights: Rights) -> Vec<Special> {
        let after = self.specials.range(path.to_owned()..).skip_while(|(place, _)| *place == path);
        let below = after.take_while(|(place, _)| place.starts_with(path)).map(|(_, special)| *special);
        below.filter(|special| special.without.intersects(rights)).collect()
    }

    fn split(&self, path: &Path, rights: Rights, below: &[Special], grants: &mut Grants) -> io::Result<()> {
        // The right to list counts for every directory below, too.
        if below.iter().any(|special| special.hidden_directory) {
            grants.unlisted.push(path.to_owned());
        } else {
            grants.rules.push((path.to_owned(), AccessFs::ReadDir.into()));
        }
        if rights.contains(AccessFs::MakeReg) {
            grants.fixed.push(path.to_owned());
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return gone(error),
        };
        for entry in entries {
            self.grant(&entry?.path(), rights, grants)?;
        }
        Ok(())
    }
}

/// What has gone meanwhile, or cannot be read by us, gets no rule.
fn gone(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    #[test]
    fn siblings_of_what_is_denied_or_protected_get_their_own_rules() {
        let root = tempfile::tempdir().unwrap();
        let work = root.path().canonicalize().unwrap();
        for (path, text) in
            [("src/a.rs", ""), ("app/.env", "x"), ("app/main.py", ""), ("keys/secrets/k", "x"), ("keys/public", "")]
        {
            fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
            fs::write(work.join(path), text).unwrap();
        }
        let mut builder = Sandbox::builder();
        builder.workspace(&work, Access::ReadWrite).deny_read("**/.env").deny_read("**/secrets/**");
        let grants = grants(&builder.plan().unwrap()).unwrap();
        let rights = |path: &str| {
            let found = grants.rules.iter().filter(|(granted, _)| *granted == work.join(path));
            found.fold(Rights::EMPTY, |all, (_, rights)| all | *rights)
        };
        let file = AccessFs::from_all(HANDLED) & AccessFs::from_file(HANDLED);
        assert_eq!(rights("src"), AccessFs::from_all(HANDLED));
        assert_eq!((rights("app/main.py"), rights("keys/public")), (file, file));
        assert_eq!((rights("app/.env"), rights("keys/secrets")), (Rights::EMPTY, Rights::EMPTY));
        // Listing is no harm where only files are denied, and would be where a directory is.
        assert_eq!(
            (rights("app"), rights("keys"), rights("")),
            (AccessFs::ReadDir.into(), Rights::EMPTY, Rights::EMPTY)
        );
        assert_eq!(grants.unlisted, [work.clone(), work.join("keys")]);
        assert_eq!(grants.fixed.len(), 3, "{:?}", grants.fixed);
    }

    #[test]
    fn what_is_read_only_below_something_writable_stays_so() {
        let root = tempfile::tempdir().unwrap();
        let work = root.path().canonicalize().unwrap();
        fs::create_dir_all(work.join("data/fixed/deep")).unwrap();
        let mut builder = Sandbox::builder();
        builder.read_write(&work).read_only(work.join("data/fixed"));
        let grants = grants(&builder.plan().unwrap()).unwrap();
        let writable = grants.rules.iter().filter(|(path, rights)| {
            work.join("data/fixed/deep").starts_with(path) && rights.intersects(AccessFs::from_write(HANDLED))
        });
        assert_eq!(writable.count(), 0, "{:?}", grants.rules);
    }
}
