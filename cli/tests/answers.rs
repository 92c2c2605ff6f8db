//! The commands that answer a question, and how answers and errors leave the program whatever stands at its other end.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};

use support::{Machine, finish, json};

#[test]
fn check_runs_nothing_and_says_what_would_happen() {
    let machine = Machine::with(
        "[[rules]]\nprefix = [\"git\", \"push\"]\nverdict = \"deny\"\nreason = \"not from here\"\n\
         [[hooks]]\nevent = \"PreToolUse\"\ntool = \"shell\"\ncommand = \"touch hooked\"\n",
    );
    for (args, code, verdict) in [
        (&["--profile", "free", "--", "touch", "ran"][..], 0, "allow"),
        (&["--", "touch", "ran"], 10, "ask"),
        (&["--profile", "free", "--", "git", "push"], 77, "deny"),
    ] {
        let text = machine.holdpoint(&[&["check"], args].concat());
        assert!(text.code == code && text.out.starts_with(verdict), "{text:?}");
        let done = machine.holdpoint(&[&["check", "--json"], args].concat());
        let result = json(&done);
        assert_eq!((done.code, result["verdict"].as_str(), &result["exit"]), (code, Some(verdict), &code.into()));
        assert!(result["reasons"][0]["origin"].is_string() && result["sandbox"][0].is_string());
        assert_eq!(result["hooks"][0]["command"], "touch hooked");
    }
    assert!(machine.names().is_empty());
    let text = machine.holdpoint(&["check", "--profile", "free", "--", "git", "push"]).out;
    assert!(text.contains("not from here") && text.contains("config.toml:1"), "{text}");
    let done = machine.holdpoint(&["check", "--profile", "free", "--sandbox", "workspace-write-and-net", "--", "true"]);
    assert_eq!(done.code, 69, "a run could not be had: {done:?}");
    assert!(done.out.contains("is not run") && !done.out.contains("may reach"), "{done:?}");
    let done = machine.holdpoint(&["check", "--json", "--", "", "word"]);
    assert!(done.code == 64 && json(&done)["next"] == "write: holdpoint check -- CMD ARGS", "{done:?}");
}

#[test]
fn explain_says_where_each_line_was_written() {
    let machine = Machine::with("[profile.default]\nsandbox = \"read-only\"\n");
    let done = machine.holdpoint(&["explain", "--approval", "auto-edit", "--deny-read", "**/.env"]);
    assert_eq!(done.code, 0);
    let line = |key: &str| done.out.lines().find(|line| line.starts_with(key)).map(str::to_owned).expect(key);
    assert!(line("sandbox").contains("read-only") && line("sandbox").contains("config.toml:2"));
    assert!(line("approval_policy").contains("--approval"));
    assert!(line("deny_read_paths").contains("--deny-read"));
    let result = json(&machine.holdpoint(&["explain", "--json"]));
    assert_eq!(result["effective"]["policy"]["sandbox"]["value"], "read-only");
    assert!(result["policy_digest"].as_str().is_some_and(|digest| digest.len() == 64));
}

#[test]
fn explain_names_what_is_covered_and_what_is_not() {
    let machine = Machine::with("[profile.default]\ndeny_read_paths = [\"**/*.key\"]\n");
    for index in 0..25 {
        machine.file(&format!("k/{index:02}.key"), "x");
    }
    let result = json(&machine.holdpoint(&["explain", "--json"]));
    // For root what strangers cannot read of /etc is covered as well.
    let count = result["masked"].as_array().map_or(0, Vec::len);
    assert!(count >= 25, "{result}");
    let done = machine.holdpoint(&["explain"]);
    assert!(done.out.contains(&format!("covered at this moment ({count}):\n  k/00.key\n")), "{}", done.out);
    assert!(done.out.contains(&format!("  k/19.key\n  and {} more (--json names all)\n", count - 20)), "{}", done.out);
    assert!(result["masked"][24].as_str().is_some_and(|path| path.ends_with("/k/24.key")));
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(arguments).current_dir(machine.workspace()).output();
        assert!(done.expect("git runs").status.success());
    };
    git(&["init", "-q"]);
    git(&["add", "k/07.key"]);
    let done = machine.holdpoint(&["explain"]);
    assert!(done.out.contains("not protected: tracked by git") && done.out.contains("k/07.key"), "{}", done.out);
    let done = machine.holdpoint(&["explain", "--deny-read", &machine.workspace().to_string_lossy()]);
    assert!(done.code == 0 && done.out.contains("nothing would run"), "{}", done.out);
}

#[test]
fn doctor_tells_what_works_here() {
    let machine = Machine::new();
    let done = machine.holdpoint(&["doctor"]);
    assert_eq!(done.code, 0, "{}", done.out);
    assert!(done.out.contains("`holdpoint run` can work here"));
    let result = json(&machine.holdpoint(&["doctor", "--json"]));
    let names: Vec<&str> =
        result["findings"].as_array().expect("a list").iter().filter_map(|f| f["name"].as_str()).collect();
    for name in ["landlock", "state directory", "configuration", "approval server"] {
        assert!(names.contains(&name), "{names:?}");
    }
    machine.configure("nonsense = 1\n");
    let done = machine.holdpoint(&["doctor"]);
    assert!(done.code == 69 && done.out.contains("MISSING  configuration"), "{done:?}");
    machine.configure("");
    let mut command = machine.command(["doctor"]);
    command.env("XDG_STATE_HOME", "/proc/nowhere");
    let done = finish(command.spawn().expect("it starts"));
    assert!(done.code == 69 && done.out.contains("MISSING  state directory"), "{done:?}");
}

#[test]
fn doctor_does_not_take_for_missing_what_it_cannot_see() {
    let machine = Machine::new();
    let covered = |how: &str, args: &[&str]| {
        let command = machine.command(args);
        let mut namespace = Command::new("unshare");
        namespace.args(["-rmpf", "sh", "-c", &format!("mount {how} /proc && exec \"$@\""), "sh"]);
        namespace.arg(command.get_program()).args(command.get_args()).current_dir(machine.workspace());
        namespace.env("HOME", machine.home()).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        finish(namespace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare"))
    };
    let none = "-t tmpfs none";
    let done = covered(none, &["doctor"]);
    assert!(done.code == 69 && done.out.contains("MISSING  proc: /proc is not mounted"), "{done:?}");
    for name in ["seccomp", "user-namespaces", "inotify"] {
        assert!(done.out.contains(&format!("no       {name}: not known: /proc/")), "{done:?}");
    }
    assert!(!done.out.contains("CONFIG_SECCOMP") && !done.out.contains("os error"), "{done:?}");
    let done = covered(none, &["run", "--profile", "free", "--", "true"]);
    assert!(done.code == 69 && done.err.contains("/proc"), "{done:?}");
    let done = covered(none, &["session", "start"]);
    assert!(done.code == 70 && done.err.contains("/proc/self/exe"), "{done:?}");
    // As much of it as a sandbox needs.
    let done = covered("-t proc -o subset=pid none", &["doctor", "--json"]);
    let told = json(&done);
    let found = |name: &str| {
        let findings = told["findings"].as_array().expect("a list");
        findings.iter().find(|finding| finding["name"] == name).expect(name)["good"].as_bool()
    };
    assert_eq!((found("proc"), found("seccomp")), (Some(true), found("launch")), "{told}");
}

#[test]
fn agents_md_drops_nothing_silently() {
    let machine = Machine::new();
    std::fs::write(machine.home().join(".config/holdpoint/AGENTS.md"), "global\n").expect("write");
    machine.file(".git/HEAD", "ref: refs/heads/main\n");
    machine.file("AGENTS.md", format!("root\n{}\n", "x".repeat(500)));
    machine.file("api/AGENTS.md", "shadowed\n");
    machine.file("api/AGENTS.override.md", "override\n");
    machine.file("api/v1/AGENTS.md", "leaf\n");
    let done = machine.holdpoint(&["agents-md", "api/v1"]);
    let at = |word: &str| done.out.find(word).unwrap_or_else(|| panic!("{word} is missing in {}", done.out));
    assert!(at("global") < at("root") && at("root") < at("override") && at("override") < at("leaf"));
    assert!(!done.out.contains("shadowed"));
    assert_eq!(done.err, "");
    let done = machine.holdpoint(&["agents-md", "--max-bytes", "100", "api/v1"]);
    assert!(done.code == 0 && done.err.contains("cut:") && done.err.contains("AGENTS.md"), "{done:?}");
    let done = machine.holdpoint(&["agents-md", "--strict", "--max-bytes", "100", "api/v1"]);
    assert_ne!(done.code, 0);
    let result = json(&machine.holdpoint(&["agents-md", "--json", "--max-bytes", "100", "api/v1"]));
    assert_eq!(result["files"].as_array().map(Vec::len), Some(4));
    assert_ne!(result["cut"].as_array().map(Vec::len), Some(0));
}

#[test]
fn every_subcommand_has_help_with_an_example() {
    let machine = Machine::new();
    for name in [
        "run",
        "apply",
        "check",
        "explain",
        "serve",
        "pair",
        "holds",
        "approve",
        "deny",
        "agents-md",
        "doctor",
        "completions",
    ] {
        let done = machine.holdpoint(&[name, "--help"]);
        assert_eq!(done.code, 0, "{name}");
        assert!(done.out.contains(&format!("  holdpoint {name}")), "{name} has no example:\n{}", done.out);
        assert!(!done.out.contains('\u{1b}'), "no colours into a pipe");
    }
    let help = machine.holdpoint(&["--help"]).out;
    assert!(help.contains("75   no decision"), "{help}");
    assert!(help.lines().last().is_some_and(|line| line.starts_with("  holdpoint ")), "examples come last: {help}");
    assert!(machine.holdpoint(&["--version"]).out.starts_with("holdpoint "));
    for shell in ["bash", "zsh", "fish"] {
        let completions = machine.holdpoint(&["completions", shell]).out;
        for word in ["agents-md", "suggest", "auto-edit", "full-auto", "read-only", "workspace-write-and-net"] {
            assert!(completions.contains(word), "{shell}: {word}");
        }
    }
    let script = "eval \"$(\"$0\" completions bash)\"; COMP_WORDS=(holdpoint run --approval ''); COMP_CWORD=3; \
                  _holdpoint holdpoint '' --approval; echo \"${COMPREPLY[*]}\"";
    let mut bash = Command::new("bash");
    let offered = bash.args(["-c", script, env!("CARGO_BIN_EXE_holdpoint")]).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&offered.stdout), "suggest auto-edit full-auto\n", "{offered:?}");
}

#[test]
fn a_wrong_command_line_is_64_and_runs_nothing() {
    let machine = Machine::new();
    for args in [
        &[][..],
        &["rnu"],
        &["check", "--", ""],
        &["check", "--json=", "--", "true"],
        &["run", "--sandbox", "none", "--", "true"],
        &["run"],
        &["run", "--"],
        &["run", "--sandox", "x", "--", "touch", "ran"],
        &["run", "--hold-timeout", "soon", "--", "true"],
        &["approve"],
        &["completions", "csh"],
        &["serve", "--listen", "here"],
    ] {
        let done = machine.holdpoint(args);
        assert_eq!(done.code, 64, "{args:?}: {done:?}");
        assert!(done.out.is_empty() && !done.err.is_empty(), "{args:?}");
    }
    let odd = OsString::from_vec(vec![0xff, b'\x1b']);
    for args in [
        vec![odd.clone()],
        vec!["run".into(), "--profile".into(), odd.clone()],
        vec!["check".into(), "--sandbox".into(), odd.clone(), "--".into(), "x".into()],
        vec!["approve".into(), odd],
    ] {
        let done = finish(machine.command(&args).spawn().expect("it starts"));
        assert_eq!(done.code, 64, "{args:?}: {done:?}");
        assert!(!done.err.contains('\u{1b}'), "{args:?}");
    }
    assert!(machine.names().is_empty());
}

#[test]
fn a_wrong_command_line_is_said_as_json_too() {
    let machine = Machine::new();
    for args in [
        &["--json", "run", "--nope"][..],
        &["check", "--json"],
        &["check", "--json", "--nope", "--", "true"],
        &["run", "--json", "--sandbox", "x", "--", "true"],
        &["session", "run", "--json", "a b", "--", "true"],
    ] {
        let done = machine.holdpoint(args);
        let told = json(&done);
        assert_eq!((done.code, told["result"].as_str(), told["exit"].as_i64()), (64, Some("usage"), Some(64)));
        assert!(done.err.starts_with("error: "), "{args:?}: {done:?}");
        let (message, next) = (told["message"].as_str().unwrap_or_default(), told["next"].as_str().unwrap_or_default());
        assert!(message.starts_with("cannot do that: ") && next.contains("--help"), "{told}");
    }
    let commands_own = machine.holdpoint(&["run", "--nope", "--", "true", "--json"]);
    assert_eq!((commands_own.code, commands_own.out.as_str()), (64, ""));
}

#[test]
fn words_of_a_wrong_command_line_cannot_draw_on_the_screen() {
    const WORD: &str = "--x\u{1b}[2J\u{1b}[31m\r\nholdpoint: approved\u{202e}";
    const SEEN: &str = "--x\\x1b[2J\\x1b[31m\\r\\nholdpoint: approved\\u{202e}";
    let machine = Machine::new();
    let long = "x".repeat(100_000);
    for args in [
        &[WORD][..],
        &["run", WORD, "--", "true"],
        &["run", "--sandbox", &WORD[2..], "--", "true"],
        &["run", "--json", "--hold-timeout", WORD, "--", "true"],
        &["session", "stop", "--", WORD],
        &["serve", "--listen", WORD],
        &["completions", &WORD[2..]],
    ] {
        let done = machine.holdpoint(args);
        assert!(done.code == 64 && done.err.contains(&SEEN[2..]), "{args:?}: {done:?}");
        let raw = |text: &str| text.contains(['\u{1b}', '\r', '\u{202e}']) || text.contains("\nholdpoint: approved");
        assert!(!raw(&done.err) && !raw(&done.out), "{args:?}: {done:?}");
    }
    for args in [&["run", "--sandbox", &long, "--", "true"][..], &["run", "--profile", "free", "--", &long]] {
        let done = machine.holdpoint(args);
        assert!([64, 126, 127].contains(&done.code) && done.err.len() < 2500, "{}", done.err.len());
        assert!(done.err.contains("more characters"), "{}", done.err);
    }
}

#[test]
fn no_number_of_the_kernel_is_shown() {
    let machine = Machine::new();
    machine.file("file", "text");
    for (args, code) in [
        (&["bundle", "file/bundle", "--", "true"][..], 64),
        (&["apply", "no-such.patch"], 64),
        (&["apply", "file/patch"], 64),
        (&["run", "--workspace", "nowhere", "--", "true"], 78),
        (&["run", "--config", "nowhere.toml", "--", "true"], 78),
        (&["check", "--config", ".", "--", "true"], 78),
        (&["run", "--profile", "free", "--", "./file"], 126),
        (&["run", "--profile", "free", "--", "./no-such"], 127),
        (&["agents-md", "nowhere"], 78),
        (&["session", "run", "nobody", "--", "true"], 69),
    ] {
        let done = machine.holdpoint(args);
        let told = machine.holdpoint(&[&args[..1], &["--json"], &args[1..]].concat());
        for done in [&done, &told] {
            assert!(!done.err.contains("os error") && !done.out.contains("os error"), "{args:?}: {done:?}");
        }
        assert_eq!(done.code, code, "{args:?}: {done:?}");
    }
}

#[test]
fn nobody_reading_is_no_crash_and_a_full_disk_is_an_error() {
    let machine = Machine::new();
    for args in
        [&["explain"][..], &["explain", "--json"], &["--help"], &["completions", "bash"], &["check", "--", "true"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let done = finish(machine.command(args).stdout(writer).spawn().expect("it starts"));
        assert!(done.code == 141 && done.err.is_empty(), "{args:?}: {done:?}");
        let full = File::options().write(true).open("/dev/full").expect("it opens");
        let done = finish(machine.command(args).stdout(full).spawn().expect("it starts"));
        assert!(done.code == 74 && !done.err.contains("panicked"), "{args:?}: {done:?}");
    }
    // Nobody hears an error; the code still says it.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = machine.command(["check", "--config", "/missing", "--", "true"]);
    assert_eq!(finish(command.stderr(writer).spawn().expect("it starts")).code, 78);
    let mut command = machine.command(["run", "--profile", "free", "--", "true"]);
    assert_eq!(
        finish(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
            .code,
        0
    );
}

#[test]
fn too_few_open_files_are_said_to_be_too_few() {
    let machine = Machine::new();
    let few = machine.command_after("ulimit -n 40", ["run", "--profile", "free", "--", "touch", "ran"]).spawn();
    let done = finish(few.expect("it starts"));
    assert!(done.code == 69 && done.err.contains("no more than 40 files"), "{done:?}");
    assert!(done.err.contains("ulimit -n 128") && machine.names().is_empty(), "{done:?}");
}

#[test]
fn a_home_that_is_missing_or_relative_is_no_panic() {
    let machine = Machine::new();
    for home in ["", "relative", "/nonexistent/home"] {
        let mut command = machine.command(["explain"]);
        let done = finish(command.env("HOME", home).spawn().expect("it starts"));
        assert!(!done.err.contains("panicked"), "{home:?}: {done:?}");
    }
}

#[test]
fn doctor_takes_away_what_a_run_has_left_that_was_killed_with_all_its_own() {
    let machine = Machine::new();
    let names = [".claude", "AGENTS.md"];
    let left = || {
        for name in names {
            let path = machine.workspace().join(name);
            drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o1444)).expect("chmod");
        }
    };
    left();
    // Not what somebody else listens at.
    let other = std::os::unix::net::UnixListener::bind(machine.workspace().join(".codex")).expect("bind");
    let done = machine.holdpoint(&["doctor"]);
    assert!(done.code == 0 && done.out.contains("reserved names") && done.out.contains("work/.claude"), "{done:?}");
    assert_eq!(machine.names(), [".codex"]);
    drop(other);
    std::fs::remove_file(machine.workspace().join(".codex")).expect("rm");
    // Nor what a run holds at this moment.
    let mut run = machine.command(["run", "--profile", "free", "--", "sh", "-c", "echo up; exec sleep 60"]);
    let mut run = support::Background(run.spawn().expect("it starts"));
    let mut up = [0; 3];
    std::io::Read::read_exact(run.0.stdout.as_mut().expect("a pipe"), &mut up).expect("read");
    let held = machine.names();
    assert!(held.contains(&".claude".to_owned()), "{held:?}");
    assert!(!machine.holdpoint(&["doctor"]).out.contains("reserved names"));
    assert_eq!(machine.names(), held);
}
