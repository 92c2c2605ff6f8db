//! The tables, one for each thing that is measured.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use super::measure::{self, Subject, Timing};
use super::peers::Scene;
use crate::{process, tree};

/// What was measured so far.
#[derive(Default)]
pub(super) struct Tables {
    /// As Markdown.
    pub text: String,
    /// Names and milliseconds of the launch, for the plot.
    pub launch: Vec<(&'static str, f64)>,
}

/// Mounts that a host has besides, where it has many.
const MOUNTS: usize = 200;
/// Files to hide where many are.
const MANY: usize = 1000;
/// The tree in which few are hidden: files, directories, and those among the files that are denied.
const TREE: (usize, usize, usize) = (100_000, 1_000, 75);
/// How many files are hidden to see whether a thousand cost ten times a hundred.
const STEPS: [usize; 3] = [100, 1_000, 10_000];

/// `/bin/true` in a sandbox of its own, by everybody.
pub(super) fn launch(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let empty = scene.empty();
    let mut subjects = vec![Scene::bare(), scene.bubblewrap(&empty, Vec::new()), scene.holdpoint("launch", &empty)];
    subjects.push(scene.bubblewrap_whole());
    subjects.push(Subject::new("holdpoint --version", {
        let binary = scene.binary.clone();
        move || {
            let mut command = std::process::Command::new(&binary);
            command.arg("--version");
            command
        }
    }));
    let (others, absent) = scene.others()?;
    subjects.extend(others);
    let timings = measure::interleaved(&subjects, rounds)?;
    section(tables, "One command in a sandbox of its own: `/bin/true`", &timings)?;
    not_measured(tables, &absent)?;
    tables.launch = timings.iter().map(|timing| (timing.name, timing.median)).collect();
    in_repository(scene, rounds, tables)?;
    mounted(scene, rounds, tables)
}

/// The same in a small git repository, most of whose protected parts are there and have to be looked at.
fn in_repository(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let repository = scene.place.join("repository");
    plant(&repository, 40, 4, 0)?;
    fs::write(repository.join("AGENTS.md"), "Rules.\n")?;
    into_git(&repository)?;
    let subjects = [Scene::bare(), scene.bubblewrap(&repository, Vec::new()), scene.holdpoint("launch", &repository)];
    section(tables, "The same in a git repository", &measure::interleaved(&subjects, rounds)?)
}

/// The same where the host has many mounts, as container engines and package managers leave them: a new mount namespace is a
/// copy of them all.
fn mounted(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let title = format!("The same on a host with {MOUNTS} more mounts");
    if !nix::unistd::geteuid().is_root() {
        return not_measured(tables, &[format!("{title}: only root can have them")]);
    }
    let (empty, mounts) = (scene.empty(), scene.place.join("mounts"));
    fs::create_dir(&mounts)?;
    let within =
        measure::namespace(|| (0..MOUNTS).try_for_each(|number| memory_mounted(&mounts.join(number.to_string()))))?;
    let subjects = [
        Scene::bare(),
        scene.bubblewrap(&empty, Vec::new()),
        scene.holdpoint("launch", &empty),
        scene.bubblewrap_whole(),
    ];
    let there = |subject| Ok(Subject { within: Some(within.try_clone()?), ..subject });
    let subjects = subjects.into_iter().map(there).collect::<Result<Vec<_>>>()?;
    section(tables, &title, &measure::interleaved(&subjects, rounds)?)
}

fn memory_mounted(place: &Path) -> Result<()> {
    fs::create_dir(place)?;
    Ok(mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
}

/// The same where files are hidden: many in a small tree, few in a large one, more and more of them.
pub(super) fn hidden(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let rounds = (rounds / 5).max(5);
    let many = scene.place.join("many");
    let names = plant(&many, MANY, MANY / 25, MANY)?;
    hiding(scene, rounds, tables, &many, names, &format!("{MANY} files hidden"))?;
    let (files, directories, denied) = TREE;
    let large = scene.place.join("large");
    let names = plant(&large, files, directories, denied)?;
    hiding(scene, rounds, tables, &large, names, &format!("{denied} of {files} files hidden"))?;
    more_and_more(scene, rounds, tables)
}

/// Bubblewrap is told the names; everybody else finds them.
fn hiding(
    scene: &Scene,
    rounds: usize,
    tables: &mut Tables,
    tree: &Path,
    names: Vec<PathBuf>,
    title: &str,
) -> Result<()> {
    let mut subjects = vec![Scene::bare(), scene.bubblewrap(tree, names), scene.holdpoint("hidden", tree)];
    let (others, absent) = scene.hiding(tree)?;
    subjects.extend(others);
    let timings = measure::interleaved(&subjects, rounds)?;
    section(tables, &format!("{title} (bubblewrap is told their names, the others find them)"), &timings)?;
    let shares = timings.iter().enumerate().skip(3).map(|(index, other)| {
        format!("{:.2} × {}", timings[2].ratios.get(index).copied().unwrap_or(f64::NAN), other.name)
    });
    let shares: Vec<String> = shares.collect();
    if !shares.is_empty() {
        writeln!(tables.text, "`holdpoint run` takes {}.\n", shares.join("; "))?;
    }
    not_measured(tables, &absent)
}

/// What one mask more costs.
fn more_and_more(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let mut subjects = vec![scene.holdpoint("hidden", &scene.empty())];
    for count in STEPS {
        let tree = scene.place.join(format!("hidden-{count}"));
        plant(&tree, count, (count / 25).max(1), count)?;
        subjects.push(scene.holdpoint("hidden", &tree));
    }
    let timings = measure::interleaved(&subjects, rounds)?;
    writeln!(tables.text, "## `holdpoint run`, by the number of files hidden\n")?;
    writeln!(tables.text, "| files | median ms | µs for each |\n|---:|---:|---:|\n| 0 | {:.2} | |", timings[0].median)?;
    for (count, timing) in STEPS.iter().zip(&timings[1..]) {
        let each = (timing.median - timings[0].median) * 1e3 / *count as f64;
        writeln!(tables.text, "| {count} | {:.2} | {each:.1} |", timing.median)?;
    }
    tables.text.push('\n');
    Ok(())
}

fn not_measured(tables: &mut Tables, absent: &[String]) -> Result<()> {
    if !absent.is_empty() {
        writeln!(tables.text, "Not measured: {}.\n", absent.join(", "))?;
    }
    Ok(())
}

/// What a program pays that embeds the runtime, small and large.
pub(super) fn library(_: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    for mib in [0, 200] {
        let rounds = rounds.to_string();
        let times = costs(&["start", &rounds, &mib.to_string()])?;
        writeln!(tables.text, "## `/bin/true` from a program that embeds `holdpoint-runtime` and holds {mib} MiB\n")?;
        rows(tables, &times)?;
    }
    Ok(())
}

/// What commands cost inside against outside.
pub(super) fn inside(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let rounds = (rounds / 5).max(5).to_string();
    writeln!(tables.text, "## Commands inside a living sandbox, against the same outside\n")?;
    writeln!(tables.text, "| | outside ms | inside ms | × |\n|---|---:|---:|---:|")?;
    for work in works(scene)? {
        let times = work.costs("inside", &rounds)?;
        let [(_, outside), (_, inside)] = times.as_slice() else { bail!("the example printed {} rows", times.len()) };
        writeln!(tables.text, "| {} | {outside:.1} | {inside:.1} | {:.2} |", work.name, inside / outside)?;
    }
    tables.text.push('\n');
    Ok(())
}

/// A command whose cost is compared.
pub(super) struct Work {
    pub name: &'static str,
    directory: PathBuf,
    command: &'static [&'static str],
}

impl Work {
    /// What the runtime's own example measured of it.
    pub(super) fn costs(&self, what: &str, rounds: &str) -> Result<Vec<(String, f64)>> {
        let mut arguments = vec![what, rounds, self.directory.to_str().context("a path in UTF-8")?];
        arguments.extend(self.command);
        costs(&arguments)
    }
}

/// What people run inside, on a large repository and in a small project.
pub(super) fn works(scene: &Scene) -> Result<[Work; 5]> {
    let large = scene.place.join("large");
    if !large.exists() {
        plant(&large, TREE.0, TREE.1, TREE.2)?;
    }
    let project = scene.place.join("project");
    fs::create_dir_all(project.join("src"))?;
    fs::write(
        project.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    fs::write(project.join("src/main.rs"), "fn main() {\n    println!(\"hello\");\n}\n")?;
    into_git(&large)?;
    let work = |name, directory: &Path, command| Work { name, directory: directory.to_owned(), command };
    Ok([
        work("`git status` of 100,000 files", &large, &["git", "status", "--porcelain"]),
        work("`grep -r`, which opens each of them", &large, &["sh", "-c", "grep -rc KEY . > /dev/null || true"]),
        work("`find`, which looks at each", &large, &["find", ".", "-size", "+1k"]),
        work(
            "500 × `/bin/true` from a shell",
            &project,
            &["sh", "-c", "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done"],
        ),
        work(
            "`cargo build` of a small program",
            &project,
            &["sh", "-c", "touch src/main.rs && cargo build --quiet --offline"],
        ),
    ])
}

/// Makes a directory a repository that knows its files.
fn into_git(directory: &Path) -> Result<()> {
    for words in [&["init", "--quiet"][..], &["add", "--all"]] {
        process::run(std::process::Command::new("git").arg("-C").arg(directory).args(words).stdout(Stdio::null()))?;
    }
    Ok(())
}

/// Makes `files` files in `directories` directories, the first of which, `denied` in all, are named `.env…`. Gives those.
fn plant(root: &Path, files: usize, directories: usize, denied: usize) -> Result<Vec<PathBuf>> {
    let mut names = Vec::with_capacity(denied);
    for directory in 0..directories {
        let path = root.join(format!("d{directory:04}"));
        fs::create_dir_all(&path)?;
        for file in 0..files / directories {
            // Spread over the tree, so that one file of a directory is denied before two of another are.
            let index = file * directories + directory;
            let name = path.join(if index < denied { format!(".env.{file}") } else { format!("f{file}.txt") });
            fs::write(&name, "KEY=value\n")?;
            if index < denied {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// What the runtime's own example measured: names and numbers.
pub(super) fn costs(arguments: &[&str]) -> Result<Vec<(String, f64)>> {
    let mut cargo = tree::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "holdpoint-runtime", "--example", "costs", "--"]);
    let output = cargo.args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the example `costs {}` ended with {}", arguments.join(" "), process::code(output.status));
    }
    numbers(&String::from_utf8_lossy(&output.stdout))
}

fn numbers(text: &str) -> Result<Vec<(String, f64)>> {
    let line = |line: &str| -> Result<(String, f64)> {
        let (name, number) = line.split_once('\t').context("a line without a number")?;
        Ok((name.to_owned(), number.trim().parse()?))
    };
    text.lines().map(line).collect()
}

/// One table of times, with ratios to the first two.
fn section(tables: &mut Tables, title: &str, timings: &[Timing]) -> Result<()> {
    writeln!(
        tables.text,
        "## {title}\n\n| | median ms | p10 | p90 | × bare exec | × bubblewrap |\n|---|---:|---:|---:|---:|---:|"
    )?;
    for Timing { name, median, p10, p90, ratios } in timings {
        let ratio = |index: usize| ratios.get(index).copied().unwrap_or(f64::NAN);
        writeln!(tables.text, "| {name} | {median:.2} | {p10:.2} | {p90:.2} | {:.2} | {:.2} |", ratio(0), ratio(1))?;
    }
    tables.text.push('\n');
    Ok(())
}

/// One table of milliseconds, with ratios to the first.
fn rows(tables: &mut Tables, times: &[(String, f64)]) -> Result<()> {
    writeln!(tables.text, "| | median ms | × bare |\n|---|---:|---:|")?;
    let first = times.first().context("nothing was measured")?.1;
    for (name, time) in times {
        writeln!(tables.text, "| {name} | {time:.2} | {:.2} |", time / first)?;
    }
    tables.text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_example_become_rows() {
        let mut tables = Tables::default();
        rows(&mut tables, &numbers("bare\t0.500\nfresh sandbox\t2.000\n").unwrap()).unwrap();
        assert!(
            tables.text.ends_with("| bare | 0.50 | 1.00 |\n| fresh sandbox | 2.00 | 4.00 |\n\n"),
            "{}",
            tables.text
        );
        assert!(numbers("nothing").is_err());
    }

    #[test]
    fn as_many_files_are_denied_as_were_asked_for() {
        let place = tempfile::tempdir().unwrap();
        let names = plant(place.path(), 100, 10, 25).unwrap();
        assert_eq!(names.len(), 25);
        assert!(names.iter().all(|name| name.exists()));
        assert_eq!(fs::read_dir(place.path().join("d0009")).unwrap().count(), 10);
    }
}
