//! Requests from the command line: methods that delete, mutations that delete, and everything that leaves the machine.

use super::{Class, Hit, only_asks_for_help};
use crate::shell::{Input, Invocation, Word};

/// Tools that send requests.
const TOOLS: &[&str] = &[
    "curl", "wget", "http", "https", "xh", "xhs", "httpie", "curlie", "grpcurl", "websocat", "aria2c", "lynx", "links",
    "w3m",
];

/// Methods that delete.
const METHODS: &[&str] = &["DELETE", "PURGE", "TRACE"];

/// Parts of a mutation's name that say that something is gone afterwards.
const DELETING: &[&str] = &[
    "delete",
    "destroy",
    "drop",
    "wipe",
    "remove",
    "purge",
    "truncate",
    "terminate",
    "erase",
    "reset",
    "revoke",
    "cancel",
    "detach",
];

/// What is known about an invocation that sends a request.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let name = invocation.name().unwrap_or("shell");
    let sends = TOOLS.contains(&name);
    let pipes = matches!(name, "nc" | "ncat" | "netcat" | "socat" | "openssl" | "telnet");
    if !sends && !pipes || only_asks_for_help(invocation) {
        return Vec::new();
    }
    let mut hits = Vec::new();
    let arguments: Vec<&str> = invocation.arguments().iter().map(|word| word.shown()).collect();
    let input = match &invocation.input {
        Input::Text(text) => text.as_str(),
        _ => "",
    };
    let mut hit = |class, text: &str| hits.push(Hit::new(class, name, text));
    if sends && method(invocation).is_some_and(|method| METHODS.contains(&method.to_uppercase().as_str())) {
        hit(Class::Destructive, "sends a request that deletes");
    }
    if sends && computed_method(invocation) {
        hit(Class::Destructive, "sends a request whose method is computed");
    }
    if arguments.iter().copied().chain([input]).any(destroys) {
        hit(Class::Destructive, "sends a mutation that deletes");
    }
    if pipes && METHODS.iter().any(|method| input.to_uppercase().trim_start().starts_with(method)) {
        hit(Class::Destructive, "sends a request that deletes");
    }
    let own = |word: &&str| {
        ["http://127.", "http://localhost", "http://[::1]", "localhost", "127.0.0.1"]
            .iter()
            .any(|start| word.starts_with(start))
    };
    let answers = |word: &str| ["approv", "/decide", "/pair", "/holds", "/deny"].iter().any(|part| word.contains(part));
    if arguments.iter().any(|word| own(word) && answers(word)) {
        hit(Class::System, "talks to the approval page");
    }
    let config = arguments.iter().any(|word| matches!(*word, "-K" | "--config"));
    if config {
        hit(Class::Unreadable, "takes its request from a file");
    }
    if sends && !arguments.iter().any(own) {
        hit(Class::Outward, "reaches another machine");
    }
    hits
}

/// The method as written.
fn method(invocation: &Invocation) -> Option<&str> {
    let mut words = invocation.arguments().iter();
    let mut found = None;
    while let Some(word) = words.next() {
        let Some(text) = word.literal() else { continue };
        let value = match text {
            "-X" | "--request" | "--method" => words.next().and_then(Word::literal),
            text if text.starts_with("--") => {
                text.strip_prefix("--request=").or_else(|| text.strip_prefix("--method="))
            }
            text if text.starts_with('-') => match text.split_once('X') {
                Some((_, "")) => words.next().and_then(Word::literal),
                Some((flags, method)) if flags.len() <= 4 => Some(method),
                _ => None,
            },
            // HTTPie takes the method as its first word.
            text if found.is_none() && METHODS.contains(&text.to_uppercase().as_str()) => Some(text),
            _ => None,
        };
        found = value.or(found);
    }
    found
}

fn computed_method(invocation: &Invocation) -> bool {
    let arguments = invocation.arguments();
    arguments.iter().zip(arguments.iter().skip(1)).any(|(option, value)| {
        matches!(option.literal(), Some("-X" | "--request" | "--method")) && value.literal().is_none()
    })
}

/// Whether a text holds a GraphQL mutation (or a call by such a name) that deletes.
pub(super) fn destroys(text: &str) -> bool {
    let text = decode(text).to_lowercase();
    let Some(at) = text.find("mutation") else { return false };
    text[at..]
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| DELETING.iter().any(|part| word.contains(part)))
}

/// Undoes `\u0064` and `%64`, by which letters hide in JSON and in addresses.
fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '%']) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let (start, digits) = if after.starts_with("\\u") { (2, 4) } else { (1, 2) };
        let decoded = match after.starts_with("\\u") || after.starts_with('%') {
            true => after
                .get(start..start + digits)
                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                .and_then(char::from_u32),
            false => None,
        };
        match decoded {
            Some(c) => {
                out.push(c);
                rest = &after[start + digits..];
            }
            None => {
                out.push_str(&after[..1]);
                rest = &after[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::destroys;

    #[test]
    fn a_mutation_that_deletes_is_known_however_it_is_written() {
        for text in [
            r#"{"query":"mutation { volumeDelete(volumeId: \"v\") }"}"#,
            r#"{"query":"mutation{projectDelete(id:1)}"}"#,
            r#"{"query":"mutat\u0069on { volume\u0044elete }"}"#,
            "query=mutation%20%7B%20volumeDelete%7D",
        ] {
            assert!(destroys(text), "{text}");
        }
        for text in [r#"{"query":"{ project { id } }"}"#, r#"{"query":"mutation { deploy }"}"#, "100% \\ deleted"] {
            assert!(!destroys(text), "{text}");
        }
    }
}
