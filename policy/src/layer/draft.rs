//! A policy in the making: values are set first, then only tightened.

use crate::config::Config;
use crate::config::shape::{CatalogShape, LimitsShape, ProfileShape};
use crate::deny_read::DenyRead;
use crate::environment::INHERITED;
use crate::loss::Loss;
use crate::mode::{ApprovalMode, SandboxMode};
use crate::paths;
use crate::policy::{BUILT_IN, CatalogVerdicts, Limits, Policy, Sourced, Warning};
use crate::verdict::Verdict;
use std::collections::BTreeMap;
use toml::Spanned;

pub(super) struct Draft {
    policy: Policy,
}

impl Draft {
    /// What holds when nobody wrote anything.
    pub(super) fn built_in() -> Draft {
        let policy = Policy {
            profile: String::new(),
            model: None,
            sandbox: Sourced::built_in(SandboxMode::WorkspaceWrite),
            approval: Sourced::built_in(ApprovalMode::Suggest),
            deny_read: Vec::new(),
            deny_read_git_history: Sourced::built_in(false),
            deny_read_strict: Sourced::built_in(false),
            protect: Vec::new(),
            readable: Vec::new(),
            writable: Vec::new(),
            env_inherit: INHERITED.iter().map(|name| Sourced::built_in((*name).to_owned())).collect(),
            env_set: BTreeMap::new(),
            exec_deny: Vec::new(),
            exec_guard: Sourced::built_in(false),
            allow_missing: Vec::new(),
            limits: Limits::default(),
            catalog: CatalogVerdicts {
                destructive: Sourced::built_in(Verdict::Allow),
                system: Sourced::built_in(Verdict::Allow),
                credentials: Sourced::built_in(Verdict::Allow),
                outward: Sourced::built_in(Verdict::Allow),
                unreadable: Sourced::built_in(Verdict::Allow),
            },
            rules: Vec::new(),
            hooks: Vec::new(),
            warnings: Vec::new(),
        };
        Draft { policy }
    }

    /// Sets what a profile of the machine or the person says; lists add up.
    pub(super) fn set(&mut self, config: &Config, shape: &ProfileShape) {
        let policy = &mut self.policy;
        if let Some(model) = &shape.model {
            policy.model = Some(sourced(config, model, Clone::clone));
        }
        if let Some(mode) = &shape.sandbox {
            policy.sandbox = sourced(config, mode, |mode| *mode);
        }
        if let Some(mode) = &shape.approval_policy {
            policy.approval = sourced(config, mode, |mode| *mode);
        }
        deny_read(&mut policy.deny_read, config, &shape.deny_read_paths);
        protect(&mut policy.protect, config, &shape.protect_paths);
        extend(&mut policy.readable, config, &shape.readable_paths, |path| paths::tidy(path));
        extend(&mut policy.writable, config, &shape.writable_paths, |path| paths::tidy(path));
        extend(&mut policy.exec_deny, config, &shape.exec_deny_paths, |path| paths::tidy(path));
        if let Some(guard) = &shape.exec_guard {
            policy.exec_guard = sourced(config, guard, |guard| *guard);
        }
        self.strict(config, shape.deny_read_strict.as_ref(), "in a profile");
        self.history(config, shape.deny_read_git_history.as_ref(), "in a profile");
        let policy = &mut self.policy;
        for loss in &shape.allow_missing {
            if !policy.allow_missing.iter().any(|known| known.value == *loss.get_ref()) {
                policy.allow_missing.push(sourced(config, loss, |loss| *loss));
            }
        }
        extend(&mut policy.env_inherit, config, &shape.env.inherit, Clone::clone);
        for (name, value) in &shape.env.set {
            policy.env_set.insert(name.get_ref().clone(), sourced(config, value, Clone::clone));
        }
        limits(&mut policy.limits, config, &shape.limits, |_, _| true);
        catalog(&mut policy.catalog, config, &shape.catalog, |_, _| true);
    }

    pub(super) fn set_sandbox(&mut self, mode: Sourced<SandboxMode>) {
        self.policy.sandbox = mode;
    }

    pub(super) fn set_approval(&mut self, mode: Sourced<ApprovalMode>) {
        self.policy.approval = mode;
    }

    pub(super) fn deny_read(&mut self, pattern: Sourced<DenyRead>) {
        push(&mut self.policy.deny_read, pattern);
    }

    /// Tightens by the keys that stand outside a profile.
    pub(super) fn tighten_everywhere(&mut self, config: &Config) {
        let shape = &config.shape;
        self.modes(config, shape.sandbox.as_ref(), shape.approval_policy.as_ref(), "outside a profile");
        self.lists(config, &shape.deny_read_paths, &shape.protect_paths, &shape.exec_deny_paths);
        self.guard(config, shape.exec_guard.as_ref(), "outside a profile");
        self.strict(config, shape.deny_read_strict.as_ref(), "outside a profile");
        self.history(config, shape.deny_read_git_history.as_ref(), "outside a profile");
        if let Some(most) = &shape.allow_missing {
            self.at_most_missing(most.get_ref(), &config.source_of(most.span()));
        }
        self.bounds(config, &shape.limits, &shape.catalog);
    }

    /// Takes back what a profile lets be missing and `most`, written at `origin`, does not.
    fn at_most_missing(&mut self, most: &[Loss], origin: &str) {
        let policy = &mut self.policy;
        for loss in policy.allow_missing.extract_if(.., |loss| !most.contains(&loss.value)) {
            let text = format!("`allow_missing` does not take effect for `{}`: {origin} allows less", loss.value);
            policy.warnings.push(Warning { origin: loss.origin, text });
        }
    }

    /// Tightens by a profile in the project's own file.
    pub(super) fn tighten_profile(&mut self, config: &Config, shape: &ProfileShape) {
        if let (None, Some(model)) = (&self.policy.model, &shape.model) {
            self.policy.model = Some(sourced(config, model, Clone::clone));
        }
        self.modes(config, shape.sandbox.as_ref(), shape.approval_policy.as_ref(), "in a project's own file");
        self.guard(config, shape.exec_guard.as_ref(), "in a project's own file");
        self.strict(config, shape.deny_read_strict.as_ref(), "in a project's own file");
        self.history(config, shape.deny_read_git_history.as_ref(), "in a project's own file");
        self.lists(config, &shape.deny_read_paths, &shape.protect_paths, &shape.exec_deny_paths);
        self.bounds(config, &shape.limits, &shape.catalog);
    }

    fn modes(
        &mut self,
        config: &Config,
        sandbox: Option<&Spanned<SandboxMode>>,
        approval: Option<&Spanned<ApprovalMode>>,
        place: &str,
    ) {
        let policy = &mut self.policy;
        if let Some(mode) = sandbox {
            let asked = sourced(config, mode, |mode| *mode);
            policy.warnings.extend(tighten(&mut policy.sandbox, asked, "sandbox", place));
        }
        if let Some(mode) = approval {
            let asked = sourced(config, mode, |mode| *mode);
            policy.warnings.extend(tighten(&mut policy.approval, asked, "approval_policy", place));
        }
    }

    fn guard(&mut self, config: &Config, guard: Option<&Spanned<bool>>, place: &str) {
        if let Some(guard) = guard {
            let asked = sourced(config, guard, |guard| *guard);
            let warning = tighten(&mut self.policy.exec_guard, asked, "exec_guard", place);
            self.policy.warnings.extend(warning);
        }
    }

    fn strict(&mut self, config: &Config, strict: Option<&Spanned<bool>>, place: &str) {
        if let Some(strict) = strict {
            let asked = sourced(config, strict, |strict| *strict);
            let warning = tighten(&mut self.policy.deny_read_strict, asked, "deny_read_strict", place);
            self.policy.warnings.extend(warning);
        }
    }

    fn history(&mut self, config: &Config, history: Option<&Spanned<bool>>, place: &str) {
        if let Some(history) = history {
            let asked = sourced(config, history, |history| *history);
            let warning = tighten(&mut self.policy.deny_read_git_history, asked, "deny_read_git_history", place);
            self.policy.warnings.extend(warning);
        }
    }

    fn lists(
        &mut self,
        config: &Config,
        deny_read: &[Spanned<String>],
        protect: &[Spanned<String>],
        exec_deny: &[Spanned<String>],
    ) {
        self::deny_read(&mut self.policy.deny_read, config, deny_read);
        self::protect(&mut self.policy.protect, config, protect);
        extend(&mut self.policy.exec_deny, config, exec_deny, |path| paths::tidy(path));
    }

    fn bounds(&mut self, config: &Config, shape: &LimitsShape, known: &CatalogShape) {
        limits(&mut self.policy.limits, config, shape, |held, asked| asked < held);
        catalog(&mut self.policy.catalog, config, known, |held, asked| asked > held);
    }

    pub(super) fn finish(mut self, profile: &str) -> Policy {
        profile.clone_into(&mut self.policy.profile);
        if self.policy.approval.value != ApprovalMode::FullAuto {
            self.ask_about_known_commands();
        }
        self.policy
    }

    /// Where commands are held anyway, the catalog adds its reasons, also to those an `allow` rule lets go ahead. In full-auto
    /// only what somebody wrote counts.
    fn ask_about_known_commands(&mut self) {
        let CatalogVerdicts { destructive, system, credentials, outward: _, unreadable } = &mut self.policy.catalog;
        for class in [destructive, system, credentials, unreadable] {
            if class.origin == BUILT_IN {
                class.value = Verdict::Ask;
            }
        }
    }
}

/// Takes what is asked when it is stricter; says so when it would be looser, for the person may have meant to loosen.
fn tighten<T: Copy + Ord + std::fmt::Display>(
    held: &mut Sourced<T>,
    asked: Sourced<T>,
    key: &str,
    place: &str,
) -> Option<Warning> {
    if asked.value > held.value {
        *held = asked;
        return None;
    }
    (asked.value < held.value).then(|| Warning {
        text: format!(
            "`{key} = \"{}\"` {place} can only tighten: `{}` holds ({})",
            asked.value, held.value, held.origin
        ),
        origin: asked.origin,
    })
}

fn sourced<T, U>(config: &Config, value: &Spanned<T>, convert: impl Fn(&T) -> U) -> Sourced<U> {
    Sourced::new(convert(value.get_ref()), config.source_of(value.span()))
}

fn extend(
    list: &mut Vec<Sourced<String>>,
    config: &Config,
    words: &[Spanned<String>],
    convert: impl Fn(&String) -> String,
) {
    for word in words {
        push(list, sourced(config, word, &convert));
    }
}

/// One list of denied patterns; its exceptions stay with them.
fn deny_read(list: &mut Vec<Sourced<DenyRead>>, config: &Config, words: &[Spanned<String>]) {
    let patterns = words.iter().filter(|word| !word.get_ref().starts_with('!'));
    let denied = DenyRead::list(words.iter().map(|word| word.get_ref().as_str()));
    for (denied, word) in denied.into_iter().zip(patterns) {
        for denied in config.starts.denied(&denied) {
            push(list, Sourced::new(denied, config.source_of(word.span())));
        }
    }
}

fn protect(list: &mut Vec<Sourced<String>>, config: &Config, words: &[Spanned<String>]) {
    for word in words {
        for path in config.starts.plain(word.get_ref()) {
            push(list, Sourced::new(path, config.source_of(word.span())));
        }
    }
}

/// The first who said it stays its origin.
fn push<T: PartialEq>(list: &mut Vec<Sourced<T>>, word: Sourced<T>) {
    if !list.iter().any(|known| known.value == word.value) {
        list.push(word);
    }
}

/// Replaces a bound when there is none yet or `takes(held, asked)`.
fn bound<T: Copy, U: Copy>(
    held: &mut Option<Sourced<U>>,
    config: &Config,
    asked: Option<&Spanned<T>>,
    convert: impl Fn(T) -> U,
    takes: impl Fn(U, U) -> bool,
) {
    let Some(asked) = asked.map(|value| sourced(config, value, |value| convert(*value))) else { return };
    if held.as_ref().is_none_or(|held| takes(held.value, asked.value)) {
        *held = Some(asked);
    }
}

fn limits(held: &mut Limits, config: &Config, shape: &LimitsShape, takes: impl Fn(u128, u128) -> bool) {
    let numbers = |held: u64, asked: u64| takes(held.into(), asked.into());
    bound(&mut held.memory, config, shape.memory.as_ref(), |size| size.0, numbers);
    bound(&mut held.pids, config, shape.pids.as_ref(), |count| count, numbers);
    bound(&mut held.tmp, config, shape.tmp.as_ref(), |size| size.0, numbers);
    bound(&mut held.disk, config, shape.disk.as_ref(), |size| size.0, numbers);
    bound(&mut held.files, config, shape.files.as_ref(), |count| count, numbers);
    bound(&mut held.output, config, shape.output.as_ref(), |size| size.0, numbers);
    bound(&mut held.cpus, config, shape.cpus.as_ref(), |share| share.0, |held, asked| takes(held.into(), asked.into()));
    bound(&mut held.open_files, config, shape.open_files.as_ref(), |count| count, numbers);
    let times = |held: std::time::Duration, asked: std::time::Duration| takes(held.as_nanos(), asked.as_nanos());
    bound(&mut held.wall_time, config, shape.wall_time.as_ref(), |time| time.0, times);
    bound(&mut held.cpu_time, config, shape.cpu_time.as_ref(), |time| time.0, times);
}

fn catalog(
    held: &mut CatalogVerdicts,
    config: &Config,
    shape: &CatalogShape,
    takes: impl Fn(Verdict, Verdict) -> bool,
) {
    for (held, asked) in [
        (&mut held.destructive, &shape.destructive),
        (&mut held.system, &shape.system),
        (&mut held.credentials, &shape.credentials),
        (&mut held.outward, &shape.outward),
        (&mut held.unreadable, &shape.unreadable),
    ] {
        if let Some(asked) = asked
            && takes(held.value, *asked.get_ref())
        {
            *held = sourced(config, asked, |verdict| *verdict);
        }
    }
}
