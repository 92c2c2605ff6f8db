//! Round trips, changed configurations, and what a bundle is made of.

use super::{compare::difference, *};
use crate::plan::{Access, Denied, Kept, Limits, Masked, Mount, Net, Plan};
use crate::{Protection, Sandbox};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Few names, so that paths often lie in each other.
fn path() -> impl Strategy<Value = PathBuf> {
    vec(prop_oneof!["a", "b", "c", "ü x"], 1..5).prop_map(|names| Path::new("/w").join(names.join("/")))
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::ReadOnly), Just(Access::ReadWrite)]
}

fn mount() -> impl Strategy<Value = Mount> {
    prop_oneof![
        4 => (path(), access()).prop_map(|(path, access)| Mount::Bind { path, access }),
        1 => (path(), path()).prop_map(|(path, target)| Mount::Link { path, target }),
        1 => (path(), access()).prop_map(|(path, access)| Mount::Private { path, access }),
    ]
}

fn kept() -> impl Strategy<Value = Kept> {
    prop_oneof![
        path().prop_map(|path| Kept::Existing { path }),
        path().prop_map(|path| Kept::Symlink { path }),
        (path(), option::of(".*")).prop_map(|(path, content)| Kept::Absent { path, content }),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let number = || option::of(0..u64::MAX / 2);
    let time = option::of((0..u64::MAX / 2, 0..1_000_000_000_u32));
    (number(), number(), time, number(), number()).prop_map(|(memory, pids, time, open_files, tmp)| Limits {
        memory,
        pids,
        cpu_time: time.map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds)),
        open_files,
        tmp,
        ..Limits::default()
    })
}

prop_compose! {
    fn lists()(
        view in vec(mount(), 0..6),
        masks in vec((path(), any::<bool>()), 0..4),
        kept in vec(kept(), 0..4),
        pins in vec(path(), 0..4),
        exec_deny in vec(path(), 0..3),
        watched in vec(path(), 0..3),
    ) -> (Vec<Mount>, Vec<Masked>, Vec<Kept>, Vec<PathBuf>, Vec<PathBuf>, Vec<PathBuf>) {
        let masks = masks.into_iter().map(|(path, directory)| Masked { path, directory }).collect();
        (view, masks, kept, pins, exec_deny, watched)
    }
}

prop_compose! {
    /// Any plan whose lost protections it can do without.
    fn plans()(
        (view, masks, kept, pins, exec_deny, watched) in lists(),
        workspace in option::of(path()),
        deny_read in vec((".*", vec(".*", 0..2)), 0..3),
        protect in vec(".*", 0..3),
        hostname in "[a-z]{1,8}",
        limits in limits(),
        since in 0..u64::from(u32::MAX),
        nanoseconds in 0..1_000_000_000_u32,
        warnings in vec(".*", 0..2),
        exec_guard in any::<bool>(),
    ) -> Plan {
        Plan {
            view, masks, kept, pins, exec_deny, workspace, hostname, limits, exec_guard,
            uncovered: warnings.clone(),
            warnings,
            roots: watched.clone(),
            links: watched.clone(),
            denied: vec![(since, 1)],
            watched,
            protect,
            deny_read: deny_read.into_iter().map(|(pattern, except)| Denied { pattern, except }).collect(),
            deny_read_strict: false,
            strangers: false,
            replaced: Vec::new(),
            git_history: None,
            channels: Vec::new(),
            surveyed: SystemTime::UNIX_EPOCH + Duration::new(since, nanoseconds),
            net: Net::None,
            allow_missing: everything(),
        }
    }
}

fn everything() -> BTreeSet<Protection> {
    use Protection::{ExecGuard, Landlock, LateMasks, MemoryLimit, ReservedNames, StrictReads};
    [Landlock, LateMasks, ReservedNames, MemoryLimit, ExecGuard, StrictReads].into()
}

fn processes() -> impl Strategy<Value = Process> {
    (vec(".*", 1..4), vec("[A-Z]+=.*", 0..4), path(), 0..3_u32).prop_map(|(arguments, environment, directory, user)| {
        Process { arguments, environment, directory, user, group: user + 1 }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_read_as_it_was_written(plan in plans(), process in processes()) {
        let exported = to_spec(&plan, &process).unwrap();
        let text = serde_json::to_string(&exported.spec).unwrap();
        prop_assert_eq!(from_spec(&exported.spec).unwrap(), (plan.clone(), process.clone()));
        prop_assert_eq!(from_config(&text).unwrap(), (plan, process));
    }

    /// Without the annotation the words alone are read, and stand for a plan that is written with the same words.
    #[test]
    fn the_words_alone_stand_for_a_plan_of_the_same_words(plan in plans(), process in processes()) {
        let mut spec = serde_json::to_value(to_spec(&plan, &process).unwrap().spec).unwrap();
        spec["annotations"].as_object_mut().unwrap().remove(PLAN);
        // What only the kernel's view of a plan has, rules for the same paths in another order included.
        spec["annotations"].as_object_mut().unwrap().remove(LANDLOCK);
        let (mut read, process) = read::words(&spec);
        read.allow_missing = everything();
        let mut again = serde_json::to_value(to_spec(&read, &process).unwrap().spec).unwrap();
        again["annotations"] = json!({});
        prop_assert_eq!(difference(&spec, &again), None);
    }
}

/// A plan that uses every word of the format.
fn example() -> (Plan, Process) {
    let bind = |path: &str, access| Mount::Bind { path: path.into(), access };
    let mut plan = Sandbox::builder().plan().unwrap();
    plan.view = vec![
        bind("/usr", Access::ReadOnly),
        Mount::Link { path: "/bin".into(), target: "usr/bin".into() },
        Mount::Private { path: "/home/u".into(), access: Access::ReadWrite },
        bind("/home/u/work", Access::ReadWrite),
        bind("/home/u/work/vendor/x", Access::ReadOnly),
    ];
    plan.masks = vec![Masked { path: "/home/u/work/.env".into(), directory: false }];
    plan.kept = vec![
        Kept::Existing { path: "/home/u/work/.git/config".into() },
        Kept::Absent { path: "/home/u/work/.envrc".into(), content: None },
    ];
    plan.pins = vec!["/home/u/work/.git".into(), "/home/u/work/vendor".into(), "/elsewhere".into()];
    plan.exec_deny = vec!["/usr/bin/curl".into()];
    plan.deny_read = vec![Denied { pattern: ".env".into(), except: Vec::new() }];
    plan.limits = Limits {
        memory: Some(1 << 30),
        pids: Some(64),
        open_files: Some(256),
        tmp: Some(1 << 20),
        ..Limits::default()
    };
    plan.limits.cpu_time = Some(Duration::from_millis(1500));
    plan.allow_missing = everything();
    (plan, Process { user: 0, group: 0, ..Process::new(["make"]) })
}

fn json_of(plan: &Plan, process: &Process) -> Value {
    serde_json::to_value(to_spec(plan, process).unwrap().spec).unwrap()
}

#[test]
fn every_mount_has_the_flags_it_has_in_a_sandbox() {
    let (plan, process) = example();
    let spec = json_of(&plan, &process);
    let mounts = spec["mounts"].as_array().unwrap();
    let options = |place: &str| {
        let mut found = mounts.iter().filter(|mount| mount["destination"] == place);
        let mount = found.next().unwrap_or_else(|| panic!("{place} is not mounted"));
        assert!(found.next().is_none(), "{place} is mounted twice");
        mount["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect::<Vec<_>>()
    };
    for (place, read_only, no_exec) in [
        ("/usr", true, false),
        ("/usr/bin/curl", true, true),
        ("/home/u/work", false, false),
        ("/home/u/work/.git", false, false),
        ("/home/u/work/vendor", false, false),
        ("/home/u/work/vendor/x", true, false),
    ] {
        let options = options(place);
        assert_eq!((options.contains(&"ro"), options.contains(&"noexec")), (read_only, no_exec), "{place}");
        assert!(options.contains(&"nosuid") && options.contains(&"nodev"), "{place}");
        // What is mounted in it has the same; a file has nothing in it, and engines refuse these words there.
        let inner = |option: &str| options.contains(&option) == (options[0] == "rbind");
        assert!(inner("rnosuid") && inner("rnodev"), "{place}");
        assert!((!read_only || inner("rro")) && (!no_exec || inner("rnoexec")), "{place}");
    }
    assert!(options("/tmp").contains(&"size=1048576"));
    assert!(options("/home/u").contains(&"mode=700"));
    assert!(!mounts.iter().any(|mount| mount["destination"] == "/elsewhere"), "what the view does not show stays out");
    let place = |path: &str| mounts.iter().position(|mount| mount["destination"] == path).unwrap();
    assert!(
        place("/home/u/work/vendor") < place("/home/u/work/vendor/x"),
        "a pin does not cover what is mounted in it"
    );
}

#[test]
fn what_is_mounted_in_a_protected_or_forbidden_directory_is_that_too() {
    let (mut plan, process) = example();
    plan.kept.push(Kept::Existing { path: "/home/u/work/kept".into() });
    plan.view.push(Mount::Bind { path: "/home/u/work/kept/inner".into(), access: Access::ReadWrite });
    plan.exec_deny.push("/home/u/work/data".into());
    plan.view.push(Mount::Bind { path: "/home/u/work/data/inner".into(), access: Access::ReadWrite });
    let spec = json_of(&plan, &process);
    let options = |place: &str| {
        let mounts = spec["mounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["destination"] == place).unwrap()["options"].to_string()
    };
    assert!(options("/home/u/work/kept/inner").contains("\"rro\""));
    assert!(options("/home/u/work/data/inner").contains("\"rnoexec\""));
}

#[test]
fn a_protection_that_engines_lack_has_to_be_allowed_by_name() {
    let (mut plan, mut process) = example();
    plan.exec_guard = true;
    plan.deny_read_strict = true;
    assert!(to_spec(&plan, &process).is_ok());
    let lost = [
        Protection::Landlock,
        Protection::LateMasks,
        Protection::StrictReads,
        Protection::ExecGuard,
        Protection::ReservedNames,
    ];
    for protection in lost {
        plan.allow_missing = everything();
        plan.allow_missing.remove(&protection);
        let Err(Error::Missing { missing }) = to_spec(&plan, &process) else { panic!("{protection} is lost silently") };
        assert_eq!(missing.iter().map(|line| line.protection).collect::<Vec<_>>(), [protection]);
    }
    plan.allow_missing = everything();
    plan.allow_missing.remove(&Protection::MemoryLimit);
    assert!(to_spec(&plan, &process).is_ok(), "root's engine has control groups");
    process.user = 1000;
    let error = to_spec(&plan, &process).unwrap_err();
    assert!(error.to_string().contains("memory-limit"), "{error}");
}

#[test]
fn a_changed_configuration_is_an_error_that_names_the_place() {
    let (plan, process) = example();
    let spec = json_of(&plan, &process);
    let words = {
        let mut words = spec.clone();
        words["annotations"].as_object_mut().unwrap().remove(PLAN);
        words
    };
    let refused = |spec: &Value| match from_config(&spec.to_string()) {
        Err(Error::Foreign { at, why }) => format!("{at}: {why}"),
        other => panic!("{other:?}"),
    };
    let changes: [(&str, Value, &str); 14] = [
        ("/linux/maskedPaths", json!([]), "linux.maskedPaths: a plan also says"),
        ("/linux/readonlyPaths/0", json!("/proc/other"), "linux.readonlyPaths: a plan"),
        (
            "/linux/namespaces/3",
            json!({"type": "network", "path": "/proc/1/ns/net"}),
            "linux.namespaces: a plan cannot say",
        ),
        ("/linux/cgroupsPath", json!("/mine"), "linux.cgroupsPath: a plan cannot say \"/mine\""),
        ("/linux/devices", json!([{"path": "/dev/kvm", "type": "c"}]), "linux.devices: a plan cannot say"),
        ("/linux/seccomp", json!(null), "linux.seccomp: a plan also says"),
        ("/linux/seccomp/syscalls/0/names", json!(["mount"]), "linux.seccomp.syscalls[0].names: a plan also says"),
        ("/process/capabilities/bounding", json!(["CAP_KILL"]), "process.capabilities.bounding: a plan cannot say"),
        ("/process/noNewPrivileges", json!(false), "process.noNewPrivileges: a plan also says true"),
        ("/process/terminal", json!(true), "process.terminal: a plan cannot say true"),
        ("/root/readonly", json!(false), "root.readonly: a plan also says true"),
        ("/hooks", json!({"prestart": [{"path": "/x"}]}), "hooks: a plan cannot say"),
        ("/mounts/6/source", json!("/opt"), "mounts[6].source: is \"/opt\", and a plan says \"/usr\""),
        ("/linux/somethingNew", json!(1), "linux.somethingNew: a plan cannot say 1"),
    ];
    for (pointer, value, expected) in changes {
        for mut changed in [spec.clone(), words.clone()] {
            let (above, key) = pointer.rsplit_once('/').unwrap();
            let above = changed.pointer_mut(above).unwrap();
            match key.parse::<usize>() {
                Ok(index) => above[index] = value.clone(),
                Err(_) => above[key] = value.clone(),
            }
            let said = refused(&changed);
            assert!(said.starts_with(expected), "{pointer}: {said}");
        }
    }
}

#[test]
fn a_text_that_is_no_configuration_is_refused() {
    assert!(matches!(from_config("{"), Err(Error::Format(_))));
    assert!(matches!(from_config("{}"), Err(Error::Foreign { .. })));
    let (plan, process) = example();
    let mut spec = json_of(&plan, &process);
    spec["annotations"][PLAN] = "{}".into();
    assert!(matches!(from_config(&spec.to_string()), Err(Error::Format(_))));
}

#[test]
fn what_the_format_cannot_hold_is_named() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let (mut plan, process) = example();
    plan.limits.memory = Some(u64::MAX);
    assert!(to_spec(&plan, &process).unwrap_err().to_string().contains("18446744073709551615 bytes"));
    let (mut plan, _) = example();
    let odd = PathBuf::from(OsString::from_vec(b"/w/\xff".to_vec()));
    plan.pins.push(odd.clone());
    assert!(matches!(to_spec(&plan, &process), Err(Error::Path { path }) if path == odd));
}

#[test]
fn a_bundle_is_its_owners_and_takes_no_used_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (work, bundle) = (root.join("work"), root.join("bundle"));
    fs::create_dir(&work).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(&work, Access::ReadOnly).read_only(root.join("file")).home("/home/nobody-here");
    builder.allow_missing(Protection::Landlock);
    let (plan, process) = (builder.plan().unwrap(), Process::new(["true"]));
    write_bundle(&plan, &process, &bundle).unwrap();

    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o700);
    let text = fs::read_to_string(bundle.join("config.json")).unwrap();
    // Engines have masks for what no stranger may read.
    assert_eq!(from_config(&text).unwrap(), (plan.clone().with_settings_masked(), process.clone()));
    let inside = |path: &Path| bundle.join("rootfs").join(path.strip_prefix("/").unwrap());
    assert!(inside(&work).is_dir() && inside(&root.join("file")).is_file() && inside(Path::new("/usr")).is_dir());
    assert_eq!(fs::read(inside(&root.join("file"))).unwrap(), b"", "a place to mount on, not a copy");
    for entry in &plan.view {
        if let Mount::Link { path, target } = entry {
            assert_eq!(&fs::read_link(inside(path)).unwrap(), target);
        }
    }
    let error = write_bundle(&plan, &process, &bundle).unwrap_err();
    assert!(error.to_string().contains("make the bundle"), "{error}");
}

#[test]
fn nothing_is_made_below_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut plan = Sandbox::builder().plan().unwrap();
    plan.view = vec![
        Mount::Link { path: "/link".into(), target: outside.clone() },
        Mount::Private { path: "/link/inner".into(), access: Access::ReadOnly },
    ];
    plan.allow_missing = everything();
    let error = write_bundle(&plan, &Process::new(["true"]), &directory.path().join("bundle")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}
