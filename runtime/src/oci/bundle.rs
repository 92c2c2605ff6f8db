//! A bundle: a directory with the configuration and the root file system it is carried out in.

use super::{Error, Process, mounts, to_spec, write};
use crate::{
    enforced::Enforced,
    plan::{Mount, Plan},
};
use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

/// Directories that every sandbox has, beside what its plan names.
const OWN: [&str; 8] = ["/dev", "/home", "/proc", "/run", "/sys", "/tmp", "/var", "/var/tmp"];

/// Writes `directory/config.json` and `directory/rootfs`, in which there is nothing but empty places to mount on and the
/// view's symbolic links. The directory must be empty or not exist; it is for its owner alone, because the environment
/// may hold what nobody else should read. The configuration is written last: an unfinished bundle has none.
///
/// # Errors
/// As [`to_spec`], and [`Error::Io`] when something cannot be written or the directory holds something already.
pub fn write_bundle(plan: &Plan, process: &Process, directory: &Path) -> Result<Enforced, Error> {
    let exported = to_spec(plan, process)?;
    let doing = |what: &str| {
        let doing = format!("{what} {}", directory.display());
        move |source| Error::Io { doing, source }
    };
    claim(directory).map_err(doing("make the bundle"))?;
    rootfs(plan, &directory.join(write::ROOT)).map_err(doing("make the root file system of the bundle"))?;
    // Keys in the same order every time; a map of the library's has none.
    let json = serde_json::to_value(&exported.spec).and_then(|spec| serde_json::to_vec_pretty(&spec));
    let json = json.map_err(Error::Format)?;
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(directory.join("config.json"));
    file.and_then(|mut file| file.write_all(&json)).map_err(doing("write config.json in"))?;
    Ok(exported.enforced)
}

fn claim(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(directory)?.next().is_some() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            fs::set_permissions(directory, Permissions::from_mode(0o700))
        }
        made => made,
    }
}

fn rootfs(plan: &Plan, root: &Path) -> io::Result<()> {
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let directory = |path: &Path| DirBuilder::new().recursive(true).mode(0o755).create(inside(path));
    for own in OWN {
        directory(Path::new(own))?;
    }
    for entry in &plan.view {
        let path = entry.path();
        if plan.view.iter().any(|above| matches!(above, Mount::Link { path: link, .. } if below(path, link))) {
            // What is made below a link would be made where it leads: on the host.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is below a link", path.display())));
        }
        if mounts::around(plan, path).is_some_and(|around| below(path, around.path())) {
            // It stands in what is mounted above it, or the engine makes it there.
            continue;
        }
        if let Some(parent) = path.parent() {
            directory(parent)?;
        }
        match entry {
            Mount::Link { target, .. } => symlink(target, inside(path))?,
            Mount::File { text, .. } => fs::write(inside(path), text)?,
            Mount::Bind { path, .. } if !fs::metadata(path)?.is_dir() => {
                OpenOptions::new().write(true).create_new(true).mode(0o644).open(inside(path)).map(drop)?;
            }
            _ => directory(path)?,
        }
    }
    Ok(())
}

fn below(path: &Path, above: &Path) -> bool {
    path != above && path.starts_with(above)
}
