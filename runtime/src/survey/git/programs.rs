//! What a repository makes git run: settings that name programs, and hooks.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::walk::{Kind, entry_at, kind_at};
use super::settings::{Setting, settings};
use super::{LARGEST_CONFIG, common_dir, gitdir, read};

/// The settings that git and its companions write into a repository, and others that name no program (git-config(1)); `*` is all of a
/// section. What is not among them is told: a list of those that do name one would grow with every version of git.
const HARMLESS: [(&str, &str); 25] = [
    (
        "core",
        "repositoryformatversion filemode bare logallrefupdates ignorecase precomposeunicode symlinks worktree autocrlf eol \
         safecrlf quotepath abbrev untrackedcache sparsecheckout sparsecheckoutcone longpaths fscache commitgraph \
         multipackindex",
    ),
    ("remote", "url pushurl fetch push tagopt prune promisor partialclonefilter mirror gh-resolved"),
    ("branch", "remote pushremote merge rebase description gh-merge-base vscode-merge-base github-pr-owner-number"),
    ("submodule", "url active path branch ignore recurse shallow"),
    ("user", "name email signingkey useconfigonly"),
    ("author", "name email"),
    ("committer", "name email"),
    ("extensions", "*"),
    ("commit", "gpgsign verbose"),
    ("tag", "gpgsign sort"),
    ("pull", "rebase ff"),
    ("push", "default autosetupremote followtags"),
    ("fetch", "prune prunetags writecommitgraph recursesubmodules"),
    ("merge", "ff conflictstyle renames"),
    ("rebase", "autostash autosquash updaterefs"),
    ("rerere", "*"),
    ("lfs", "repositoryformatversion url access"),
    ("init", "defaultbranch"),
    ("index", "*"),
    ("pack", "*"),
    ("gc", "auto autodetach autopacklimit pruneexpire"),
    ("maintenance", "auto strategy"),
    ("color", "*"),
    ("advice", "*"),
    ("status", "*"),
];

/// Settings whose value is a command, in whatever section (git-config(1), gitattributes(5)).
const COMMANDS: &str = "alternaterefscommand askpass cccmd clean cmd command difffilter driver editor external fsmonitor gitproxy \
                        helper packobjectshook pager process program smudge sshcommand textconv tocmd";

/// Whether the value of a setting is a command.
pub(super) fn names_program(section: &[u8], key: &[u8]) -> bool {
    matches!(section, b"alias" | b"pager") || COMMANDS.split(' ').any(|command| command.as_bytes() == key)
}

/// The settings and hooks by which git would run programs in the repository whose `.git` is `dotgit`, as git calls them.
/// `was_there` tells of a `config` that it cannot have been changed: what it says is its owner's.
pub(crate) fn git_programs(dotgit: &Path, was_there: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let private = match entry_at(dotgit) {
        Ok(Ok(Kind::File)) => gitdir(dotgit),
        Ok(Ok(Kind::Directory)) => Some(dotgit.to_owned()),
        Ok(Ok(Kind::Symlink)) => match dotgit.canonicalize() {
            Ok(file) if file.is_file() => return vec!["a file elsewhere".into()],
            target => target.ok(),
        },
        _ => None,
    };
    let Some(private) = private else { return Vec::new() };
    let mut runs = BTreeSet::new();
    if entry_at(&private.join("commondir")) == Ok(Ok(Kind::Symlink)) {
        runs.insert("a commondir elsewhere".to_owned());
    }
    // Of most repositories they are one.
    for git in BTreeSet::from([common_dir(&private), private]) {
        if !was_there(&git.join("config")) {
            for name in ["config", "config.worktree"] {
                configured(&git.join(name), &mut runs);
            }
            hooks(&git.join("hooks"), &mut runs);
        }
    }
    runs.into_iter().collect()
}

fn configured(file: &Path, runs: &mut BTreeSet<String>) {
    if kind_at(file).is_err() {
        return;
    }
    match read(file, LARGEST_CONFIG) {
        Some(text) => {
            let tells = |setting: &&Setting| !is_harmless(setting) || leads_away(setting, file);
            runs.extend(settings(&text).iter().filter(tells).map(named));
        }
        None => drop(runs.insert(format!("{}, which cannot be read", name_of(file)))),
    }
}

fn is_harmless((section, key, value): &Setting) -> bool {
    let known = HARMLESS.iter().find(|(name, _)| name.as_bytes() == section.as_slice());
    let harmless = known.is_some_and(|(_, keys)| *keys == "*" || keys.split(' ').any(|one| one.as_bytes() == key));
    // A URL may name a program as well (gitremote-helpers(7), git-remote-ext(1)).
    harmless && !value.windows(2).any(|two| two == b"::")
}

/// Whether it gives the repository of this configuration a tree that is not its own, as that of a submodule is: a checkout would
/// write there.
fn leads_away((section, key, value): &Setting, config: &Path) -> bool {
    let git = || config.parent()?.canonicalize().ok();
    let own = || gitdir(&git()?.join(OsStr::from_bytes(value)).join(".git"));
    section == b"core" && key == b"worktree" && (git().is_none() || own() != git())
}

fn named((section, key, _): &Setting) -> String {
    format!("{}.{}", String::from_utf8_lossy(section), String::from_utf8_lossy(key))
}

/// Those that git would run (githooks(5)).
fn hooks(directory: &Path, runs: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let runs_it = path.metadata().is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0);
        if runs_it && path.extension().is_none_or(|end| end != "sample") {
            runs.insert(format!("hooks/{}", name_of(&path)));
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
