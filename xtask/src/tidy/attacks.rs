//! The table of attacks names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Finding, Rust};

/// Where the table is.
const PAGE: &str = "docs/attacks.md";

/// Findings in the table: each row names a file in backquotes, then the tests in it.
pub(super) fn check(root: &Path, files: &[Rust]) -> Result<Vec<Finding>> {
    let text = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let mut named: Option<&Rust> = None;
        let mut missing =
            |what: String| findings.push(Finding { file: PathBuf::from(PAGE), line: index + 1, text: what });
        for word in line.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                named = files.iter().find(|file| file.path == Path::new(word));
                if named.is_none() {
                    missing(format!("there is no {word}"));
                }
            } else if let Some(file) = named {
                let test = format!("fn {word}(");
                if !file.text.contains(&test) {
                    missing(format!("{} has no test `{word}`", file.path.display()));
                }
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_not_there_is_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let row = "| `ls` | `a/tests/b.rs` `here` `gone` | `x` |\n| `c.rs` |\n";
        fs::write(root.path().join(PAGE), row).unwrap();
        let file = Rust::new("a/tests/b.rs".into(), "//! x\nfn here() {}\nfn x() {}\n".to_owned());
        let found: Vec<_> = check(root.path(), &[file]).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["docs/attacks.md:1: a/tests/b.rs has no test `gone`", "docs/attacks.md:2: there is no c.rs"]
        );
    }
}
