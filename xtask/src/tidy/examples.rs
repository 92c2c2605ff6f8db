//! Every configuration that the documents show is one that Holdpoint accepts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use holdpoint_policy::config::{Config, Origin};
use holdpoint_policy::layer::{self, Flags, Layer, LayerKind};
use holdpoint_policy::{ConfigError, agents_md};

use super::Finding;

/// Findings in all documents and examples.
pub(super) fn check(root: &Path, paths: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in paths {
        let origin = Origin::file(path.to_string_lossy());
        let is = |extension: &str| path.extension().is_some_and(|found| found == extension);
        if is("md") {
            let text = fs::read_to_string(root.join(path))?;
            for (line, toml) in fenced(&text, "toml") {
                findings.extend(refused(path, line, compile(&toml, &origin)));
            }
            findings.extend(refused(path, 0, agents_md::parse(&text, &origin).map(drop)));
        } else if is("toml") && path.starts_with("docs/examples") {
            let text = fs::read_to_string(root.join(path))?;
            findings.extend(refused(path, 0, compile(&text, &origin)));
        }
    }
    Ok(findings)
}

/// Reads a configuration as the user's own and compiles each of its profiles.
fn compile(toml: &str, origin: &Origin) -> Result<(), ConfigError> {
    let config = Config::parse(toml, origin)?;
    let profiles: Vec<_> = config.profiles().map(str::to_owned).collect();
    let layers = [Layer::new(LayerKind::User, config)];
    for profile in profiles {
        layer::compile(&layers, Some(&profile), &Flags::default())?;
    }
    Ok(())
}

fn refused(path: &Path, above: usize, outcome: Result<(), ConfigError>) -> Option<Finding> {
    let error = outcome.err()?;
    Some(Finding { file: path.to_owned(), line: above + error.line, text: format!("{error}") })
}

/// The fenced blocks of a language, each with the number of lines above its first.
fn fenced(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line == format!("```{language}") {
            let body: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push((index + 1, body.join("\n") + "\n"));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_in_a_document_is_found_at_its_line() {
        let root = tempfile::tempdir().unwrap();
        let page = PathBuf::from("page.md");
        fs::write(root.path().join(&page), "# Page\n\n```toml\n[profile.a]\nsandbox = \"read-olny\"\n```\n").unwrap();
        let found: Vec<_> = check(root.path(), &[page]).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("page.md:5:"), "{found:?}");
    }
}
