//! Each file opens with its idea, and stays short enough to be read.

use super::{Finding, Rust};

/// The most lines of a file, its tests left out.
const LONGEST: usize = 700;

/// Findings in all files.
pub(super) fn check(files: &[Rust]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if !file.text.starts_with("//!") {
            findings.push(file.finding(0, "does not begin with `//!` and what it is for"));
        }
        let length = length(file);
        if length > LONGEST && !file.is_test() {
            findings.push(file.finding(length - 1, format!("{length} lines; the most is {LONGEST}")));
        }
    }
    findings
}

/// How long files are: the median, the length that nine in ten keep below, and the longest.
pub(super) fn summary(files: &[Rust]) -> String {
    let mut lengths: Vec<_> = files.iter().filter(|file| !file.is_test()).map(length).collect();
    lengths.sort_unstable();
    let at = |percent: usize| lengths.get(lengths.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0);
    format!(
        "{} files without tests: median {} lines, nine in ten up to {}, longest {}",
        lengths.len(),
        at(50),
        at(90),
        at(100)
    )
}

/// Lines up to the module of tests at the end.
fn length(file: &Rust) -> usize {
    let lines: Vec<_> = file.text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    tests.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_idea_or_of_too_many_lines_is_found() {
        let bare = Rust::new("a/src/b.rs".into(), "use std::fs;\n".to_owned());
        let long = Rust::new("a/src/c.rs".into(), format!("//! x\n{}", "f();\n".repeat(LONGEST)));
        let test = Rust::new("a/tests/d.rs".into(), format!("//! x\n{}", "f();\n".repeat(LONGEST)));
        let found: Vec<_> = check(&[bare, long, test]).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a/src/b.rs:1:") && found[1].starts_with("a/src/c.rs:701:"), "{found:?}");
    }

    #[test]
    fn tests_at_the_end_do_not_count() {
        let text = format!("//! x\nf();\n#[cfg(test)]\nmod tests {{\n{}}}\n", "g();\n".repeat(LONGEST));
        assert_eq!(length(&Rust::new("a/src/b.rs".into(), text)), 2);
    }
}
