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

    /// Whether the invocation starts with the prefix.
    ///
    /// `ask` and `deny` match generously: a program by its name in whatever directory, options between the program and its
    /// verb left out (`git -C dir push` is `git push`), and a word that is only known when the command runs matches any place.
    /// `allow` matches only what is written exactly so.
    pub fn matches(&self, invocation: &Invocation) -> bool {
        match self.verdict {
            Verdict::Allow => self.prefixes(&invocation.words),
            _ => self.prefixes(&invocation.words) || self.prefixes(&invocation.without_global_options()),
        }
    }

    fn prefixes(&self, words: &[Word]) -> bool {
        let generous = self.verdict > Verdict::Allow;
        words.len() >= self.prefix.len()
            && self.prefix.iter().zip(words).enumerate().all(|(place, (known, word))| match word {
                Word::Literal(word) if place == 0 && generous => known.iter().any(|name| same_program(name, word)),
                Word::Literal(word) => known.contains(word),
                Word::Unknown(_) => place > 0 && generous,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &[&[&str]], verdict: Verdict) -> Rule {
        let prefix = prefix.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect();
        Rule { prefix, verdict, reason: None, origin: "test".into() }
    }

    #[test]
    fn a_deny_rule_is_not_evaded_by_spelling() {
        let push = rule(&[&["git"], &["push", "send-pack"]], Verdict::Deny);
        for line in [
            "git push",
            "/usr/bin/git push -f",
            "git -C .. -c a=b push",
            "g\\it 'push'",
            "sudo -u bob git push",
            "bash -c 'cd x && git push'",
            "echo $(git push)",
            "git $verb",
            "find . -exec git push {} +",
            "if true; then git send-pack; fi",
        ] {
            assert!(push.matches_line(line), "{line}");
        }
        for line in ["git pull", "echo git push", "git log push", "echo 'git push'"] {
            assert!(!push.matches_line(line), "{line}");
        }
    }

    #[test]
    fn an_allow_rule_matches_only_what_is_written() {
        let status = rule(&[&["git"], &["status"]], Verdict::Allow);
        assert!(status.matches_line("git status --short"));
        for line in ["./git status", "git -c core.pager=x status", "git $verb"] {
            assert!(!status.matches_line(line), "{line}");
        }
    }
}
