//! Deny patterns, matched one path component at a time while a walk descends.
//!
//! A pattern is a sequence of components; `**` stands for any number of directories. The commonest form by far,
//! `**/NAME`, needs no position in the tree and is kept apart, so that a walk tests a bare file name and nothing else.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::SurveyError;
use super::exceptions::{Exceptions, Partly};
use super::git::is_git_dir;
use super::pattern::{Name, Part, alternatives, glob};
use crate::plan::Denied;

/// Compiled patterns. Matching ignores ASCII case and `*` never crosses a `/`.
#[derive(Debug)]
pub(crate) struct Globs {
    /// Each pattern as the user wrote it, for messages.
    texts: Vec<String>,
    anywhere: Vec<Anywhere>,
    anchored: Vec<Anchored>,
    exceptions: Option<Box<Exceptions>>,
}

/// `**/NAME` or `**/NAME/**`.
#[derive(Debug)]
struct Anywhere {
    text: u16,
    name: Name,
    directory: bool,
}

/// Every other pattern.
#[derive(Debug)]
struct Anchored {
    text: u16,
    absolute: bool,
    parts: Vec<Part>,
    /// Of an absolute pattern: the fixed directories, or the file, it starts with.
    prefix: PathBuf,
    /// The pattern ended in `/**`: it means the directory itself, and nothing that is no directory.
    directory: bool,
}

/// An anchored pattern, and which of its parts comes next.
pub(super) type Position = (u16, u16);

/// How far each anchored pattern has come on the way down to one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct States {
    positions: Vec<Position>,
    /// Only where patterns have exceptions.
    partly: Option<Box<Partly>>,
}

impl States {
    /// Whether nothing here or below can be denied by its place.
    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.partly.as_ref().is_none_or(|partly| partly.is_open())
    }
}

impl Globs {
    /// Compiles `patterns`; fails with the first one that has no meaning here or cannot be enforced.
    pub(crate) fn new(patterns: &[String]) -> Result<Globs, SurveyError> {
        let mut globs = Globs { texts: Vec::new(), anywhere: Vec::new(), anchored: Vec::new(), exceptions: None };
        for pattern in patterns {
            globs.add(pattern).map_err(|why| SurveyError::Pattern { pattern: pattern.clone(), why })?;
        }
        if globs.texts.len().max(globs.anchored.len()) > usize::from(u16::MAX) {
            return Err(SurveyError::TooMany { what: "patterns", most: u16::MAX.into() });
        }
        Ok(globs)
    }

    /// Compiles deny patterns with their exceptions.
    pub(crate) fn denying(patterns: &[Denied]) -> Result<Globs, SurveyError> {
        let texts: Vec<String> = patterns.iter().map(|denied| denied.pattern.clone()).collect();
        Ok(Globs { exceptions: Exceptions::new(patterns)?, ..Globs::new(&texts)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    fn add(&mut self, pattern: &str) -> Result<(), String> {
        if pattern.is_empty() || pattern.contains('\0') {
            return Err("a pattern needs at least one character and no NUL".into());
        }
        if pattern == "~" || pattern.starts_with("~/") {
            return Err("`~` must be replaced by the home directory before it comes here".into());
        }
        // The whole pattern first: its message speaks of what the user wrote, not of a part of it.
        glob(pattern).build().map_err(|error| error.kind().to_string())?;
        // `new` refuses more patterns than fit.
        let text = self.texts.len() as u16;
        self.texts.push(pattern.to_owned());
        for plain in alternatives(pattern)? {
            self.add_plain(text, &plain)?;
        }
        Ok(())
    }

    fn add_plain(&mut self, text: u16, plain: &str) -> Result<(), String> {
        let absolute = plain.starts_with('/');
        let mut parts = Vec::new();
        for part in plain.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err("`..` leaves the tree the pattern is searched in".into()),
                "**" if matches!(parts.last(), Some(Part::Any)) => {}
                "**" => parts.push(Part::Any),
                _ => parts.push(Part::Name(Name::new(part)?)),
            }
        }
        let mut directory = plain.ends_with('/');
        if matches!(parts.last(), Some(Part::Any)) {
            directory = true;
            parts.pop();
        }
        if parts.is_empty() && plain.contains("**") {
            // `**` alone: everything there is.
            directory = false;
            parts = vec![Part::Any, Part::Name(Name::Stars(vec![Vec::new(), Vec::new()]))];
        }
        if absolute && !matches!(parts.first(), Some(Part::Name(Name::Literal(_)))) {
            return Err(
                "an absolute pattern must start with a fixed directory, or the whole machine would be searched; \
                        a relative one is searched below the workspace and every other root"
                    .into(),
            );
        }
        if !absolute && parts.len() == 1 && !plain.trim_end_matches('/').contains('/') {
            // A bare name means that name at any depth.
            parts.insert(0, Part::Any);
        }
        if parts.len() >= usize::from(u16::MAX) {
            return Err("too many components".into());
        }
        let mut prefix = PathBuf::from("/");
        if absolute {
            // From the text and not from the parts: those are in lower case already.
            let fixed = parts.iter().take_while(|part| matches!(part, Part::Name(Name::Literal(_)))).count();
            prefix.extend(plain.split('/').filter(|part| !part.is_empty() && *part != ".").take(fixed));
        }
        match parts.as_slice() {
            [] => return Err("the pattern names no file".into()),
            [Part::Any, Part::Name(name)] if !absolute => {
                self.anywhere.push(Anywhere { text, name: name.clone(), directory });
            }
            _ => self.anchored.push(Anchored { text, absolute, parts, prefix, directory }),
        }
        Ok(())
    }

    /// The states at the directory `root`, before any of its entries was read.
    pub(crate) fn start(&self, root: &Path) -> States {
        let mut states = self.absolute_at(root);
        self.start_relative(&mut states.positions);
        if let (Some(exceptions), Some(partly)) = (&self.exceptions, &mut states.partly) {
            exceptions.start_relative(partly);
        }
        states
    }

    /// The states of the absolute patterns alone at the directory `path`.
    pub(crate) fn absolute_at(&self, path: &Path) -> States {
        let mut states = self.absolute_start();
        let mut lower = Vec::new();
        for name in path.iter().skip(1) {
            lowercase(name, &mut lower);
            states = self.step(&states, &lower, false);
        }
        states
    }

    fn absolute_start(&self) -> States {
        let partly = self.exceptions.as_ref().map(|exceptions| Box::new(exceptions.absolute_start()));
        States { positions: self.absolute_positions(), partly }
    }

    pub(super) fn absolute_positions(&self) -> Vec<Position> {
        let mut positions = Vec::new();
        for (index, _) in self.anchored.iter().enumerate().filter(|(_, pattern)| pattern.absolute) {
            self.enter(&mut positions, index, 0);
        }
        positions
    }

    pub(super) fn start_relative(&self, positions: &mut Vec<Position>) {
        for (index, _) in self.anchored.iter().enumerate().filter(|(_, pattern)| !pattern.absolute) {
            self.enter(positions, index, 0);
        }
    }

    /// The states inside the directory that is called `lower` (in lower case) and lies in a directory with the states `at`.
    /// `names` as for [`Globs::hit`].
    pub(crate) fn step(&self, at: &States, lower: &[u8], names: bool) -> States {
        let partly = self.exceptions.as_ref().zip(at.partly.as_ref()).map(|(exceptions, partly)| {
            Box::new(exceptions.enter(partly, lower, self.hits(&at.positions, lower, true, names)))
        });
        States { positions: self.advance(&at.positions, lower), partly }
    }

    pub(super) fn advance(&self, at: &[Position], lower: &[u8]) -> Vec<Position> {
        let mut next = Vec::new();
        for &(index, position) in at {
            let index = usize::from(index);
            let position = usize::from(position);
            match self.anchored[index].parts.get(position) {
                Some(Part::Any) => self.enter(&mut next, index, position),
                Some(Part::Name(name)) if name.matches(lower) => self.enter(&mut next, index, position + 1),
                _ => {}
            }
        }
        next
    }

    /// Adds a position, and what follows from `**` matching no directory at all.
    fn enter(&self, positions: &mut Vec<Position>, index: usize, position: usize) {
        let parts = &self.anchored[index].parts;
        if position >= parts.len() {
            return;
        }
        let mut add = |position| {
            if !positions.contains(&position) {
                positions.push(position);
            }
        };
        // Both fit: `new` bounds the patterns, `add_plain` the components.
        add((index as u16, position as u16));
        if matches!(parts[position], Part::Any) {
            add((index as u16, position as u16 + 1));
        }
    }

    /// Only the states that some component has already brought forward: those that would not hold elsewhere as well.
    pub(crate) fn progressed(&self, states: &States) -> States {
        let kept = states.positions.iter().copied().filter(|&(index, position)| {
            let pattern = &self.anchored[usize::from(index)];
            let first = u16::from(matches!(pattern.parts[0], Part::Any));
            pattern.absolute || position > first
        });
        States { positions: kept.collect(), partly: states.partly.clone() }
    }

    /// The pattern that hides an entry called `lower` in a directory with the states `at`; a directory only when it hides
    /// all of it.
    ///
    /// `names` is false where bare names say nothing: in the ref and log directories of a repository.
    pub(crate) fn hit(&self, at: &States, lower: &[u8], directory: bool, names: bool) -> Option<&str> {
        let mut hits = self.hits(&at.positions, lower, directory, names);
        let pattern = match (&self.exceptions, &at.partly) {
            (Some(exceptions), Some(partly)) => exceptions.hides(partly, lower, directory, hits),
            _ => hits.next(),
        }?;
        Some(&self.texts[usize::from(pattern)])
    }

    /// The patterns that match an entry by its name, whatever they except.
    pub(super) fn hits(
        &self,
        at: &[Position],
        lower: &[u8],
        directory: bool,
        names: bool,
    ) -> impl Iterator<Item = u16> {
        let anywhere = self.anywhere.iter().filter(move |_| names);
        let anywhere = anywhere
            .filter(move |pattern| (directory || !pattern.directory) && pattern.name.matches(lower))
            .map(|pattern| pattern.text);
        let anchored = at.iter().filter_map(move |&(index, position)| {
            let pattern = &self.anchored[usize::from(index)];
            let last = usize::from(position) + 1 == pattern.parts.len();
            match &pattern.parts[usize::from(position)] {
                Part::Name(name) if last && (directory || !pattern.directory) && name.matches(lower) => {
                    Some(pattern.text)
                }
                _ => None,
            }
        });
        anywhere.chain(anchored)
    }

    /// Whether the pattern `text` can match something below a directory with these positions.
    pub(super) fn reaches(&self, text: u16, at: &[Position]) -> bool {
        self.anywhere.iter().any(|pattern| pattern.text == text)
            || at.iter().any(|&(index, _)| self.anchored[usize::from(index)].text == text)
    }

    /// The root `path` of a tree.
    pub(crate) fn root(&self, path: &Path) -> Top {
        Top { path: path.to_owned(), states: self.start(path), place: Place::of(path) }
    }

    /// The pattern that denies `path`, which lies below `root` and may lie in a denied directory.
    pub(crate) fn matches(&self, root: &Path, path: &Path, directory: bool) -> Option<&str> {
        self.matches_below(&self.root(root), path.strip_prefix(root).ok()?, directory)
    }

    /// The same for the path `below` a directory.
    pub(crate) fn matches_below(&self, top: &Top, below: &Path, directory: bool) -> Option<&str> {
        let (mut stepped, mut place, mut at) = (None, top.place, top.path.clone());
        let mut lower = Vec::new();
        let mut components = below.components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else { return None };
            lowercase(name, &mut lower);
            let inside = components.peek().is_some();
            let states = stepped.as_ref().unwrap_or(&top.states);
            if let Some(pattern) = self.hit(states, &lower, inside || directory, place.names()) {
                return Some(pattern);
            }
            if inside && (!states.positions.is_empty() || states.partly.is_some()) {
                stepped = Some(self.step(states, &lower, place.names()));
            }
            at.push(name);
            place = place.enter(name, &at);
        }
        None
    }

    /// What the symlink `below` a directory brings forward for the directory it leads to.
    pub(crate) fn through(&self, top: &Top, below: &Path) -> States {
        self.progressed(&self.reached(top, below).0)
    }

    /// Whether some pattern is absolute.
    pub(crate) fn reach_beyond(&self) -> bool {
        self.anchored.iter().any(|pattern| pattern.absolute)
    }

    /// The states and the place in the directory `below` another.
    pub(crate) fn reached(&self, top: &Top, below: &Path) -> (States, Place) {
        let mut lower = Vec::new();
        let mut at = top.path.clone();
        below.iter().fold((top.states.clone(), top.place), |(states, place), name| {
            lowercase(name, &mut lower);
            at.push(name);
            (self.step(&states, &lower, place.names()), place.enter(name, &at))
        })
    }

    /// The pattern that denies `root` itself or a directory above it.
    pub(crate) fn denies_root(&self, root: &Path, directory: bool) -> Option<&str> {
        let mut states = self.absolute_start();
        let mut lower = Vec::new();
        let mut components = root.components().skip(1).peekable();
        while let Some(Component::Normal(name)) = components.next() {
            lowercase(name, &mut lower);
            let inside = components.peek().is_some();
            if let Some(pattern) = self.hit(&states, &lower, inside || directory, false) {
                return Some(pattern);
            }
            states = self.step(&states, &lower, false);
        }
        None
    }

    /// For every absolute pattern: its text, the fixed directories or the file it starts with, and whether that is all of it.
    pub(crate) fn absolute(&self) -> impl Iterator<Item = (&str, &Path, bool)> {
        self.anchored.iter().filter(|pattern| pattern.absolute).map(|pattern| {
            let whole = pattern.parts.len() == pattern.prefix.components().count() - 1;
            (self.texts[usize::from(pattern.text)].as_str(), pattern.prefix.as_path(), whole)
        })
    }
}

/// A directory from which paths are looked at: how far the patterns have come there, and what it is to git.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) path: PathBuf,
    pub(crate) states: States,
    pub(crate) place: Place,
}

/// Where in a repository a directory lies. The ref and log directories hold branch names, not files of the user:
/// `**/*token*` must not hide the branch `fix-token` and with it break git. Somebody may keep a whole tree in a `.git`, and
/// what is called `logs` in that is a directory like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Tree,
    /// A git directory.
    Git,
    /// Where it keeps those of its linked worktrees, and those of its submodules.
    Worktrees,
    Modules,
    Refs,
    /// What is looked at for its second name, or for absolute patterns alone.
    Elsewhere,
}

impl Place {
    /// A root is a tree, wherever it lies, unless it is a git directory.
    pub(crate) fn of(root: &Path) -> Place {
        let mut at = PathBuf::new();
        let place = root.iter().fold(Place::Tree, |place, name| {
            at.push(name);
            place.enter(name, &at)
        });
        if place == Place::Git { Place::Git } else { Place::Tree }
    }

    /// The place of the directory `name`; `path` is where it is.
    pub(crate) fn enter(self, name: &OsStr, path: &Path) -> Place {
        match (self, name.as_bytes()) {
            (Place::Elsewhere | Place::Refs, _) => self,
            (Place::Git, b"refs" | b"logs") => Place::Refs,
            (Place::Git, b"worktrees") => Place::Worktrees,
            (Place::Git, b"modules") => Place::Modules,
            (Place::Worktrees, _) => Place::Git,
            // A submodule's name may have slashes in it, so no name says where its git directory begins.
            (Place::Modules, _) if is_git_dir(path) => Place::Git,
            (Place::Modules, _) => Place::Modules,
            (Place::Tree, b".git") => Place::Git,
            (Place::Tree | Place::Git, _) => Place::Tree,
        }
    }

    /// Whether patterns of the form `**/NAME` apply to what lies here.
    pub(crate) fn names(self) -> bool {
        !matches!(self, Place::Refs | Place::Elsewhere)
    }
}

/// Writes `name` in ASCII lower case into `buffer`.
pub(crate) fn lowercase(name: &OsStr, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(name.as_bytes());
    buffer.make_ascii_lowercase();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(pattern: &str, path: &str, directory: bool) -> bool {
        let globs = Globs::new(&[pattern.to_owned()]).unwrap();
        globs.matches(Path::new("/w"), &Path::new("/w").join(path), directory).is_some()
    }

    #[test]
    fn patterns_mean_what_the_configuration_says() {
        for (pattern, path, expected) in [
            ("**/.env*", ".env", true),
            ("**/.env*", "a/b/.ENV.local", true),
            ("**/.env*", "a/x.env", false),
            (".env", "deep/down/.env", true),
            ("./.env", "deep/.env", false),
            ("./.env", ".env", true),
            ("**/secrets/**", "a/secrets/k", true),
            ("**/secrets/**", "a/secrets", false),
            ("secrets/**", "a/secrets/k", false),
            ("secrets/**", "secrets/a/b", true),
            ("secrets/", "x/secrets/k", true),
            ("**/*token*", "a/my_TOKEN.txt", true),
            ("**/*token*", "tokens/readme", true),
            ("**/*a*b*c", "xaxbxc", true),
            ("**/*a*b*c", "xbxaxc", false),
            ("**/*ab", "ab", true),
            ("**/a*a", "a", false),
            ("a/*.key", "a/x.key", true),
            ("a/*.key", "a/b/x.key", false),
            ("a/**/x", "a/x", true),
            ("a/**/x", "a/b/c/x", true),
            ("a/**/x", "b/a/x", false),
            ("**/a/b", "q/a/b", true),
            ("**/a/b", "q/a/c/b", false),
            ("{a/b,c}/*.pem", "a/b/x.pem", true),
            ("{a/b,c}/*.pem", "c/x.pem", true),
            ("{a/b,c}/*.pem", "a/x.pem", false),
            ("**/id_[re]*", "s/id_rsa", true),
            ("**/id_[!r]*", "s/id_rsa", false),
            ("**/k?y", "key", true),
            ("**/{a,b{c,d}}.txt", "z/bd.txt", true),
            ("**/\\{a\\}", "{a}", true),
            ("/w/x/*.p", "x/a.p", true),
            ("/v/x/*.p", "x/a.p", false),
            ("**", "anything", true),
            ("**/*token*", ".git/refs/heads/fix-token", false),
            ("**/*token*", ".git/logs/refs/heads/fix-token", false),
            ("**/*token*", ".git/worktrees/w/logs/refs/heads/fix-token", false),
            ("**/*token*", "sub/.git/refs/heads/fix-token", false),
            ("**/*token*", ".git/modules/sub/refs/token", true),
            ("**/.env", ".git/wt/feature/logs/.env", true),
            ("**/secrets/**", ".git/wt/feature/logs/secrets/k", true),
            ("**/*token*", ".git/wt/feature/.git/refs/heads/fix-token", false),
            ("**/*token*", ".git/token", true),
            ("**/*token*", "refs/token", true),
            (".git/refs/**", ".git/refs/heads/main", true),
        ] {
            assert_eq!(denied(pattern, path, false), expected, "{pattern} on {path}");
        }
        assert!(denied("**/secrets/**", "a/secrets", true));
        assert!(denied("secrets/", "secrets", true));
        assert!(!denied("secrets/", "secrets", false));
    }

    #[test]
    fn a_root_is_a_tree_wherever_it_lies() {
        let globs = Globs::new(&["**/*token*".to_owned()]).unwrap();
        for (root, path, expected) in [
            ("/m/.git/wt/feature", "logs/token", true),
            ("/m/.git/worktrees", "logs/token", true),
            ("/m/.git/refs", "heads/fix-token", true),
            ("/m/.git", "refs/heads/fix-token", false),
            ("/m/.git/worktrees/w", "logs/refs/heads/fix-token", false),
        ] {
            let hit = globs.matches(Path::new(root), &Path::new(root).join(path), false);
            assert_eq!(hit.is_some(), expected, "{root} {path}");
        }
    }

    #[test]
    fn names_that_are_no_text_match_too() {
        let globs = Globs::new(&["**/.env*".to_owned(), "**/x?[a-z]".to_owned()]).unwrap();
        let root = Path::new("/w");
        for name in [&b".env\nnewline"[..], b".env\xff\xfe", b"x\xffa"] {
            assert!(globs.matches(root, &root.join(OsStr::from_bytes(name)), false).is_some(), "{name:?}");
        }
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_by_name() {
        for pattern in [
            "",
            "a/../b",
            "/**/.env",
            "/*/x",
            "a[",
            "{a,b",
            "~/x",
            "/",
            ".",
            "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
        ] {
            let error = Globs::new(&["ok".to_owned(), pattern.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{pattern}`")), "{error}");
        }
    }

    #[test]
    fn the_root_itself_can_be_denied_only_by_an_absolute_pattern() {
        let globs = Globs::new(&["/home/a/**".to_owned(), "w".to_owned()]).unwrap();
        assert_eq!(globs.denies_root(Path::new("/home/a/w"), true), Some("/home/a/**"));
        assert_eq!(globs.denies_root(Path::new("/home/b/w"), true), None);
    }
}
