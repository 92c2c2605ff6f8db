//! `holdpoint doctor`: what this machine can enforce, what is missing and what to do about it.

use holdpoint_approval_web::client::Client;
use holdpoint_runtime::{Access, probe};
use serde::Serialize;
use serde_json::json;

use crate::args::Doctor;
use crate::confine::{closed, confinement, plan_of_edits};
use crate::error::{Error, plain};
use crate::exit;
use crate::load::load;
use crate::places::{Places, resolved};
use crate::process::{missing, not_started};
use crate::report::{self, encoded, readable};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    good: bool,
    needed: bool,
    detail: String,
    advice: Option<String>,
}

/// Look at everything, and say what was found.
///
/// # Errors
/// [`Error::Io`] when it cannot be printed.
pub(super) fn doctor(args: &Doctor) -> Result<u8, Error> {
    let probe = probe::probe();
    let mut findings: Vec<Finding> = probe.features.iter().map(of_feature).collect();
    if let Some(finding) = reduced(&args.flags, &findings) {
        // What the profile's own sandbox stands without it does not need.
        findings.iter_mut().for_each(|missing| missing.needed &= missing.good || !finding.good);
        findings.push(finding);
    }
    findings.extend([state(), configuration(&args.flags), server()]);
    findings.extend(foreign(&args.flags));
    findings.extend(left_over(&args.flags));
    let unfit = findings.iter().any(|finding| finding.needed && !finding.good);
    let code = if unfit { exit::UNENFORCEABLE } else { exit::SUCCESS };
    if args.flags.answer.json {
        report::result(
            &json!({"exit": code, "kernel": probe.kernel, "architecture": probe.architecture, "findings": findings}),
        )?;
        return Ok(code);
    }
    let mut out = format!("Linux {} on {}\n\n", encoded(&probe.kernel), encoded(&probe.architecture));
    for finding in &findings {
        let mark = match (finding.good, finding.needed) {
            (true, _) => "ok     ",
            (false, true) => "MISSING",
            (false, false) => "no     ",
        };
        out.push_str(&format!("{mark}  {}: {}\n", encoded(&finding.name), readable(&finding.detail)));
        if let (false, Some(advice)) = (finding.good, &finding.advice) {
            out.push_str(&format!("         {}\n", readable(advice)));
        }
    }
    out.push_str(if unfit { "\n`holdpoint run` cannot work here.\n" } else { "\n`holdpoint run` can work here.\n" });
    report::output(out.as_bytes())?;
    Ok(code)
}

fn of_feature(feature: &probe::Feature) -> Finding {
    Finding {
        name: feature.name.clone(),
        good: feature.present,
        needed: feature.needed,
        detail: feature.detail.clone(),
        advice: feature.advice.clone(),
    }
}

/// What an error says, as a finding.
fn of_error(name: &str, error: &Error) -> Finding {
    let detail = match error {
        Error::Config(config) => config.to_string(),
        other => plain(other),
    };
    Finding { name: name.into(), good: false, needed: true, detail, advice: error.next().map(str::to_owned) }
}

fn good(name: &str, detail: String) -> Finding {
    Finding { name: name.into(), good: true, needed: true, detail, advice: None }
}

fn state() -> Finding {
    match Places::find().and_then(|places| places.state().map(ToOwned::to_owned)) {
        Ok(path) => good("state directory", path.display().to_string()),
        Err(error) => of_error("state directory", &error),
    }
}

fn configuration(flags: &crate::args::PolicyFlags) -> Finding {
    let loaded = match load(flags) {
        Ok(loaded) => loaded,
        Err(error) => return of_error("configuration", &error),
    };
    match confinement(&loaded) {
        Err(error) => of_error("configuration", &error),
        Ok(None) => Finding {
            needed: false,
            ..of_error(
                "configuration",
                &Error::Unenforceable {
                    what: "anything by the kernel".into(),
                    why: format!("profile {} says sandbox = \"none\"", loaded.policy.profile),
                    next: "only for machines that are disposable already".into(),
                },
            )
        },
        Ok(Some(_)) => {
            let root = resolved(&loaded.workspace.root);
            let (profile, mode) = (&loaded.policy.profile, loaded.policy.sandbox.value);
            good("configuration", format!("profile {profile}, {mode} in {}", root.display()))
        }
    }
}

/// A workspace in which root can do little, because it is somebody else's.
fn foreign(flags: &crate::args::PolicyFlags) -> Option<Finding> {
    let loaded = load(flags).ok().filter(|loaded| matches!(confinement(loaded), Ok(Some(_))))?;
    let writes = loaded.policy.sandbox.value.writes_workspace();
    let access = if writes { Access::ReadWrite } else { Access::ReadOnly };
    let (detail, advice) = closed(&loaded.workspace.root, access)?;
    Some(Finding { name: "workspace".into(), good: false, needed: false, detail, advice: Some(advice) })
}

/// Names that a run has left in the workspace because it was killed together with what would have removed them: they are
/// taken away, as the next run that may write would do.
fn left_over(flags: &crate::args::PolicyFlags) -> Option<Finding> {
    let loaded = load(flags).ok().filter(|loaded| matches!(confinement(loaded), Ok(Some(_))))?;
    let name = "reserved names";
    let cleared = plan_of_edits(&loaded).and_then(|plan| plan.clear_reserved().map_err(not_started));
    Some(match cleared {
        Ok(cleared) if cleared.is_empty() => return None,
        Ok(cleared) => {
            let names: Vec<String> = cleared.iter().map(|path| path.display().to_string()).collect();
            good(name, format!("a killed run had left some, which are gone now: {}", names.join(", ")))
        }
        Err(error) => Finding { needed: false, ..of_error(name, &error) },
    })
}

/// Where something is missing that the profile lets be missing: whether its sandbox starts without.
fn reduced(flags: &crate::args::PolicyFlags, findings: &[Finding]) -> Option<Finding> {
    let lacks = findings.iter().any(|finding| finding.needed && !finding.good);
    let loaded = load(flags).ok().filter(|loaded| lacks && !loaded.policy.allow_missing.is_empty())?;
    let confinement = confinement(&loaded).ok()??;
    let name = "launch without what the profile lets be missing";
    Some(match confinement.start(None) {
        Ok(sandbox) => good(name, missing(sandbox.enforced()).unwrap_or_default()),
        Err(error) => of_error(name, &error),
    })
}

fn server() -> Finding {
    let running = Places::find().map(|places| Client::connect(&places.state));
    let (good, detail, advice) = match running {
        Ok(Ok(Some(client))) => (true, format!("at {}", client.url()), None),
        Ok(Ok(None)) => {
            let advice = "none is needed: a run that is held serves the page itself; `holdpoint serve` keeps one";
            (false, "not running".to_owned(), Some(advice.to_owned()))
        }
        Ok(Err(error)) => (false, plain(&error), None),
        Err(error) => (false, plain(&error), None),
    };
    Finding { name: "approval server".into(), good, needed: false, detail, advice }
}
