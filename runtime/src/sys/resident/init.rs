//! Pid 1 of a sandbox: receives commands over its socket, executes them vfork-style, reaps everything, reports. It ends
//! when the socket closes, and with it the kernel ends every process of the namespace, however the owner died. Without a
//! namespace it is no pid 1 and ends them itself (`restricted`).

use crate::{
    clone::clone_with_entry,
    files, restricted,
    room::Room,
    syscall::{self, Result},
    wire::{
        CONTROL, ENDED, FAILED, GIVEN, Image, LAST, LISTENING, NOBODY_LEFT, NULL, RESOURCES, RUN, Reply, Request, SAME_UMASK, SIGNAL, SIGNAL_ONE, STAGE_DIRECTORY,
        STAGE_EXECUTE, STAGE_RIGHTS, STAGE_ROOM, STAGE_TERMINAL, STARTED, TERMINAL, TRAP, UNCHANGED,
    },
};
use core::{ffi::CStr, mem, ptr};

/// Commands that can run at one time in one sandbox.
const COMMANDS: usize = 512;
const CLONE_VM_VFORK: usize = 0x100 | 0x4000;
const SIGCHLD: usize = 17;

#[derive(Clone, Copy)]
struct Running {
    pid: i32,
    id: u32,
    reply: i32,
    last: bool,
}

const FREE: Running = Running { pid: 0, id: 0, reply: -1, last: false };

pub(crate) fn serve() -> ! {
    syscall::block_signals();
    syscall::default_actions();
    let Ok(children) = syscall::child_signals() else { syscall::exit(71) };
    let Ok(room) = Room::new() else { syscall::exit(71) };
    let mut running = [FREE; COMMANDS];
    loop {
        let [asked, ended] = syscall::wait_readable([CONTROL, children]);
        if ended {
            syscall::drain(children);
            while let Some((pid, status)) = syscall::reap() {
                report_end(&mut running, pid, status);
            }
        }
        if asked {
            receive(&mut running, &room);
        }
    }
}

fn report_end(running: &mut [Running; COMMANDS], pid: i32, status: i32) {
    if let Some(entry) = running.iter_mut().find(|entry| entry.pid == pid) {
        // Who has no child is alone: every orphan would be its child.
        let stage = if entry.last && syscall::reap_all() { NOBODY_LEFT } else { 0 };
        syscall::send(entry.reply, &Reply { kind: ENDED, value: status, stage }, &[]);
        if entry.last {
            restricted::end(0);
        }
        syscall::close(entry.reply);
        *entry = FREE;
    }
}

fn receive(running: &mut [Running; COMMANDS], room: &Room) {
    let mut packet = [0u8; mem::size_of::<Request>()];
    let mut fds = [-1; 8];
    let Ok((length, count)) = syscall::receive(CONTROL, &mut packet, &mut fds) else { return };
    if length < packet.len() {
        restricted::end(0);
    }
    // SAFETY: the packet holds a request, which is plain numbers.
    let request: Request = unsafe { ptr::read_unaligned(packet.as_ptr().cast()) };
    match request.op {
        RUN if count == 5 || count == 6 => run(running, room, &request, &fds),
        TRAP if count == 2 => trap(&request, fds[0], fds[1]),
        SIGNAL => {
            for entry in running.iter().filter(|entry| entry.pid > 0 && entry.id == request.id) {
                // A group that has just ended is no failure.
                if syscall::kill(-entry.pid, request.value).is_err() {}
            }
        }
        // Never 1, which is us, nor 0 and below, which are groups.
        SIGNAL_ONE if request.id > 1 && request.id <= i32::MAX as u32 => if syscall::kill(request.id as i32, request.value).is_err() {},
        _ => fds.iter().filter(|fd| **fd >= 0).for_each(|fd| syscall::close(*fd)),
    }
}

/// Every command from here on is held at what the program traps; so are its descendants.
fn trap(request: &Request, program: i32, reply: i32) {
    let length = request.length as usize;
    let installed = syscall::map(program, length).and_then(|text| {
        let installed = syscall::install_trap(text, length);
        syscall::unmap(text, length);
        installed
    });
    match installed {
        Ok(listener) => {
            syscall::send(reply, &Reply { kind: LISTENING, value: 0, stage: 0 }, &[listener]);
            syscall::close(listener);
        }
        Err(errno) => syscall::send(reply, &Reply { kind: FAILED, value: errno, stage: STAGE_ROOM }, &[]),
    }
    syscall::close(program);
    syscall::close(reply);
}

fn run(running: &mut [Running; COMMANDS], room: &Room, request: &Request, fds: &[i32; 8]) {
    let [image, reply, input, output, error, layer, ..] = *fds;
    let standard = [input, output, error];
    let mut master = -1;
    let started = match running.iter().position(|entry| entry.pid == 0) {
        Some(slot) => start(request, room, image, standard, layer, &mut master).map(|pid| (slot, pid)),
        None => Err((STAGE_ROOM, 11)),
    };
    match started {
        Ok((slot, pid)) => {
            let pidfd = syscall::open_pidfd(pid).unwrap_or(-1);
            let answer = Reply { kind: STARTED, value: pid, stage: 0 };
            let passed = [pidfd, master];
            syscall::send(reply, &answer, if master >= 0 { &passed } else { &passed[..1] });
            syscall::close(pidfd);
            running[slot] = Running { pid, id: request.id, reply, last: request.flags & LAST != 0 };
        }
        Err((stage, errno)) => {
            syscall::send(reply, &Reply { kind: FAILED, value: errno, stage }, &[]);
            syscall::close(reply);
        }
    }
    if master >= 0 {
        syscall::close(master);
    }
    for fd in [image, input, output, error] {
        syscall::close(fd);
    }
    if layer >= 0 {
        syscall::close(layer);
    }
}

/// What the new process needs, laid out before it exists.
struct Command {
    directory: *const u8,
    programs: *const *const u8,
    arguments: *const *const u8,
    variables: *const *const u8,
    standard: [i32; 3],
    terminal: i32,
    null: i32,
    layer: i32,
    limits: [u64; 3],
    umask: u32,
    failed: (u32, i32),
}

type Failure = (u32, i32);

fn start(request: &Request, room: &Room, image: i32, standard: [i32; 3], layer: i32, master: &mut i32) -> core::result::Result<i32, Failure> {
    let mut laid = room.read(image, request.length as usize).map_err(|errno| (STAGE_EXECUTE, errno))?;
    // SAFETY: the host wrote an image of this length, beginning with its header.
    let header: Image = unsafe { ptr::read_unaligned(laid.text().cast()) };
    let strings = header.programs as usize + header.arguments as usize + header.variables as usize;
    let table = laid.table(strings + 3).map_err(|errno| (STAGE_EXECUTE, errno))?;
    // SAFETY: the table has room for every pointer and the three terminators.
    let mut command = unsafe { lay_out(laid.text(), request.length as usize, &header, table, standard) };
    command.layer = layer;
    let streams = prepare_null(request, &mut command).and_then(|()| prepare_terminal(request, &mut command, master));
    let result = streams.map_err(|errno| (STAGE_TERMINAL, errno)).and_then(|()| spawn(&mut command, laid.stack()));
    for fd in [command.terminal, command.null] {
        if fd >= 0 {
            syscall::close(fd);
        }
    }
    result
}

/// Points at each string of the image: programs, arguments and variables each end with a null pointer.
///
/// # Safety
/// `text` holds `length` bytes of an image with this header; `table` has room for all pointers and three nulls.
unsafe fn lay_out(text: *mut u8, length: usize, header: &Image, table: *mut *const u8, standard: [i32; 3]) -> Command {
    let (mut at, mut slot) = (mem::size_of::<Image>(), 0);
    let mut next = || {
        let string = text.wrapping_add(at).cast_const();
        // SAFETY: stays below `length`; the host ends every string with NUL.
        while at < length && unsafe { *text.add(at) } != 0 {
            at += 1;
        }
        at += 1;
        string
    };
    let directory = next();
    let mut group = |count: u32| {
        let first = table.wrapping_add(slot).cast_const();
        for _ in 0..count {
            // SAFETY: promised room.
            unsafe { *table.add(slot) = next() };
            slot += 1;
        }
        // The table came zeroed: the terminator is there already.
        slot += 1;
        first
    };
    let (programs, arguments, variables) = (group(header.programs), group(header.arguments), group(header.variables));
    let (limits, umask) = (header.limits, header.umask);
    let failed = (0, 0);
    Command { directory, programs, arguments, variables, standard, terminal: -1, null: -1, layer: -1, limits, umask, failed }
}

/// Puts the sandbox's own `/dev/null` where asked: the caller's would stand on the caller's mount.
fn prepare_null(request: &Request, command: &mut Command) -> Result<()> {
    if request.flags & (NULL * 7) == 0 {
        return Ok(());
    }
    command.null = syscall::open(c"/dev/null", syscall::O_RDWR | syscall::O_CLOEXEC)?;
    for (index, fd) in command.standard.iter_mut().enumerate() {
        if request.flags & (NULL << index) != 0 {
            *fd = command.null;
        }
    }
    Ok(())
}

/// Makes the command's private terminal when it wants one, and puts its slave side where asked.
fn prepare_terminal(request: &Request, command: &mut Command, master: &mut i32) -> Result<()> {
    if request.flags & (GIVEN * 7 | TERMINAL * 7) == 0 {
        return Ok(());
    }
    if let Some(index) = (0..3).find(|index| request.flags & (GIVEN << index) != 0) {
        command.terminal = syscall::duplicate_away(command.standard[index])?;
        return Ok(());
    }
    *master = syscall::open(c"/dev/ptmx", syscall::O_RDWR | syscall::O_NOCTTY | syscall::O_CLOEXEC)?;
    let unlock = 0i32;
    syscall::ioctl(*master, 0x4004_5431 /* TIOCSPTLCK */, &raw const unlock as usize)?;
    let flags = syscall::O_RDWR | syscall::O_NOCTTY | syscall::O_CLOEXEC;
    command.terminal = syscall::ioctl(*master, 0x5441 /* TIOCGPTPEER */, flags)? as i32;
    let size = [request.rows, request.columns, 0, 0];
    syscall::ioctl(*master, 0x5414 /* TIOCSWINSZ */, size.as_ptr() as usize)?;
    for (index, fd) in command.standard.iter_mut().enumerate() {
        if request.flags & (TERMINAL << index) != 0 {
            *fd = command.terminal;
        }
    }
    Ok(())
}

fn spawn(command: &mut Command, stack_top: usize) -> core::result::Result<i32, Failure> {
    let data = ptr::from_mut(command).cast();
    // SAFETY: the stack is fresh memory, `command` outlives the child's use of it because vfork waits for the execve.
    let pid = unsafe {
        clone_with_entry(syscall::CLONE, [CLONE_VM_VFORK | SIGCHLD, stack_top, 0, 0, 0], become_command, data)
    };
    if pid < 0 {
        return Err((STAGE_ROOM, -pid as i32));
    }
    // SAFETY: the child wrote through the pointer before it ended, or never will.
    match unsafe { ptr::read_volatile(&raw const command.failed) } {
        (0, 0) => Ok(pid as i32),
        failed => Err(failed),
    }
}

/// Runs in the child, on its own stack, in our memory.
unsafe extern "C" fn become_command(data: *mut u8) -> ! {
    // SAFETY: `spawn` passes a live command.
    let command = unsafe { &mut *data.cast::<Command>() };
    let failed = match prepare(command) {
        Err(failure) => failure,
        Ok(()) => (STAGE_EXECUTE, execute_first(command)),
    };
    // SAFETY: the parent reads it after we have ended.
    unsafe { ptr::write_volatile(&raw mut command.failed, failed) };
    syscall::exit(127)
}

fn prepare(command: &Command) -> core::result::Result<(), Failure> {
    // While the ruleset is open, and before its rules could be in the way of entering the directory.
    // SAFETY: `lay_out` pointed at NUL-terminated strings.
    syscall::chdir(unsafe { CStr::from_ptr(command.directory.cast()) }).map_err(|errno| (STAGE_DIRECTORY, errno))?;
    if command.layer >= 0 {
        syscall::restrict(command.layer).map_err(|errno| (STAGE_RIGHTS, errno))?;
    }
    attach_standard(command).map_err(|errno| (STAGE_TERMINAL, errno))?;
    if command.umask != SAME_UMASK {
        files::set_umask(command.umask);
    }
    for (resource, value) in RESOURCES.iter().zip(command.limits) {
        if value != UNCHANGED {
            syscall::limit(*resource, value).map_err(|errno| (STAGE_RIGHTS, errno))?;
        }
    }
    Ok(())
}

fn attach_standard(command: &Command) -> Result<()> {
    restricted::step_below()?;
    syscall::setsid()?;
    if command.terminal >= 0 {
        syscall::ioctl(command.terminal, 0x540E /* TIOCSCTTY */, 0)?;
    }
    for (index, fd) in command.standard.iter().enumerate() {
        syscall::duplicate(*fd, index as i32)?;
    }
    // Whatever leaked to us leaks no further (CVE-2024-21626).
    syscall::close_others().map(drop)
}

/// Tries each candidate as execvp(3) does; a file that may not be executed is remembered over one that is not there.
fn execute_first(command: &Command) -> i32 {
    syscall::unblock_signals();
    let mut worst = 2;
    let mut at = command.programs;
    // SAFETY: the table ends with a null pointer.
    while let program = unsafe { *at }
        && !program.is_null()
    {
        // SAFETY: each entry is a NUL-terminated string.
        let errno = syscall::execute(unsafe { CStr::from_ptr(program.cast()) }, command.arguments, command.variables);
        match errno {
            2 | 20 => {}
            13 => worst = 13,
            other => return other,
        }
        at = at.wrapping_add(1);
    }
    worst
}
