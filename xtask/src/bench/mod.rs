//! `cargo xtask bench`: what confinement costs, against the same without it and against its peers, as ratios of one
//! interleaved run.

mod history;
mod judged;
mod measure;
mod others;
mod peers;
mod plot;
mod running;
mod tables;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{dist, requirements, tree};
use peers::Scene;
use tables::Tables;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure; everything when absent.
    #[arg(value_enum)]
    part: Option<Part>,
    /// How often each command is started.
    #[arg(long, default_value_t = 51)]
    rounds: usize,
    /// Put everything into docs/performance.md.
    #[arg(long, conflicts_with = "part")]
    write: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// One command in a sandbox of its own.
    Launch,
    /// A launch that hides files.
    Hidden,
    /// A launch that hides files in the history of git.
    History,
    /// What an embedding program pays.
    Library,
    /// Launches per second.
    Rate,
    /// Commands inside against the same outside.
    Inside,
    /// Commands whose programs or opens are judged, against the same unjudged.
    Guard,
}

impl Part {
    /// Whether `holdpoint` and its peers are what is measured, and not the library alone.
    fn starts_holdpoint(self) -> bool {
        matches!(self, Self::Launch | Self::Hidden | Self::History | Self::Rate)
    }
}

/// Measures and prints; fails only when something could not be started.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let binary = match options.part {
        Some(part) if !part.starts_holdpoint() => None,
        _ => {
            requirements::ensure(requirements::BENCH)?;
            Some(dist::build()?)
        }
    };
    let place = tempfile::Builder::new().prefix("holdpoint-bench-").tempdir_in("/var/tmp")?;
    let scene = Scene::new(place.path(), binary.as_deref())?;
    let mut tables = Tables::default();
    for (part, measure) in [
        (Part::Launch, tables::launch as fn(&Scene, usize, &mut Tables) -> Result<()>),
        (Part::Launch, running::memory),
        (Part::Hidden, tables::hidden),
        (Part::History, history::table),
        (Part::Library, tables::library),
        (Part::Rate, running::rate),
        (Part::Inside, tables::inside),
        (Part::Guard, judged::tables),
    ] {
        if options.part.is_none_or(|wanted| wanted == part) {
            eprintln!(
                "measuring: {}",
                clap::ValueEnum::to_possible_value(&part).map_or_else(String::new, |value| value.get_name().into())
            );
            measure(&scene, options.rounds, &mut tables)?;
        }
    }
    println!("{}", tables.text);
    if options.write {
        write_page(&tables)?;
    }
    Ok(true)
}

/// Puts the tables below the marker of the page, which says how they came about, and the plot beside it.
fn write_page(tables: &Tables) -> Result<()> {
    const MARKER: &str = "<!-- measured -->";
    let page = tree::root().join("docs/performance.md");
    let present = fs::read_to_string(&page).context("docs/performance.md")?;
    let (above, _) = present.split_once(MARKER).context("docs/performance.md has no marker for the tables")?;
    let machine = machine()?;
    let text = tables.text.trim_end();
    fs::write(&page, format!("{above}{MARKER}\n\n{machine}\n\n![launch times](img/launch.svg)\n\n{text}\n"))?;
    let plot = plot::bars("/bin/true in a sandbox of its own, milliseconds (logarithmic)", &tables.launch);
    fs::write(tree::root().join("docs/img/launch.svg"), plot).context("docs/img/launch.svg")
}

/// On what was measured.
fn machine() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism()?;
    let user = if nix::unistd::Uid::effective().is_root() { "root" } else { "an ordinary user" };
    let mut versions = Vec::new();
    for program in ["bwrap", "crun", "runc", "firejail", "codex", "srt"] {
        if requirements::find(program).is_some() {
            let output = Command::new(program).arg("--version").output()?;
            let first = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
            versions.push(if first.starts_with(|c: char| c.is_ascii_digit()) {
                format!("{program} {first}")
            } else {
                first
            });
        }
    }
    Ok(format!("Linux {}, {cpus} processors, as {user}; {}.", kernel.trim(), versions.join(", ")))
}
