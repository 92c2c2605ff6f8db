//! The crates depend on each other in one direction only, and some never gain certain crates.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Finding;
use crate::tree;

/// What each package may depend on among our own; `xtask` may use them all.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("holdpoint-runtime", &[]),
    ("holdpoint-policy", &[]),
    ("holdpoint-hooks", &["holdpoint-policy"]),
    ("holdpoint-approval-web", &["holdpoint-policy"]),
    ("holdpoint", &["holdpoint-runtime", "holdpoint-policy", "holdpoint-hooks", "holdpoint-approval-web"]),
];

/// What never comes into a package, not even through another crate.
const NEVER: [(&str, &[&str]); 3] = [
    ("holdpoint-runtime", &["tokio", "axum", "hyper", "rusqlite"]),
    ("holdpoint-policy", &["axum", "hyper", "rusqlite", "nix"]),
    ("holdpoint-hooks", &["axum", "hyper", "rusqlite"]),
];

/// Findings in the graph of the workspace.
pub(super) fn check() -> Result<Vec<Finding>> {
    let metadata = tree::metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let own: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(package, _)| *package == name) else {
            if name != "xtask" {
                findings.push(finding(name, "is not in the graph of the house"));
            }
            continue;
        };
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        for dependency in dependencies.iter().filter(|dependency| dependency["kind"] != "dev") {
            let dependency = dependency["name"].as_str().unwrap_or_default();
            if own.contains(dependency) && !allowed.contains(&dependency) {
                findings.push(finding(name, &format!("must not depend on {dependency}")));
            }
        }
    }
    for (package, never) in NEVER {
        let all = transitive(package)?;
        findings.extend(
            never
                .iter()
                .filter(|name| all.contains(**name))
                .map(|name| finding(package, &format!("must not bring {name}"))),
        );
    }
    Ok(findings)
}

/// Every crate that a package is built with.
fn transitive(package: &str) -> Result<BTreeSet<String>> {
    let mut cargo = tree::cargo();
    cargo.args(["tree", "--package", package, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = cargo.output()?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn finding(package: &str, text: &str) -> Finding {
    let directory = match package {
        "holdpoint" => "cli",
        other => other.strip_prefix("holdpoint-").unwrap_or(other),
    };
    Finding { file: PathBuf::from(directory).join("Cargo.toml"), line: 1, text: format!("{package} {text}") }
}
