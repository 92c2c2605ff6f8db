//! What commands leave in a workspace for git outside: each is shown to work there, and to be told; ordinary work is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;
mod watching;

use std::fs;

use arena::{Arena, Host, write};
use holdpoint_runtime::Trap;
use watching::wait_for;

/// Inside, without the user's own configuration.
const GIT: &str = "git() { command git -c user.name=a -c user.email=a@b -c safe.directory='*' \"$@\"; }
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_TEMPLATE_DIR=; ";

/// Most of a repository, with a program in its configuration, beside it.
const COMMON: &str = "mkdir ../common; mv .git/objects .git/refs ../common; cp .git/config ../common; \
                      git config -f ../common/config core.pager x;";

/// A new repository in the index of the one around it, with one more line for its configuration.
fn planted(setting: &str) -> String {
    format!(
        "{GIT} git init -q new && cd new && echo 'touch ran-outside' > run.sh && chmod +x run.sh && git add run.sh \
         && git commit -qm x && printf '%b\\n' '{setting}' >> .git/config; cd .. && command git -c safe.directory='*' add new"
    )
}

fn traps(arena: &Arena, host: Host, script: &str) -> Vec<Trap> {
    let sandbox = arena.start_on(host);
    arena.inside(&sandbox, script);
    sandbox.end();
    sandbox.traps()
}

/// What git would run in the new repositories.
fn runs(traps: &[Trap]) -> Vec<&str> {
    let runs = traps.iter().flat_map(|trap| match trap {
        Trap::Repository { runs, .. } => runs.as_slice(),
        _ => &[],
    });
    let mut runs: Vec<&str> = runs.map(String::as_str).collect();
    runs.dedup();
    runs
}

#[test]
fn a_repository_that_git_asks_while_it_looks_at_another() {
    let arena = Arena::new();
    let traps = traps(&arena, Host::Plain, &planted("[core]\\nfsmonitor = ./run.sh"));
    assert!(!arena.path("new/ran-outside").exists());
    arena.git(&arena.workspace, &["status", "--short"]);
    // As no wall of the sandbox is in git's way, it has to be told.
    assert!(arena.path("new/ran-outside").exists(), "git runs nothing there, so it proves nothing");
    assert_eq!(runs(&traps), ["core.fsmonitor"]);
    let text = traps[0].to_string();
    assert!(text.contains("/new/.git is a new repository") && text.contains("core.fsmonitor"), "{text}");
}

#[test]
fn without_namespaces_as_with_them() {
    for &host in Host::possible() {
        let arena = Arena::new();
        let script = format!("cd src && {GIT} git init -q new && cd new && git config core.fsmonitor ./run.sh");
        assert_eq!(runs(&traps(&arena, host, &script)), ["core.fsmonitor"], "{host:?}");
    }
}

#[test]
fn what_makes_git_run_something_in_a_new_repository() {
    for (setting, expected) in [
        ("[filter \"x\"]\\nclean = ./run.sh", "filter.clean"),
        ("[include]\\npath = ../other", "include.path"),
        ("[remote \"o\"]\\nurl = ext::./run.sh", "remote.url"),
        ("[submodule \"o\"]\\nupdate = !./run.sh", "submodule.update"),
        // Git reads the quote as one of the name, and goes on with the next section in the same line.
        ("[remote \"\\\\\"\"] [core] fsmonitor = ./run.sh", "core.fsmonitor"),
        ("[CORE]fsMonitor=./run.sh", "core.fsmonitor"),
    ] {
        let arena = Arena::new();
        assert_eq!(runs(&traps(&arena, Host::Plain, &planted(setting))), [expected], "{setting}");
    }
    for (act, expected) in [
        ("mkdir -p .git/hooks; cp run.sh .git/hooks/pre-commit", "hooks/pre-commit"),
        ("mv .git ../elsewhere; echo 'gitdir: ../elsewhere' > .git; git config core.pager ./run.sh", "core.pager"),
        ("mv .git ../elsewhere; ln -s ../elsewhere .git; git config core.pager ./run.sh", "core.pager"),
        (
            "git config core.bare false; git config core.worktree .; mv .git/* .; rm -r .git; git config core.pager x",
            "core.pager",
        ),
        ("mv .git/config ../c; ln -s ../../c .git/config", "config, which cannot be read"),
        ("git config core.worktree ../../..", "core.worktree"),
        // Pointer files as only git reads them.
        ("mv .git '../e '; printf 'gitdir: ../e ' > .git; git config core.pager x", "core.pager"),
        ("mv .git ../e; printf 'gitdir: ../e\\0x' > .git; git config -f ../e/config core.pager x", "core.pager"),
        ("mv .git ../e; { echo gitdir: ../e; yes '' | head -n 20000; } > .git; git config core.pager x", "core.pager"),
        (&format!("{COMMON} echo ../../common > .git/commondir"), "core.pager"),
        (&format!("{COMMON} mv ../common '../common '; printf '../../common ' > .git/commondir"), "core.pager"),
        (&format!("{COMMON} echo ../../common > ../to; ln -s ../../to .git/commondir"), "a commondir elsewhere"),
        (&format!("{COMMON} cp .git/HEAD .; echo ../common > commondir; rm -r .git"), "core.pager"),
    ] {
        let arena = Arena::new();
        let script = planted("") + "; cd new; " + act;
        assert_eq!(runs(&traps(&arena, Host::Plain, &script)).first(), Some(&expected), "{act}");
    }
}

#[test]
fn settings_that_run_nothing_are_no_trap() {
    let arena = Arena::new();
    let settings = "[core]\\nsharedRepository = group\\nexcludesFile = ../ignored\\n[receive]\\ndenyCurrentBranch = ignore\\n\
                    denyNonFastForwards = true\\n[submodule \"o\"]\\nupdate = checkout\\n[gc]\\nreflogExpire = never\\n\
                    [uploadpack]\\nallowFilter\\n[merge]\\nrenames = true\\n[http]\\npostBuffer = 1\\n";
    assert_eq!(runs(&traps(&arena, Host::Plain, &planted(settings))), [""; 0]);
    for (setting, told) in [
        ("[uploadpack]\\npackObjectsHook = ./run.sh", "uploadpack.packobjectshook"),
        ("[receive]\\nprocReceiveRefs = x", "receive.procreceiverefs"),
        ("[url \"ext::./run.sh\"]\\ninsteadOf = x", "url.insteadof"),
        ("[http]\\nsaveCookies = true", "http.savecookies"),
    ] {
        assert_eq!(runs(&traps(&Arena::new(), Host::Plain, &planted(setting))), [told], "{setting}");
    }
}

#[test]
fn a_link_through_which_git_writes() {
    let arena = Arena::new();
    let victim = arena.home.join(".bashrc");
    let script = "ln -s ../../.bashrc .git/COMMIT_EDITMSG; echo 'touch pwned' > .git/MERGE_MSG";
    let found = traps(&arena, Host::Plain, script);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    arena.git(&arena.workspace, &["-c", "core.editor=true", "commit", "-q", "--allow-empty"]);
    let written = fs::read_to_string(&victim).unwrap();
    assert!(written.starts_with("touch pwned\n"), "git wrote nothing there, so it proves nothing: {written}");
    let link = Trap::Link { path: arena.path(".git/COMMIT_EDITMSG"), target: "../../.bashrc".into() };
    assert_eq!(found, [link]);
}

/// In a directory that was there, that is new, that was renamed; by whoever outlives the command that made it.
#[test]
fn wherever_it_lies() {
    for script in [
        "cp -a new src/new",
        "mkdir -p a/b/c && cp -a new a/b/c/",
        "mv new src/new; mv src source",
        "mv src s; mkdir src; cp -a new src/new",
        "(setsid sleep 0.3; cp -a new src/late) > /dev/null 2>&1 & sleep 0.1",
    ] {
        let arena = Arena::new();
        let sandbox = arena.start();
        arena.inside(&sandbox, &format!("{}; {script}", planted("[core]\\nfsmonitor = ./run.sh")));
        if script.contains("setsid") {
            // The last file that is copied there is not known, so all of it.
            let count = |tree: &str| arena.bare(&format!("find {tree} | wc -l"));
            wait_for(|| count("src/late 2> /dev/null") == count("new"));
        }
        sandbox.end();
        assert_eq!(
            sandbox.traps().len(),
            if script.contains("mv new") { 1 } else { 2 },
            "{script}: {:?}",
            sandbox.traps()
        );
    }
}

#[test]
fn ordinary_work_is_no_trap() {
    let arena = Arena::new();
    let script = format!(
        "{GIT} git init -q one && cd one && git commit -q --allow-empty -m x && cd .. && git clone -q one two \
         && cd one && git submodule --quiet add ../two 2>&1; git worktree add -q ../three; cd ..; \
         git -c protocol.file.allow=always clone -q --bare one four; ln -s src/main.rs link; git add README.md; \
         git commit -qm x README.md; ls one two three four"
    );
    assert_eq!(traps(&arena, Host::Plain, &script), []);
    assert!(arena.path("three/.git").exists() && arena.path("two/.git/config").exists());
}

/// What was there before is its owner's, whatever it says, and in a worktree of it as well.
#[test]
fn what_was_there_before_is_none() {
    let arena = Arena::new();
    arena.git(&arena.workspace, &["config", "core.pager", "less"]);
    arena.git(&arena.path("vendor/sub"), &["config", "core.fsmonitor", "./run.sh"]);
    write(&arena.path(".git/hooks/pre-commit"), "#!/bin/sh\n");
    let script = format!(
        "{GIT} git commit -q --no-verify --allow-empty -m x; git worktree add -q tree; touch vendor/sub/x .git/x vendor/x"
    );
    assert_eq!(traps(&arena, Host::Plain, &script), []);
    assert!(arena.path("tree/.git").exists());
}
