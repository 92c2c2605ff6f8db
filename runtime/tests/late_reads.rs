//! Denied files that appear while a sandbox lives, in every way in which files appear. Each way is taken by somebody outside
//! and by a command inside, and each is shown to give the file away without a sandbox.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use arena::{Arena, CANARY, write};
use holdpoint_runtime::{Access, Sandbox};

/// A way to make files appear, and what then holds a secret. Runs in a directory of its own in the workspace.
struct Way {
    what: &'static str,
    script: &'static str,
    secrets: &'static [&'static str],
}

const WAYS: [Way; 13] = [
    Way { what: "written", script: "echo CANARY-A > .env", secrets: &[".env"] },
    Way { what: "renamed", script: "echo CANARY-A > plain; mv plain .env.new", secrets: &[".env.new"] },
    Way { what: "renamed over", script: "echo CANARY-A > p; echo x > .env; mv p .env", secrets: &[".env"] },
    Way { what: "linked", script: "echo CANARY-A > plain; ln plain api-token", secrets: &["api-token", "plain"] },
    Way {
        what: "moved with its directory",
        script: "mkdir -p a/b/c; echo CANARY-A > a/b/c/.env; mkdir d; mv a d/e",
        secrets: &["d/e/b/c/.env"],
    },
    Way {
        what: "moved with its directory and back",
        script: "mkdir -p a/b; mv a z; echo CANARY-A > z/b/.env; mv z a",
        secrets: &["a/b/.env"],
    },
    Way {
        what: "deep in new directories",
        script: "p=$(printf 'deep/%.0s' $(seq 40)); mkdir -p $p; echo CANARY-A > $p/.env; cp $p/.env $p/k.token",
        secrets: &["deep/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*.token"],
    },
    Way {
        what: "a denied directory",
        script: "mkdir -p x/secrets/y; echo CANARY-A > x/secrets/y/k",
        secrets: &["x/secrets/y/k"],
    },
    Way {
        what: "unpacked by tar",
        script: "mkdir -p s/t/secrets; echo CANARY-A | tee s/.env s/t/.env s/t/secrets/k >/dev/null; tar cf a.tar s; \
                 rm -rf s; tar xf a.tar",
        secrets: &["s/.env", "s/t/.env", "s/t/secrets/k"],
    },
    Way {
        what: "checked out by git",
        script: "g() { git -c user.name=a -c user.email=a@b -c init.defaultBranch=main \"$@\"; }; \
                 g init -q r && cd r && mkdir -p conf/deep && echo x > x && g add x && g commit -qm 1 && g checkout -qb s && \
                 echo CANARY-A | tee .env conf/deep/api-token > /dev/null && g add . && g commit -qm 2 && \
                 g checkout -q main && ! [ -e .env ] && g checkout -q s",
        secrets: &["r/.env", "r/conf/deep/api-token"],
    },
    Way {
        what: "the target of a denied link",
        script: "mkdir v1 v2; echo x > v1/value; echo CANARY-A > v2/value; ln -s v1 now; ln -s now/value .env; \
                 ln -s v2 next; mv -T next now",
        secrets: &[".env", "v2/value"],
    },
    Way {
        what: "through a linked directory",
        script: "mkdir -p real/in; ln -s ../real/in lib; mkdir conf; mv lib conf/lib; echo CANARY-A > real/in/x.key",
        secrets: &["conf/lib/x.key", "real/in/x.key"],
    },
    Way {
        what: "a linked directory over what is there",
        script: "mkdir -p real/in conf; echo CANARY-A > real/in/x.key; ln -s ../real conf/lib",
        secrets: &["conf/lib/in/x.key", "real/in/x.key"],
    },
];

/// Starts a sandbox over the arena with one more pattern, that only holds in certain places.
fn start(arena: &Arena) -> Sandbox {
    arena.builder().deny_read("**/conf/**/*.key").start().unwrap()
}

/// Waits until nothing of `secrets` can be read inside.
#[track_caller]
fn covered(arena: &Arena, sandbox: &Sandbox, what: &str, secrets: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let output = arena.inside(sandbox, &format!("cat {secrets}"));
        if !output.contains(CANARY) {
            break;
        }
        assert!(Instant::now() < end, "{what}: {output}");
    }
}

fn in_its_place(index: usize, side: &str, script: &str) -> String {
    format!("mkdir {side}{index} && cd {side}{index} && {script}")
}

#[test]
fn made_outside_or_inside_in_every_way() {
    let arena = Arena::new();
    let sandbox = start(&arena);
    for (index, way) in WAYS.iter().enumerate() {
        let secrets = |side: &str| {
            let paths: Vec<String> = way.secrets.iter().map(|path| format!("{side}{index}/{path}")).collect();
            paths.join(" ")
        };
        let bare = arena.bare(&in_its_place(index, "out", way.script));
        let output = arena.bare(&format!("cat {}", secrets("out")));
        assert_eq!(output.matches(CANARY).count(), way.secrets.len(), "{}: {bare} {output}", way.what);
        covered(&arena, &sandbox, way.what, &secrets("out"));
        let inside = arena.inside(&sandbox, &in_its_place(index, "in", way.script));
        covered(&arena, &sandbox, way.what, &secrets("in"));
        // What was covered half-way may have stopped the script; that it began is certain.
        assert!(arena.path(&format!("in{index}")).is_dir(), "{}: {inside}", way.what);
    }
}

#[test]
fn made_in_the_git_directory_of_a_worktree() {
    let arena = Arena::new();
    let main = arena.outside.join("main");
    fs::create_dir(&main).unwrap();
    arena.git(&main, &["init", "-q"]);
    arena.git(&main, &["commit", "-q", "--allow-empty", "-m", "x"]);
    let tree = arena.outside.join("tree");
    arena.git(&main, &["worktree", "add", "-q", tree.to_str().unwrap()]);
    let mut builder = Sandbox::builder();
    builder.system().home(&arena.home).workspace(&tree, Access::ReadWrite).deny_read("**/*token*");
    let sandbox = builder.start().unwrap();
    let file = main.join(".git/worktrees/tree/api-token");
    let read = |path: &std::path::Path| {
        let output = sandbox.command("cat").arg(path).current_dir(&tree).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    write(&main.join(".git/plain"), "CANARY-GIT");
    assert!(read(&main.join(".git/plain")).contains(CANARY), "the directory is visible");
    write(&file, "CANARY-GIT");
    let end = Instant::now() + Duration::from_secs(20);
    while read(&file).contains(CANARY) {
        assert!(Instant::now() < end);
    }
}

#[test]
fn a_link_made_outside_to_what_is_denied_elsewhere() {
    let arena = Arena::new();
    // Denied by a place outside of the view, and in a directory that is covered as a whole.
    let denied = arena.outside.join("secret.txt");
    let sandbox = arena.builder().deny_read(denied.to_str().unwrap()).start().unwrap();
    fs::hard_link(&denied, arena.path("innocent")).unwrap();
    write(&arena.path("secrets/later/k"), "CANARY-LATER");
    fs::hard_link(arena.path("secrets/later/k"), arena.path("plain")).unwrap();
    assert_eq!(arena.bare("cat innocent plain").matches(CANARY).count(), 2);
    covered(&arena, &sandbox, "links", "innocent plain");
}

#[test]
fn renamed_before_anybody_could_cover_it() {
    let arena = Arena::new();
    let sandbox = start(&arena);
    // In one step, so that the rename is over when the appearance is noticed.
    let script = "perl -e 'for (1..50) { open my $f, \">\", \".env.$_\"; print $f \"CANARY-$_\"; close $f; \
                  rename \".env.$_\", \"plain$_\" }'";
    assert!(arena.bare(script).starts_with("RAN"));
    assert_eq!(arena.bare("cat plain*").matches(CANARY).count(), 50);
    covered(&arena, &sandbox, "renamed", "plain*");
}

#[test]
fn an_absolute_pattern_holds_beyond_the_workspace() {
    let arena = Arena::new();
    let shown = arena.outside.join("dir");
    let mut builder = arena.builder();
    builder.toolchain(&shown).deny_read(format!("{}/**/*.key", shown.display()));
    builder.deny_read(format!("{}/new/**", shown.display())).deny_read(format!("{}/file.txt", shown.display()));
    let sandbox = builder.start().unwrap();
    write(&shown.join("a/b/x.key"), "CANARY-ABSOLUTE");
    write(&shown.join("new/y"), "CANARY-ABSOLUTE");
    write(&shown.join("file.txt"), "CANARY-ABSOLUTE");
    let paths = "\"$OUT\"/dir/a/b/x.key \"$OUT\"/dir/new/y \"$OUT\"/dir/file.txt";
    assert_eq!(arena.bare(&format!("cat {paths}")).matches(CANARY).count(), 3);
    covered(&arena, &sandbox, "absolute", paths);
}

#[test]
fn an_exception_stays_readable_and_what_is_beside_it_does_not() {
    let arena = Arena::new();
    write(&arena.path("vault/README.md"), "public");
    let mut builder = Sandbox::builder();
    builder.system().home(&arena.home).workspace(&arena.workspace, Access::ReadWrite);
    builder.deny_read_except("**/.env*", ["**/.env.example"]).deny_read_except("vault/**", ["vault/README.md"]);
    let sandbox = builder.start().unwrap();
    let script = "mkdir -p n/m; echo CANARY-A | tee n/m/.env vault/key vault/.env.example > vault/late; mkdir vault/d; \
                  echo CANARY-A > vault/d/README.md; echo public > n/m/.env.example";
    arena.bare(script);
    assert_eq!(arena.bare("cat n/m/.env vault/key vault/late vault/d/* vault/.env.example").matches(CANARY).count(), 5);
    covered(&arena, &sandbox, "exceptions", "n/m/.env vault/key vault/late vault/d/* vault/.env.example");
    assert_eq!(arena.inside(&sandbox, "cat n/m/.env.example vault/README.md").matches("public").count(), 2);
    let moved = arena
        .inside(&sandbox, "mv vault v; mv n/m/.env n/m/.env.example; ln .env .env.example; cat v/* .env.example n/m/*");
    assert!(!moved.contains(CANARY), "{moved}");
}

#[test]
fn a_directory_link_that_is_there_from_the_start() {
    let arena = Arena::new();
    fs::create_dir_all(arena.path("real/deep")).unwrap();
    symlink("../real", arena.path("src/conf")).unwrap();
    let sandbox = start(&arena);
    write(&arena.path("real/deep/x.key"), "CANARY-LINK");
    assert!(arena.bare("cat src/conf/deep/x.key").contains(CANARY));
    covered(&arena, &sandbox, "a link from the start", "src/conf/deep/x.key real/deep/x.key");
}
