//! What is not the time of one launch: how many there can be in a second, and the memory that one holds.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::measure::Subject;
use super::peers::Scene;
use super::tables::{Tables, costs};

/// How many a second, from two workers: `/bin/true`, most of whose time is the loading of libc, and the smallest program there
/// is here, with which only the sandbox counts.
pub(super) fn rate(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let count = (rounds * 7).max(50);
    let empty = scene.empty();
    let smallest = empty.join("smallest");
    costs(&["smallest", smallest.to_str().context("a path in UTF-8")?])?;
    for (title, payload, code) in [("`/bin/true`", Path::new("/bin/true"), 0), ("the smallest program", &smallest, 64)]
    {
        writeln!(tables.text, "## Commands per second, two workers: {title}\n")?;
        writeln!(tables.text, "| | per second | × bubblewrap |\n|---|---:|---:|")?;
        let mut rates = Vec::new();
        for subject in [
            Scene::bare_of(payload),
            scene.bubblewrap_of(&empty, Vec::new(), payload),
            scene.holdpoint_of("launch", &empty, payload),
        ] {
            let subject = Subject { code, ..subject };
            rates.push((subject.name.to_owned(), per_second(&subject, count)?));
        }
        let payload = payload.to_str().context("a path in UTF-8")?;
        let empty = empty.to_str().context("a path in UTF-8")?;
        let living = costs(&["rate", &(count * 5).to_string(), empty, payload, &code.to_string()])?;
        rates.extend(living.into_iter().map(|(_, rate)| ("living sandbox".to_owned(), rate)));
        let bubblewrap = rates[1].1;
        for (name, rate) in rates {
            writeln!(tables.text, "| {name} | {rate:.0} | {:.2} |", rate / bubblewrap)?;
        }
        tables.text.push('\n');
    }
    Ok(())
}

/// Starts a subject `count` times from each of two threads, as fast as it goes.
fn per_second(subject: &Subject, count: usize) -> Result<f64> {
    let worker = || (0..count).try_for_each(|_| once(subject));
    let begun = Instant::now();
    thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(worker));
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker failed"))?)
    })?;
    Ok(2.0 * count as f64 / begun.elapsed().as_secs_f64())
}

fn once(subject: &Subject) -> Result<()> {
    let mut command = (subject.command)();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.with_context(|| format!("could not start {}", subject.name))?;
    if status.code() != Some(subject.code) {
        bail!("{} failed when two ran at once", subject.name);
    }
    Ok(())
}

/// What the launcher holds while its command runs.
pub(super) fn memory(scene: &Scene, _: usize, tables: &mut Tables) -> Result<()> {
    let (empty, payload) = (scene.empty(), Path::new("/bin/cat"));
    writeln!(tables.text, "## Memory of the launcher while its command runs\n")?;
    writeln!(tables.text, "| | resident MiB | of that not from its file |\n|---|---:|---:|")?;
    for subject in [scene.bubblewrap_of(&empty, Vec::new(), payload), scene.holdpoint_of("launch", &empty, payload)] {
        let mut child = (subject.command)().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, output) = child.stdin.take().zip(child.stdout.take()).context("two pipes")?;
        // It runs when it answers.
        input.write_all(b"there\n")?;
        BufReader::new(output).read_line(&mut String::new())?;
        // What is there for a moment only is not what many of them hold.
        thread::sleep(Duration::from_millis(500));
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        drop(input);
        child.wait()?;
        let mib = |key: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
            Ok(line.split_whitespace().next().context("no number")?.parse::<f64>()? / 1024.0)
        };
        writeln!(tables.text, "| {} | {:.2} | {:.2} |", subject.name, mib("VmRSS:")?, mib("RssAnon:")?)?;
    }
    tables.text.push('\n');
    Ok(())
}
