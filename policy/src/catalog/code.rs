//! Code in other languages given on the command line: what it says it would do.

use super::{Class, Hit};
use crate::shell::{Input, Invocation};

/// Interpreters and the options after which code stands.
const INTERPRETERS: &[(&[&str], &[&str])] = &[
    (&["python", "python2", "python3", "pypy", "pypy3"], &["-c"]),
    (&["node", "nodejs", "bun", "tsx", "ts-node"], &["-e", "--eval", "-p", "--print"]),
    (&["deno"], &["eval"]),
    (&["perl"], &["-e", "-E", "-pe", "-ne", "-pi", "-i"]),
    (&["ruby", "jruby"], &["-e"]),
    (&["php"], &["-r"]),
    (
        &["lua", "luajit", "R", "Rscript", "osascript", "groovy", "scala", "elixir", "erl", "julia", "ghc", "gdb"],
        &["-e", "-eval", "-ex", "--eval"],
    ),
    (&["awk", "gawk", "mawk", "nawk", "sed", "gsed"], &[]),
];

/// Calls that delete.
const DESTROYING: &[&str] = &[
    "rmtree",
    "unlink",
    "os.remove",
    "removesync",
    "rmsync",
    "rmdir",
    "rm -r",
    "shutil.move",
    ".delete(",
    "delete(",
    "truncate",
    "file.delete",
    "fileutils.rm",
    "remove_dir",
    "drop database",
    "drop table",
    "unlinksync",
    "\"delete\"",
    "'delete'",
];

/// Calls that run commands, or code that is not there to be read.
const RUNNING: &[&str] = &[
    "system(",
    "system ",
    "exec(",
    "eval(",
    "popen",
    "subprocess",
    "spawn(",
    "child_process",
    "b64decode",
    "base64",
    "fromcharcode",
    "__import__",
    "compile(",
    "getattr(",
    "marshal",
    "qx(",
    "qx{",
    "passthru",
    "shell_exec",
    "io.popen",
    "os.execute",
    "pty.spawn",
    "socket",
    "urlopen",
    "requests.",
    "fetch(",
    "net::http",
    "http.client",
    "| getline",
    "|getline",
    "ctypes",
    "chr(",
];

/// What prints the environment.
const ENVIRONMENT: &[&str] = &["process.env", "os.environ", "environ[", "env[", "getenv", "%env", "$_env", "$env{"];

/// What is known about an invocation of an interpreter.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let Some(name) = invocation.name() else { return Vec::new() };
    let Some((_, options)) = INTERPRETERS.iter().find(|(names, _)| names.contains(&name)) else { return Vec::new() };
    let mut hits = Vec::new();
    for code in codes(invocation, options) {
        let Some(code) = code else {
            hits.push(Hit::new(Class::Unreadable, name, "runs code that is known only when it runs"));
            continue;
        };
        let text = code.to_lowercase();
        let holds = |known: &[&str]| known.iter().any(|part| text.contains(part));
        let stream = matches!(name, "sed" | "gsed" | "awk" | "gawk" | "mawk" | "nawk");
        if !stream && holds(DESTROYING) {
            hits.push(Hit::new(Class::Destructive, name, "runs code that deletes"));
        }
        let runs = match name {
            "sed" | "gsed" => runs_by_sed(&code),
            _ => holds(RUNNING),
        };
        if runs {
            hits.push(Hit::new(Class::Unreadable, name, "runs code that starts commands or loads code"));
        }
        if !stream && holds(ENVIRONMENT) {
            hits.push(Hit::new(Class::Credentials, name, "runs code that reads the environment"));
        }
    }
    match &invocation.input {
        Input::From(source) if options.len() == 1 && invocation.arguments().is_empty() => {
            hits.push(Hit::new(Class::Unreadable, name, format!("runs what `{source}` prints")));
        }
        _ => {}
    }
    hits
}

/// The pieces of code in the arguments; `None` for one that is computed.
fn codes(invocation: &Invocation, options: &[&str]) -> Vec<Option<String>> {
    let arguments = invocation.arguments();
    if options.is_empty() {
        let words = arguments.iter().filter(|word| !word.shown().starts_with('-'));
        return words.take(1).map(|word| word.literal().map(str::to_owned)).filter(Option::is_some).collect();
    }
    let mut codes = Vec::new();
    for (at, word) in arguments.iter().enumerate() {
        let Some(option) = word.literal() else { continue };
        if options.contains(&option) {
            codes.extend(arguments.get(at + 1).map(|code| code.literal().map(str::to_owned)));
        } else if let Some(rest) = options.iter().find_map(|known| option.strip_prefix(known))
            && option.starts_with('-')
            && rest.len() > 2
        {
            codes.push(Some(rest.trim_start_matches('=').to_owned()));
        }
    }
    codes
}

/// `sed` runs commands by `e`, as a command of its own or as a flag of `s`.
fn runs_by_sed(code: &str) -> bool {
    code.split([';', '\n']).map(str::trim).any(|command| {
        let body = command.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ',' | '$' | ' ' | '{'));
        let flags = match body.strip_prefix('s') {
            Some(rest) => {
                let mark = rest.chars().next().unwrap_or('/');
                rest.rsplit(mark).next().unwrap_or("")
            }
            None => "",
        };
        body == "e" || body.starts_with("e ") || flags.len() <= 4 && flags.contains('e') || body.starts_with("w /")
    })
}
