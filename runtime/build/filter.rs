//! The program that refuses system calls: one, because each that is installed costs the launch, and as short as it can be,
//! because the kernel translates every instruction and tries every call number on it once (`seccomp_cache_prepare`). Calls
//! are found by halving a sorted list; neighbours with the same answer are one range.

use super::syscalls;
use seccompiler::sock_filter;
use std::collections::BTreeMap;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Where `struct seccomp_data` has the lower half of an argument, on little-endian machines.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// Numbers from here on are x32's on x86-64; no other architecture has any.
const X32: u32 = 0x4000_0000;

/// A place that jumps lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// The instruction after the jump.
    Next,
    Allow,
    Kill,
    Refuse(i32),
    /// Looks at the arguments of `clone`, `unshare`, `ioctl`, `fcntl`, of what makes sockets, or of `prlimit`.
    Clone,
    Unshare,
    Ioctl,
    Fcntl,
    Socket,
    Limits,
    /// The upper half of a list that was split.
    Half(usize),
}

/// An instruction whose jumps are not numbers yet.
struct Line {
    code: u32,
    k: u32,
    then: Place,
    otherwise: Place,
}

#[derive(Default)]
struct Assembler {
    lines: Vec<Line>,
    places: BTreeMap<Place, usize>,
}

/// Calls from `first` to `last` that lead to the same place.
#[derive(Clone, Copy)]
struct Range {
    first: u32,
    last: u32,
    to: Place,
}

/// The whole program; `spared` is a call that it lets pass although it is listed.
pub(crate) fn program(spared: Option<(&str, i64)>) -> Vec<sock_filter> {
    let mut assembler = Assembler::default();
    assembler.load(ARCHITECTURE);
    assembler.test(libc::BPF_JEQ, NATIVE, Place::Next, Place::Kill);
    assembler.load(NUMBER);
    assembler.test(libc::BPF_JGE, X32, Place::Refuse(libc::ENOSYS), Place::Next);
    assembler.find(&ranges(spared));
    assembler.arguments();
    assembler.answers();
    assembler.finish()
}

fn ranges(spared: Option<(&str, i64)>) -> Vec<Range> {
    let refuse = |list: &[(&str, i64)], errno| list.iter().map(|(_, number)| (*number, Place::Refuse(errno))).collect();
    let mut calls: Vec<(i64, Place)> = refuse(syscalls::REFUSED, libc::EPERM);
    calls.extend::<Vec<_>>(refuse(syscalls::ABSENT, libc::ENOSYS));
    calls.extend([
        (libc::SYS_clone, Place::Clone),
        (libc::SYS_unshare, Place::Unshare),
        (libc::SYS_ioctl, Place::Ioctl),
        (libc::SYS_fcntl, Place::Fcntl),
        (libc::SYS_socket, Place::Socket),
        (libc::SYS_socketpair, Place::Socket),
        (libc::SYS_prlimit64, Place::Limits),
    ]);
    calls.retain(|(number, _)| spared.is_none_or(|(_, spared)| *number != spared));
    calls.sort_unstable();
    let mut ranges: Vec<Range> = Vec::new();
    for (number, to) in calls {
        let number = u32::try_from(number).expect("call numbers are small");
        match ranges.last_mut() {
            Some(range) if range.to == to && range.last + 1 == number => range.last = number,
            _ => ranges.push(Range { first: number, last: number, to }),
        }
    }
    ranges
}

impl Assembler {
    fn load(&mut self, offset: u32) {
        self.line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, Place::Next, Place::Next);
    }

    fn test(&mut self, comparison: u32, k: u32, then: Place, otherwise: Place) {
        self.line(libc::BPF_JMP | comparison | libc::BPF_K, k, then, otherwise);
    }

    fn line(&mut self, code: u32, k: u32, then: Place, otherwise: Place) {
        self.lines.push(Line { code, k, then, otherwise });
    }

    fn here(&mut self, place: Place) {
        self.places.insert(place, self.lines.len());
    }

    /// Leads the number that is loaded to its place.
    fn find(&mut self, ranges: &[Range]) {
        const FEW: usize = 3;
        if ranges.len() > FEW {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let half = Place::Half(upper[0].first as usize);
            self.test(libc::BPF_JGE, upper[0].first, half, Place::Next);
            self.find(lower);
            self.here(half);
            return self.find(upper);
        }
        for (index, range) in ranges.iter().enumerate() {
            let rest = if index + 1 == ranges.len() { Place::Allow } else { Place::Next };
            if range.first == range.last {
                self.test(libc::BPF_JEQ, range.first, range.to, rest);
            } else {
                self.test(libc::BPF_JGE, range.first, Place::Next, Place::Allow);
                self.test(libc::BPF_JGT, range.last, rest, range.to);
            }
        }
    }

    fn arguments(&mut self) {
        let namespaces = syscalls::NAMESPACE_FLAGS.iter().fold(0, |all, flag| all | flag.cast_unsigned());
        // The low byte of clone's flags is the exit signal, so the time namespace's bit means nothing there.
        for (place, flags) in [(Place::Clone, namespaces & !0xff), (Place::Unshare, namespaces)] {
            self.here(place);
            self.load(argument(0));
            self.test(libc::BPF_JSET, flags, Place::Refuse(libc::EPERM), Place::Allow);
        }
        let requests = [syscalls::TERMINAL_REQUESTS, syscalls::SUBVOLUME_REQUESTS].concat();
        for (place, refused) in [(Place::Ioctl, &requests[..]), (Place::Fcntl, syscalls::LEASES)] {
            self.here(place);
            self.load(argument(1));
            self.among(refused.iter().copied(), Place::Refuse(libc::EPERM));
            self.test(libc::BPF_JA, 0, Place::Allow, Place::Allow);
        }
        self.here(Place::Socket);
        let unknown = Place::Refuse(libc::EAFNOSUPPORT);
        self.load(argument(0));
        self.among(syscalls::FAMILIES.iter().map(|family| family.cast_unsigned()), Place::Allow);
        self.test(libc::BPF_JEQ, libc::AF_NETLINK.cast_unsigned(), Place::Next, unknown);
        self.load(argument(2));
        self.test(libc::BPF_JEQ, 0 /* NETLINK_ROUTE */, Place::Allow, unknown);
        self.limits();
    }

    /// One's own limits may be set, and everybody's looked at. Another's may not: whoever has the same user could take the
    /// descriptors of pid 1 and of the warden, or have the kernel kill another command for its time (prlimit(2)).
    fn limits(&mut self) {
        self.here(Place::Limits);
        self.load(argument(0));
        self.test(libc::BPF_JEQ, 0, Place::Allow, Place::Next);
        for half in [argument(2), argument(2) + 4] {
            self.load(half);
            self.test(libc::BPF_JEQ, 0, Place::Next, Place::Refuse(libc::EPERM));
        }
        self.test(libc::BPF_JA, 0, Place::Allow, Place::Allow);
    }

    fn among(&mut self, values: impl Iterator<Item = u32>, place: Place) {
        values.for_each(|value| self.test(libc::BPF_JEQ, value, place, Place::Next));
    }

    fn answers(&mut self) {
        let refusals = [libc::EPERM, libc::ENOSYS, libc::EAFNOSUPPORT]
            .map(|errno| (Place::Refuse(errno), libc::SECCOMP_RET_ERRNO | errno.cast_unsigned()));
        for (place, answer) in [(Place::Allow, libc::SECCOMP_RET_ALLOW), (Place::Kill, libc::SECCOMP_RET_KILL_PROCESS)]
            .into_iter()
            .chain(refusals)
        {
            self.here(place);
            self.line(libc::BPF_RET | libc::BPF_K, answer, Place::Next, Place::Next);
        }
    }

    fn finish(self) -> Vec<sock_filter> {
        let Self { lines, places } = self;
        let distance = |at: usize, place: Place| match place {
            Place::Next => 0,
            place => places[&place] - at - 1,
        };
        let short = |at, place| u8::try_from(distance(at, place)).expect("the program is short enough for its jumps");
        let assemble = |(at, line): (usize, &Line)| {
            let code = line.code as u16;
            if line.code == libc::BPF_JMP | libc::BPF_JA | libc::BPF_K {
                return sock_filter { code, jt: 0, jf: 0, k: distance(at, line.then) as u32 };
            }
            sock_filter { code, jt: short(at, line.then), jf: short(at, line.otherwise), k: line.k }
        };
        lines.iter().enumerate().map(assemble).collect()
    }
}
