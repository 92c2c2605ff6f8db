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

    /// What the rule gives the invocation; `None` when it does not match.
    ///
    /// `ask` and `deny` match generously: a program by its name in whatever directory, options between the program and its
    /// verb left out (`git -C dir push` is `git push`), and a word that is only known when the command runs may be any word;
    /// then even `deny` only asks. `allow` matches only what is written exactly so.
    pub fn judge(&self, invocation: &Invocation) -> Option<Verdict> {
        let fit = match self.verdict {
            Verdict::Allow => self.fit(&invocation.words),
            _ => self.fit(&invocation.words).max(self.fit(&invocation.without_global_options())),
        };
        match fit {
            Fit::Sure => Some(self.verdict),
            Fit::Possible if self.verdict > Verdict::Allow => Some(Verdict::Ask),
            Fit::Possible | Fit::None => None,
        }
    }

    fn fit(&self, words: &[Word]) -> Fit {
        if words.len() < self.prefix.len() {
            return Fit::None;
        }
        let place = |(place, (known, word)): (usize, (&Vec<String>, &Word))| match word {
            Word::Literal(word) => {
                let program = place == 0 && self.verdict > Verdict::Allow;
                let same = |name: &String| if program { same_program(name, word) } else { name == word };
                if known.iter().any(same) { Fit::Sure } else { Fit::None }
            }
            // A computed program is not any program in particular; that it is computed is judged elsewhere.
            Word::Unknown(_) if place == 0 => Fit::None,
            Word::Unknown(_) => Fit::Possible,
        };
        self.prefix.iter().zip(words).enumerate().map(place).min().unwrap_or(Fit::None)
    }

    /// Whether any command that the shell line starts would match.
    pub fn matches_line(&self, line: &str) -> bool {
        shell::read_script(line).invocations.iter().any(|invocation| self.judge(invocation).is_some())
    }
}

/// How surely a rule matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    None,
    Possible,
    Sure,
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
            "git --attr-source HEAD --git-dir=x --no-pager push",
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
    fn a_computed_word_asks_where_the_rule_denies() {
        let push = rule(&[&["git"], &["push"]], Verdict::Deny);
        let judge = |line: &str| push.judge(&shell::read_script(line).invocations[0]);
        assert_eq!(judge("git push"), Some(Verdict::Deny));
        assert_eq!(judge("git $verb"), Some(Verdict::Ask));
        assert_eq!(judge("git $options push"), Some(Verdict::Ask));
        assert_eq!(judge("git pull $x"), None);
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
