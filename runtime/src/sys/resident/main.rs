//! The resident program: a freestanding executable of a few kilobytes that runs inside the sandbox as pid 1 (`init`)
//! as warden and as opener, and beside it as sweeper. It is a program of its own, not a copy of the caller, so that nothing of
//! the embedding process (memory, environment, descriptors) exists inside. No standard library, no libc, no allocator.

#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

#[path = "../clone.rs"]
mod clone;
mod files;
mod init;
mod memory;
mod restricted;
mod room;
mod opener;
#[allow(dead_code, reason = "each side of the conversation uses its half")]
#[path = "../opener_wire.rs"]
mod opener_wire;
mod sweeper;
mod syscall;
mod walk;
mod warden;
#[allow(dead_code, reason = "each side of the conversation uses its half")]
#[path = "../wire.rs"]
mod wire;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x0, sp",
    "bl {start}",
    "brk #1",
    start = sym start,
);

/// The kernel leaves `argc`, `argv` and `envp` on the stack (System V ABI). `argv[0]` names the role.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // Nobody inside may look into us or take our descriptors.
    syscall::set_not_dumpable();
    // SAFETY: the kernel wrote argc pointers after the count.
    let arguments = unsafe { syscall::Arguments::new(*stack, stack.add(1).cast()) };
    match arguments.get(0).and_then(|role| role.first().copied()) {
        Some(b'i') => init::serve(),
        Some(b'r') => restricted::serve(),
        Some(b'w') => warden::serve(),
        Some(b'o') => opener::serve(),
        Some(b's') => sweeper::sweep(&arguments),
        _ => syscall::exit(64),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    restricted::end(70)
}
