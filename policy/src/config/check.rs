//! What serde cannot see: words that need a nearest word, patterns that cannot be enforced, promises that are not kept yet.

use super::shape::{FileShape, LimitsShape, RuleShape};
use super::{Config, ConfigError, Mistake, Place};
use crate::deny_read;
use crate::mode::{SandboxMode, list};
use crate::paths;
use crate::rules::Rule;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

/// Keys that stand in a profile and nowhere else.
const PROFILE_ONLY: [&str; 6] = ["model", "extends", "readable_paths", "writable_paths", "env", "network"];

/// Turns an error of the TOML reader into ours.
pub(super) fn explain_toml(error: &toml::de::Error, origin: &str, source: &Arc<str>, place: Place) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let at = |mistake, message: String| ConfigError::at(mistake, origin, source, span.clone(), message);
    let message = error.message();
    if let Some((key, known)) = expected(message, "unknown field ") {
        let shown = at(Mistake::UnknownKey, format!("unknown key `{key}`"));
        let at_top = known.contains(&"profile");
        return match (PROFILE_ONLY.contains(&key) && at_top, place) {
            (true, Place::File) => shown.suggest(format!("`{key}` belongs in a `[profile.NAME]` table")),
            (true, Place::Block) => shown.suggest("a block in AGENTS.md can only tighten, which this key cannot"),
            (false, _) => shown.suggest_among(key, &known),
        };
    }
    if let Some((word, known)) = expected(message, "unknown variant ") {
        let shown = at(Mistake::UnknownWord, format!("unknown word `{word}`"));
        return match word {
            "seccomp" if known.contains(&"late-masks") => shown.suggest("system calls are always filtered"),
            "mount-view" if known.contains(&"late-masks") => shown.suggest("the view goes with `namespaces`"),
            _ => shown.suggest_among(word, &known),
        };
    }
    if message.starts_with("wanted ") {
        return at(Mistake::BadValue, "this takes a word in quotes".to_owned());
    }
    match message.starts_with("invalid type") || message.starts_with("missing field") || message.starts_with('`') {
        true => at(Mistake::BadValue, message.replace("missing field", "missing key")),
        false => at(Mistake::Syntax, format!("not TOML: {message}")),
    }
}

/// The word and the known words of serde's "unknown … `x`, expected one of `a`, `b`".
fn expected<'a>(message: &'a str, start: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = message.strip_prefix(start)?.strip_prefix('`')?;
    let (word, known) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no "))?;
    Some((word, known.split('`').skip(1).step_by(2).collect()))
}

/// Checks everything that can be wrong with one file alone.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let FileShape { profile, hooks, rules, credentials, .. } = &config.shape;
    if let Some(credentials) = credentials {
        return Err(not_enforced(config, credentials.span(), "[[credentials]]"));
    }
    everywhere(config)?;
    for (name, profile) in profile {
        check_name(config, name)?;
        if let Some((key, _)) = profile.network.first_key_value() {
            return Err(not_enforced(config, key.span(), &format!("network.{}", key.get_ref())));
        }
        globs(config, &profile.deny_read_paths)?;
        inside(config, &profile.protect_paths)?;
        for words in [&profile.exec_deny_paths, &profile.readable_paths, &profile.writable_paths] {
            outside(config, words)?;
        }
        for name in &profile.env.inherit {
            crate::environment::check_name_glob(name.get_ref())
                .map_err(|why| config.error(Mistake::BadValue, name.span(), why))?;
        }
        for (name, value) in &profile.env.set {
            let wrong = name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']);
            if wrong || value.get_ref().contains('\0') {
                let span = if wrong { name.span() } else { value.span() };
                return Err(config.error(Mistake::BadValue, span, "this cannot stand in an environment"));
            }
        }
        limits(config, &profile.limits)?;
    }
    for hook in hooks {
        let hook = hook.get_ref();
        if hook.command.get_ref().trim().is_empty() {
            return Err(config.error(Mistake::BadValue, hook.command.span(), "a hook needs a command"));
        }
        if let Some(tool) = &hook.tool {
            check_tool(config, tool)?;
        }
    }
    for rule in rules {
        compile_rule(config, rule)?;
    }
    Ok(())
}

fn everywhere(config: &Config) -> Result<(), ConfigError> {
    let shape = &config.shape;
    if let Some(mode) = shape.sandbox.as_ref().filter(|mode| *mode.get_ref() == SandboxMode::None) {
        let message = "`none` outside a profile would hold for every profile";
        return Err(config
            .error(Mistake::BadValue, mode.span(), message)
            .suggest("write it in the one `[profile.NAME]` that is for a disposable machine"));
    }
    globs(config, &shape.deny_read_paths)?;
    inside(config, &shape.protect_paths)?;
    outside(config, &shape.exec_deny_paths)?;
    limits(config, &shape.limits)
}

fn not_enforced(config: &Config, span: Range<usize>, key: &str) -> ConfigError {
    let message = format!("`{key}` is not enforced by this version, so it is refused rather than ignored");
    config.error(Mistake::NotEnforced, span, message).suggest("remove it; nothing else protects what it promises")
}

/// A profile's name ends in paths, pages and flags: letters, digits, `-`, `_` and `.`.
fn check_name(config: &Config, name: &Spanned<String>) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = name.get_ref();
    match !text.is_empty() && text.chars().count() <= 64 && text.chars().all(plain) && !text.starts_with('-') {
        true => Ok(()),
        false => {
            let message = "a profile's name is made of letters, digits, `-`, `_` and `.`, at most 64";
            Err(config.error(Mistake::BadValue, name.span(), message))
        }
    }
}

/// The tools Holdpoint itself names; agents have more.
const TOOLS: [&str; 4] = ["shell", "edit", "read", "write"];

/// `tool` is a name in any case, or several with `|` between, with `*` for any letters. A word one slip away from a known tool,
/// or a pattern of another kind, would make a hook that never runs.
fn check_tool(config: &Config, tool: &Spanned<String>) -> Result<(), ConfigError> {
    let text = tool.get_ref().to_lowercase();
    let error = |mistake, message: String| config.error(mistake, tool.span(), message);
    if text.trim().is_empty() {
        return Err(error(Mistake::BadValue, "a hook's tool cannot be empty".to_owned())
            .suggest("leave `tool` out to have it run for every tool"));
    }
    for word in text.split('|').map(str::trim) {
        if word.is_empty() || word.contains(|c: char| "^$()[]{}?+\\".contains(c)) {
            let message = format!("`{word}` names no tool: this takes names, `|` and `*`, no regular expression");
            return Err(error(Mistake::BadValue, message));
        }
        let near = super::nearest::nearest(word, &TOOLS).filter(|near| near.len().abs_diff(word.len()) <= 1);
        if !TOOLS.contains(&word) && !word.contains('*') && near.is_some() {
            return Err(error(Mistake::UnknownWord, format!("unknown tool `{word}`")).suggest_among(word, &TOOLS));
        }
    }
    Ok(())
}

fn globs(config: &Config, patterns: &[Spanned<String>]) -> Result<(), ConfigError> {
    for (index, pattern) in patterns.iter().enumerate() {
        deny_read::check(pattern.get_ref(), index == 0)
            .map_err(|error| config.error(Mistake::BadValue, pattern.span(), error.why))?;
    }
    Ok(())
}

/// Paths inside the workspace: relative, no way out, nothing to expand.
fn inside(config: &Config, names: &[Spanned<String>]) -> Result<(), ConfigError> {
    for name in names {
        paths::check_inside(name.get_ref()).map_err(|why| config.error(Mistake::BadValue, name.span(), why))?;
    }
    Ok(())
}

/// Paths of the host: absolute or below the home directory.
fn outside(config: &Config, names: &[Spanned<String>]) -> Result<(), ConfigError> {
    for name in names {
        paths::check_outside(name.get_ref()).map_err(|why| config.error(Mistake::BadValue, name.span(), why))?;
    }
    Ok(())
}

/// With fewer not even the dynamic loader can open a library.
const LEAST_OPEN_FILES: u64 = 4;

fn limits(config: &Config, limits: &LimitsShape) -> Result<(), ConfigError> {
    for number in [&limits.pids, &limits.open_files, &limits.files].into_iter().flatten() {
        if *number.get_ref() == 0 {
            return Err(config.error(Mistake::BadValue, number.span(), "nothing can run with a limit of 0"));
        }
    }
    if let Some(files) = limits.open_files.as_ref().filter(|files| *files.get_ref() < LEAST_OPEN_FILES) {
        let message = "no program starts with less than 4: three are its input and its outputs, with one it opens what it is made of";
        return Err(config.error(Mistake::BadValue, files.span(), message));
    }
    Ok(())
}

/// Compiles one `[[rules]]` and runs its examples.
pub(crate) fn compile_rule(config: &Config, rule: &Spanned<RuleShape>) -> Result<Rule, ConfigError> {
    let shape = rule.get_ref();
    let prefix = shape.prefix.get_ref();
    if prefix.is_empty() {
        return Err(config.error(Mistake::BadValue, shape.prefix.span(), "a rule needs at least one word"));
    }
    for place in prefix {
        let words = &place.get_ref().0;
        if words.is_empty() || words.iter().any(String::is_empty) {
            let message = "an empty place in a prefix matches nothing";
            return Err(config.error(Mistake::BadValue, place.span(), message));
        }
    }
    let compiled = Rule {
        prefix: prefix.iter().map(|place| place.get_ref().0.clone()).collect(),
        verdict: *shape.verdict.get_ref(),
        reason: shape.reason.as_ref().map(|reason| reason.get_ref().clone()),
        origin: config.source_of(rule.span()),
    };
    for example in &shape.matches {
        if !compiled.matches_line(example.get_ref()) {
            let message = format!("this command line must match {} and does not", list(&[compiled.title()]));
            return Err(config.error(Mistake::Example, example.span(), message));
        }
    }
    for example in &shape.not_match {
        if compiled.matches_line(example.get_ref()) {
            let message = format!("this command line must not match {} and does", list(&[compiled.title()]));
            return Err(config.error(Mistake::Example, example.span(), message));
        }
    }
    Ok(compiled)
}
