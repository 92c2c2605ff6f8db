//! Which environment variables pass: by allow-list, and never one that looks like a secret or steers a program loader
//! unless its very name is written down.

use crate::policy::{BUILT_IN, Policy};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// What passes when nobody wrote anything: where things are, who one is, how the terminal looks.
pub(crate) const INHERITED: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TERM",
    "COLORTERM",
    "TZ",
    "SHELL",
    "NO_COLOR",
    "FORCE_COLOR",
    "EDITOR",
    "CARGO_HOME",
    "RUSTUP_HOME",
];

/// Parts of a name that make it look like a secret, wherever they stand.
const SECRET_PARTS: [&str; 8] =
    ["TOKEN", "SECRET", "PASSW", "PASSPHRASE", "CREDENTIAL", "PRIVATE", "APIKEY", "CONNECTION_STRING"];

/// Words of a name (between `_`) that make it look like a secret.
const SECRET_WORDS: [&str; 12] =
    ["AUTH", "OAUTH", "BEARER", "JWT", "PAT", "PASS", "PWD", "PIN", "COOKIE", "DSN", "KEYS", "SIGNATURE"];

/// Names by which a loader, an interpreter or a well-known tool runs code of the one who sets them.
const LOADERS: [&str; 34] = [
    "LD_*",
    "DYLD_*",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "BASH_ENV",
    "BASH_FUNC_*",
    "ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PROMPT_COMMAND",
    "PS4",
    "ZDOTDIR",
    "IFS",
    "CDPATH",
    "GIT_*",
    "SSH_ASKPASS",
    "PYTHON*",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL*",
    "RUBYOPT",
    "RUBYLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "LUA_INIT*",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "PAGER",
    "LESSOPEN",
    "LESSCLOSE",
];

/// Checks a name or glob of `env.inherit`.
pub(crate) fn check_name_glob(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0', '/']) {
        return Err("this names no environment variable".to_owned());
    }
    match glob(name) {
        Some(_) => Ok(()),
        None => Err("this is not a name and not a glob over names".to_owned()),
    }
}

/// Whether the variable's name looks like that of a secret: `GITHUB_TOKEN`, `AWS_SECRET_ACCESS_KEY`, `DB_PASS`.
pub(crate) fn looks_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    if matches!(name.as_str(), "PWD" | "OLDPWD") {
        return false;
    }
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || name.split('_').any(|word| SECRET_WORDS.contains(&word) || word.ends_with("KEY"))
}

/// Whether setting the variable can make a program load or run code: `LD_PRELOAD`, `BASH_ENV`, `NODE_OPTIONS`.
pub(crate) fn steers_a_loader(name: &str) -> bool {
    LOADERS.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *known,
    })
}

/// Whether the value is an address with a password in it.
fn holds_password(value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    value.split("://").skip(1).any(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// How a profile's `model` reaches the agent.
const MODEL: &str = "HOLDPOINT_MODEL";

/// What a glob is told by.
const META: [char; 5] = ['*', '?', '[', '{', '\\'];

/// A glob over names. To compile one takes longer than everything else here, so the common form is compared as it is.
enum Pattern<'a> {
    /// `START*`
    Start(&'a str),
    Glob(GlobMatcher),
}

impl<'a> Pattern<'a> {
    fn new(text: &'a str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(start) if !start.contains(META) => Some(Self::Start(start)),
            _ => glob(text).map(Self::Glob),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Start(start) => name.starts_with(start),
            Self::Glob(glob) => glob.is_match(name),
        }
    }
}

fn glob(pattern: &str) -> Option<GlobMatcher> {
    GlobBuilder::new(pattern).build().ok().map(|glob| glob.compile_matcher())
}

impl Policy {
    /// The environment a command gets out of `vars`: what passes by name, then what is set. The profile's `model` is carried
    /// as `HOLDPOINT_MODEL`.
    ///
    /// A name passes when `env.inherit` names it or has a glob for it. Through a glob, nothing passes that looks like a secret
    /// or steers a program loader; such a variable must be named exactly.
    ///
    /// ```
    /// use holdpoint_policy::config::{Config, Origin};
    /// use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
    ///
    /// let text = "[profile.default]\nenv.inherit = [\"APP_*\"]\nenv.set = { CI = \"1\" }\n";
    /// let config = Config::parse(text, &Origin::file("config.toml"))?;
    /// let policy = compile(&[Layer::new(LayerKind::User, config)], None, &Flags::default())?;
    ///
    /// let vars = [("PATH", "/bin"), ("APP_COLOR", "blue"), ("APP_TOKEN", "s3cret"), ("LD_PRELOAD", "./x.so")];
    /// let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
    /// let names: Vec<_> = policy.environment(vars).into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["PATH", "APP_COLOR", "CI"]);
    /// # Ok::<(), holdpoint_policy::ConfigError>(())
    /// ```
    pub fn environment(&self, vars: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
        let exact: BTreeSet<&str> = self
            .env_inherit
            .iter()
            .filter(|name| name.origin != BUILT_IN || !name.value.contains('*'))
            .map(|name| name.value.as_str())
            .collect();
        let patterns = self.env_inherit.iter().filter(|name| name.value.contains(META));
        let patterns: Vec<Pattern<'_>> = patterns.filter_map(|name| Pattern::new(&name.value)).collect();
        let passes = |name: &OsStr, value: &OsStr| {
            // A name that is not UTF-8 is on nobody's list.
            let Some(name) = name.to_str() else { return false };
            exact.contains(name)
                || (patterns.iter().any(|pattern| pattern.matches(name))
                    && !looks_secret(name)
                    && !steers_a_loader(name)
                    && !holds_password(value))
        };
        let mut kept: Vec<(OsString, OsString)> = vars
            .filter(|(name, value)| !self.env_set.contains_key(&*name.to_string_lossy()) && passes(name, value))
            .collect();
        let model = self.model.iter().filter(|_| !self.env_set.contains_key(MODEL));
        kept.extend(model.map(|model| (MODEL.into(), OsString::from(&model.value))));
        kept.extend(self.env_set.iter().map(|(name, value)| (name.into(), OsString::from(&value.value))));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_carried_to_the_agent() {
        use crate::config::{Config, Origin};
        use crate::layer::{Flags, Layer, LayerKind, compile};
        let text = "[profile.default]\nmodel = \"gpt-5.5\"\n";
        let config = Config::parse(text, &Origin::file("c.toml")).unwrap();
        let policy = compile(&[Layer::new(LayerKind::User, config)], None, &Flags::default()).unwrap();
        assert_eq!(policy.environment(std::iter::empty()), [("HOLDPOINT_MODEL".into(), "gpt-5.5".into())]);
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "npm_config__authtoken", "DB_PASS", "SSH_AUTH_SOCK"] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["PATH", "GIT_AUTHOR_NAME", "KEYBOARD_LAYOUT", "LANG", "COMPASS", "CARGO_HOME", "PWD"] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn the_common_form_of_a_pattern_matches_as_its_glob_does() {
        for text in ["LC_*", "*", "APP?_*", "{A,B}_*", "A[BC]*", "A*B*", "\\\\A*"] {
            let (pattern, glob) = (Pattern::new(text).unwrap(), glob(text).unwrap());
            for name in ["LC_ALL", "LC_", "LC", "", "APP1_X", "A_X", "AB", "AXBY", "\\A", "A\nB", "é"] {
                assert_eq!(pattern.matches(name), glob.is_match(name), "{text} {name:?}");
            }
        }
        assert!(matches!(Pattern::new("LC_*"), Some(Pattern::Start("LC_"))));
    }

    #[test]
    fn loaders_are_known_by_their_names() {
        for name in
            ["LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "GIT_CONFIG_COUNT", "PYTHONSTARTUP", "PERL5OPT"]
        {
            assert!(steers_a_loader(name), "{name}");
        }
        for name in ["LANG", "ENVIRONMENT", "PATH", "PS1"] {
            assert!(!steers_a_loader(name), "{name}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_a_secret_value() {
        assert!(holds_password(OsStr::new("postgres://app:pw@db.test/app")));
        assert!(!holds_password(OsStr::new("https://db.test:8080/a@b")));
    }

    #[test]
    fn nothing_built_in_is_a_secret_or_a_loader() {
        for name in INHERITED {
            assert!(!looks_secret(name) && !steers_a_loader(name), "{name}");
        }
    }
}
