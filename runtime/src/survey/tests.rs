//! The survey on real trees.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Denied, Protected, Request, StandIn, Survey, SurveyError, survey};

struct Tree {
    _directory: tempfile::TempDir,
    root: PathBuf,
}

impl Tree {
    fn new(files: &[&str]) -> Tree {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap().join("w");
        fs::create_dir(&root).unwrap();
        let tree = Tree { _directory: directory, root };
        for file in files {
            tree.file(file);
        }
        tree
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Where git finds a configuration of the user, if a test writes one.
    fn home(&self) -> PathBuf {
        self.root.with_file_name("home")
    }

    fn file(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, relative).unwrap();
        path
    }

    fn link(&self, target: impl AsRef<Path>, relative: &str) {
        fs::create_dir_all(self.path(relative).parent().unwrap()).unwrap();
        symlink(target, self.path(relative)).unwrap();
    }

    fn deny(&self, patterns: &[&str]) -> Survey {
        self.survey(patterns, &[], false).unwrap()
    }

    fn guard(&self, protect: &[&str]) -> Survey {
        self.survey(&[], protect, true).unwrap()
    }

    fn survey(&self, deny: &[&str], protect: &[&str], writable: bool) -> Result<Survey, SurveyError> {
        survey(&Request {
            workspace: Some(&self.root),
            writable,
            roots: &[],
            view: &[],
            deny: &denied(deny),
            protect: &strings(protect),
            home: Some(&self.home()),
            history: false,
        })
    }

    /// Masks relative to the root; a directory ends in `/`.
    fn masks(&self, survey: &Survey) -> BTreeSet<String> {
        let name = |mask: &super::Mask| {
            let path = mask.path.strip_prefix(&self.root).unwrap_or(&mask.path);
            format!("{}{}", path.display(), if mask.directory { "/" } else { "" })
        };
        survey.masks.iter().map(name).collect()
    }

    /// Protected paths relative to the root with a mark: `=` existing, `@` symlink, `+` absent directory, `-` absent file.
    fn protected(&self, survey: &Survey) -> BTreeSet<String> {
        let name = |entry: &Protected| {
            let mark = match entry {
                Protected::Existing { .. } => '=',
                Protected::Symlink { .. } => '@',
                Protected::Absent { stand_in: StandIn::Socket, .. } => '+',
                Protected::Absent { stand_in: StandIn::File(_), .. } => '-',
            };
            let path = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            format!("{mark}{}", path.display())
        };
        survey.protected.iter().map(name).collect()
    }

    fn pins(&self, survey: &Survey) -> Vec<String> {
        survey.pins.iter().map(|pin| pin.strip_prefix(&self.root).unwrap_or(pin).display().to_string()).collect()
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Patterns as a configuration has them: `!` takes back from all before it.
fn denied(texts: &[&str]) -> Vec<Denied> {
    let mut patterns: Vec<Denied> = Vec::new();
    for text in texts {
        match text.strip_prefix('!') {
            Some(exception) => patterns.iter_mut().for_each(|denied| denied.except.push(exception.to_owned())),
            None => patterns.push(Denied { pattern: (*text).to_owned(), except: Vec::new() }),
        }
    }
    patterns
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn git(directory: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_patterns_of_the_article_find_everything_at_every_depth() {
    let deep = "d/".repeat(60) + ".env";
    let tree = Tree::new(&[
        ".env",
        ".env.production",
        "src/main.rs",
        "secrets/prod.key",
        "a/b/secrets/x/y",
        "config/api_TOKEN.txt",
        "railway.json",
        ".railway/config.json",
        ".hidden/credentials.json",
        "target/ignored/.env",
        &deep,
        "readme",
    ]);
    fs::write(tree.path(".gitignore"), "target\n.env\n").unwrap();
    let survey =
        tree.deny(&["**/.env*", "**/secrets/**", "**/*token*", "**/*credential*", "**/railway.json", "**/.railway/**"]);
    let expected = [
        ".env",
        ".env.production",
        "secrets/",
        "a/b/secrets/",
        "config/api_TOKEN.txt",
        "railway.json",
        ".railway/",
        ".hidden/credentials.json",
        "target/ignored/.env",
        &deep,
    ];
    assert_eq!(tree.masks(&survey), set(&expected));
    assert!(survey.pins.is_empty(), "nothing can be renamed in a read-only workspace");
    assert!(!survey.directories.iter().any(|path| path.ends_with("secrets")));
    assert!(survey.directories.contains(&tree.path("target/ignored")));
}

#[test]
fn an_exception_leaves_readable_what_it_names_and_nothing_else() {
    let tree = Tree::new(&[".env", ".env.example", "a/.env.example", "a/.env.local", "b/.env.example"]);
    fs::hard_link(tree.path(".env"), tree.path("c.env.example")).unwrap();
    fs::remove_file(tree.path("b/.env.example")).unwrap();
    fs::hard_link(tree.path("a/.env.local"), tree.path("b/.env.example")).unwrap();
    let survey = tree.deny(&["**/.env*", "!**/.env.example"]);
    let expected = [".env", "a/.env.local", "c.env.example", "b/.env.example"];
    assert_eq!(tree.masks(&survey), set(&expected), "what is denied under one name is denied under each");
    // Another pattern is not loosened by it, wherever it stands.
    let survey = tree.deny(&["**/.env*", "!**/.env.example", "**/.env.*"]);
    assert!(tree.masks(&survey).contains("a/.env.example"));
    let survey = tree.deny(&["a/**", "!a/.env.example"]);
    assert_eq!(tree.masks(&survey), set(&["a/.env.local", "b/.env.example"]));
    tree.link(".env.example", "d/.env.link");
    tree.link("../.env.example", ".env.link");
    let survey = tree.deny(&["**/.env*", "!**/.env.example"]);
    assert!(!tree.masks(&survey).contains(".env.example"), "a link that leads nowhere denies nothing");
    tree.link("../.env.example", "d/.env.other");
    let survey = tree.deny(&["**/.env*", "!**/.env.example"]);
    assert!(tree.masks(&survey).contains(".env.example"), "the target of a denied link is denied");
}

#[test]
fn a_directory_with_an_exception_is_masked_entry_by_entry() {
    let files = ["s/README.md", "s/key", "s/deep/README.md", "s/deep/key", "s/pub/a", "s/pub/b/c", "s/other/x"];
    let tree = Tree::new(&files);
    for (patterns, expected) in [
        (&["s/**", "!s/README.md"][..], &["s/key", "s/deep/", "s/pub/", "s/other/"][..]),
        (&["s/**", "!**/README.md"], &["s/key", "s/deep/key", "s/pub/a", "s/pub/b/c", "s/other/x"]),
        (&["**/s/**", "!**/s/pub/**"], &["s/README.md", "s/key", "s/deep/README.md", "s/deep/key", "s/other/x"]),
        (&["s/", "!s/pub/b/c"], &["s/README.md", "s/key", "s/deep/", "s/other/", "s/pub/a"]),
        (&["s/**", "!s/*"], &[]),
        (&["s/**", "!s/pub", "s/pub/b"], &["s/README.md", "s/key", "s/deep/", "s/other/", "s/pub/b/"]),
        (&["**/key", "!s/key"], &["s/deep/key"]),
        (&["**/*e*", "!S/{KEY,DEEP/**}"], &["s/README.md", "s/other/"]),
    ] {
        let survey = tree.deny(patterns);
        assert_eq!(tree.masks(&survey), set(expected), "{patterns:?}");
    }
    let survey = tree.deny(&["s/**", "!s/README.md"]);
    assert!(survey.directories.contains(&tree.path("s")), "what appears in it later has to be seen");
    assert!(!survey.directories.contains(&tree.path("s/deep")));
    let absolute = tree.root.parent().unwrap().display().to_string();
    let survey = tree.deny(&[&format!("{absolute}/**"), &format!("!{absolute}/w/s/pub/**")]);
    assert!(tree.masks(&survey).contains("s/key") && !tree.masks(&survey).contains("s/pub/a"));
    tree.link("s", "alias");
    let survey = tree.deny(&["alias/**", "!alias/README.md"]);
    assert_eq!(tree.masks(&survey), set(&["s/key", "s/deep/", "s/pub/", "s/other/"]));
}

#[test]
fn every_name_of_a_denied_file_is_masked() {
    let tree = Tree::new(&[".env", "secrets/deep/key", "other"]);
    fs::create_dir(tree.path("data")).unwrap();
    fs::hard_link(tree.path(".env"), tree.path("data/innocent.txt")).unwrap();
    fs::hard_link(tree.path("secrets/deep/key"), tree.path("data/also.txt")).unwrap();
    fs::hard_link(tree.path("other"), tree.path("data/other.txt")).unwrap();
    let survey = tree.deny(&[".env", "secrets/"]);
    assert_eq!(tree.masks(&survey), set(&[".env", "data/also.txt", "data/innocent.txt", "secrets/"]));
}

#[test]
fn a_hard_link_of_a_file_denied_outside_is_masked_inside() {
    let tree = Tree::new(&["readme"]);
    let outside = tree.root.parent().unwrap().join("home/.ssh");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("id_rsa"), "key").unwrap();
    fs::hard_link(outside.join("id_rsa"), tree.path("copy")).unwrap();
    for pattern in [outside.join("**"), outside.join("id_*"), outside.join("id_rsa")] {
        let survey = tree.deny(&[pattern.to_str().unwrap()]);
        assert!(tree.masks(&survey).contains("copy"), "{pattern:?}");
    }
}

#[test]
fn a_symlink_with_a_denied_name_gives_away_nothing() {
    let tree = Tree::new(&["real/value", "real/key.pem", "store/.keep"]);
    tree.link("real/value", ".env");
    tree.link("../store", "x/secrets");
    tree.link("/nonexistent", ".env.dangling");
    tree.link("..", "up/secrets");
    tree.link("loop2", "loop1");
    tree.link("loop1", "loop2");
    tree.link(".env.loop", ".env.loop");
    let survey = tree.survey(&["**/.env*", "**/secrets/**"], &[], true).unwrap();
    assert_eq!(tree.masks(&survey), set(&["real/value", "store/"]));
    let protected = tree.protected(&survey);
    for pinned in ["@.env", "@x/secrets", "@.env.dangling", "@.env.loop", "@up/secrets"] {
        assert!(protected.contains(pinned), "{pinned} in {protected:?}");
    }
    assert!(survey.uncovered.iter().any(|warning| warning.contains("up/secrets")), "{:?}", survey.uncovered);
    assert!(!survey.directories.contains(&tree.path("store")));
}

#[test]
fn a_path_through_a_symlinked_directory_counts() {
    let tree = Tree::new(&["real/a.key", "real/a.txt", "real/sub/b.key", "lib/deep/x.pem", "lib/y.pem"]);
    tree.link("real", "secrets");
    tree.link("../lib", "src/link");
    tree.link(".", "lib/again");
    let survey = tree.deny(&["secrets/*.key", "src/**/*.pem"]);
    assert_eq!(tree.masks(&survey), set(&["real/a.key", "lib/deep/x.pem", "lib/y.pem"]));
}

#[test]
fn traps_in_a_workspace_stop_nothing() {
    let tree = Tree::new(&["plain"]);
    for name in [&b".env\nnewline"[..], b".env\xff\xfe", b"-rf", b".env\x1b[31m", b"*", b"$(touch pwned)", &[b'a'; 255]]
    {
        fs::write(tree.root.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    nix::unistd::mkfifo(&tree.path(".env.pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path(".env.sock")).unwrap();
    nix::unistd::mkfifo(&tree.path(".git"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let survey = tree.survey(&["**/.env*"], &[], true).unwrap();
    assert_eq!(survey.masks.len(), 5);
    assert!(survey.masks.iter().all(|mask| !mask.directory));
    assert!(survey.masks.iter().any(|mask| mask.path.as_os_str().as_bytes().ends_with(b".env\xff\xfe")));
}

#[test]
fn a_deep_tree_and_a_path_without_end_are_walked_or_hidden() {
    let tree = Tree::new(&[]);
    // Deeper than any path can say, made step by step.
    let build = |name: &str, depth: usize| {
        let mut at = super::walk::open_directory(&tree.root).unwrap();
        for _ in 0..depth {
            use nix::fcntl::{OFlag, openat};
            nix::sys::stat::mkdirat(&at, name, nix::sys::stat::Mode::S_IRWXU).unwrap();
            at = openat(&at, name, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty()).unwrap();
        }
        let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC;
        drop(nix::fcntl::openat(&at, ".env", flags, nix::sys::stat::Mode::S_IRUSR).unwrap());
    };
    build("d", 1_800);
    build(&"n".repeat(250), 40);
    let survey = tree.deny(&[".env"]);
    let (files, directories): (Vec<_>, Vec<_>) = survey.masks.iter().partition(|mask| !mask.directory);
    assert_eq!((files.len(), directories.len()), (1, 1), "{:?}", survey.warnings);
    assert!(files[0].path.ends_with("d/.env"));
    assert!(directories[0].path.as_os_str().len() < 4_096);
    let status = Command::new("rm").arg("-rf").arg(&tree.root).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_directory_nobody_can_list_is_hidden_as_a_whole() {
    let tree = Tree::new(&["locked/inner/.env", "shut/.env", "shut/sub/x"]);
    fs::set_permissions(tree.path("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(tree.path("shut"), fs::Permissions::from_mode(0o400)).unwrap();
    let survey = tree.deny(&[".env"]);
    fs::set_permissions(tree.path("locked"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(tree.path("shut"), fs::Permissions::from_mode(0o700)).unwrap();
    let expected = if nix::unistd::geteuid().is_root() {
        // Root lists everything, so nothing is guessed.
        set(&["locked/inner/.env", "shut/.env"])
    } else {
        set(&["locked/", "shut/"])
    };
    assert_eq!(tree.masks(&survey), expected);
}

#[test]
fn patterns_with_places_apply_there_only() {
    let tree = Tree::new(&["a/x.key", "b/x.key", "b/c/x.key", "deep/a/x.key"]);
    assert_eq!(tree.masks(&tree.deny(&["a/*.key"])), set(&["a/x.key"]));
    assert_eq!(tree.masks(&tree.deny(&["b/**/*.KEY"])), set(&["b/c/x.key", "b/x.key"]));
    assert_eq!(tree.masks(&tree.deny(&["{a,b/c}/x.*"])), set(&["a/x.key", "b/c/x.key"]));
    let absolute = format!("{}/**/a/x.key", tree.root.display());
    assert_eq!(tree.masks(&tree.deny(&[&absolute])), set(&["a/x.key", "deep/a/x.key"]));
}

#[test]
fn what_denies_the_workspace_or_means_nothing_is_an_error_that_names_it() {
    let tree = Tree::new(&["x"]);
    for pattern in
        [tree.root.display().to_string(), format!("{}/**", tree.root.parent().unwrap().display()), "a[".into()]
    {
        let error = tree.survey(&[&pattern], &[], false).unwrap_err();
        assert!(error.to_string().contains(&pattern), "{error}");
    }
    let linked = tree.root.parent().unwrap().join("linked");
    symlink(&tree.root, &linked).unwrap();
    let request = Request {
        workspace: Some(&linked),
        writable: false,
        roots: &[],
        view: &[],
        deny: &[],
        protect: &[],
        home: None,
        history: false,
    };
    assert!(matches!(survey(&request), Err(SurveyError::Root { .. })));
}

#[test]
fn other_roots_are_searched_and_a_denied_single_file_stays_denied() {
    let tree = Tree::new(&["x"]);
    let other = tree.root.parent().unwrap().join("other");
    fs::create_dir_all(other.join("deep")).unwrap();
    fs::write(other.join("deep/.env"), "x").unwrap();
    let file = tree.root.parent().unwrap().join(".env.single");
    fs::write(&file, "x").unwrap();
    let survey = survey(&Request {
        workspace: Some(&tree.root),
        writable: true,
        roots: &[other.clone(), file.clone()],
        view: &[],
        deny: &denied(&["**/.env*"]),
        protect: &[],
        home: None,
        history: false,
    })
    .unwrap();
    let paths: Vec<_> = survey.masks.iter().map(|mask| mask.path.clone()).collect();
    assert_eq!(paths, [file, other.join("deep/.env")]);
    assert_eq!(survey.pins, [other.join("deep")]);
}

#[test]
fn root_names_are_protected_whether_or_not_they_exist() {
    let tree = Tree::new(&["AGENTS.md", ".codex/config.toml", ".mcp.json"]);
    tree.link("elsewhere/claude", ".claude");
    tree.link("other", ".vscode");
    tree.link("/etc", ".zed");
    fs::create_dir(tree.path("other")).unwrap();
    let survey = tree.guard(&[]);
    let expected = [
        "=.codex",
        "=.mcp.json",
        "=AGENTS.md",
        "=other",
        "+.agents",
        "+.cursor",
        "+.devcontainer",
        "+.devcontainer.json",
        "+.envrc",
        "+.gemini",
        "+.git",
        "+.holdpoint",
        "+.idea",
        "+AGENTS.override.md",
        "+CLAUDE.md",
        "+HEAD",
        "@.claude",
        "@.vscode",
        "@.zed",
        "+elsewhere",
    ];
    assert_eq!(tree.protected(&survey), set(&expected));
    assert!(survey.warnings.iter().any(|warning| warning.contains("git init")));
    let read_only = tree.survey(&[], &[], false).unwrap();
    assert!(read_only.protected.is_empty());
}

#[test]
fn names_below_the_root_are_protected_where_they_exist() {
    let tree = Tree::new(&["sub/AGENTS.md", "a/b/.holdpoint/x", "sub/.claude/settings.json"]);
    let survey = tree.guard(&[]);
    let protected = tree.protected(&survey);
    for name in ["=sub/AGENTS.md", "=a/b/.holdpoint", "=sub/.claude"] {
        assert!(protected.contains(name), "{name} in {protected:?}");
    }
    assert_eq!(tree.pins(&survey), ["a", "a/b", "sub"]);
}

#[test]
fn what_packages_bring_along_is_protected_where_it_decides_over_git_and_policy() {
    for packages in ["node_modules", "vendor", ".venv/lib/python3.13/site-packages", "lib/dist-packages"] {
        let tree = Tree::new(&[]);
        for file in ["AGENTS.md", "deep/CLAUDE.md", ".vscode/x", ".claude/x", ".envrc", "p/.holdpoint/x"] {
            tree.file(&format!("{packages}/p/{file}"));
        }
        tree.file(&format!("{packages}/q/.git/config"));
        let survey = tree.guard(&[]);
        let protected = tree.protected(&survey);
        let named = |name: &&String| name.starts_with(&format!("={packages}/p"));
        assert_eq!(protected.iter().filter(named).collect::<Vec<_>>(), [&format!("={packages}/p/p/.holdpoint")]);
        assert!(protected.contains(&format!("={packages}/q/.git/config")), "{protected:?}");
        // Who wants more says so.
        let survey = tree.guard(&["**/AGENTS.md"]);
        assert!(tree.protected(&survey).contains(&format!("={packages}/p/AGENTS.md")));
    }
}

#[test]
fn a_workspace_among_packages_is_somebodys_work() {
    let tree = Tree::new(&["node_modules/p/sub/AGENTS.md", "node_modules/p/nested/.git/config"]);
    let root = tree.root.join("node_modules/p");
    let inner = Tree { _directory: tempfile::tempdir().unwrap(), root: root.clone() };
    let protected = inner.guard(&[]).protected;
    for name in ["sub/AGENTS.md", "nested/.envrc"] {
        assert!(protected.iter().any(|entry| entry.path() == root.join(name)), "{name}");
    }
}

#[test]
fn nested_repositories_keep_what_does_not_exist_and_too_many_are_said() {
    let tree = Tree::new(&["node_modules/p/.git/config", "plain/x"]);
    let nested = |number: usize| format!("nested/{number:03}");
    (0..100).for_each(|number| drop(tree.file(&format!("{}/.git/config", nested(number)))));
    let survey = tree.guard(&[]);
    let protected = tree.protected(&survey);
    for name in [".envrc", "CLAUDE.md", ".vscode", "refs"] {
        assert!((0..100).all(|number| protected.contains(&format!("+{}/{name}", nested(number)))), "{name}");
        assert!(!protected.contains(&format!("+plain/{name}")), "{name}");
        assert!(!protected.contains(&format!("+node_modules/p/{name}")), "{name}");
    }
    assert!(!survey.warnings.iter().any(|warning| warning.contains("repositories")), "{:?}", survey.warnings);
    // The deepest are left out first.
    tree.file("nested/000/deep/.git/config");
    let survey = tree.guard(&[]);
    assert!(survey.warnings.iter().any(|warning| warning.contains("101 repositories")), "{:?}", survey.warnings);
    let protected = tree.protected(&survey);
    assert!(protected.contains("+nested/099/.envrc") && !protected.contains("+nested/000/deep/.envrc"));
    assert!(protected.contains("=nested/000/deep/.git/config"));
}

#[test]
fn a_repository_keeps_what_makes_git_run_programs() {
    let tree = Tree::new(&["file"]);
    git(&tree.root, &["init", "-q"]);
    git(&tree.root, &["config", "core.hooksPath", ".husky/_"]);
    git(&tree.root, &["config", "include.path", "../tools/git.inc"]);
    tree.file("tools/git.inc");
    tree.file("vendor/sub/x");
    git(&tree.path("vendor/sub"), &["init", "-q"]);
    fs::remove_dir_all(tree.path("vendor/sub/.git/hooks")).ok();
    fs::create_dir_all(tree.path("bare.git")).unwrap();
    git(&tree.path("bare.git"), &["init", "-q", "--bare"]);
    let survey = tree.guard(&[]);
    let protected = tree.protected(&survey);
    for name in [
        "=.git/hooks",
        "=.git/config",
        "-.git/config.worktree",
        "-.git/commondir",
        "+.husky",
        "=tools/git.inc",
        "+refs",
        "+vendor/sub/.git/hooks",
        "=vendor/sub/.git/config",
        "-vendor/sub/.git/config.worktree",
        "-vendor/sub/.git/commondir",
        "=bare.git/config",
        "=bare.git/hooks",
    ] {
        assert!(protected.contains(name), "{name} in {protected:?}");
    }
    assert!(!protected.contains("+.git"));
    assert_eq!(tree.pins(&survey), [".git", "bare.git", "tools", "vendor", "vendor/sub", "vendor/sub/.git"]);
    assert!(survey.git_dirs.is_empty());
}

#[test]
fn worktrees_and_submodules_inside_are_protected_behind_their_git_file() {
    let tree = Tree::new(&["file"]);
    git(&tree.root, &["init", "-q"]);
    git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(&tree.root, &["worktree", "add", "-q", "wt"]);
    let origin = tree.root.parent().unwrap().join("origin");
    fs::create_dir(&origin).unwrap();
    git(&origin, &["init", "-q"]);
    git(&origin, &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(&tree.root, &["submodule", "--quiet", "add", origin.to_str().unwrap(), "lib/deep"]);
    let protected = tree.protected(&tree.guard(&[]));
    for name in [
        "=wt/.git",
        "=.git/worktrees/wt/commondir",
        "=.git/worktrees/wt/gitdir",
        "-.git/worktrees/wt/config.worktree",
        "=lib/deep/.git",
        "=.git/modules/lib/deep/config",
        "=.git/modules/lib/deep/hooks",
        "-.git/modules/lib/deep/commondir",
    ] {
        assert!(protected.contains(name), "{name} in {protected:?}");
    }
}

#[test]
fn the_workspaces_own_git_directory_elsewhere_is_shown_only_when_it_agrees() {
    let tree = Tree::new(&[]);
    let main = tree.root.parent().unwrap().join("main");
    fs::create_dir(&main).unwrap();
    git(&main, &["init", "-q"]);
    git(&main, &["commit", "-q", "--allow-empty", "-m", "x"]);
    fs::remove_dir(&tree.root).unwrap();
    git(&main, &["worktree", "add", "-q", tree.root.to_str().unwrap()]);
    // What an earlier run took apart, and what it put around it.
    for path in
        [".git/modules/lib/deep", ".git/worktrees/other/modules/lib", ".git/worktrees/other/modules/lib/modules/x"]
    {
        git(&main, &["init", "-q", "--bare", path]);
    }
    for part in ["HEAD", "objects", "refs"] {
        fs::rename(main.join(".git/modules/lib/deep").join(part), main.join(".git/modules/lib").join(part)).unwrap();
    }
    fs::write(main.join(".git/worktrees/other/commondir"), "../..").unwrap();
    assert_eq!(tree.deny(&[]).git_dirs, [main.join(".git")]);
    let survey = tree.guard(&[]);
    assert_eq!(survey.git_dirs, [main.join(".git")]);
    let protected = tree.protected(&survey);
    let elsewhere = |mark: char, name: &str| format!("{mark}{}", main.join(".git").join(name).display());
    assert!(protected.contains(&elsewhere('=', "hooks")), "{protected:?}");
    assert!(protected.contains(&elsewhere('=', "config")));
    for name in [
        "worktrees/w/commondir",
        "worktrees/other/commondir",
        "worktrees/other/modules/lib/config",
        "worktrees/other/modules/lib/modules/x/config",
        "modules/lib/deep/config",
    ] {
        assert!(protected.contains(&elsewhere('=', name)), "{name} in {protected:?}");
    }
    assert!(protected.contains("=.git"));
    assert!(survey.pins.contains(&main.join(".git/worktrees/w")));

    // A worktree in a bare repository. It names the tree back, and would show it again.
    let bare = tree.root.with_file_name("bare.git");
    git(tree.root.parent().unwrap(), &["clone", "-q", "--bare", "main", "bare.git"]);
    git(&bare, &["worktree", "add", "-q", "tree"]);
    let request = Request {
        workspace: Some(&bare.join("tree")),
        writable: true,
        roots: &[],
        view: &[],
        deny: &[],
        protect: &[],
        home: None,
        history: false,
    };
    let inside = super::survey(&request).unwrap();
    assert!(inside.git_dirs.is_empty());
    assert!(inside.warnings.iter().any(|warning| warning.contains("lies in its own git directory")), "{inside:?}");

    // A `.git` file written by somebody who wants to see another directory.
    let victim = tree.root.parent().unwrap().join("victim");
    fs::create_dir(&victim).unwrap();
    git(&victim, &["init", "-q"]);
    for target in [victim.join(".git"), PathBuf::from("/etc"), main.join(".git")] {
        fs::write(tree.path(".git"), format!("gitdir: {}\n", target.display())).unwrap();
        let survey = tree.guard(&[]);
        assert!(survey.git_dirs.is_empty(), "{target:?}");
        assert!(!survey.warnings.is_empty());
    }
}

#[test]
fn paths_the_user_adds_are_kept_existing_or_not() {
    let tree = Tree::new(&["Makefile", "ci/a.yml", "ci/b.txt"]);
    let survey = tree.guard(&["Makefile", "not/yet", "ci/*.yml"]);
    let protected = tree.protected(&survey);
    for name in ["=Makefile", "+not", "=ci/a.yml"] {
        assert!(protected.contains(name), "{name} in {protected:?}");
    }
    assert!(!protected.contains("=ci/b.txt"));
    for wrong in ["../x", ".", ""] {
        assert!(tree.survey(&[], &[wrong], true).is_err(), "{wrong:?}");
    }
}

#[test]
fn masks_and_protected_names_are_pinned_and_do_not_repeat() {
    let tree = Tree::new(&["a/b/.env", "a/secrets/AGENTS.md", ".claude/x/.env", "c/.env"]);
    let survey = tree.survey(&["**/.env", "**/secrets/**"], &["a/secrets/AGENTS.md"], true).unwrap();
    assert_eq!(tree.masks(&survey), set(&["a/b/.env", "a/secrets/", ".claude/x/.env", "c/.env"]));
    assert_eq!(tree.pins(&survey), ["a", "a/b", "c"], "nothing in the read-only `.claude` needs a pin");
    assert!(!tree.protected(&survey).contains("=a/secrets/AGENTS.md"));
}

#[test]
fn a_tracked_secret_is_called_out() {
    let tree = Tree::new(&[".env", "src/token.txt", "src/main.rs"]);
    git(&tree.root, &["init", "-q"]);
    for version in ["2", "4"] {
        git(&tree.root, &["update-index", "--index-version", version]);
        git(&tree.root, &["add", "-f", "."]);
        let survey = tree.deny(&["**/*token*", "**/.env"]);
        let warning = survey.uncovered.iter().find(|warning| warning.contains("tracked by git")).unwrap();
        assert!(
            warning.contains(".env") && warning.contains("src/token.txt") && !warning.contains("main.rs"),
            "{warning}"
        );
    }
    assert!(tree.deny(&["**/nothing"]).uncovered.is_empty());
}

#[test]
fn tracked_files_of_a_denied_directory_are_counted_and_its_neighbours_are_not() {
    let tree =
        Tree::new(&["d/.env", "d/x", "secrets/a", "secrets/deep/b", "secrets-not/c", "secrets.txt", "z/.env", "z/y"]);
    git(&tree.root, &["init", "-q"]);
    git(&tree.root, &["add", "-f", "."]);
    let survey = tree.deny(&["secrets/", "**/.env"]);
    let warning = survey.uncovered.iter().find(|warning| warning.contains("tracked by git")).unwrap();
    assert!(warning.contains(": d/.env, secrets/a, secrets/deep/b and 1 more;"), "{warning}");
}

#[test]
fn branch_names_are_no_files_of_the_user() {
    let tree = Tree::new(&["x"]);
    git(&tree.root, &["init", "-q"]);
    git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(&tree.root, &["branch", "fix-token"]);
    tree.file(".git/token-store");
    let survey = tree.deny(&["**/*token*"]);
    assert_eq!(tree.masks(&survey), set(&[".git/token-store"]));
    // Nor those of submodules, whatever their names, nor of linked worktrees.
    submodule(&tree, "logs/deep");
    git(&tree.root, &["worktree", "add", "-q", "wt", "-b", "other-token"]);
    for tree in [tree.path("logs/deep"), tree.path("wt")] {
        git(&tree, &["commit", "-q", "--allow-empty", "-m", "x"]);
        git(&tree, &["branch", "my-token"]);
        git(&tree, &["update-ref", "refs/worktree/token", "HEAD"]);
    }
    let survey = tree.deny(&["**/*token*"]);
    assert_eq!(tree.masks(&survey), set(&[".git/token-store"]));
}

/// Adds a submodule of this name, with one commit.
fn submodule(tree: &Tree, name: &str) {
    let origin = tree.root.with_file_name("origin");
    if !origin.exists() {
        fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "-q"]);
        git(&origin, &["commit", "-q", "--allow-empty", "-m", "x"]);
    }
    git(&tree.root, &["submodule", "--quiet", "add", origin.to_str().unwrap(), name]);
}

#[test]
fn a_tree_kept_in_a_git_directory_is_a_tree() {
    let tree = Tree::new(&["logs/.env"]);
    git(&tree.root, &["init", "-q"]);
    git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "x"]);
    submodule(&tree, "lib/deep");
    let places = [".git/wt/feature", ".git/modules/lib/deep/wt/feature", ".git/modules/lib/feature"];
    for place in places {
        git(&tree.root, &["worktree", "add", "-q", place, "-b", &place.replace(".git/", "").replace("/", "-")]);
        for file in ["logs/.env", "refs/.env", "worktrees/logs/.env"] {
            tree.file(&format!("{place}/{file}"));
        }
    }
    let masks = tree.masks(&tree.deny(&["**/.env"]));
    for place in places {
        for file in ["logs/.env", "refs/.env", "worktrees/logs/.env"] {
            assert!(masks.contains(&format!("{place}/{file}")), "{place}/{file} in {masks:?}");
        }
    }
    assert!(masks.contains("logs/.env"));
}

#[test]
fn what_another_run_reserves_stays_absent_here() {
    let tree = Tree::new(&["x"]);
    let names = |survey: &Survey| -> Vec<(PathBuf, Option<&'static str>)> {
        let absent = |entry: &Protected| match entry {
            Protected::Absent { path, stand_in: StandIn::Socket } => Some((path.clone(), None)),
            Protected::Absent { path, stand_in: StandIn::File(content) } => Some((path.clone(), Some(*content))),
            _ => None,
        };
        survey.protected.iter().filter_map(absent).collect()
    };
    for repository in [false, true] {
        if repository {
            git(&tree.root, &["init", "-q"]);
            git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "x"]);
        }
        let before = tree.guard(&["not/there"]);
        let absent = names(&before);
        let held = crate::reserve::lock(absent.iter().map(|(path, content)| (path.as_path(), *content))).unwrap();
        crate::reserve::create(&held).unwrap();
        if repository {
            git(&tree.root, &["status"]);
            git(&tree.root, &["diff", "HEAD"]);
            git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "y"]);
            git(&tree.root, &["gc", "-q"]);
        }
        let during = tree.guard(&["not/there"]);
        assert_eq!(names(&during), absent);
        assert_eq!(during.protected, before.protected);
        crate::reserve::release(&held);
        assert_eq!(tree.guard(&["not/there"]).protected, before.protected);
    }
}
