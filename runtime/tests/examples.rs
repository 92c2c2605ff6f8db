//! The examples do what they say. They are built with the tests; `cargo test --test examples` alone does not build them.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use serde_json::{Value, json};
use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The program of an example, beside this test's own.
fn example(name: &str) -> Command {
    let own = env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.is_file(), "{} is not built; run: cargo build --examples", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    (directory, root)
}

#[test]
fn a_build_prints_while_it_runs_and_keeps_its_exit_code() {
    let (_directory, root) = place();
    fs::write(root.join(".env"), "TOKEN=secret").unwrap();
    let script = "echo compiling; echo careful >&2; cat .env; echo done > product; exit 3";
    let output = example("build").arg(&root).args(["sh", "-c", script]).output().unwrap();
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(out.contains("out | compiling\n") && out.contains("err | careful\n"), "{out}");
    assert!(!out.contains("secret"), "{out}");
    assert_eq!(fs::read_to_string(root.join("product")).unwrap(), "done\n");
}

fn verdict(root: &Path, submission: &str, limits: &[&str]) -> String {
    let (file, input, expected) = (root.join("submission"), root.join("input"), root.join("expected"));
    fs::write(&file, format!("#!/bin/sh\n{submission}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&input, "20 22\n").unwrap();
    fs::write(&expected, "42\n").unwrap();
    let output = example("judge").args([file, input, expected]).args(limits).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).split(' ').next().unwrap().to_owned()
}

#[test]
fn a_judge_knows_every_way_to_fail() {
    let (_directory, root) = place();
    let sum = "read a b; echo $((a + b))";
    assert_eq!(verdict(&root, sum, &[]), "AC");
    assert_eq!(verdict(&root, "echo 43", &[]), "WA");
    assert_eq!(verdict(&root, "exit 1", &[]), "RE");
    assert_eq!(verdict(&root, "kill -SEGV $$", &[]), "RE");
    assert_eq!(verdict(&root, "while :; do :; done", &["256", "1"]), "TLE");
    assert_eq!(verdict(&root, "sleep 1000", &["256", "1"]), "TLE");
    assert_eq!(verdict(&root, "yes", &[]), "OLE");
    let hog = "exec python3 -c 'x = []\nwhile True: x.append(bytearray(b\"x\" * (1 << 20)))'";
    assert_eq!(verdict(&root, hog, &["64", "5"]), "MLE");
    let peeks = format!("cat {}", root.join("expected").display());
    assert_eq!(verdict(&root, &peeks, &[]), "RE", "the answer is not there to be read");
}

fn ask(root: &Path, requests: &[Value]) -> Vec<Value> {
    let mut tool = example("agent_tool").arg(root).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = tool.stdin.take().unwrap();
    requests.iter().for_each(|request| writeln!(input, "{request}").unwrap());
    drop(input);
    let Output { status, stdout, stderr } = tool.wait_with_output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
    text(&stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_agents_tool_answers_each_request_from_one_sandbox() {
    let (_directory, root) = place();
    fs::write(root.join(".env"), "TOKEN=secret").unwrap();
    let answers = ask(
        &root,
        &[
            json!({"id": 1, "command": "echo kept > /tmp/note; echo out; echo err >&2; exit 4"}),
            json!({"id": 2, "command": "cat /tmp/note .env"}),
            json!({"id": 3, "command": "sleep 1000", "timeout_ms": 200}),
            json!({"id": 4, "command": "sleep 1000 & echo left"}),
            json!({"id": 5, "command": "head -c 10000000 /dev/zero | tr '\\0' x"}),
            json!({"id": 6, "what": "else"}),
            json!({"id": 7, "command": "echo last"}),
        ],
    );
    assert_eq!(answers[0], json!({"id": 1, "exit_code": 4, "stdout": "out\n", "stderr": "err\n"}));
    assert_eq!((&answers[1]["stdout"], &answers[1]["exit_code"]), (&json!("kept\n"), &json!(1)));
    assert_eq!(answers[2], json!({"id": 3, "signal": 9, "stdout": "", "stderr": ""}));
    assert_eq!(answers[3]["stdout"], "left\n");
    assert_eq!(answers[4]["stdout"].as_str().unwrap().len(), 64 << 10);
    assert!(answers[5]["error"].as_str().unwrap().contains("unknown field `what`"), "{}", answers[5]);
    assert_eq!(answers[6], json!({"id": 7, "exit_code": 0, "stdout": "last\n", "stderr": ""}));
}

#[test]
fn an_async_program_runs_commands_side_by_side() {
    let output = example("tokio").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = text(&output.stdout);
    assert_eq!(out, "exit status: 0: one\nexit status: 0: 100000\nsignal: 9 (SIGKILL): before\n");
}
