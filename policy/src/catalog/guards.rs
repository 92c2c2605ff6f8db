//! Commands that change what guards the machine, and commands that run others through an option, a variable or a file.

use super::Class::{System, Unreadable};
use super::pattern::{Entry, Words};
use super::{Hit, asks_for_help};
use crate::paths;
use crate::shell::Invocation;
use std::path::Path;

/// Options by which a harmless tool runs any command.
pub(super) const RUN_THROUGH_OPTIONS: &[Entry] = &[
    (Unreadable, &["git"], "grep -O|--open-files-in-pager", "runs a program through an option"),
    (Unreadable, &["git"], "grep <-O", "runs a program through an option"),
    (
        Unreadable,
        &["git"],
        "clone|fetch|pull|push|ls-remote -u|--upload-pack|--receive-pack|--exec|--template",
        "runs a program through an option",
    ),
    (Unreadable, &["git"], "rebase -x|--exec", "runs a program through an option"),
    (Unreadable, &["git"], "bisect run", "runs a program through an option"),
    (Unreadable, &["git"], "submodule foreach", "runs a program in every submodule"),
    (Unreadable, &["git"], "difftool|mergetool -x|--extcmd", "runs a program through an option"),
    (
        Unreadable,
        &["tar", "gtar", "bsdtar"],
        "--checkpoint-action|--to-command|--use-compress-program|-I|--info-script|--rsh-command|--new-volume-script",
        "runs a program through an option",
    ),
    (Unreadable, &["zip"], "-TT|--unzip-command", "runs a program through an option"),
    (
        Unreadable,
        &["ssh", "scp", "sftp"],
        "~proxycommand|localcommand|knownhostscommand|-s",
        "runs a program through an option",
    ),
    (Unreadable, &["rg"], "--pre|--hostname-bin", "runs a program through an option"),
    (Unreadable, &["sort"], "--compress-program", "runs a program through an option"),
    (Unreadable, &["vim", "vi", "nvim", "view", "ex", "emacs", "nano"], "<:!|+!|-c|+", "runs a program from an editor"),
    (Unreadable, &["vim", "vi", "nvim", "ex", "emacs"], "-c|--cmd|-S|-s|--eval|-l", "runs a program from an editor"),
    (Unreadable, &["less", "more", "man"], "<+!|+|-P", "runs a program from a pager"),
    (Unreadable, &["man"], "-P|--pager|-H", "runs a program through an option"),
    (Unreadable, &["rsync"], "-e|--rsh|--rsync-path", "runs a program through an option"),
    (Unreadable, &["fc", "bind"], "-s|-x", "runs a command that is written elsewhere"),
    (Unreadable, &["enable"], "-f", "loads code into the shell"),
    (Unreadable, &["tcpdump", "wireshark", "tshark"], "-z", "runs a program through an option"),
    (Unreadable, &["openssl"], "req|engine|s_server|dgst -engine|--engine|-provider", "loads code through an option"),
    (
        Unreadable,
        &["ld.so", "ld-linux.so.2", "ld-linux-x86-64.so.2", "ld-musl-x86_64.so.1"],
        "*",
        "runs a program through its loader",
    ),
];

/// Variables by which the next program loads or runs code.
const RUN_THROUGH_VARIABLES: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "PS4",
    "PROMPT_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_PAGER",
    "PAGER",
    "MANPAGER",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "EDITOR",
    "VISUAL",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "GIT_TEMPLATE_DIR",
    "GIT_EXEC_PATH",
    "NODE_OPTIONS",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "RUBYOPT",
    "PERL5OPT",
    "PERL5DB",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "LESSOPEN",
    "LESSCLOSE",
    "BROWSER",
    "RUSTC_WRAPPER",
    "RUSTC",
];

/// Tools that write the files they name.
const WRITERS: &[&str] = &[
    "cp", "mv", "ln", "tee", "rm", "touch", "mkdir", "install", "sed", "perl", "truncate", "chmod", "chown", "dd",
    "rsync", "patch", "ed", "vim", "unlink", "rmdir", "tar", "unzip",
];

/// What is known about an invocation that works on guards.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let name = invocation.name().unwrap_or("shell");
    let mut hits = Vec::new();
    let mut hit = |class, text: String| hits.push(Hit::new(class, name, text));
    for (variable, _) in &invocation.sets {
        let runs = RUN_THROUGH_VARIABLES.contains(&variable.as_str())
            || ["GIT_CONFIG", "BASH_FUNC_", "DYLD_"].iter().any(|start| variable.starts_with(start));
        if variable.starts_with("HOLDPOINT") {
            hit(System, format!("sets {variable}, which is Holdpoint's"));
        } else if runs && !invocation.words.is_empty() {
            hit(Unreadable, format!("runs code through the variable {variable}"));
        }
    }
    let written = invocation.writes.iter().map(|word| word.shown());
    let named = invocation.arguments().iter().map(|word| word.shown()).filter(|_| WRITERS.contains(&name));
    let ours = [
        ".ssh/authorized_keys",
        ".bashrc",
        ".profile",
        ".zshrc",
        ".bash_profile",
        ".gitconfig",
        ".gitattributes",
        ".config/systemd",
        "/etc/",
    ];
    for path in written.chain(named) {
        if let Some(protected) = paths::protected(Path::new(path)) {
            hit(System, format!("changes `{protected}`, which is protected"));
        } else if ours.iter().any(|part| path.contains(part)) {
            hit(System, format!("changes `{path}`, which decides what runs later"));
        }
    }
    if asks_for_help(invocation) {
        return hits;
    }
    let dangerous =
        |word: &str| word.starts_with("--dangerously") || matches!(word, "--yolo" | "--full-auto" | "--no-sandbox");
    if super::literals(invocation).any(dangerous) {
        hits.push(Hit::new(System, name, "starts an agent without its guards"));
    }
    if name == "holdpoint" {
        let asking = ["run", "check", "explain", "doctor", "status", "holds", "completions", "agents-md", "apply"];
        let words = Words::of(invocation);
        if words.plain.first().is_some_and(|verb| !asking.contains(verb)) {
            hits.push(Hit::new(System, name, "changes what holds actions"));
        }
    }
    if invocation
        .program()
        .is_some_and(|program| program.chars().any(|c| !c.is_ascii_graphic() && !c.is_alphanumeric()))
    {
        hits.push(Hit::new(Unreadable, "shell", "the name of the program holds invisible characters"));
    }
    hits
}
