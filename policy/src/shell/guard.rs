//! What is read at all. The parser is a foreign one, descends by recursion and takes time exponential in the nesting of some
//! constructs (sixteen unclosed `{` or `case` take a second), so both depth and cost are bounded before it sees a script.

use super::Reader;
use brush_parser::Token;

/// Longest script, in bytes; scripts inside scripts share it.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// Deepest nesting of commands in commands: substitutions, `sh -c`, wrappers.
pub(super) const MOST_DEPTH: usize = 32;

/// Most programs one line may start.
pub(super) const MOST_INVOCATIONS: usize = 4096;

/// Most work for the parser: every token counts double for each compound command around it.
const MOST_COST: u64 = 1 << 18;

/// Most words that make the parser descend without opening anything: `!`, `time`, `coproc`.
const MOST_PREFIXES: usize = 64;

/// Most expansions in one script: the tokenizer descends into each, and they may be nested.
const MOST_EXPANSIONS: usize = 1000;

/// Most subscripts (`name[`) in one script: the tokenizer takes time quadratic in their number.
const MOST_SUBSCRIPTS: usize = 300;

const STACK: usize = 64 << 20;

/// Reads on a thread of its own, whose stack does not depend on who calls.
pub(super) fn on_own_stack(reader: &mut Reader, work: impl FnOnce(&mut Reader) + Send) {
    let on_thread = |reader: &mut Reader| {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("shell reader".to_owned()).stack_size(STACK);
            thread.spawn_scoped(scope, || work(reader)).map(|thread| thread.join().is_ok())
        })
    };
    match on_thread(reader) {
        Ok(true) => {}
        Ok(false) => reader.unknown("the shell reader failed on this command"),
        Err(error) => reader.unknown(format!("there was no thread to read this command on: {error}")),
    }
}

/// Whether the tokenizer can be given this text; a sentence fragment if not.
pub(super) fn count(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("there is a NUL in the script".to_owned());
    }
    let pairs = || text.as_bytes().windows(2);
    let expansions = pairs().filter(|pair| pair[0] == b'$' && matches!(pair[1], b'(' | b'{' | b'[')).count();
    let substitutions =
        pairs().filter(|pair| matches!(pair[0], b'<' | b'>' | b'`') && matches!(pair[1], b'(' | b'`')).count();
    let subscripts =
        pairs().filter(|pair| pair[1] == b'[' && (pair[0].is_ascii_alphanumeric() || pair[0] == b'_')).count();
    match expansions + substitutions <= MOST_EXPANSIONS && subscripts <= MOST_SUBSCRIPTS {
        true => Ok(()),
        false => Err("there are too many expansions in the script to read it".to_owned()),
    }
}

/// Whether the parser can be given these tokens; a sentence fragment if not.
///
/// The stack of open constructs is never lower than the parser's own: only what would close the innermost one, in a place where
/// a command can start, takes one off.
pub(super) fn weigh(tokens: &[Token]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut cost: u64 = 0;
    let mut prefixes = 0;
    let mut at_command = true;
    let mut before = "";
    for token in tokens {
        let text = token.to_str();
        let reserved = at_command && matches!(token, Token::Word(..));
        let next_is_command = match token {
            Token::Operator(operator, _) => {
                match operator.as_str() {
                    "(" => open.push(")"),
                    ")" if open.last() == Some(&")") => drop(open.pop()),
                    // Inside `case` a `)` ends a pattern.
                    _ => {}
                }
                !matches!(operator.chars().next(), Some('<' | '>'))
            }
            Token::Word(..) if reserved => match text {
                "{" => open_with(&mut open, "}"),
                "if" => open_with(&mut open, "fi"),
                "case" => {
                    open.push("esac");
                    false
                }
                "while" | "until" => open_with(&mut open, "done"),
                "for" | "select" => {
                    open.push("done");
                    false
                }
                "}" | "fi" | "esac" | "done" => {
                    if open.last() == Some(&text) {
                        open.pop();
                    }
                    false
                }
                "then" | "do" | "else" | "elif" | "!" | "time" | "coproc" => true,
                _ => matches!(before, "function" | "coproc") || before == "time" && text == "-p",
            },
            // After `case x in` and `for x in` no reserved word counts, but `do` follows on a new line.
            Token::Word(..) => before == "function",
        };
        prefixes += usize::from(matches!(text, "!" | "time" | "coproc" | "[["));
        cost = cost.saturating_add(1u64.checked_shl(u32::try_from(open.len()).unwrap_or(u32::MAX)).unwrap_or(u64::MAX));
        if cost > MOST_COST || prefixes > MOST_PREFIXES {
            return Err("the script is nested too deeply to be read".to_owned());
        }
        at_command = next_is_command;
        before = text;
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err("the script does not close what it opens".to_owned()),
    }
}

fn open_with<'a>(open: &mut Vec<&'a str>, closer: &'a str) -> bool {
    open.push(closer);
    true
}
