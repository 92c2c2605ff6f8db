//! The command line of `holdpoint session`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use super::{Answer, HOLD_TIMEOUT, PolicyFlags, Wait, hold_time, size, time};
use crate::session::Name;

/// The usual `--idle-timeout`.
pub(crate) const IDLE_TIMEOUT: &str = "1h";

/// `holdpoint session`.
#[derive(Debug, Args)]
pub struct Session {
    /// What to do.
    #[command(subcommand)]
    pub command: SessionCommand,
}

/// The subcommands of `holdpoint session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Start a session in the background and print its name.
    #[command(after_help = SESSION_START_HELP)]
    Start(SessionStart),
    /// Run a command in a session, once policy, hooks and (where the policy says so) a person let it.
    #[command(after_help = SESSION_RUN_HELP)]
    Run(SessionRun),
    /// List the sessions that live.
    #[command(after_help = "Examples:\n  holdpoint session list\n  holdpoint session list --json")]
    List(Answer),
    /// End sessions, and everything that runs in them.
    #[command(
        after_help = "Examples:\n  holdpoint session stop\n  holdpoint session stop api\n  holdpoint session stop --all"
    )]
    Stop(SessionStop),
    /// Keep a session: what `start` runs in the background. Its terms come on standard input.
    #[command(hide = true)]
    Keep(SessionKeep),
}

impl SessionCommand {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Start(args) => args.flags.answer.json,
            Self::Run(args) => args.answer.json,
            Self::List(answer) => answer.json,
            Self::Stop(args) => args.answer.json,
            Self::Keep(_) => false,
        }
    }
}

/// `holdpoint session start`.
#[derive(Debug, Args)]
pub struct SessionStart {
    /// What to call it [default: after the workspace]
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// End it when nobody has used it for this long
    #[arg(long, value_name = "TIME", default_value = IDLE_TIMEOUT, value_parser = time)]
    pub idle_timeout: Duration,
    /// How long a hold of what a command executes (`exec_guard`) waits for a decision, such as 90s or 1h
    #[arg(long, value_name = "TIME", default_value = HOLD_TIMEOUT, value_parser = hold_time)]
    pub hold_timeout: Duration,
    /// What decides the policy, now and for every command.
    #[command(flatten)]
    pub flags: PolicyFlags,
}

/// `holdpoint session run`.
#[derive(Debug, Args)]
pub struct SessionRun {
    /// The session [default: that of the workspace]
    #[arg(value_name = "NAME")]
    pub name: Option<Name>,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub argv: Vec<OsString>,
    // Last, for its heading stands over all that follows.
    /// What it may do less than the session.
    #[command(flatten)]
    pub rights: Rights,
}

/// What one command may do less than its session.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Less than the session may")]
pub struct Rights {
    /// Give it a /tmp and a /var/tmp of its own, empty and gone when it ends
    #[arg(long)]
    pub private_tmp: bool,
    /// Let it read and execute this and the system, and nothing else; may be given more than once
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub may_read: Vec<PathBuf>,
    /// Let it write this and nothing else; may be given more than once
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub may_write: Vec<PathBuf>,
    /// The processor time of each of its processes, such as 30s
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub cpu_time: Option<Duration>,
    /// The open files of each of its processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(4..))]
    pub open_files: Option<u64>,
    /// The size of each file it writes, such as 100MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub file_size: Option<u64>,
}

/// `holdpoint session stop`.
#[derive(Debug, Args)]
pub struct SessionStop {
    /// The session [default: that of the workspace]
    #[arg(value_name = "NAME")]
    pub name: Option<Name>,
    /// Stop all of them
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// `holdpoint session keep`.
#[derive(Debug, Args)]
pub struct SessionKeep {
    /// The session
    #[arg(value_name = "NAME")]
    pub name: Name,
}

pub(super) const SESSION_HELP: &str = "\
Examples:
  holdpoint session start
  holdpoint session run -- cargo test
  holdpoint session stop";

const SESSION_START_HELP: &str = "\
The sandbox is made once, from the files and flags of this moment; the flags hold for every command in it. It ends when it \
is stopped, when nobody has used it for --idle-timeout, or when its workspace is gone, and all that runs in it ends with it.

Examples:
  holdpoint session start
  holdpoint session start --name api --workspace ~/src/api --profile production-adjacent
  holdpoint session start --approval full-auto --idle-timeout 8h";

const SESSION_RUN_HELP: &str = "\
As `holdpoint run`, in a sandbox that lives already: the same rules, hooks and holds, judged with the files as they are now. \
When what the sandbox itself may do has changed since it was started, nothing runs (69): stop the session and start it again. \
When this process ends, its command ends, and nothing else in the session.

Paths are those inside, exist, and have no symbolic link on the way.

Examples:
  holdpoint session run -- cargo test
  holdpoint session run api -- sh -c 'echo $PWD'
  holdpoint session run --private-tmp --may-write target --cpu-time 5m -- cargo build --offline";
