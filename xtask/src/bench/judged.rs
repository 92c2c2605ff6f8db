//! What judging costs: each program before it is executed, each file before it is opened.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::peers::Scene;
use super::tables::{Tables, works};

/// Both tables.
pub(super) fn tables(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    guard(scene, &(rounds / 5).max(5).to_string(), tables)?;
    strict(scene, &(rounds / 10).max(3).to_string(), tables)
}

fn guard(scene: &Scene, rounds: &str, tables: &mut Tables) -> Result<()> {
    writeln!(tables.text, "## Commands with `exec_guard`, every program allowed, against the same without\n")?;
    writeln!(
        tables.text,
        "| | without ms | with ms | × | programs | µs more for each |\n|---|---:|---:|---:|---:|---:|"
    )?;
    for work in works(scene)? {
        let times = work.costs("guard", rounds)?;
        let [(_, free), (_, guarded), (_, programs)] = times.as_slice() else {
            bail!("the example printed {} rows", times.len())
        };
        let ratio = guarded / free;
        write!(tables.text, "| {} | {free:.1} | {guarded:.1} | {ratio:.2} | {programs:.0} |", work.name)?;
        // A difference that few programs make drowns in that between two runs.
        if *programs < 100.0 {
            writeln!(tables.text, " |")?;
        } else {
            writeln!(tables.text, " {:.0} |", (guarded - free) * 1000.0 / programs)?;
        }
    }
    tables.text.push('\n');
    Ok(())
}

fn strict(scene: &Scene, rounds: &str, tables: &mut Tables) -> Result<()> {
    writeln!(tables.text, "## Commands with `deny_read_strict`, against the same with masks alone\n")?;
    writeln!(tables.text, "| | masks ms | strict ms | × |\n|---|---:|---:|---:|")?;
    for work in works(scene)? {
        let times = work.costs("strict", rounds)?;
        let [(_, masked), (_, strict)] = times.as_slice() else { bail!("the example printed {} rows", times.len()) };
        writeln!(tables.text, "| {} | {masked:.1} | {strict:.1} | {:.2} |", work.name, strict / masked)?;
    }
    tables.text.push('\n');
    Ok(())
}
