//! `cargo xtask bench`: what a launch costs, against a bare exec and against bubblewrap with the same isolation.

mod measure;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tree::Build;
use crate::{process, requirements, tree};
use measure::{Subject, Timing};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each command is started.
    #[arg(long, default_value_t = 51)]
    rounds: usize,
    /// Put the tables into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
}

/// Files to hide in the second comparison.
const MASKS: usize = 1000;

/// The profiles of the configuration below.
const CONFIG: &str = r#"
[profile.launch]
sandbox = "workspace-write"
approval_policy = "full-auto"

[profile.masks]
extends = "launch"
deny_read_paths = ["**/.env*"]
"#;

/// Measures and prints; fails only when something could not be started.
pub(crate) fn main(options: &Options) -> Result<bool> {
    requirements::ensure(requirements::BENCH)?;
    let binary = tree::holdpoint(Build::Release)?;
    let place = tempfile::Builder::new().prefix("holdpoint-bench-").tempdir_in("/var/tmp")?;
    let scene = Scene::new(place.path(), binary)?;
    let mut text = String::new();
    let launch = measure::interleaved(&scene.launch(), options.rounds)?;
    section(&mut text, "Launching `/bin/true`", &launch)?;
    let masks = measure::interleaved(&scene.masks(), (options.rounds / 5).max(5))?;
    section(&mut text, &format!("Launching `/bin/true` with {MASKS} files hidden"), &masks)?;
    writeln!(
        text,
        "## `/bin/true` from a program that embeds `holdpoint-runtime`\n\n| | median ms | × bare |\n|---|---:|---:|"
    )?;
    text.push_str(&living(options.rounds)?);
    println!("{text}");
    if options.write {
        write_page(&text)?;
    }
    Ok(true)
}

/// Where the comparison takes place.
struct Scene {
    binary: PathBuf,
    config: PathBuf,
    empty: PathBuf,
    many: PathBuf,
    home: PathBuf,
}

impl Scene {
    fn new(place: &Path, binary: PathBuf) -> Result<Self> {
        let scene = Self {
            binary,
            config: place.join("bench.toml"),
            empty: place.join("empty"),
            many: place.join("many"),
            home: place.join("home"),
        };
        fs::write(&scene.config, CONFIG)?;
        fs::create_dir(&scene.home)?;
        fs::create_dir(&scene.empty)?;
        for index in 0..MASKS {
            let directory = scene.many.join(format!("d{:02}", index / 25));
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(format!(".env.{index}")), "KEY=value\n")?;
        }
        Ok(scene)
    }

    fn launch(&self) -> Vec<Subject> {
        vec![
            Subject { name: "bare exec", command: Box::new(|| Command::new("/bin/true")) },
            self.bwrap(&self.empty, Vec::new()),
            self.holdpoint("launch", &self.empty),
        ]
    }

    fn masks(&self) -> Vec<Subject> {
        let hidden = (0..MASKS).map(|index| self.many.join(format!("d{:02}/.env.{index}", index / 25)));
        vec![
            Subject { name: "bare exec", command: Box::new(|| Command::new("/bin/true")) },
            self.bwrap(&self.many, hidden.collect()),
            self.holdpoint("masks", &self.many),
        ]
    }

    fn holdpoint(&self, profile: &'static str, workspace: &Path) -> Subject {
        let (binary, config, home) = (self.binary.clone(), self.config.clone(), self.home.clone());
        let workspace = workspace.to_owned();
        let command = move || {
            let mut command = Command::new(&binary);
            command.args(["run", "--profile", profile, "--config"]).arg(&config).arg("--workspace").arg(&workspace);
            command.args(["--", "/bin/true"]).current_dir(&workspace).env("HOME", &home).env_remove("XDG_STATE_HOME");
            command
        };
        Subject { name: "holdpoint run", command: Box::new(command) }
    }

    /// bubblewrap with the namespaces and the view that Holdpoint gives; it has no Landlock and, here, no seccomp program.
    fn bwrap(&self, workspace: &Path, hidden: Vec<PathBuf>) -> Subject {
        let (workspace, home) = (workspace.to_owned(), self.home.clone());
        let command = move || {
            let mut command = Command::new("bwrap");
            command.args(["--unshare-all", "--die-with-parent", "--new-session", "--hostname", "bench"]);
            for directory in ["/usr", "/etc", "/opt"] {
                command.args(["--ro-bind-try", directory, directory]);
            }
            for directory in ["/bin", "/sbin", "/lib", "/lib32", "/lib64"] {
                match fs::read_link(directory) {
                    Ok(target) => command.arg("--symlink").arg(target).arg(directory),
                    Err(_) => command.args(["--ro-bind-try", directory, directory]),
                };
            }
            command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs"]).arg(&home);
            command.arg("--bind").arg(&workspace).arg(&workspace);
            for file in &hidden {
                command.args(["--ro-bind", "/dev/null"]).arg(file);
            }
            command.arg("--chdir").arg(&workspace).args(["--", "/bin/true"]);
            command
        };
        Subject { name: "bubblewrap", command: Box::new(command) }
    }
}

/// One table.
fn section(text: &mut String, title: &str, timings: &[Timing]) -> Result<()> {
    writeln!(
        text,
        "## {title}\n\n| | median ms | p10 | p90 | × bare exec | × bubblewrap |\n|---|---:|---:|---:|---:|---:|"
    )?;
    for Timing { name, median, p10, p90, ratios } in timings {
        let ratio = |index: usize| ratios.get(index).copied().unwrap_or(f64::NAN);
        writeln!(text, "| {name} | {median:.2} | {p10:.2} | {p90:.2} | {:.2} | {:.2} |", ratio(0), ratio(1))?;
    }
    text.push('\n');
    Ok(())
}

/// What the runtime's own example says about commands in a sandbox that lives already, as rows of a table.
fn living(rounds: usize) -> Result<String> {
    let mut cargo = tree::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "holdpoint-runtime", "--example", "living", "--"]);
    cargo.arg(rounds.to_string());
    let outcome = process::tee(&mut cargo)?;
    if outcome.code != 0 {
        bail!("the example `living` ended with {}", outcome.code);
    }
    rows(&outcome.stdout)
}

/// Lines such as `fresh sandbox 1.234 ms` as rows, each with its ratio to the first.
fn rows(text: &str) -> Result<String> {
    let mut rows = String::new();
    let mut first = None;
    for line in text.lines() {
        let (name, median) =
            line.trim().strip_suffix(" ms").and_then(|line| line.rsplit_once(' ')).context("no time")?;
        let median: f64 = median.parse()?;
        let ratio = median / *first.get_or_insert(median);
        writeln!(rows, "| {} | {median:.2} | {ratio:.2} |", name.trim())?;
    }
    Ok(rows)
}

/// Puts the tables below the marker of the page, which says how they came about.
fn write_page(text: &str) -> Result<()> {
    const MARKER: &str = "<!-- measured -->";
    let page = tree::root().join("docs/benchmarks.md");
    let present = fs::read_to_string(&page).context("docs/benchmarks.md")?;
    let (above, _) = present.split_once(MARKER).context("docs/benchmarks.md has no marker for the tables")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism()?;
    let version = Command::new("bwrap").arg("--version").output()?.stdout;
    let place = format!("Linux {}, {cpus} processors, {}.", kernel.trim(), String::from_utf8_lossy(&version).trim());
    fs::write(&page, format!("{above}{MARKER}\n\n{place}\n\n{}\n", text.trim_end()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn times_of_the_example_become_rows() {
        let text = "           bare    0.500 ms\n  fresh sandbox    2.000 ms\n";
        assert_eq!(rows(text).unwrap(), "| bare | 0.50 | 1.00 |\n| fresh sandbox | 2.00 | 4.00 |\n");
        assert!(rows("nothing").is_err());
    }
}
