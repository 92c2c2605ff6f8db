//! How a long command is shown: its beginning and its end always stand there, and what is between can be opened.
//!
//! Nothing is ever left out, and an approval of a folded command says that all of it was opened.

use crate::plan::HoldPlan;
use crate::text::{self, Segment};

/// An argument whose shown form is longer than this is folded.
const LONG: usize = 1600;
const HEAD: usize = 800;
const TAIL: usize = 400;
/// More arguments than this are folded.
const MANY: usize = 160;
const FIRST: usize = 100;
const LAST: usize = 30;

/// Whether any part of a plan's arguments stands in a part that must be opened first.
pub(crate) fn is_folded(plan: &HoldPlan) -> bool {
    plan.argv.len() > MANY
        || plan.argv.iter().any(|arg| arg.len() > LONG / 10 && Argument::of(arg.as_bytes(), 0).folded())
}

/// The arguments of a plan, for the page.
pub(crate) struct Arguments {
    pub(crate) count: usize,
    pub(crate) first: Vec<Argument>,
    pub(crate) between: Vec<Argument>,
    pub(crate) last: Vec<Argument>,
}

impl Arguments {
    pub(crate) fn of(plan: &HoldPlan) -> Self {
        let mut first: Vec<_> =
            plan.argv.iter().enumerate().map(|(at, arg)| Argument::of(arg.as_bytes(), at)).collect();
        let count = first.len();
        let (mut between, mut last) = (Vec::new(), Vec::new());
        if count > MANY {
            last = first.split_off(count - LAST);
            between = first.split_off(FIRST);
        }
        Self { count, first, between, last }
    }
}

/// One argument: all of it in `head`, or with a folded middle.
pub(crate) struct Argument {
    pub(crate) program: bool,
    pub(crate) empty: bool,
    pub(crate) head: Vec<Segment>,
    pub(crate) middle: Vec<Segment>,
    pub(crate) middle_len: usize,
    pub(crate) tail: Vec<Segment>,
}

impl Argument {
    fn of(arg: &[u8], at: usize) -> Self {
        let mut head = text::segments(arg);
        let (mut middle, mut tail) = (Vec::new(), Vec::new());
        let len = length(&head);
        if len > LONG {
            tail = split(&mut head, len - TAIL);
            middle = split(&mut head, HEAD);
        }
        Self { program: at == 0, empty: arg.is_empty(), middle_len: length(&middle), head, middle, tail }
    }

    pub(crate) fn folded(&self) -> bool {
        !self.middle.is_empty()
    }
}

fn length(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.text.chars().count()).sum()
}

/// Cuts after `keep` characters and gives the rest back; an escape is never cut in two.
fn split(segments: &mut Vec<Segment>, keep: usize) -> Vec<Segment> {
    let mut seen = 0;
    for at in 0..segments.len() {
        let len = segments[at].text.chars().count();
        if seen + len >= keep {
            let mut rest = segments.split_off(at + 1);
            let segment = &mut segments[at];
            if !segment.escape
                && let Some((byte, _)) = segment.text.char_indices().nth(keep - seen)
            {
                let text = segment.text.split_off(byte);
                rest.insert(0, Segment { text, escape: false });
            }
            return rest;
        }
        seen += len;
    }
    Vec::new()
}

/// The beginning of a line of text, and how many characters follow.
pub(crate) struct Folded {
    pub(crate) head: String,
    pub(crate) rest: usize,
}

impl Folded {
    pub(crate) fn of(line: &str, most: usize) -> Self {
        let head: String = line.chars().take(most).collect();
        Self { rest: line.chars().count() - head.chars().count(), head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(argument: &Argument) -> String {
        [&argument.head, &argument.middle, &argument.tail].into_iter().flatten().map(|s| s.text.as_str()).collect()
    }

    #[test]
    fn a_long_argument_shows_both_ends_and_loses_nothing() {
        for arg in
            ["x".repeat(5000).into_bytes(), vec![0xff; 5000], "ab\n".repeat(2000).into_bytes(), vec![b'\\'; 1601]]
        {
            let argument = Argument::of(&arg, 0);
            assert!(argument.folded());
            assert_eq!(joined(&argument), text::visible(&arg));
            assert!(length(&argument.tail) >= TAIL - 10 && length(&argument.head) >= HEAD - 10);
        }
        assert!(!Argument::of(&[b'x'; LONG], 0).folded());
    }
}
