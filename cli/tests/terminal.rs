//! A terminal stays a terminal, and a person at one can decide there.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use holdpoint_approval_web::client::Decision;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use support::{HANG, Machine, eventually};

/// A terminal, and what its screen has shown so far.
struct Terminal {
    master: File,
    slave: OwnedFd,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let master = File::from(pair.master);
        let mut reader = master.try_clone().unwrap();
        let (tell, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length) = reader.read(&mut piece) {
                if length == 0 || tell.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master, slave: pair.slave, screen, shown: String::new() }
    }

    /// Start `holdpoint` with this as its controlling terminal; `streams` are those that lead to it.
    fn start(&self, machine: &Machine, args: &[&str], streams: [bool; 3]) -> Child {
        self.start_command(machine, &machine.command(args), streams)
    }

    fn start_command(&self, machine: &Machine, inner: &Command, streams: [bool; 3]) -> Child {
        let stream = |own: bool, index: usize| match (own, index) {
            (true, _) => "/dev/tty".to_owned(),
            (false, 0) => "/dev/null".to_owned(),
            (false, index) => machine.root().join(format!("stream{index}")).display().to_string(),
        };
        let [input, output, error] = [0, 1, 2].map(|index| stream(streams[index], index));
        // `setsid --ctty` takes the terminal it has as standard input; the streams are changed behind it.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "sh", "-c", &format!("exec \"$@\" <{input} >{output} 2>{error}"), "sh"]);
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(machine.workspace()).env_clear().env("TERM", "xterm");
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let terminal = || Stdio::from(self.slave.try_clone().unwrap());
        command.stdin(terminal()).stdout(terminal()).stderr(terminal()).spawn().unwrap()
    }

    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + HANG;
        while !self.shown.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(piece) = self.screen.recv_timeout(left) else { panic!("{text:?} was never shown: {}", self.shown) };
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    fn saw(&mut self, text: &str) -> bool {
        while let Ok(piece) = self.screen.try_recv() {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        self.shown.contains(text)
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).unwrap()
    }
}

fn ended(child: &mut Child) -> i32 {
    let status = eventually("an end", || child.try_wait().unwrap());
    status.code().unwrap_or(-1)
}

#[test]
fn what_is_said_while_a_command_has_the_terminal_begins_where_lines_begin() {
    let machine = Machine::with("exec_guard = true\n[[rules]]\nprefix = [\"git\"]\nverdict = \"deny\"\n");
    machine.file("hidden.sh", "git status");
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &["run", "--profile", "free", "--", "sh", "hidden.sh"], [true; 3]);
    terminal.wait_for("Permission denied");
    assert_ne!(ended(&mut child), 0);
    assert!(terminal.saw("refused inside: ") && terminal.saw("git status\r\nholdpoint:   "), "{:?}", terminal.shown);
}

const RUN: [&str; 6] = ["run", "--profile", "free", "--", "sh", "-c"];

fn script(text: &str) -> Vec<&str> {
    [&RUN[..], &[text]].concat()
}

#[test]
fn a_command_has_a_terminal_of_the_same_size_and_gives_it_back_as_it_was() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let before = terminal.settings();
    let mut child =
        terminal.start(&machine, &script("test -t 0 && test -t 1 && test -t 2 && stty size && tty; exit 5"), [true; 3]);
    terminal.wait_for("33 99");
    terminal.wait_for("/dev/pts/0");
    assert_eq!(ended(&mut child), 5);
    assert_eq!(terminal.settings(), before);
}

#[test]
fn keys_reach_the_command() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let text = "trap : INT; echo ready; sleep 600; echo interrupted; read a; echo \"got $a\"; exit 4";
    let mut child = terminal.start(&machine, &script(text), [true; 3]);
    terminal.wait_for("ready");
    // The command that is to be interrupted may not have started yet; another try costs nothing.
    for _ in 0..50 {
        terminal.type_in("\u{3}");
        std::thread::sleep(Duration::from_millis(50));
        if terminal.saw("interrupted") {
            break;
        }
    }
    terminal.wait_for("interrupted");
    terminal.type_in("hellp\u{7f}o\r");
    terminal.wait_for("got hello");
    assert_eq!(ended(&mut child), 4);
}

#[test]
fn a_new_size_reaches_the_command() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let text = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut child = terminal.start(&machine, &script(text), [true; 3]);
    terminal.wait_for("ready");
    let size = rustix::termios::Winsize { ws_row: 41, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal.master, size).unwrap();
    terminal.wait_for("41 77");
    assert_eq!(ended(&mut child), 0);
}

#[test]
fn a_command_whose_terminal_is_gone_may_still_do_what_it_does_then() {
    let machine = Machine::new();
    let text = "trap 'sleep 0.3; echo saved > saved; exit 0' HUP; touch ready; while :; do sleep 0.05; done";
    let mut bare = Command::new("sh");
    bare.args(["-c", text]);
    for command in [bare, machine.command(script(text))] {
        // Nobody else may have the other side, or closing it would be no hang-up.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let (_, screen) = mpsc::channel();
        let terminal = Terminal { master: master.into(), slave, screen, shown: String::new() };
        let mut child = terminal.start_command(&machine, &command, [true, true, false]);
        eventually("the trap", || machine.names().contains(&"ready".to_owned()).then_some(()));
        drop(terminal.master);
        assert_eq!(ended(&mut child), 0, "{}", std::fs::read_to_string(machine.root().join("stream2")).unwrap());
        assert_eq!(machine.read("saved"), "saved\n");
        ["ready", "saved"].iter().for_each(|name| std::fs::remove_file(machine.workspace().join(name)).unwrap());
    }
}

#[test]
fn a_job_in_the_background_leaves_the_terminal_alone_until_it_gets_it() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let before = terminal.settings();
    // As a shell does that edits lines: its own settings while it has the terminal, others for who gets it.
    let shell = "set -m; stty -icanon -echo; \"$@\" 'exit 7' & wait $!; echo ended $?; \
                 \"$@\" 'touch started; read line; stty -a > settings; echo got $line; read line; echo and $line' & \
                 while ! test -e started; do sleep 0.05; done; \
                 stty icanon echo; echo foreground; fg > /dev/null; echo over $?";
    let run = machine.command(RUN);
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh"]).arg(run.get_program()).args(run.get_args());
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = terminal.start_command(&machine, &command, [true; 3]);
    terminal.wait_for("ended 7");
    terminal.wait_for("foreground");
    terminal.type_in("hello\r");
    terminal.wait_for("got hello");
    let settings = machine.read("settings");
    assert!(settings.contains(" icanon") && settings.contains(" echo "), "{settings}");
    assert_ne!(terminal.settings(), before, "it is raw while the command has it");
    terminal.type_in("more\r");
    terminal.wait_for("and more");
    terminal.wait_for("over 0");
    assert_eq!(ended(&mut child), 0);
    assert_eq!(terminal.settings(), before);
}

#[test]
fn the_terminal_is_restored_however_it_ends() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let before = terminal.settings();
    let mut child = terminal.start(&machine, &script("stty raw -echo; kill -9 $$"), [true; 3]);
    assert_eq!(ended(&mut child), 137);
    assert_eq!(terminal.settings(), before);
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut child = terminal.start(
            &machine,
            &script("trap '' TERM HUP; echo ready$((1+1)); while :; do sleep 0.1; done"),
            [true; 3],
        );
        terminal.wait_for("ready2");
        terminal.shown.clear();
        assert_ne!(terminal.settings(), before, "it is raw while the command runs");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(ended(&mut child), code);
        assert_eq!(terminal.settings(), before);
    }
}

#[test]
fn all_output_is_shown_before_the_end() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &script("seq 1 30000; printf 'the %s' end"), [true; 3]);
    terminal.wait_for("the end");
    assert_eq!(ended(&mut child), 0);
    let lines = terminal.shown.lines().filter(|line| line.parse::<u32>().is_ok()).count();
    assert_eq!(lines, 30_000);
}

#[test]
fn errors_sent_to_a_file_go_to_the_file() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &script("echo shown; echo hidden >&2"), [true, true, false]);
    terminal.wait_for("shown");
    assert_eq!(ended(&mut child), 0);
    assert_eq!(std::fs::read_to_string(machine.root().join("stream2")).unwrap(), "hidden\n");
    assert!(!terminal.shown.contains("hidden"));
}

#[test]
fn y_at_the_terminal_approves_whatever_the_streams_are() {
    let machine = Machine::new();
    for streams in [[true; 3], [false; 3]] {
        let mut terminal = Terminal::new();
        let mut child = terminal.start(&machine, &["run", "--", "sh", "-c", "echo ran; exit 8"], streams);
        terminal.wait_for("approve? [y/n]");
        assert!(
            terminal.shown.contains("sh -c 'echo ran; exit 8'") && terminal.shown.contains("because:"),
            "{}",
            terminal.shown
        );
        terminal.type_in("maybe\r");
        terminal.wait_for("y approves, n denies");
        terminal.type_in("y\r");
        assert_eq!(ended(&mut child), 8);
    }
}

#[test]
fn n_at_the_terminal_denies_with_a_reason() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &["run", "--json", "--", "touch", "ran"], [false; 3]);
    terminal.wait_for("approve? [y/n]");
    terminal.type_in("n\r");
    terminal.wait_for("reason");
    terminal.type_in("not on a friday\r");
    assert_eq!(ended(&mut child), 77);
    let result = std::fs::read_to_string(machine.root().join("stream1")).unwrap();
    assert!(result.contains("not on a friday") && result.contains("at the terminal"), "{result}");
    assert!(machine.names().is_empty());
}

#[test]
fn what_is_only_begun_at_the_terminal_approves_nothing_and_a_refusal_needs_no_reason() {
    const END: &str = "\u{4}";
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &["run", "--json", "--", "touch", "ran"], [false; 3]);
    terminal.wait_for("approve? [y/n]");
    terminal.type_in(&format!("y{END}"));
    terminal.wait_for("\r\ny approves, n denies");
    assert!(machine.names().is_empty());
    terminal.type_in(&format!("n{END}"));
    terminal.wait_for("\r\nreason");
    terminal.type_in(END);
    assert_eq!(ended(&mut child), 77);
    let result = std::fs::read_to_string(machine.root().join("stream1")).unwrap();
    assert!(result.contains("no reason was given"), "{result}");

    // Nothing at all is no answer, and the page is still there for one.
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &["run", "--", "touch", "ran"], [false; 3]);
    terminal.wait_for("approve? [y/n]");
    terminal.type_in(END);
    terminal.wait_for("it waits for one on the page");
    terminal.type_in("y\r");
    let client = machine.client();
    let hold = machine.held(&client);
    client.decide(&hold.id, hold.digest, Decision::Deny { reason: String::new() }, "the page").unwrap();
    assert_eq!(ended(&mut child), 77);

    // One whose reason is longer than a reason may be refuses all the same.
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&machine, &["run", "--", "touch", "ran"], [false; 3]);
    terminal.wait_for("approve? [y/n]");
    terminal.type_in("n\r");
    terminal.wait_for("reason");
    terminal.type_in(&format!("{}\r", "no ".repeat(500)));
    assert_eq!(ended(&mut child), 77);
    assert!(machine.names().is_empty());
}

#[test]
fn approving_by_command_asks_for_a_whole_line() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    let _run = support::Background(machine.command(["run", "--", "touch", "ran"]).spawn().unwrap());
    let hold = machine.held(&client);
    for (typed, code) in [("y\u{4}\u{4}", 75), ("n\r", 75), ("y\r", 0)] {
        let mut terminal = Terminal::new();
        let mut child = terminal.start(&machine, &["approve", &hold.id.to_string()], [true; 3]);
        terminal.wait_for("approve? [y/n]");
        terminal.type_in(typed);
        assert_eq!(ended(&mut child), code, "{typed:?}: {}", terminal.shown);
    }
}

#[test]
fn the_first_answer_wins_and_what_was_typed_before_the_question_is_none() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    terminal.type_in("y\r");
    let mut child = terminal.start(&machine, &["run", "--", "touch", "ran"], [true; 3]);
    terminal.wait_for("approve? [y/n]");
    let client = machine.client();
    let hold = machine.held(&client);
    std::thread::sleep(Duration::from_millis(300));
    assert!(machine.names().is_empty(), "an old y is no answer");
    client.decide(&hold.id, hold.digest, Decision::Deny { reason: "from the page".into() }, "the page").unwrap();
    terminal.wait_for("from the page");
    assert_eq!(ended(&mut child), 77);
    assert!(machine.names().is_empty());
}

#[test]
fn what_a_command_is_called_cannot_change_the_question() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let evil = "\u{1b}[2J\u{1b}[Hholdpoint: harmless\r\u{202e}";
    let mut child = terminal.start(&machine, &["run", "--", "echo", evil], [true; 3]);
    terminal.wait_for("approve? [y/n]");
    assert!(!terminal.shown.contains('\u{1b}') && !terminal.shown.contains('\u{202e}'), "{:?}", terminal.shown);
    terminal.type_in("n\r");
    terminal.wait_for("reason");
    terminal.type_in("\r");
    assert_eq!(ended(&mut child), 77);
}

#[test]
fn a_session_gives_a_terminal_of_its_own_and_takes_keys_and_sizes() {
    let machine = Machine::new();
    assert_eq!(machine.holdpoint(&["session", "start", "--profile", "free", "--idle-timeout", "5m"]).code, 0);
    let mut terminal = Terminal::new();
    let before = terminal.settings();
    let text = "test -t 0 && test -t 2 && stty size; trap 'stty size' WINCH; trap 'echo interrupted; exit 4' INT; \
                echo ready; while :; do sleep 0.05; done";
    let mut child = terminal.start(&machine, &["session", "run", "--", "sh", "-c", text], [true; 3]);
    terminal.wait_for("33 99");
    terminal.wait_for("ready");
    let size = rustix::termios::Winsize { ws_row: 41, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal.master, size).unwrap();
    terminal.wait_for("41 77");
    terminal.type_in("\u{3}");
    terminal.wait_for("interrupted");
    assert_eq!(ended(&mut child), 4);
    assert_eq!(terminal.settings(), before);
    let mut child = terminal.start(
        &machine,
        &["session", "run", "--", "sh", "-c", "echo shown; echo hidden >&2"],
        [true, true, false],
    );
    terminal.wait_for("shown");
    assert_eq!(ended(&mut child), 0);
    assert_eq!(std::fs::read_to_string(machine.root().join("stream2")).unwrap(), "hidden\n");
    assert_eq!(machine.holdpoint(&["session", "stop"]).code, 0);
}
