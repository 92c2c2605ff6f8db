//! The memory in which this program's own code lies.

use std::{
    ffi::{c_int, c_void},
    ptr, slice,
};

/// Lets the kernel have every page of the program's code and constants: what is needed again is read again from the file, most
/// often from memory (madvise(2), `MADV_DONTNEED`). Only what can never have been written is among them (elf(5)).
pub(crate) fn give_back() {
    // SAFETY: `program` touches nothing but what it is given, and unwinds nowhere.
    unsafe { libc::dl_iterate_phdr(Some(program), ptr::null_mut()) };
}

/// Called for the program first; libraries are left alone.
unsafe extern "C" fn program(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: valid during this call (dl_iterate_phdr(3)).
    let info = unsafe { &*info };
    // SAFETY: as above.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
        // SAFETY: has no arguments that could be wrong.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let first = start & !(page - 1);
        // SAFETY: these pages are mapped from a file and were never written, so each comes back as it was.
        unsafe { libc::madvise(first as *mut c_void, start + header.p_memsz as usize - first, libc::MADV_DONTNEED) };
    }
    1
}
