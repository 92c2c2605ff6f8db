//! What a person is shown and what a decision covers: the plan of one hold, and its digest.
//!
//! The runner builds a [`HoldPlan`] from what it is about to execute, the page shows exactly its fields, a decision names
//! its [`HoldPlan::digest`], and the runner builds it again before it executes: any difference is another plan, and no
//! decision covers it (promise P3: what was shown is what runs).

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

pub use crate::bytes::{Bytes, Digest, NotADigest};
use crate::error::Error;

/// Most bytes of arguments a person can be asked to review.
pub const MAX_ARGV: usize = 64 * 1024;
/// Most bytes of a diff a person can be asked to review.
pub const MAX_DIFF: usize = 512 * 1024;
/// Most entries in each list of a plan.
pub const MAX_ENTRIES: usize = 4096;
/// Most bytes of all other texts of a plan together.
pub const MAX_TEXT: usize = 512 * 1024;

/// What kind of action is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A command to execute.
    Run,
    /// A change of files, shown as a diff.
    Edit,
}

/// A file or directory by device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileId {
    /// Device number (`st_dev`).
    pub dev: u64,
    /// Inode number (`st_ino`).
    pub ino: u64,
}

/// A file whose content takes part in the action: the executable, or a script named in the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Its absolute path.
    pub path: Bytes,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub len: u64,
}

/// One environment variable: its value is covered, but never shown or stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvRef {
    /// The variable's name.
    pub name: Bytes,
    /// SHA-256 of its value.
    pub sha256: Digest,
}

/// Where standard input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stdin {
    /// Nothing can be read.
    Null,
    /// A terminal: a person types.
    Terminal,
    /// A pipe or file. What will come through it is not known before it runs, unless it was read in full.
    Piped {
        /// What was read in full beforehand; `None` when it streams and cannot be reviewed.
        content: Option<Content>,
    },
}

/// Standard input that was read in full before the hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of all of it.
    pub sha256: Digest,
    /// Its first bytes, to show.
    pub head: Bytes,
}

/// Why the action is held: one reason, the rule that gave it and where that rule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The rule's name.
    pub rule: String,
    /// Where the rule comes from, as `config.toml:12` or `built-in`.
    pub origin: String,
    /// One sentence for the person.
    pub text: String,
}

/// All that is shown of a hold, and all that its digest covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldPlan {
    /// Command or edit.
    pub kind: Kind,
    /// The arguments as they will be executed, the program first.
    pub argv: Vec<Bytes>,
    /// The working directory.
    pub cwd: Bytes,
    /// Which directory that is, whatever its path leads to later.
    pub cwd_id: FileId,
    /// The program file that `argv[0]` resolved to.
    pub executable: Option<FileRef>,
    /// Files named in the arguments whose content is executed or applied: scripts, patches.
    pub operands: Vec<FileRef>,
    /// The environment, values as digests.
    pub env: Vec<EnvRef>,
    /// Where standard input comes from.
    pub stdin: Stdin,
    /// The profile in force.
    pub profile: String,
    /// A digest of the whole effective policy.
    pub policy_digest: String,
    /// Why it is held.
    pub reasons: Vec<Reason>,
    /// What the sandbox will allow, one line each.
    pub sandbox: Vec<String>,
    /// For an edit: the unified diff.
    pub diff: Option<Bytes>,
    /// The host it runs on.
    pub host: String,
    /// The user it runs as.
    pub user: String,
}

impl HoldPlan {
    /// SHA-256 over a canonical form of every field: a domain name, then each field in the order of the struct, with
    /// every string and list preceded by its length, so that no two plans share a form.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut form = Form(sha2::Sha256::new());
        form.bytes(b"holdpoint/plan/1");
        form.byte(match self.kind {
            Kind::Run => 0,
            Kind::Edit => 1,
        });
        form.list(&self.argv, |form, arg| form.bytes(arg.as_bytes()));
        form.bytes(self.cwd.as_bytes());
        form.number(self.cwd_id.dev);
        form.number(self.cwd_id.ino);
        form.list(self.executable.as_slice(), Form::file);
        form.list(&self.operands, Form::file);
        form.list(&self.env, |form, entry| {
            form.bytes(entry.name.as_bytes());
            form.bytes(entry.sha256.as_bytes());
        });
        match &self.stdin {
            Stdin::Null => form.byte(0),
            Stdin::Terminal => form.byte(1),
            Stdin::Piped { content: None } => form.byte(2),
            Stdin::Piped { content: Some(content) } => {
                form.byte(3);
                form.number(content.len);
                form.bytes(content.sha256.as_bytes());
                form.bytes(content.head.as_bytes());
            }
        }
        form.bytes(self.profile.as_bytes());
        form.bytes(self.policy_digest.as_bytes());
        form.list(&self.reasons, |form, reason| {
            form.bytes(reason.rule.as_bytes());
            form.bytes(reason.origin.as_bytes());
            form.bytes(reason.text.as_bytes());
        });
        form.list(&self.sandbox, |form, line| form.bytes(line.as_bytes()));
        form.list(self.diff.as_slice(), |form, diff| form.bytes(diff.as_bytes()));
        form.bytes(self.host.as_bytes());
        form.bytes(self.user.as_bytes());
        Digest::from(<[u8; 32]>::from(form.0.finalize()))
    }

    /// Refuses a plan that a person cannot be expected to read.
    ///
    /// # Errors
    /// [`Error::TooLarge`], naming the part and its limit.
    pub fn check_size(&self) -> Result<(), Error> {
        let within = |what: &'static str, size: usize, limit: usize| {
            if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
        };
        within("arguments", self.argv.iter().map(|arg| arg.len() + 1).sum(), MAX_ARGV)?;
        within("diff", self.diff.as_ref().map_or(0, Bytes::len), MAX_DIFF)?;
        let lists = [self.argv.len() / 8, self.operands.len(), self.env.len(), self.reasons.len(), self.sandbox.len()];
        within("number of entries", lists.into_iter().max().unwrap_or(0), MAX_ENTRIES)?;
        let stdin = match &self.stdin {
            Stdin::Piped { content: Some(content) } => content.head.len(),
            _ => 0,
        };
        let texts = self.cwd.len()
            + stdin
            + self.executable.iter().chain(&self.operands).map(|file| file.path.len()).sum::<usize>()
            + self.env.iter().map(|entry| entry.name.len()).sum::<usize>()
            + self.reasons.iter().map(|r| r.rule.len() + r.origin.len() + r.text.len()).sum::<usize>()
            + self.sandbox.iter().map(String::len).sum::<usize>()
            + self.profile.len()
            + self.policy_digest.len()
            + self.host.len()
            + self.user.len();
        within("description", texts, MAX_TEXT)
    }
}

/// The canonical form, as it is hashed.
struct Form(sha2::Sha256);

impl Form {
    fn byte(&mut self, value: u8) {
        self.0.update([value]);
    }

    fn number(&mut self, value: u64) {
        self.0.update(value.to_be_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.update(value);
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }

    fn file(&mut self, file: &FileRef) {
        self.bytes(file.path.as_bytes());
        self.number(file.dev);
        self.number(file.ino);
        self.bytes(file.sha256.as_bytes());
        self.number(file.len);
    }
}
