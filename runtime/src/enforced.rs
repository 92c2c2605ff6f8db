//! What was really applied to a sandbox: the report that callers show and keep.

use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// One wall of the sandbox, by the name with which a plan may allow it to be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Protection {
    /// Own user, mount, pid, network, ipc, uts and cgroup namespaces.
    Namespaces,
    /// A mount view that holds only what the plan names. It needs namespaces, and is missing where they are allowed to be.
    MountView,
    /// The second wall on files (landlock(7), ABI 2 or newer), and on signals and abstract sockets (ABI 6 or newer).
    Landlock,
    /// The list of refused system calls (seccomp(2)). Never optional.
    Seccomp,
    /// Masks for denied files that appear after the start.
    LateMasks,
    /// No time in which a denied file that appears after the start is not masked yet.
    StrictReads,
    /// A limit on the number of processes.
    ProcessLimit,
    /// A limit on memory.
    MemoryLimit,
    /// Judgement of every program before it is executed inside (seccomp_unotify(2)).
    ExecGuard,
    /// A limit on the share of processors.
    CpuLimit,
    /// A limit on the time of a command or a process.
    TimeLimit,
    /// A limit on open descriptors.
    OpenFilesLimit,
    /// A limit on the size of private file systems.
    ScratchLimit,
    /// A limit on what is added to the host's file systems.
    DiskLimit,
    /// A limit on what a command writes to its standard streams.
    OutputLimit,
    /// Protected names that do not exist yet, and protected symbolic links.
    ReservedNames,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::MountView => "mount-view",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::LateMasks => "late-masks",
            Self::StrictReads => "strict-reads",
            Self::ReservedNames => "reserved-names",
            Self::ProcessLimit => "process-limit",
            Self::MemoryLimit => "memory-limit",
            Self::ExecGuard => "exec-guard",
            Self::CpuLimit => "cpu-limit",
            Self::TimeLimit => "time-limit",
            Self::OpenFilesLimit => "open-files-limit",
            Self::ScratchLimit => "scratch-limit",
            Self::DiskLimit => "disk-limit",
            Self::OutputLimit => "output-limit",
        })
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Which wall.
    pub protection: Protection,
    /// Whether it stands. False only for one that the plan allowed to be missing.
    pub holds: bool,
    /// How it is enforced here, or why it is not.
    pub detail: String,
}

/// What was really applied, one line for each protection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Enforced {
    /// In the order in which they were applied.
    pub protections: Vec<Applied>,
    /// What was covered at the start. What appears later is covered then.
    pub masked: Vec<PathBuf>,
    /// What was asked for and does not hold, as far as no wall as a whole is missing, each as a sentence fragment: denied content
    /// that can be read elsewhere, names that cannot be protected.
    pub uncovered: Vec<String>,
    /// What the person should know although nothing is missing.
    pub warnings: Vec<String>,
}

impl Enforced {
    pub(crate) fn holds(&mut self, protection: Protection, detail: impl Into<String>) {
        self.protections.push(Applied { protection, holds: true, detail: detail.into() });
    }

    pub(crate) fn missing(&mut self, protection: Protection, detail: impl Into<String>) {
        self.protections.push(Applied { protection, holds: false, detail: detail.into() });
    }
}
