//! `AGENTS.md`: the prose that is carried to the agent and the fenced `holdpoint` blocks that are enforced.
//!
//! A block holds the keys that may stand outside a profile, and `[[rules]]`; all of it can only tighten:
//!
//! ````markdown
//! - NEVER execute destructive operations against any API or database
//!
//! ```holdpoint
//! deny_read_paths = ["**/.env*"]
//!
//! [catalog]
//! destructive = "deny"
//!
//! [[rules]]
//! prefix = [["terraform", "kubectl"]]
//! verdict = "ask"
//! reason = "infrastructure needs a person"
//! ```
//! ````

use crate::config::{self, Config, ConfigError, Mistake, Origin, Place};
use crate::layer::{self, Layer, LayerKind};
use serde::Serialize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The info string of a block that is enforced.
const INFO: &str = "holdpoint";

/// One fenced block with the info string `holdpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// The line of the file on which its TOML starts, counted from 1.
    pub line: usize,
    /// The TOML in it.
    pub toml: String,
}

/// The blocks of a text. An unclosed block goes on to the end; a block shown inside another fence is none.
///
/// ```
/// use holdpoint_policy::agents_md::blocks;
///
/// let text = "# Rules\n\n```holdpoint\nsandbox = \"read-only\"\n```\n";
/// assert_eq!(blocks(text)[0].line, 4);
/// assert_eq!(blocks(text)[0].toml, "sandbox = \"read-only\"\n");
/// ```
pub fn blocks(text: &str) -> Vec<Block> {
    let fences = fences(text);
    let ours = fences.iter().filter(|fence| is_ours(&fence.info));
    ours.map(|fence| Block {
        line: config::line_column(text, fence.body.start).0,
        toml: text[fence.body.clone()].to_owned(),
    })
    .collect()
}

/// Reads the blocks of a text as configurations that can only tighten.
///
/// # Errors
/// As [`Config::parse`], with the lines of the `AGENTS.md` itself; also for a block with a misspelt info string, and for
/// anything in a block that could loosen or run a program: profiles, hooks, `allow` rules.
///
/// ```
/// use holdpoint_policy::agents_md::parse;
/// use holdpoint_policy::Origin;
///
/// let text = "# Rules\n\n```holdpoint\nsandbx = \"read-only\"\n```\n";
/// let error = parse(text, &Origin::file("AGENTS.md")).unwrap_err();
/// assert_eq!(error.to_string(), "AGENTS.md:4:1: unknown key `sandbx` (did you mean `sandbox`?)");
/// ```
pub fn parse(text: &str, origin: &Origin) -> Result<Vec<Config>, ConfigError> {
    let mut configs = Vec::new();
    for fence in fences(text) {
        if !is_ours(&fence.info) {
            refuse_misspelt(text, origin, &fence)?;
            continue;
        }
        if fence.quoted {
            let message = "this block stands in a quotation or a list and cannot be read there";
            return Err(ConfigError::at(Mistake::Syntax, &origin.name, &Arc::from(text), fence.open, message)
                .suggest("start its fence at the beginning of a line"));
        }
        let config = Config::read(&mask(text, &fence.body), text, origin, Place::Block)?;
        let layer = Layer::new(LayerKind::AgentsMd, config);
        layer::refuse_loosening(&layer)?;
        configs.push(layer.config);
    }
    Ok(configs)
}

/// The text of several files, joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Assembled {
    /// The text; where something was left out, a line says so.
    pub text: String,
    /// The files of which something was left out.
    pub cut: Vec<PathBuf>,
}

/// Joins files in order with a blank line between them, at most `limit` bytes of their text. What does not fit is cut at the
/// end of a line, and both the text and [`Assembled::cut`] name the file.
///
/// ```
/// use holdpoint_policy::agents_md::assemble;
///
/// let files = [("a/AGENTS.md".into(), "one\n".into()), ("a/b/AGENTS.md".into(), "two\nthree\n".into())];
/// assert_eq!(assemble(&files, 1000).text, "one\n\ntwo\nthree\n");
///
/// let short = assemble(&files, 10);
/// assert_eq!(short.cut, [std::path::PathBuf::from("a/b/AGENTS.md")]);
/// assert!(short.text.contains("two\n[holdpoint: 6 bytes of a/b/AGENTS.md are left out"));
/// ```
pub fn assemble(files: &[(PathBuf, String)], limit: usize) -> Assembled {
    let mut assembled = Assembled::default();
    let mut left = limit;
    for (path, text) in files {
        if !assembled.text.is_empty() {
            assembled.text.push('\n');
        }
        let kept = match text.len() <= left {
            true => text.as_str(),
            false => &text[..text.as_bytes()[..left].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)],
        };
        assembled.text.push_str(kept);
        left -= kept.len();
        if !kept.is_empty() && !kept.ends_with('\n') {
            assembled.text.push('\n');
        }
        if kept.len() < text.len() {
            // Nothing after a cut is carried either: a rule must not look as if it were the last word when it is not.
            left = 0;
            let name = config::visible(&path.display().to_string());
            let missing = text.len() - kept.len();
            assembled.text.push_str(&format!("[holdpoint: {missing} bytes of {name} are left out, over the limit]\n"));
            assembled.cut.push(path.clone());
        }
    }
    assembled
}

/// A fenced code block of Markdown.
struct Fence {
    /// The opening line, from the first backtick or tilde.
    open: Range<usize>,
    info: String,
    /// What stands between the fences.
    body: Range<usize>,
    /// The fence follows a `>` or a list marker on its line.
    quoted: bool,
}

fn fences(text: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut inside: Option<(char, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let bare = line.trim_start_matches(|c: char| c.is_whitespace());
        if let Some((mark, length)) = inside {
            let run = bare.chars().take_while(|c| *c == mark).count();
            if run >= length && bare.trim_end().chars().all(|c| c == mark) {
                inside = None;
            } else if let Some(fence) = found.last_mut() {
                fence.body.end = end;
            }
            continue;
        }
        let marker =
            |c: char| c.is_whitespace() || c.is_ascii_digit() || matches!(c, '>' | '-' | '*' | '+' | '.' | ')');
        let content = line.trim_start_matches(marker);
        let Some(mark) = content.chars().next().filter(|c| matches!(c, '`' | '~')) else { continue };
        let length = content.chars().take_while(|c| *c == mark).count();
        let info = content[length..].trim();
        // Backticks in the info string make it inline code, not a fence.
        if length < 3 || (mark == '`' && info.contains('`')) {
            continue;
        }
        let quoted = content.len() != bare.len();
        // A quoted fence ends with its quotation, which is not followed here: only ours matter, and they are refused.
        inside = (!quoted).then_some((mark, length));
        let open = start + (line.len() - content.len())..start + line.trim_end().len();
        found.push(Fence { open, info: info.to_owned(), body: end..end, quoted });
    }
    found
}

fn word_of(info: &str) -> &str {
    info.split(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | ':'))
        .find(|word| !word.is_empty())
        .unwrap_or("")
}

fn is_ours(info: &str) -> bool {
    word_of(info).eq_ignore_ascii_case(INFO)
}

/// A block that was meant to be enforced must not be lost to a slip of the pen.
fn refuse_misspelt(text: &str, origin: &Origin, fence: &Fence) -> Result<(), ConfigError> {
    let word = word_of(&fence.info);
    let near = config::nearest(word, &[INFO]).is_some() || fence.info.to_lowercase().contains(INFO);
    match near {
        false => Ok(()),
        true => {
            let message = format!("unknown info string `{}`", fence.info);
            Err(ConfigError::at(Mistake::UnknownWord, &origin.name, &Arc::from(text), fence.open.clone(), message)
                .suggest(format!("a block that is enforced starts with ```{INFO}")))
        }
    }
}

/// The text with everything outside `body` blank, so that lines and columns stay what they are.
fn mask(text: &str, body: &Range<usize>) -> String {
    let blank = |part: &str| -> String { part.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect() };
    format!("{}{}{}", blank(&text[..body.start]), &text[body.clone()], blank(&text[body.end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ConfigError {
        parse(text, &Origin::file("AGENTS.md")).unwrap_err()
    }

    #[test]
    fn a_mistake_is_shown_on_the_line_of_the_file_even_after_other_alphabets() {
        let text = "# Regeln für Ältere 日本\n\nText\n\n  ```holdpoint\n  sandbox = \"read-onyl\"\n  ```\n";
        let error = error(text);
        assert_eq!((error.line, error.column), (6, 13));
        assert!(error.render(false).contains("6 |   sandbox = \"read-onyl\""), "{}", error.render(false));
    }

    #[test]
    fn a_block_shown_inside_another_fence_is_not_enforced() {
        let text = "````markdown\n```holdpoint\nnonsense\n```\n````\n";
        assert!(blocks(text).is_empty());
        assert!(parse(text, &Origin::file("AGENTS.md")).is_ok());
    }

    #[test]
    fn every_block_counts_and_an_unclosed_one_goes_on_to_the_end() {
        let text = "~~~ holdpoint\nsandbox = \"read-only\"\n~~~\n\n```Holdpoint\napproval_policy = \"suggest\"\n";
        assert_eq!(parse(text, &Origin::file("AGENTS.md")).unwrap().len(), 2);
        assert_eq!(error("```holdpoint\nsandbox = \"read-only\"\n\nand prose\n").line, 4);
    }

    #[test]
    fn a_block_that_would_be_lost_is_an_error() {
        for text in
            ["```holdpiont\n```\n", "```toml holdpoint\n```\n", "> ```holdpoint\n> ```\n", "- ```holdpoint\n  ```\n"]
        {
            assert_eq!(error(text).line, 1, "{text}");
        }
    }

    #[test]
    fn a_block_can_neither_loosen_nor_run_programs() {
        for body in [
            "[[hooks]]\nevent = \"PreToolUse\"\ncommand = \"./evil.sh\"\n",
            "[[rules]]\nprefix = [\"rm\"]\nverdict = \"allow\"\n",
            "[profile.default]\nsandbox = \"read-only\"\n",
            "readable_paths = [\"/etc\"]\n",
            "env.inherit = [\"X\"]\n",
        ] {
            let error = error(&format!("prose\n```holdpoint\n{body}```\n"));
            assert!(error.line >= 3, "{error}");
            assert!(error.to_string().contains("can only tighten"), "{error}");
        }
    }

    #[test]
    fn prose_about_a_block_is_no_block() {
        let text = "Write a `` ```holdpoint `` block, or ```holdpoint``` inline.\n";
        assert!(parse(text, &Origin::file("AGENTS.md")).unwrap().is_empty());
    }
}
