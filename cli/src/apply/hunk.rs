//! One hunk of a unified diff, and the one place of a file where it fits.

/// A line of a hunk, with its line end if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Stays as it is.
    Context(Vec<u8>),
    /// Is taken out.
    Old(Vec<u8>),
    /// Is put in.
    New(Vec<u8>),
}

/// Some lines of a file, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// The first line it concerns before the change, counted from 1; 0 for an empty file.
    pub(crate) old_start: usize,
    /// The first line it concerns after the change.
    pub(crate) new_start: usize,
    /// Its lines in order.
    pub(crate) lines: Vec<Line>,
}

impl Hunk {
    /// The lines as they must stand in the file.
    fn before(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter_map(|line| match line {
            Line::Context(text) | Line::Old(text) => Some(text.as_slice()),
            Line::New(_) => None,
        })
    }

    /// The lines as they stand afterwards.
    fn after(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter_map(|line| match line {
            Line::Context(text) | Line::New(text) => Some(text.as_slice()),
            Line::Old(_) => None,
        })
    }

    /// How many lines it concerns before and after.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.before().count(), self.after().count())
    }

    fn fits(&self, lines: &[&[u8]], at: usize) -> bool {
        let mut here = lines.get(at..).unwrap_or_default().iter();
        self.before().all(|line| here.next() == Some(&line))
    }

    /// The line (from 0, not before `from`) where it fits: where it says, else the only other place. Two places are none:
    /// what a person was shown must not be done somewhere else.
    fn place(&self, lines: &[&[u8]], from: usize, shift: isize) -> Result<usize, &'static str> {
        let (old, _) = self.counts();
        // With nothing before, the number names the line after which to insert (diff's convention).
        let said = if old == 0 { self.old_start } else { self.old_start.saturating_sub(1) };
        let said = said.saturating_add_signed(shift);
        if said >= from && said <= lines.len() && self.fits(lines, said) {
            return Ok(said);
        }
        if old == 0 {
            return Err("there is no such line to insert after");
        }
        let last = lines.len().saturating_sub(old);
        let mut places = (from..=last).filter(|at| self.fits(lines, *at));
        match (places.next(), places.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err("its lines are not in the file"),
            (Some(_), Some(_)) => Err("its lines are in the file more than once, and not where it says"),
        }
    }
}

/// `content` with all hunks applied; or which hunk (from 1) does not fit and why.
pub(crate) fn apply(content: &[u8], hunks: &[Hunk]) -> Result<Vec<u8>, (usize, &'static str)> {
    let lines: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
    let mut out = Vec::with_capacity(content.len());
    let (mut next, mut shift) = (0, 0);
    for (number, hunk) in hunks.iter().enumerate() {
        let at = hunk.place(&lines, next, shift).map_err(|why| (number + 1, why))?;
        let (old, _) = hunk.counts();
        out.extend(lines[next..at].concat());
        out.extend(hunk.after().flatten());
        let said = if old == 0 { hunk.old_start } else { hunk.old_start.saturating_sub(1) };
        shift = at.cast_signed() - said.cast_signed();
        next = at + old;
        // A line without an end can only be the last one, before and after.
        let unended = hunk.after().any(|line| !line.ends_with(b"\n"));
        if unended && (next < lines.len() || number + 1 < hunks.len()) {
            return Err((number + 1, "it takes the line end from a line that is not the last"));
        }
    }
    out.extend(lines[next..].concat());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Hunk, Line, apply};

    fn hunk(old_start: usize, lines: &[&str]) -> Hunk {
        let line = |text: &&str| {
            let rest = text.as_bytes()[1..].to_vec();
            match &text[..1] {
                " " => Line::Context(rest),
                "-" => Line::Old(rest),
                _ => Line::New(rest),
            }
        };
        Hunk { old_start, new_start: old_start, lines: lines.iter().map(line).collect() }
    }

    #[test]
    fn a_hunk_is_applied_where_it_says_or_at_the_only_other_place() {
        let file = b"a\nb\nc\nd\n";
        let change = ["-b\n", "+B\n", " c\n"];
        assert_eq!(apply(file, &[hunk(2, &change)]).unwrap(), b"a\nB\nc\nd\n");
        assert_eq!(apply(file, &[hunk(4, &change)]).unwrap(), b"a\nB\nc\nd\n");
        assert_eq!(apply(file, &[hunk(2, &["-x\n"])]).unwrap_err().1, "its lines are not in the file");
        let twice = apply(b"x\ny\nx\ny\n", &[hunk(2, &["-x\n", "+z\n"])]).unwrap_err();
        assert!(twice.1.contains("more than once"));
        assert_eq!(apply(b"x\ny\nx\ny\n", &[hunk(3, &["-x\n", "+z\n"])]).unwrap(), b"x\ny\nz\ny\n");
    }

    #[test]
    fn line_ends_are_part_of_a_line() {
        assert_eq!(apply(b"a\r\nb\r\n", &[hunk(1, &["-a\r\n", "+c\r\n"])]).unwrap(), b"c\r\nb\r\n");
        assert!(apply(b"a\r\nb\r\n", &[hunk(1, &["-a\n", "+c\n"])]).is_err());
        assert_eq!(apply(b"a\nb", &[hunk(2, &["-b", "+c"])]).unwrap(), b"a\nc");
        assert_eq!(apply(b"a\nb", &[hunk(2, &["-b", "+b\n"])]).unwrap(), b"a\nb\n");
        assert!(apply(b"a\nb", &[hunk(2, &["-b\n", "+c\n"])]).is_err());
        assert!(apply(b"a\nb\n", &[hunk(1, &["-a\n", "+a"])]).is_err(), "only the last line may lose its end");
    }

    #[test]
    fn an_insertion_goes_after_the_line_it_names() {
        assert_eq!(apply(b"a\nb\n", &[hunk(1, &["+x\n"])]).unwrap(), b"a\nx\nb\n");
        assert_eq!(apply(b"", &[hunk(0, &["+x\n"])]).unwrap(), b"x\n");
        assert!(apply(b"a\n", &[hunk(7, &["+x\n"])]).is_err());
    }

    #[test]
    fn hunks_go_down_the_file_and_carry_their_shift() {
        let file = b"1\n2\n3\n4\n5\n6\n";
        let hunks = [hunk(1, &["-1\n"]), hunk(5, &["-5\n", "+five\n"])];
        assert_eq!(apply(file, &hunks).unwrap(), b"2\n3\n4\nfive\n6\n");
        let wrong_order = [hunk(5, &["-5\n"]), hunk(1, &["-1\n"])];
        assert!(apply(file, &wrong_order).is_err());
        // Both stand two lines lower than they say; the second would fit twice without the shift of the first.
        let file = b"0\n0\nk\nx\nm\nx\n";
        let hunks = [hunk(1, &["-k\n", "+K\n"]), hunk(2, &["-x\n", "+X\n"])];
        assert_eq!(apply(file, &hunks).unwrap(), b"0\n0\nK\nX\nm\nx\n");
    }
}
