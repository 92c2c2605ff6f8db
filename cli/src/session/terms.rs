//! The flags a session was started with, which hold for every command in it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use holdpoint_approval_web::plan::Bytes;
use holdpoint_approval_web::text::command_line;
use holdpoint_policy::Time;
use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::args::{Answer, HOLD_TIMEOUT, IDLE_TIMEOUT, PolicyFlags, SessionStart};

/// The flags of `session start`, independent of the current directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Terms {
    config: Option<Bytes>,
    profile: Option<String>,
    workspace: Bytes,
    sandbox: Option<String>,
    approval: Option<String>,
    deny_read: Vec<String>,
    pub(crate) idle_timeout: Duration,
    pub(crate) hold_timeout: Duration,
}

impl Terms {
    /// What `args` say, for the workspace at `root`.
    ///
    /// # Errors
    /// When there is no current directory that `--config` could be relative to.
    pub(crate) fn new(args: &SessionStart, root: &Path) -> io::Result<Self> {
        let flags = &args.flags;
        Ok(Self {
            config: flags.config.as_ref().map(std::path::absolute).transpose()?.map(|path| path.as_path().into()),
            profile: flags.profile.clone(),
            workspace: root.into(),
            sandbox: flags.sandbox.map(|mode| mode.to_string()),
            approval: flags.approval.map(|mode| mode.to_string()),
            deny_read: flags.deny_read.clone(),
            idle_timeout: args.idle_timeout,
            hold_timeout: args.hold_timeout,
        })
    }

    /// The flags that decide the policy; `None` when they hold words we do not know.
    pub(crate) fn flags(&self) -> Option<PolicyFlags> {
        Some(PolicyFlags {
            config: self.config.as_ref().map(Bytes::to_path),
            profile: self.profile.clone(),
            workspace: Some(self.workspace.to_path()),
            sandbox: self.sandbox.as_ref().map(|word| word.parse()).transpose().ok()?,
            approval: self.approval.as_ref().map(|word| word.parse()).transpose().ok()?,
            deny_read: self.deny_read.clone(),
            answer: Answer::default(),
        })
    }

    /// The command line that starts this very session: one without its flags could be less protected.
    pub(super) fn start(&self, name: &Name) -> String {
        let mut words: Vec<OsString> = ["holdpoint", "session", "start"].map(Into::into).into();
        let text = |value: &Option<String>| value.as_ref().map(OsString::from);
        let time = |time, usual: &str| Some(Time(time).to_string()).filter(|time| time != usual).map(OsString::from);
        let mut flags = vec![
            ("--name", Some(name.as_str().into())),
            ("--workspace", Some(self.workspace.to_os_string())),
            ("--config", self.config.as_ref().map(Bytes::to_os_string)),
            ("--profile", text(&self.profile)),
            ("--sandbox", text(&self.sandbox)),
            ("--approval", text(&self.approval)),
        ];
        flags.extend(self.deny_read.iter().map(|glob| ("--deny-read", Some(glob.into()))));
        flags.push(("--idle-timeout", time(self.idle_timeout, IDLE_TIMEOUT)));
        flags.push(("--hold-timeout", time(self.hold_timeout, HOLD_TIMEOUT)));
        for (flag, value) in flags {
            match value {
                // As a word of its own it would be taken for a flag.
                Some(value) if value.as_encoded_bytes().starts_with(b"-") => {
                    let mut word = OsString::from(flag);
                    word.push("=");
                    word.push(value);
                    words.push(word);
                }
                Some(value) => words.extend([flag.into(), value]),
                None => {}
            }
        }
        command_line(words.iter().map(|word| word.as_encoded_bytes()))
    }

    /// What to do about a session that cannot be used as it is.
    pub(super) fn start_again(&self, name: &Name) -> String {
        format!("holdpoint session stop {name} && {}", self.start(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Terms;
    use crate::args::{Cli, Command, SessionCommand, SessionStart};
    use std::ffi::OsString;
    use std::path::Path;

    fn start(words: &[&str]) -> SessionStart {
        let words: Vec<OsString> = ["holdpoint", "session", "start"].iter().chain(words).map(Into::into).collect();
        match Cli::read(&words).unwrap().command {
            Command::Session(session) => match session.command {
                SessionCommand::Start(args) => args,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_is_started_again_with_every_flag_it_had() {
        let name = "api".parse().unwrap();
        let line = |words: &[&str]| Terms::new(&start(words), Path::new("/w/my work")).unwrap().start(&name);
        let plain = "holdpoint session start --name api --workspace '/w/my work'";
        assert_eq!(line(&[]), plain);
        let flags = [
            "--config",
            "/c",
            "--profile=-odd",
            "--sandbox",
            "read-only",
            "--approval",
            "full-auto",
            "--deny-read",
            "**/*.pem",
            "--deny-read",
            "!x'",
            "--idle-timeout",
            "2h",
            "--hold-timeout",
            "90s",
        ];
        assert_eq!(
            line(&flags),
            format!(
                "{plain} --config /c --profile=-odd --sandbox read-only --approval full-auto --deny-read '**/*.pem' \
                 --deny-read $'!x\\'' --idle-timeout 2h --hold-timeout 1m30s"
            )
        );
    }
}
