//! Which file a command's program is, and which scripts its arguments name: found before it is executed.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdpoint_approval_web::plan::FileRef;
use nix::unistd::{AccessFlags, access};

use crate::confine::Confinement;
use crate::files::open_regular;
use crate::identity;

/// Where a program without a slash is looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Larger files named in the arguments are data, not scripts that a person reviews.
const LARGEST_OPERAND: u64 = 1 << 20;

/// The file that `name` leads to from `cwd` with the command's own environment, as `execvp(3)` searches for it; with a
/// sandbox only among what is visible inside. The path is not resolved: some programs look at how they were called.
pub(crate) fn find(
    name: &OsStr,
    cwd: &Path,
    env: &[(OsString, OsString)],
    confinement: Option<&Confinement>,
) -> Option<PathBuf> {
    let usable = |path: &Path| {
        let real = path.canonicalize().ok()?;
        let shown = confinement.is_none_or(|confinement| confinement.shows(&real));
        (shown && real.is_file() && access(&real, AccessFlags::X_OK).is_ok()).then_some(())
    };
    if name.as_bytes().contains(&b'/') {
        let path = cwd.join(name);
        return usable(&path).map(|()| path);
    }
    let path = env.iter().find(|(variable, _)| variable == "PATH").map(|(_, value)| value.as_os_str());
    std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
        .map(|directory| cwd.join(directory).join(name))
        .find(|candidate| usable(candidate).is_some())
}

/// What a program in the workspace says that it has to be executed by, if it says so: the kernel calls a program missing when that
/// is (execve(2)). Elsewhere nothing is looked at, for what is there may not be there inside.
pub(crate) fn executed_by(name: &OsStr, cwd: &Path, workspace: &Path) -> Option<String> {
    let real = cwd.join(name).canonicalize().ok().filter(|real| real.starts_with(workspace))?;
    let mut start = Vec::new();
    open_regular(&real).ok().filter(|_| name.as_bytes().contains(&b'/'))?.take(256).read_to_end(&mut start).ok()?;
    if start.starts_with(b"\x7fELF") {
        return Some("the loader that it was built for, perhaps of another system,".into());
    }
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let interpreter = line.split(u8::is_ascii_whitespace).next().filter(|interpreter| !interpreter.is_empty())?;
    Some(format!("its interpreter {}", String::from_utf8_lossy(interpreter)))
}

/// The regular files inside the workspace that arguments name, with their content: what a person approved must not be
/// another script by the time it runs.
pub(crate) fn operands(argv: &[OsString], cwd: &Path, workspace: &Path) -> Vec<FileRef> {
    let mut found: Vec<FileRef> = Vec::new();
    for argument in argv.iter().skip(1) {
        for name in names_in(argument) {
            let path = cwd.join(name);
            let inside = path.canonicalize().is_ok_and(|real| real.starts_with(workspace) && is_small_file(&real));
            if inside
                && let Ok(file) = identity::of_file(&path)
                && !found.iter().any(|known| known.path == file.path)
            {
                found.push(file);
            }
        }
    }
    found
}

/// An argument as a whole, what stands behind its first `=`, and, when it may be a script for a shell, its words.
fn names_in(argument: &OsStr) -> impl Iterator<Item = &OsStr> {
    let bytes = argument.as_bytes();
    let value = bytes.iter().position(|b| *b == b'=').map(|at| &bytes[at + 1..]);
    let words = bytes.split(|b| b.is_ascii_whitespace() || b";|&<>()'\"`=$".contains(b));
    std::iter::once(bytes).chain(value).chain(words).filter(|name| !name.is_empty()).map(OsStr::from_bytes)
}

fn is_small_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST_OPERAND)
}

#[cfg(test)]
mod tests {
    use super::{find, operands};
    use std::ffi::{OsStr, OsString};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn env(path: &str) -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), path.into())]
    }

    #[test]
    fn a_program_is_the_first_executable_on_the_commands_own_path() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for (directory, mode) in [(&a, 0o644), (&b, 0o755)] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("tool"), "#!/bin/sh\n").unwrap();
            fs::set_permissions(directory.join("tool"), PermissionsExt::from_mode(mode)).unwrap();
        }
        let path = env(&format!("{}:{}", a.display(), b.display()));
        assert_eq!(find(OsStr::new("tool"), dir.path(), &path, None), Some(b.join("tool")));
        assert_eq!(find(OsStr::new("b/tool"), dir.path(), &path, None), Some(dir.path().join("b/tool")));
        assert_eq!(find(OsStr::new("tool"), &b, &env(""), None), Some(b.join("tool")), "an empty entry is the cwd");
        assert_eq!(find(OsStr::new("a"), dir.path(), &env(""), None), None, "a directory is no program");
        assert_eq!(find(OsStr::new("no-such-tool"), dir.path(), &path, None), None);
    }

    #[test]
    fn scripts_named_in_arguments_are_found_wherever_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("w")).unwrap();
        let workspace = root.join("w");
        for name in ["deploy.sh", "conf", "other.sh"] {
            fs::write(workspace.join(name), name).unwrap();
        }
        fs::write(root.join("outside.sh"), "x").unwrap();
        let found = |words: &[&str]| -> Vec<String> {
            let argv: Vec<OsString> = std::iter::once("p").chain(words.iter().copied()).map(Into::into).collect();
            let name = |path: std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            operands(&argv, &workspace, &workspace).into_iter().map(|file| name(file.path.to_path())).collect()
        };
        assert_eq!(found(&["deploy.sh", "--config=conf", "deploy.sh"]), ["deploy.sh", "conf"]);
        assert_eq!(found(&["-c", "cd . && ./deploy.sh \"x\"; sh other.sh>log"]), ["deploy.sh", "other.sh"]);
        assert_eq!(found(&["../outside.sh", "missing", ".", "", "a=b"]), Vec::<String>::new());
    }
}
