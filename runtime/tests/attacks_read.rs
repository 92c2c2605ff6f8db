//! Ways to read what is denied. Each is shown to work without a sandbox, and to fail in one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use arena::{Arena, CANARY, gives_away_nothing, write};
use holdpoint_runtime::{Access, Error, Masked, Sandbox};

#[test]
fn a_denied_file_by_its_own_name() {
    for script in [
        "cat .env",
        "cat .env.production railway.json config/api_TOKEN.txt",
        "cat \"$WS/secrets/prod.key\"",
        "cat .hidden/deep/credentials.json",
        "cat target/ignored/.env",
        "cat $(printf 'd/%.0s' $(seq 60)).env",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn the_names_in_a_denied_directory() {
    arena::shows_nothing_of("ls -la secrets; echo secrets/*; find . -name 'prod*'", |output, _| {
        output.contains("prod.key")
    });
}

#[test]
fn other_spellings_of_its_path() {
    for script in [
        "cat ./././.env",
        "cat \"$WS//secrets///prod.key\"",
        "cat src/../.env",
        "cat ../work/.env",
        "cat .e?v",
        "cd secrets && cat prod.key",
        "cd src && cat ../.env",
        "cat < .env",
        "source ./.env; echo $KEY",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn programs_that_read_as_a_side_effect() {
    for script in [
        "tar cO .env",
        "git diff --no-index /dev/null .env",
        "awk '{print}' .env",
        "find . -name '.env*' -exec cat {} +",
        "grep -rh CANARY .",
        "perl -ne print .env",
        "dd if=.env",
        "git hash-object -w .env | xargs git cat-file -p",
        "git add -f .env && git show :.env",
        "cp .env copy; cat copy",
        "cp -r . ../c; cat ../c/.env ../c/secrets/*",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn symlinks_old_and_new() {
    for script in [
        "cat link-to-env",
        "ln -s .env new; cat new",
        "ln -s secrets/prod.key new; cat new",
        "ln -s secrets new; cat new/prod.key",
        "ln -s \"$WS\" again; cat again/.env",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn hard_links_old_and_new() {
    for script in [
        "cat data/innocent.txt",
        "cat data/also.txt",
        "ln .env new; cat new",
        "ln secrets/prod.key new; cat new",
        "ln data/innocent.txt new; cat new",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn another_name_for_the_file_or_for_what_holds_it() {
    for script in [
        "mv .env plain; cat plain",
        "mv secrets open; cat open/prod.key",
        "mv secrets/prod.key p; cat p",
        "mv config other; cat other/api_TOKEN.txt",
        "mv target t; cat t/ignored/.env",
        "./attack exchange .env README.md; cat README.md",
        "./attack exchange config src; cat src/api_TOKEN.txt",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn the_roots_and_directories_of_processes() {
    for script in [
        "cat /proc/self/root\"$WS\"/.env",
        "cat /proc/self/cwd/.env",
        "cat /proc/thread-self/cwd/secrets/prod.key",
        "cd secrets/..; cat /proc/$$/cwd/.env",
        "cat /dev/fd/../cwd/.env; exec 5< .; cat /proc/self/fd/5/.env",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn system_calls_that_go_around_paths() {
    for attack in ["opath", "openat2", "race"] {
        gives_away_nothing(&format!("./attack {attack}"));
    }
}

#[test]
fn system_calls_that_only_some_may_make() {
    for attack in ["uring", "handle", "open_tree", "unmount", "modes"] {
        let script = format!("./attack {attack}");
        let arena = Arena::new();
        arena.build_syscall_attacks();
        // What the machine withholds from everybody, or from users, it may withhold here too.
        let bare = arena.bare(&script);
        assert!(bare.contains(CANARY) || bare.contains("refused"), "{attack}: {bare}");

        let arena = Arena::new();
        arena.build_syscall_attacks();
        let sandbox = arena.start();
        let output = arena.inside(&sandbox, &script);
        assert!(!output.contains(CANARY), "{attack}: {output}");
        assert!(output.contains("refused"), "{attack}: {output}");
    }
}

#[test]
fn namespaces_of_its_own() {
    for script in [
        "unshare -Urm bash -c 'umount -l .env secrets; cat .env secrets/prod.key'",
        "unshare -Urm bash -c 'mkdir m; mount --bind . m; cat m/.env'",
        "unshare -Ur cat .env",
    ] {
        let arena = Arena::new();
        let sandbox = arena.start();
        let output = arena.inside(&sandbox, script);
        assert!(!output.contains(CANARY), "{script}: {output}");
    }
}

#[test]
fn what_lies_outside_of_the_workspace() {
    for script in [
        "cat link-to-ssh",
        "cat ../.ssh/id_rsa",
        "cat src/../../.aws/credentials",
        "cat link-outside/secret.txt",
        "cat \"$OUT/secret.txt\"",
        "ln -s ../.ssh new; cat new/id_rsa",
        "cat ~/.aws/credentials",
        "cat /proc/self/root\"$OUT\"/secret.txt",
        "for p in /proc/[0-9]*; do cat $p/root\"$OUT\"/secret.txt $p/cwd/../.ssh/id_rsa; done",
    ] {
        gives_away_nothing(script);
    }
}

#[test]
fn descriptors_the_caller_left_open() {
    let arena = Arena::new();
    let file = fs::File::open(arena.outside.join("secret.txt")).unwrap();
    let directory = fs::File::open(&arena.outside).unwrap();
    for fd in [&file, &directory] {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    }
    let script = "for n in $(ls /proc/self/fd); do [ $n -gt 2 ] && timeout 2 cat /proc/self/fd/$n /proc/self/fd/$n/secret.txt; done";
    assert!(arena.bare(script).contains(CANARY));
    let sandbox = arena.start();
    let output = arena.inside(&sandbox, script);
    assert!(!output.contains(CANARY), "{output}");
}

#[test]
fn a_secret_that_appears_later() {
    let arena = Arena::new();
    let wait = "for i in $(seq 200); do [ -e \"$SIGNAL\" ] && break; sleep 0.05; done; ";
    let reads = "cat .env.late new/deep/.env data/late-link plain-late/secrets/k .env";
    let script = format!("SIGNAL=go; {wait}{reads}");
    let appear = |arena: &Arena| {
        write(&arena.path("new/deep/.env"), "CANARY-LATE");
        write(&arena.path(".env.late"), "CANARY-LATE");
        fs::hard_link(arena.path(".env.production"), arena.path("data/late-link")).unwrap();
        // A whole tree at once, and the new version of a file that is masked.
        write(&arena.outside.join("tree/secrets/k"), "CANARY-LATE");
        fs::rename(arena.outside.join("tree"), arena.path("plain-late")).unwrap();
        write(&arena.path("fresh"), "CANARY-LATE");
        fs::rename(arena.path("fresh"), arena.path(".env")).unwrap();
        // The guard has some milliseconds; no promise is made about those.
        thread::sleep(Duration::from_millis(500));
        write(&arena.path("go"), "");
    };
    let sandbox = arena.start();
    let output = thread::scope(|scope| {
        let running = scope.spawn(|| arena.inside(&sandbox, &script));
        appear(&arena);
        running.join().unwrap()
    });
    assert!(!output.contains(CANARY), "{output}");
    drop(sandbox);
    assert!(arena.bare(reads).matches(CANARY).count() >= 5);
}

#[test]
fn five_thousand_secrets() {
    let arena = Arena::new();
    for index in 0..5_000 {
        write(&arena.path(&format!("many/{}/{index}.token", index % 50)), "CANARY-MANY");
    }
    let script = "cat many/*/*.token | sort | uniq -c; find many -name '*.token' -readable | wc -l";
    assert!(arena.bare(script).contains(CANARY));
    let sandbox = arena.start();
    let output = arena.inside(&sandbox, script);
    assert!(!output.contains(CANARY), "{output}");
    for index in [0, 4_999] {
        let moved = arena.inside(&sandbox, &format!("mv many/{}/{index}.token plain; cat plain", index % 50));
        assert!(!moved.contains(CANARY), "{moved}");
    }
}

#[test]
fn more_secrets_than_the_kernel_can_cover_are_refused_before_anything_runs() {
    let arena = Arena::new();
    let most: usize = fs::read_to_string("/proc/sys/fs/mount-max").unwrap().trim().parse().unwrap();
    let mut plan = arena.builder().plan().unwrap();
    let one = plan.masks[0].clone();
    plan.masks.extend((0..most).map(|index| Masked { path: arena.path(&format!("{index}.token")), ..one.clone() }));
    let error = Sandbox::start(plan).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("masks") && text.contains("fs.mount-max") && text.contains("whole directories"), "{text}");
    assert!(!arena.names().contains(&".envrc".to_owned()), "nothing was reserved");
}

#[test]
fn a_directory_that_was_shut_before_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let shut = |arena: &Arena| {
        write(&arena.path("shut/inner/.env"), "CANARY-SHUT");
        fs::set_permissions(arena.path("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    };
    let script = "chmod 755 shut; cat shut/inner/.env";
    let arena = Arena::new();
    shut(&arena);
    assert!(arena.bare(script).contains(CANARY));
    let arena = Arena::new();
    shut(&arena);
    let sandbox = arena.start();
    assert!(!arena.inside(&sandbox, script).contains(CANARY));
    drop(sandbox);
    fs::set_permissions(arena.path("shut"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_secret_that_is_a_symlink_and_a_path_through_one() {
    let build = |arena: &Arena| {
        write(&arena.path("store/value"), "CANARY-TARGET");
        symlink("store/value", arena.path(".env.linked")).unwrap();
        write(&arena.path("real/x/prod.key"), "CANARY-THROUGH");
        symlink("../real/x", arena.path("src/secrets")).unwrap();
    };
    let script = "cat .env.linked store/value src/secrets/prod.key real/x/prod.key";
    let arena = Arena::new();
    build(&arena);
    assert_eq!(arena.bare(script).matches(CANARY).count(), 4);
    let arena = Arena::new();
    build(&arena);
    let sandbox = arena.start();
    let output = arena.inside(&sandbox, script);
    assert!(!output.contains(CANARY), "{output}");
}

#[test]
fn every_later_command_of_a_living_sandbox() {
    let arena = Arena::new();
    let sandbox = arena.start();
    for script in
        ["cat .env", "rm -f .env; cat .env", "mv secrets s; cat s/prod.key secrets/prod.key", "cat data/innocent.txt"]
    {
        let output = arena.inside(&sandbox, script);
        assert!(!output.contains(CANARY), "{script}: {output}");
    }
    assert!(arena.inside(&sandbox, "cat README.md").contains("public"));
}

/// Branch names are no secrets, so names say nothing in the `refs` and `logs` of a git directory; in a tree they do.
#[test]
fn a_tree_kept_in_a_git_directory() {
    let script = "cd \"$WS/.git/wt/feature\"; cat logs/.env logs/secrets/k refs/heads/token logs/.env.late";
    let arena = Arena::new();
    arena.git(&arena.workspace, &["commit", "-q", "--allow-empty", "-m", "message"]);
    arena.git(&arena.workspace, &["worktree", "add", "-q", ".git/wt/feature", "-b", "fix-token"]);
    let tree = arena.path(".git/wt/feature");
    for file in ["logs/.env", "logs/secrets/k", "refs/heads/token"] {
        write(&tree.join(file), "CANARY-WORKTREE");
    }
    assert_eq!(arena.bare(script).matches(CANARY).count(), 3);
    for (workspace, strict) in [(&arena.workspace, false), (&arena.workspace, true), (&tree, false), (&tree, true)] {
        let mut builder = arena.builder();
        let sandbox = builder.workspace(workspace, Access::ReadWrite).deny_read_strict(strict).start().unwrap();
        if strict {
            write(&tree.join("logs/.env.late"), "CANARY-LATE");
        }
        let inside = |script: &str| {
            let mut command = sandbox.command("bash");
            command.args(["-c", script]).env("WS", &arena.workspace).current_dir(workspace);
            let output = command.output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
        };
        let output = inside(script);
        assert!(output.contains("logs/.env: Permission denied") && !output.contains(CANARY), "{output}");
        if workspace == &arena.workspace {
            let output = inside("git -c safe.directory='*' log --oneline -1 fix-token");
            assert!(output.contains("message"), "a branch is no secret: {output}");
        }
        fs::remove_file(tree.join("logs/.env.late")).ok();
    }
}
