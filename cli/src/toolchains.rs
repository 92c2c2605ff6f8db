//! Toolchains that live in a home directory, which a sandbox otherwise does not see.
//!
//! Programs, libraries and package sources only, with what was configured inside of them. Never the files that tools keep
//! credentials in: not `~/.cargo/config.toml` or `credentials.toml`, not `~/.npmrc`, `~/.netrc`, `~/.gitconfig` or anything
//! of `~/.config`. A profile that needs one of them names it in `readable_paths`; of git's the runtime gives what is harmless.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One toolchain: the variable that moves it, where it is by default, and what of it is shown (`.` is all of it).
struct Toolchain {
    variable: Option<&'static str>,
    home: &'static str,
    shown: &'static [&'static str],
}

const TOOLCHAINS: &[Toolchain] = &[
    Toolchain { variable: Some("CARGO_HOME"), home: ".cargo", shown: &["bin", "registry", "git", "env"] },
    Toolchain {
        variable: Some("RUSTUP_HOME"),
        home: ".rustup",
        shown: &["toolchains", "settings.toml", "update-hashes"],
    },
    Toolchain { variable: Some("PYENV_ROOT"), home: ".pyenv", shown: &["."] },
    Toolchain { variable: Some("NVM_DIR"), home: ".nvm", shown: &["versions", "alias", "nvm.sh", "bash_completion"] },
    Toolchain { variable: Some("VOLTA_HOME"), home: ".volta", shown: &["bin", "tools"] },
    Toolchain { variable: Some("GOPATH"), home: "go", shown: &["bin", "pkg/mod"] },
    Toolchain { variable: Some("GOROOT"), home: ".go", shown: &["bin", "lib", "pkg", "src"] },
    Toolchain { variable: Some("DENO_INSTALL"), home: ".deno", shown: &["bin"] },
    Toolchain { variable: Some("BUN_INSTALL"), home: ".bun", shown: &["bin"] },
    Toolchain { variable: None, home: ".rbenv", shown: &["bin", "shims", "versions", "libexec", "version"] },
    Toolchain { variable: None, home: ".sdkman", shown: &["candidates"] },
    Toolchain { variable: None, home: ".asdf", shown: &["bin", "shims", "installs", "plugins", "lib"] },
    Toolchain { variable: None, home: ".local/share/mise", shown: &["installs", "shims"] },
    Toolchain { variable: None, home: ".local/share/uv", shown: &["python", "tools"] },
    Toolchain { variable: None, home: ".local/bin", shown: &["."] },
    // What pip and npm install for one user.
    Toolchain { variable: None, home: ".local/lib", shown: &["."] },
    Toolchain { variable: Some("PIPX_HOME"), home: ".local/share/pipx", shown: PIPX },
    Toolchain { variable: None, home: ".local/pipx", shown: PIPX },
    Toolchain { variable: None, home: "miniconda3", shown: CONDA },
    Toolchain { variable: None, home: "anaconda3", shown: CONDA },
    Toolchain { variable: None, home: "miniforge3", shown: CONDA },
    Toolchain { variable: None, home: ".ghcup", shown: &["bin", "ghc"] },
];

const PIPX: &[&str] = &["venvs", "shared", "py"];

/// Not `.condarc`: the addresses of channels in it may hold tokens.
const CONDA: &[&str] = &["bin", "condabin", "envs", "etc", "include", "lib", "libexec", "share", "ssl", "conda-meta"];

/// What exists of the toolchains of this home, by its real path; `variable` looks up the environment.
pub(crate) fn find(home: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for toolchain in TOOLCHAINS {
        let moved =
            toolchain.variable.and_then(&variable).map(PathBuf::from).filter(|root| is_own_directory(root, home));
        let root = moved.unwrap_or_else(|| home.join(toolchain.home));
        if !root.exists() {
            continue;
        }
        let shown = toolchain.shown.iter().map(|part| if *part == "." { root.clone() } else { root.join(part) });
        found.extend(shown.filter(|path| path.exists()));
    }
    found
}

/// A variable may point anywhere, `/` included: what lies above the home directory would show everything.
fn is_own_directory(root: &Path, home: &Path) -> bool {
    root.is_absolute() && root.components().count() > 2 && !home.starts_with(root)
}

#[cfg(test)]
mod tests {
    use super::find;
    use std::path::Path;

    #[test]
    fn programs_are_shown_and_credentials_are_not() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let shown = [
            ".cargo/bin",
            ".cargo/registry",
            ".pyenv",
            ".local/lib",
            ".local/share/pipx/venvs",
            ".local/pipx/venvs",
            "miniconda3/bin",
            "miniconda3/envs",
            "anaconda3/lib",
            "miniforge3/lib",
        ];
        for dir in [".ssh", ".config/gh", ".local/share/keyrings", "miniconda3/pkgs"].iter().chain(&shown) {
            std::fs::create_dir_all(home.join(dir)).unwrap();
        }
        for file in [".cargo/credentials.toml", ".cargo/config.toml", ".npmrc", "miniconda3/.condarc"] {
            std::fs::write(home.join(file), "token").unwrap();
        }
        let found = find(home, |_| None);
        assert_eq!(found, shown.map(|path| home.join(path)));
    }

    #[test]
    fn a_variable_moves_a_toolchain_but_cannot_show_the_home_or_the_root() {
        let home = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(other.path().join("bin")).unwrap();
        let with = |root: &Path| find(home.path(), |name| (name == "PYENV_ROOT").then(|| root.into()));
        assert_eq!(with(other.path()), [other.path()]);
        for root in
            [home.path(), home.path().parent().unwrap(), Path::new("/"), Path::new("/etc"), Path::new("relative")]
        {
            assert_eq!(with(root), Vec::<std::path::PathBuf>::new(), "{root:?}");
        }
    }
}
