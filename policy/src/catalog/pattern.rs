//! The little language of the tables: which words and options make a command a known one.

use super::{Class, Hit, asks_for_help, data, system};
use crate::shell::Invocation;

/// One known command: class, tools, pattern, what it does.
///
/// A pattern is words with blanks between; all must hold, alternatives are separated by `|`:
/// `push` is the next word that is no option, `-f` or `--force` is an option anywhere (`-f` also inside `-rf`),
/// `<+` is an argument that starts with `+`, `~exec=` an argument that contains `exec=`, `!-l` no such option,
/// and `.` nothing at all besides options.
pub(super) type Entry = (Class, &'static [&'static str], &'static str, &'static str);

/// Every table.
const TABLES: [&[Entry]; 4] = [data::GIT, data::PACKAGES, data::STORES, system::MACHINE];

/// What the tables know about an invocation.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let Some(name) = invocation.name() else { return Vec::new() };
    if asks_for_help(invocation) {
        return Vec::new();
    }
    let words = Words::of(invocation);
    let entries = TABLES.iter().copied().flatten().chain(super::guards::RUN_THROUGH_OPTIONS);
    entries
        .filter(|(_, tools, pattern, _)| tools.contains(&name) && words.holds(pattern))
        .map(|(class, _, _, text)| Hit::new(*class, name, *text))
        .collect()
}

/// The arguments of an invocation, sorted into words and options.
pub(super) struct Words<'a> {
    pub(super) plain: Vec<&'a str>,
    options: Vec<&'a str>,
    all: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn of(invocation: &'a Invocation) -> Words<'a> {
        let all: Vec<&str> = invocation.arguments().iter().map(|word| word.shown()).collect();
        let (options, _) = all.iter().partition::<Vec<&str>, _>(|word| word.len() > 1 && word.starts_with('-'));
        let verbs = invocation.without_global_options();
        let mut plain: Vec<&str> = Vec::new();
        for word in verbs.iter().skip(1).map(|word| word.shown()) {
            if !word.starts_with('-')
                && let Some(word) = all.iter().find(|known| **known == word)
            {
                plain.push(word);
            }
        }
        Words { plain, options, all }
    }

    /// Whether one of the options stands there; a single letter also inside a cluster.
    pub(super) fn option(&self, wanted: &str) -> bool {
        self.options.iter().any(|option| {
            let name = option.split('=').next().unwrap_or(option);
            let letter = wanted.strip_prefix('-').filter(|rest| rest.chars().count() == 1);
            let cluster = !option.starts_with("--") && option.len() < 8;
            name == wanted || letter.is_some_and(|letter| cluster && option[1..].contains(letter))
        })
    }

    /// Whether a pattern of the little language holds.
    pub(super) fn holds(&self, pattern: &str) -> bool {
        let mut place = 0;
        pattern.split_whitespace().all(|part| {
            let alternatives = |of: &'static str| part.trim_start_matches(of).split('|');
            match part.as_bytes().first() {
                Some(b'-') => part.split('|').any(|option| self.option(option)),
                Some(b'!') => !alternatives("!").any(|option| self.option(option)),
                Some(b'<') => alternatives("<").any(|start| self.all.iter().any(|word| word.starts_with(start))),
                Some(b'~') => {
                    let inside = |text: &str| self.all.iter().any(|word| word.to_lowercase().contains(text));
                    alternatives("~").any(inside)
                }
                Some(b'.') if part == "." => self.plain.is_empty(),
                _ => {
                    place += 1;
                    let word = self.plain.get(place - 1);
                    word.is_some_and(|word| part == "*" || part.split('|').any(|known| known == *word))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::read_script;

    fn holds(line: &str, pattern: &str) -> bool {
        let read = read_script(line);
        Words::of(&read.invocations[0]).holds(pattern)
    }

    #[test]
    fn patterns_mean_what_they_say() {
        assert!(holds("git push -f origin", "push -f|--force"));
        assert!(holds("git push origin --force=x", "push -f|--force"));
        assert!(holds("git -C x push origin +main", "push <+|:"));
        assert!(holds("git clean -fdx", "clean -x"));
        assert!(!holds("git log push", "push"));
        assert!(holds("crontab f", "!-l"));
        assert!(!holds("crontab -l", "!-l"));
        assert!(holds("tar x --to-command=sh", "~to-command"));
        assert!(holds("docker system prune", "* prune"));
    }

    #[test]
    fn every_entry_of_every_table_can_be_reached() {
        for (_, tools, pattern, text) in
            TABLES.iter().copied().flatten().chain(super::super::guards::RUN_THROUGH_OPTIONS)
        {
            assert!(!tools.is_empty() && !text.is_empty(), "{pattern}");
            assert!(pattern.split_whitespace().all(|part| !part.is_empty() && part != "!" && part != "<"), "{pattern}");
        }
    }
}
