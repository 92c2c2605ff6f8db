//! Builds two things the launcher carries: the seccomp programs (generated here so that a launch never compiles a
//! filter) and the resident program, a freestanding executable that is pid 1, warden and sweeper.

#[path = "build/restricted.rs"]
mod restricted;
#[path = "build/syscalls.rs"]
mod syscalls;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::{collections::BTreeMap, env, error::Error, fs, path::Path, process::Command};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn main() -> Result<(), Box<dyn Error>> {
    // The filters are made of this machine's system call numbers.
    if env::var("CARGO_CFG_TARGET_ARCH")? != env::consts::ARCH {
        return Err("holdpoint-runtime is built on the architecture it runs on; build it there, not across".into());
    }
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/sys/resident");
    println!("cargo::rerun-if-changed=src/sys/clone.rs");
    for (name, program) in filters()?.into_iter().chain(traps()?) {
        fs::write(out.join(name), bytes(&program))?;
    }
    resident(&out.join("resident"))
}

/// One program per answer, because a filter has one answer for all its rules; the kernel applies the strictest.
fn filters() -> Result<Vec<(&'static str, BpfProgram)>, Box<dyn Error>> {
    let refused = (libc::EPERM, refused()?);
    let absent = (libc::ENOSYS, syscalls::ABSENT.iter().map(|(_, number)| (*number, vec![])).collect::<Rules>());
    let families = (libc::EAFNOSUPPORT, families()?);
    let alone = (libc::EPERM, restricted::refused()?);
    let attributes = (libc::EOPNOTSUPP, restricted::attributes());
    let sockets = (libc::EAFNOSUPPORT, restricted::sockets()?);
    let mut programs = Vec::new();
    for (name, (errno, rules)) in [
        ("refused.bpf", refused),
        ("absent.bpf", absent),
        ("families.bpf", families),
        ("restricted.bpf", alone),
        ("attributes.bpf", attributes),
        ("sockets.bpf", sockets),
    ] {
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(u32::try_from(errno)?), target()?)?;
        programs.push((name, without_x32(BpfProgram::try_from(filter)?)));
    }
    Ok(programs)
}

/// Programs that hold a call until a supervisor has answered (seccomp_unotify(2)), one for each set of traps: a process can
/// have only one listener. The compiler does not know that answer, so it compiles another one that is replaced here.
fn traps() -> Result<Vec<(&'static str, BpfProgram)>, Box<dyn Error>> {
    let mut programs = Vec::new();
    for (name, lists) in [
        ("trap-exec.bpf", &[syscalls::EXEC][..]),
        ("trap-open.bpf", &[syscalls::OPEN]),
        ("trap-both.bpf", &[syscalls::EXEC, syscalls::OPEN]),
        ("trap-modes.bpf", &[restricted::MODES]),
    ] {
        let mut rules = Rules::new();
        for (_, number, argument) in lists.iter().copied().flatten() {
            let first = |value| condition(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
            let rule =
                argument.map(|value| Ok::<_, Box<dyn Error>>(SeccompRule::new(vec![first(value)?])?)).transpose()?;
            rules.insert(*number, rule.into_iter().collect());
        }
        const PLACEHOLDER: u32 = 0x7fff;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(PLACEHOLDER), target()?)?;
        let mut program = BpfProgram::try_from(filter)?;
        for instruction in &mut program {
            if u32::from(instruction.code) == libc::BPF_RET && instruction.k == libc::SECCOMP_RET_TRACE | PLACEHOLDER {
                instruction.k = libc::SECCOMP_RET_USER_NOTIF;
            }
        }
        programs.push((name, program));
    }
    Ok(programs)
}

fn target() -> Result<TargetArch, Box<dyn Error>> {
    Ok(TargetArch::try_from(env::var("CARGO_CFG_TARGET_ARCH")?.as_str())?)
}

fn condition(
    argument: u8,
    length: SeccompCmpArgLen,
    op: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, Box<dyn Error>> {
    Ok(SeccompCondition::new(argument, length, op, value)?)
}

fn refused() -> Result<Rules, Box<dyn Error>> {
    let mut rules: Rules = syscalls::REFUSED.iter().map(|(_, number)| (*number, vec![])).collect();
    let mut namespaces = Vec::new();
    for flag in syscalls::NAMESPACE_FLAGS {
        let flag = u64::try_from(*flag)?;
        namespaces.push(SeccompRule::new(vec![condition(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?])?);
    }
    rules.insert(libc::SYS_unshare, namespaces.clone());
    // The low byte of clone's flags is the exit signal, so the time namespace's bit means nothing there.
    namespaces.pop();
    rules.insert(libc::SYS_clone, namespaces);
    let mut requests = Vec::new();
    for request in syscalls::TERMINAL_REQUESTS {
        requests.push(SeccompRule::new(vec![condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *request)?])?);
    }
    rules.insert(libc::SYS_ioctl, requests);
    Ok(rules)
}

/// `socket` and `socketpair` with any family but the few that ordinary programs use.
fn families() -> Result<Rules, Box<dyn Error>> {
    let mut outside = Vec::new();
    let mut netlink = vec![condition(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::try_from(libc::AF_NETLINK)?)?];
    netlink.push(condition(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?); // NETLINK_ROUTE
    for family in syscalls::FAMILIES.iter().chain([&libc::AF_NETLINK]) {
        outside.push(condition(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::try_from(*family)?)?);
    }
    let rules = vec![SeccompRule::new(outside)?, SeccompRule::new(netlink)?];
    Ok([(libc::SYS_socket, rules.clone()), (libc::SYS_socketpair, rules)].into())
}

/// Prepends a refusal of x32 call numbers, which a list of numbers would otherwise let pass on x86_64.
fn without_x32(program: BpfProgram) -> BpfProgram {
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        return program;
    }
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| seccompiler::sock_filter { code: code as u16, jt, jf, k };
    let mut guarded = vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, 0x4000_0000),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ];
    guarded.extend(program);
    guarded
}

/// The instructions as the kernel reads them: `struct sock_filter` in native byte order.
fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}

/// Compiles the resident program: no standard library, no libc, one static file of a few kilobytes.
fn resident(to: &Path) -> Result<(), Box<dyn Error>> {
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.args(["--crate-type", "bin", "--crate-name", "resident", "--edition", "2024", "-C", "panic=abort"]);
    rustc.args(["-C", "opt-level=s", "-C", "relocation-model=static", "-C", "strip=symbols", "-C", "debuginfo=0"]);
    rustc.args([
        "-C",
        "overflow-checks=no",
        "-C",
        "link-args=-nostartfiles -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack",
    ]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    rustc.args(["--target", &env::var("TARGET")?, "-o"]).arg(to).arg("src/sys/resident/main.rs");
    let status = rustc.status()?;
    if !status.success() {
        return Err(format!("the resident program did not compile: rustc ended with {status}").into());
    }
    Ok(())
}
