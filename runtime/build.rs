//! Builds two things the launcher carries: the seccomp programs (generated here so that a launch never compiles one) and
//! the resident program, a freestanding executable that is pid 1, warden and sweeper.

#[path = "build/filter.rs"]
mod filter;
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
    fs::write(out.join("refused.bpf"), bytes(&filter::program(None)))?;
    fs::write(out.join("namespaced.bpf"), bytes(&filter::program(Some(syscalls::CLONE3))))?;
    for (name, program) in further()?.into_iter().chain(traps()?) {
        fs::write(out.join(name), bytes(&program))?;
    }
    resident(&out.join("resident"))
}

/// What else is refused where there are no namespaces, and with a limit on disk: one program per answer, because these have
/// one answer for all their rules; the kernel applies the strictest.
fn further() -> Result<Vec<(String, BpfProgram)>, Box<dyn Error>> {
    let mut programs = Vec::new();
    for (name, errno, rules) in [
        ("restricted.bpf", libc::EPERM, restricted::refused()?),
        ("attributes.bpf", libc::EOPNOTSUPP, restricted::attributes()),
        ("sockets.bpf", libc::EAFNOSUPPORT, restricted::sockets()?),
        ("preallocation.bpf", libc::EOPNOTSUPP, preallocation()?),
    ] {
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(u32::try_from(errno)?), target()?)?;
        programs.push((name.to_owned(), BpfProgram::try_from(filter)?));
    }
    Ok(programs)
}

/// Programs that hold a call until a supervisor has answered (seccomp_unotify(2)), one for each set of traps: a process can
/// have only one listener. The compiler does not know that answer, so it compiles another one that is replaced here.
fn traps() -> Result<Vec<(String, BpfProgram)>, Box<dyn Error>> {
    let kinds = [syscalls::EXEC, syscalls::OPEN, restricted::MODES];
    let mut programs = Vec::new();
    for set in 1..1 << kinds.len() {
        let lists = kinds.iter().enumerate().filter(|(kind, _)| set & (1 << kind) != 0);
        let mut rules = Rules::new();
        for (_, number, argument) in lists.flat_map(|(_, list)| *list) {
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
        programs.push((format!("trap{set}.bpf"), program));
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

/// Every way to take space that is not written, for sandboxes with a limit on disk. Giving space back stays allowed.
fn preallocation() -> Result<Rules, Box<dyn Error>> {
    const PUNCH_HOLE: u64 = 0x02;
    let takes = vec![condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(PUNCH_HOLE), 0)?];
    let mut rules: Rules = [(libc::SYS_fallocate, vec![SeccompRule::new(takes)?])].into();
    let mut requests = Vec::new();
    for request in syscalls::SPACE_REQUESTS {
        requests.push(SeccompRule::new(vec![condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *request)?])?);
    }
    rules.insert(libc::SYS_ioctl, requests);
    Ok(rules)
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

/// Compiles the resident program: no standard library, no libc, one static file of a few kilobytes. For the host, which is the
/// same machine: a target with a C library of its own, as musl, would bring that in.
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
    rustc.args(["--target", &env::var("HOST")?, "-o"]).arg(to).arg("src/sys/resident/main.rs");
    let status = rustc.status()?;
    if !status.success() {
        return Err(format!("the resident program did not compile: rustc ended with {status}").into());
    }
    Ok(())
}
