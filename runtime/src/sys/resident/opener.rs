//! The opener: opens files for commands whose own calls are held (`deny_read_strict`), inside the sandbox and under the same
//! walls, but it is never held itself. It decides nothing: the host side looks at what it found and has it opened, or not.
//!
//! What is opened is what was looked at: a place is named once (`O_PATH`) and opened by that descriptor. Each opener does
//! one thing after the other; a call that may wait for long gets an opener of its own.

use crate::{
    clone::clone_with_entry,
    files::{
        self, DIRECTORY, EACCES, EAGAIN, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOSYS, ENOTDIR, NO_MAGICLINKS, NO_SYMLINKS, NONE,
        O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_TRUNC, REGULAR, SYMLINK,
        Status, TMPFILE,
    },
    opener_wire::{
        ABSENT, ANSWERED, Absent, Ask, CHMOD, CREATE, EMPTY, FOLLOW, FORK, FOUND, LINK, OBJECT, OPEN, OPEN_FOUND, OPENED, PLACE, RENAME,
        Told, UNLINK, WHO, needs_release,
    },
    syscall::{self, Result},
    walk::{self, Below, End, Ending, Name, Text, Who},
    wire::CONTROL,
};
use core::{ffi::CStr, mem, ptr};

const SIGCHLD: usize = 17;
const HEADER: usize = mem::size_of::<Ask>();

/// A name in an open directory, or an open place.
struct Place {
    directory: i32,
    name: Name,
    object: i32,
}

struct Opener {
    /// `/proc/self/fd`: how a place is opened.
    own: i32,
    /// The device of procfs.
    proc: u64,
    text: Text,
    places: [Place; 2],
    /// What the places are good for.
    asked: Ask,
}

enum Outcome {
    Done,
    Opened(i32, Status),
    Found(i32, Status),
    Absent(i32),
    Who,
}

pub(crate) fn serve() -> ! {
    syscall::block_signals();
    syscall::ignore_children();
    answer_all()
}

/// Serves the control socket until it closes.
fn answer_all() -> ! {
    let Ok(mut opener) = Opener::new() else { syscall::exit(71) };
    // A wait can only be ended by ending the opener.
    let Ok(pidfd) = syscall::open_pidfd(files::process()) else { syscall::exit(71) };
    syscall::send(CONTROL, &Told { what: ANSWERED, ..Told::default() }, &[pidfd]);
    syscall::close(pidfd);
    let mut packet = [0u8; HEADER + 4096];
    loop {
        let mut fds = [NONE; 8];
        let Ok((length, _)) = syscall::receive(CONTROL, &mut packet, &mut fds) else { continue };
        if length < HEADER {
            syscall::exit(0);
        }
        // SAFETY: the packet holds a question, which is plain numbers.
        let ask: Ask = unsafe { ptr::read_unaligned(packet.as_ptr().cast()) };
        if ask.op == FORK {
            fork(fds[0]);
        } else {
            let path = CStr::from_bytes_until_nul(&packet[HEADER..length]).unwrap_or(c"");
            let outcome = opener.obey(&ask, path, fds[0]);
            opener.tell(outcome);
        }
    }
}

/// Another opener, for `socket`.
fn fork(socket: i32) {
    // SAFETY: no memory is shared, so the child goes on with a copy of this stack.
    let pid = unsafe { clone_with_entry(syscall::CLONE, [SIGCHLD, 0, 0, 0, 0], begin, ptr::without_provenance_mut(socket as usize)) };
    // A child that is not there answers nothing: whoever waits for it sees its socket close.
    if pid < 0 {}
    syscall::close(socket);
}

unsafe extern "C" fn begin(socket: *mut u8) -> ! {
    let socket = socket.addr() as i32;
    if syscall::duplicate(socket, CONTROL).is_err() {
        syscall::exit(71);
    }
    if syscall::close_from(CONTROL + 1).is_err() {
        syscall::exit(71);
    }
    answer_all()
}

impl Opener {
    fn new() -> Result<Self> {
        let own = files::open(NONE, c"/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0)?;
        let place = || Place { directory: NONE, name: Name::new(), object: NONE };
        let places = [place(), place()];
        Ok(Self { own, proc: files::status(own)?.device, text: Text::new(), places, asked: Ask::default() })
    }

    fn obey(&mut self, ask: &Ask, path: &CStr, from: i32) -> Result<Outcome> {
        if path.is_empty() && (ask.op == OPEN || (ask.op == PLACE && ask.follow & EMPTY == 0)) {
            if from != NONE {
                syscall::close(from);
            }
            return Err(ENOENT);
        }
        match ask.op {
            OPEN => {
                self.places.iter_mut().for_each(Place::clear);
                self.asked = *ask;
                self.open(path, from)
            }
            OPEN_FOUND => {
                let object = self.places[0].object;
                let status = files::status(object)?;
                let fd = self.open_as_asked(object, status, ask.wait != 0)?;
                Ok(Outcome::Opened(fd, status))
            }
            CREATE => self.create(),
            PLACE => self.place(ask, path, from),
            _ => {
                let done = self.act(ask);
                self.places.iter_mut().for_each(Place::clear);
                done.map(|_| Outcome::Done)
            }
        }
    }

    /// Answers, and lets go of what was handed over.
    fn tell(&mut self, outcome: Result<Outcome>) {
        let told = |what, status: Status| Told {
            what,
            value: 0,
            mode: status.mode,
            _room: 0,
            device: status.device,
            inode: status.inode,
        };
        match outcome {
            Ok(Outcome::Done) => syscall::send(CONTROL, &Told { what: ANSWERED, ..Told::default() }, &[]),
            Ok(Outcome::Who) => syscall::send(CONTROL, &Told { what: WHO, ..Told::default() }, &[]),
            Ok(Outcome::Found(fd, status)) => syscall::send(CONTROL, &told(FOUND, status), &[fd]),
            Ok(Outcome::Absent(fd)) => {
                // Which of the two it was: the one that was asked about last.
                let name = self.places.iter().find(|place| place.directory == fd).map_or(c"", |place| place.name.text());
                let mut absent = Absent { told: told(ABSENT, Status::default()), name: [0; 264] };
                absent.name[..name.count_bytes()].copy_from_slice(name.to_bytes());
                syscall::send(CONTROL, &absent, &[fd]);
            }
            Ok(Outcome::Opened(fd, status)) => {
                syscall::send(CONTROL, &told(OPENED, status), &[fd]);
                syscall::close(fd);
                self.places.iter_mut().for_each(Place::clear);
                if needs_release(self.asked.flags, status.mode) {
                    // Nobody may still hold it when the caller goes on: a file open for writing cannot be executed.
                    syscall::send(CONTROL, &Told { what: ANSWERED, ..Told::default() }, &[]);
                }
            }
            Err(errno) => syscall::send(CONTROL, &Told { what: ANSWERED, value: errno, ..Told::default() }, &[]),
        }
    }

    fn with_status(&self, fd: i32) -> Result<Outcome> {
        match files::status(fd) {
            Ok(status) => Ok(Outcome::Opened(fd, status)),
            Err(errno) => {
                syscall::close(fd);
                Err(errno)
            }
        }
    }

    /// Finds what the caller means, and opens it when opening has no effect that could not be taken back.
    fn open(&mut self, path: &CStr, from: i32) -> Result<Outcome> {
        let ask = self.asked;
        if let Some((object, status)) = self.find_quickly(path, from)? {
            if from != NONE {
                syscall::close(from);
            }
            return self.found(object, status);
        }
        if ask.resolve & !NO_MAGICLINKS != 0 {
            let directory = self.parent_by_kernel(path, from);
            if from != NONE {
                syscall::close(from);
            }
            self.places[0].directory = directory?;
            return Ok(Outcome::Absent(self.places[0].directory));
        }
        self.text.set(path.to_bytes())?;
        let ending = Ending {
            follow: ask.flags & O_NOFOLLOW == 0 && ask.flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL,
            parent: false,
            create: ask.flags & O_CREAT != 0,
            no_magic: ask.resolve & NO_MAGICLINKS != 0,
        };
        let who = Who { process: ask.process, thread: ask.thread };
        match walk::walk(from, &mut self.text, ending, who, &mut self.places[0].name)? {
            End::Object(object, status) => {
                self.found(object, status)
            }
            End::Directory(directory) => {
                self.places[0].directory = directory;
                Ok(Outcome::Absent(directory))
            }
            End::Who => Ok(Outcome::Who),
        }
    }

    /// One call, when it certainly means to us what it means to the caller: it found something, and not on procfs.
    fn find_quickly(&self, path: &CStr, from: i32) -> Result<Option<(i32, Status)>> {
        let ask = &self.asked;
        let strict = ask.resolve & !NO_MAGICLINKS != 0;
        let mut flags = O_PATH | O_CLOEXEC | (ask.flags & (O_NOFOLLOW | O_DIRECTORY));
        if ask.flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
            flags |= O_NOFOLLOW;
        }
        if ask.flags & O_CREAT != 0 && path.to_bytes().ends_with(b"/") {
            return Ok(None);
        }
        match files::open(from, path, flags, 0, ask.resolve | NO_MAGICLINKS) {
            Ok(object) => {
                let status = files::status(object)?;
                if status.device == self.proc && ask.resolve & NO_SYMLINKS == 0 {
                    syscall::close(object);
                    return Ok(None);
                }
                Ok(Some((object, status)))
            }
            // Over `/proc/self` or a link that is no text, or really not: the walk knows.
            Err(ENOENT | ELOOP | ENOTDIR | EACCES) if !strict => Ok(None),
            Err(ENOENT) if ask.flags & O_CREAT != 0 => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The directory in which a file is to be made, found under rules that only the kernel keeps (openat2(2)). What needs
    /// both those rules and a walk of ours is `ENOSYS`: whoever uses them has to do without on older kernels, too.
    fn parent_by_kernel(&mut self, path: &CStr, from: i32) -> Result<i32> {
        if self.asked.flags & O_CREAT == 0 {
            return Err(ENOSYS);
        }
        let mut bytes = path.to_bytes();
        while let [rest @ .., b'/'] = bytes {
            bytes = rest;
        }
        let split = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (above, name) = bytes.split_at(split);
        if matches!(name, b"" | b"." | b"..") {
            return Err(ENOSYS);
        }
        let mut parent = [0; 4096];
        parent[..above.len()].copy_from_slice(above);
        if above.is_empty() {
            parent[0] = b'.';
        }
        let parent = CStr::from_bytes_until_nul(&parent).unwrap_or(c"");
        let directory = files::open(from, parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, self.asked.resolve)?;
        if path.to_bytes().len() > bytes.len() {
            syscall::close(directory);
            return Err(EISDIR);
        }
        self.places[0].name.set(name, false)?;
        match files::open(directory, self.places[0].name.text(), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, 0) {
            Err(ENOENT) => Ok(directory),
            there => {
                // A link that leads nowhere, or something that has appeared meanwhile.
                syscall::close(directory);
                there.map(syscall::close)?;
                Err(ENOSYS)
            }
        }
    }

    /// Takes charge of `object`.
    fn found(&mut self, object: i32, status: Status) -> Result<Outcome> {
        self.places[0].object = object;
        if status.device == self.proc && walk::ours(object) == Some(Below::Private) {
            return Err(EACCES);
        }
        let flags = self.asked.flags;
        let kind = status.kind();
        if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
            return Err(EEXIST);
        }
        if flags & O_DIRECTORY != 0 && kind != DIRECTORY {
            return Err(ENOTDIR);
        }
        if kind == SYMLINK {
            return Err(ELOOP);
        }
        if flags & O_CREAT != 0 && kind == DIRECTORY {
            return Err(EISDIR);
        }
        if !matches!(kind, REGULAR | DIRECTORY) || flags & (O_TRUNC | TMPFILE) != 0 {
            return Ok(Outcome::Found(object, status));
        }
        match self.open_as_asked(object, status, false) {
            Err(EAGAIN) if flags & O_NONBLOCK == 0 => Ok(Outcome::Found(object, status)),
            opened => opened.map(|fd| Outcome::Opened(fd, status)),
        }
    }

    /// Opens a place with the caller's flags. Without `wait` it does not even wait for a lease that somebody holds on a
    /// regular file (fcntl(2)): `EAGAIN`.
    fn open_as_asked(&self, object: i32, status: Status, wait: bool) -> Result<i32> {
        let flags = self.asked.flags & !(O_CREAT | O_EXCL | O_NOFOLLOW) | O_NOCTTY;
        if wait || flags & (O_NONBLOCK | TMPFILE) != 0 || !matches!(status.kind(), REGULAR | DIRECTORY) {
            return self.open_object(object, flags);
        }
        let fd = self.open_object(object, flags | O_NONBLOCK)?;
        match files::set_flags(fd, flags) {
            Ok(_) => Ok(fd),
            Err(errno) => {
                syscall::close(fd);
                Err(errno)
            }
        }
    }

    /// Opens what a place is.
    fn open_object(&self, object: i32, flags: u64) -> Result<i32> {
        let mut number = [0; 21];
        files::decimal(object as usize, &mut number);
        let mode = if flags & TMPFILE != 0 { self.asked.mode } else { 0 };
        if flags & TMPFILE != 0 {
            files::set_umask(self.asked.umask);
        }
        files::open(self.own, CStr::from_bytes_until_nul(&number).unwrap_or(c""), flags, mode, 0)
    }

    /// Makes the file that was not there. `EEXIST`: it is there now.
    fn create(&mut self) -> Result<Outcome> {
        let Ask { flags, mode, umask, .. } = self.asked;
        files::set_umask(umask);
        let place = &self.places[0];
        let fd = files::open(place.directory, place.name.text(), flags | O_EXCL | O_NOCTTY, mode, 0)?;
        self.with_status(fd)
    }

    /// Resolves one name of a call that changes names.
    fn place(&mut self, ask: &Ask, path: &CStr, from: i32) -> Result<Outcome> {
        let place = &mut self.places[usize::from(ask.place != 0)];
        place.clear();
        if path.is_empty() {
            place.object = from;
            return files::status(from).map(|status| Outcome::Found(from, status));
        }
        self.text.set(path.to_bytes())?;
        let ending = Ending { follow: ask.follow & FOLLOW != 0, parent: ask.follow & OBJECT == 0, create: false, no_magic: false };
        let who = Who { process: ask.process, thread: ask.thread };
        match walk::walk(from, &mut self.text, ending, who, &mut place.name)? {
            End::Object(object, status) => {
                place.object = object;
                Ok(Outcome::Found(object, status))
            }
            End::Directory(directory) => {
                place.directory = directory;
                Ok(Outcome::Absent(directory))
            }
            End::Who => Ok(Outcome::Who),
        }
    }

    fn act(&mut self, ask: &Ask) -> Result<usize> {
        let [first, second] = &self.places;
        let mut number = [0; 21];
        files::decimal(first.object.max(0) as usize, &mut number);
        let own = (self.own, CStr::from_bytes_until_nul(&number).unwrap_or(c""));
        let (from, to) = ((first.directory, first.name.text()), (second.directory, second.name.text()));
        match ask.op {
            RENAME => files::rename(from, to, ask.flags),
            LINK => files::link(own, to),
            UNLINK => files::unlink(from.0, from.1, ask.flags),
            CHMOD => files::change_mode(own.0, own.1, ask.mode),
            _ => Err(EINVAL),
        }
    }
}

impl Place {
    fn clear(&mut self) {
        for fd in [&mut self.directory, &mut self.object] {
            if *fd != NONE {
                syscall::close(*fd);
                *fd = NONE;
            }
        }
    }
}
