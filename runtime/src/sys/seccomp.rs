//! The seccomp programs that `build.rs` generated, and their installation (seccomp(2)).

use super::Result;

/// Each answers with one errno; the kernel applies the strictest of all.
const PROGRAMS: [&[u8]; 3] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/refused.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/absent.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/families.bpf")),
];

/// Installs every program on this process. Needs no_new_privs.
pub(crate) fn install() -> Result<()> {
    const SET_MODE_FILTER: i32 = 1;
    for program in PROGRAMS {
        let instructions =
            libc::sock_fprog { len: (program.len() / 8) as u16, filter: program.as_ptr().cast_mut().cast() };
        // SAFETY: the kernel copies `len` instructions of eight bytes each and does not need them aligned.
        let installed = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const instructions) };
        if installed < 0 {
            return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
        }
    }
    Ok(())
}
