//! Commands that touch files or variables known to hold credentials.

use super::{Class, Hit};
use crate::environment::looks_secret;
use crate::shell::{Invocation, Word};

/// Commands that only name a file, or search for it by name.
const NAMING: &[&str] = &["echo", "printf", "test", "[", "cd", "mkdir", "man", "which", "type", "touch", "rm"];

/// What is known about an invocation that touches credentials.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let name = invocation.name().unwrap_or("shell");
    let mut hits = Vec::new();
    let hit = |text: String| Hit::new(Class::Credentials, name, text);
    let values = invocation.sets.iter().map(|(_, value)| value);
    for word in invocation.words.iter().chain(values) {
        if let Word::Unknown(raw) = word
            && let Some(variable) = variables(raw).find(|variable| looks_secret(variable))
        {
            hits.push(hit(format!("uses the variable {variable}")));
        }
    }
    if NAMING.contains(&name) {
        return hits;
    }
    let pattern_first = matches!(name, "grep" | "egrep" | "fgrep" | "rg" | "ag" | "ack" | "sed" | "awk");
    let arguments = invocation.arguments().iter().filter(|word| !word.shown().starts_with('-'));
    let arguments = arguments.skip(usize::from(pattern_first));
    for word in arguments.chain(&invocation.reads) {
        if let Some(path) = parts(word.shown()).find(|part| holds_credentials(part)) {
            hits.push(hit(format!("`{path}` holds credentials")));
        }
    }
    if pattern_first && searches_home(invocation) {
        hits.push(hit("searches the whole home directory".to_owned()));
    }
    hits
}

/// The pieces of an argument that may be paths: `@file`, `name=file`, `HEAD:file`.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(['@', '=', ':', ',', '<', '>', '(', ')', '"', '\'', ' ']).filter(|part| !part.is_empty())
}

/// Whether the path is that of a file known to hold credentials.
pub(super) fn holds_credentials(path: &str) -> bool {
    let path = path.to_lowercase();
    let name = path.trim_end_matches(['/', '*']).rsplit('/').next().unwrap_or(&path);
    let example = ["example", "sample", "template", "dist", "schema"].iter().any(|word| name.contains(word));
    let dotenv = name == ".env"
        || name.starts_with(".env.")
        || name == ".envrc"
        || name.ends_with(".env")
        || path.ends_with(".env*");
    let key = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"].contains(&name);
    const NAMES: &[&str] = &[
        ".netrc",
        ".pgpass",
        ".my.cnf",
        ".git-credentials",
        ".pypirc",
        ".npmrc",
        ".htpasswd",
        "credentials",
        "credentials.json",
        "shadow",
        "gshadow",
        ".vault-token",
        "service-account.json",
        "application_default_credentials.json",
        "authorized_keys",
        "secrets.yml",
        "secrets.yaml",
        "secrets.json",
        "master.key",
        "hosts.yml",
        ".bash_history",
        ".zsh_history",
        "kubeconfig",
    ];
    const INSIDE: &[&str] = &[
        "/.ssh",
        ".ssh/",
        ".gnupg",
        ".aws/",
        ".railway/",
        ".docker/config.json",
        ".kube/config",
        ".config/gcloud",
        ".azure/",
        ".config/gh/",
        "/secrets/",
        "/run/secrets",
        ".password-store",
        ".config/op/",
        ".terraform.d/credentials",
        ".fly/",
    ];
    let environ = path.starts_with("/proc/") && path.ends_with("/environ");
    let ends = [".pem", ".p12", ".pfx", ".keystore", ".jks", ".kdbx", ".ppk"].iter().any(|end| name.ends_with(end));
    dotenv && !example
        || key
        || NAMES.contains(&name) && (name != "hosts.yml" || path.contains("gh/"))
        || INSIDE.iter().any(|part| path.contains(part))
        || path.starts_with("secrets/")
        || environ
        || ends
}

/// The names of the variables in a word as it was written.
fn variables(raw: &str) -> impl Iterator<Item = &str> {
    raw.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches(['{', '!', '#']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

fn searches_home(invocation: &Invocation) -> bool {
    let words = super::pattern::Words::of(invocation);
    let deep =
        words.option("-r") || words.option("-R") || words.option("--recursive") || invocation.name() == Some("rg");
    let whole = |word: &&str| matches!(*word, "~" | "~/" | "/" | "$HOME" | "\"$HOME\"" | "/home" | "/root" | "/etc");
    deep && words.plain.iter().skip(1).any(whole)
}

#[cfg(test)]
mod tests {
    use super::holds_credentials;

    #[test]
    fn files_with_credentials_are_known_by_their_names() {
        for path in [
            ".env",
            "app/.env.production",
            "config/prod.env",
            "~/.ssh/id_rsa",
            "~/.aws/credentials",
            "/proc/1/environ",
            ".env*",
        ] {
            assert!(holds_credentials(path), "{path}");
        }
        for path in [".env.sample", ".env.example", "src/token.rs", "environment.md", "README.md", "keys.rs"] {
            assert!(!holds_credentials(path), "{path}");
        }
    }
}
