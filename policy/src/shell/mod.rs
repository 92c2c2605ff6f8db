//! Which commands a command line starts, as far as its text tells.
//!
//! This explains and asks earlier; it lets nothing through that the sandbox forbids. So it may read too much into a line, and
//! whatever it cannot read it calls unknown.
//!
//! A line goes through a guard (length, nesting, cost), the tokenizer and parser of brush-parser, a walk over what was parsed
//! (`script`), the folding of quotes, escapes and braces (`word`), and the unwrapping of commands that only start others
//! (`unwrap`): `sudo env A=1 sh -c 'rm -rf x'` is read down to `rm -rf x`.

mod brace;
mod escape;
mod guard;
mod options;
mod script;
mod unwrap;
mod word;

use std::collections::BTreeMap;
use std::ffi::OsString;

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The text is known.
    Literal(String),
    /// The text is known only when the command runs; this is how it was written.
    Unknown(String),
}

impl Word {
    /// The text when it is known.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Word::Literal(text) => Some(text),
            Word::Unknown(_) => None,
        }
    }

    /// The text when it is known, else how it was written.
    pub fn shown(&self) -> &str {
        match self {
            Word::Literal(text) | Word::Unknown(text) => text,
        }
    }
}

/// What a command finds on its standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// What the command line itself has.
    #[default]
    Inherited,
    /// A known text: a here-document, a here-string, or what an `echo` before it prints.
    Text(String),
    /// The output of this program.
    From(String),
    /// The content of a file, or a text known only when it runs.
    Unknown,
}

/// One program that a command line starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub words: Vec<Word>,
    /// Variables set for it, or for the script when there are no words.
    pub sets: Vec<(String, Word)>,
    /// Files its output is redirected to.
    pub writes: Vec<Word>,
    /// Files its input is redirected from.
    pub reads: Vec<Word>,
    /// Its standard input.
    pub input: Input,
    /// It does nothing but start the command it carries, which follows as an invocation of its own.
    pub carrier: bool,
}

impl Invocation {
    /// The program as written, when that is known.
    pub fn program(&self) -> Option<&str> {
        self.words.first()?.literal()
    }

    /// The program without its directory.
    pub fn name(&self) -> Option<&str> {
        self.program()?.rsplit('/').next()
    }

    /// The words after the program.
    pub fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The words without the options that stand between a known tool and its verb, and their values: `git -C dir push` becomes
    /// `git push`.
    pub fn without_global_options(&self) -> Vec<Word> {
        let Some(global) = self.name().and_then(options::global) else { return self.words.clone() };
        let mut words = self.words.iter();
        let mut kept: Vec<Word> = words.by_ref().take(1).cloned().collect();
        while let Some(word) = words.next() {
            match word.literal() {
                Some(option) if option.starts_with('-') => {
                    if global.contains(&option) {
                        words.next();
                    }
                }
                _ => {
                    kept.push(word.clone());
                    kept.extend(words.by_ref().cloned());
                }
            }
        }
        kept
    }

    /// No variables, no redirections but to `/dev/null`, every word known.
    pub fn is_plain(&self) -> bool {
        let harmless = |word: &Word| word.literal() == Some("/dev/null");
        self.sets.is_empty()
            && self.reads.is_empty()
            && self.writes.iter().all(harmless)
            && self.words.iter().all(|word| word.literal().is_some())
    }
}

/// What was read out of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    /// Every program it starts: what starts others, and what is started.
    pub invocations: Vec<Invocation>,
    /// Why something could not be read, if so: the first reason found, a sentence fragment.
    pub unknown: Option<String>,
}

/// Reads what will be executed by `execve`, down to what shells and wrappers in it start.
///
/// ```
/// use holdpoint_policy::shell::extract;
///
/// let argv = ["sh", "-c", "cd /tmp && sudo r''m -rf \"$DIR\""].map(Into::into);
/// let read = extract(&argv);
/// let names: Vec<_> = read.invocations.iter().filter_map(|invocation| invocation.name()).collect();
/// assert_eq!(names, ["sh", "cd", "sudo", "rm"]);
/// assert_eq!(read.unknown, None);
///
/// let computed = extract(&["sh", "-c", "$(echo rm) -rf x"].map(Into::into));
/// assert!(computed.unknown.is_some());
/// ```
pub fn extract(argv: &[OsString]) -> Extraction {
    let words = argv.iter().map(|word| match word.to_str() {
        Some(word) => Word::Literal(word.to_owned()),
        None => Word::Unknown(word.to_string_lossy().into_owned()),
    });
    let invocation = Invocation { words: words.collect(), ..Invocation::default() };
    Reader::read(|reader| reader.invocation(invocation, 0))
}

/// Reads a shell script.
pub fn read_script(script: &str) -> Extraction {
    Reader::read(|reader| reader.script(script, &Input::Inherited, 0))
}

/// Reads command lines and collects what they start.
#[derive(Default)]
pub(crate) struct Reader {
    read: Extraction,
    /// Variables whose value is known, because the script sets them once to a literal.
    variables: BTreeMap<String, String>,
    /// What the present script was called with, from `$0` on, as far as that is known.
    parameters: Vec<Option<String>>,
    /// Bytes of script read so far, nested ones counted again.
    bytes: usize,
    /// Whether this runs where the parser may descend.
    deep_stack: bool,
}

impl Reader {
    fn read(work: impl FnOnce(&mut Self)) -> Extraction {
        let mut reader = Self::default();
        work(&mut reader);
        reader.read
    }

    /// Remembers the first reason why something is unknown.
    fn unknown(&mut self, why: impl Into<String>) {
        if self.read.unknown.is_none() {
            self.read.unknown = Some(why.into());
        }
    }
}
