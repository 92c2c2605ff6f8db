//! Folding a word as the shell would: quotes, escapes, braces, known variables. What is left is literal or unknown, and the
//! scripts of the command substitutions in it are handed back.

use super::Word;
use super::brace::{Braces, braces};
use super::escape::ansi_c;
use std::collections::BTreeMap;

/// What became of one word as it was written.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// The words it expands to; usually one.
    pub(super) words: Vec<Word>,
    /// The scripts of command substitutions in it.
    pub(super) scripts: Vec<String>,
    /// It holds too many braces to be expanded; scripts in it are not found.
    pub(super) too_many: bool,
}

/// Whose values are known to a script.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) variables: &'a BTreeMap<String, String>,
    /// From `$0` on.
    pub(super) parameters: &'a [Option<String>],
}

impl<'a> Known<'a> {
    fn value(self, name: &str) -> Option<&'a str> {
        match name.parse::<usize>() {
            Ok(number) => self.parameters.get(number)?.as_deref(),
            Err(_) => self.variables.get(name).map(String::as_str).or(default_value(name)),
        }
    }

    /// `$@`, when all of it is known and there is any.
    fn all(self) -> Option<Vec<&'a str>> {
        self.parameters.get(1..).filter(|all| !all.is_empty())?.iter().map(Option::as_deref).collect()
    }
}

/// Folds one word of a script.
pub(super) fn fold(raw: &str, known: Known<'_>) -> Folded {
    let mut folded = Folded::default();
    let alternatives = match braces(raw) {
        Braces::Words(words) => words,
        Braces::TooMany => {
            folded.words.push(Word::Unknown(raw.to_owned()));
            folded.too_many = true;
            vec![]
        }
    };
    for text in alternatives {
        let mut scan = Scan::new(&text, known);
        scan.word();
        folded.words.append(&mut scan.finish(&text));
        folded.scripts.append(&mut scan.scripts);
    }
    folded
}

/// Folds the body of a here-document, where quotes mean nothing.
pub(super) fn fold_document(raw: &str, known: Known<'_>) -> (Word, Vec<String>) {
    let mut scan = Scan::new(raw, known);
    while scan.at < scan.text.len() {
        scan.quoted_char();
    }
    let word = match scan.known {
        true => Word::Literal(std::mem::take(&mut scan.current)),
        false => Word::Unknown(raw.to_owned()),
    };
    (word, scan.scripts)
}

struct Scan<'a> {
    text: Vec<char>,
    at: usize,
    values: Known<'a>,
    /// Words that unquoted variables split off.
    done: Vec<String>,
    current: String,
    /// Something other than an unquoted expansion stands in `current`, so that it is a word even when empty.
    solid: bool,
    known: bool,
    /// There is an unquoted `*`, `?` or `[`.
    glob: bool,
    scripts: Vec<String>,
}

impl<'a> Scan<'a> {
    fn new(text: &str, values: Known<'a>) -> Scan<'a> {
        Scan {
            text: text.chars().collect(),
            at: 0,
            values,
            done: Vec::new(),
            current: String::new(),
            solid: false,
            known: true,
            glob: false,
            scripts: Vec::new(),
        }
    }

    fn finish(&mut self, raw: &str) -> Vec<Word> {
        if !self.known {
            return vec![Word::Unknown(raw.to_owned())];
        }
        let mut words = std::mem::take(&mut self.done);
        if self.solid || !self.current.is_empty() {
            words.push(std::mem::take(&mut self.current));
        }
        words.into_iter().map(Word::Literal).collect()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.text.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn word(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => match self.next() {
                    Some('\n') => {}
                    Some(c) => self.push(c),
                    None => self.push('\\'),
                },
                '\'' => {
                    let inside = self.until('\'');
                    self.current.push_str(&inside);
                    self.solid = true;
                }
                '"' => self.double_quotes(),
                '$' => self.dollar(false),
                '`' => self.backquotes(),
                '*' | '?' | '[' => {
                    self.glob = true;
                    self.push(c);
                }
                c => self.push(c),
            }
        }
    }

    fn push(&mut self, c: char) {
        self.current.push(c);
        self.solid = true;
    }

    fn until(&mut self, end: char) -> String {
        let mut inside = String::new();
        while let Some(c) = self.next() {
            if c == end {
                break;
            }
            inside.push(c);
        }
        inside
    }

    fn double_quotes(&mut self) {
        self.solid = true;
        while let Some(c) = self.peek() {
            if c == '"' {
                self.at += 1;
                return;
            }
            self.quoted_char();
        }
    }

    /// One character, escape or expansion inside double quotes.
    fn quoted_char(&mut self) {
        match self.next() {
            Some('\\') => match self.next() {
                Some('\n') => {}
                Some(c @ ('$' | '`' | '"' | '\\')) => self.push(c),
                Some(c) => {
                    self.push('\\');
                    self.push(c);
                }
                None => self.push('\\'),
            },
            Some('$') => self.dollar(true),
            Some('`') => self.backquotes(),
            Some(c) => self.push(c),
            None => {}
        }
    }

    fn dollar(&mut self, quoted: bool) {
        match self.peek() {
            Some('\'') if !quoted => {
                self.at += 1;
                let start = self.at;
                while let Some(c) = self.next() {
                    match c {
                        '\\' => self.at += 1,
                        '\'' => break,
                        _ => {}
                    }
                }
                let end = self.at.saturating_sub(1).clamp(start, self.text.len());
                let inside: String = self.text[start..end].iter().collect();
                self.current.push_str(&ansi_c(&inside));
                self.solid = true;
            }
            Some('"') if !quoted => {
                self.at += 1;
                self.double_quotes();
            }
            Some('(') => {
                self.at += 1;
                let inside = self.balanced('(', ')');
                match inside.strip_prefix('(') {
                    Some(arithmetic) => self.nested(arithmetic),
                    None => self.scripts.push(inside),
                }
                self.known = false;
            }
            Some('[') => {
                self.at += 1;
                let inside = self.balanced('[', ']');
                self.nested(&inside);
                self.known = false;
            }
            Some('{') => {
                self.at += 1;
                let inside = self.balanced('{', '}');
                match inside.chars().all(name_char) {
                    true => self.variable(&inside, quoted),
                    false => {
                        self.nested(&inside);
                        self.known = false;
                    }
                }
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.peek().filter(|c| name_char(*c)) {
                    name.push(c);
                    self.at += 1;
                }
                self.variable(&name, quoted);
            }
            Some(c) if c.is_ascii_digit() => {
                self.at += 1;
                self.variable(&c.to_string(), quoted);
            }
            Some(c @ ('@' | '*')) => {
                self.at += 1;
                self.parameters(c, quoted);
            }
            Some(c) if "#?-$!".contains(c) => {
                self.at += 1;
                self.known = false;
            }
            _ => self.push('$'),
        }
    }

    /// An unquoted value is split at its blanks, as the shell does.
    fn variable(&mut self, name: &str, quoted: bool) {
        match self.values.value(name) {
            Some(value) => self.expand(value, quoted),
            None => self.known = false,
        }
    }

    fn expand(&mut self, value: &str, quoted: bool) {
        if quoted {
            self.current.push_str(value);
            self.solid = true;
            return;
        }
        for c in value.chars() {
            if !c.is_ascii_whitespace() {
                self.push(c);
            } else if self.solid || !self.current.is_empty() {
                self.done.push(std::mem::take(&mut self.current));
                self.solid = false;
            }
        }
    }

    /// `$@` or `$*`: a word for each parameter, but one for all when it is `"$*"`.
    fn parameters(&mut self, sign: char, quoted: bool) {
        let Some(all) = self.values.all() else {
            self.known = false;
            return;
        };
        if quoted && sign == '*' {
            return self.expand(&all.join(" "), quoted);
        }
        for (number, parameter) in all.into_iter().enumerate() {
            if number > 0 && (self.solid || !self.current.is_empty()) {
                self.done.push(std::mem::take(&mut self.current));
                self.solid = quoted;
            }
            self.expand(parameter, quoted);
        }
    }

    fn backquotes(&mut self) {
        let mut script = String::new();
        while let Some(c) = self.next() {
            match c {
                '`' => break,
                '\\' => match self.next() {
                    Some(c @ ('`' | '\\' | '$')) => script.push(c),
                    Some(c) => script.extend(['\\', c]),
                    None => script.push('\\'),
                },
                c => script.push(c),
            }
        }
        self.scripts.push(script);
        self.known = false;
    }

    /// Up to the closer of what was just opened; quotes and escapes inside are respected.
    fn balanced(&mut self, open: char, close: char) -> String {
        let start = self.at;
        let mut depth = 1;
        while let Some(c) = self.next() {
            match c {
                '\\' => self.at += 1,
                '\'' => {
                    self.until('\'');
                }
                '"' => self.skip_double_quotes(),
                c if c == open => depth += 1,
                c if c == close => {
                    depth -= 1;
                    if depth == 0 {
                        return self.text[start..self.at - 1].iter().collect();
                    }
                }
                _ => {}
            }
        }
        self.text[start.min(self.text.len())..].iter().collect()
    }

    fn skip_double_quotes(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.at += 1,
                '"' => return,
                _ => {}
            }
        }
    }

    /// Command substitutions inside an expansion that is not itself folded.
    fn nested(&mut self, text: &str) {
        let mut scan = Scan::new(text, self.values);
        while scan.at < scan.text.len() {
            match scan.peek() {
                Some('"' | '\'') => scan.at += 1,
                _ => scan.quoted_char(),
            }
        }
        self.scripts.append(&mut scan.scripts);
    }
}

fn name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Variables whose value is as good as known.
fn default_value(name: &str) -> Option<&'static str> {
    match name {
        "IFS" => Some(" "),
        "SHELL" | "BASH" => Some("sh"),
        _ => None,
    }
}

/// Whether the word is a pattern over file names, so that it may become other words.
pub(super) fn is_pattern(raw: &str) -> bool {
    let none = BTreeMap::new();
    let mut scan = Scan::new(raw, Known { variables: &none, parameters: &[] });
    scan.word();
    scan.glob
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Known<'static> = Known { variables: &BTreeMap::new(), parameters: &[] };

    fn words(raw: &str) -> Vec<Word> {
        let variables = BTreeMap::from([("a".to_owned(), "rm".to_owned()), ("b".to_owned(), "-rf /".to_owned())]);
        fold(raw, Known { variables: &variables, parameters: &[] }).words
    }

    fn literals(raw: &str) -> Vec<String> {
        words(raw).iter().map(|word| word.literal().unwrap_or("?").to_owned()).collect()
    }

    #[test]
    fn quotes_and_escapes_fold_away() {
        for raw in ["rm", "r'm'", "r\"m\"", "\\rm", "$'\\x72m'", "r''m", "$\"rm\"", "r\\\nm"] {
            assert_eq!(literals(raw), ["rm"], "{raw}");
        }
    }

    #[test]
    fn braces_expand() {
        assert_eq!(literals("{rm,-rf,x}"), ["rm", "-rf", "x"]);
        assert_eq!(literals("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(literals("{x}"), ["{x}"]);
        assert_eq!(literals("'{a,b}'"), ["{a,b}"]);
        assert_eq!(literals("{}"), ["{}"]);
    }

    #[test]
    fn known_variables_split_only_outside_quotes() {
        assert_eq!(literals("$a"), ["rm"]);
        assert_eq!(literals("${b}"), ["-rf", "/"]);
        assert_eq!(literals("\"$b\""), ["-rf /"]);
        assert_eq!(literals("rm${IFS}-rf${IFS}x"), ["rm", "-rf", "x"]);
        assert_eq!(words("$unknown"), [Word::Unknown("$unknown".into())]);
    }

    #[test]
    fn scripts_are_found_wherever_they_hide() {
        for raw in
            ["$(rm x)", "\"a $(rm x)\"", "`rm x`", "${y:=$(rm x)}", "${y:-`rm x`}", "$((1+$(rm x)))", "$[ $(rm x) ]"]
        {
            assert_eq!(fold(raw, NOTHING).scripts, ["rm x"], "{raw}");
        }
        assert!(fold("'$(rm x)'", NOTHING).scripts.is_empty());
        assert_eq!(fold_document("it's \"$(rm x)\"", NOTHING).1, ["rm x"]);
    }

    #[test]
    fn a_bomb_of_braces_stays_small() {
        let bomb = "{a,b}".repeat(30);
        assert_eq!(words(&bomb), [Word::Unknown(bomb.clone())]);
    }
}
