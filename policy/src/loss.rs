//! The words of `allow_missing`: protections that a profile may do without where a machine does not offer them.

use crate::mode::words;
use serde::{Deserialize, Serialize};

/// A protection that may be missing. System call filtering is none of them, and the mount view goes with the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Loss {
    /// Namespaces, and with them the mount view: Landlock and system call filtering alone.
    Namespaces,
    /// The second wall on files, signals and abstract sockets.
    Landlock,
    /// Masks for denied files that appear during a run.
    LateMasks,
    /// The limit on the number of processes.
    ProcessLimit,
    /// The limit on memory.
    MemoryLimit,
    /// The judgement of programs before anything inside executes them.
    ExecGuard,
    /// The judgement of opens before they happen.
    StrictReads,
    /// The limit on the share of processors.
    CpuLimit,
    /// The limit on files added to a disk that does not count them.
    DiskLimit,
}

impl Loss {
    /// Every protection that may be missing.
    pub const ALL: [Loss; 9] = [
        Loss::Namespaces,
        Loss::Landlock,
        Loss::LateMasks,
        Loss::ProcessLimit,
        Loss::MemoryLimit,
        Loss::CpuLimit,
        Loss::DiskLimit,
        Loss::ExecGuard,
        Loss::StrictReads,
    ];

    /// The word that stands for this protection in a profile.
    pub fn word(self) -> &'static str {
        match self {
            Loss::Namespaces => "namespaces",
            Loss::Landlock => "landlock",
            Loss::LateMasks => "late-masks",
            Loss::ProcessLimit => "process-limit",
            Loss::MemoryLimit => "memory-limit",
            Loss::ExecGuard => "exec-guard",
            Loss::StrictReads => "strict-reads",
            Loss::CpuLimit => "cpu-limit",
            Loss::DiskLimit => "disk-limit",
        }
    }
}

words!(Loss);
