//! Reading a unified diff, as `git diff` and `diff -u` write it.
//!
//! A small reader of our own: the crates for this handle one file at a time, guess at context that does not match, or
//! lose line ends; an edit that a person approves must be exactly what was shown. What cannot be done is refused by name
//! (renames, modes, links, binary content), never skipped.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::hunk::{Hunk, Line};
use crate::error::Error;

/// The largest patch that is read.
pub(crate) const LARGEST: usize = 16 << 20;

/// What is to be done to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The file, relative to the workspace, of plain names only.
    pub(crate) path: PathBuf,
    /// What kind of change.
    pub(crate) kind: Kind,
    /// Where and what.
    pub(crate) hunks: Vec<Hunk>,
}

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The file does not exist yet.
    Create {
        /// Whether it is a program.
        executable: bool,
    },
    /// The file is there and gets another content.
    Change,
    /// The file is taken away.
    Delete,
}

/// A whole patch: every file at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    /// In the order of the patch.
    pub(crate) edits: Vec<Edit>,
}

impl Patch {
    /// Read a patch.
    ///
    /// # Errors
    /// [`Error::Patch`] with the line on which it is not understood, or what of it is not supported.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { lines: text.split_inclusive(|b| *b == b'\n').collect(), at: 0 };
        let mut edits: Vec<Edit> = Vec::new();
        while let Some(edit) = reader.next_edit()? {
            if edits.iter().any(|known| known.path == edit.path) {
                return Err(reader.wrong(format!("{} is changed twice", edit.path.display())));
            }
            edits.push(edit);
        }
        if edits.is_empty() {
            return Err(wrong("there is no unified diff in it".into()));
        }
        Ok(Self { edits })
    }

    /// The files it changes, relative to the workspace.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.edits.iter().map(|edit| edit.path.clone()).collect()
    }

    /// The patch as it is understood: exactly what will be done and nothing else that the text may have said.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for edit in &self.edits {
            let side = |prefix: &str, absent: bool| match absent {
                true => b"/dev/null".to_vec(),
                false => [prefix.as_bytes(), edit.path.as_os_str().as_bytes()].concat(),
            };
            if let Kind::Create { executable: true } = edit.kind {
                out.extend(b"new file mode 100755\n");
            }
            out.extend([b"--- ".as_slice(), &side("a/", matches!(edit.kind, Kind::Create { .. })), b"\n"].concat());
            out.extend([b"+++ ".as_slice(), &side("b/", edit.kind == Kind::Delete), b"\n"].concat());
            for hunk in &edit.hunks {
                let (old, new) = hunk.counts();
                out.extend(format!("@@ -{},{old} +{},{new} @@\n", hunk.old_start, hunk.new_start).as_bytes());
                for line in &hunk.lines {
                    let (mark, text) = match line {
                        Line::Context(text) => (b' ', text),
                        Line::Old(text) => (b'-', text),
                        Line::New(text) => (b'+', text),
                    };
                    out.push(mark);
                    out.extend(text);
                    if !text.ends_with(b"\n") {
                        out.extend(b"\n\\ No newline at end of file\n");
                    }
                }
            }
        }
        out
    }
}

fn wrong(why: String) -> Error {
    Error::Patch { why, next: "nothing was changed; make it with `git diff` or `diff -u`".into() }
}

/// What the lines before the hunks of one file said.
#[derive(Default)]
struct Header {
    git: Option<(PathBuf, PathBuf)>,
    new: bool,
    deleted: bool,
    executable: bool,
}

struct Reader<'a> {
    lines: Vec<&'a [u8]>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, why: String) -> Error {
        wrong(format!("line {}: {why}", self.at.min(self.lines.len())))
    }

    /// The line without its end, for what is not content.
    fn peek(&self) -> Option<&'a [u8]> {
        self.lines.get(self.at).map(|line| bare(line))
    }

    fn next_edit(&mut self) -> Result<Option<Edit>, Error> {
        let mut header = Header::default();
        while let Some(line) = self.peek() {
            self.at += 1;
            if let Some(names) = line.strip_prefix(b"diff --git ") {
                if let Some(edit) = self.without_hunks(&header)? {
                    self.at -= 1;
                    return Ok(Some(edit));
                }
                header = Header { git: git_names(names), ..Header::default() };
            } else if line.starts_with(b"--- ") && self.peek().is_some_and(|next| next.starts_with(b"+++ ")) {
                return self.edit(line, &header).map(Some);
            } else if line.starts_with(b"@@ -") {
                return Err(self.wrong("a hunk without the two lines that name its file".into()));
            } else if header.git.is_some() {
                self.extended(line, &mut header)?;
            }
        }
        self.without_hunks(&header)
    }

    /// One of git's lines between `diff --git` and the hunks.
    fn extended(&self, line: &[u8], header: &mut Header) -> Result<(), Error> {
        let refuse = |what: &str| Err(self.wrong(format!("{what} is not supported")));
        let mode = |line: &[u8], prefix: &[u8]| line.strip_prefix(prefix).map(<[u8]>::to_vec);
        if let Some(mode) = mode(line, b"new file mode ") {
            header.new = true;
            match mode.as_slice() {
                b"100644" => {}
                b"100755" => header.executable = true,
                b"120000" => return refuse("making a symbolic link"),
                _ => return refuse("a file of this mode"),
            }
        } else if let Some(mode) = mode(line, b"deleted file mode ") {
            header.deleted = true;
            if mode == b"120000" {
                return refuse("deleting a symbolic link");
            }
        } else if line.starts_with(b"old mode ") || line.starts_with(b"new mode ") {
            return refuse("changing a file's mode");
        } else if line.starts_with(b"rename ") {
            return refuse("renaming a file (write it as a deletion and a new file, with `git diff --no-renames`)");
        } else if line.starts_with(b"copy ") {
            return refuse("copying a file (use `git diff --no-renames`)");
        } else if line.starts_with(b"GIT binary patch") || line.starts_with(b"Binary files ") {
            return refuse("binary content");
        }
        Ok(())
    }

    /// A file that git's header makes or takes away whole: an empty one has no hunks.
    fn without_hunks(&self, header: &Header) -> Result<Option<Edit>, Error> {
        let Some((old, new)) = &header.git else { return Ok(None) };
        let kind = match (header.new, header.deleted) {
            (true, false) => Kind::Create { executable: header.executable },
            (false, true) => Kind::Delete,
            _ => return Ok(None),
        };
        let named = if header.deleted { old } else { new };
        Ok(Some(Edit { path: self.plain(named)?, kind, hunks: Vec::new() }))
    }

    fn edit(&mut self, old: &[u8], header: &Header) -> Result<Edit, Error> {
        let new = self.peek().unwrap_or_default();
        self.at += 1;
        let old = self.name(&old[4..])?;
        let new = self.name(&new[4..])?;
        let git_like = |name: &Option<PathBuf>, prefix: &str| name.as_ref().is_none_or(|name| name.starts_with(prefix));
        let strip = git_like(&old, "a") && git_like(&new, "b");
        let stripped = |name: Option<PathBuf>| match (name, strip) {
            (Some(name), true) => Some(name.components().skip(1).collect::<PathBuf>()),
            (name, _) => name,
        };
        let (path, kind) = match (stripped(old), stripped(new)) {
            (None, None) => return Err(self.wrong("it changes /dev/null into /dev/null".into())),
            (None, Some(new)) => (new, Kind::Create { executable: header.executable }),
            (Some(old), None) => (old, Kind::Delete),
            (Some(old), Some(new)) if old == new => (new, Kind::Change),
            // `diff -u file.orig file` and its kin name two files; which one is meant is not ours to guess.
            (Some(old), Some(new)) => {
                return Err(self.wrong(format!(
                    "it names two files, {} and {}; renaming is not supported",
                    old.display(),
                    new.display()
                )));
            }
        };
        if header.new && !matches!(kind, Kind::Create { .. }) || header.deleted && kind != Kind::Delete {
            return Err(self.wrong("its two headers disagree about whether the file is new or deleted".into()));
        }
        let path = self.plain(&path)?;
        let mut hunks = Vec::new();
        while self.peek().is_some_and(|line| line.starts_with(b"@@ ")) {
            hunks.push(self.hunk()?);
        }
        if hunks.is_empty() {
            return Err(self.wrong(format!("there is no hunk for {}", path.display())));
        }
        Ok(Edit { path, kind, hunks })
    }

    /// `@@ -l,s +l,s @@ …` and its lines.
    fn hunk(&mut self) -> Result<Hunk, Error> {
        let head = self.peek().unwrap_or_default();
        self.at += 1;
        let Some([(old_start, old), (new_start, new)]) = ranges(head) else {
            return Err(self.wrong("this is no hunk header (@@ -LINE,COUNT +LINE,COUNT @@)".into()));
        };
        let (mut old_left, mut new_left) = (old, new);
        let mut lines: Vec<Line> = Vec::new();
        while old_left > 0 || new_left > 0 {
            let Some(line) = self.lines.get(self.at) else {
                return Err(self.wrong("the hunk ends too early".into()));
            };
            self.at += 1;
            let (mark, text) = match line.split_first() {
                // Editors and mail strip the single blank of an empty context line.
                None | Some((b'\n', _)) => (b' ', line.to_vec()),
                Some((b'\r', b"\n")) => (b' ', line.to_vec()),
                Some((mark, text)) => (*mark, text.to_vec()),
            };
            let (uses_old, uses_new) = (matches!(mark, b' ' | b'-'), matches!(mark, b' ' | b'+'));
            if !(uses_old || uses_new) || (uses_old && old_left == 0) || (uses_new && new_left == 0) {
                return Err(self.wrong("this line does not belong to the hunk that its header announces".into()));
            }
            old_left -= usize::from(uses_old);
            new_left -= usize::from(uses_new);
            lines.push(match mark {
                b' ' => Line::Context(text),
                b'-' => Line::Old(text),
                _ => Line::New(text),
            });
            if self.peek().is_some_and(|next| next.starts_with(b"\\ ")) {
                self.at += 1;
                if let Some(Line::Context(text) | Line::Old(text) | Line::New(text)) = lines.last_mut() {
                    *text = text.strip_suffix(b"\n").unwrap_or(text).to_vec();
                }
            }
        }
        // The last line of a patch that itself lost its line end: the content had one, or it would be marked.
        if let Some(Line::Context(text) | Line::Old(text) | Line::New(text)) = lines.last_mut()
            && self.at == self.lines.len()
            && self.lines.last().is_some_and(|line| !line.ends_with(b"\n") && !line.starts_with(b"\\"))
        {
            text.push(b'\n');
        }
        Ok(Hunk { old_start, new_start, lines })
    }

    /// The file a `---` or `+++` line names; `None` is `/dev/null`.
    fn name(&self, text: &[u8]) -> Result<Option<PathBuf>, Error> {
        let name = match text.first() {
            Some(b'"') => unquoted(text).ok_or_else(|| self.wrong("a quoted file name without its end".into()))?.0,
            // A time stamp stands behind a tab.
            _ => text.split(|b| *b == b'\t').next().unwrap_or_default().to_vec(),
        };
        Ok((name != b"/dev/null").then(|| OsString::from_vec(name).into()))
    }

    /// A path of plain names below the workspace.
    fn plain(&self, path: &Path) -> Result<PathBuf, Error> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let bytes = path.as_os_str().as_bytes();
        if !plain || bytes.is_empty() || bytes.contains(&0) || bytes.ends_with(b"/") {
            // The policy would refuse it as well; here the line can be named.
            return Err(self.wrong(format!("{} is not a file of the workspace", path.display())));
        }
        Ok(path.components().collect())
    }
}

fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// `-1,2 +3,4` of a hunk header; a missing count is 1.
fn ranges(head: &[u8]) -> Option<[(usize, usize); 2]> {
    let text = std::str::from_utf8(head.strip_prefix(b"@@ ")?.split(|b| *b == b'@').next()?).ok()?;
    let (old, new) = text.trim_end().split_once(' ')?;
    let range = |text: &str, mark: char| {
        let text = text.strip_prefix(mark)?;
        let (start, count) = text.split_once(',').unwrap_or((text, "1"));
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        Some((number(start)?, number(count)?))
    };
    Some([range(old, '-')?, range(new, '+')?])
}

/// The two names of `diff --git a/… b/…`, without their prefixes; `None` when they cannot be told apart.
fn git_names(text: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let path = |name: &[u8], prefix: &[u8]| {
        name.strip_prefix(prefix).map(|name| PathBuf::from(OsString::from_vec(name.to_vec())))
    };
    if text.starts_with(b"\"") {
        let (old, rest) = unquoted(text)?;
        let rest = rest.strip_prefix(b" ")?;
        let new = if rest.starts_with(b"\"") { unquoted(rest)?.0 } else { rest.to_vec() };
        return Some((path(&old, b"a/")?, path(&new, b"b/")?));
    }
    // Unquoted names may hold blanks; without a rename both are the same, so the blank between them is in the middle.
    let middle = text.len() / 2;
    let (old, new) = (text.get(..middle)?, text.get(middle + 1..)?);
    let (old, new) = (path(old, b"a/")?, path(new, b"b/")?);
    (text.get(middle) == Some(&b' ') && old == new).then_some((old, new))
}

/// A name in git's C-like quotes, and what follows it.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut name = Vec::new();
    loop {
        let (first, after) = rest.split_first()?;
        rest = after;
        match first {
            b'"' => return Some((name, rest)),
            b'\\' => {
                let (kind, after) = rest.split_first()?;
                if (b'0'..=b'3').contains(kind) {
                    let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
                    name.push(u8::from_str_radix(digits, 8).ok()?);
                    rest = &rest[3..];
                    continue;
                }
                let known = b"abtnvfr\"\\".iter().position(|known| known == kind)?;
                name.push(b"\x07\x08\t\n\x0b\x0c\r\"\\"[known]);
                rest = after;
            }
            other => name.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Patch};

    fn error(text: &str) -> String {
        Patch::parse(text.as_bytes()).unwrap_err().to_string()
    }

    fn kinds(text: &str) -> Vec<(String, Kind)> {
        let patch = Patch::parse(text.as_bytes()).unwrap();
        patch.edits.iter().map(|edit| (edit.path.display().to_string(), edit.kind)).collect()
    }

    #[test]
    fn what_git_and_diff_write_is_understood() {
        let git = "From: someone\nSubject: words\n\n---\n a | 2 +-\n\n\
                   diff --git a/a b/a\nindex 1..2 100644\n--- a/a\n+++ b/a\n@@ -1 +1 @@ fn x()\n-one\n+two\n\
                   diff --git a/empty b/empty\nnew file mode 100644\nindex 0000000..e69de29\n\
                   diff --git a/x y b/x y\ndeleted file mode 100644\n--- a/x y\t\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
                   diff --git a/run b/run\nnew file mode 100755\n--- /dev/null\n+++ b/run\n@@ -0,0 +1 @@\n+x\n-- \n2.43.0\n";
        let expected = [
            ("a", Kind::Change),
            ("empty", Kind::Create { executable: false }),
            ("x y", Kind::Delete),
            ("run", Kind::Create { executable: true }),
        ];
        assert_eq!(kinds(git), expected.map(|(path, kind)| (path.to_owned(), kind)));
        let plain = "--- dir/f.c\t2026-01-01 00:00:00 +0000\n+++ dir/f.c\t2026-01-02\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n";
        assert_eq!(kinds(plain), [("dir/f.c".to_owned(), Kind::Change)]);
        let quoted = "--- \"a/gr\\303\\274n \\\"q\\\"\"\n+++ \"b/gr\\303\\274n \\\"q\\\"\"\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(kinds(quoted), [("grün \"q\"".to_owned(), Kind::Change)]);
    }

    #[test]
    fn a_patch_with_other_line_ends_keeps_the_content_as_it_is() {
        let crlf = "--- a/f\r\n+++ b/f\r\n@@ -1,2 +1,2 @@\r\n x\r\n-y\r\n+z\r\n";
        let patch = Patch::parse(crlf.as_bytes()).unwrap();
        assert_eq!(super::super::hunk::apply(b"x\r\ny\r\n", &patch.edits[0].hunks).unwrap(), b"x\r\nz\r\n");
        let cut = "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n x\n\n-y\n+z";
        let patch = Patch::parse(cut.as_bytes()).unwrap();
        assert_eq!(super::super::hunk::apply(b"x\n\ny\n", &patch.edits[0].hunks).unwrap(), b"x\n\nz\n");
    }

    #[test]
    fn what_is_rendered_is_read_back_the_same_and_nothing_else() {
        let text = "Trust me.\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@ note\n x\n-y\n\\ No newline at end of file\n+z\n\
                    \\ No newline at end of file\nmore talk\n";
        let patch = Patch::parse(text.as_bytes()).unwrap();
        let shown = patch.render();
        assert_eq!(Patch::parse(&shown).unwrap(), patch);
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains("Trust") && !shown.contains("talk") && shown.contains("\\ No newline"));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let change = "@@ -1 +1 @@\n-a\n+b\n";
        let git = |extra: &str| format!("diff --git a/f b/f\n{extra}\n--- a/f\n+++ b/f\n{change}");
        for (text, says) in [
            (String::new(), "no unified diff"),
            ("hello\n".into(), "no unified diff"),
            (change.into(), "without the two lines"),
            (git("rename from x"), "renaming"),
            (git("old mode 100644"), "mode"),
            (git("new file mode 120000"), "symbolic link"),
            (git("new file mode 160000"), "mode"),
            (git("new file mode 100644"), "disagree"),
            ("diff --git a/f b/f\nGIT binary patch\n".into(), "binary"),
            (format!("--- a/f\n+++ b/g\n{change}"), "two files"),
            (format!("--- a/f\n+++ b/f\n{change}--- a/f\n+++ b/f\n{change}"), "twice"),
            ("--- a/f\n+++ b/f\n".into(), "no hunk"),
            ("--- a/f\n+++ b/f\n@@ nonsense @@\n".into(), "no hunk header"),
            ("--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n".into(), "ends too early"),
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\nwhat\n".into(), "does not belong"),
            ("--- a/f\n+++ b/f\n@@ -1,99999999999999999999 +1 @@\n-a\n".into(), "no hunk header"),
            (format!("--- a/../f\n+++ b/../f\n{change}"), "not a file of the workspace"),
            (format!("--- /etc/passwd\n+++ /etc/passwd\n{change}"), "not a file of the workspace"),
            (format!("--- a/\n+++ b/\n{change}"), "not a file of the workspace"),
            (format!("--- \"a/f\n+++ \"b/f\n{change}"), "quoted"),
        ] {
            let said = error(&text);
            assert!(said.contains(says), "{text:?} said {said:?} instead of {says:?}");
        }
    }
}
