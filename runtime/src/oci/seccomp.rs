//! The refused system calls in the words of the format, made from the table that the programs of a sandbox are made from.

#[allow(dead_code, reason = "what waits for a supervisor has no word here")]
#[path = "../../build/syscalls.rs"]
mod table;

use serde_json::{Value, json};

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
const CLONE_NEWTIME: i32 = 0x80;

/// `linux.seccomp`. Calls of other architectures are killed: none is listed.
pub(super) fn seccomp() -> Value {
    let names = |list: &[(&str, i64)]| list.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    let mut rules = vec![
        rule(&names(table::REFUSED), libc::EPERM, json!([])),
        rule(&names(table::ABSENT), libc::ENOSYS, json!([])),
    ];
    for flag in table::NAMESPACE_FLAGS {
        // The low byte of clone's flags is the exit signal.
        let calls: &[&str] = if *flag == CLONE_NEWTIME { &["unshare"] } else { &["unshare", "clone"] };
        rules.push(rule(calls, libc::EPERM, json!([masked(0, *flag as u64, *flag as u64)])));
    }
    for (call, requests) in
        [("ioctl", table::TERMINAL_REQUESTS), ("ioctl", table::SUBVOLUME_REQUESTS), ("fcntl", table::LEASES)]
    {
        let refuse =
            |request: &u32| rule(&[call], libc::EPERM, json!([masked(1, u64::from(u32::MAX), u64::from(*request))]));
        rules.extend(requests.iter().map(refuse));
    }
    rules.push(rule(&["prlimit64"], libc::EPERM, json!([compare(0, "NE", 0), compare(2, "NE", 0)])));
    rules.extend(families());
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [ARCHITECTURE], "syscalls": rules})
}

/// Socket families one by one: conditions on the same argument are alternatives in this format.
fn families() -> Vec<Value> {
    let netlink = libc::AF_NETLINK;
    let known = |family: &i32| table::FAMILIES.contains(family) || *family == netlink;
    let last = table::FAMILIES.iter().copied().fold(netlink, i32::max);
    let mut conditions: Vec<Value> =
        (0..last).filter(|family| !known(family)).map(|family| json!([compare(0, "EQ", family)])).collect();
    // Whatever stands in the upper half of the register is refused as well.
    conditions.push(json!([compare(0, "GT", last)]));
    conditions.push(json!([compare(0, "EQ", netlink), compare(2, "NE", 0)]));
    conditions.into_iter().map(|condition| rule(&["socket", "socketpair"], libc::EAFNOSUPPORT, condition)).collect()
}

fn rule<S: serde::Serialize>(names: &[S], errno: i32, arguments: Value) -> Value {
    let mut rule = json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
    if arguments != json!([]) {
        rule["args"] = arguments;
    }
    rule
}

fn compare(index: usize, operator: &str, value: i32) -> Value {
    json!({"index": index, "value": value, "op": format!("SCMP_CMP_{operator}")})
}

fn masked(index: usize, mask: u64, value: u64) -> Value {
    json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/refused.bpf"));

    /// What the program answers, as the kernel runs it (`struct seccomp_data` in linux/seccomp.h); for the instructions that
    /// are in ours.
    fn run(number: i64, arguments: [u64; 6]) -> u32 {
        let arch: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
        let mut data = [number.to_ne_bytes()[..4].to_vec(), arch.to_ne_bytes().to_vec(), vec![0; 8]].concat();
        data.extend(arguments.into_iter().flat_map(u64::to_ne_bytes));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let [low, high, jt, jf, k @ ..]: [u8; 8] = PROGRAM[at * 8..][..8].try_into().unwrap();
            let (code, k) = (u16::from_ne_bytes([low, high]), u32::from_ne_bytes(k));
            let jump = |taken: bool| 1 + usize::from(if taken { jt } else { jf });
            at += match code {
                0x20 => {
                    accumulator = u32::from_ne_bytes(data[k as usize..][..4].try_into().unwrap());
                    1
                }
                0x54 => {
                    accumulator &= k;
                    1
                }
                0x05 => 1 + k as usize,
                0x15 => jump(accumulator == k),
                0x25 => jump(accumulator > k),
                0x35 => jump(accumulator >= k),
                0x45 => jump(accumulator & k != 0),
                0x06 => return k,
                _ => panic!("instruction {code:#x}"),
            };
        }
    }

    /// The errno that a sandbox answers.
    fn kernel(number: i64, arguments: [u64; 6]) -> Option<u64> {
        let answer = run(number, arguments);
        let refused = answer & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO;
        refused.then_some(u64::from(answer & libc::SECCOMP_RET_DATA))
    }

    /// The errno that an engine answers: the first rule that fits (config-linux.md, "Seccomp").
    fn engine(name: &str, arguments: [u64; 6]) -> Option<u64> {
        let seccomp = seccomp();
        let rules = seccomp["syscalls"].as_array().unwrap();
        let fits = |condition: &Value| {
            let field = |name: &str| condition[name].as_u64().unwrap();
            let argument = arguments[field("index") as usize];
            match condition["op"].as_str().unwrap() {
                "SCMP_CMP_EQ" => argument == field("value"),
                "SCMP_CMP_NE" => argument != field("value"),
                "SCMP_CMP_GT" => argument > field("value"),
                "SCMP_CMP_MASKED_EQ" => argument & field("value") == field("valueTwo"),
                other => panic!("{other}"),
            }
        };
        let rule = rules.iter().find(|rule| {
            rule["names"].as_array().unwrap().contains(&name.into())
                && rule["args"].as_array().is_none_or(|conditions| conditions.iter().all(fits))
        });
        rule.map(|rule| rule["errnoRet"].as_u64().unwrap())
    }

    const CONDITIONAL: [(&str, i64); 7] = [
        ("unshare", libc::SYS_unshare),
        ("clone", libc::SYS_clone),
        ("ioctl", libc::SYS_ioctl),
        ("fcntl", libc::SYS_fcntl),
        ("socket", libc::SYS_socket),
        ("socketpair", libc::SYS_socketpair),
        ("prlimit64", libc::SYS_prlimit64),
    ];

    #[test]
    fn calls_refused_whatever_they_say_are_the_same() {
        let refused = [(table::REFUSED, libc::EPERM), (table::ABSENT, libc::ENOSYS)];
        for (list, errno) in refused {
            for (name, number) in list {
                let errno = u64::try_from(errno).unwrap();
                assert_eq!((kernel(*number, [0; 6]), engine(name, [0; 6])), (Some(errno), Some(errno)), "{name}");
            }
        }
        for (name, number) in [("read", libc::SYS_read), ("ptrace", libc::SYS_ptrace), ("execve", libc::SYS_execve)] {
            assert_eq!((kernel(number, [0; 6]), engine(name, [0; 6])), (None, None), "{name}");
        }
        let listed = [table::REFUSED, table::ABSENT].concat();
        for number in (0..1024).filter(|number| listed.iter().all(|(_, listed)| listed != number)) {
            assert_eq!(kernel(number, [2, 0, 0, 0, 0, 0]), None, "call {number} is in no list");
        }
        if cfg!(target_arch = "x86_64") {
            let absent = Some(u64::from(libc::ENOSYS.cast_unsigned()));
            assert_eq!(kernel(0x4000_0000 + libc::SYS_read, [0; 6]), absent, "numbers of x32 are not calls");
        }
        for (name, number) in CONDITIONAL {
            let request = if name == "fcntl" { 1024 } else { 0x5412 };
            assert!(engine(name, [u64::MAX, request, 1, 0, 0, 0]).is_some(), "{name} is never refused");
            assert_eq!(kernel(number, [2, 0, 0, 0, 0, 0]), None, "{name} is always refused");
        }
        let names = |rule: &Value| rule["names"].as_array().unwrap().clone();
        let listed = seccomp()["syscalls"].as_array().unwrap().iter().flat_map(names).collect::<Vec<_>>();
        let known = [table::REFUSED, table::ABSENT, &CONDITIONAL].concat();
        assert!(listed.iter().all(|name| known.iter().any(|(known, _)| name == known)), "{listed:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// For small numbers, one bit, and the requests that matter, with anything in the upper half.
        #[test]
        fn a_sandbox_and_an_engine_refuse_the_same(
            call in 0..CONDITIONAL.len(),
            low in prop_oneof![0..64_u64, (0..32_u32).prop_map(|bit| 1 << bit), Just(0x5412), Just(0x541c), 0x5400..0x5500_u64],
            second in prop_oneof![Just(0_u64), 0..20_u64, 0x5412..0x541d_u64, 1020..1050_u64, 0x5000_9400..0x5000_9440_u64, any::<u64>()],
            third in prop_oneof![Just(0_u64), 0..20_u64, any::<u64>()],
            high in prop_oneof![2 => Just(0_u64), 1 => any::<u32>().prop_map(|high| u64::from(high) << 32)],
        ) {
            let (name, number) = CONDITIONAL[call];
            let arguments = [low | high, second, third, 0, 0, 0];
            let (sandbox, engine) = (kernel(number, arguments), engine(name, arguments));
            // An engine compares the whole register where the kernel and a sandbox look at the lower half: never less.
            let stricter = (name.starts_with("socket") || name == "prlimit64") && sandbox.is_none() && (high != 0 || third > u64::from(u32::MAX));
            prop_assert!(sandbox == engine || stricter && engine.is_some(), "{name} {arguments:x?}: {sandbox:?} {engine:?}");
        }
    }
}
