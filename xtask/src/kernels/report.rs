//! What was found on each kernel, as a table for people and as the page in `docs/`.

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest::Findings;
use crate::tally::Tally;

/// Where the table stands in the page.
const BEGIN: &str = "<!-- written by `cargo xtask kernels --write` -->";
const END: &str = "<!-- end of what is written -->";

/// One kernel.
pub(crate) struct Row {
    pub(crate) release: String,
    pub(crate) findings: Findings,
    pub(crate) took: Duration,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Row {
    fn part(&self, name: &str) -> String {
        let parts = self.findings.parts.iter().filter(|part| part.name == name);
        let shown: Vec<_> = parts.map(|part| format!("{} as {}", counts(part.tally), part.user)).collect();
        if shown.is_empty() { "–".to_owned() } else { shown.join(", ") }
    }

    fn good(&self) -> bool {
        self.findings.parts.iter().all(|part| part.tally.failed == 0)
    }
}

/// `212`, or `210 of 212` when some failed; what was skipped counts neither way.
fn counts(tally: Tally) -> String {
    if tally.failed == 0 {
        format!("{} passed", tally.passed)
    } else {
        format!("{} of {} passed", tally.passed, tally.passed + tally.failed)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  Landlock: {}", self.findings.landlock)?;
        writeln!(f, "  control group: {}", self.findings.cgroup)?;
        if let Some(refused) = &self.findings.refused {
            writeln!(f, "  refused: {refused}")?;
        }
        for part in &self.findings.parts {
            writeln!(f, "  {} as {}: {}", part.name, part.user, part.tally)?;
        }
        write!(f, "  {:.0} s", self.took.as_secs_f64())
    }
}

impl Report {
    pub(crate) fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    pub(crate) fn good(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Row::good)
    }

    /// Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| kernel | Landlock | control group | one run | the project's tests | attack corpus | seconds |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for row in &self.0 {
            let run = match &row.findings.refused {
                Some(refused) => format!("refused with 69: {}", refused.lines().next().unwrap_or_default()),
                None => row.part("smoke"),
            };
            let (tests, corpus) = (row.part("tests"), row.part("corpus"));
            let Findings { landlock, cgroup, .. } = &row.findings;
            let seconds = row.took.as_secs();
            writeln!(table, "| {} | {landlock} | {cgroup} | {run} | {tests} | {corpus} | {seconds} |", row.release)
                .ok();
        }
        table
    }

    /// Puts the table into the page, in the place of the one before.
    pub(crate) fn write(&self, page: &Path) -> Result<()> {
        let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let (before, rest) = text.split_once(BEGIN).context("the page has no place for the table")?;
        let (_, after) = rest.split_once(END).context("the table in the page has no end")?;
        fs::write(page, format!("{before}{BEGIN}\n{}{END}{after}", self.table()))?;
        Ok(())
    }
}
