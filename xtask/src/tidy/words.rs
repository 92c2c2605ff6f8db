//! Names that say nothing, notes to nobody, tests that never run, and hosts that only one machine knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Finding, Rust};

/// Parts of a name that hide what a thing does.
const VAGUE: [&str; 4] = ["manager", "helper", "util", "common"];

/// Words after which a name is given.
const DECLARES: [&str; 8] = ["struct", "enum", "trait", "type", "mod", "fn", "const", "static"];

/// Findings in one file.
pub(super) fn check(file: &Rust) -> Vec<Finding> {
    let mut findings = Vec::new();
    for part in file.path.with_extension("").iter() {
        if let Some(word) = vague(&part.to_string_lossy()) {
            findings.push(file.finding(0, format!("`{word}` in a file's name")));
        }
    }
    for (index, line) in file.lines.iter().enumerate() {
        for name in declared(&line.code) {
            if let Some(word) = vague(name) {
                findings.push(file.finding(index, format!("`{word}` in the name `{name}`")));
            }
        }
        for note in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            if line.comment.contains(note) {
                findings.push(file.finding(index, format!("`{note}`: do it, or open an issue")));
            }
        }
        // The lexer leaves strings out, so the reason is looked for in the text itself.
        if line.code.contains("#[ignore")
            && !file.text.lines().nth(index).is_some_and(|text| text.contains('#') && names_issue(text))
        {
            findings.push(file.finding(index, "an ignored test without an issue: #[ignore = \"#12: why\"]"));
        }
    }
    findings
}

/// Whether an `#[ignore = "…"]` names an issue such as `#12`.
fn names_issue(text: &str) -> bool {
    let Some((_, reason)) = text.split_once('"') else { return false };
    reason.split('#').skip(1).any(|after| after.starts_with(|next: char| next.is_ascii_digit()))
}

fn declared(code: &str) -> impl Iterator<Item = &str> {
    let words: Vec<_> =
        code.split(|next: char| !next.is_alphanumeric() && next != '_').filter(|word| !word.is_empty()).collect();
    let pairs: Vec<_> = words.windows(2).filter(|pair| DECLARES.contains(&pair[0])).map(|pair| pair[1]).collect();
    pairs.into_iter()
}

/// A vague word among those that a name is made of, or in the plural. `common_dir` is what git calls it: one word that says
/// something is enough for a name in small letters.
fn vague(name: &str) -> Option<&'static str> {
    let words = words(name);
    let is = |word: &&&str| words.iter().any(|part| part == **word || part.strip_suffix('s') == Some(**word));
    let found = VAGUE.iter().find(is).copied()?;
    (name.starts_with(char::is_uppercase) || words.len() == 1).then_some(found)
}

/// The words of a name, in small letters: `MountManager`, `mount_manager` and `mount-manager` have the same two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if !character.is_alphanumeric() || character.is_uppercase() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut()
            && character.is_alphanumeric()
        {
            last.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Packages come from where everybody's come from: a lock file or a setting must not name another place.
pub(super) fn check_registries(root: &Path, paths: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let wrong: fn(&str) -> bool = match name {
            "Cargo.lock" => {
                |line| line.starts_with("source = ") && !line.contains("github.com/rust-lang/crates.io-index")
            }
            "package-lock.json" => {
                |line| line.contains("\"resolved\":") && !line.contains("https://registry.npmjs.org/")
            }
            ".npmrc" => |line| line.contains("://"),
            "config.toml" if path.starts_with(".cargo") => {
                |line| line.contains("registr") || line.contains("replace-with")
            }
            _ => continue,
        };
        for (index, line) in fs::read_to_string(root.join(path))?.lines().enumerate() {
            if wrong(line.trim()) {
                let text = format!("names a registry: {}", line.trim());
                findings.push(Finding { file: path.clone(), line: index + 1, text });
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check(&Rust::new("a/src/b.rs".into(), text.to_owned())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn vague_names_are_found_where_they_are_given() {
        assert_eq!(findings("struct MountManager;\n"), ["a/src/b.rs:1: `manager` in the name `MountManager`"]);
        assert_eq!(findings("mod utils;\n").len(), 1);
        assert_eq!(findings("fn common() {}\n").len(), 1);
        assert!(findings("// the manager of a shop\nlet a = \"helper\";\nfn common_dir() {}\n").is_empty());
    }

    #[test]
    fn an_ignored_test_names_its_issue() {
        assert_eq!(findings("#[ignore]\nfn a() {}\n").len(), 1);
        assert_eq!(findings("#[ignore = \"slow\"]\nfn a() {}\n").len(), 1);
        assert!(findings("#[ignore = \"#12: needs a newer kernel\"]\nfn a() {}\n").is_empty());
    }

    #[test]
    fn notes_to_nobody_are_found() {
        assert_eq!(findings(concat!("// TO", "DO later\n")).len(), 1);
    }
}
