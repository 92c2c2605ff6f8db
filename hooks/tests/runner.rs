//! Real hooks, run for real: each way of failing must block, and none may hang or exhaust us.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use holdpoint_hooks::event::{About, Event};
use holdpoint_hooks::runner;
use holdpoint_policy::{Hook, HookEvent, HookResult};

/// Longer than any hook here may take; only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

fn hook(command: &str) -> Hook {
    Hook {
        event: HookEvent::PreToolUse,
        tool: Some("shell".into()),
        command: command.into(),
        timeout: Duration::from_secs(30),
        origin: "config.toml:7".into(),
    }
}

fn about(cwd: &Path) -> About {
    About { cwd: cwd.into(), profile: "p".into(), session: "s".into(), approval: "suggest".into() }
}

fn event(argv: &[&str]) -> Event {
    let argv: Vec<OsString> = argv.iter().map(Into::into).collect();
    Event::command(HookEvent::PreToolUse, &argv, &about(Path::new("/")))
}

fn env() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))]
}

/// Run hooks, failing instead of waiting for ever when the runner hangs.
fn results(hooks: Vec<Hook>, event: Event) -> Vec<HookResult> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(runner::run(&hooks, &event, &env())));
    told.recv_timeout(HANG).expect("the runner hangs").0.into_iter().map(|outcome| outcome.result).collect()
}

fn result(command: &str) -> HookResult {
    results(vec![hook(command)], event(&["true"])).remove(0)
}

fn blocked(reason: &str) -> HookResult {
    HookResult::Blocked { reason: reason.into() }
}

fn failure(command: &str) -> String {
    match result(command) {
        HookResult::Failed { reason } => reason,
        other => panic!("{command:?} should have failed, gave {other:?}"),
    }
}

#[test]
fn exit_zero_passes_whatever_is_printed() {
    assert_eq!(result("exit 0"), HookResult::Passed);
    assert_eq!(result("echo '{\"decision\":\"nonsense\"'; echo noise >&2"), HookResult::Passed);
}

#[test]
fn any_other_exit_blocks_with_the_last_line_as_reason() {
    assert_eq!(result("echo one; echo 'BLOCK: two'; echo; exit 1"), blocked("BLOCK: two"));
    assert_eq!(result("echo out; echo err >&2; exit 2"), blocked("out"));
    assert_eq!(result("echo only err >&2; exit 3"), blocked("only err"));
    assert_eq!(result("exit 4"), blocked("exited with 4, saying nothing"));
    assert_eq!(result("printf 'no line end'; exit 255"), blocked("no line end"));
    assert_eq!(result("printf '\\377\\033[31mred\\000'; exit 1"), blocked("\u{fffd}\u{1b}[31mred\0"));
}

#[test]
fn a_crash_is_a_failure() {
    assert!(failure("kill -SEGV $$").contains("SIGSEGV"));
    assert!(failure("echo fine; kill -9 $$").contains("SIGKILL"));
}

#[test]
fn a_command_that_does_not_exist_is_a_failure() {
    assert!(failure("/nonexistent/guard --check").contains("not found"));
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("guard");
    std::fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    assert!(!failure(script.to_str().unwrap()).is_empty(), "a file that is not executable");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(!failure(script.to_str().unwrap()).is_empty(), "a missing interpreter");
}

#[test]
fn a_directory_that_does_not_exist_is_a_failure() {
    let event = Event::command(HookEvent::PreToolUse, &["true".into()], &about(Path::new("/nonexistent")));
    assert!(
        matches!(&results(vec![hook("exit 0")], event)[0], HookResult::Failed { reason } if reason.contains("could not be run"))
    );
}

#[test]
fn a_command_with_a_nul_byte_is_a_failure() {
    assert!(failure("exit 0\0").contains("could not be run"));
}

#[test]
fn a_timeout_is_a_failure_and_kills_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let mut slow = hook(&format!("(sleep 3; touch {}) & sleep 600", mark.display()));
    slow.timeout = Duration::from_millis(300);
    let result = results(vec![slow], event(&["true"])).remove(0);
    assert!(matches!(&result, HookResult::Failed { reason } if reason.contains("did not answer")), "{result:?}");
    std::thread::sleep(Duration::from_secs(4));
    assert!(!mark.exists(), "the background child outlived the timeout");
}

#[test]
fn a_background_child_that_holds_the_pipes_does_not_hold_us() {
    assert_eq!(result("sleep 600 & exit 0"), HookResult::Passed);
    assert_eq!(result("sleep 600 & echo no; exit 1"), blocked("no"));
    // In a session of its own it is out of the group and survives; still nobody waits for it.
    assert_eq!(result("setsid sleep 20 & echo no; exit 1"), blocked("no"));
    assert_eq!(result("setsid sh -c 'while :; do echo noise; done' & sleep 0.2; exit 0"), HookResult::Passed);
}

#[test]
fn a_hook_that_closes_its_output_is_still_waited_for() {
    assert_eq!(result("exec >&- 2>&-; sleep 0.3; exit 5"), blocked("exited with 5, saying nothing"));
    let mut silent = hook("exec >&- 2>&- <&-; sleep 600");
    silent.timeout = Duration::from_millis(200);
    assert!(matches!(results(vec![silent], event(&["true"])).remove(0), HookResult::Failed { .. }));
}

#[test]
fn a_flood_of_output_is_read_to_its_end_and_only_the_end_is_kept() {
    assert_eq!(result("head -c 10485760 /dev/zero | tr '\\0' x; echo; echo the end; exit 1"), blocked("the end"));
    let HookResult::Blocked { reason } = result("head -c 10485760 /dev/zero | tr '\\0' x; exit 1") else { panic!() };
    assert!(reason.len() < 1024);
}

#[test]
fn input_comes_by_pipe_and_by_variable_and_is_the_same() {
    let command =
        r#"read -r piped; [ "$piped" = "$INPUT" ] || { echo "they differ"; exit 1; }; printf '%s' "$INPUT"; exit 1"#;
    let event = event(&["sh", "-c", "curl \\\n -X DELETE 'a b'"]);
    let expected = blocked(&event.to_line());
    assert_eq!(results(vec![hook(command)], event).remove(0), expected);
}

#[test]
fn an_input_left_unread_is_no_failure() {
    // More than a pipe holds, so that the rest is written to a closed one.
    let long = "x".repeat(40_000);
    for command in ["exec <&-; exit 0", "head -c 1 > /dev/null; exit 0", "exit 0"] {
        let event = event(&["echo", &long]);
        assert_eq!(results(vec![hook(command)], event).remove(0), HookResult::Passed, "{command}");
    }
}

#[test]
fn an_input_too_long_for_the_variable_blocks_without_running_the_hook() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let event = event(&["echo", &"x".repeat(1 << 20)]);
    let result = results(vec![hook(&format!("touch {}; exit 0", mark.display()))], event).remove(0);
    assert!(
        matches!(&result, HookResult::Failed { reason } if reason.contains("cannot be shown the input")),
        "{result:?}"
    );
    assert!(!mark.exists());
}

#[test]
fn the_longest_input_that_is_accepted_really_reaches_the_hook() {
    // Find the length at which the variable is exactly full; the kernel must agree with our limit.
    let empty = event(&["echo", ""]).to_line().len();
    let words = |n: usize| event(&["echo", &"x".repeat(n)]);
    let room = 128 * 1024 - "INPUT=".len() - 1;
    let length = (room - empty) / 2; // the word stands in both `command` and `argv`
    let fits = (0..4).map(|n| length + 2 - n).find(|&n| words(n).to_line().len() <= room).unwrap();
    assert_eq!(results(vec![hook("exit 0")], words(fits)).remove(0), HookResult::Passed);
}

#[test]
fn only_the_given_environment_reaches_a_hook() {
    let HookResult::Blocked { reason } = result(
        "env | cut -d= -f1 | grep -v -e ^INPUT -e ^PATH -e ^PWD -e ^_ -e ^SHLVL -e ^OLDPWD | tr '\\n' ' '; exit 1",
    ) else {
        panic!()
    };
    assert_eq!(reason, "exited with 1, saying nothing");
}

#[test]
fn hooks_for_other_events_or_tools_do_not_run_and_all_others_do_in_order() {
    let mut other_event = hook("echo other event; exit 1");
    other_event.event = HookEvent::PostToolUse;
    let mut other_tool = hook("echo other tool; exit 1");
    other_tool.tool = Some("edit".into());
    let all = vec![hook("echo one; exit 1"), other_event, other_tool, hook("exit 0"), hook("echo three; exit 1")];
    assert_eq!(results(all, event(&["true"])), [blocked("one"), HookResult::Passed, blocked("three")]);
}

#[test]
fn the_hook_of_the_article_blocks_letter_for_letter() {
    let command = r#"
if echo "$INPUT" | grep -qiE '(curl.*DELETE|railway.*volume.*delete|DROP|TRUNCATE)'; then
  echo "BLOCK: Destructive operation intercepted"
  exit 1
fi
exit 0
"#;
    let block = blocked("BLOCK: Destructive operation intercepted");
    let attempt = |argv: &[&str]| results(vec![hook(command)], event(argv)).remove(0);
    assert_eq!(attempt(&["curl", "-X", "DELETE", "http://a/volumes/1"]), block);
    assert_eq!(attempt(&["sh", "-c", "railway volume delete v1"]), block);
    assert_eq!(attempt(&["psql", "-c", "drop table users"]), block);
    assert_eq!(attempt(&["sh", "-c", "curl \\\n  -X \\\n  DELETE http://a"]), block, "a line break must not hide it");
    assert_eq!(attempt(&["sh", "-c", "curl $'\\x2d' -X \\c DELETE"]), block, "an escape must not cut the text short");
    assert_eq!(attempt(&["ls", "-l"]), HookResult::Passed);
}

#[test]
fn an_interrupt_ends_the_wait_and_blocks() {
    let (read, write) = std::io::pipe().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let hooks = [hook("sleep 600"), hook("exit 0")];
        tell.send(runner::run_until(&hooks, &event(&["true"]), &env(), Some(read.as_fd())))
    });
    std::thread::sleep(Duration::from_millis(200));
    (&write).write_all(b"x").unwrap();
    let outcomes = told.recv_timeout(HANG).expect("the runner hangs").0;
    assert!(outcomes.iter().all(|outcome| matches!(outcome.result, HookResult::Failed { .. })), "{outcomes:?}");
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn a_result_names_the_hook_it_came_from() {
    let outcomes = runner::run(&[hook("exit 1")], &event(&["true"]), &env());
    assert_eq!(outcomes.0[0].hook, "config.toml:7");
}
