//! The shape of a configuration file, exactly as TOML says it. No meaning is given here.

use super::units::{Cpus, Size, Time};
use crate::hook::HookEvent;
use crate::loss::Loss;
use crate::mode::{ApprovalMode, SandboxMode};
use crate::verdict::Verdict;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

type Words = Vec<Spanned<String>>;

/// A whole file. Keys outside a `[profile.NAME]` hold in every profile and can only tighten it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(title = "Holdpoint configuration"))]
pub(crate) struct FileShape {
    /// Profiles by name; `default` is used when none is named.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ProfileShape>"))]
    pub(crate) profile: BTreeMap<Spanned<String>, ProfileShape>,
    /// Programs of the user that run at events, in every profile.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<HookShape>"))]
    pub(crate) hooks: Vec<Spanned<HookShape>>,
    /// Verdicts for commands by their first words, in every profile.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<RuleShape>"))]
    pub(crate) rules: Vec<Spanned<RuleShape>>,
    /// Reserved: refused until it is enforced.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) credentials: Option<Spanned<toml::Value>>,
    /// At most this sandbox mode, in every profile and against `--sandbox`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<SandboxMode>"))]
    pub(crate) sandbox: Option<Spanned<SandboxMode>>,
    /// At most this approval mode, in every profile and against `--approval`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ApprovalMode>"))]
    pub(crate) approval_policy: Option<Spanned<ApprovalMode>>,
    /// Globs that cannot be read, in every profile.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) deny_read_paths: Words,
    /// Whether what is denied is hidden in the history of git too, in every profile; only `true` has an effect.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub(crate) deny_read_git_history: Option<Spanned<bool>>,
    /// Whether opens are judged before they happen, in every profile; only `true` has an effect.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub(crate) deny_read_strict: Option<Spanned<bool>>,
    /// Paths of the workspace that stay read-only, in every profile.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) protect_paths: Words,
    /// Programs that cannot be executed, in every profile.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) exec_deny_paths: Words,
    /// Whether every program is judged before anything inside executes it, in every profile; only `true` has an effect.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub(crate) exec_guard: Option<Spanned<bool>>,
    /// At most these protections may be missing, in every profile.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Loss>>"))]
    pub(crate) allow_missing: Option<Spanned<Vec<Loss>>>,
    /// Bounds that hold in every profile.
    #[serde(default)]
    pub(crate) limits: LimitsShape,
    /// At least these verdicts for known commands, in every profile.
    #[serde(default)]
    pub(crate) catalog: CatalogShape,
}

/// One `[profile.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct ProfileShape {
    /// Carried to the agent.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) model: Option<Spanned<String>>,
    /// The sandbox mode: `read-only`, `workspace-write`, `workspace-write-and-net` or `none`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<SandboxMode>"))]
    pub(crate) sandbox: Option<Spanned<SandboxMode>>,
    /// The approval mode: `suggest`, `auto-edit` or `full-auto`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ApprovalMode>"))]
    pub(crate) approval_policy: Option<Spanned<ApprovalMode>>,
    /// Globs of what cannot be read inside.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) deny_read_paths: Words,
    /// Whether what stood at a denied place is hidden in the history of git too; `true` is not taken back by another layer.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub(crate) deny_read_git_history: Option<Spanned<bool>>,
    /// Whether opens are judged before they happen, so that a denied file is hidden from its first moment; `true` is not
    /// taken back by another layer.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub(crate) deny_read_strict: Option<Spanned<bool>>,
    /// The profile this one starts from.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) extends: Option<Spanned<String>>,
    /// Paths of the workspace that stay read-only.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) protect_paths: Words,
    /// Paths outside the workspace that can be read.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) readable_paths: Words,
    /// Paths outside the workspace that can be written.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) writable_paths: Words,
    /// Environment variables.
    #[serde(default)]
    pub(crate) env: EnvShape,
    /// Whether every program is judged before anything inside executes it.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub(crate) exec_guard: Option<Spanned<bool>>,
    /// Programs that cannot be executed.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) exec_deny_paths: Words,
    /// Protections that may be missing where this machine does not offer them.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Loss>"))]
    pub(crate) allow_missing: Vec<Spanned<Loss>>,
    /// Bounds on what a command may use.
    #[serde(default)]
    pub(crate) limits: LimitsShape,
    /// What known commands get, whatever the approval mode.
    #[serde(default)]
    pub(crate) catalog: CatalogShape,
    /// Reserved: every key in it is refused until it is enforced.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) network: BTreeMap<Spanned<String>, toml::Value>,
}

/// The `env` of a profile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct EnvShape {
    /// Names or globs of variables that pass, besides the built-in ones.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) inherit: Words,
    /// Variables with fixed values.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub(crate) set: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// The `limits` of a profile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct LimitsShape {
    /// Memory, such as `"1GiB"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) memory: Option<Spanned<Size>>,
    /// Processes and threads at once.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub(crate) pids: Option<Spanned<u64>>,
    /// Processors that all processes together may use, such as `1.5`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub(crate) cpus: Option<Spanned<Cpus>>,
    /// Time a command may take, such as `"10m"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) wall_time: Option<Spanned<Time>>,
    /// Processor time a process may use, such as `"90s"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) cpu_time: Option<Spanned<Time>>,
    /// Size of the private `/tmp`, such as `"1GiB"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) tmp: Option<Spanned<Size>>,
    /// What the workspace and other writable paths may grow by, such as `"4GiB"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) disk: Option<Spanned<Size>>,
    /// Files that may be added there.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub(crate) files: Option<Spanned<u64>>,
    /// What a command may write to standard output and error, such as `"16MiB"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) output: Option<Spanned<Size>>,
    /// Open files of a process.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub(crate) open_files: Option<Spanned<u64>>,
}

/// The `catalog` of a profile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct CatalogShape {
    /// Deletes, overwrites or wipes what cannot be brought back.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Verdict>"))]
    pub(crate) destructive: Option<Spanned<Verdict>>,
    /// Changes the machine itself, or what guards it.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Verdict>"))]
    pub(crate) system: Option<Spanned<Verdict>>,
    /// Reads or prints credentials.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Verdict>"))]
    pub(crate) credentials: Option<Spanned<Verdict>>,
    /// Reaches other machines: publishes, deploys, fetches code.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Verdict>"))]
    pub(crate) outward: Option<Spanned<Verdict>>,
    /// Cannot be read before it runs.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Verdict>"))]
    pub(crate) unreadable: Option<Spanned<Verdict>>,
}

/// One `[[hooks]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct HookShape {
    /// When it runs.
    #[cfg_attr(feature = "schema", schemars(with = "HookEvent"))]
    pub(crate) event: Spanned<HookEvent>,
    /// The tool it is for; every tool when absent.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) tool: Option<Spanned<String>>,
    /// Text for `sh -c`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(crate) command: Spanned<String>,
    /// How long it may take, such as `"10s"`; 60 s when absent.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) timeout: Option<Spanned<Time>>,
}

/// One `[[rules]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct RuleShape {
    /// The first words of the command; an element may be a list of alternatives.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<WordShape>"))]
    pub(crate) prefix: Spanned<Vec<Spanned<WordShape>>>,
    /// What the command gets.
    #[cfg_attr(feature = "schema", schemars(with = "Verdict"))]
    pub(crate) verdict: Spanned<Verdict>,
    /// Why, for the person who is asked.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) reason: Option<Spanned<String>>,
    /// Command lines the rule must match; checked when the file is read.
    #[serde(default, rename = "match")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) matches: Words,
    /// Command lines the rule must not match; checked when the file is read.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub(crate) not_match: Words,
}

/// One place of a rule's prefix: a word, or a list of words that may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WordShape(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for WordShape {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<WordShape, D::Error> {
        struct Read;
        impl<'de> serde::de::Visitor<'de> for Read {
            type Value = WordShape;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a word or a list of words")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<WordShape, E> {
                Ok(WordShape(vec![word.to_owned()]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<WordShape, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(WordShape(words))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for WordShape {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        })
    }
}
