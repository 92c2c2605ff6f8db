//! Whose standard input it is.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::parent_id;

/// Whether standard input is a pipe that our parent reads as well; where that is not to be known, it is.
pub(crate) fn is_shared() -> bool {
    let Ok(own) = fs::metadata("/proc/self/fd/0") else { return false };
    own.file_type().is_fifo()
        && match fs::metadata(format!("/proc/{}/fd/0", parent_id())) {
            Ok(theirs) => (theirs.dev(), theirs.ino()) == (own.dev(), own.ino()),
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
}
