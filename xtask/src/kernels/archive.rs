//! Kernels out of Debian's archive, through an apt of our own: its lists and packages stay below `target/kernels`.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Where kernels are published, old to new. A mirror need not have all of them.
const SUITES: [&str; 6] = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"];

/// Debian's keys, on every Debian system.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt with its own lists.
pub(crate) struct Archive {
    place: PathBuf,
    /// Every kernel for this architecture, old to new.
    releases: Vec<String>,
}

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// As `uname -r` will print it.
    pub(crate) release: String,
    /// What the package holds: `lib/modules/…` and the image.
    pub(crate) tree: PathBuf,
    /// What is booted.
    pub(crate) image: PathBuf,
}

impl Archive {
    /// Fetches the lists from the mirror this machine uses.
    pub(crate) fn open(place: &Path) -> Result<Self> {
        let mut archive = Self { place: place.join("apt"), releases: Vec::new() };
        for directory in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(archive.place.join(directory))?;
        }
        let mirror = mirror()?;
        let lines = SUITES.map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"));
        fs::write(archive.place.join("sources.list"), lines.concat())?;
        fs::write(archive.place.join("state/status"), "")?;
        // A suite that a mirror has dropped is no reason to stop; what is not found later is named.
        if let Err(error) = process::run(archive.apt("apt-get").args(["update", "--quiet", "--quiet"])) {
            eprintln!("{error:#}");
        }
        let names = output(archive.apt("apt-cache").args(["pkgnames", "linux-image-"]))?;
        archive.releases = names.lines().filter_map(release).map(str::to_owned).collect();
        archive.releases.sort_by(|a, b| compare(a, b));
        Ok(archive)
    }

    /// The newest kernel of a release series, or of all with `newest`. `None` when there is none.
    pub(crate) fn kernel(&self, wanted: &str) -> Result<Option<Kernel>> {
        let matches = |release: &&String| {
            let rest = release.strip_prefix(wanted);
            wanted == "newest" || rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        let Some(release) = self.releases.iter().rfind(matches) else { return Ok(None) };
        let tree = self.place.join(release);
        if !tree.join("complete").exists() {
            // Since Linux 7.1 the image is an empty package that needs the other two.
            self.unpack(&format!("linux-image-{release}"), &tree)?;
            if image(&tree, release).is_none() {
                self.unpack(&format!("linux-binary-{release}"), &tree)?;
                self.unpack(&format!("linux-modules-{release}"), &tree)?;
            }
            fs::write(tree.join("complete"), "")?;
        }
        let image = image(&tree, release).with_context(|| format!("{release}: the packages bring no image"))?;
        Ok(Some(Kernel { release: release.clone(), tree, image }))
    }

    /// A shell and its tools in one static file.
    pub(crate) fn busybox(&self) -> Result<PathBuf> {
        let tree = self.place.join("busybox");
        let places = ["usr/bin/busybox", "bin/busybox"].map(|file| tree.join(file));
        if !places.iter().any(|file| file.exists()) {
            self.unpack("busybox-static", &tree)?;
        }
        places.into_iter().find(|file| file.exists()).context("busybox-static brings no busybox")
    }

    fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        let place = tempfile::tempdir_in(self.place.join("packages"))?;
        process::run(self.apt("apt-get").args(["download", "--quiet", "--quiet", package]).current_dir(&place))?;
        for file in fs::read_dir(&place)? {
            process::run(Command::new("dpkg-deb").arg("-x").arg(file?.path()).arg(to))?;
        }
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let mut set = |name: &str, value: &Path| {
            apt.arg("-o").arg(format!("{name}={}", value.display()));
        };
        set("Dir::Etc::sourcelist", &self.place.join("sources.list"));
        set("Dir::Etc::sourceparts", Path::new("/dev/null"));
        set("Dir::State", &self.place.join("state"));
        set("Dir::State::status", &self.place.join("state/status"));
        set("Dir::Cache", &self.place.join("cache"));
        // Whoever may write here needs no other user to download.
        set("APT::Sandbox::User", Path::new("root"));
        apt
    }
}

/// The image of an unpacked kernel: in `/boot`, or since Linux 7.3 with the modules.
fn image(tree: &Path, release: &str) -> Option<PathBuf> {
    let places = [format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")];
    places.into_iter().map(|place| tree.join(place)).find(|image| image.exists())
}

/// The Debian mirror in this machine's own configuration.
fn mirror() -> Result<String> {
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI) $(CODENAME)",
        "Created-By: Packages",
    ]))?;
    let mirror = targets.lines().find_map(|line| match *line.split(' ').collect::<Vec<_>>() {
        ["Debian", mirror, suite] if !suite.ends_with("-security") => Some(mirror.to_owned()),
        _ => None,
    });
    mirror.context("this machine's apt knows no Debian mirror; run `apt-get update`, or use a Debian system")
}

/// The release in the name of a package with a plain kernel for this architecture.
fn release(package: &str) -> Option<&str> {
    let release = package.strip_prefix("linux-image-")?;
    let plain = release.strip_suffix("-amd64")?;
    let versioned = plain.starts_with(|first: char| first.is_ascii_digit()) && plain.matches('.').count() >= 2;
    let special = ["-cloud", "-rt", "-rc", ".deb"].iter().any(|word| plain.contains(word));
    (versioned && !special).then_some(release)
}

/// Orders releases number by number.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|next: char| !next.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b))
}

fn output(command: &mut Command) -> Result<String> {
    let name = process::shown(command);
    let output = command.output().with_context(|| format!("could not start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}`: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_kernels_are_told_from_the_special_ones() {
        assert_eq!(release("linux-image-6.1.0-50-amd64"), Some("6.1.0-50-amd64"));
        assert_eq!(release("linux-image-6.12.95+deb12-amd64"), Some("6.12.95+deb12-amd64"));
        for other in ["linux-image-6.1.0-50-cloud-amd64", "linux-image-amd64", "linux-image-6.1-amd64", "linux-doc"] {
            assert_eq!(release(other), None, "{other}");
        }
    }

    #[test]
    fn releases_are_ordered_as_numbers() {
        assert_eq!(compare("6.12.9+deb12-amd64", "6.12.95+deb12-amd64"), Ordering::Less);
        assert_eq!(compare("6.1.0-50-amd64", "6.12.9-amd64"), Ordering::Less);
    }
}
