//! Ways to read what is denied out of the database of git. Each is shown to work without `deny_read_git_history`, and to fail
//! with it; and what git has to go on doing is shown to work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use holdpoint_runtime::{Access, Builder, Error, Sandbox, Stdio};

/// The start of every secret.
const CANARY: &str = "CANARY-";

/// A repository in a workspace, and where the memory of it is kept.
struct Project {
    _directory: tempfile::TempDir,
    workspace: PathBuf,
    state: PathBuf,
}

impl Project {
    fn new() -> Project {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = directory.path().canonicalize().unwrap();
        let project = Project { _directory: directory, workspace: root.join("work"), state: root.join("state") };
        fs::create_dir(&project.workspace).unwrap();
        project.outside("git init -q -b main");
        project
    }

    /// With a secret in two commits, and one beside it that is not.
    fn with_history() -> Project {
        let project = Project::new();
        project.outside(
            "echo CANARY-ONE >.env; mkdir src; echo public >src/main.rs; git add -A; git commit -qm one;
             echo CANARY-TWO >.env; echo more >>src/main.rs; git commit -qam two",
        );
        project
    }

    /// Runs a script where nothing is confined.
    fn outside(&self, script: &str) -> String {
        shell(Command::new("sh").arg("-ec").arg(script).current_dir(&self.workspace))
    }

    fn builder(&self) -> Builder {
        let mut builder = Sandbox::builder();
        builder.system().workspace(&self.workspace, Access::ReadWrite);
        builder.deny_read("**/.env").deny_read("**/secrets/**").deny_read("config/*.key");
        builder.deny_read_except("**/*.pem", ["**/public.pem"]);
        builder
    }

    /// Runs a script with only the files covered, or with the history hidden too.
    fn inside(&self, hidden: bool, script: &str) -> String {
        let mut builder = self.builder();
        if hidden {
            builder.deny_read_git_history(&self.state);
        }
        let sandbox = builder.start().unwrap();
        let output =
            sandbox.command("sh").args(["-c", script]).envs(IDENTITY).current_dir(&self.workspace).output().unwrap();
        format!("RAN {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The script gives a secret away when only files are covered, and none when the history is hidden.
    fn gives_away_nothing(&self, script: &str) {
        let (open, hidden) = (self.inside(false, script), self.inside(true, script));
        assert!(open.contains(CANARY), "the attack does not work: {script}\n{open}");
        assert!(!hidden.contains(CANARY), "{script}\n{hidden}");
    }
}

const IDENTITY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "a"),
    ("GIT_AUTHOR_EMAIL", "a@b"),
    ("GIT_COMMITTER_NAME", "a"),
    ("GIT_COMMITTER_EMAIL", "a@b"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
];

fn shell(command: &mut Command) -> String {
    let output = command.envs(IDENTITY).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every file of every object: what a program that does not ask git can do.
const EVERY_OBJECT: &str = "git cat-file --batch-all-objects --batch --unordered --allow-unknown-type 2>&1 | cat -v;
    for file in .git/objects/??/*; do cat $file | python3 -c 'import sys, zlib; print(zlib.decompress(sys.stdin.buffer.read()))'; done;
    for pack in .git/objects/pack/*.pack; do git unpack-objects -n <$pack; python3 - $pack <<'END'
import sys, zlib
data = open(sys.argv[1], 'rb').read()
for at in range(len(data)):
    try: print(zlib.decompressobj().decompress(data[at:]))
    except zlib.error: pass
END
    done";

#[test]
fn objects_with_files_of_their_own() {
    let project = Project::with_history();
    for script in [
        "git show HEAD:.env",
        "git show HEAD~1:.env",
        "git log -p --all",
        "git archive HEAD | tar xO .env",
        EVERY_OBJECT,
    ] {
        project.gives_away_nothing(script);
    }
}

#[test]
fn objects_in_packs() {
    let project = Project::with_history();
    project.outside("git gc -q; test -z \"$(ls .git/objects | grep '^..$')\"");
    for script in [
        "git show HEAD:.env",
        "git show HEAD~1:.env",
        "git log -p --all",
        "git archive HEAD | tar xO .env",
        EVERY_OBJECT,
    ] {
        project.gives_away_nothing(script);
    }
    assert!(project.inside(true, "git show HEAD:.env").contains("hidden by holdpoint"));
}

#[test]
fn what_was_added_and_never_committed() {
    let project = Project::with_history();
    project.outside("echo CANARY-STAGED >.env; git add -f .env; git rm -q --cached .env; rm .env; git commit -qm gone");
    project.gives_away_nothing(
        "git fsck --lost-found >/dev/null 2>&1; cat .git/lost-found/other/*; rm -r .git/lost-found",
    );
    project.gives_away_nothing(EVERY_OBJECT);
    // Staged now.
    let staged = Project::with_history();
    staged.outside("echo CANARY-STAGED >.env; git add .env");
    staged.gives_away_nothing("git show :.env");
}

#[test]
fn what_no_branch_leads_to_any_more() {
    for pack in ["", "git repack -adkq;"] {
        let project = Project::with_history();
        project.outside(&format!(
            "git checkout -q --orphan new; git rm -q --cached .env; git commit -qm new; git branch -qD main;
             git reflog expire --expire=all --all; {pack}"
        ));
        project.gives_away_nothing(EVERY_OBJECT);
    }
}

#[test]
fn stashes_tags_notes_and_annotated_names() {
    let project = Project::with_history();
    project.outside(
        "echo CANARY-STASH >.env; git stash -q; git tag -am x key $(echo CANARY-TAG | git hash-object -w --stdin)",
    );
    project.gives_away_nothing("git stash show -p");
    project.gives_away_nothing("git show key");
    project.outside("git gc -q");
    project.gives_away_nothing("git stash show -p");
}

#[test]
fn directories_and_paths_from_the_root() {
    let project = Project::new();
    project.outside(
        "mkdir -p a/secrets config deep/config; echo CANARY-DIRECTORY >a/secrets/x; echo CANARY-KEY >config/prod.key;
         echo open >deep/config/prod.key; echo CANARY-PEM >a/Private.PEM; echo open >a/public.pem;
         git add -A; git commit -qm x; rm -r a config; git commit -qam gone",
    );
    project.gives_away_nothing("git show HEAD~1:a/Private.PEM");
    assert!(project.inside(true, "git show HEAD~1:a/public.pem").contains("open"));
    project.gives_away_nothing("git show HEAD~1:a/secrets/x");
    project.gives_away_nothing("git show HEAD~1:config/prod.key");
    assert!(project.inside(true, "git show HEAD:deep/config/prod.key").contains("open"));
}

#[test]
fn a_repository_in_the_workspace_and_a_worktree_and_a_submodule() {
    let project = Project::new();
    project.outside(
        "git init -q sub; cd sub; mkdir config; echo CANARY-SUB >.env; git add -A; git commit -qm x; rm .env; git commit -qam gone;
         cd ..; git -c protocol.file.allow=always submodule --quiet add ./sub module 2>/dev/null; git commit -qm module;
         git worktree add -q tree; cd tree; echo CANARY-TREE >.env; git add .env; git commit -qm x",
    );
    project.gives_away_nothing("cd sub; git show HEAD~1:.env");
    project.gives_away_nothing("cd module; git show HEAD~1:.env");
    project.gives_away_nothing("cd tree; git show HEAD:.env");
}

#[test]
fn a_database_by_another_name_and_one_that_is_borrowed() {
    let project = Project::with_history();
    project.outside("cp -r .git/objects kept; rm -rf .git; git init -q -b main other; echo $PWD/kept >other/.git/objects/info/alternates");
    let head = project
        .outside("GIT_DIR=other/.git git cat-file --batch-all-objects --batch-check | grep commit | cut -d' ' -f1");
    let commit = head.lines().next().unwrap();
    project.gives_away_nothing(&format!("git -C other show {commit}:.env"));
    project.gives_away_nothing(&format!("git -C other log -p {commit}"));
}

#[test]
fn what_was_hidden_once_stays_hidden_whatever_a_commit_calls_it() {
    for packed in [false, true] {
        let project = Project::with_history();
        if packed {
            project.outside("git gc -q");
        }
        let secret = project.outside("git rev-parse HEAD:.env");
        // One run has a harmless name for it and lets go of all that knew the other; the next one finds that.
        let said = project.inside(
            true,
            &format!(
                "set -e; tree=$(printf '100644 blob {}\\tharmless\\n' | git mktree --missing); commit=$(git commit-tree -m new $tree </dev/null);
                 git update-ref refs/heads/main $commit; rm -rf .git/logs .git/index; echo FINE",
                secret.trim()
            ),
        );
        assert!(said.contains("FINE"), "{said}");
        project.outside("git gc -q --prune=now; test $(git cat-file --batch-all-objects --batch-check | wc -l) -lt 5");
        let script = "git show main:harmless";
        let second = project.inside(true, script);
        assert!(!second.contains(CANARY) && second.contains("hidden by holdpoint"), "packed {packed}: {second}");
        // It is the memory that holds.
        fs::remove_dir_all(&project.state).unwrap();
        assert!(project.inside(true, script).contains(CANARY), "the attack does not work");
    }
}

#[test]
fn what_is_staged_between_two_runs_and_taken_back() {
    let project = Project::with_history();
    project.inside(true, "true");
    project.outside("echo CANARY-BETWEEN >.env; git add .env; git reset -q");
    project.gives_away_nothing(EVERY_OBJECT);
}

#[test]
fn a_tree_that_comes_later_is_walked_then() {
    let (project, whole) = (Project::with_history(), Project::new());
    whole.outside("echo CANARY-LATER >.env; git add -A; git commit -qm x");
    let objects = whole.workspace.join(".git/objects");
    let commit = whole.outside("git rev-parse HEAD");
    let (first, rest) = commit.trim().split_at(2);
    // As in a partial clone.
    project.outside(&format!(
        "mkdir -p .git/objects/{first}; cp {}/{first}/{rest} .git/objects/{first}",
        objects.display()
    ));
    project.inside(true, "true");
    project.inside(true, "true");
    project.outside(&format!("cp -rn {}/?? .git/objects", objects.display()));
    project.gives_away_nothing(&format!("git show {}:.env", commit.trim()));
}

#[test]
fn git_goes_on_working() {
    for packed in [false, true] {
        let project = Project::with_history();
        if packed {
            project.outside("git gc -q");
        }
        let said = project.inside(
            true,
            "set -ex; echo new >src/lib.rs; git add src; git commit -qm three; git log --oneline | wc -l; git show HEAD:src/main.rs;
             git checkout -qb side; echo x >x; git add x; git commit -qm four; git checkout -q main; git merge -q side; git status --short src;
             git diff HEAD~1 -- src; git cat-file -e HEAD:.env; git stash list; git branch; git worktree list; echo FINE",
        );
        assert!(said.contains("FINE") && said.contains("public\nmore"), "{said}");
        // Nothing of it has changed what lies outside.
        assert_eq!(project.outside("git show main:.env; git show main:x; git fsck 2>&1"), "CANARY-TWO\nx\n");
    }
}

#[test]
fn what_stands_beside_a_database_is_in_nobodys_way() {
    let project = Project::with_history();
    // As git's own watcher makes it.
    let _socket = std::os::unix::net::UnixListener::bind(project.workspace.join(".git/fsmonitor--daemon.ipc")).unwrap();
    // Of names that look like parts of a database.
    project.outside("mkdir -p locale/de locale/ca pack; echo hallo >locale/de/text; echo a >pack/a");
    project.gives_away_nothing("git show HEAD:.env");
    assert!(project.inside(true, "cat locale/de/text pack/a").contains("hallo\na"));
}

#[test]
fn packs_are_made_once_and_anew_when_there_are_others() {
    let project = Project::with_history();
    project.outside("git gc -q");
    let packs = || {
        let sandbox = project.builder().deny_read_git_history(&project.state).start().unwrap();
        sandbox.plan().replaced.first().map(|replaced| replaced.by.clone())
    };
    let first = packs().unwrap();
    assert_eq!(packs().unwrap(), first);
    project.outside("echo more >>src/main.rs; git commit -qam three; git gc -q");
    let second = packs().unwrap();
    assert_ne!(first, second);
    assert_eq!(packs().unwrap(), second);
    assert!(project.inside(true, "git log --oneline | wc -l").contains('3'));
}

#[test]
fn an_open_history_stays_as_it_is() {
    let project = Project::new();
    project.outside("echo fine >a; : >.env; : >b; git add -A; git commit -qm x; git gc -q");
    let sandbox = project.builder().deny_read_git_history(&project.state).start().unwrap();
    assert!(sandbox.plan().replaced.is_empty());
    assert!(!project.inside(true, "git show HEAD:b HEAD:a").contains("hidden"));
}

/// A sandbox that lives, with the history hidden or without.
struct Life {
    sandbox: Sandbox,
    workspace: PathBuf,
}

impl Life {
    fn of(project: &Project, hidden: bool) -> Life {
        let mut builder = project.builder();
        if hidden {
            builder.deny_read_git_history(&project.state);
        }
        Life { sandbox: builder.start().unwrap(), workspace: project.workspace.clone() }
    }

    fn run(&self, script: &str) -> String {
        let mut command = self.sandbox.command("sh");
        let output = command.args(["-c", script]).envs(IDENTITY).current_dir(&self.workspace).output().unwrap();
        format!("RAN {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

/// What happens outside between two commands of a living sandbox gives a secret to the second one when only files are covered,
/// and none when the history is hidden.
fn hides_meanwhile(start: &str, meanwhile: &str, read: &str) {
    for hidden in [false, true] {
        let project = Project::with_history();
        project.outside(start);
        let life = Life::of(&project, hidden);
        life.run("true");
        project.outside(meanwhile);
        let said = life.run(read);
        assert_eq!(said.contains(CANARY), !hidden, "{meanwhile} {read}: {said}");
        let works = life.run("set -e; git show HEAD:src/main.rs; echo x >x; git add x; git commit -qm x; git log --oneline >/dev/null; echo FINE");
        assert!(works.contains("FINE") && works.contains("public"), "{meanwhile}: {works}");
    }
}

#[test]
fn what_is_committed_outside_while_a_sandbox_lives() {
    let commit = "echo CANARY-LATE >.env; git commit -qam late";
    hides_meanwhile("true", commit, "git show HEAD:.env");
    hides_meanwhile("git gc -q", commit, "git show HEAD:.env");
    hides_meanwhile("true", "echo CANARY-LATE >.env; git add .env; git reset -q", EVERY_OBJECT);
    hides_meanwhile("echo CANARY-LATE >.env", "git hash-object -w .env", EVERY_OBJECT);
    // A name in the index is enough.
    hides_meanwhile(
        "echo CANARY-OPEN >open; git add open; git commit -qm open",
        "git mv -f open .env",
        "git cat-file -p :.env",
    );
}

#[test]
fn what_is_packed_outside_while_a_sandbox_lives() {
    // Nothing was replaced at the start.
    hides_meanwhile("true", "git gc -q", EVERY_OBJECT);
    hides_meanwhile("true", "echo CANARY-LATE >.env; git commit -qam late; git gc -q", "git show HEAD:.env");
    // Something was.
    hides_meanwhile("git gc -q", "echo CANARY-LATE >.env; git commit -qam late; git gc -q", "git show HEAD:.env");
    let fetched = "git init -q ../other; cd ../other; echo CANARY-OTHER >.env; git add -A; git commit -qm x; git gc -q;
         cd ../work; git fetch -q ../other; git gc -q";
    hides_meanwhile("true", fetched, "git show FETCH_HEAD:.env");
    hides_meanwhile("git gc -q", fetched, "git show FETCH_HEAD:.env");
    // What is shown follows, also when nothing has to be left out any more.
    let project = Project::with_history();
    project.outside("git gc -q");
    let life = Life::of(&project, true);
    for turn in 0..4 {
        project.outside(&format!(
            "echo CANARY-{turn} >.env; echo {turn} >open; git add -A; git commit -qm {turn}; git gc -q"
        ));
        let said = life.run("git show HEAD:.env; git show HEAD:open");
        assert!(!said.contains(CANARY) && said.contains(&turn.to_string()), "{said}");
    }
    project.outside(
        "git checkout -q --orphan clean; git rm -q --cached .env; git commit -qm clean; git branch -qD main;
         git reflog expire --expire=all --all; git gc -q --prune=now",
    );
    let said = life.run("git show HEAD:open; git log --oneline");
    assert!(said.contains("3\n") && said.contains("clean"), "{said}");
}

#[test]
fn what_is_written_to_git_while_a_command_runs() {
    for hidden in [false, true] {
        let project = Project::with_history();
        let life = Life::of(&project, hidden);
        let mut reader = life.sandbox.command("sh");
        let script = "touch ready; until test -e go; do sleep 0.05; done; sleep 2; git show HEAD:.env; git cat-file blob HEAD:.env";
        let reader = reader.args(["-c", script]).envs(IDENTITY).current_dir(&project.workspace);
        let child = reader.stdout(Stdio::piped()).spawn().unwrap();
        project.outside(
            "until test -e ready; do sleep 0.05; done; echo CANARY-LATE >.env; git commit -qam late; touch go",
        );
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.contains(CANARY), !hidden, "{said}");
    }
}

#[test]
fn a_repository_that_comes_while_a_sandbox_lives() {
    hides_meanwhile(
        "true",
        "git init -q new; cd new; echo CANARY-NEW >.env; echo open >open; git add -A; git commit -qm x",
        "git -C new show HEAD:.env",
    );
    // What commands write meanwhile has no place yet when it is looked at, and stays theirs.
    let project = Project::new();
    let life = Life::of(&project, true);
    life.run("git init -q own; cd own; for each in $(seq 20); do echo open$each | git hash-object -w --stdin; sleep 0.02; done");
    let said = life.run("git -C own cat-file --batch-all-objects --batch");
    assert!((1..=20).all(|each| said.contains(&format!("open{each}\n"))), "{said}");
    // The next start looks at it for the first time.
    project.outside(
        "git init -q new; cd new; echo CANARY-DROPPED | git hash-object -w --stdin; git commit -q --allow-empty -m x",
    );
    life.run("true");
    drop(life);
    assert!(!Life::of(&project, true).run("git -C new cat-file --batch-all-objects --batch").contains(CANARY));
}

#[test]
fn a_history_that_cannot_be_looked_through_any_more_ends_the_sandbox() {
    let project = Project::with_history();
    let life = Life::of(&project, true);
    life.run("true");
    project.outside("mkdir .git/objects/ab; touch .git/objects/ab/$(printf 'c%.0s' $(seq 62))");
    let error = life.sandbox.command("true").status().unwrap_err();
    assert!(matches!(error, Error::Ended { .. }) && error.to_string().contains("history of git"), "{error}");
}

#[test]
fn a_repository_with_sha256() {
    for packed in [false, true] {
        let project = Project::new();
        project.outside("rm -rf .git; git init -q -b main --object-format=sha256; echo CANARY-LONG >.env; echo a >a; git add -A; git commit -qm x");
        if packed {
            project.outside("git gc -q");
        }
        project.gives_away_nothing("git show HEAD:.env");
        assert!(
            project
                .inside(true, "git show HEAD:a; echo b >b; git add b; git commit -qm y && echo FINE")
                .contains("FINE")
        );
    }
}

#[test]
fn a_database_that_reaches_for_what_lies_outside_gets_nothing() {
    let outside = Project::new();
    outside.outside("echo CANARY-OUTSIDE >a; git add -A; git commit -qm x; git gc -q; git tag x");
    let (packs, store) = (outside.workspace.join(".git/objects/pack"), outside.workspace.join(".git/objects"));
    let blob = outside.outside("git rev-parse HEAD:a");
    let blob = blob.trim();
    // Each has something to be left out of a pack, so that packs are made.
    let own = "git init -q evil; cd evil; echo denied >.env; git add .env; git commit -qm x; git gc -q";
    for reach in [
        // Names that are not in the pack, and a database that has them.
        format!(
            "echo {} >.git/objects/info/alternates; cp {}/*.idx .git/objects/pack/",
            store.display(),
            packs.display()
        ),
        format!("for file in {}/*; do ln -s $file .git/objects/pack/; done", packs.display()),
        format!("rm -r .git/objects/pack; ln -s {} .git/objects/pack", packs.display()),
        format!("rm -rf .git/objects; ln -s {} .git/objects", store.display()),
    ] {
        let project = Project::with_history();
        project.outside(&format!("{own}; {reach}"));
        assert_eq!(project.outside(&format!("git -C evil cat-file -p {blob} || true")), "CANARY-OUTSIDE\n", "{reach}");
        let mut builder = project.builder();
        // Refused, or started without.
        let Ok(sandbox) = builder.deny_read_git_history(&project.state).start() else { continue };
        let script = format!("git -C evil cat-file -p {blob}; cd evil; {EVERY_OBJECT}");
        let output =
            sandbox.command("sh").args(["-c", &script]).envs(IDENTITY).current_dir(&project.workspace).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(CANARY), "{reach}\n{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn a_database_does_not_get_from_another_what_is_hidden_there() {
    let project = Project::with_history();
    project.outside("git gc -q");
    let secret = project.outside("git rev-parse HEAD:.env");
    project.inside(true, "true");
    // Nothing in it says that the object is a secret, and its pack has an index that names it.
    project.inside(
        true,
        "git init -q evil; cd evil; echo denied >.env; echo x >x; git add -A; git commit -qm x; git gc -q;
         echo ../../../.git/objects >.git/objects/info/alternates; cp ../.git/objects/pack/*.idx .git/objects/pack/",
    );
    project.gives_away_nothing(&format!("git -C evil cat-file -p {}", secret.trim()));
}

#[test]
fn the_settings_of_a_repository_start_nothing_outside() {
    let project = Project::with_history();
    let proof = project.state.with_file_name("proof");
    let program = project.workspace.join("program");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", proof.display())).unwrap();
    shell(Command::new("chmod").arg("+x").arg(&program));
    let name = program.display();
    project.outside(&format!(
        "git config core.fsmonitor {name}; git config core.pager {name}; git config core.sshCommand {name};
         git config core.alternateRefsCommand {name}; git config uploadpack.packObjectsHook {name};
         git config extensions.partialClone origin; git config remote.origin.promisor true; git config remote.origin.url 'ext::{name}'"
    ));
    project.inside(true, "true");
    assert!(!proof.exists());
}

#[test]
fn what_cannot_be_looked_through_starts_nothing() {
    let refused = |project: &Project| {
        let error = project.builder().deny_read_git_history(&project.state).plan().unwrap_err();
        assert!(matches!(error, Error::Plan { .. }), "{error:?}");
        error.to_string()
    };
    let waiting = Project::with_history();
    waiting.outside("mkfifo .git/objects/info/alternates");
    assert!(refused(&waiting).contains("is no file"));

    // Git would look for one kind of names and find none.
    let mixed = Project::with_history();
    mixed.outside("git gc -q; mkdir .git/objects/ab; touch .git/objects/ab/$(printf 'c%.0s' $(seq 62))");
    assert!(refused(&mixed).contains("SHA-256"));
    let renamed = Project::with_history();
    renamed.outside("git gc -q");
    renamed.inside(true, "true");
    renamed.outside(
        "cd .git/objects/pack; for pack in pack-*; do mv $pack pack-$(printf 'c%.0s' $(seq 64)).${pack##*.}; done",
    );
    assert!(refused(&renamed).contains("another length"));

    let damaged = Project::with_history();
    damaged.inside(true, "true");
    let memory = damaged.outside("find ../state -name hidden");
    fs::write(damaged.workspace.join(memory.trim()), "nonsense\n").unwrap();
    assert!(refused(&damaged).contains("as if for the first time"));
    fs::remove_file(damaged.workspace.join(memory.trim())).unwrap();
    assert!(!damaged.inside(true, "git show HEAD:.env").contains(CANARY));

    let broken = Project::with_history();
    broken.outside("git gc -q; chmod u+w .git/objects/pack/*.pack; for pack in .git/objects/pack/*.pack; do truncate -s 40 $pack; done");
    let why = refused(&broken);
    assert!(why.contains("git fsck") && why.contains("deny_read_git_history"), "{why}");

    let full = Project::with_history();
    symlink("/dev/null", &full.state).unwrap();
    assert!(refused(&full).contains("has to be writable"));
}
