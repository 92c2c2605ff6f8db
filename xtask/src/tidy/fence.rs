//! `unsafe` stands only in `runtime/src/sys/`, and each use says why it is sound.

use super::{Finding, Rust};

/// Where `unsafe` may stand.
const FENCE: &str = "runtime/src/sys/";

/// Files outside the fence that may use it, each with its reason.
const EXCEPTIONS: &[(&str, &str)] =
    &[("runtime/tests/allocation.rs", "an allocator that ends the process is an unsafe trait of the standard library")];

/// How far above a use its note may begin, when code of the same statement lies between.
const REACH: usize = 3;

/// Findings in one file.
pub(super) fn check(file: &Rust) -> Vec<Finding> {
    let inside = file.path.starts_with(FENCE) || EXCEPTIONS.iter().any(|(path, _)| file.path.starts_with(path));
    let mut findings = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        let Some(after) = unsafe_word(&line.code) else { continue };
        if !inside {
            findings.push(file.finding(index, format!("`unsafe` outside {FENCE}")));
        }
        // The parentheses of `#[unsafe(no_mangle)]`, `unsafe extern` and function pointer types state no obligation here.
        let after = after.trim_start();
        if after.starts_with('(') || after.starts_with("extern") && after.contains('{') {
            continue;
        }
        let declares = after.starts_with("fn") || after.starts_with("extern") || after.starts_with("trait");
        if declares && (line.code.contains("fn(") || implements(file, index)) {
            continue;
        }
        let wanted: &[&str] = if declares { &["# Safety", "SAFETY:"] } else { &["SAFETY:"] };
        if !noted(file, index, wanted) {
            let what =
                if declares { "an unsafe declaration without `# Safety`" } else { "unsafe without a SAFETY note" };
            findings.push(file.finding(index, what));
        }
    }
    findings
}

/// What follows the word `unsafe`, when the code has it.
fn unsafe_word(code: &str) -> Option<&str> {
    let mut rest = code;
    while let Some(at) = rest.find("unsafe") {
        let after = &rest[at + "unsafe".len()..];
        let word = |character: char| character.is_alphanumeric() || character == '_';
        if !rest[..at].ends_with(word) && !after.starts_with(word) {
            return Some(after);
        }
        rest = after;
    }
    None
}

/// Whether a function belongs to an `unsafe impl`, whose note and trait speak for it.
fn implements(file: &Rust, index: usize) -> bool {
    let depth = |code: &str| code.len() - code.trim_start().len();
    let own = depth(&file.lines[index].code);
    let outer = file.lines[..index].iter().rev().find(|line| !line.code.trim().is_empty() && depth(&line.code) < own);
    outer.is_some_and(|line| line.code.contains("unsafe impl"))
}

/// Whether a note stands on the line or above it: in the comments and attributes right above, or after a few lines of the
/// same statement.
fn noted(file: &Rust, index: usize, wanted: &[&str]) -> bool {
    let has = |index: usize| wanted.iter().any(|note| file.lines[index].comment.contains(note));
    if has(index) {
        return true;
    }
    let mut code = 0;
    for above in (0..index).rev() {
        if has(above) {
            return true;
        }
        let line = &file.lines[above];
        let text = line.code.trim();
        if !text.is_empty() && !text.starts_with("#[") {
            code += 1;
        }
        if code > REACH || text.is_empty() && line.comment.is_empty() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Rust::new(path.into(), text.to_owned())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unsafe_outside_the_fence_is_found() {
        let text = "//! x\n// SAFETY: none needed\nunsafe { f() }\n";
        assert_eq!(findings("policy/src/a.rs", text), ["policy/src/a.rs:3: `unsafe` outside runtime/src/sys/"]);
        assert!(findings("runtime/src/sys/a.rs", text).is_empty());
    }

    #[test]
    fn a_block_without_a_note_is_found() {
        let found = findings("runtime/src/sys/a.rs", "//! x\n\nlet a = unsafe { f() };\n");
        assert_eq!(found, ["runtime/src/sys/a.rs:3: unsafe without a SAFETY note"]);
    }

    #[test]
    fn an_unsafe_impl_speaks_for_its_functions_and_nothing_speaks_for_a_free_one() {
        let own = "//! x\n// SAFETY: passes on\nunsafe impl A for B {\n    fn a() {\n        b();\n        c();\n    }\n\n    unsafe fn d() {}\n}\n";
        assert!(findings("runtime/src/sys/a.rs", own).is_empty());
        assert_eq!(findings("runtime/src/sys/a.rs", "//! x\n\npub unsafe fn d() {}\n").len(), 1);
    }

    #[test]
    fn words_that_only_contain_it_are_no_use() {
        assert!(findings("cli/src/a.rs", "#![forbid(unsafe_code)]\n// unsafe\nlet a = \"unsafe\";\n").is_empty());
    }
}
