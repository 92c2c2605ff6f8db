//! Judges one shell command line under a strict profile and exits with the verdict: 0 allow, 3 ask, 2 deny.
//!
//! `verdict 'rm -rf /'`; with two arguments the first is a configuration file and its profile `default` is used.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
use holdpoint_policy::{Action, Config, ConfigError, HookOutcomes, Origin, Run, Verdict, evaluate::evaluate};
use std::process::ExitCode;

const STRICT: &str = r#"
[profile.default]
approval_policy = "full-auto"

[profile.default.catalog]
destructive = "deny"
system = "deny"
credentials = "deny"
outward = "ask"
unreadable = "deny"
"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, text, line) = match arguments.as_slice() {
        [line] => ("strict", STRICT.to_owned(), line),
        [file, line] => match std::fs::read_to_string(file) {
            Ok(text) => (file.as_str(), text, line),
            Err(error) => return usage(&format!("{file}: {error}")),
        },
        _ => return usage("verdict [CONFIG] COMMAND-LINE"),
    };
    match judge(name, &text, line) {
        Ok(Verdict::Allow) => ExitCode::SUCCESS,
        Ok(Verdict::Ask) => ExitCode::from(3),
        Ok(Verdict::Deny) => ExitCode::from(2),
        Err(error) => usage(&error.render(false)),
    }
}

fn judge(name: &str, text: &str, line: &str) -> Result<Verdict, ConfigError> {
    let layer = Layer::new(LayerKind::User, Config::parse(text, &Origin::file(name))?);
    let policy = compile(&[layer], None, &Flags::default())?;
    let argv = ["sh", "-c", line].map(Into::into).to_vec();
    let judged = evaluate(&policy, &Action::Run(Run { argv, cwd: "/".into() }), &HookOutcomes::default());
    for reason in &judged.reasons {
        println!("{} {} ({}): {}", reason.verdict, reason.rule, reason.origin, reason.text);
    }
    Ok(judged.verdict)
}

fn usage(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(64)
}
