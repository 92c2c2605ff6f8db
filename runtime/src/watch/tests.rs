//! The watch on real directories.

use super::*;
use std::fs;

struct Stage {
    _directory: tempfile::TempDir,
    root: PathBuf,
    watch: Watch,
}

fn stage(files: &[&str], deny: &[&str], masked: &[&str], kept: &[&str]) -> Stage {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap().join("w");
    fs::create_dir(&root).unwrap();
    let mut directories = vec![root.clone()];
    for file in files {
        let path = root.join(file);
        if path.parent() != Some(&root) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            directories.push(path.parent().unwrap().to_owned());
        }
        fs::write(path, file).unwrap();
    }
    let paths = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
    let deny = denied(deny);
    let beginning = Beginning::new(
        Scope {
            roots: std::slice::from_ref(&root),
            deny: &deny,
            absent: &[],
            links: &[],
            denied: &inodes_below(paths(masked)),
            since: Some(SystemTime::now() + Duration::from_secs(60)),
            history: false,
        },
        before(&paths(masked), &paths(kept)),
    );
    let watch = beginning.unwrap().complete(&directories, &[]).unwrap();
    Stage { _directory: directory, root, watch }
}

fn before(masked: &[PathBuf], kept: &[PathBuf]) -> Before {
    let [masked, kept] = [masked, kept].map(|paths| paths.iter().collect::<Vec<_>>());
    Before::new(&masked, &kept)
}

fn inodes_below(mut paths: Vec<PathBuf>) -> Vec<Inode> {
    let mut inodes = Vec::new();
    while let Some(path) = paths.pop() {
        let status = path.symlink_metadata().unwrap();
        match status.is_dir() {
            true => paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
            false => inodes.push((status.dev(), status.ino())),
        }
    }
    inodes
}

fn denied(patterns: &[&str]) -> Vec<Denied> {
    patterns.iter().map(|&pattern| Denied { pattern: pattern.to_owned(), except: Vec::new() }).collect()
}

impl Stage {
    fn late(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        let root = self.root.clone();
        self.watch
            .drain(&mut |late, path| {
                let sign = if late == Late::Mask { '#' } else { '=' };
                let slash = if path.is_dir() { "/" } else { "" };
                seen.push(format!("{sign}{}{slash}", path.strip_prefix(&root).unwrap().display()));
                Ok(())
            })
            .unwrap();
        seen.sort();
        seen.dedup();
        seen
    }
}

/// Whoever makes many links, and has them followed again and again, is not waited for.
#[test]
fn what_appears_is_covered_before_all_links_are_followed() {
    const LINKS: usize = 1000;
    let targets: Vec<String> = (0..LINKS).map(|index| format!("target{index}")).collect();
    let mut stage = stage(&targets.iter().map(String::as_str).collect::<Vec<_>>(), &["**/.env*"], &[], &[]);
    for index in 0..LINKS {
        std::os::unix::fs::symlink(format!("target{index}"), stage.root.join(format!(".env{index}"))).unwrap();
    }
    fs::write(stage.root.join(".env"), "").unwrap();
    let mut seen = Vec::new();
    let mut on = |_, path: &Path| {
        seen.push(path.to_owned());
        Ok(())
    };
    stage.watch.drain(&mut on).unwrap();
    assert_eq!(seen.iter().filter(|path| path.to_string_lossy().contains("target")).count(), LINKS);
    let at = seen.iter().position(|path| path.ends_with(".env")).unwrap();
    assert!(at < LINKS * 3 / 4, "{at} were covered before it");
}

#[test]
fn a_file_that_appears_is_reported_at_any_depth() {
    let mut stage = stage(&["a/x"], &["**/.env*", "b/*.key", "**/secrets/**"], &[], &[]);
    assert!(stage.late().is_empty());
    fs::write(stage.root.join(".env.late"), "x").unwrap();
    fs::write(stage.root.join("a/plain"), "x").unwrap();
    assert_eq!(stage.late(), ["#.env.late"]);
    fs::create_dir_all(stage.root.join("b/c/d/secrets/deep")).unwrap();
    fs::write(stage.root.join("b/c/d/.env"), "x").unwrap();
    fs::write(stage.root.join("b/k.key"), "x").unwrap();
    assert_eq!(stage.late(), ["#b/c/d/.env", "#b/c/d/secrets/", "#b/k.key"]);
    fs::write(stage.root.join("b/c/d/.env2"), "x").unwrap();
    assert_eq!(stage.late(), ["#b/c/d/.env2"], "new directories are watched");
    fs::rename(stage.root.join("a/plain"), stage.root.join("a/.env")).unwrap();
    assert_eq!(stage.late(), ["#a/.env"]);
}

#[test]
fn a_tree_that_is_moved_in_is_searched() {
    let mut stage = stage(&["a/x"], &["**/.env"], &[], &[]);
    let outside = stage.root.parent().unwrap().join("outside/deep");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join(".env"), "x").unwrap();
    fs::rename(outside.parent().unwrap(), stage.root.join("a/new")).unwrap();
    assert_eq!(stage.late(), ["#a/new/deep/.env"]);
    // Renamed once more: events of the same directory carry its new path.
    fs::rename(stage.root.join("a/new"), stage.root.join("moved")).unwrap();
    stage.late();
    fs::create_dir(stage.root.join("moved/deep/more")).unwrap();
    fs::write(stage.root.join("moved/deep/more/.env"), "x").unwrap();
    assert_eq!(stage.late(), ["#moved/deep/more/.env"]);
}

#[test]
fn what_is_replaced_is_reported_again() {
    let mut stage = stage(&[".env", "AGENTS.md", "c/x"], &["**/.env"], &[".env"], &["AGENTS.md"]);
    for name in [".env", "AGENTS.md"] {
        fs::write(stage.root.join("c/new"), "x").unwrap();
        fs::rename(stage.root.join("c/new"), stage.root.join(name)).unwrap();
    }
    assert_eq!(stage.late(), ["#.env", "=AGENTS.md"]);
    assert!(stage.late().is_empty());
    // Removed and made again, most likely with the same inode number.
    for name in [".env", "AGENTS.md"] {
        fs::remove_file(stage.root.join(name)).unwrap();
        fs::write(stage.root.join(name), "x").unwrap();
    }
    assert_eq!(stage.late(), ["#.env", "=AGENTS.md"]);
}

#[test]
fn without_patterns_protected_paths_are_watched_alone() {
    let mut stage = stage(&["AGENTS.md", "d/x"], &[], &[], &["AGENTS.md"]);
    fs::write(stage.root.join("d/.env"), "x").unwrap();
    fs::write(stage.root.join("new"), "x").unwrap();
    fs::rename(stage.root.join("new"), stage.root.join("AGENTS.md")).unwrap();
    assert_eq!(stage.late(), ["=AGENTS.md"]);
    assert_eq!(stage.watch.watched.len(), 1);
}

#[test]
fn a_later_hard_link_and_a_later_symlink_give_nothing_away() {
    let mut stage =
        stage(&[".env", "secrets/deep/key", "d/x", "plain"], &["**/.env*", "secrets/"], &[".env", "secrets"], &[]);
    fs::hard_link(stage.root.join(".env"), stage.root.join("d/a")).unwrap();
    fs::hard_link(stage.root.join("secrets/deep/key"), stage.root.join("d/b")).unwrap();
    fs::hard_link(stage.root.join("plain"), stage.root.join("d/c")).unwrap();
    assert_eq!(stage.late(), ["#d/a", "#d/b"]);
    std::os::unix::fs::symlink("../plain", stage.root.join("d/.env.link")).unwrap();
    std::os::unix::fs::symlink("not-yet", stage.root.join("d/.env.soon")).unwrap();
    assert_eq!(stage.late(), ["#d/c", "#plain"], "what the link leads to, and its other name");
    fs::write(stage.root.join("d/not-yet"), "x").unwrap();
    assert_eq!(stage.late(), ["#d/not-yet"]);
}

#[test]
fn what_changed_between_the_survey_and_the_watch_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let since = SystemTime::now() - Duration::from_secs(1);
    fs::write(root.join(".env"), "x").unwrap();
    let deny = denied(&[".env"]);
    let roots = [root.clone()];
    let since = Some(since);
    let scope = Scope { roots: &roots, deny: &deny, absent: &[], links: &[], denied: &[], since, history: false };
    let mut seen = Vec::new();
    let mut watch = Beginning::new(scope, Before::default()).unwrap().complete(&roots, &[]).unwrap();
    let mut on = |late, path: &Path| {
        seen.push((late, path.to_owned()));
        Ok(())
    };
    watch.drain(&mut on).unwrap();
    assert_eq!(seen, [(Late::Mask, root.join(".env"))]);
}

#[test]
fn more_events_than_the_queue_holds_lose_nothing() {
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if limit > 100_000 {
        return;
    }
    let mut stage = stage(&["d/x"], &["**/.env"], &[], &[]);
    for index in 0..=limit {
        fs::write(stage.root.join(format!("d/{index}")), "").unwrap();
    }
    fs::write(stage.root.join("d/.env"), "x").unwrap();
    fs::create_dir(stage.root.join("d/new")).unwrap();
    fs::write(stage.root.join("d/new/.env"), "x").unwrap();
    assert_eq!(stage.late(), ["#d/.env", "#d/new/.env"]);
}

#[test]
fn a_path_that_cannot_be_covered_ends_the_drain_with_its_name() {
    let mut stage = stage(&[], &["**/.env"], &[], &[]);
    fs::write(stage.root.join(".env"), "x").unwrap();
    let error = stage.watch.drain(&mut |_, _| Err(io::Error::from(io::ErrorKind::PermissionDenied))).unwrap_err();
    assert!(error.to_string().contains(".env"), "{error}");
    fs::write(stage.root.join("again"), "x").unwrap();
    fs::rename(stage.root.join("again"), stage.root.join(".env")).unwrap();
    let gone = stage.root.join(".env");
    let mut vanish = |_, _: &Path| {
        fs::remove_file(&gone)?;
        Err(io::Error::from(io::ErrorKind::NotFound))
    };
    stage.watch.drain(&mut vanish).unwrap();
}

#[test]
fn what_the_caller_created_is_no_news_and_what_replaces_it_is() {
    let mut stage = stage(&[], &["**/.env"], &[], &["AGENTS.md", "CLAUDE.md"]);
    let names = ["AGENTS.md", "CLAUDE.md"].map(|name| stage.root.join(name));
    for name in &names {
        fs::write(name, "").unwrap();
    }
    stage.watch.created(names.iter().map(PathBuf::as_path));
    // Before the first look, most likely with the same inode number.
    fs::remove_file(&names[1]).unwrap();
    fs::write(&names[1], "").unwrap();
    assert_eq!(stage.late(), ["=CLAUDE.md"]);
    fs::remove_file(&names[0]).unwrap();
    fs::write(&names[0], "").unwrap();
    assert_eq!(stage.late(), ["=AGENTS.md"]);
}

/// A mount, taken away at the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(&self.0).status().unwrap();
    }
}

#[test]
fn a_directory_that_is_mounted_twice_is_watched_under_both_paths() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let twins = [("secrets", "public"), ("conf", "conf-too")];
    let paths = twins.map(|(one, other)| [root.join(one), root.join(other)]);
    paths.iter().flatten().for_each(|path| fs::create_dir(path).unwrap());
    let mut mounted = Vec::new();
    for [one, other] in &paths {
        let status = std::process::Command::new("mount").arg("--bind").arg(one).arg(other).status().unwrap();
        if !status.success() {
            // Root in a container.
            return;
        }
        mounted.push(Mounted(other.clone()));
    }
    let (roots, deny, masked) = ([root.clone()], denied(&["**/.env*", "secrets/"]), [root.join("secrets")]);
    let scope = Scope {
        roots: &roots,
        deny: &deny,
        absent: &[],
        links: &[],
        denied: &[],
        since: Some(SystemTime::now() + Duration::from_secs(60)),
        history: false,
    };
    let directories: Vec<PathBuf> = roots.iter().chain(paths.iter().flatten()).cloned().collect();
    let watch = Beginning::new(scope, before(&masked, &[])).unwrap().complete(&directories, &[]).unwrap();
    // The mounts go before what they lie in.
    let mut stage = Stage { _directory: tempfile::tempdir().unwrap(), root, watch };
    fs::write(stage.root.join("conf/.env"), "x").unwrap();
    assert_eq!(stage.late(), ["#conf-too/.env", "#conf/.env"]);
    fs::write(stage.root.join("conf-too/.env2"), "x").unwrap();
    assert_eq!(stage.late(), ["#conf-too/.env2", "#conf/.env2"]);
    fs::write(stage.root.join("secrets/key"), "x").unwrap();
    assert_eq!(stage.late(), ["#public/key"], "one file, though it has one link");
    fs::create_dir(stage.root.join("conf/deep")).unwrap();
    assert!(stage.late().is_empty());
    fs::write(stage.root.join("conf/deep/.env"), "x").unwrap();
    assert_eq!(stage.late(), ["#conf-too/deep/.env", "#conf/deep/.env"]);
}
