//! Relative paths and patterns: where they start.

use crate::deny_read::DenyRead;
use crate::paths;

/// Where the relative paths and patterns of a text start.
///
/// ```
/// use holdpoint_policy::config::{Config, Origin, Starts};
/// use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
///
/// let text = "deny_read_paths = [\"conf/*.yml\", \"**/.env\"]\n";
/// let above = Config::parse(text, &Origin::file("/app/.holdpoint/config.toml"))?.starting(Starts::at("/app"));
/// let policy = compile(&[Layer::new(LayerKind::Project, above)], None, &Flags::default())?;
/// assert_eq!(policy.deny_read[0].value.glob, "/app/conf/*.yml");
/// assert_eq!(policy.deny_read[1].value.glob, "**/.env");
/// # Ok::<(), holdpoint_policy::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starts {
    workspace: bool,
    directories: Vec<String>,
}

impl Default for Starts {
    fn default() -> Starts {
        Starts::in_workspace([] as [&str; 0])
    }
}

impl Starts {
    /// In the workspace, and in these absolute directories as well.
    pub fn in_workspace<S: Into<String>>(and: impl IntoIterator<Item = S>) -> Starts {
        Starts { workspace: true, directories: and.into_iter().map(Into::into).collect() }
    }

    /// In this absolute directory instead of the workspace.
    pub fn at(directory: impl Into<String>) -> Starts {
        Starts { workspace: false, directories: vec![directory.into()] }
    }

    /// A pattern, once for every place where it starts.
    pub(crate) fn denied(&self, pattern: &DenyRead) -> Vec<DenyRead> {
        let elsewhere = self.directories.iter();
        match (self.workspace, pattern.is_anchored()) {
            (true, false) => vec![pattern.clone()],
            (true, true) => {
                let mut all = vec![pattern.clone()];
                all.extend(elsewhere.map(|directory| pattern.below(directory)));
                all
            }
            (false, _) => elsewhere.map(|directory| pattern.below(directory)).collect(),
        }
    }

    /// A plain path, once for every place where it starts.
    pub(crate) fn plain(&self, path: &str) -> Vec<String> {
        let path = paths::tidy(path);
        if path.starts_with(['/', '~']) {
            return vec![path];
        }
        let elsewhere = self.directories.iter().map(|directory| format!("{directory}/{path}"));
        self.workspace.then(|| path.clone()).into_iter().chain(elsewhere).collect()
    }
}
