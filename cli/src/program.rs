//! Which file a command's program is, and which scripts its arguments name: found before it is executed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdpoint_approval_web::plan::FileRef;
use holdpoint_policy::shell::extract;
use holdpoint_policy::{Reason, Verdict};
use nix::unistd::{AccessFlags, access};

use crate::confine::Confinement;
use crate::error::Error;
use crate::files::open_regular;
use crate::identity;

/// Where a program without a slash is looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Most bytes that are read to be compared: more takes minutes, and a file with holes may be endless.
pub(crate) const MOST_BYTES: u64 = 64 << 30;

/// Most places where what the arguments name is looked for.
const MOST_PLACES: usize = 1 << 18;

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
/// another script by the time it runs. They are looked for in every directory that is named too (`cd scripts && sh d.sh`).
///
/// # Errors
/// [`Error::Denied`] when there is more than can be compared with what was approved.
pub(crate) fn operands(argv: &[OsString], cwd: &Path, workspace: &Path) -> Result<Vec<FileRef>, Error> {
    let names = names(argv);
    let mut found: Vec<FileRef> = Vec::new();
    let mut bytes = 0;
    for path in places(&names, cwd)? {
        let Ok(real) = path.canonicalize() else { continue };
        let Ok(kind) = real.metadata() else { continue };
        if !kind.is_file()
            || !real.starts_with(workspace)
            || found.iter().any(|known| known.path == path.as_path().into())
        {
            continue;
        }
        bytes += kind.len();
        if bytes > MOST_BYTES {
            return Err(too_much("it names more than 64 GiB of files"));
        }
        found.extend(identity::of_file(&path));
    }
    Ok(found)
}

/// Every path that one of the names may mean: from `cwd`, or from a directory that another one names.
fn places(names: &[OsString], cwd: &Path) -> Result<impl Iterator<Item = PathBuf>, Error> {
    let mut directories = vec![cwd.to_owned()];
    for name in names {
        let real = |directory: &PathBuf| directory.join(name).canonicalize().ok().filter(|real| real.is_dir());
        let more: Vec<PathBuf> = directories.iter().filter_map(real).collect();
        for directory in more {
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        if directories.len() * names.len() > MOST_PLACES {
            return Err(too_much("it names too many files and directories"));
        }
    }
    Ok(directories.into_iter().flat_map(|directory| names.iter().map(move |name| directory.join(name))))
}

fn too_much(why: &str) -> Error {
    let text = format!("{why}, more than can be compared with what was approved");
    let by = "the limit on what a person can review".into();
    Error::Denied { by, reasons: vec![Reason::new(Verdict::Deny, "", "", text)] }
}

/// Every word that may name something: those of each argument, and those that are left when a shell has read it.
fn names(argv: &[OsString]) -> Vec<OsString> {
    let written = argv.iter().skip(1).flat_map(|argument| names_in(argument)).map(OsStr::to_owned);
    let read = extract(argv).invocations.into_iter().flat_map(|found| found.words.into_iter().chain(found.reads));
    let read = read.filter_map(|word| word.literal().map(OsString::from));
    let mut seen = HashSet::new();
    written.chain(read).filter(|name| !name.is_empty() && seen.insert(name.clone())).collect()
}

/// An argument as a whole, what stands behind its first `=`, and, when it may be a script for a shell, its words.
fn names_in(argument: &OsStr) -> impl Iterator<Item = &OsStr> {
    let bytes = argument.as_bytes();
    let value = bytes.iter().position(|b| *b == b'=').map(|at| &bytes[at + 1..]);
    let words = bytes.split(|b| b.is_ascii_whitespace() || b";|&<>()'\"`=$".contains(b));
    std::iter::once(bytes).chain(value).chain(words).map(OsStr::from_bytes)
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
    fn what_is_too_much_to_compare_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::File::create(root.join("holes")).unwrap().set_len(super::MOST_BYTES + 1).unwrap();
        assert!(operands(&["p".into(), "holes".into()], &root, &root).is_err());
        let many: Vec<OsString> = (0..600).map(|index| index.to_string().into()).collect();
        many.iter().for_each(|name| fs::create_dir(root.join(name)).unwrap());
        assert!(operands(&many, &root, &root).is_err());
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
            let argv: Vec<OsString> = std::iter::once("sh").chain(words.iter().copied()).map(Into::into).collect();
            let name = |path: std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            operands(&argv, &workspace, &workspace).unwrap().into_iter().map(|file| name(file.path.to_path())).collect()
        };
        assert_eq!(found(&["deploy.sh", "--config=conf", "deploy.sh"]), ["deploy.sh", "conf"]);
        assert_eq!(found(&["-c", "cd . && ./deploy.sh \"x\"; sh other.sh>log"]), ["deploy.sh", "other.sh"]);
        fs::create_dir_all(workspace.join("scripts/a b")).unwrap();
        fs::write(workspace.join("scripts/a b/deep.sh"), "x").unwrap();
        assert_eq!(found(&["-c", "cd scripts && cd a\\ b && sh d''eep.sh"]), ["deep.sh"]);
        assert_eq!(found(&["-c", "f() { sh deep.sh; }; cd 'scripts/a b'; f"]), ["deep.sh"]);
        assert_eq!(found(&["../outside.sh", "missing", ".", "", "a=b"]), Vec::<String>::new());
    }
}
