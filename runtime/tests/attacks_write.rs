//! Ways to change what must stay as it is: files outside, protected names existing or not, denied files, the repository's
//! hooks and configuration. Each is shown to work without a sandbox, and to fail in one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use arena::{Arena, leaves_untouched, shows_nothing_of, write};

/// The content of files outside of the workspace, and their names.
fn outside(arena: &Arena) -> String {
    let mut seen = String::new();
    for directory in [&arena.outside, &arena.outside.join("dir"), &arena.home.join(".ssh"), &arena.home] {
        let mut names: Vec<_> =
            fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for name in names {
            let text = if name.is_file() { fs::read_to_string(&name).unwrap_or_default() } else { String::new() };
            seen += &format!("{:?}={text} ", name.file_name().unwrap());
        }
    }
    seen
}

#[track_caller]
fn keeps(paths: &[&str], scripts: &[&str]) {
    for script in scripts {
        leaves_untouched(script, |arena| {
            let state = |path: &&str| {
                let path = arena.path(path);
                let kind = path.symlink_metadata().map(|found| format!("{:?}", found.file_type()));
                let kind = kind.ok();
                format!("{kind:?} {}", fs::read_to_string(&path).unwrap_or_default())
            };
            paths.iter().map(state).collect()
        });
    }
}

#[test]
fn files_outside_of_the_workspace() {
    for script in [
        "echo pwned > \"$OUT/victim.txt\"",
        "echo x > \"$OUT/planted\"",
        "mkdir \"$OUT/planted\"",
        "rm -f \"$OUT/victim.txt\"",
        "rm -rf \"$OUT/dir\"",
        "mv \"$OUT/victim.txt\" here",
        "echo x >> link-outside/victim.txt",
        "cp README.md link-outside/",
        "ln -s \"$OUT\" out; echo x > out/victim.txt",
        "ln \"$OUT/victim.txt\" in; echo x >> in",
        "echo x >> ~/.bashrc",
        "echo x > ../.ssh/authorized_keys",
        "echo x > /proc/self/root\"$OUT\"/victim.txt",
        "truncate -s 0 \"$OUT/victim.txt\"",
        "mkfifo \"$OUT/fifo\"",
        "find ~ -maxdepth 2 -name id_rsa -delete",
    ] {
        leaves_untouched(script, outside);
    }
}

#[test]
fn what_is_not_the_content_of_a_file_outside() {
    let look = |arena: &Arena| {
        let status = fs::metadata(arena.outside.join("victim.txt")).unwrap();
        format!("{:o} {} {}", status.mode(), status.uid(), status.mtime() > 1_000_000_000)
    };
    for script in ["chmod 777 \"$OUT/victim.txt\"", "touch -d @1000 \"$OUT/victim.txt\""] {
        leaves_untouched(script, look);
    }
    shows_nothing_of("./attack flags \"$OUT/victim.txt\"", |output, _| output.contains("flags changed"));
}

#[test]
fn descriptors_the_caller_left_open() {
    let arena = Arena::new();
    let directory = fs::File::open(&arena.outside).unwrap();
    nix::fcntl::fcntl(&directory, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let script = "for n in $(ls /proc/self/fd); do echo pwned > /proc/self/fd/$n/planted; done";
    arena.bare(script);
    assert!(arena.outside.join("planted").exists());
    fs::remove_file(arena.outside.join("planted")).unwrap();
    let sandbox = arena.start();
    arena.inside(&sandbox, script);
    assert!(!arena.outside.join("planted").exists());
}

#[test]
fn shared_memory_and_tmp_of_the_host() {
    let name = format!("holdpoint-test-{}", std::process::id());
    for place in ["/dev/shm", "/tmp", "/var/tmp"] {
        let victim = Path::new(place).join(&name);
        if fs::write(&victim, "untouched").is_err() {
            continue;
        }
        let arena = Arena::new();
        let script = format!("echo pwned > {}", victim.display());
        arena.bare(&script);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "pwned\n");
        fs::write(&victim, "untouched").unwrap();
        let sandbox = arena.start();
        arena.inside(&sandbox, &script);
        let after = fs::read_to_string(&victim).unwrap();
        fs::remove_file(&victim).unwrap();
        assert_eq!(after, "untouched", "{place}");
    }
}

#[test]
fn settings_of_the_kernel() {
    let knobs = "/proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/overcommit_memory /proc/sysrq-trigger \
                 /sys/kernel/uevent_helper /proc/sys/kernel/modprobe /proc/sys/user/max_user_namespaces";
    let script = format!("for k in {knobs}; do (exec 3>>$k) && echo OPENED $k; done");
    let arena = Arena::new();
    if nix::unistd::geteuid().is_root() {
        assert!(arena.bare(&script).contains("OPENED"));
    }
    let sandbox = arena.start();
    let output = arena.inside(&sandbox, &script);
    assert!(!output.contains("OPENED"), "{output}");
}

#[test]
fn what_the_kernel_tells_root_of_its_memory() {
    let script =
        "for f in kpageflags kpagecount kpagecgroup slabinfo; do head -c 8 /proc/$f | grep -q . && echo READ $f; done";
    let arena = Arena::new();
    if nix::unistd::geteuid().is_root() {
        assert!(arena.bare(script).contains("READ"));
    }
    let sandbox = arena.start();
    let output = arena.inside(&sandbox, script);
    assert!(!output.contains("READ"), "{output}");
}

#[test]
fn directories_of_the_system() {
    let arena = Arena::new();
    let sandbox = arena.start();
    let name = format!("holdpoint-test-{}", std::process::id());
    let places = ["/etc", "/usr/bin", "/usr/lib", "/opt", "/etc/profile.d", "/var/spool/cron"];
    for place in places {
        arena.inside(&sandbox, &format!("echo x > {place}/{name}"));
        assert!(!Path::new(place).join(&name).exists(), "{place}");
    }
}

#[test]
fn hooks_and_configuration_of_the_repository() {
    keeps(
        &[".git/hooks/pre-commit", ".git/hooks/README", ".git/config", ".git/config.worktree", ".git/commondir"],
        &[
            "echo x > .git/hooks/pre-commit",
            "rm -rf .git/hooks; mkdir .git/hooks; echo x > .git/hooks/pre-commit",
            "mv .git/hooks .git/h; mkdir .git/hooks; echo x > .git/hooks/pre-commit",
            "ln -s ../../src .git/hooks/pre-commit",
            "git config core.fsmonitor ./evil",
            "echo x >> .git/config",
            "echo x > c; mv -f c .git/config",
            "ln -sf ../src/main.rs .git/config",
            "echo x > .git/config.worktree",
            "git config --worktree core.editor evil; cp .git/config .git/config.worktree",
            "mkdir evil; echo ../evil > .git/commondir",
            "./attack exchange .git/hooks src; echo x > .git/hooks/pre-commit",
            "mv .git .old; cp -a .old .git; echo x > .git/hooks/pre-commit",
            "mv .git .old; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
            "./attack exchange .git src; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
            "rm -rf .git; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
        ],
    );
}

#[test]
fn a_commit_still_works_and_leaves_nothing() {
    let arena = Arena::new();
    let before = arena.names();
    let sandbox = arena.start();
    let output = arena.inside(
        &sandbox,
        "export GIT_CONFIG_GLOBAL=/dev/null; g='git -c safe.directory=* -c user.name=a -c user.email=a@b'; \
         $g add README.md src && $g commit -qm message && $g status --porcelain && $g diff HEAD && $g reset -q HEAD && $g checkout -qb other && $g gc -q && \
         $g worktree list && $g log --oneline && echo COMMITTED",
    );
    assert!(output.contains("COMMITTED"), "{output}");
    drop(sandbox);
    assert_eq!(arena.names(), before);
    assert!(arena.git(&arena.workspace, &["log", "--oneline"]).contains("message"));
    for absent in [".git/config.worktree", ".git/commondir"] {
        assert!(!arena.path(absent).exists(), "{absent}");
    }
}

#[test]
fn nested_repositories() {
    keeps(
        &[
            "vendor/sub/.git/hooks/post-checkout",
            "vendor/sub/.git/config",
            "vendor/sub/.git/commondir",
            "vendor/sub/.git/config.worktree",
        ],
        &[
            "echo x > vendor/sub/.git/hooks/post-checkout",
            "echo x >> vendor/sub/.git/config",
            "echo ../.. > vendor/sub/.git/commondir",
            "echo x > vendor/sub/.git/config.worktree",
            "mv vendor v; cp -a v vendor; echo x > vendor/sub/.git/config",
            "mv vendor/sub vendor/s; cp -a vendor/s vendor/sub; echo x > vendor/sub/.git/config",
            "rm -rf vendor",
        ],
    );
}

/// What git takes a directory for a repository by can be renamed. Whoever comes after must not find the rest of it open.
#[test]
fn a_git_directory_that_an_earlier_run_took_apart() {
    let directories = ["bare.git", ".git/modules/lib/deep", ".git/worktrees/tree"];
    let build = || {
        let arena = Arena::new();
        for directory in &directories[..2] {
            arena.git(&arena.workspace, &["init", "-q", "--bare", directory]);
        }
        // Around the name of a submodule, what looks like another.
        arena.bare("mkdir -p .git/modules/lib/objects .git/modules/lib/refs; cp .git/HEAD .git/modules/lib/");
        arena.git(&arena.workspace, &["commit", "-q", "--allow-empty", "-m", "x"]);
        arena.git(&arena.workspace, &["worktree", "add", "-q", arena.outside.join("tree").to_str().unwrap()]);
        arena
    };
    let obeyed = [
        "bare.git/config",
        "bare.git/hooks/post-index-change",
        "bare.git/commondir",
        ".git/modules/lib/deep/config",
        ".git/modules/lib/deep/hooks/post-index-change",
        ".git/modules/lib/deep/commondir",
        ".git/worktrees/tree/commondir",
        ".git/worktrees/tree/config.worktree",
    ];
    let look = |arena: &Arena| obeyed.iter().map(|path| format!("{path}: {} ", arena.read(path))).collect::<String>();
    let write = obeyed.iter().map(|path| format!("echo evil >> {path}; ")).collect::<String>();
    for (apart, together) in [
        ("mv HEAD H", "mv H HEAD"),
        ("chmod 1444 HEAD", "true"),
        ("mv objects o", "mv o objects"),
        ("mv HEAD H; mv refs r; mv objects o", "mv H HEAD; mv r refs; mv o objects"),
    ] {
        let everywhere = |script: &str| directories.map(|directory| format!("(cd {directory} && {script}); ")).concat();
        let arena = build();
        arena.bare(&everywhere(apart));
        arena.bare(&(write.clone() + &everywhere(together)));
        assert!(obeyed.iter().all(|path| arena.read(path).contains("evil")), "{}", look(&arena));

        let arena = build();
        let before = look(&arena);
        arena.inside(&arena.start(), &everywhere(apart));
        let output = arena.inside(&arena.start(), &(write.clone() + &everywhere(together)));
        assert_eq!(look(&arena), before, "{apart}: {output}");
    }
}

/// A configuration can name hooks, further files and a program anywhere: for each tree of a repository, below `~`, and in the
/// user's own configuration, which holds in all of them.
#[test]
fn what_a_configuration_leads_to() {
    let led = [
        ".githooks/pre-commit",
        "linked/.githooks/pre-commit",
        "lib/.subhooks/pre-commit",
        "vendor/sub/hooks-of-sub/pre-commit",
        "vendor/sub/hooks-of-all/pre-commit",
        "included/by-tilde",
        "included/by-user",
        "dotfiles/gitconfig",
        "tools/monitor",
    ];
    let build = || {
        let arena = Arena::new();
        led.iter().for_each(|path| write(&arena.path(path), ""));
        fs::write(
            arena.path("dotfiles/gitconfig"),
            "[core]\n\thooksPath = hooks-of-all\n[include]\n\tpath = ~/work/included/by-user\n",
        )
        .unwrap();
        symlink("work/dotfiles/gitconfig", arena.home.join(".gitconfig")).unwrap();
        let origin = arena.outside.join("origin");
        fs::create_dir(&origin).unwrap();
        for tree in [&origin, &arena.workspace] {
            arena.git(tree, &["init", "-q"]);
            arena.git(tree, &["commit", "-q", "--allow-empty", "-m", "x"]);
        }
        fs::remove_dir_all(arena.path("lib")).unwrap();
        let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", origin.to_str().unwrap(), "lib"];
        arena.git(&arena.workspace, &add);
        write(&arena.path("lib/.subhooks/pre-commit"), "");
        fs::remove_dir_all(arena.path("linked")).unwrap();
        arena.git(&arena.workspace, &["worktree", "add", "-q", "linked"]);
        write(&arena.path("linked/.githooks/pre-commit"), "");
        for (tree, key, value) in [
            ("", "core.hooksPath", ".githooks"),
            ("", "core.fsmonitor", "tools/monitor --quick"),
            ("", "include.path", "~/work/included/by-tilde"),
            ("lib", "core.hooksPath", ".subhooks"),
            ("vendor/sub", "core.hooksPath", "~/work/vendor/sub/hooks-of-sub"),
        ] {
            arena.git(&arena.path(tree), &["config", key, value]);
        }
        arena
    };
    let look = |arena: &Arena| led.map(|path| format!("{path}: {} ", arena.read(path).contains("evil"))).concat();
    let script = led.map(|path| format!("echo evil >> {path}; ")).concat();
    let arena = build();
    arena.bare(&script);
    assert!(!look(&arena).contains("false"), "{}", look(&arena));
    let arena = build();
    let output = arena.inside(&arena.start(), &script);
    assert!(!look(&arena).contains("true"), "{}{output}", look(&arena));
}

#[test]
fn the_git_directory_of_a_worktree_elsewhere() {
    for script in [
        "echo x > ../main/.git/hooks/pre-commit",
        "echo x >> ../main/.git/config",
        "echo ../../evil > ../main/.git/worktrees/work/commondir",
        "echo 'gitdir: /elsewhere' > .git",
        "rm .git; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
        "mv ../main/.git/worktrees ../main/.git/w; cp -a ../main/.git/w ../main/.git/worktrees; echo x > ../main/.git/worktrees/work/commondir",
    ] {
        let build = || {
            let arena = Arena::new();
            let main = arena.home.join("main");
            fs::create_dir(&main).unwrap();
            arena.git(&main, &["init", "-q"]);
            arena.git(&main, &["commit", "-q", "--allow-empty", "-m", "x"]);
            fs::create_dir_all(main.join(".git/hooks")).unwrap();
            fs::remove_dir_all(&arena.workspace).unwrap();
            arena.git(&main, &["worktree", "add", "-q", arena.workspace.to_str().unwrap()]);
            arena
        };
        let look = |arena: &Arena| {
            let main = arena.home.join("main/.git");
            let files = ["hooks/pre-commit", "config", "worktrees/work/commondir"].map(|name| main.join(name));
            let own = [arena.path(".git"), arena.path(".git/hooks/pre-commit")];
            files.iter().chain(&own).map(|path| format!("{:?}", fs::read_to_string(path).ok())).collect::<String>()
        };
        let arena = build();
        let before = look(&arena);
        arena.bare(script);
        assert_ne!(look(&arena), before, "{script}");
        let arena = build();
        let before = look(&arena);
        let sandbox = arena.start();
        let git = "git -c safe.directory='*' -c user.name=a -c user.email=a@b commit -q --allow-empty -m inside && echo COMMITTED";
        let worked = arena.inside(&sandbox, git);
        assert!(worked.contains("COMMITTED"), "{worked}");
        let output = arena.inside(&sandbox, script);
        drop(sandbox);
        // The temporary directories have different names, which only the pointer files hold.
        assert_eq!(look(&arena), before, "{script}: {output}");
    }
}

#[test]
fn names_that_do_not_exist_yet() {
    let names = [
        ".claude",
        ".cursor",
        ".gemini",
        ".idea",
        ".zed",
        ".devcontainer",
        ".envrc",
        ".mcp.json",
        "CLAUDE.md",
        "AGENTS.override.md",
        ".agents",
        ".devcontainer.json",
    ];
    let arena = Arena::new();
    let before = arena.names();
    let sandbox = arena.start();
    for name in names {
        for script in [
            "mkdir -p $N && echo x > $N/settings.json",
            "echo x > $N",
            "mkdir t; echo x > t/f; mv -T t $N",
            "echo x > f; mv -T f $N",
            "ln -s src $N",
            "ln -sfn src $N",
            "ln README.md $N",
            "mkfifo $N",
            "rmdir $N; mkdir $N; echo x > $N/f",
            "chmod 777 $N; echo x > $N/f",
            "git clone -q . $N",
            "./attack exchange src $N",
        ] {
            let script = format!("N={name}; {script}");
            arena.inside(&sandbox, &script);
            let path = arena.path(name);
            let held = fs::symlink_metadata(&path).is_ok_and(|there| there.file_type().is_socket());
            assert!(held, "{script}");
        }
    }
    arena.inside(&sandbox, "rm -rf f t");
    // In a nested repository it is the same.
    for name in names {
        arena.inside(
            &sandbox,
            &format!("cd vendor/sub; mkdir {name} && echo x > {name}/settings.json; echo x > {name}"),
        );
        let held =
            fs::symlink_metadata(arena.path("vendor/sub").join(name)).is_ok_and(|there| there.file_type().is_socket());
        assert!(held, "{name}");
    }
    drop(sandbox);
    assert_eq!(arena.names(), before, "nothing is left");
    assert_eq!(fs::read_dir(arena.path("vendor/sub")).unwrap().count(), 1);
    for name in names {
        let arena = Arena::new();
        arena.bare(&format!("mkdir {name} && echo x > {name}/settings.json"));
        assert!(arena.path(name).join("settings.json").exists(), "{name}");
    }
}

#[test]
fn a_second_run_does_not_lose_what_the_first_reserved() {
    let arena = Arena::new();
    let first = arena.start();
    let second = arena.start();
    drop(first);
    let script = "mkdir -p .claude; echo x > .claude/settings.json; echo x > .git/config.worktree";
    arena.inside(&second, script);
    assert!(!arena.path(".claude/settings.json").exists());
    assert_eq!(arena.read(".git/config.worktree"), "");
    drop(second);
    assert!(!arena.path(".claude").exists() && !arena.path(".git/config.worktree").exists());
    arena.bare(script);
    assert!(arena.path(".claude/settings.json").exists());
}

/// A name that is reserved and looks like a secret is reserved, however many runs hold it, and goes with the last.
#[test]
fn a_second_run_takes_what_the_first_reserved_for_no_secret() {
    let arena = Arena::new();
    let before = arena.names();
    let start = || arena.builder().deny_read("**/.env*").start().unwrap();
    let (first, second) = (start(), start());
    assert!(arena.path(".envrc").exists());
    assert!(!second.enforced().masked.contains(&arena.path(".envrc")));
    drop(first);
    arena.inside(&second, "rm -f .envrc; echo evil > .envrc; ln -sf README.md .envrc");
    assert!(arena.path(".envrc").symlink_metadata().unwrap().file_type().is_socket());
    // What somebody outside puts in its place is both.
    fs::remove_file(arena.path(".envrc")).unwrap();
    fs::write(arena.path(".envrc"), "outside").unwrap();
    for _ in 0..500 {
        if !arena.inside(&second, "cat .envrc").contains("outside") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!arena.inside(&second, "echo evil >> .envrc; cat .envrc").contains("outside"));
    drop(second);
    assert_eq!(arena.read(".envrc"), "outside");
    fs::remove_file(arena.path(".envrc")).unwrap();
    assert_eq!(arena.names(), before, "nothing is left");
}

#[test]
fn a_directory_that_becomes_a_repository() {
    let script = "git init -q . ; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit; \
                  mkdir -p objects refs; echo 'ref: refs/heads/main' > HEAD; printf '[core]\\n\\tfsmonitor = ./evil\\n' > config";
    let fresh = || {
        let arena = Arena::new();
        fs::remove_dir_all(arena.path(".git")).unwrap();
        arena
    };
    let arena = fresh();
    arena.bare(script);
    assert!(arena.path(".git/hooks/pre-commit").exists() && arena.path("HEAD").is_file());
    let arena = fresh();
    let sandbox = arena.start();
    arena.inside(&sandbox, script);
    drop(sandbox);
    assert!(!arena.path(".git/hooks/pre-commit").exists() && !arena.path("HEAD").is_file());
    assert!(arena.path(".git").symlink_metadata().is_err());
    // The name is held, and yet no program finds anything there.
    let arena = fresh();
    arena.build_syscall_attacks();
    let (sandbox, other) = (arena.start(), arena.start());
    for script in [
        "rm -f .git; mkdir .git",
        "mkdir d; mv -T d .git",
        "mkdir d2; ./attack exchange d2 .git",
        "ln -sfn docs .git",
        "echo 'gitdir: docs' > .git",
        "mv .git away; mkdir .git",
        "git init -q --separate-git-dir=elsewhere .",
        "git clone -q . .git",
    ] {
        arena.inside(&sandbox, script);
        assert_eq!(arena.inside(&sandbox, "test -e .git || echo nothing"), "RAN\nnothing\n", "{script}");
        assert!(holdpoint_runtime::is_reserved(&arena.path(".git")), "{script}");
    }
    drop(sandbox);
    arena.inside(&other, "rm -f .git; mkdir .git");
    assert!(holdpoint_runtime::is_reserved(&arena.path(".git")));
    drop(other);
    assert!(arena.path(".git").symlink_metadata().is_err());
    let denied = || arena.builder().deny_read("**/.git").start().unwrap();
    let (first, second) = (denied(), denied());
    drop(first);
    arena.inside(&second, "rm -f .git; mkdir .git");
    assert!(holdpoint_runtime::is_reserved(&arena.path(".git")));
    drop(second);
    assert!(arena.path(".git").symlink_metadata().is_err());
    // With a part of one that was there before.
    let arena = fresh();
    fs::write(arena.path("HEAD"), "ref: refs/heads/main\n").unwrap();
    let sandbox = arena.start();
    arena.inside(&sandbox, script);
    drop(sandbox);
    assert!(arena.path("refs").is_dir() && !arena.path("objects").exists());
}

#[test]
fn a_workspace_whose_git_directory_is_spoilt() {
    let script = "rm .git/HEAD; mkdir -p objects refs; echo 'ref: refs/heads/main' > HEAD; \
                  printf '[core]\\n\\tbare = false\\n\\tworktree = .\\n[alias]\\n\\tgreet = !echo pwned\\n' > config-file; \
                  rm -rf config; mv config-file config";
    let greet = |arena: &Arena| {
        let output = std::process::Command::new("git")
            .args(["-c", "safe.directory=*", "greet"])
            .current_dir(&arena.workspace)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let fresh = |parts: &[&str]| {
        let arena = Arena::new();
        parts.iter().for_each(|part| fs::create_dir(arena.path(part)).unwrap());
        // A workspace with nothing of that name, or the attack would have to leave its `config` alone.
        fs::remove_dir_all(arena.path("config")).unwrap();
        arena
    };
    for parts in [&[][..], &["refs"], &["refs", "objects"]] {
        let arena = fresh(parts);
        arena.bare(script);
        assert_eq!(greet(&arena), "pwned\n");
        let arena = fresh(parts);
        let sandbox = arena.start();
        arena.inside(&sandbox, script);
        assert_eq!(greet(&arena), "", "while it runs");
        drop(sandbox);
        assert_eq!(greet(&arena), "");
        assert!(!arena.path(".git/HEAD").exists(), "the attack did what it could");
    }
}

#[test]
fn instructions_and_settings_that_exist() {
    keeps(
        &[
            "AGENTS.md",
            "docs/AGENTS.md",
            ".codex/config.toml",
            ".vscode/settings.json",
            ".vscode/tasks.json",
            ".holdpoint/config.toml",
        ],
        &[
            "echo x >> AGENTS.md",
            "rm AGENTS.md; echo x > AGENTS.md",
            "echo x > n; mv n AGENTS.md",
            "ln -sf README.md AGENTS.md",
            "echo x > docs/AGENTS.md",
            "mv docs d; mkdir docs; echo x > docs/AGENTS.md",
            "echo x > .vscode/tasks.json",
            "rm -rf .vscode; mkdir .vscode; echo x > .vscode/tasks.json",
            "mv .codex c; ln -s src .codex; echo x > .codex/config.toml",
            "mkdir e; echo x > e/config.toml; ./attack exchange e .codex",
            "sed -i s/untouched/x/ .holdpoint/config.toml",
            "chmod 777 .holdpoint; echo x > .holdpoint/config.toml",
            "truncate -s 0 AGENTS.md",
            "ln AGENTS.md a; echo x > a",
        ],
    );
}

/// What a dependency says is for those who work on it; a package manager has to be able to take it away.
#[test]
fn packages_can_be_removed_with_their_files_for_agents() {
    let arena = Arena::new();
    for packages in ["node_modules", "vendor", ".venv/lib/python3/site-packages"] {
        write(&arena.path(&format!("{packages}/p/AGENTS.md")), "of the package");
        write(&arena.path(&format!("{packages}/p/.vscode/settings.json")), "of the package");
    }
    let sandbox = arena.start();
    let said = arena.inside(&sandbox, "rm -r node_modules vendor/p .venv && echo gone; rm docs/AGENTS.md || echo kept");
    assert!(said.contains("gone") && said.contains("kept"), "{said}");
    assert!(!arena.path("node_modules").exists() && arena.path("docs/AGENTS.md").exists());
}

#[test]
fn protected_names_that_are_symlinks() {
    let build = || {
        let arena = Arena::new();
        fs::remove_dir_all(arena.path(".vscode")).unwrap();
        write(&arena.path("editor/settings.json"), "untouched");
        symlink("editor", arena.path(".vscode")).unwrap();
        symlink(arena.home.join(".dotfiles/claude"), arena.path(".claude")).unwrap();
        arena
    };
    let look = |arena: &Arena| {
        let links = [".vscode", ".claude"].map(|name| {
            fs::read_link(arena.path(name)).ok().map(|to| to.ends_with("editor") || to.ends_with("claude"))
        });
        format!("{links:?} {} {}", arena.read("editor/settings.json"), arena.read("editor/tasks.json"))
    };
    for script in [
        "echo x > .vscode/settings.json",
        "echo x > editor/tasks.json",
        "rm .vscode; mkdir .vscode",
        "ln -sfn src .vscode",
        "mv editor e; mkdir editor; echo x > editor/tasks.json",
        "rm .claude; mkdir .claude",
        "mkdir d; mv -T .claude d/c",
        "./attack exchange .claude src",
    ] {
        let arena = build();
        arena.build_syscall_attacks();
        let before = look(&arena);
        arena.bare(script);
        assert_ne!(look(&arena), before, "{script}");
        let arena = build();
        arena.build_syscall_attacks();
        let sandbox = arena.start();
        let output = arena.inside(&sandbox, script);
        assert_eq!(look(&arena), before, "{script}: {output}");
    }
}

#[test]
fn denied_files_cannot_be_replaced_or_removed() {
    keeps(
        &[".env", ".env.production", "secrets/prod.key", "config/api_TOKEN.txt", "railway.json"],
        &[
            "echo x >> .env",
            ": > config/api_TOKEN.txt",
            "rm -f .env.production",
            "rm -rf secrets",
            "echo x > secrets/prod.key",
            "echo x > n; mv -f n .env",
            "mv .env e",
            "ln -sf README.md .env",
            "cp -f README.md railway.json",
            "mv config c; mkdir config; echo x > config/api_TOKEN.txt",
            "./attack exchange .env README.md",
            "rm -rf config",
            "truncate -s 0 .env",
            "dd if=/dev/zero of=.env bs=1 count=1",
        ],
    );
}

#[test]
fn remounting_what_is_read_only() {
    let arena = Arena::new();
    let sandbox = arena.start();
    for script in [
        "unshare -Urm bash -c 'mount -o remount,bind,rw .git/hooks; echo x > .git/hooks/pre-commit'",
        "unshare -Urm bash -c 'umount -l AGENTS.md; echo x > AGENTS.md'",
        "mount -o remount,rw,bind /usr; umount -l .codex; echo x > .codex/config.toml",
    ] {
        let output = arena.inside(&sandbox, script);
        assert!(!arena.path(".git/hooks/pre-commit").exists(), "{output}");
        assert_eq!(arena.read("AGENTS.md"), "untouched", "{output}");
        assert_eq!(arena.read(".codex/config.toml"), "untouched", "{output}");
    }
}

#[test]
fn a_protected_file_that_an_editor_outside_replaced() {
    let arena = Arena::new();
    let sandbox = arena.start();
    write(&arena.path("AGENTS.md~"), "second version");
    fs::rename(arena.path("AGENTS.md~"), arena.path("AGENTS.md")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let output = arena.inside(&sandbox, "cat AGENTS.md; echo pwned > AGENTS.md; echo x > n; mv -f n AGENTS.md");
    assert!(output.contains("second version"), "{output}");
    assert_eq!(arena.read("AGENTS.md"), "second version", "{output}");
}

#[test]
fn a_read_only_workspace_stays_as_it_is() {
    let arena = Arena::new();
    let mut builder = holdpoint_runtime::Sandbox::builder();
    builder.system().workspace(&arena.workspace, holdpoint_runtime::Access::ReadOnly);
    let sandbox = builder.start().unwrap();
    let before = arena.names();
    for script in [
        "echo x > new",
        "rm README.md",
        "mkdir d",
        "mv README.md r",
        "touch README.md",
        "chmod 777 README.md",
        "ln README.md l",
        "echo x > .git/hooks/pre-commit",
        "echo x > /proc/self/cwd/new",
    ] {
        let output = arena.inside(&sandbox, script);
        assert_eq!(arena.names(), before, "{script}: {output}");
    }
    assert_eq!(arena.read("README.md"), "public");
}

#[test]
fn ordinary_work_is_not_in_the_way() {
    let arena = Arena::new();
    let sandbox = arena.start();
    let output = arena.inside(
        &sandbox,
        "mkdir -p a/b && echo x > a/b/c && mv a z && rm -r z && echo new > src/lib.rs && cp -r src copy && rm -r copy && \
         ln -s src s && rm s && ln README.md r && rm r && touch -d @1000 README.md && chmod 600 README.md && \
         mkdir -p .cache/deep && mv .cache c && rm -r c && : > /tmp/x && : > ~/y && echo WORKED",
    );
    assert!(output.contains("WORKED"), "{output}");
    assert_eq!(arena.read("src/lib.rs"), "new\n");
}
