//! One way to start a process that shares the caller's memory: `clone`/`clone3` with a stack of its own. Written against
//! `core` only, because the resident program includes this file as well.

/// Runs `clone` or `clone3` (call number `number`, up to five arguments) so that the new process starts in `entry(data)`
/// on the stack that the arguments name. Returns the new pid, or a negated errno, in the caller.
///
/// Sources: clone(2), the x86-64 and arm64 system call conventions in syscall(2).
///
/// # Safety
/// The arguments must name a stack that nothing else uses and that outlives the new process's use of it. With
/// `CLONE_VM`, `entry` runs in this address space: it must not return, allocate, take locks or unwind, and the caller
/// must keep everything behind `data` alive until it has executed another program or ended (`CLONE_VFORK` waits for that).
pub(crate) unsafe fn clone_with_entry(
    number: usize,
    arguments: [usize; 5],
    entry: unsafe extern "C" fn(*mut u8) -> !,
    data: *mut u8,
) -> isize {
    let result: isize;
    let [a, b, c, d, e] = arguments;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for stack, entry and data; registers hold the same values in parent and child.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            in("r12") entry,
            in("r13") data,
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk #1",
            "2:",
            in("x20") entry,
            in("x21") data,
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            lateout("x30") _,
        );
    }
    result
}
