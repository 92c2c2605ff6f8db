//! The interpreter: what runs in the child between `clone3` and `execve`. It allocates nothing, takes no lock, writes no
//! log and does not panic; on failure it leaves the step and the errno, and ends.

use super::LIFTED;
use super::{
    Failure, Program, Root, SLOTS,
    step::{Descriptor, Step},
};
use crate::sys::{Result, call, landlock, launch, seccomp};
use std::{ffi::CStr, os::fd::RawFd};

/// Option lists are copied to the stack for the call; no file system here has more.
const OPTIONS: usize = 6;

/// Walks the steps; the last one executes another program.
pub(crate) fn interpret(program: &mut Program) -> ! {
    let Program { steps, slots, failure, .. } = program;
    for (index, step) in steps.iter_mut().enumerate() {
        if let Step::Await(gate) = step {
            gate.pass(|rest| {
                rest.slots = *slots;
                interpret(rest)
            });
            break;
        }
        if let Err(errno) = perform(step, slots) {
            *failure = Some(Failure { step: index, errno });
            break;
        }
    }
    call::exit(127)
}

fn perform(step: &mut Step, slots: &mut [RawFd; SLOTS]) -> Result<()> {
    match step {
        Step::Write { root, path, text } => call::write_file(base(*root, slots), path, text.as_bytes()),
        Step::Await(_) => Ok(()),
        Step::Processors(processors) => {
            processors.restore();
            Ok(())
        }
        Step::Join { first, namespaces } => call::join_namespaces(*first, *namespaces),
        Step::OwnMounts(root) => {
            slots[*root] = call::own_mounts()?;
            Ok(())
        }
        Step::LoopbackUp => call::loopback_up(),
        Step::Hostname(name) => call::set_hostname(name),
        Step::SessionKeyring => call::new_session_keyring(),
        Step::PrivateMounts => call::make_all_private(),
        Step::ExactModes(before) => {
            slots[*before] = call::set_umask(0);
            Ok(())
        }
        Step::Umask(before) => {
            call::set_umask(slots[*before]);
            Ok(())
        }
        Step::Filesystem { kind, options, attributes, to } => {
            let mut list = [(c"", c""); OPTIONS];
            let count = options.len().min(OPTIONS);
            for (place, (key, value)) in list.iter_mut().zip(options.iter()) {
                *place = (*key, value.as_c_str());
            }
            slots[*to] = call::new_filesystem(kind, list.get(..count).unwrap_or(&[]), *attributes)?;
            Ok(())
        }
        Step::EnterRoot { root, host } => {
            slots[*host] = call::enter_root(slots[*root])?;
            Ok(())
        }
        Step::CloneMount { host, source, recursive, expect, to } => {
            let mount = call::clone_mount(slots[*host], source, *recursive)?;
            slots[*to] = mount;
            match expect {
                Some(expect) if call::identity(mount)? != *expect => Err(libc::ESTALE),
                _ => Ok(()),
            }
        }
        Step::Receive { socket, to, .. } => {
            slots[*to] = call::receive_descriptor(*socket)?;
            Ok(())
        }
        Step::Send { socket, mount } => call::send_descriptor(*socket, slots[*mount]),
        Step::Hear { socket } => call::read_byte(*socket).then_some(()).ok_or(libc::ECANCELED),
        Step::Attributes { mount, set, recursive } => call::set_attributes(slots[*mount], *set, *recursive),
        Step::Attach { mount, at, target } => {
            let attached = call::attach(slots[*mount], slots[*at], entry(target));
            call::close(slots[*mount]);
            slots[*mount] = -1;
            attached
        }
        Step::Open { root, path, to } => {
            let place = call::open_place(base(*root, slots), path)?;
            if slots[*to] >= 0 {
                call::close(slots[*to]);
            }
            slots[*to] = place;
            Ok(())
        }
        Step::Pin { at, target, set, recursive } => call::pin(slots[*at], entry(target), *set, *recursive),
        Step::PinLink { at, target } => pin_link(slots[*at], entry(target)),
        Step::Mask { at, cover, target, fleeting } => match call::cover(cover, slots[*at], entry(target)) {
            Err(libc::ENOENT) if *fleeting => Ok(()),
            covered => covered,
        },
        Step::Directory { root, path, mode } => call::make_directory(slots[*root], path, *mode),
        Step::File { root, path, mode } => call::make_file(slots[*root], path, *mode),
        Step::Link { root, path, target } => call::make_link(slots[*root], path, target),
        Step::LeaveHost(root) => call::leave_host(slots[*root]),
        Step::Limit { resource, soft, hard } => call::limit(*resource, *soft, *hard),
        Step::Through(program) => {
            program.slots = *slots;
            // Its memory is ours again a moment before it has ended (vfork(2)).
            launch::launch_nested(program)?;
            call::collect(program.pid)?;
            program.failure.map_or(Ok(()), |failure| Err(failure.errno))
        }
        Step::Spawn(program) => {
            program.slots = *slots;
            launch::launch_nested(program)?;
            program.failure.map_or(Ok(()), |failure| Err(failure.errno))
        }
        Step::NullStandard => call::null_standard(),
        Step::NewSession => call::new_session(),
        Step::NoNewPrivileges => call::no_new_privileges(),
        Step::Bounding { keep } => call::clear_bounding(*keep),
        Step::Capabilities(mask) => call::set_capabilities(*mask),
        Step::LandlockAllow { ruleset, root, path, access } => landlock::allow(*ruleset, slots[*root], path, *access),
        Step::LandlockRestrict { ruleset } => landlock::restrict(*ruleset),
        Step::Seccomp(calls) => seccomp::install(*calls),
        Step::NoPreallocation => seccomp::refuse_preallocation(),
        Step::OwnGroups => call::unshare_groups(),
        Step::Descriptor { from, to } => call::place_descriptor(descriptor(*from, slots), *to),
        Step::Lift(slot) => {
            slots[*slot] = call::lift_descriptor(slots[*slot], LIFTED)?;
            Ok(())
        }
        Step::Close(ranges) => ranges.iter().try_for_each(|(first, last)| call::close_range(*first, *last)),
        Step::CloseFrom(first) => call::close_from(*first),
        Step::Execute { program, arguments } => Err(call::execute(descriptor(*program, slots), arguments.pointers())),
    }
}

fn base(root: Root, slots: &[RawFd; SLOTS]) -> RawFd {
    match root {
        Root::Host => libc::AT_FDCWD,
        Root::Slot(slot) => slots[slot],
    }
}

fn descriptor(descriptor: Descriptor, slots: &[RawFd; SLOTS]) -> RawFd {
    match descriptor {
        Descriptor::Known(fd) => fd,
        Descriptor::Slot(slot) => slots[slot],
    }
}

fn pin_link(at: RawFd, name: &CStr) -> Result<()> {
    let mount = call::clone_mount(at, name, false)?;
    let done = call::set_attributes(mount, libc::MOUNT_ATTR_RDONLY, false);
    let done = done.and_then(|()| call::attach(mount, at, name));
    call::close(mount);
    done
}

/// The last name of a path.
fn entry(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    bytes.get(start..).and_then(|name| CStr::from_bytes_with_nul(name).ok()).unwrap_or(path)
}
