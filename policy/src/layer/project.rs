//! What a project's own files may not say. They come with a clone: what could only loosen is refused, not ignored.

use super::{Layer, LayerKind};
use crate::config::{ConfigError, Mistake};
use crate::mode::SandboxMode;
use crate::verdict::Verdict;
use std::ops::Range;

/// The error for the first thing in a project's file that could loosen the policy or run a program on this machine.
pub(crate) fn refuse_loosening(layer: &Layer) -> Result<(), ConfigError> {
    let config = &layer.config;
    let whose = match layer.kind {
        LayerKind::AgentsMd => "a block in AGENTS.md",
        _ => "a project's own file",
    };
    let refuse = |span: Range<usize>, what: &str| {
        config
            .error(Mistake::Loosens, span, format!("{whose} can only tighten, and {what}"))
            .suggest("write it in your own configuration file, or pass that file with `--config`")
    };
    let shape = &config.shape;
    if let Some(hook) = shape.hooks.first() {
        let what = "a hook runs on this machine outside the sandbox with your rights";
        return Err(refuse(hook.span(), what));
    }
    for rule in &shape.rules {
        if *rule.get_ref().verdict.get_ref() == Verdict::Allow {
            return Err(refuse(rule.get_ref().verdict.span(), "`allow` lets more through"));
        }
    }
    let missing = "`allow_missing` is about this machine, which its owner knows";
    if let Some(list) = &shape.allow_missing {
        return Err(refuse(list.span(), missing));
    }
    for (name, profile) in &shape.profile {
        if layer.kind == LayerKind::AgentsMd {
            return Err(refuse(name.span(), "holds in every profile: write the keys without `[profile.NAME]`"));
        }
        if let Some(mode) = profile.sandbox.as_ref().filter(|mode| *mode.get_ref() == SandboxMode::None) {
            return Err(refuse(mode.span(), "`none` is no sandbox at all"));
        }
        if let Some(extends) = &profile.extends {
            return Err(refuse(extends.span(), "`extends` starts from another of your profiles"));
        }
        if let Some(loss) = profile.allow_missing.first() {
            return Err(refuse(loss.span(), missing));
        }
        for (words, what) in [
            (&profile.readable_paths, "`readable_paths` opens what is closed"),
            (&profile.writable_paths, "`writable_paths` opens what is closed"),
            (&profile.env.inherit, "`env.inherit` passes what stays outside"),
        ] {
            if let Some(word) = words.first() {
                return Err(refuse(word.span(), what));
            }
        }
        if let Some((name, _)) = profile.env.set.first_key_value() {
            return Err(refuse(name.span(), "`env.set` can change which programs run"));
        }
    }
    Ok(())
}
