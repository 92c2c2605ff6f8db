//! The seccomp programs that `build.rs` generated, and their installation (seccomp(2)).

use super::Result;

/// What no command needs; without and with `clone3`.
const REFUSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/refused.bpf"));
const NAMESPACED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/namespaced.bpf"));

/// What stands in for namespaces, each with one errno: the kernel applies the strictest of all.
const RESTRICTED: [&[u8]; 3] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/restricted.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/attributes.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/sockets.bpf")),
];

/// Refuses to take space that is not written.
const PREALLOCATION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preallocation.bpf"));

/// Which calls are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// What no command needs.
    Namespaced,
    /// Also `clone3`, by which a process could leave its control group of version 2.
    Grouped,
    /// Also what only a namespace would make harmless.
    Restricted,
}

/// Installs the programs on this process. Needs no_new_privs.
pub(crate) fn install(calls: Calls) -> Result<()> {
    add(if calls == Calls::Namespaced { NAMESPACED } else { REFUSED })?;
    if calls == Calls::Restricted { RESTRICTED.into_iter().try_for_each(add) } else { Ok(()) }
}

/// Installs what a sandbox with a limit on disk has besides.
pub(crate) fn refuse_preallocation() -> Result<()> {
    add(PREALLOCATION)
}

fn add(program: &[u8]) -> Result<()> {
    const SET_MODE_FILTER: i32 = 1;
    let instructions = libc::sock_fprog { len: (program.len() / 8) as u16, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel copies `len` instructions of eight bytes each and does not need them aligned.
    let installed = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const instructions) };
    if installed < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(()) }
}
