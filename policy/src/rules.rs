//! `[[rules]]`: a verdict for every command that starts with certain words.

use crate::shell::{self, Invocation, Word};
use crate::verdict::Verdict;
use serde::Serialize;

/// One rule, compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The first words of a command; each place lists the words that may stand there.
    pub prefix: Vec<Vec<String>>,
    /// What the command gets.
    pub verdict: Verdict,
    /// Why, as the author put it.
    pub reason: Option<String>,
    /// Where the rule stands: `FILE:LINE`.
    pub origin: String,
}

impl Rule {
    /// The rule as reasons name it: `[[rules]] git push|fetch`.
    pub fn title(&self) -> String {
        let places: Vec<String> = self.prefix.iter().map(|words| words.join("|")).collect();
        format!("[[rules]] {}", places.join(" "))
    }

    /// Whether the invocation starts with the prefix. A program matches by its name whatever its directory, unless the
    /// rule names a directory too. A word that is only known when the command runs matches any place but the first.
    pub fn matches(&self, invocation: &Invocation) -> bool {
        let words = &invocation.words;
        words.len() >= self.prefix.len()
            && self.prefix.iter().zip(words).enumerate().all(|(place, (known, word))| match word {
                Word::Literal(word) if place == 0 => known.iter().any(|name| same_program(name, word)),
                Word::Literal(word) => known.contains(word),
                // An `allow` needs certainty, everything else only the possibility.
                Word::Unknown => place > 0 && self.verdict > Verdict::Allow,
            })
    }

    /// Whether any command that the shell line starts would match.
    pub fn matches_line(&self, line: &str) -> bool {
        shell::read_script(line).invocations.iter().any(|invocation| self.matches(invocation))
    }
}

fn same_program(name: &str, word: &str) -> bool {
    match name.contains('/') {
        true => name == word,
        false => word.rsplit('/').next() == Some(name),
    }
}
