//! One command to be run in a living sandbox, described as with [`std::process::Command`].

use crate::{
    cell::Cell,
    child::{Child, Origin, Output},
    error::{Error, Result},
    executable,
    limits::Budget,
    relay::{Input, Lent, Source},
    restricted::Place,
    rights::Rights,
    sandbox::{Ground, Sandbox},
    socket,
    stdio::{Ends, Far, Kind, Stdio, only_to_print},
    sys::wire::{
        FAILED, GIVEN, Image, LAST, NULL, RUN, Reply, Request, SAME_UMASK, STAGE_DIRECTORY, STAGE_EXECUTE,
        STAGE_RIGHTS, STAGE_TERMINAL, STARTED, TERMINAL, UNCHANGED,
    },
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

/// A command for one [`Sandbox`]; made by [`Sandbox::command`].
///
/// Unlike [`std::process::Command`] the environment begins empty: name what the command may know. The working directory
/// is the workspace, or `/` without one. A program without a slash is looked up in the command's own `PATH`, inside.
pub struct Command<'sandbox> {
    ground: &'sandbox Ground,
    /// Not there yet when this is the first command of a sandbox that is being made for it.
    sandbox: Option<&'sandbox Sandbox>,
    program: OsString,
    name: Option<OsString>,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: Option<PathBuf>,
    streams: [Option<Stdio>; 3],
    terminal: Option<Size>,
    rights: Rights,
    umask: u32,
    private_tmp: bool,
    last: bool,
}

/// A command that pid 1 was asked for.
pub(crate) struct Asked {
    origin: Origin,
    id: u32,
    reply: OwnedFd,
    outside: [Option<OwnedFd>; 3],
    /// The master side of a terminal that was made here.
    terminal: Option<OwnedFd>,
}

/// The three standard streams of a command that is asked for.
struct Streams {
    /// Of the request.
    flags: u32,
    inside: Vec<OwnedFd>,
    outside: [Option<OwnedFd>; 3],
    /// A terminal that was made here.
    terminal: Option<OpenptyResult>,
}

impl Streams {
    /// The next one is the command's own terminal: ours, or one that pid 1 makes.
    fn add_terminal(&mut self, index: usize) -> Result<()> {
        let (flag, inside) = match &self.terminal {
            Some(terminal) => (GIVEN, terminal.slave.try_clone().map_err(Error::io("pass a terminal"))?),
            None => (TERMINAL, Kind::Null.open(index)?.inside),
        };
        self.flags |= flag << index;
        self.inside.push(inside);
        Ok(())
    }
}

/// Rows and columns.
type Size = (u16, u16);

/// Where a program without a slash is looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entry(&self.program).entries(&self.arguments).finish()
    }
}

impl<'sandbox> Command<'sandbox> {
    pub(crate) fn new(sandbox: &'sandbox Sandbox, program: &OsStr) -> Self {
        Self { sandbox: Some(sandbox), ..Self::before(sandbox.ground(), program) }
    }

    /// The first command of a sandbox that is being made for it.
    pub(crate) fn before(ground: &'sandbox Ground, program: &OsStr) -> Self {
        Self {
            ground,
            sandbox: None,
            program: program.to_owned(),
            name: None,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: None,
            streams: [None, None, None],
            terminal: None,
            rights: Rights::default(),
            umask: SAME_UMASK,
            private_tmp: false,
            last: false,
        }
    }

    /// The sandbox is for this command alone, and so are its private places.
    pub(crate) fn alone(&mut self) {
        (self.last, self.private_tmp) = (true, false);
    }

    /// Sets what the program sees as its own name (`argv[0]`); the program as given by default.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// Adds one argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = S>) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets one variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, variables: impl IntoIterator<Item = (N, V)>) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Forgets every variable set so far.
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.clear();
        self
    }

    /// Sets the working directory: a path inside.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets standard input; inherited by default with [`spawn`](Self::spawn), nothing with [`output`](Self::output).
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[0] = Some(stream.into());
        self
    }

    /// Sets standard output.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[1] = Some(stream.into());
        self
    }

    /// Sets standard error.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[2] = Some(stream.into());
        self
    }

    /// Gives the command a terminal of its own with `rows` × `columns` characters, made inside the sandbox; it becomes the
    /// controlling terminal and stands for every stream that was not set. Its master side is in
    /// [`Child::terminal`](crate::Child::terminal).
    pub fn terminal(&mut self, rows: u16, columns: u16) -> &mut Self {
        self.terminal = Some((rows, columns));
        self
    }

    /// Lets the command, and all it starts, write below these paths and nowhere else: no other file is changed, made,
    /// removed or renamed, in `/tmp` neither. Paths are those inside, exist and have no symbolic link on the way. Said more
    /// than once, the paths add up. Of what the sandbox refuses nothing becomes possible; devices stay writable. Modes, times and
    /// attributes of other files, and sockets and terminals that other commands have open, Landlock does not know: they stay
    /// within reach.
    ///
    /// A command with this or [`may_read`](Self::may_read) can neither signal nor trace the sandbox's other commands: for that
    /// Landlock ABI 6 is needed (Linux 6.12).
    pub fn may_write<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) -> &mut Self {
        let paths = paths.into_iter().map(|path| path.as_ref().to_owned());
        self.rights.write.get_or_insert_default().extend(paths);
        self
    }

    /// Lets the command, and all it starts, read, list and execute below these paths and, so that programs run, in the
    /// system and the toolchains: of the workspace and all else nothing. Otherwise as [`may_write`](Self::may_write).
    pub fn may_read<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) -> &mut Self {
        let paths = paths.into_iter().map(|path| path.as_ref().to_owned());
        self.rights.read.get_or_insert_default().extend(paths);
        self
    }

    /// Gives the command a `/tmp` and a `/var/tmp` of its own, empty and gone when it and all it has started have ended. It
    /// costs about as much as half a sandbox. Nothing that the plan shows may lie below either, and the command can neither
    /// signal nor trace the sandbox's others, nor they it: for that Landlock ABI 6 is needed (Linux 6.12).
    pub fn private_tmp(&mut self, private: bool) -> &mut Self {
        self.private_tmp = private;
        self
    }

    /// Bounds the processor time of each process of this command, in whole seconds (RLIMIT_CPU): `SIGXCPU` then, `SIGKILL` a
    /// second later. A lower bound of the sandbox stays, here and below.
    pub fn cpu_time(&mut self, time: Duration) -> &mut Self {
        self.rights.cpu_time(time);
        self
    }

    /// Bounds the open descriptors of each process of this command (RLIMIT_NOFILE).
    pub fn open_files(&mut self, count: u64) -> &mut Self {
        self.rights.open_files(count);
        self
    }

    /// Bounds the size, in bytes, of each file that this command writes (RLIMIT_FSIZE).
    pub fn file_size(&mut self, bytes: u64) -> &mut Self {
        self.rights.file_size(bytes);
        self
    }

    /// Sets the mask for the modes of what this command makes (umask(2)); the sandbox's own by default, which is that of who
    /// started it.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.umask = mask & 0o777;
        self
    }

    /// Starts the command.
    ///
    /// # Errors
    /// [`Error::Spawn`] when the program or the directory is not there or may not be used (the `source` is what
    /// `execve(2)` or `chdir(2)` answered), [`Error::Plan`] for rights that cannot be given, [`Error::Ended`] when the
    /// sandbox is no more.
    pub fn spawn(&mut self) -> Result<Child> {
        self.start(Kind::Inherit, Kind::Inherit)
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn status(&mut self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Runs the command to its end and collects what it printed.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn output(&mut self) -> Result<Output> {
        self.start(Kind::Null, Kind::Piped)?.wait_with_output()
    }

    fn start(&mut self, input: Kind, output: Kind) -> Result<Child> {
        self.sandbox.map_or(Ok(()), Sandbox::settle).map_err(|error| self.why(error))?;
        let asked = self.ask(input, output)?;
        self.await_start(asked)
    }

    /// Asks pid 1 before it is there. `None`: it has to be there first.
    pub(crate) fn ask_early(&mut self) -> Result<Option<Asked>> {
        let later = self.rights.narrows_paths() || self.ground.plan.deny_read_strict;
        if later { Ok(None) } else { self.ask(Kind::Inherit, Kind::Inherit).map(Some) }
    }

    fn ask(&mut self, input: Kind, output: Kind) -> Result<Asked> {
        let mut flags = if self.last { LAST } else { 0 };
        let Ground { plan, limits, .. } = self.ground;
        let strict = plan.deny_read_strict;
        if strict && (self.private_tmp || self.rights.read.is_some() || self.rights.write.is_some()) {
            // The opener sees the sandbox's files, under the sandbox's walls: neither another /tmp nor one command's layer.
            return Err(self.invalid(
                "cannot have paths or a /tmp of its own in a sandbox with strict reads; leave out one of the two",
            ));
        }
        let cell = self.sandbox.filter(|_| self.private_tmp).map(Cell::start).transpose()?;
        let (control, root) = match (cell, self.sandbox) {
            (Some(Cell { control, root }), _) => (control, Some(root)),
            (None, sandbox) => (Arc::clone(&self.ground.control), sandbox.map(Sandbox::root)),
        };
        let hits = Arc::clone(limits.hits());
        let emptied = Arc::clone(&self.ground.emptied);
        let mut origin =
            Origin { control, root: root.unwrap_or_default(), hits, emptied, input: None, taps: Vec::new() };
        let layer = self.rights.layer(plan, &origin.root, self.private_tmp)?;
        let image = executable::memory_file(&self.image()?)?;
        let (reply, theirs) = socket::pair()?;
        let id = self.ground.next_id();
        let streams = self.streams([&input, &output, &output], id, &mut origin)?;
        flags |= streams.flags;
        let (rows, columns) = self.terminal.unwrap_or_default();
        let length = nix::sys::stat::fstat(&image).map_err(Error::errno("measure the command"))?.st_size;
        let request = Request { op: RUN, id, length: length.unsigned_abs(), flags, value: 0, rows, columns };
        let mut fds = vec![image.as_raw_fd(), theirs.as_raw_fd()];
        fds.extend(streams.inside.iter().map(AsRawFd::as_raw_fd));
        fds.extend(layer.as_ref().map(AsRawFd::as_raw_fd));
        socket::send(origin.control.as_fd(), &request, &[], &fds).map_err(|error| self.why(error))?;
        let Streams { outside, terminal, .. } = streams;
        Ok(Asked { origin, id, reply, outside, terminal: terminal.map(|terminal| terminal.master) })
    }

    /// Opens the three streams, each as `defaults` have it where nothing was said about it, and puts between the command and its
    /// caller what has to be there.
    fn streams(&self, defaults: [&Kind; 3], id: u32, origin: &mut Origin) -> Result<Streams> {
        let terminal = self.own_terminal()?;
        let budget = self.ground.plan.limits.output;
        let budget = budget.map(|limit| Budget::new(limit, id, Arc::clone(&origin.control), Arc::clone(&origin.hits)));
        let mut streams = Streams { flags: 0, inside: Vec::with_capacity(3), outside: [const { None }; 3], terminal };
        let (mut printed, mut reads_terminal) = (None, false);
        for (index, default) in defaults.into_iter().enumerate() {
            let kind = match (&self.streams[index], self.terminal) {
                (Some(stream), _) => &stream.0,
                (None, Some(_)) => {
                    streams.add_terminal(index)?;
                    continue;
                }
                (None, None) => default,
            };
            let Ends { mut inside, outside } = kind.open(index)?;
            streams.outside[index] = outside;
            let far = Far::of(inside.as_fd()).map_err(Error::errno("look at a standard stream"))?;
            match far {
                Far::Place => return Err(self.leads_into_the_host(index)),
                Far::Null => streams.flags |= NULL << index,
                Far::File(..) | Far::Socket(..) if index == 0 => {
                    let (pipe, source) = Source::start(inside)?;
                    (inside, origin.input) = (pipe, Some(Input::Source(source)));
                }
                // Both to the same, so that what is printed stays in order.
                Far::File(..) | Far::Socket(..) if printed.as_ref() == Some(&far) => {
                    inside = streams.inside[1].try_clone().map_err(Error::io("pass a standard stream"))?;
                }
                Far::Pipe if index == 0 && !matches!(kind, Kind::Piped) => {
                    let (pipe, lent) = Lent::start(inside)?;
                    (inside, origin.input) = (pipe, Some(Input::Lent(lent)));
                }
                Far::Terminal if index == 0 => reads_terminal = true,
                Far::Terminal if budget.is_none() && reads_terminal => {}
                Far::Terminal
                    if budget.is_none()
                        && let Ok(again) = only_to_print(inside.as_fd()) =>
                {
                    inside = again
                }
                Far::Pipe | Far::Device if index == 0 || budget.is_none() => {}
                Far::File(..) | Far::Socket(..) | Far::Pipe | Far::Terminal | Far::Device => {
                    let file = matches!(far, Far::File(..));
                    let (pipe, tap) = self.ground.taps.add(inside, file, budget.clone())?;
                    inside = pipe;
                    origin.taps.push(tap);
                    printed = Some(far).filter(|far| matches!(far, Far::File(..) | Far::Socket(..)));
                }
            }
            streams.inside.push(inside);
        }
        Ok(streams)
    }

    fn leads_into_the_host(&self, index: usize) -> Error {
        let why = match index {
            0 => {
                "would have a directory, or a path, as its standard input, and with that the host's files; give it a file, a pipe or /dev/null"
            }
            _ => {
                "would have a directory, or a path, to print to, and with that the host's files; give it a file, a pipe or /dev/null"
            }
        };
        self.invalid(why)
    }

    /// The sandbox knows better why it is no more.
    fn why(&self, error: Error) -> Error {
        match (error, self.sandbox) {
            (Error::Ended { .. }, Some(sandbox)) => Error::Ended { why: sandbox.why_ended() },
            (other, _) => other,
        }
    }

    fn place(&self) -> Option<&Place> {
        self.sandbox.and_then(Sandbox::place)
    }

    /// A terminal made here, where inside there is no file system of its own for one.
    fn own_terminal(&self) -> Result<Option<OpenptyResult>> {
        let (Some((rows, columns)), Some(_)) = (self.terminal, self.place()) else { return Ok(None) };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let made = openpty(&size, None).and_then(|terminal| {
            for end in [&terminal.master, &terminal.slave] {
                fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            }
            Ok(terminal)
        });
        made.map(Some).map_err(Error::errno("make a terminal"))
    }

    /// What the program is told, with the places that stand in for private ones.
    fn variables(&self) -> BTreeMap<OsString, OsString> {
        let mut variables = self.environment.clone();
        for (name, path) in self.place().into_iter().flat_map(Place::variables) {
            variables.insert(name.into(), path.into());
        }
        variables
    }

    /// Waits for the answer to what was asked.
    pub(crate) fn await_start(&self, asked: Asked) -> Result<Child> {
        let Asked { mut origin, id, reply, outside, terminal } = asked;
        if let Some(sandbox) = self.sandbox.filter(|_| origin.root.as_os_str().is_empty()) {
            origin.root = sandbox.root();
        }
        match socket::receive(reply.as_fd(), true)? {
            Some((Reply { kind: STARTED, value, .. }, mut fds)) if !fds.is_empty() => {
                let pidfd = fds.remove(0);
                self.ground.limits.started(value, &pidfd, &origin)?;
                Ok(Child::new(origin, id, value, pidfd, reply, outside, fds.pop().or(terminal)))
            }
            Some((Reply { kind: FAILED, value, stage }, _)) => Err(self.failed(value, stage)),
            _ => Err(self.why(Error::Ended { why: "its pid 1 is gone" })),
        }
    }

    fn failed(&self, errno: i32, stage: u32) -> Error {
        let source = io::Error::from_raw_os_error(errno);
        let (program, stage) = match stage {
            STAGE_DIRECTORY => (self.working_directory(), "enter"),
            STAGE_EXECUTE => (self.program.clone().into(), "execute"),
            STAGE_RIGHTS if errno == libc::E2BIG => return self.too_many_layers(),
            STAGE_RIGHTS => (self.program.clone().into(), "narrow the rights of"),
            STAGE_TERMINAL => (self.program.clone().into(), "make a terminal for"),
            _ => (self.program.clone().into(), "find room for"),
        };
        Error::Spawn { program, stage, source }
    }

    fn too_many_layers(&self) -> Error {
        let why = "it would be under more than the 16 Landlock layers that the kernel allows (landlock(7)); start the \
                   sandbox from a process that is under fewer, or leave this command the rights of the sandbox";
        Error::Plan { what: "rights of", path: self.program.clone().into(), why: why.into() }
    }

    fn working_directory(&self) -> PathBuf {
        let workspace = || self.ground.plan.workspace.clone();
        self.directory.clone().or_else(workspace).unwrap_or_else(|| PathBuf::from("/"))
    }

    /// The command as the resident program reads it: counts, then NUL-terminated strings.
    fn image(&self) -> Result<Vec<u8>> {
        let programs = self.candidates();
        let environment = self.variables();
        let count = |length: usize| {
            u32::try_from(length).map_err(|_| self.invalid("has more arguments than a command can have"))
        };
        let [processor, files, size] = self.rights.limits();
        let open_files = self.ground.plan.limits.open_files.unwrap_or(UNCHANGED);
        let header = Image {
            // Whatever a command starts has its limits.
            limits: [processor, files.min(open_files), size],
            programs: count(programs.len())?,
            arguments: count(self.arguments.len() + 1)?,
            variables: count(environment.len())?,
            umask: self.umask,
        };
        let mut image = Vec::with_capacity(4096);
        for limit in header.limits {
            image.extend(limit.to_ne_bytes());
        }
        for number in [header.programs, header.arguments, header.variables, header.umask] {
            image.extend(number.to_ne_bytes());
        }
        debug_assert_eq!(image.len(), size_of::<Image>());
        let directory = self.working_directory();
        let variables = environment.iter().map(|(name, value)| [name.as_os_str(), value].join(OsStr::new("=")));
        let strings = [directory.into_os_string()]
            .into_iter()
            .chain(programs)
            .chain([self.name.clone().unwrap_or_else(|| self.program.clone())]);
        for string in strings.chain(self.arguments.iter().cloned()).chain(variables) {
            if string.as_bytes().contains(&0) {
                return Err(self.invalid("has a NUL byte in its program, directory, arguments or environment"));
            }
            image.extend(string.as_bytes());
            image.push(0);
        }
        Ok(image)
    }

    fn invalid(&self, why: &str) -> Error {
        Error::Plan { what: "command", path: self.program.clone().into(), why: why.into() }
    }

    /// What `execvp(3)` would try, in its order.
    fn candidates(&self) -> Vec<OsString> {
        if self.program.is_empty() || self.program.as_bytes().contains(&b'/') {
            return vec![self.program.clone()];
        }
        let path = self.environment.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
        std::env::split_paths(path)
            .map(|directory| {
                let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
                directory.join(&self.program).into_os_string()
            })
            .collect()
    }
}
