//! Which commands a command line starts, as far as its text tells.

use std::ffi::OsString;

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The text is known.
    Literal(String),
    /// The text is known only when the command runs.
    Unknown,
}

/// One program that a command line starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub words: Vec<Word>,
}

/// What was read out of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    /// Every program it starts, wrappers and what they wrap both.
    pub invocations: Vec<Invocation>,
    /// Why something could not be read, if so.
    pub unknown: Option<String>,
}

/// Reads what will be executed.
pub fn extract(argv: &[OsString]) -> Extraction {
    let words = argv.iter().map(|word| word.to_str().map_or(Word::Unknown, |word| Word::Literal(word.to_owned())));
    Extraction { invocations: vec![Invocation { words: words.collect() }], unknown: None }
}

/// Reads a shell script.
pub fn read_script(script: &str) -> Extraction {
    let words = script.split_whitespace().map(|word| Word::Literal(word.to_owned()));
    Extraction { invocations: vec![Invocation { words: words.collect() }], unknown: None }
}
