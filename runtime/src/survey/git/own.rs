//! What a sandbox gets of the user's own configuration of git: who commits, how git behaves and what it ignores. Nothing that
//! runs a program or may be a secret: every setting is written anew from a list of those that are neither.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::globs::Globs;
use super::super::walk::{Inode, Kind, kind_at};
use super::settings::{Entry, entries, is_listed};
use super::{LARGEST_CONFIG, gitdir, try_read, variable};

/// Settings that neither run anything nor lead anywhere (git-config(1)); `*` is all of a section.
const HARMLESS: [(&str, &str); 22] = [
    ("user", "name email useconfigonly"),
    ("author", "name email"),
    ("committer", "name email"),
    ("init", "defaultbranch"),
    ("core", "autocrlf eol safecrlf quotepath abbrev whitespace commentchar"),
    ("pull", "rebase ff"),
    ("push", "default autosetupremote followtags"),
    ("fetch", "prune prunetags"),
    ("merge", "conflictstyle ff renames renamelimit"),
    ("rebase", "autosquash autostash updaterefs missingcommitscheck"),
    ("rerere", "enabled autoupdate"),
    ("branch", "sort autosetupmerge autosetuprebase"),
    ("tag", "sort"),
    ("commit", "verbose cleanup status"),
    ("log", "date decorate abbrevcommit follow"),
    ("status", "*"),
    ("column", "*"),
    ("color", "*"),
    ("pretty", "*"),
    ("advice", "*"),
    ("blame", "date coloring showemail"),
    (
        "diff",
        "algorithm colormoved colormovedws context interhunkcontext renames renamelimit mnemonicprefix noprefix \
         indentheuristic submodule relative wserrorhighlight statgraphwidth suppressblankempty",
    ),
];
/// What is given of configuration, and of patterns.
const MOST: usize = 64 << 10;
/// Files within files.
const DEEPEST: usize = 6;

/// The user's own configuration, as far as it is given to a sandbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnGit {
    /// For `~/.gitconfig`.
    pub(crate) config: String,
    /// For `~/.config/git/ignore`.
    pub(crate) ignore: String,
}

impl OwnGit {
    /// Reads the files that git reads outside of every repository (git-config(1), "FILES"), and what they include. A file that
    /// is denied, under its own name or where a link leads, counts as missing.
    pub(crate) fn read(home: &Path, workspace: Option<&Path>, deny: &Globs, denied: &[Inode]) -> OwnGit {
        let settings = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("git");
        let files = match variable("GIT_CONFIG_GLOBAL") {
            Some(only) => vec![only],
            None => vec![settings.join("config"), home.join(".gitconfig")],
        };
        let excludes = settings.join("ignore");
        let mut reader = Reader { home, workspace, deny, denied, excludes, own: OwnGit::default() };
        files.iter().for_each(|file| reader.file(file, DEEPEST));
        let called = reader.excludes.canonicalize().is_ok_and(|real| is_called_ignored(&real));
        let patterns = called.then(|| reader.text(&reader.excludes)).flatten();
        let patterns = patterns.and_then(|text| String::from_utf8(text).ok());
        let mut own = reader.own;
        for line in patterns.iter().flat_map(|text| text.lines()) {
            let pattern = !line.is_empty() && !line.starts_with('#') && !line.contains(char::is_control);
            if pattern && own.ignore.len() + line.len() < MOST {
                own.ignore.extend([line, "\n"]);
            }
        }
        own
    }
}

/// Whether a file is called as those are that say what git ignores. Its text is given as it stands, so whoever could change the
/// configuration must not be able to have any file shown.
fn is_called_ignored(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["ignore", "exclude"].iter().any(|word| name.contains(word))
}

struct Reader<'a> {
    home: &'a Path,
    workspace: Option<&'a Path>,
    deny: &'a Globs,
    denied: &'a [Inode],
    /// Where the patterns of what git ignores stand.
    excludes: PathBuf,
    own: OwnGit,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) {
        let (Some(text), Some(base)) = (self.text(path), path.parent()) else { return };
        for entry in entries(&text) {
            let leads_to = entry.value.as_deref().and_then(|value| self.path(value, base));
            match (&entry.section[..], &entry.subsection, &entry.key[..], leads_to) {
                (b"include", None, b"path", Some(file)) if depth > 0 => self.file(&file, depth - 1),
                (b"includeif", Some(condition), b"path", Some(file)) if depth > 0 => {
                    if self.holds(condition, base) {
                        self.file(&file, depth - 1);
                    }
                }
                (b"core", None, b"excludesfile", Some(file)) => self.excludes = file,
                _ => self.give(&entry),
            }
        }
    }

    /// The content of a file, unless it is denied.
    fn text(&self, path: &Path) -> Option<Vec<u8>> {
        path.symlink_metadata().ok()?;
        let real = path.canonicalize().ok()?;
        let denies = |path: &Path| self.deny.matches(Path::new("/"), path, false).is_some();
        if denies(path) || denies(&real) {
            return None;
        }
        try_read(&real, LARGEST_CONFIG, |status| self.denied.contains(&(status.dev(), status.ino()))).ok()?
    }

    /// A path as a configuration in the directory `base` gives it. Other users' homes are nobody's own.
    fn path(&self, value: &[u8], base: &Path) -> Option<PathBuf> {
        match value {
            b"" => None,
            [b'~', b'/', rest @ ..] => Some(self.home.join(OsStr::from_bytes(rest))),
            [b'~', ..] => None,
            _ => Some(base.join(OsStr::from_bytes(value))),
        }
    }

    /// Whether the condition of an included file holds. Only the commonest is understood: the repository lies in a directory
    /// that is named without a pattern. Another does not hold.
    fn holds(&self, condition: &[u8], base: &Path) -> bool {
        let Some(named) =
            condition.strip_prefix(b"gitdir:").filter(|named| !named.iter().any(|byte| b"*?[\\".contains(byte)))
        else {
            return false;
        };
        let whole = named.ends_with(b"/");
        let place = match named {
            [b'~' | b'/', ..] | [b'.', b'/', ..] => self.path(named, base),
            _ => None,
        };
        let (Some(place), Some(git)) = (place, self.git_dir()) else { return false };
        let is = |place: &Path| if whole { git.starts_with(place) } else { git == place };
        is(&place) || place.canonicalize().is_ok_and(|real| is(&real))
    }

    /// The git directory of the workspace.
    fn git_dir(&self) -> Option<PathBuf> {
        let dotgit = self.workspace?.join(".git");
        match kind_at(&dotgit).ok()? {
            Kind::File => gitdir(&dotgit),
            _ => dotgit.canonicalize().ok(),
        }
    }

    fn give(&mut self, entry: &Entry) {
        if let Some(line) = written(entry)
            && self.own.config.len() + line.len() < MOST
        {
            self.own.config += &line;
        }
    }
}

/// A setting as text, if it is one to be given.
fn written(entry: &Entry) -> Option<String> {
    let text =
        |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control)).map(quoted);
    let (section, key) = (std::str::from_utf8(&entry.section).ok()?, std::str::from_utf8(&entry.key).ok()?);
    let value = entry.value.as_deref();
    let known = match (section, &entry.subsection, value) {
        // A shell's line otherwise.
        ("alias", None, Some(value)) => !value.trim_ascii_start().starts_with(b"!"),
        ("color", Some(_), _) => true,
        (_, Some(_), _) => false,
        _ => is_listed(&HARMLESS, section.as_bytes(), key.as_bytes()),
    };
    // An address may have a password in it.
    if !known || value.is_some_and(|value| value.windows(3).any(|three| three == b"://")) {
        return None;
    }
    let head = match &entry.subsection {
        Some(subsection) => format!("[{section} {}]", text(subsection)?),
        None => format!("[{section}]"),
    };
    Some(match value {
        Some(value) => format!("{head}\n\t{key} = {}\n", text(value)?),
        None => format!("{head}\n\t{key}\n"),
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
