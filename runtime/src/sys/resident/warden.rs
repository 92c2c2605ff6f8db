//! The warden: stays in the sandbox's user and mount namespaces with the one capability that mounting needs, and masks,
//! protects or replaces the paths that the host side names while commands run. It decides nothing.

use crate::{
    syscall::{self, Result},
    wire::{CONTROL, DONE, MASK, MASK_DIRECTORY, MASK_FILE, PROTECT, REPLACE, Reply, Request, SECOND},
};
use core::{ffi::CStr, mem, ptr};

const DIRECTORY: u32 = 0o040000;

pub(crate) fn serve() -> ! {
    syscall::block_signals();
    syscall::send(CONTROL, &Reply { kind: DONE, ..Reply::default() }, &[]);
    let mut packet = [0u8; mem::size_of::<Request>() + 4096 + 1];
    loop {
        let mut fds = [-1; 8];
        let Ok((length, brought)) = syscall::receive(CONTROL, &mut packet, &mut fds) else { continue };
        if length <= mem::size_of::<Request>() {
            syscall::exit(0);
        }
        // SAFETY: the packet holds a request, which is plain numbers.
        let request: Request = unsafe { ptr::read_unaligned(packet.as_ptr().cast()) };
        let result = match CStr::from_bytes_until_nul(&packet[mem::size_of::<Request>()..length]) {
            Ok(path) => obey(request.op, path, fds[0]),
            Err(_) => Err(22),
        };
        fds.iter().take(brought).for_each(|fd| syscall::close(*fd));
        syscall::send(CONTROL, &Reply { kind: DONE, value: result.err().unwrap_or(0), stage: 0 }, &[]);
    }
}

fn obey(op: u32, path: &CStr, given: i32) -> Result<()> {
    let place = syscall::open_place(path)?;
    let done = match op {
        REPLACE => syscall::attach(given, place).map(drop),
        op => cover(op, place),
    };
    syscall::close(place);
    done
}

fn cover(op: u32, place: i32) -> Result<()> {
    let mount = match op {
        MASK if syscall::kind(place)? == DIRECTORY => syscall::clone_mount(SECOND, MASK_DIRECTORY)?,
        MASK => syscall::clone_mount(SECOND, MASK_FILE)?,
        PROTECT => syscall::clone_mount(place, c"")?,
        _ => return Err(22),
    };
    let done = if op == PROTECT { syscall::make_read_only(mount).map(drop) } else { Ok(()) };
    let done = done.and_then(|()| syscall::attach(mount, place).map(drop));
    syscall::close(mount);
    done
}
