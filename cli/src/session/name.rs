//! What a session is called.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use holdpoint_approval_web::plan::Digest;

/// The longest name: with its ending it must fit into a socket's address.
const LONGEST: usize = 40;

/// A session's name: letters, digits, `-`, `_` and `.`, the first one a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name of a workspace's own session: what the directory is called, and some of the digest of where it is.
    #[must_use]
    pub fn of_workspace(root: &Path) -> Self {
        let called = root.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let word: String = called.chars().filter(plain).skip_while(|c| !c.is_ascii_alphanumeric()).take(24).collect();
        let digest = Digest::of(root.as_os_str().as_bytes()).to_string();
        let word = if word.is_empty() { "workspace".to_owned() } else { word };
        Self(format!("{word}-{}", &digest[..8]))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.chars().all(plain) && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("at most {LONGEST} letters, digits, `-`, `_` and `.`, beginning with a letter or digit"))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;
    use std::path::Path;

    #[test]
    fn a_name_is_a_plain_file_name() {
        for good in ["a", "9", "api-2.test_x", &"x".repeat(40)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "ä", "a\0", &"x".repeat(41)] {
            bad.parse::<Name>().unwrap_err();
        }
    }

    #[test]
    fn a_workspace_has_one_name_and_another_of_the_same_name_has_another() {
        let of = |path: &str| Name::of_workspace(Path::new(path));
        assert_eq!(of("/w/api"), of("/w/api"));
        assert_ne!(of("/w/api"), of("/v/api"));
        for path in ["/", "/w/..x", "/w/ -\u{1b}[2J", &format!("/{}", "long".repeat(50))] {
            assert_eq!(of(path).as_str().parse::<Name>(), Ok(of(path)), "{path}");
        }
    }
}
