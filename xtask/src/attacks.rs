//! `cargo xtask attacks`: an attack corpus against `holdpoint run`, with the configuration a careful user would write.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use serde_json::Value;

use crate::ordinary::USER;
use crate::tally::Tally;
use crate::tree::Build;
use crate::{process, requirements, tree};

/// Options of `cargo xtask attacks`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The corpus: a directory with `run.sh`.
    #[arg(long, value_name = "DIR")]
    corpus: PathBuf,
    /// Run the cases as this user instead (needs root).
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Run them as root and as an ordinary user, one after the other (needs root).
    #[arg(long, conflicts_with = "user")]
    both: bool,
    /// Build as a user would install it.
    #[arg(long)]
    release: bool,
    /// This `holdpoint` instead of one that is built here.
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    binary: Option<PathBuf>,
    /// The classes to run.
    #[arg(long, default_value = "control,fs-read,fs-write,net,proc,ipc", value_name = "LIST")]
    class: String,
    /// Further arguments for the corpus's own runner.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// The configuration the corpus calls its default preset.
const CONFIG: &str = r#"
[profile.corpus]
sandbox = "workspace-write"
approval_policy = "full-auto"
deny_read_paths = ["**/.env*", "**/secrets/**", "**/*token*", "**/*credential*", "**/railway.json"]
deny_read_git_history = true
protect_paths = [".agents", ".venv/bin", ".venv/pyvenv.cfg", "prod-data"]

[profile.corpus.limits]
memory = "1GiB"
pids = 1024
tmp = "1GiB"
disk = "1GiB"
files = 10000
"#;

/// What stands above the core cases and controls that failed, and their number.
pub(crate) const SUMMARY: &str = "\ncore cases and controls:\n";
/// What begins the line of each that failed.
pub(crate) const FAILED: &str = "FAIL ";

/// Runs the corpus; false when a core case or a control failed.
pub(crate) fn main(options: &Options) -> Result<bool> {
    requirements::ensure(requirements::ATTACKS)?;
    if (options.both || options.user.is_some()) && !Uid::effective().is_root() {
        bail!("only root can run the corpus as another user");
    }
    let runner = options.corpus.join("run.sh");
    let runner = runner.canonicalize().with_context(|| format!("no corpus at {}", options.corpus.display()))?;
    let users = if options.both { vec![None, Some(USER.to_owned())] } else { vec![options.user.clone()] };
    let place = tempfile::Builder::new().prefix("holdpoint-attacks-").tempdir_in("/var/tmp")?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => tree::holdpoint(Build::from_flag(options.release))?,
    };
    let adapter = adapter(place.path(), &binary)?;
    let mut sum = Tally::default();
    let mut failed = String::new();
    for user in users {
        let name = user.clone().unwrap_or_else(|| "the caller".to_owned());
        println!("\nas {name}:");
        let rows = place.path().join(format!("{}.json", name.replace(' ', "-")));
        let mut command = Command::new(&runner);
        command
            .arg("--adapter")
            .arg(&adapter)
            .args(["--class", &options.class, "--name", "holdpoint", "--json"])
            .arg(&rows);
        if let Some(user) = &user {
            command.args(["--user", user]);
        }
        command.args(&options.arguments);
        // The runner counts stretch cases too, so its own exit code says too much.
        println!("$ {}", process::shown(&command));
        command.status().context("the corpus could not be started")?;
        sum += gate(&rows, &mut failed)?;
    }
    println!("{SUMMARY}{failed}{sum}");
    Ok(sum.failed == 0)
}

/// Counts core cases and controls in what the corpus recorded. What did not come to its end proves nothing and counts as
/// failed: a case that could not run, and one that was stopped because it took too long, held or not. `failed` takes their lines.
fn gate(rows: &Path, failed: &mut String) -> Result<Tally> {
    let recorded: Value = serde_json::from_slice(&fs::read(rows).context("the corpus recorded nothing")?)?;
    let mut tally = Tally::default();
    for row in recorded["rows"].as_array().context("the corpus recorded no rows")? {
        if row["cls"] != "control" && row["tier"] != "core" {
            continue;
        }
        let why = row["why"].as_str().unwrap_or_default();
        let unfinished = why.split([' ', ':']).any(|word| matches!(word, "NORUN" | "TIMEOUT"));
        match row["verdict"].as_str() {
            Some("PASS") if !unfinished => tally.passed += 1,
            Some("SKIP") if !unfinished => tally.skipped += 1,
            _ => {
                writeln!(failed, "{FAILED}{}: {why}", row["id"].as_str().unwrap_or("?"))?;
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

/// Puts the binary, its configuration and the script that joins them where every user can read them.
fn adapter(place: &Path, binary: &Path) -> Result<PathBuf> {
    let (copy, config, script) = (place.join("holdpoint"), place.join("corpus.toml"), place.join("adapter.sh"));
    fs::copy(binary, &copy)?;
    fs::write(&config, CONFIG)?;
    let text = format!(
        "#!/bin/bash\n\
         # The corpus names its fixture in HPX_*; the configuration cannot know where its programs lie.\n\
         state=$(mktemp -d {place}/state.XXXXXX)\n\
         config={config}\n\
         if [ -d \"$HPX_FX/bin\" ]; then\n\
           config=$state/corpus.toml\n\
           sed \"s|^protect_paths|readable_paths = [\\\"$HPX_FX/bin\\\"]\\nprotect_paths|\" {config} >\"$config\"\n\
         fi\n\
         export XDG_STATE_HOME=$state/state XDG_CONFIG_HOME=$state/config\n\
         exec {binary} run --config \"$config\" --profile corpus --workspace \"$HPX_WS\" -- \"$@\"\n",
        place = place.display(),
        config = config.display(),
        binary = copy.display(),
    );
    fs::write(&script, text)?;
    for (file, mode) in [(&copy, 0o755), (&config, 0o644), (&script, 0o755)] {
        fs::set_permissions(file, fs::Permissions::from_mode(mode))?;
    }
    // Each case keeps its state in a directory of its own below this one, whoever runs it.
    fs::set_permissions(place, fs::Permissions::from_mode(0o1777))?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rows: Value) -> (usize, usize, usize) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), serde_json::json!({ "rows": rows }).to_string()).unwrap();
        let Tally { passed, failed, skipped, .. } = gate(file.path(), &mut String::new()).unwrap();
        (passed, failed, skipped)
    }

    fn row(tier: &str, verdict: &str, why: &str) -> Value {
        serde_json::json!([{ "id": "007-x", "cls": "fs-read", "tier": tier, "verdict": verdict, "why": why }])
    }

    #[test]
    fn what_did_not_come_to_its_end_is_not_held() {
        assert_eq!(counted(row("core", "PASS", "0.2s")), (1, 0, 0));
        assert_eq!(counted(row("core", "PASS", "30.0s TIMEOUT")), (0, 1, 0));
        assert_eq!(counted(row("core", "SKIP", "N/A: no such file system")), (0, 0, 1));
        assert_eq!(counted(row("core", "SKIP", "NORUN: no compiler")), (0, 1, 0));
        assert_eq!(counted(row("core", "FAIL", "SECRET in output")), (0, 1, 0));
        assert_eq!(counted(row("stretch", "PASS", "30.0s TIMEOUT")), (0, 0, 0));
    }
}
