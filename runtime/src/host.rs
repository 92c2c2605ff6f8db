//! Why a host gives no namespaces, and what its owner can do about it. The kernel answers with an errno; which of many
//! settings is behind it has to be looked for.

use crate::{enforced::Protection, error::Error, proc};
use std::{
    env, io,
    path::{Path, PathBuf},
};

/// What stands in the way, and what would remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) fix: String,
}

/// Why the sandbox does not stand.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The host gives no namespaces, or none with the rights that belong to them; the errno.
    Namespaces(i32),
    /// Anything else.
    Otherwise(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Otherwise(error)
    }
}

impl Failed {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Namespaces(errno) => {
                let Refusal { reason, fix } = refusal(errno);
                Error::Unsupported { protection: Protection::Namespaces, needs: format!("{reason}; {fix}") }
            }
            Self::Otherwise(error) => error,
        }
    }
}

/// Reason and fix out of the error that says namespaces are refused.
pub(crate) fn refused(error: &Error) -> Option<(&str, &str)> {
    match error {
        Error::Unsupported { protection: Protection::Namespaces, needs } => needs.split_once("; "),
        _ => None,
    }
}

/// What is behind the errno with which new namespaces, or the first steps in them, were refused on this host.
pub(crate) fn refusal(errno: i32) -> Refusal {
    judge(errno, &Facts::find())
}

/// In what a container runs, as far as that decides what to write where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Docker,
    Podman,
    Kubernetes,
    Other,
}

/// What can be read about a host.
#[derive(Clone, Debug)]
struct Facts {
    root: bool,
    /// user.max_user_namespaces; `None` in a kernel without user namespaces.
    most: Option<u64>,
    /// kernel.unprivileged_userns_clone is 0 (Debian, Arch).
    clone_off: bool,
    /// kernel.apparmor_restrict_unprivileged_userns is 1, and no profile gives us the right (Ubuntu).
    apparmor: bool,
    container: Option<Container>,
    /// A seccomp filter is on us.
    filtered: bool,
    /// Our root directory is not that of our mount namespace.
    chroot: bool,
    gvisor: bool,
    /// Our own executable, which a profile has to name.
    program: PathBuf,
}

impl Facts {
    fn find() -> Self {
        let setting = |name: &str| proc::number(Path::new("/proc/sys").join(name));
        let text = |path: &str| proc::text(path).unwrap_or_default();
        let label = text("/proc/self/attr/current");
        let confined = !matches!(label.split_whitespace().next(), None | Some("unconfined" | "unprivileged_userns"));
        Self {
            root: nix::unistd::geteuid().is_root(),
            most: setting("user/max_user_namespaces"),
            clone_off: setting("kernel/unprivileged_userns_clone") == Some(0),
            apparmor: setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) && !confined,
            container: container(),
            filtered: text("/proc/self/status").lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])),
            // A root that is no mount point of its own is not listed (proc_pid_mountinfo(5)).
            chroot: !text("/proc/self/mountinfo").lines().any(|line| line.split(' ').nth(4) == Some("/")),
            gvisor: text("/proc/version").contains("#1 SMP Sun Jan 10 15:06:54 PST 2016"),
            program: env::current_exe().unwrap_or_else(|_| "/usr/bin/holdpoint".into()),
        }
    }
}

fn container() -> Option<Container> {
    let there = |path: &str| Path::new(path).exists();
    let groups = proc::text("/proc/self/cgroup").unwrap_or_default();
    if env::var_os("KUBERNETES_SERVICE_HOST").is_some() || groups.contains("kubepods") {
        Some(Container::Kubernetes)
    } else if there("/run/.containerenv") {
        Some(Container::Podman)
    } else if there("/.dockerenv") || groups.contains("/docker") {
        Some(Container::Docker)
    } else if there("/run/systemd/container") || groups.contains("/lxc") || groups.contains("containerd") {
        Some(Container::Other)
    } else {
        None
    }
}

fn judge(errno: i32, facts: &Facts) -> Refusal {
    let said = io::Error::from_raw_os_error(errno);
    let because = |reason: &str, fix: &str| Refusal { reason: reason.to_owned(), fix: fix.to_owned() };
    if facts.gvisor {
        return because("gVisor has no such namespaces", "rely on gVisor itself, or run outside of it");
    }
    match facts.most {
        None => return because("the kernel has no user namespaces", "use a kernel with CONFIG_USER_NS=y"),
        Some(0) if !(facts.filtered && facts.container.is_none()) => {
            return because("user.max_user_namespaces is 0", "run `sysctl -w user.max_user_namespaces=65536` as root");
        }
        Some(1..) if matches!(errno, libc::ENOSPC | libc::EUSERS) => {
            return because(
                "the limit on namespaces is reached, here or in a namespace around this one",
                "raise user.max_user_namespaces and the other user.max_*_namespaces with sysctl, or end what holds them",
            );
        }
        Some(_) => {}
    }
    if facts.chroot {
        return because(
            "this is a chroot, where the kernel gives no user namespaces",
            "enter the directory with pivot_root instead, as `systemd-nspawn -D DIR` does, or run outside of it",
        );
    }
    if facts.clone_off && !facts.root {
        return because(
            "kernel.unprivileged_userns_clone is 0",
            "run `sysctl -w kernel.unprivileged_userns_clone=1` as root",
        );
    }
    if let Some(container) = facts.container {
        return in_container(container, &said);
    }
    if facts.apparmor && !facts.root {
        return Refusal {
            reason: "AppArmor keeps user namespaces from programs without a profile \
                     (kernel.apparmor_restrict_unprivileged_userns is 1)"
                .to_owned(),
            fix: format!(
                "write `abi <abi/4.0>, profile holdpoint {} flags=(unconfined) {{ userns, }}` to /etc/apparmor.d/holdpoint and \
                 run `apparmor_parser -r /etc/apparmor.d/holdpoint` as root",
                facts.program.display()
            ),
        };
    }
    if facts.filtered {
        return because(
            "what is around this process gives it no namespaces: it runs inside another sandbox",
            "run it outside of that one, or have that one allow namespaces and mounts",
        );
    }
    Refusal {
        reason: format!("the kernel refuses new namespaces ({said})"),
        fix: "use Linux 5.12 or newer with all namespaces, leave the chroot if this is one, and look for a security module \
              that refuses them"
            .to_owned(),
    }
}

fn in_container(container: Container, said: &io::Error) -> Refusal {
    let (name, fix) = match container {
        Container::Docker => (
            "Docker",
            "start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
             systempaths=unconfined`",
        ),
        Container::Podman => (
            "Podman",
            "start the container with `--security-opt seccomp=unconfined --security-opt unmask=ALL --security-opt \
             label=disable`",
        ),
        Container::Kubernetes => (
            "Kubernetes",
            "give the container a securityContext with seccompProfile and appArmorProfile of type Unconfined and procMount: \
             Unmasked, and the pod hostUsers: false",
        ),
        Container::Other => {
            ("its manager", "have the container's manager allow user namespaces, mounts, and a /proc without masks")
        }
    };
    Refusal { reason: format!("{name} refuses namespaces inside this container ({said})"), fix: fix.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Facts {
        Facts {
            root: false,
            most: Some(1000),
            clone_off: false,
            apparmor: false,
            container: None,
            filtered: false,
            chroot: false,
            gvisor: false,
            program: "/opt/holdpoint".into(),
        }
    }

    #[test]
    fn each_host_has_its_own_fix() {
        for (errno, facts, fix) in [
            (libc::EINVAL, Facts { most: None, ..plain() }, "CONFIG_USER_NS"),
            (libc::ENOSPC, Facts { most: Some(0), ..plain() }, "user.max_user_namespaces=65536"),
            (libc::ENOSPC, plain(), "raise user.max_user_namespaces"),
            (libc::EPERM, Facts { clone_off: true, ..plain() }, "unprivileged_userns_clone=1"),
            (
                libc::EPERM,
                Facts { apparmor: true, ..plain() },
                "profile holdpoint /opt/holdpoint flags=(unconfined) { userns, }",
            ),
            (libc::EPERM, Facts { chroot: true, ..plain() }, "pivot_root"),
            (libc::EPERM, Facts { filtered: true, ..plain() }, "outside of that one"),
            (libc::ENOSPC, Facts { filtered: true, most: Some(0), ..plain() }, "outside of that one"),
            (
                libc::ENOSYS,
                Facts { filtered: true, container: Some(Container::Docker), ..plain() },
                "systempaths=unconfined",
            ),
            (libc::EPERM, Facts { container: Some(Container::Podman), ..plain() }, "unmask=ALL"),
            (libc::EPERM, Facts { container: Some(Container::Kubernetes), ..plain() }, "procMount"),
            (libc::EINVAL, Facts { gvisor: true, ..plain() }, "gVisor"),
            (libc::EPERM, plain(), "security module"),
        ] {
            let refusal = judge(errno, &facts);
            assert!(refusal.fix.contains(fix), "{refusal:?}");
        }
    }

    #[test]
    fn root_is_not_told_about_settings_for_others() {
        let facts = Facts { root: true, clone_off: true, apparmor: true, ..plain() };
        assert!(judge(libc::EPERM, &facts).reason.contains("the kernel refuses"));
    }
}
