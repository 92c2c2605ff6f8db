//! What was found on each kernel: lines for a terminal, a table for the page in `docs/`.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::archive::compare;
use super::guest::{Findings, Part};
use crate::ordinary::USER;

/// Where the table stands in the page.
const BEGIN: &str = "<!-- written by `cargo xtask kernels --write` -->";
const END: &str = "<!-- end of what is written -->";

/// What a machine leaves behind for later reports.
const ROW: &str = "row.json";

/// One kernel.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) release: String,
    /// Which files of the tests and which classes of the corpus were run.
    pub(crate) scope: BTreeMap<String, String>,
    pub(crate) findings: Findings,
    pub(crate) minutes: u64,
}

impl Row {
    /// Keeps what was found, until the same series is looked at again.
    pub(crate) fn keep(&self, results: &Path) -> Result<()> {
        Ok(fs::write(results.join(ROW), serde_json::to_vec_pretty(self)?)?)
    }

    /// Whether nothing failed. A kernel that is refused is well when nothing ran on it.
    pub(crate) fn good(&self) -> bool {
        self.findings.finished && self.findings.parts.iter().all(|part| part.tally.failed == 0)
    }

    fn landlock(&self) -> &str {
        let detail = finding(&self.findings.doctor, "landlock").and_then(|landlock| landlock["detail"].as_str());
        detail.map_or("not reported", |detail| detail.split(':').next().unwrap_or(detail))
    }

    /// Which resources a control group of version 2 limits.
    fn control_group(&self) -> String {
        let held = ["memory", "pids", "cpus"].into_iter().filter(|resource| {
            finding(&self.findings.doctor, &format!("limit-{resource}"))
                .is_some_and(|limit| limit["detail"].as_str().unwrap_or_default().starts_with("control group v2"))
        });
        named(held)
    }

    fn user_namespaces(&self) -> &str {
        match finding(&self.findings.doctor, "user-namespaces") {
            Some(finding) if finding["good"] == true => "yes",
            _ => "no",
        }
    }

    /// `doctor`'s exit code, and what it misses.
    fn doctor(&self) -> String {
        let missing = |needed: bool| {
            let findings = self.findings.doctor["findings"].as_array().into_iter().flatten();
            let missing = findings.filter(move |finding| finding["good"] == false && finding["needed"] == needed);
            missing.filter_map(|finding| finding["name"].as_str()).filter(|name| *name != "approval server")
        };
        let without = named(missing(false));
        match self.findings.doctor["exit"].as_u64() {
            Some(0) => format!("works; does without: {without}"),
            Some(code) => format!("{code}; missing: {}", named(missing(true))),
            None => "not reported".to_owned(),
        }
    }

    fn part(&self, name: &str) -> String {
        let mut parts: Vec<_> = self.findings.parts.iter().filter(|part| part.name == name).collect();
        parts.sort_by_key(|part| part.user != "root");
        let scope = self.scope.get(name).filter(|_| !parts.is_empty()).map(|scope| format!("of {scope}"));
        named(parts.into_iter().map(Part::to_string).chain(scope))
    }
}

impl fmt::Display for Part {
    /// `212 of 213 as root`; what was skipped counts neither way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} as {}", self.tally.passed, self.tally.passed + self.tally.failed, self.user)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  Landlock: {}", self.landlock())?;
        writeln!(f, "  doctor as {USER}: {}", self.doctor())?;
        if let Some(refused) = &self.findings.refused {
            writeln!(f, "  refused: {refused}")?;
        }
        for part in &self.findings.parts {
            writeln!(f, "  {}: {part}", part.name)?;
            part.failed.iter().try_for_each(|failed| writeln!(f, "    failed: {failed}"))?;
        }
        write!(f, "  {}{} minutes", if self.findings.finished { "" } else { "not finished after " }, self.minutes)
    }
}

/// Every kernel that was looked at last, old to new; `places` holds one directory for each.
pub(crate) fn kept(places: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for place in fs::read_dir(places)? {
        if let Ok(text) = fs::read(place?.path().join(ROW)) {
            rows.push(serde_json::from_slice::<Row>(&text)?);
        }
    }
    rows.sort_by(|a, b| compare(&a.release, &b.release));
    Ok(rows)
}

/// Puts the rows into the page, in the place of those before.
pub(crate) fn write(rows: &[Row], page: &Path) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the table in the page has no end")?;
    fs::write(page, format!("{before}{BEGIN}\n{}{END}{after}", table(rows)))?;
    Ok(())
}

/// Markdown: a row for each kernel, and below it what was refused and what failed.
fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "| kernel | Landlock | limits by control group v2 | user namespaces for {USER} | `doctor` as {USER} | scenes \
         | the project's tests | attack corpus | minutes |\n|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let cells = [
            row.release.clone(),
            row.landlock().to_owned(),
            row.control_group(),
            row.user_namespaces().to_owned(),
            row.doctor(),
            row.part("scenes"),
            row.part("tests"),
            row.part("corpus"),
            row.minutes.to_string(),
        ];
        writeln!(table, "| {} |", cells.join(" | ")).ok();
    }
    let mut notes = String::new();
    for Row { release, findings, .. } in rows {
        if let Some(refused) = &findings.refused {
            writeln!(notes, "- {release} is refused: {}", refused.lines().collect::<Vec<_>>().join(" ")).ok();
        }
        if !findings.finished {
            writeln!(notes, "- {release} was not finished: what is missing was not run to its end").ok();
        }
        for part in findings.parts.iter().filter(|part| !part.failed.is_empty()) {
            writeln!(notes, "- {release}, {} as {}, failed: `{}`", part.name, part.user, part.failed.join("`, `")).ok();
        }
    }
    format!("{table}\n{notes}")
}

fn finding<'a>(doctor: &'a Value, name: &str) -> Option<&'a Value> {
    doctor["findings"].as_array()?.iter().find(|finding| finding["name"] == name)
}

/// `a, b`, or a dash for none.
fn named(names: impl Iterator<Item = impl fmt::Display>) -> String {
    let names: Vec<_> = names.map(|name| name.to_string()).collect();
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(release: &str, doctor: &Value, parts: &Value) -> Row {
        let findings = json!({"doctor": doctor, "refused": null, "parts": parts, "finished": true});
        serde_json::from_value(
            json!({"release": release, "scope": {"tests": "limits rights"}, "findings": findings, "minutes": 3}),
        )
        .unwrap()
    }

    #[test]
    fn a_row_says_what_is_missing_and_names_what_failed() {
        let doctor = json!({"exit": 0, "findings": [
            {"name": "landlock", "good": true, "needed": true, "detail": "ABI 2: files"},
            {"name": "user-namespaces", "good": true, "needed": true, "detail": ""},
            {"name": "limit-memory", "good": true, "needed": false, "detail": "control group v2 below /x"},
            {"name": "limit-pids", "good": true, "needed": false, "detail": "RLIMIT_NPROC of the user"},
            {"name": "inotify", "good": false, "needed": false, "detail": ""},
            {"name": "approval server", "good": false, "needed": false, "detail": ""},
        ]});
        let tally = json!({"passed": 4, "failed": 1, "skipped": 2});
        let parts = json!([{"name": "tests", "user": "root", "tally": tally, "failed": ["limits::disk"]}]);
        let row = row("6.1.0-50-amd64", &doctor, &parts);
        assert!(!row.good());
        let table = table(&[row]);
        let cells = "| 6.1.0-50-amd64 | ABI 2 | memory | yes | works; does without: inotify | – | 4 of 5 as root, of limits rights | – | 3 |\n";
        assert!(table.contains(cells), "{table}");
        assert!(table.ends_with("\n- 6.1.0-50-amd64, tests as root, failed: `limits::disk`\n"), "{table}");
    }

    #[test]
    fn what_was_kept_comes_back_in_order_and_replaces_what_the_page_had() {
        let place = tempfile::tempdir().unwrap();
        for release in ["6.12.9-amd64", "6.1.0-50-amd64"] {
            fs::create_dir_all(place.path().join("results").join(release)).unwrap();
            row(release, &json!({}), &json!([])).keep(&place.path().join("results").join(release)).unwrap();
        }
        let page = place.path().join("page.md");
        fs::write(&page, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        write(&kept(&place.path().join("results")).unwrap(), &page).unwrap();
        let text = fs::read_to_string(page).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n") && !text.contains("old"), "{text}");
        assert!(text.find("| 6.1.0-50").unwrap() < text.find("| 6.12.9").unwrap(), "{text}");
    }
}
