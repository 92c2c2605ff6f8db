//! What the tests need of the machine: looked for, installed as root, named plainly otherwise.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// A program the tests call, and the Debian package that brings it.
pub(crate) struct Requirement {
    /// Any one of these, in `PATH` or absolute, will do.
    programs: &'static [&'static str],
    package: &'static str,
}

const fn need(programs: &'static [&'static str], package: &'static str) -> Requirement {
    Requirement { programs, package }
}

/// For building: the C compiler that the bundled SQLite and the linker want.
pub(crate) const BUILD: &[Requirement] = &[need(&["cc"], "gcc"), need(&["git"], "git")];

/// For the static build.
pub(crate) const STATIC: &[Requirement] = &[need(&["musl-gcc"], "musl-tools")];

/// For putting its functions in order.
pub(crate) const ORDER: &[Requirement] =
    &[need(&["nm"], "binutils"), need(&["strip"], "binutils"), need(&["git"], "git")];

/// For the tests of the crates.
pub(crate) const TESTS: &[Requirement] = &[
    need(&["cc"], "gcc"),
    need(&["git"], "git"),
    need(&["curl"], "curl"),
    need(&["strace"], "strace"),
    need(&["gdb"], "gdb"),
    need(&["/usr/bin/python3"], "python3"),
    need(&["setpriv"], "util-linux"),
    need(&["bwrap"], "bubblewrap"),
    need(&["bash"], "bash"),
    need(&["vim", "vi"], "vim-tiny"),
    need(&["less"], "less"),
    need(&["runc", "/usr/sbin/runc"], "runc"),
    need(&["crun"], "crun"),
];

/// For the approval page in a browser.
pub(crate) const BROWSER: &[Requirement] = &[
    need(&["node"], "nodejs"),
    need(&["npm"], "npm"),
    need(&["chromium", "chromium-browser", "google-chrome"], "chromium"),
];

/// For the replay of the incident.
pub(crate) const REPLAY: &[Requirement] =
    &[need(&["cc"], "gcc"), need(&["git"], "git"), need(&["curl"], "curl"), need(&["grep"], "grep")];

/// For an attack corpus: its runner is Python, its cases are C.
pub(crate) const ATTACKS: &[Requirement] = &[
    need(&["/usr/bin/python3"], "python3"),
    need(&["cc"], "gcc"),
    need(&["git"], "git"),
    need(&["strace"], "strace"),
    need(&["gdb"], "gdb"),
    need(&["setcap"], "libcap2-bin"),
    need(&["chattr"], "e2fsprogs"),
];

/// For kernels in virtual machines.
pub(crate) const KERNELS: &[Requirement] = &[
    need(&["qemu-system-x86_64"], "qemu-system-x86"),
    need(&["setpriv"], "util-linux"),
    need(&["/usr/sbin/mkfs.ext4"], "e2fsprogs"),
    need(&["dpkg-deb"], "dpkg"),
    need(&["xz"], "xz-utils"),
    need(&["/usr/share/keyrings/debian-archive-keyring.gpg"], "debian-archive-keyring"),
];

/// For the comparison of launch times: bubblewrap, and what srt does not start without.
pub(crate) const BENCH: &[Requirement] =
    &[need(&["bwrap"], "bubblewrap"), need(&["rg"], "ripgrep"), need(&["socat"], "socat")];

/// Makes sure that every program is there: installs what is missing when root, fails and says how otherwise.
pub(crate) fn ensure(requirements: &[Requirement]) -> Result<()> {
    let missing = packages(requirements);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !nix::unistd::Uid::effective().is_root() || find("apt-get").is_none() {
        bail!("the tests need programs that are not installed; please run, as root: apt-get install {list}");
    }
    eprintln!("installing {list}");
    let mut update = apt();
    // An index that could not be refreshed may still be good enough; the installation decides.
    if let Err(error) = process::run(update.args(["update", "--quiet", "--quiet"])) {
        eprintln!("{error:#}");
    }
    let mut install = apt();
    install.args(["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"]).args(&missing);
    process::run(&mut install).with_context(|| format!("could not install {list}"))?;
    let still = packages(requirements);
    if still.is_empty() { Ok(()) } else { bail!("still missing after the installation: {}", still.join(" ")) }
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // Standard output is for the task's own answer.
    apt.stdout(std::io::stderr());
    apt
}

fn packages(requirements: &[Requirement]) -> Vec<&'static str> {
    let absent = |requirement: &&Requirement| !requirement.programs.iter().any(|program| find(program).is_some());
    requirements.iter().filter(absent).map(|requirement| requirement.package).collect()
}

/// Where a program is, searching `PATH` for a bare name.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    if program.starts_with('/') {
        return Some(program.into()).filter(|path: &std::path::PathBuf| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| executable(file))
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
