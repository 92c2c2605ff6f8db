//! Configuration: the article's examples letter for letter, every wrong one with a caret, and files that cannot be read.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Machine, json};

/// The three examples of the article, as they are printed there.
const PRODUCTION: &str = r#"# ~/.codex/config.toml — conservative production-adjacent profile
[profile.production]
sandbox = "workspace-write"          # network blocked by default
approval_policy = "suggest"          # every action requires approval
"#;

const HOOK: &str = r#"# config.toml — block destructive API calls
[[hooks]]
event = "PreToolUse"
tool = "shell"
command = """
if echo "$INPUT" | grep -qiE '(curl.*-X DELETE|railway.*delete|DROP DATABASE|rm -rf /)'; then
  echo "BLOCK: Destructive command detected — requires manual execution"
  exit 1
fi
exit 0
"""
"#;

const ADJACENT: &str = r#"# ~/.codex/config.toml

[profile.production-adjacent]
model = "gpt-5.5"
sandbox = "workspace-write"             # network blocked
approval_policy = "suggest"             # all actions approved

# Block agent from reading credentials
deny_read_paths = [
  "**/.env*",
  "**/secrets/**",
  "**/*token*",
  "**/*credential*",
  "**/railway.json",
  "**/.railway/**"
]

# Hook: block destructive commands even if sandbox is relaxed
[[hooks]]
event = "PreToolUse"
tool = "shell"
command = """
if echo "$INPUT" | grep -qiE '(curl.*DELETE|railway.*volume.*delete|DROP|TRUNCATE)'; then
  echo "BLOCK: Destructive operation intercepted"
  exit 1
fi
exit 0
"""
"#;

/// The prose of the article's AGENTS.md, with its rules as an enforced block beside it.
const AGENTS: &str = r#"<!-- AGENTS.md -->
## Production Safety Rules

- NEVER execute destructive operations (DELETE, DROP, WIPE, rm -rf) against any API or database
- NEVER use credentials found in the codebase — ask the operator for the correct credential
- If you encounter a credential mismatch, STOP and describe the problem. Do not attempt to fix it.
- All infrastructure operations require human approval, regardless of approval mode setting.

```holdpoint
deny_read_paths = ["**/.railway/**"]

[[rules]]
prefix = ["terraform"]
verdict = "ask"
reason = "infrastructure needs a person"

[[rules]]
prefix = ["curl", "-X", "DELETE"]
verdict = "deny"
reason = "never destructive"
match = ["curl -X DELETE http://a"]
not_match = ["curl http://a"]
```
"#;

fn file(machine: &Machine, text: impl AsRef<[u8]>) -> String {
    let path = machine.root().join("their.toml");
    std::fs::write(&path, text).expect("it can be written");
    path.display().to_string()
}

#[test]
fn the_articles_first_profile_works_as_it_is_printed() {
    let machine = Machine::new();
    let config = file(&machine, PRODUCTION);
    let done = machine.holdpoint(&["check", "--json", "--config", &config, "--profile", "production", "--", "true"]);
    assert_eq!(done.code, 10, "{}", done.err);
    assert_eq!(json(&done)["verdict"], "ask");
}

#[test]
fn the_articles_hooks_work_as_they_are_printed() {
    let machine = Machine::new();
    for (config, argv, reason) in [
        (HOOK, &["curl", "-X", "DELETE", "http://127.0.0.1:9/"][..], "BLOCK: Destructive command detected"),
        (HOOK, &["sh", "-c", "psql -c 'drop database prod'"], "BLOCK: Destructive command detected"),
        (ADJACENT, &["sh", "-c", "railway volume delete v1"], "BLOCK: Destructive operation intercepted"),
        (
            ADJACENT,
            &["sh", "-c", "curl -s \\\n -X DELETE http://127.0.0.1:9/"],
            "BLOCK: Destructive operation intercepted",
        ),
    ] {
        let config = file(&machine, config);
        let args = ["run", "--config", &config, "--approval", "full-auto", "--"];
        let done = machine.holdpoint(&[&args, argv].concat());
        assert!(done.code == 77 && done.err.contains(reason), "{argv:?}: {done:?}");
    }
}

#[test]
fn the_articles_last_profile_hides_what_it_names() {
    let machine = Machine::new();
    let config = file(&machine, ADJACENT);
    for name in [".env", "a/.env.local", "secrets/x", "my-token.txt", "aws_credentials", "railway.json", ".railway/t"] {
        machine.file(name, "SECRET");
    }
    machine.file("readme", "public\n");
    let args = ["run", "--config", &config, "--profile", "production-adjacent", "--approval", "full-auto", "--"];
    let done = machine.holdpoint(&[&args[..], &["grep", "-rs", "", "."]].concat());
    assert!(done.out.contains("readme:public") && !done.out.contains("SECRET"), "{done:?}");
}

#[test]
fn the_articles_agents_md_is_carried_and_its_block_enforced() {
    let machine = Machine::new();
    machine.file("AGENTS.md", AGENTS);
    machine.file(".railway/t", "SECRET");
    let text = machine.holdpoint(&["agents-md"]);
    assert!(text.out.contains("NEVER execute destructive operations"), "{text:?}");
    assert_eq!(machine.holdpoint(&["check", "--profile", "free", "--", "terraform", "apply"]).code, 10);
    let denied = machine.run(&["curl", "-X", "DELETE", "http://127.0.0.1:9"]);
    assert!(denied.code == 77 && denied.err.contains("never destructive"), "{denied:?}");
    assert!(denied.err.contains("AGENTS.md:"), "the rule's place is named: {}", denied.err);
    assert_eq!(machine.run(&["cat", ".railway/t"]).out, "");
    machine.file("AGENTS.md", "```holdpoint\nsandbox = \"none\"\n```\n");
    let done = machine.holdpoint(&["explain", "--json"]);
    assert!(done.code == 78 || done.out.contains("workspace-write"), "a block cannot loosen: {done:?}");
}

#[test]
fn an_unknown_key_or_word_is_shown_with_a_caret_and_the_nearest_known_one() {
    let machine = Machine::new();
    for (text, place, marked, hint) in [
        ("[profile.default]\nsandbx = \"read-only\"\n", "2:1", "^^^^^^", "`sandbox`"),
        ("[profile.default]\nsandbox = \"read-olny\"\n", "2:11", "^^^^^^^^^^^", "`read-only`"),
        ("[profile.default]\napproval_policy = \"sugest\"\n", "2:19", "^^^^^^^^", "`suggest`"),
        ("[[hooks]]\nevent = \"PreToolUs\"\ncommand = \"true\"\n", "2:9", "^^^^^^^^^^^", "`PreToolUse`"),
        ("[profiles.default]\n", "1:2", "^^^^^^^^", "`profile`"),
    ] {
        let config = file(&machine, text);
        let done = machine.holdpoint(&["run", "--json", "--config", &config, "--", "touch", "ran"]);
        assert_eq!(done.code, 78, "{text}");
        for part in [place, marked, hint, "their.toml"] {
            assert!(done.err.contains(part), "{part:?} is missing in:\n{}", done.err);
        }
        assert_eq!(json(&done)["result"], "config");
        assert!(machine.names().is_empty());
    }
}

#[test]
fn whatever_is_wrong_with_a_file_is_one_short_error() {
    let machine = Machine::new();
    let broken: [&[u8]; 5] =
        [b"[profile", b"a = \xff\n", b"sandbox = 3\n", b"x = \"\x1b[2J\x1b[31m\"\n", &[b'['; 200_000]];
    for text in broken {
        let config = file(&machine, text);
        let done = machine.holdpoint(&["check", "--config", &config, "--", "true"]);
        assert_eq!(done.code, 78, "{done:?}");
        assert!(done.err.lines().count() < 24 && done.err.len() < 4000, "{} bytes", done.err.len());
        assert!(!done.err.contains('\u{1b}') && !done.err.contains("panicked"), "{}", done.err);
    }
    let config = machine.root().join("dir");
    std::fs::create_dir(&config).expect("mkdir");
    for path in [&config, &machine.root().join("missing"), &machine.root().join("dir/x/y"), &"/dev/zero".into()] {
        let done = machine.holdpoint(&["explain", "--config", path.to_str().expect("text")]);
        assert!(done.code == 78 && done.err.lines().count() < 6, "{path:?}: {done:?}");
    }
}

#[test]
fn a_file_that_is_there_and_cannot_be_read_is_an_error_everywhere() {
    let machine = Machine::new();
    std::fs::create_dir(machine.workspace().join("AGENTS.md")).expect("mkdir");
    assert_eq!(machine.run(&["true"]).code, 0, "a directory of that name says nothing");
    std::fs::remove_dir(machine.workspace().join("AGENTS.md")).expect("rmdir");
    machine.file("AGENTS.md", b"\xff\xfe");
    assert_eq!(machine.run(&["true"]).code, 78);
    std::fs::remove_file(machine.workspace().join("AGENTS.md")).expect("rm");
    std::fs::create_dir_all(machine.workspace().join(".holdpoint/config.toml")).expect("mkdir");
    assert_eq!(machine.run(&["true"]).code, 78);
    std::fs::remove_dir_all(machine.workspace().join(".holdpoint")).expect("rm");
    nix::unistd::mkfifo(&machine.workspace().join("AGENTS.md"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    assert_eq!(machine.run(&["true"]).code, 78, "and nobody waits for a pipe");
    std::fs::remove_file(machine.workspace().join("AGENTS.md")).expect("rm");
    if !nix::unistd::geteuid().is_root() {
        std::fs::set_permissions(machine.config(), PermissionsExt::from_mode(0o000)).expect("chmod");
        assert_eq!(machine.run(&["true"]).code, 78, "the person's own file, unreadable");
    }
}

#[test]
fn a_project_only_tightens() {
    let machine = Machine::with("[profile.default]\napproval_policy = \"full-auto\"\n");
    machine.file(".holdpoint/config.toml", "approval_policy = \"suggest\"\nsandbox = \"read-only\"\n");
    let done = machine.holdpoint(&["check", "--json", "--", "true"]);
    assert_eq!(done.code, 10, "{done:?}");
    let explained = machine.holdpoint(&["explain"]);
    assert!(
        explained.out.contains("read-only") && explained.out.contains(".holdpoint/config.toml:"),
        "{}",
        explained.out
    );
    machine.file(".holdpoint/config.toml", "[profile.default]\nwritable_paths = [\"/etc\"]\n");
    let done = machine.holdpoint(&["check", "--", "true"]);
    assert_eq!(done.code, 78, "{done:?}");
}

#[test]
fn flags_count_and_an_unknown_profile_is_an_error() {
    let machine = Machine::with("[profile.default]\napproval_policy = \"full-auto\"\n");
    assert_eq!(machine.holdpoint(&["check", "--", "true"]).code, 0);
    assert_eq!(machine.holdpoint(&["check", "--approval", "suggest", "--", "true"]).code, 10);
    assert_eq!(machine.holdpoint(&["check", "--approval", "sugest", "--", "true"]).code, 64);
    assert_eq!(machine.holdpoint(&["check", "--sandbox", "open", "--", "true"]).code, 64);
    assert_eq!(machine.holdpoint(&["check", "--deny-read", "[", "--", "true"]).code, 78);
    let done = machine.holdpoint(&["check", "--profile", "fre", "--", "true"]);
    assert!(done.code == 78 && done.err.contains("`free`"), "{done:?}");
}

#[test]
fn another_file_stands_in_for_the_persons_own_but_not_for_the_projects() {
    let machine = Machine::with("[profile.default]\napproval_policy = \"full-auto\"\n");
    let config = file(&machine, "");
    assert_eq!(machine.holdpoint(&["check", "--config", &config, "--", "true"]).code, 10);
    machine.file(".holdpoint/config.toml", "[[rules]]\nprefix = [\"true\"]\nverdict = \"deny\"\n");
    assert_eq!(machine.holdpoint(&["check", "--config", &config, "--", "true"]).code, 77);
}
