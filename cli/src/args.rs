//! The command line as data.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use holdpoint_approval_web::hold::LASTING;
use holdpoint_policy::config::{Size, Time};
use holdpoint_policy::{ApprovalMode, SandboxMode};
use holdpoint_runtime::Protection;

use crate::exit;

mod session;
pub(crate) use session::IDLE_TIMEOUT;
pub use session::{Rights, Session, SessionCommand, SessionKeep, SessionRun, SessionStart, SessionStop};

/// The usual `--hold-timeout`.
pub(crate) const HOLD_TIMEOUT: &str = "10m";

/// Run an agent, or any script, so that it cannot do what nobody released.
#[derive(Debug, Parser)]
#[command(name = "holdpoint", version, about, after_help = format!("{}\n\n{HELP}", exit::HELP), propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line as [`Parser::try_parse_from`] does. What runs commands is read by its own definition, for to build
    /// those of all subcommands takes a tenth of a launch; whatever is not simply right is left to the whole.
    ///
    /// # Errors
    /// As [`Parser::try_parse_from`].
    pub fn read(args: &[OsString]) -> Result<Self, clap::Error> {
        let is = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg == word);
        let command = if is(1, "run") {
            alone(&args[1..]).map(Command::Run)
        } else if is(1, "session") && is(2, "run") {
            alone(&args[2..]).map(|run| Command::Session(Session { command: SessionCommand::Run(run) }))
        } else {
            None
        };
        command.map_or_else(|| Self::try_parse_from(args), |command| Ok(Self { command }))
    }
}

/// A subcommand from its name on, if it is right.
fn alone<T: Args>(args: &[OsString]) -> Option<T> {
    let matches = T::augment_args(clap::Command::new("holdpoint")).try_get_matches_from(args).ok()?;
    T::from_arg_matches(&matches).ok()
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command inside the sandbox, once policy, hooks and (where the policy says so) a person let it.
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Write the sandbox of a command as an OCI bundle, for runc or crun to run. Runs nothing.
    #[command(after_help = BUNDLE_HELP)]
    Bundle(Bundle),
    /// Keep a sandbox alive and run one command after the other in it, each judged as by `run`.
    #[command(after_help = session::SESSION_HELP)]
    Session(Session),
    /// Apply a unified diff to the workspace: all of it or nothing.
    #[command(after_help = APPLY_HELP)]
    Apply(Apply),
    /// Say what would happen to a command, and why. Runs nothing.
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    /// Print the policy in force, and where each line of it was written.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
    /// Serve the approval page until stopped.
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
    /// Print a new one-time link that connects a browser to the running server.
    #[command(after_help = "Examples:\n  holdpoint pair\n  holdpoint pair --json")]
    Pair(Answer),
    /// List what waits for a decision.
    #[command(after_help = "Examples:\n  holdpoint holds\n  holdpoint holds --all --json")]
    Holds(Holds),
    /// Approve a hold, naming the digest of what was shown.
    #[command(after_help = APPROVE_HELP)]
    Approve(Approve),
    /// Deny a hold; the reason is handed to whoever asked.
    #[command(
        after_help = "Examples:\n  holdpoint deny 7kq2m9wd3xr5t8va\n  holdpoint deny 7kq2m9wd3xr5t8va --reason 'use the staging database'"
    )]
    Deny(Deny),
    /// Print the AGENTS.md text that applies to a directory.
    #[command(name = "agents-md", after_help = AGENTS_MD_HELP)]
    AgentsMd(AgentsMd),
    /// Say what this machine can enforce, what is missing and what to do about it.
    #[command(
        after_help = "Exits with 69 when `holdpoint run` could not work here. Names that a killed run has left in the workspace are taken away.\n\nExamples:\n  holdpoint doctor\n  holdpoint doctor --json"
    )]
    Doctor(Doctor),
    /// Print the completions for a shell.
    #[command(
        after_help = "Examples:\n  holdpoint completions bash > ~/.local/share/bash-completion/completions/holdpoint"
    )]
    Completions(Completions),
}

impl Command {
    /// Whether a machine-readable result was asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Run(args) => args.flags.answer.json,
            Self::Bundle(args) => args.flags.answer.json,
            Self::Session(args) => args.command.json(),
            Self::Apply(args) => args.flags.answer.json,
            Self::Check(args) => args.flags.answer.json,
            Self::Explain(args) => args.flags.answer.json,
            Self::Doctor(args) => args.flags.answer.json,
            Self::Pair(answer) => answer.json,
            Self::Holds(args) => args.answer.json,
            Self::Approve(args) => args.answer.json,
            Self::Deny(args) => args.answer.json,
            Self::AgentsMd(args) => args.answer.json,
            Self::Serve(args) => args.answer.json,
            Self::Completions(_) => false,
        }
    }
}

/// The form of the answer.
#[derive(Debug, Clone, Default, Args)]
pub struct Answer {
    /// Print one machine-readable result on standard output
    #[arg(long)]
    pub json: bool,
}

/// What decides the policy.
#[derive(Debug, Clone, Default, Args)]
pub struct PolicyFlags {
    /// Use this configuration file in place of the user's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The profile to use
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The directory that may be worked in [default: the git root, else the current directory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workspace: Option<PathBuf>,
    /// How far the sandbox is closed
    #[arg(long, value_name = "MODE", value_parser = sandbox_mode())]
    pub sandbox: Option<SandboxMode>,
    /// What waits for a person
    #[arg(long, value_name = "MODE", value_parser = approval_mode())]
    pub approval: Option<ApprovalMode>,
    /// Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it
    #[arg(long, value_name = "GLOB")]
    pub deny_read: Vec<String>,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// How long to wait for a person.
#[derive(Debug, Clone, Args)]
pub struct Wait {
    /// How long a hold waits for a decision, such as 90s or 1h
    #[arg(long, value_name = "TIME", default_value = HOLD_TIMEOUT, value_parser = hold_time)]
    pub hold_timeout: Duration,
}

/// `holdpoint run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What decides the policy.
    #[command(flatten)]
    pub flags: PolicyFlags,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub argv: Vec<OsString>,
}

/// `holdpoint bundle`.
#[derive(Debug, Args)]
pub struct Bundle {
    /// What decides the policy.
    #[command(flatten)]
    pub flags: PolicyFlags,
    /// Write the bundle although engines lack this protection; may be given more than once, or as a list with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = protection)]
    pub allow_missing: Vec<Protection>,
    /// The directory to write: it must be empty or not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub argv: Vec<OsString>,
}

/// `holdpoint apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// What decides the policy.
    #[command(flatten)]
    pub flags: PolicyFlags,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// The unified diff; `-` reads it from standard input
    #[arg(value_name = "PATCH", value_hint = ValueHint::FilePath)]
    pub patch: PathBuf,
}

/// `holdpoint check`.
#[derive(Debug, Args)]
pub struct Check {
    /// What decides the policy.
    #[command(flatten)]
    pub flags: PolicyFlags,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub argv: Vec<OsString>,
}

/// `holdpoint explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// What decides the policy.
    #[command(flatten)]
    pub flags: PolicyFlags,
}

/// `holdpoint doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// What decides the policy.
    #[command(flatten)]
    pub flags: PolicyFlags,
}

/// `holdpoint serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The loopback address and port of the page; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// `holdpoint holds`.
#[derive(Debug, Args)]
pub struct Holds {
    /// List those that are closed as well
    #[arg(long)]
    pub all: bool,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// `holdpoint approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// The hold, as `holdpoint holds` lists it
    #[arg(value_name = "ID")]
    pub id: String,
    /// The digest of what you saw, or its first 12 digits or more; without it you are shown the plan and asked
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// `holdpoint deny`.
#[derive(Debug, Args)]
pub struct Deny {
    /// The hold, as `holdpoint holds` lists it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why, for whoever asked
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// `holdpoint agents-md`.
#[derive(Debug, Args)]
pub struct AgentsMd {
    /// The directory [default: the current one]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// The most bytes to print; files that do not fit whole are named on standard error
    #[arg(long, value_name = "N", default_value_t = 32 * 1024)]
    pub max_bytes: usize,
    /// Fail when a file does not fit
    #[arg(long)]
    pub strict: bool,
    /// The form of the answer.
    #[command(flatten)]
    pub answer: Answer,
}

/// `holdpoint completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// A word for `--sandbox`; `none` is no offer.
fn sandbox_mode() -> impl TypedValueParser<Value = SandboxMode> {
    let offered = |mode: SandboxMode| PossibleValue::new(mode.word()).hide(mode == SandboxMode::None);
    PossibleValuesParser::new(SandboxMode::ALL.map(offered)).try_map(|word| match word.parse() {
        Ok(SandboxMode::None) => Err("only a profile can say `none`, never a flag".to_owned()),
        other => other.map_err(|error| error.to_string()),
    })
}

fn approval_mode() -> impl TypedValueParser<Value = ApprovalMode> {
    PossibleValuesParser::new(ApprovalMode::ALL.map(ApprovalMode::word)).try_map(|word| word.parse())
}

/// A protection by the name that reports give it.
fn protection(word: &str) -> Result<Protection, String> {
    use serde::de::{Deserialize, IntoDeserializer, value::Error};
    Protection::deserialize(IntoDeserializer::<Error>::into_deserializer(word)).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    Time::parse(text).map(|time| time.0)
}

fn hold_time(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    LASTING.contains(&time).then_some(time).ok_or_else(|| "a hold lasts between one second and 24 hours".into())
}

fn size(text: &str) -> Result<u64, String> {
    Size::parse(text).map(|size| size.0)
}

const HELP: &str = "\
Examples:
  holdpoint doctor
  holdpoint run -- cargo test
  holdpoint run --approval full-auto --sandbox read-only -- rg TODO
  holdpoint check -- git push --force
  holdpoint session start";

const RUN_HELP: &str = "\
Standard input, output and error are the command's own, and so is the exit code when it ran. With --json, a result is \
printed on standard output only when the command did not run.

Examples:
  holdpoint run -- cargo test
  holdpoint run --profile production-adjacent -- ./agent.sh
  holdpoint run --sandbox read-only --approval full-auto -- rg TODO";

const BUNDLE_HELP: &str = "\
Writes DIR/config.json and DIR/rootfs with the mounts, masks, protected names, limits and refused system calls that \
`holdpoint run` would give the command. What an engine does not enforce is an error with exit code 69, unless it is \
named with --allow-missing; what is denied now, or would be held, is not written. Whoever has the bundle can run it \
again and again, and nobody is asked then: a hold needs `holdpoint run`.

Examples:
  holdpoint bundle --approval full-auto --allow-missing landlock,reserved-names /tmp/b -- make test
  runc run --bundle /tmp/b build-1
  crun run --bundle /tmp/b build-2";

const APPLY_HELP: &str = "\
Holds the diff for a person under `suggest`, applies it at once under `auto-edit` and `full-auto`; never outside the \
workspace, through a symbolic link, or on a protected name.

Examples:
  holdpoint apply fix.patch
  git diff | holdpoint apply --workspace ../copy -";

const CHECK_HELP: &str = "\
Exits with 0 when the command would run, 10 when it would be held, 77 when it would be denied. Hooks are programs, so \
they are named and not run.

Examples:
  holdpoint check -- git push --force
  holdpoint check --json --profile production-adjacent -- curl -X DELETE https://example.com";

const EXPLAIN_HELP: &str = "\
Examples:
  holdpoint explain
  holdpoint explain --profile production-adjacent --json";

const SERVE_HELP: &str = "\
Prints a one-time link once; open it in a browser on this machine. Runs that are held find the server by themselves.

Examples:
  holdpoint serve
  holdpoint serve --listen 127.0.0.1:7171";

const APPROVE_HELP: &str = "\
Without --digest the plan is shown and a terminal is asked. With it nothing is asked: whoever gives the digest has seen \
what it stands for.

Examples:
  holdpoint approve 7kq2m9wd3xr5t8va
  holdpoint approve 7kq2m9wd3xr5t8va --digest 3f9c21ab77e0";

const AGENTS_MD_HELP: &str = "\
The global file first, then from the project root down to DIR; AGENTS.override.md stands in for AGENTS.md in its \
directory. Blocks with the info string `holdpoint` in these files are enforced by every run.

Examples:
  holdpoint agents-md
  holdpoint agents-md --strict --max-bytes 65536 src/api";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read_alone_as_by_the_whole() {
        for line in [
            "run -- true",
            "run true -x --help",
            "run --approval full-auto --deny-read a --deny-read !b --workspace /w --hold-timeout 90s -- sh -c x",
            "run --json -- true",
            "run --help",
            "run --version",
            "run",
            "run --",
            "run --approval never -- true",
            "run --hold-timeout soon -- true",
            "run --sandox x true",
            "session run -- true",
            "session run api --private-tmp --may-write t --cpu-time 5m -- cargo build",
            "session run --help",
            "session run --file-size many -- true",
            "session list",
            "session",
            "check -- true",
            "--version",
            "",
        ] {
            let args: Vec<OsString> =
                ["holdpoint"].into_iter().chain(line.split_whitespace()).map(Into::into).collect();
            let told =
                |read: Result<Cli, clap::Error>| read.map(|cli| format!("{cli:?}")).map_err(|error| error.to_string());
            assert_eq!(told(Cli::read(&args)), told(Cli::try_parse_from(&args)), "{line}");
        }
    }
}
