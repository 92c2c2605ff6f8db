//! `cargo xtask tidy`: the rules of the house that no compiler checks, each reported as `file:line: what is wrong`.

mod attacks;
mod examples;
mod fence;
mod files;
mod graph;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tally::Tally;
use crate::tree;
use source::Line;

/// Options of `cargo xtask tidy`.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Something that breaks a rule.
pub(crate) struct Finding {
    file: PathBuf,
    line: usize,
    text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// One Rust file of the repository.
struct Rust {
    /// Relative to the root.
    path: PathBuf,
    text: String,
    lines: Vec<Line>,
}

impl Rust {
    fn new(path: PathBuf, text: String) -> Self {
        let lines = source::lines(&text);
        Self { path, text, lines }
    }

    /// A finding at the line with this index.
    fn finding(&self, index: usize, text: impl Into<String>) -> Finding {
        Finding { file: self.path.clone(), line: index + 1, text: text.into() }
    }

    /// Whether the whole file is a test.
    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests") || self.path.ends_with("tests.rs")
    }
}

/// Checks every rule; false when one is broken.
pub(crate) fn main(_: &Options) -> Result<bool> {
    let root = tree::root();
    let paths = tracked(&root)?;
    let mut files = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(root.join(path)).with_context(|| path.display().to_string())?;
        files.push(Rust::new(path.clone(), text));
    }
    let rules: [(&str, Vec<Finding>); 7] = [
        ("crates depend in one direction", graph::check()?),
        ("unsafe stays behind the fence", files.iter().flat_map(fence::check).collect()),
        ("files are readable", files::check(&files)),
        ("words and names", files.iter().flat_map(words::check).collect()),
        ("what the documents show is accepted", examples::check(&root, &paths)?),
        ("the table of attacks names tests that exist", attacks::check(&root, &files)?),
        ("nothing names a registry of its own", words::check_registries(&root, &paths)?),
    ];
    let mut tally = Tally::default();
    for (rule, findings) in &rules {
        println!("{} {rule}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for finding in findings {
            println!("     {finding}");
        }
        tally += Tally::one(findings.is_empty());
    }
    println!("{}", files::summary(&files));
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Every file that git knows or would add, relative to the root.
fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    let output = git
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let names = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
    let mut paths: Vec<PathBuf> = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    // A file removed but not yet committed is still listed.
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    paths.dedup();
    Ok(paths)
}
