//! Counts what passed, from the summaries that test runners print.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// How many checks passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Tally {
    /// One check.
    pub(crate) fn one(passed: bool) -> Self {
        if passed { Self { passed: 1, ..Self::default() } } else { Self { failed: 1, ..Self::default() } }
    }

    /// The sum of every summary line in what a runner printed: libtest's `test result:`, nextest's `Summary`, or the
    /// closing `N passed, N failed, N skipped` of our own scripts.
    pub(crate) fn of(output: &str) -> Self {
        // nextest quotes what failing tests printed, libtest's own summaries included.
        let nextest = output.lines().any(|line| plain(line).trim().starts_with("Summary ["));
        let mut sum = Self::default();
        for line in output.lines() {
            let line = plain(line);
            let line = line.trim();
            let counts = if nextest { line.starts_with("Summary [") } else { line.starts_with("test result:") };
            if counts || is_closing(line) {
                sum += Self::of_line(line);
            }
        }
        sum
    }

    /// The results in the Test Anything Protocol: `ok N - …`, `not ok N - …`, and `# SKIP` behind either.
    pub(crate) fn of_tap(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            match line {
                line if line.starts_with("ok ") && line.contains("# SKIP") => sum.skipped += 1,
                line if line.starts_with("ok ") => sum.passed += 1,
                line if line.starts_with("not ok ") => sum.failed += 1,
                _ => {}
            }
        }
        sum
    }

    fn of_line(line: &str) -> Self {
        let mut sum = Self::default();
        for part in line.split([',', ';', ':', '.', '(', ')']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next().and_then(|word| word.parse::<usize>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => sum.passed += count,
                "failed" | "timed" | "exec" => sum.failed += count,
                "ignored" | "skipped" => sum.skipped += count,
                _ => {}
            }
        }
        sum
    }

    /// Adds a failure when a runner ended badly although its summary names none: it did not get to the end.
    pub(crate) fn ended(mut self, code: i32) -> Self {
        if code != 0 && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

/// Whether a line is `N passed, N failed, N skipped`.
fn is_closing(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut number = || words.next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    number() && line.contains(" passed, ") && line.contains(" failed, ") && line.ends_with(" skipped")
}

/// The line without terminal colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn libtest_summaries_add_up() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s\n";
        assert_eq!(Tally::of(output), Tally { passed: 5, failed: 1, skipped: 1 });
    }

    #[test]
    fn nextest_summary_is_read_through_its_colours() {
        let output = "    test result: FAILED. 0 passed; 1 failed; 0 ignored\n\u{1b}[32;1m     Summary\u{1b}[0m [   1.234s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped\n";
        assert_eq!(Tally::of(output), Tally { passed: 9, failed: 3, skipped: 4 });
    }

    #[test]
    fn our_own_closing_line_counts_and_other_talk_does_not() {
        assert_eq!(
            Tally::of("7 passed, 0 failed, 2 skipped\nmany passed, some failed, none skipped\n"),
            Tally { passed: 7, failed: 0, skipped: 2 }
        );
    }

    #[test]
    fn lines_of_tap_are_counted() {
        let output = "ok 1 - pairing\nnot ok 2 - denial\n  at line 3\nok 3 - phone # SKIP no phone\n1..3\n";
        assert_eq!(Tally::of_tap(output), Tally { passed: 1, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_runner_that_broke_off_counts_as_a_failure() {
        assert_eq!(Tally::of("").ended(101).failed, 1);
        assert_eq!(Tally::of("").ended(0), Tally::default());
    }
}
