//! What one command of a session may do less than its session.

use std::io;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use holdpoint_approval_web::plan::Bytes;
use holdpoint_policy::{Size, Time};
use holdpoint_runtime::Command;
use serde::{Deserialize, Serialize};

use crate::args;
use crate::report::encoded;

/// The rights of one command. Each only takes away.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rights {
    private_tmp: bool,
    may_read: Vec<Bytes>,
    may_write: Vec<Bytes>,
    cpu_time: Option<Duration>,
    open_files: Option<u64>,
    file_size: Option<u64>,
}

impl Rights {
    /// As `flags` say, with paths that are relative to the current directory.
    ///
    /// # Errors
    /// When there is no current directory.
    pub(crate) fn new(flags: &args::Rights) -> io::Result<Self> {
        let paths = |given: &[PathBuf]| {
            given.iter().map(|path| absolute(path).map(|path| Bytes::from(path.as_path()))).collect::<io::Result<_>>()
        };
        Ok(Self {
            private_tmp: flags.private_tmp,
            may_read: paths(&flags.may_read)?,
            may_write: paths(&flags.may_write)?,
            cpu_time: flags.cpu_time,
            open_files: flags.open_files,
            file_size: flags.file_size,
        })
    }

    /// Give them, and no others, to a command.
    pub(super) fn give(&self, command: &mut Command<'_>) {
        command.private_tmp(self.private_tmp);
        // No path at all means that nothing was said.
        if !self.may_read.is_empty() {
            command.may_read(self.may_read.iter().map(Bytes::to_path));
        }
        if !self.may_write.is_empty() {
            command.may_write(self.may_write.iter().map(Bytes::to_path));
        }
        self.cpu_time.map(|time| command.cpu_time(time));
        self.open_files.map(|count| command.open_files(count));
        self.file_size.map(|bytes| command.file_size(bytes));
    }

    /// The processor time of each process.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        self.cpu_time
    }

    /// The size of each file, in bytes.
    pub(crate) fn file_size(&self) -> Option<u64> {
        self.file_size
    }

    /// Whether it may read what is named alone.
    pub(super) fn narrows_reads(&self) -> bool {
        !self.may_read.is_empty()
    }

    /// In sentences that go on from "a command …", as those of its sandbox do.
    pub(crate) fn lines(&self) -> Vec<String> {
        let list = |paths: &[Bytes]| {
            let paths: Vec<String> = paths.iter().map(|path| shown(&path.to_path())).collect();
            paths.join(", ")
        };
        let bounds = [
            self.cpu_time.map(|time| format!("{} of processor time", Time(time))),
            self.open_files.map(|count| format!("{count} open files")),
            self.file_size.map(|bytes| format!("{} in one file", Size(bytes))),
        ];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        let lines = [
            self.private_tmp.then(|| "has a /tmp and a /var/tmp of its own".to_owned()),
            (!self.may_read.is_empty())
                .then(|| format!("of all this may read nothing but the system and {}", list(&self.may_read))),
            (!self.may_write.is_empty())
                .then(|| format!("of all this may write nothing but {}", list(&self.may_write))),
            (!bounds.is_empty()).then(|| format!("gets at most {} for each of its processes", bounds.join(", "))),
        ];
        lines.into_iter().flatten().collect()
    }
}

fn shown(path: &Path) -> String {
    encoded(&path.to_string_lossy())
}
