//! The resident program as an executable descriptor, so that starting it depends on no file of the host.

use crate::{
    error::{Error, Result},
    file_limit::unsignalled,
};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{fs::File, io::Write, os::fd::OwnedFd};

const RESIDENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resident"));

// Both kinds are named because vm.memfd_noexec can change the default (Linux 6.3).
const EXECUTABLE: MFdFlags = MFdFlags::from_bits_retain(libc::MFD_CLOEXEC | libc::MFD_EXEC);
const PLAIN: MFdFlags = MFdFlags::from_bits_retain(libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL);

/// A memory file that `execveat` can run.
pub(crate) fn resident() -> Result<OwnedFd> {
    holding("holdpoint", EXECUTABLE, RESIDENT)
}

/// A memory file with `content`, readable through its descriptor alone.
pub(crate) fn memory_file(content: &[u8]) -> Result<OwnedFd> {
    holding("command", PLAIN, content)
}

fn holding(name: &str, flags: MFdFlags, content: &[u8]) -> Result<OwnedFd> {
    let fd = match memfd_create(name, flags) {
        // Older than the two kinds: every memory file can be executed, and nothing can change that.
        Err(Errno::EINVAL) => memfd_create(name, MFdFlags::MFD_CLOEXEC),
        made => made,
    };
    let fd = fd.map_err(Error::errno("make a memory file"))?;
    let mut file = File::from(fd);
    unsignalled(|| file.write_all(content)).map_err(Error::io("fill a memory file"))?;
    Ok(file.into())
}
