//! Globs over paths, and the names that are always protected.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::path::{Component, Path, PathBuf};

/// Names in a writable workspace that stay read-only, whether or not they exist yet, relative to its root and to every
/// repository nested in it.
pub const PROTECTED_NAMES: [&str; 20] = [
    ".git/hooks",
    ".git/config",
    ".git/config.worktree",
    ".git/commondir",
    ".holdpoint",
    "AGENTS.md",
    "AGENTS.override.md",
    "CLAUDE.md",
    ".agents",
    ".claude",
    ".codex",
    ".cursor",
    ".gemini",
    ".vscode",
    ".idea",
    ".zed",
    ".devcontainer",
    ".devcontainer.json",
    ".envrc",
    ".mcp.json",
];

/// A pattern that cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}` cannot be enforced: {why}")]
pub struct PatternError {
    /// The pattern as written.
    pub pattern: String,
    /// Why it cannot be enforced, as a sentence fragment.
    pub why: String,
}

/// Compiled deny globs.
///
/// `*` and `?` stay within one name, `**` crosses directories, case does not matter, `dir/**` covers `dir` itself, a pattern
/// without `/` matches a name at any depth, and what lies below a covered directory is covered.
#[derive(Clone, Debug)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
    /// For each glob of `set`, which of `patterns` it came from, and whether it covers directories only.
    from: Vec<(usize, bool)>,
}

impl Globs {
    /// Compiles patterns: relative to the workspace, absolute, or starting with `~/`.
    ///
    /// # Errors
    /// The first pattern that cannot be enforced; see [`PatternError::why`].
    ///
    /// ```
    /// use holdpoint_policy::paths::Globs;
    /// use std::path::Path;
    ///
    /// let globs = Globs::new(&["**/.env*", "**/secrets/**"])?;
    /// assert_eq!(globs.matches(Path::new("app/.env.local"), false), Some("**/.env*"));
    /// assert_eq!(globs.matches(Path::new("app/secrets"), true), Some("**/secrets/**"));
    /// assert_eq!(globs.matches(Path::new("app/SECRETS/key.pem"), false), Some("**/secrets/**"));
    /// assert_eq!(globs.matches(Path::new("src/main.rs"), false), None);
    /// assert!(Globs::new(&["!keep"]).is_err());
    /// # Ok::<(), holdpoint_policy::paths::PatternError>(())
    /// ```
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Globs, PatternError> {
        Globs::expanded(patterns, expand)
    }

    /// Compiles exceptions, which must not match too much: a relative pattern that starts at the workspace covers no absolute
    /// path, and a `~/` pattern nobody's home.
    pub(crate) fn exceptions(patterns: &[String]) -> Result<Globs, PatternError> {
        let sure = |pattern: &str| {
            expand(pattern).map(|mut globs| {
                let anywhere = normalize(pattern).starts_with("**/");
                let absolute = pattern.starts_with('/');
                globs.retain(|(glob, _)| anywhere || absolute || !glob.glob().starts_with('/'));
                globs
            })
        };
        Globs::expanded(patterns, sure)
    }

    fn expanded<S: AsRef<str>>(
        patterns: &[S],
        expand: impl Fn(&str) -> Result<Vec<(globset::Glob, bool)>, PatternError>,
    ) -> Result<Globs, PatternError> {
        let mut set = GlobSetBuilder::new();
        let mut from = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            for (glob, only_directories) in expand(pattern.as_ref())? {
                set.add(glob);
                from.push((index, only_directories));
            }
        }
        let fail = |error: globset::Error| PatternError {
            pattern: error.glob().unwrap_or_default().to_owned(),
            why: error.kind().to_string(),
        };
        let patterns = patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect();
        Ok(Globs { patterns, set: set.build().map_err(fail)?, from })
    }

    /// The first pattern that covers the path, as it was written.
    ///
    /// A relative path is one of the workspace. For an absolute path the workspace is not known here, so a relative pattern
    /// covers it wherever it could start, and a `~/` pattern in anyone's home: rather too much than too little.
    /// `is_dir` tells a directory from a file: `dir/**` covers the directory `dir` but not a file of that name.
    pub fn matches(&self, path: &Path, is_dir: bool) -> Option<&str> {
        let path = lexical(path);
        let parts = path.ancestors().filter(|part| !part.as_os_str().is_empty() && *part != Path::new("/"));
        parts
            .flat_map(|part| {
                // What stands above the path is a directory, whatever the path itself is.
                let directory = is_dir || part != path;
                let hits = self.set.matches(part).into_iter().map(|index| self.from[index]);
                hits.filter(move |(_, only_directories)| directory || !only_directories)
            })
            .map(|(index, _)| index)
            .min()
            .map(|index| self.patterns[index].as_str())
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str)
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// The pattern as the rest of Holdpoint uses it: no `./` in front, no doubled `/`, and `**/` before a bare name.
pub fn normalize(pattern: &str) -> String {
    let mut text = tidy(pattern.trim());
    if pattern.trim().ends_with('/') && text != "/" {
        text.push_str("/**");
    }
    match text.contains('/') || text.starts_with('~') {
        true => text,
        false => format!("**/{text}"),
    }
}

/// A path or pattern without `./` in front, doubled `/` or a `/` at the end.
pub(crate) fn tidy(path: &str) -> String {
    let absolute = path.starts_with('/');
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
}

/// Whether a pattern (normalized) is relative and starts at one place.
pub(crate) fn is_anchored(pattern: &str) -> bool {
    !pattern.starts_with(['/', '~']) && !pattern.starts_with("**/")
}

/// A path as the pattern that matches it and nothing else.
pub fn literal(path: &str) -> String {
    path.chars().fold(String::new(), |mut pattern, c| {
        match "*?[]{}\\".contains(c) {
            true => pattern.extend(['[', c, ']']),
            false => pattern.push(c),
        }
        pattern
    })
}

/// Whether the pattern can be enforced.
pub(crate) fn check(pattern: &str) -> Result<(), PatternError> {
    expand(pattern).map(|_| ())
}

/// The globs that make up a pattern, each with whether it covers directories only.
fn expand(pattern: &str) -> Result<Vec<(globset::Glob, bool)>, PatternError> {
    let fail = |why: &str| PatternError { pattern: pattern.to_owned(), why: why.to_owned() };
    if pattern.trim().is_empty() {
        return Err(fail("an empty pattern denies nothing"));
    }
    if pattern.trim_start().starts_with('!') {
        return Err(fail("`!` takes back from other patterns; write `\\!` for a name that starts with it"));
    }
    if pattern.chars().any(char::is_control) {
        return Err(fail("there is a control character in it"));
    }
    if pattern.split('/').any(|part| part == "..") {
        return Err(fail("`..` leaves the directory it starts from"));
    }
    if pattern.starts_with('~') && !pattern.starts_with("~/") {
        return Err(fail("only `~/` is known, not another person's home"));
    }
    let text = normalize(pattern);
    if denies_everything(&text) {
        return Err(fail("it denies everything, so that nothing could run"));
    }
    let bases = match text.strip_prefix('~').or_else(|| text.strip_prefix('/').map(|_| "")) {
        // `~/x`: as written, and below any directory for absolute paths, because this crate does not know the home.
        Some(rest) if text.starts_with('~') => vec![text.clone(), format!("/**{rest}")],
        Some(_) => vec![text.clone()],
        None if text.starts_with("**/") => vec![text.clone(), format!("/{text}")],
        None => vec![text.clone(), format!("/**/{text}")],
    };
    let mut globs = Vec::new();
    for base in bases {
        if let Some(directory) = base.strip_suffix("/**") {
            globs.push((build(pattern, directory)?, true));
        }
        globs.push((build(pattern, &base)?, false));
    }
    Ok(globs)
}

/// Whether nothing but `**` stands in a pattern, with perhaps one `*` at its end.
fn denies_everything(pattern: &str) -> bool {
    let parts = pattern.trim_matches('/');
    let stars = parts.strip_suffix("/*").unwrap_or(if parts == "*" { "" } else { parts });
    pattern == "~" || stars.is_empty() || stars.split('/').all(|part| part == "**")
}

fn build(pattern: &str, glob: &str) -> Result<globset::Glob, PatternError> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .case_insensitive(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| PatternError { pattern: pattern.to_owned(), why: error.kind().to_string() })
}

/// A name in the workspace that shall stay read-only, whether it exists or not: no pattern, no way out.
pub(crate) fn check_inside(path: &str) -> Result<(), String> {
    plain(path)?;
    match tidy(path).as_str() {
        "" | "/" | "~" => Err("this is not below the workspace".to_owned()),
        _ => Ok(()),
    }
}

/// A path of the host: absolute or `~/`, no pattern, no way out.
pub(crate) fn check_outside(path: &str) -> Result<(), String> {
    plain(path)?;
    if !path.starts_with('/') && !path.starts_with("~/") {
        return Err("write an absolute path or one that starts with `~/`".to_owned());
    }
    match tidy(path).as_str() {
        "/" => Err("`/` is everything".to_owned()),
        "~" => Err("this opens the whole home directory; name what is needed in it".to_owned()),
        _ => Ok(()),
    }
}

fn plain(path: &str) -> Result<(), String> {
    let wrong = match path {
        path if path.trim().is_empty() => "an empty path names nothing",
        path if path.chars().any(char::is_control) => "there is a control character in this path",
        path if path.contains(['*', '?', '[', ']', '{', '}']) => "this takes paths, not patterns",
        path if path.split('/').any(|part| part == "..") => "`..` leaves the directory it starts from",
        path if path.starts_with('~') && !path.starts_with("~/") => "only `~/` is known, not another person's home",
        _ => return Ok(()),
    };
    Err(wrong.to_owned())
}

/// The path with `.` and `..` resolved by its text alone.
pub fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                clean.pop();
            }
            Component::ParentDir if clean == Path::new("/") => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The protected name at or above a path that an edit wants to change, at the root of the workspace or in a nested repository.
pub fn protected(path: &Path) -> Option<&'static str> {
    let path = lexical(path);
    let names: Vec<String> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().to_lowercase()),
            _ => None,
        })
        .collect();
    let named = PROTECTED_NAMES.into_iter().find(|protected| {
        let wanted: Vec<String> = protected.to_lowercase().split('/').map(str::to_owned).collect();
        names.windows(wanted.len()).any(|window| window == wanted)
    });
    // A command works in the git directory through git; an edit has no business in it at all.
    named.or_else(|| names.iter().any(|name| name == ".git").then_some(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, path: &str) -> bool {
        Globs::new(&[pattern]).unwrap().matches(Path::new(path), false).is_some()
    }

    #[test]
    fn a_star_stays_within_one_name() {
        assert!(covers("config/*.key", "config/a.key"));
        assert!(!covers("config/*.key", "config/old/a.key"));
    }

    #[test]
    fn a_bare_name_matches_at_any_depth() {
        assert!(covers("*.pem", "a.pem"));
        assert!(covers("*.pem", "deep/down/a.pem"));
    }

    #[test]
    fn what_lies_below_a_covered_directory_is_covered() {
        assert!(covers("**/*token*", "my-tokens/plain.txt"));
        assert!(covers("private/", "private/plain.txt"));
        assert!(covers("**/.railway/**", ".railway/config/deep.json"));
    }

    #[test]
    fn a_directory_pattern_covers_the_directory_but_no_file_of_its_name() {
        let globs = Globs::new(&["**/secrets/**"]).unwrap();
        assert!(globs.matches(Path::new("a/secrets"), true).is_some());
        assert!(globs.matches(Path::new("a/secrets"), false).is_none());
    }

    #[test]
    fn the_spelling_of_the_path_does_not_matter() {
        assert!(covers("**/.env*", "./app/../.ENV.production"));
        assert!(covers(".env", "a/../.env"));
    }

    #[test]
    fn absolute_paths_are_covered_wherever_the_workspace_could_be() {
        assert!(covers("**/.env*", "/home/a/work/.env"));
        assert!(covers("config/prod.json", "/home/a/work/config/prod.json"));
        assert!(covers("~/.ssh/**", "/home/a/.ssh/id_ed25519"));
        assert!(covers("/etc/ssl/private/**", "/etc/ssl/private/a.key"));
        assert!(!covers("/etc/ssl/private/**", "etc/ssl/private"));
    }

    #[test]
    fn a_pattern_that_cannot_be_enforced_is_an_error() {
        for pattern in [
            "", "  ", "!x", "a/../b", "[", "{a", "/", "/**", "**", "*", "**/*", "**/**/**", "/**/*", "~bob/x", "a\0b",
            "a\nb", ".",
        ] {
            assert!(Globs::new(&[pattern]).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn protected_names_are_found_in_nested_repositories_too() {
        assert_eq!(protected(Path::new(".git/hooks/pre-commit")), Some(".git/hooks"));
        assert_eq!(protected(Path::new("vendor/lib/.git/config")), Some(".git/config"));
        assert_eq!(protected(Path::new("docs/../agents.MD")), Some("AGENTS.md"));
        assert_eq!(protected(Path::new(".git/objects/ab")), Some(".git"));
        assert_eq!(protected(Path::new("src/AGENTS.md.rs")), None);
    }

    #[test]
    fn paths_that_are_opened_must_be_plain_and_absolute() {
        assert!(check_outside("~/.cargo").is_ok());
        for path in ["x", "/", "~/", "~bob/x", "/a/../b", "/a/*", ""] {
            assert!(check_outside(path).is_err(), "{path:?}");
        }
        for path in ["", ".", "../x", "a/*", "/"] {
            assert!(check_inside(path).is_err(), "{path:?}");
        }
    }
}
