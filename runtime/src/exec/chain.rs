//! From what a caller asks for to what the kernel executes: scripts and their interpreters, loaders and their programs.

use super::{
    Stage, Withheld,
    file::{Files, Kind, identity_of},
    loader,
    names::{Named, Names},
};
use crate::{
    notify::{Glance, Held, Target, View, path_of},
    sys::call::Identity,
};
use std::{
    ffi::{OsStr, OsString},
    os::{fd::AsFd, unix::ffi::OsStringExt},
    path::PathBuf,
};

/// Interpreters of interpreters that the kernel follows (`exec_binprm` in `fs/exec.c`).
const DEEPEST: usize = 5;
/// Longest path (`PATH_MAX` without the NUL).
const PATH: usize = 4095;

/// The arguments of `execve` or `execveat`, as they are at this moment.
pub(crate) struct Request {
    directory: i32,
    path: PathBuf,
    flags: i32,
    pub(crate) argv: Vec<OsString>,
    pub(crate) variables: u64,
}

impl Request {
    /// # Errors
    /// The errno with which the kernel would refuse them.
    pub(crate) fn read(target: Target, call: &Held) -> Result<Self, i32> {
        let [first, second, third, fourth, fifth, _] = call.arguments;
        let (directory, path, argv, variables, flags) = match call.number {
            libc::SYS_execveat => (first as i32, second, third, fourth, fifth as i32),
            _ => (libc::AT_FDCWD, first, second, third, 0),
        };
        let memory = Glance::at(target, [path, argv]);
        let path = PathBuf::from(OsString::from_vec(memory.string(path, PATH)?));
        let mut argv = memory.strings(argv)?;
        if argv.is_empty() {
            // The kernel puts an empty name there (Linux 5.18).
            argv.push(OsString::new());
        }
        Ok(Self { directory, path, flags, argv, variables })
    }

    /// Whether the caller only asks if it could (`AT_EXECVE_CHECK`, Linux 6.14).
    pub(crate) fn only_checks(&self) -> bool {
        self.flags & 0x10000 != 0
    }

    fn is_descriptor(&self) -> bool {
        self.path.as_os_str().is_empty() && self.flags & libc::AT_EMPTY_PATH != 0
    }

    /// What the kernel calls the file in a script's arguments (`alloc_bprm` in `fs/exec.c`).
    fn name(&self) -> PathBuf {
        if self.directory == libc::AT_FDCWD || self.path.is_absolute() {
            return self.path.clone();
        }
        let mut name = format!("/dev/fd/{}", self.directory);
        if !self.is_descriptor() {
            name.push('/');
        }
        let mut name = OsString::from(name);
        name.push(&self.path);
        name.into()
    }
}

/// What would be executed.
pub(crate) struct Chain {
    pub(crate) stages: Vec<Stage>,
    /// Index of the stage whose file the kernel executes, and that file.
    pub(crate) executed: usize,
    pub(crate) identity: Identity,
    /// Whether the name leads there whatever anybody inside does meanwhile.
    pub(crate) fixed: bool,
}

/// Follows a request to its end.
///
/// # Errors
/// The errno with which the kernel would refuse it.
pub(crate) fn follow(
    view: &View,
    files: &mut Files,
    names: &mut Names,
    withheld: Option<&dyn Withheld>,
    target: Target,
    request: &Request,
) -> Result<Chain, i32> {
    let failed = |errno: nix::errno::Errno| errno as i32;
    let follow_last = request.flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    let mut named = match request.is_descriptor() {
        true => target.open_descriptor(request.directory).and_then(Named::of),
        false => names.find(view, target, request.directory, &request.path, follow_last),
    }
    .map_err(failed)?;
    let mut fixed = true;
    let mut name = request.name();
    let mut argv = request.argv.clone();
    let mut stages = Vec::with_capacity(2);
    loop {
        withheld.map_or(Ok(()), |withheld| withheld.check(&named.place, &named.program))?;
        let (identity, kind) = (identity_of(&named.found), files.look(&named.place, &named.found)?);
        fixed &= named.fixed;
        stages.push(Stage { program: named.program, name: name.clone(), argv });
        let this = &stages[stages.len() - 1];
        let (interpreter, argument) = match kind {
            Kind::Script(..) if stages.len() > DEEPEST => return Err(libc::ELOOP),
            Kind::Script(interpreter, argument) => (interpreter, argument),
            Kind::Program | Kind::Loader => {
                let executed = stages.len() - 1;
                if kind == Kind::Loader {
                    stages.extend(loader::loaded(&this.argv).map(|(name, argv)| loaded(view, target, name, argv)));
                }
                return Ok(Chain { stages, executed, identity, fixed });
            }
        };
        argv = [interpreter.clone()].into_iter().chain(argument).chain([name.into_os_string()]).collect();
        argv.extend(this.argv.iter().skip(1).cloned());
        name = interpreter.into();
        named = names.find(view, target, libc::AT_FDCWD, &name, true).map_err(failed)?;
    }
}

/// A name without a slash is looked up among the libraries; wherever that leads, the name says what was meant.
fn loaded(view: &View, target: Target, name: &OsStr, argv: Vec<OsString>) -> Stage {
    let name = PathBuf::from(name);
    let is_path = name.as_os_str().as_encoded_bytes().contains(&b'/');
    let found =
        is_path.then(|| view.find(target, libc::AT_FDCWD, &name, true).and_then(|place| path_of(place.as_fd())));
    let program = found.and_then(Result::ok).unwrap_or_else(|| name.clone());
    Stage { program, name, argv }
}
