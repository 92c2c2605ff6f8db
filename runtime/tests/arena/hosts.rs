//! Hosts that give namespaces, and hosts that do not: real ones, made by what makes them so elsewhere.

use std::thread;

use super::kernel;
use holdpoint_runtime::{Builder, Error, Protection, Sandbox};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// On what a sandbox is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// Namespaces.
    Plain,
    /// None, as in a container: Landlock and seccomp alone.
    Container,
}

impl Host {
    /// Those on which this kernel can hold a sandbox: without namespaces an older one is refused.
    pub(crate) fn possible() -> &'static [Host] {
        if kernel::keeps_apart() { &[Host::Plain, Host::Container] } else { &[Host::Plain] }
    }

    pub(crate) fn start(self, builder: &mut Builder) -> Result<Sandbox, Error> {
        match self {
            Host::Plain => builder.start(),
            Host::Container => {
                builder.allow_missing(Protection::Namespaces).allow_missing(Protection::LateMasks);
                contained(|| builder.start())
            }
        }
    }
}

/// Acts on a thread that is refused new namespaces as by Docker's default profile: `clone3` is not there, `clone` with a
/// flag for namespaces is not permitted, keyrings are not either.
pub(crate) fn contained<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let namespaces = [17, 25, 26, 27, 28, 29, 30].map(|bit| {
        let flag = SeccompCmpOp::MaskedEq(1 << bit);
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, flag, 1 << bit).unwrap()]).unwrap()
    });
    let refused = [(libc::SYS_clone, namespaces.to_vec()), (libc::SYS_unshare, vec![]), (libc::SYS_keyctl, vec![])];
    let filters = [filter(&refused, libc::EPERM), filter(&[(libc::SYS_clone3, vec![])], libc::ENOSYS)];
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            filters.iter().for_each(|filter| seccompiler::apply_filter(filter).unwrap());
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn filter(rules: &[(i64, Vec<SeccompRule>)], errno: i32) -> BpfProgram {
    let target = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let rules = rules.iter().cloned().collect();
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, target).unwrap().try_into().unwrap()
}
