//! Commands that delete or overwrite files, judged by what they are aimed at.

use super::pattern::Words;
use super::{Class, Hit, only_asks_for_help};
use crate::shell::{Invocation, Word};

/// Directories that a build makes again.
const REGENERABLE: &[&str] = &[
    "node_modules",
    "target",
    "dist",
    "build",
    "out",
    "bin",
    "obj",
    "coverage",
    "htmlcov",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".next",
    ".nuxt",
    ".turbo",
    ".parcel-cache",
    ".gradle",
    ".tox",
    ".nox",
    ".venv",
    "venv",
    ".cache",
    "tmp",
    ".eggs",
    ".svelte-kit",
    "storybook-static",
];

/// What is known about an invocation that works on files.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let mut hits: Vec<Hit> = invocation.writes.iter().filter_map(overwritten).collect();
    let (Some(name), false) = (invocation.name(), only_asks_for_help(invocation)) else { return hits };
    let words = Words::of(invocation);
    let targets: Vec<&Word> = invocation
        .arguments()
        .iter()
        .filter(|word| !word.shown().starts_with('-') || word.literal().is_none())
        .collect();
    let destructive = |text: &str| Hit::new(Class::Destructive, name, text);
    match name {
        "rm" | "unlink" | "rmdir" | "grm" => hits.extend(removed(name, &words, &targets)),
        "find" | "gfind" => {
            if words.option("-delete") {
                hits.push(destructive("deletes every file it finds"));
            }
            if ["-fprint", "-fprint0", "-fprintf", "-fls"].iter().any(|option| words.option(option)) {
                hits.push(destructive("overwrites a file with what it finds"));
            }
        }
        "dd" => {
            for word in &targets {
                let target = word.shown().strip_prefix("of=");
                if target.is_some_and(|target| outside(target) || word.literal().is_none()) {
                    hits.push(destructive("overwrites a device or a file outside the workspace"));
                }
            }
        }
        "truncate" => hits.push(destructive("cuts a file off")),
        "mv" | "gmv" => {
            if targets.last().is_some_and(|target| target.literal() == Some("/dev/null")) {
                hits.push(destructive("moves a file into nothing"));
            }
            if targets.iter().rev().skip(1).any(|source| outside(source.shown())) {
                hits.push(destructive("moves files from outside the workspace"));
            }
            hits.extend(
                targets
                    .last()
                    .filter(|target| outside(target.shown()))
                    .map(|_| destructive("overwrites files outside the workspace")),
            );
        }
        "cp" | "install" | "tee" | "sort" | "touch" | "mkdir" => {
            let written = match name {
                "tee" | "touch" | "mkdir" => targets.clone(),
                "sort" => option_value(invocation, &["-o", "--output"]).into_iter().collect(),
                _ => targets.last().copied().into_iter().collect(),
            };
            if written.iter().any(|target| outside(target.shown())) {
                hits.push(destructive("writes outside the workspace"));
            }
        }
        "ln" => hits.extend(
            targets
                .iter()
                .any(|target| outside(target.shown()))
                .then(|| Hit::new(Class::Outward, name, "makes a link out of the workspace")),
        ),
        "chmod" | "chown" | "chgrp" => {
            let deep = words.option("-R") || words.option("--recursive");
            if targets.iter().skip(1).any(|target| outside(target.shown())) {
                hits.push(Hit::new(Class::System, name, "changes rights outside the workspace"));
            } else if deep
                && targets.iter().any(|target| matches!(target.shown(), "777" | "a+rwx" | "0777" | "000" | "." | "*"))
            {
                hits.push(Hit::new(Class::System, name, "changes the rights of everything"));
            } else if words
                .plain
                .first()
                .is_some_and(|mode| mode.contains("u+s") || mode.contains("g+s") || is_setuid(mode))
            {
                hits.push(Hit::new(Class::System, name, "lets others run a program with its owner's rights"));
            }
        }
        "perl" if words.option("-i") || words.option("-pi") => hits.push(destructive("rewrites files in place")),
        _ => {}
    }
    hits
}

fn removed(name: &str, words: &Words<'_>, targets: &[&Word]) -> Option<Hit> {
    let hit = |text: &str| Some(Hit::new(Class::Destructive, name, text));
    if words.option("--no-preserve-root") {
        return hit("takes away the last guard of the root directory");
    }
    if targets.iter().any(|target| outside(target.shown())) {
        return hit("deletes outside the workspace");
    }
    if targets.iter().any(|target| matches!(target.literal(), Some("." | "./" | "*" | "./*" | ".*" | "{,.}*"))) {
        return hit("deletes everything here");
    }
    let deep = ["-r", "-R", "--recursive"].iter().any(|option| words.option(option));
    let found = targets.iter().any(|target| match target {
        Word::Literal(path) => deep && !regenerable(path),
        Word::Unknown(raw) => deep || !raw.starts_with(['$', '"', '\'']),
    });
    match found {
        true => hit("deletes whole directories, or what is known only when it runs"),
        false => None,
    }
}

fn regenerable(path: &str) -> bool {
    let name = path.trim_end_matches(['/', '*']).rsplit('/').next().unwrap_or(path);
    REGENERABLE.contains(&name) || name.ends_with(".tmp") || name.ends_with(".egg-info")
}

/// What a redirection overwrites.
fn overwritten(target: &Word) -> Option<Hit> {
    let path = target.shown();
    let harmless = ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd/"];
    if harmless.iter().any(|known| path.starts_with(known)) {
        return None;
    }
    if path.starts_with("/dev/tcp/") || path.starts_with("/dev/udp/") {
        return Some(Hit::new(Class::System, "shell", "opens a connection to another machine"));
    }
    if path.starts_with("/proc/") || path.starts_with("/sys/") {
        return Some(Hit::new(Class::System, "shell", "writes into the kernel"));
    }
    if path.starts_with("/dev/") {
        return Some(Hit::new(Class::Destructive, "shell", "overwrites a device"));
    }
    if outside(path) && target.literal().is_some() {
        return Some(Hit::new(Class::Destructive, "shell", "overwrites a file outside the workspace"));
    }
    let data = [".db", ".sqlite", ".sqlite3", ".mdb", ".rdb", ".ibd"];
    let is_data = data.iter().any(|end| path.ends_with(end));
    is_data.then(|| Hit::new(Class::Destructive, "shell", "overwrites a data file"))
}

/// Whether a path, as written, leaves the workspace and is not a temporary file.
pub(super) fn outside(path: &str) -> bool {
    let path = path.trim_matches(['"', '\'']);
    let leaves = path.starts_with('/') || path.starts_with('~') || path.starts_with("..") || path.contains("/../");
    let home = path.starts_with("$HOME") || path.starts_with("${HOME");
    let temporary = ["/tmp/", "/var/tmp/", "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/fd/"];
    home || leaves
        && !temporary
            .iter()
            .any(|start| path.len() > start.len() - 1 && path.starts_with(start) && !path.contains(".."))
}

/// The value of an option, in the next word or after `=`.
pub(super) fn option_value<'a>(invocation: &'a Invocation, names: &[&str]) -> Option<&'a Word> {
    let arguments = invocation.arguments();
    let at = arguments.iter().position(|word| word.literal().is_some_and(|text| names.contains(&text)))?;
    arguments.get(at + 1)
}

fn is_setuid(mode: &str) -> bool {
    mode.len() == 4 && mode.chars().all(|c| c.is_digit(8)) && matches!(mode.chars().next(), Some('2'..='7'))
}
