//! What a hold shows and covers: the plan of one action, built from what is about to be executed.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use holdpoint_approval_web::plan::{Bytes, Digest, EnvRef, FileRef, HoldPlan, Kind, Reason, Stdin};
use holdpoint_policy::{Judgement, explain};
use holdpoint_runtime::Exec;
use nix::unistd::{User, Whence, geteuid, lseek};

use crate::approver;
use crate::error::Error;
use crate::identity;
use crate::load::Loaded;
use crate::program;

/// Standard input of at most this many bytes is covered by its content, when it is a file.
const LARGEST_INPUT: u64 = program::MOST_BYTES;

/// Bytes of it that are shown.
const SHOWN_INPUT: usize = 4096;

/// What an approval does not cover.
const UNNAMED: &str = "may read and start further files, which nobody compares with what they are now";

/// The plan of a command that is about to be executed.
///
/// # Errors
/// [`Error::Io`] when a file that takes part cannot be read: what cannot be named cannot be approved. [`Error::Denied`] when
/// there is too much of it.
pub(crate) fn of_run(
    loaded: &Loaded,
    argv: &[OsString],
    executable: &Path,
    env: &[(OsString, OsString)],
    judgement: &Judgement,
) -> Result<HoldPlan, Error> {
    let workspace = &loaded.workspace;
    let mut plan = frame(loaded, Kind::Run, judgement)?;
    let file = identity::of_file(executable);
    plan.executable = Some(file.map_err(|error| Error::io(format!("read {}", executable.display()), error))?);
    plan.argv = argv.iter().map(|word| word.clone().into()).collect();
    read_operands(&mut plan, argv, &workspace.cwd, loaded)?;
    let digest = |(name, value): &(OsString, OsString)| EnvRef {
        name: name.clone().into(),
        sha256: Digest::of(Bytes::from(value.clone()).as_bytes()),
    };
    plan.env = env.iter().map(digest).collect();
    plan.stdin = standard_input()?;
    Ok(plan)
}

/// The plan of an execution inside: everything as the process sees it.
///
/// # Errors
/// [`Error::Io`] when a file that takes part cannot be read: what cannot be named cannot be approved. [`Error::Denied`] when
/// there is too much of it.
pub(crate) fn of_exec(loaded: &Loaded, exec: &Exec, judgement: &Judgement) -> Result<HoldPlan, Error> {
    let wrong = |what: &str| {
        let what = format!("look at {what} of what would be executed");
        move |error| Error::io(what, error)
    };
    let Some(stage) = exec.stages.first() else {
        return Err(Error::Internal { what: "hold an execution".into(), why: "it names no program".into() });
    };
    let inside = |name: &str| Path::new("/proc").join(exec.pid.to_string()).join(name);
    let mut plan = frame(loaded, Kind::Run, judgement)?;
    let cwd = exec.current_dir().map_err(wrong("the directory"))?;
    plan.cwd = cwd.into();
    plan.cwd_id = identity::of_directory(&inside("cwd")).map_err(wrong("the directory"))?;
    let below = stage.program.strip_prefix("/").unwrap_or(&stage.program);
    let mut file = identity::of_file(&inside("root").join(below)).map_err(wrong("the program"))?;
    file.path = stage.program.as_path().into();
    plan.executable = Some(file);
    plan.argv = stage.argv.iter().map(|word| word.clone().into()).collect();
    read_operands(&mut plan, &stage.argv, cwd, loaded)?;
    plan.env = exec.environment().map_err(wrong("the environment"))?.iter().map(variable).collect();
    plan.stdin = Stdin::Piped { content: None };
    Ok(plan)
}

/// Names the files that take part, and says that there may be more; nothing is read for what nobody could review.
fn read_operands(plan: &mut HoldPlan, argv: &[OsString], cwd: &Path, loaded: &Loaded) -> Result<(), Error> {
    plan.check_size().map_err(approver::away)?;
    plan.operands = program::operands(argv, cwd, &loaded.workspace.root)?;
    plan.sandbox.push(UNNAMED.into());
    Ok(())
}

/// One `NAME=value`.
fn variable(pair: &OsString) -> EnvRef {
    let bytes = pair.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    let name = OsStr::from_bytes(&bytes[..end]).to_owned();
    EnvRef { name: name.into(), sha256: Digest::of(bytes.get(end + 1..).unwrap_or_default()) }
}

/// The plan of an edit: `diff` is what will be done, `targets` the files as they are now.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn of_edit(
    loaded: &Loaded,
    diff: &[u8],
    targets: Vec<FileRef>,
    judgement: &Judgement,
) -> Result<HoldPlan, Error> {
    let mut plan = frame(loaded, Kind::Edit, judgement)?;
    plan.operands = targets;
    plan.diff = Some(diff.into());
    Ok(plan)
}

fn frame(loaded: &Loaded, kind: Kind, judgement: &Judgement) -> Result<HoldPlan, Error> {
    let Loaded { policy, workspace, .. } = loaded;
    let cwd_id = identity::of_directory(&workspace.cwd)
        .map_err(|error| Error::io(format!("look at {}", workspace.cwd.display()), error))?;
    let reason = |reason: &holdpoint_policy::Reason| Reason {
        rule: reason.rule.clone(),
        origin: reason.origin.clone(),
        text: reason.text.clone(),
    };
    Ok(HoldPlan {
        kind,
        argv: Vec::new(),
        cwd: workspace.cwd.as_path().into(),
        cwd_id,
        executable: None,
        operands: Vec::new(),
        env: Vec::new(),
        stdin: Stdin::Null,
        profile: policy.profile.clone(),
        policy_digest: loaded.policy_digest(),
        reasons: judgement.deciding().map(reason).collect(),
        sandbox: match kind {
            Kind::Run => explain::sandbox_lines(policy, &workspace.root),
            Kind::Edit => {
                vec![format!("may write the files of this diff in {}, all of them or none", workspace.root.display())]
            }
        },
        diff: None,
        host: host(),
        user: user(),
    })
}

/// Where standard input comes from; of a file the content too, without reading it away.
fn standard_input() -> Result<Stdin, Error> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(Stdin::Terminal);
    }
    let wrong = |error: io::Error| Error::io("look at standard input", error);
    let file = std::fs::File::from(stdin.as_fd().try_clone_to_owned().map_err(wrong)?);
    let found = file.metadata().map_err(wrong)?;
    if found.file_type().is_char_device() && found.rdev() == nix::sys::stat::makedev(1, 3) {
        return Ok(Stdin::Null);
    }
    let content = if found.is_file() {
        let offset = lseek(&file, 0, Whence::SeekCur).map_err(|errno| wrong(errno.into()))?;
        identity::rest_of(&file, offset.unsigned_abs(), LARGEST_INPUT, SHOWN_INPUT).map_err(wrong)?
    } else {
        None
    };
    Ok(Stdin::Piped { content })
}

/// The name of this host.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The name of the user we run as, or the number of one without a name.
pub(crate) fn user() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// What differs between two plans, in words, for the person who has to look again.
pub(crate) fn changes(before: &HoldPlan, after: &HoldPlan) -> Vec<String> {
    let mut changes = Vec::new();
    let mut when = |changed: bool, what: &str| changes.extend(changed.then(|| what.to_owned()));
    when(before.executable != after.executable, "the program file");
    when(before.argv != after.argv, "the arguments");
    when(before.cwd != after.cwd || before.cwd_id != after.cwd_id, "the working directory");
    when(before.env != after.env, "the environment");
    when(before.stdin != after.stdin, "standard input");
    when(before.policy_digest != after.policy_digest || before.profile != after.profile, "the policy");
    when(before.reasons != after.reasons || before.sandbox != after.sandbox, "why it is held and what it may do");
    when(before.diff != after.diff, "the diff");
    let files = before.operands.iter().chain(&after.operands);
    for file in files.filter(|file| !(before.operands.contains(file) && after.operands.contains(file))) {
        let name = file.path.to_string();
        if !changes.contains(&name) {
            changes.push(name);
        }
    }
    changes
}
