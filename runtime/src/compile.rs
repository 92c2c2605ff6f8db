//! A plan becomes a prepared program: every path, option and argument is laid out here, in the order in which the child
//! will use it. May allocate and fail; the child may do neither.

use crate::{
    cell::PRIVATE,
    error::{Error, Result},
    landlocked, limits,
    plan::{Access, Kept, Mount, Plan, Replaced},
    probe, proc,
    program::{Arguments, Descriptor, Program, Root, Slot, Step},
    reserve, sandbox,
    sys::{
        self,
        call::Identity,
        seccomp::Calls,
        wire::{CONTROL, MASK_DIRECTORY, MASK_FILE, SECOND},
    },
    view,
};
use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::{getegid, geteuid},
};
use std::{
    collections::HashSet,
    ffi::{CStr, CString, OsStr},
    fs,
    os::{
        fd::RawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

const ROOT: Slot = 0;
const MASKS: Slot = 1;
const MOUNT: Slot = 2;
/// The directory whose entries are being mounted on.
const PLACE: Slot = 3;
/// The caller's umask, which is for its commands.
const UMASK: Slot = 4;
/// The host's root.
const HOST: Slot = 5;

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// What is shown in another's place.
const STANDING_IN: u64 = RDONLY | NOSUID | NODEV | NOEXEC;

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Descriptors that the program passes to the processes it starts.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    /// The resident program.
    pub(crate) resident: RawFd,
    /// Pid 1's socket.
    pub(crate) control: RawFd,
    /// The Landlock ruleset, unless it may be missing.
    pub(crate) ruleset: Option<RawFd>,
    /// With strict reads.
    pub(crate) opener: Option<OpenerEnds>,
}

/// What the opener needs.
#[derive(Clone, Copy)]
pub(crate) struct OpenerEnds {
    /// Its socket.
    pub(crate) socket: RawFd,
    /// The Landlock ruleset that keeps signals from it, where there is one.
    pub(crate) apart: Option<RawFd>,
}

/// The sandbox's control groups.
pub(crate) struct Entrance {
    /// That of version 2, in which pid 1 begins.
    pub(crate) group: Option<RawFd>,
    /// Files of version 1, into which it writes itself.
    pub(crate) doors: Vec<CString>,
}

impl Entrance {
    fn calls(&self) -> Calls {
        if self.group.is_some() { Calls::Grouped } else { Calls::Namespaced }
    }
}

/// The program that makes a cell in the sandbox whose pid 1 has the pidfd `first`: joins it, copies its mount view with new
/// private places, and becomes an init below its pid 1. `files` are the soft and the hard limit of its open files.
pub(crate) fn cell(plan: &Plan, first: RawFd, ends: &Ends, entrance: Entrance, files: (u64, u64)) -> Result<Program> {
    let (calls, group) = (entrance.calls(), entrance.group);
    let mut compiler = Compiler::new(Laid::default());
    compiler.steps.extend(enter_groups(entrance.doors));
    compiler.step(Step::SessionKeyring);
    compiler.step(Step::Join { first, namespaces: sandbox::NAMESPACES | libc::CLONE_NEWCGROUP });
    compiler.step(Step::OwnMounts(ROOT));
    for private in PRIVATE {
        compiler.scratch(plan, Path::new(private), "1777")?;
    }
    if let Some(ruleset) = ends.ruleset {
        compiler.landlock(plan, ruleset)?;
    }
    let mut init = Compiler::new(Laid::default());
    init.step(Step::NewSession);
    init.step(Step::Bounding { keep: 0 });
    let (soft, hard) = files;
    init.step(Step::Limit { resource: i64::from(libc::RLIMIT_NOFILE), soft, hard });
    init.confine(plan, ends, calls);
    compiler.step(given_away(Program::nested(init.steps)));
    let mut program = Program::new(compiler.steps, Vec::new());
    program.group = group;
    Ok(program)
}

/// How every sandbox begins, whatever its plan: identity, loopback, a new root with `/dev` and `/proc`.
pub(crate) fn opening() -> Result<(Vec<Step>, Laid)> {
    let mut compiler = Compiler::new(Laid::default());
    compiler.identity();
    compiler.steps.extend([Step::SessionKeyring, Step::LoopbackUp, Step::PrivateMounts, Step::ExactModes(UMASK)]);
    compiler.root()?;
    compiler.devices()?;
    compiler.processes()?;
    compiler.step(Step::Bounding { keep: 0 });
    Ok((compiler.steps, compiler.laid))
}

/// What follows the opening, which has laid out the beginning of the root: makes the sandbox of the plan and becomes its
/// pid 1.
pub(crate) fn compile(plan: &Plan, ends: &Ends, entrance: Entrance, laid: Laid) -> Result<Vec<Step>> {
    let calls = entrance.calls();
    let mut compiler = Compiler::new(laid);
    compiler.groups(&entrance.doors)?;
    compiler.step(Step::Hostname(text("host name", plan.hostname.as_ref())?));
    for directory in view::SCRATCH {
        compiler.scratch(plan, Path::new(directory), "1777")?;
    }
    compiler.settings(plan)?;
    for mount in &plan.view {
        compiler.mount(plan, mount, ends)?;
    }
    compiler.workspace(plan)?;
    // The caller has names to create meanwhile.
    compiler.step(Step::Hear { socket: ends.control });
    compiler.absent(plan)?;
    compiler.seal();
    if let Some(ruleset) = ends.ruleset {
        compiler.landlock(plan, ruleset)?;
    }
    compiler.enter(plan, ends, calls);
    Ok(compiler.steps)
}

/// What lies in the new root so far.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    /// Directories made there.
    made: HashSet<PathBuf>,
    /// Host directories in the view: what lies below them needs no making.
    bound: Vec<PathBuf>,
    /// The directory that is open in [`PLACE`].
    open: Option<PathBuf>,
}

struct Compiler {
    steps: Vec<Step>,
    laid: Laid,
}

impl Compiler {
    fn new(laid: Laid) -> Self {
        Self { steps: Vec::with_capacity(256), laid }
    }

    fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Before anything that can grow, so that whatever the sandbox uses counts; and before its groups become all it sees.
    fn groups(&mut self, doors: &[CString]) -> Result<()> {
        for door in doors {
            let path = below_root(Path::new(OsStr::from_bytes(door.to_bytes())))?;
            self.step(Step::Write { root: Root::Slot(HOST), path, text: c"0".into() });
        }
        self.step(Step::OwnGroups);
        Ok(())
    }

    /// The user keeps his ids: one mapping of himself, which needs no privilege (user_namespaces(7)).
    fn identity(&mut self) {
        let write = |path: &'static CStr, text: String| Step::Write {
            root: Root::Host,
            path: path.into(),
            text: CString::new(text).unwrap_or_default(),
        };
        let (user, group) = (geteuid(), getegid());
        self.step(write(c"/proc/self/setgroups", "deny".into()));
        self.step(write(c"/proc/self/uid_map", format!("{user} {user} 1\n")));
        self.step(write(c"/proc/self/gid_map", format!("{group} {group} 1\n")));
    }

    /// The new root: a file system of its own in which everything else is mounted. `/sys` stays empty: what a kernel shows
    /// there is the host's hardware, whatever the namespaces (sysfs(5)).
    fn root(&mut self) -> Result<()> {
        self.filesystem(c"tmpfs", &[(c"mode", "0755".into()), (c"size", "4m".into())], NOSUID | NODEV, ROOT);
        self.step(Step::EnterRoot { root: ROOT, host: HOST });
        for directory in ["/tmp", "/proc", "/sys", "/dev", "/run", "/home", "/var", "/var/tmp"] {
            self.directory(Path::new(directory))?;
        }
        Ok(())
    }

    fn filesystem(&mut self, kind: &'static CStr, options: &[(&'static CStr, String)], attributes: u64, to: Slot) {
        let options =
            options.iter().map(|(key, value)| (*key, CString::new(value.as_str()).unwrap_or_default())).collect();
        self.step(Step::Filesystem { kind, options, attributes, to });
    }

    /// A private file system in memory.
    fn scratch(&mut self, plan: &Plan, path: &Path, mode: &str) -> Result<()> {
        let size = plan.limits.tmp.map_or_else(|| "50%".into(), |bytes| bytes.to_string());
        let files = limits::scratch_files(&plan.limits).to_string();
        let options = [(c"mode", mode.into()), (c"size", size), (c"nr_inodes", files)];
        self.filesystem(c"tmpfs", &options, NOSUID | NODEV, MOUNT);
        self.attach(path)
    }

    fn attach(&mut self, path: &Path) -> Result<()> {
        let (at, target) = self.place(path)?;
        self.step(Step::Attach { mount: MOUNT, at, target });
        Ok(())
    }

    /// Opens the directory of `path`, on which something will be mounted, unless it is open.
    fn place(&mut self, path: &Path) -> Result<(Slot, CString)> {
        let target = below_root(path)?;
        // What is open there will lie below the mount.
        self.laid.open.take_if(|open| open.starts_with(path));
        let Some(directory) = path.parent().filter(|above| *above != Path::new("/")) else { return Ok((ROOT, target)) };
        if self.laid.open.as_deref() != Some(directory) {
            self.step(Step::Open { root: Root::Slot(ROOT), path: below_root(directory)?, to: PLACE });
            self.laid.open = Some(directory.to_owned());
        }
        Ok((PLACE, target))
    }

    /// Makes a directory in the new root, and those above it, unless a bound directory already brings them.
    fn directory(&mut self, path: &Path) -> Result<()> {
        let mut missing: Vec<&Path> = path
            .ancestors()
            .take_while(|above| *above != Path::new("/") && !self.laid.made.contains(*above))
            .filter(|above| !self.laid.bound.iter().any(|bound| above.starts_with(bound)))
            .collect();
        while let Some(directory) = missing.pop() {
            self.step(Step::Directory { root: ROOT, path: below_root(directory)?, mode: 0o755 });
            self.laid.made.insert(directory.to_owned());
        }
        Ok(())
    }

    /// A `/dev` with only what carries nothing between processes, its own terminals and its own shared memory.
    fn devices(&mut self) -> Result<()> {
        for device in view::DEVICES {
            let path = Path::new("/dev").join(device);
            self.step(Step::File { root: ROOT, path: below_root(&path)?, mode: 0o666 });
            self.step(Step::CloneMount {
                host: HOST,
                source: below_root(&path)?,
                recursive: false,
                expect: None,
                to: MOUNT,
            });
            // Read-only still lets a device be written, but not its mode changed: the inode is the host's.
            self.step(Step::Attributes { mount: MOUNT, set: RDONLY | NOSUID | NOEXEC, recursive: false });
            self.attach(&path)?;
        }
        for (path, target) in [
            (c"dev/fd", c"/proc/self/fd"),
            (c"dev/stdin", c"/proc/self/fd/0"),
            (c"dev/stdout", c"/proc/self/fd/1"),
            (c"dev/stderr", c"/proc/self/fd/2"),
            (c"dev/ptmx", c"pts/ptmx"),
        ] {
            self.step(Step::Link { root: ROOT, path: path.into(), target: target.into() });
        }
        self.directory(Path::new("/dev/pts"))?;
        self.directory(Path::new("/dev/shm"))?;
        let own = [(c"newinstance", String::new()), (c"ptmxmode", "0666".into()), (c"mode", "620".into())];
        self.filesystem(c"devpts", &own, NOSUID | NOEXEC, MOUNT);
        self.attach(Path::new("/dev/pts"))
    }

    /// Its own `/proc`, whose knobs nobody inside can turn once the [`settings`](Self::settings) are made.
    fn processes(&mut self) -> Result<()> {
        self.filesystem(c"proc", &[], NOSUID | NODEV | NOEXEC, MOUNT);
        self.attach(Path::new("/proc"))?;
        self.masks()?;
        for directory in view::PROC_READ_ONLY.into_iter().filter(|directory| Path::new("/").join(directory).is_dir()) {
            self.knobs(directory)?;
        }
        for file in view::PROC_MASKED.into_iter().filter(|file| Path::new("/").join(file).exists()) {
            let (at, target) = self.place(&Path::new("/").join(file))?;
            self.step(Step::Mask { at, cover: view::COVER_FILE, target, fleeting: false });
        }
        Ok(())
    }

    /// What of `/proc/sys` the plan decides; then that is read-only too.
    fn settings(&mut self, plan: &Plan) -> Result<()> {
        let mut set = |path: &'static CStr, value: u64| {
            let text = CString::new(value.to_string()).unwrap_or_default();
            self.step(Step::Write { root: Root::Slot(ROOT), path: path.into(), text });
        };
        if let Some(pids) = plan.limits.pids.filter(|_| probe::namespace_bounds_processes()) {
            // Bounds the whole namespace, root's processes included.
            set(c"proc/sys/kernel/pid_max", pids.max(limits::LEAST_PID_MAX));
        }
        for (most, own) in SHARED {
            // What a user namespace takes counts for its owner's as well (namespaces(7), inotify(7)).
            if let Some(most) = proc::number(most) {
                set(own, most / 2);
            }
        }
        // The kernel's own wall against a user namespace, whatever call asks for it.
        set(c"proc/sys/user/max_user_namespaces", 0);
        self.knobs("proc/sys")
    }

    /// Makes a directory of `/proc` read-only.
    fn knobs(&mut self, directory: &str) -> Result<()> {
        let (at, target) = self.place(&Path::new("/").join(directory))?;
        self.step(Step::Pin { at, target, set: RDONLY | NOSUID | NODEV | NOEXEC, recursive: false });
        Ok(())
    }

    /// A tree with an unreadable file and an unreadable directory, copies of which cover what nobody may read.
    fn masks(&mut self) -> Result<()> {
        let attributes = NOSUID | NODEV | NOEXEC;
        self.filesystem(c"tmpfs", &[(c"mode", "0700".into()), (c"size", "64k".into())], attributes, MASKS);
        self.step(Step::File { root: MASKS, path: MASK_FILE.into(), mode: 0 });
        self.step(Step::Directory { root: MASKS, path: MASK_DIRECTORY.into(), mode: 0 });
        self.step(Step::Attributes { mount: MASKS, set: RDONLY | attributes, recursive: false });
        let (at, target) = self.place(&Path::new("/").join(OsStr::from_bytes(view::MASKS.to_bytes())))?;
        self.step(Step::Attach { mount: MASKS, at, target });
        Ok(())
    }

    fn mount(&mut self, plan: &Plan, mount: &Mount, ends: &Ends) -> Result<()> {
        match mount {
            Mount::Link { path, target } => {
                self.parents(path)?;
                let target = text("link", target.as_os_str())?;
                self.step(Step::Link { root: ROOT, path: below_root(path)?, target });
            }
            Mount::File { path, text: content } => {
                self.parents(path)?;
                let (path, text) = (below_root(path)?, text("file", OsStr::new(content))?);
                self.step(Step::File { root: ROOT, path: path.clone(), mode: 0o644 });
                self.step(Step::Write { root: Root::Slot(ROOT), path, text });
            }
            Mount::Private { path, access } => {
                self.directory(path)?;
                if *access == Access::ReadWrite {
                    self.scratch(plan, path, "0700")?;
                }
            }
            Mount::Bind { path, .. } if plan.strangers && path == Path::new(view::SETTINGS) => {
                self.directory(path)?;
                self.step(Step::Receive { socket: ends.control, path: below_root(path)?, to: MOUNT });
                self.attach(path)?;
                self.laid.bound.push(path.to_owned());
            }
            Mount::Bind { path, access } => self.bind(path, *access)?,
        }
        Ok(())
    }

    fn parents(&mut self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |parent| self.directory(parent))
    }

    fn bind(&mut self, path: &Path, access: Access) -> Result<()> {
        if self.take(path, true)?.is_dir() {
            self.directory(path)?;
        } else {
            self.parents(path)?;
            if !self.laid.bound.iter().any(|bound| path.starts_with(bound)) {
                self.step(Step::File { root: ROOT, path: below_root(path)?, mode: 0o644 });
            }
        }
        let set = NOSUID | NODEV | if access == Access::ReadOnly { RDONLY } else { 0 };
        self.step(Step::Attributes { mount: MOUNT, set, recursive: true });
        self.attach(path)?;
        self.laid.bound.push(path.to_owned());
        Ok(())
    }

    /// A copy of what the host has at `path`, to be attached.
    fn take(&mut self, path: &Path, recursive: bool) -> Result<fs::Metadata> {
        let found = fs::metadata(path).map_err(|error| Error::Plan {
            what: "visible path",
            path: path.to_owned(),
            why: format!("{error}; it was there when the plan was made"),
        })?;
        let expect = Some(Identity { device: found.dev(), inode: found.ino() });
        self.step(Step::CloneMount { host: HOST, source: below_root(path)?, recursive, expect, to: MOUNT });
        Ok(found)
    }

    /// Pins, then protected names, then masks: a mask on something protected must end up on top.
    fn workspace(&mut self, plan: &Plan) -> Result<()> {
        for pin in &plan.pins {
            self.pin(pin, 0, true)?;
        }
        for kept in &plan.kept {
            match kept {
                Kept::Existing { path } => self.pin(path, RDONLY, true)?,
                Kept::Symlink { path } => self.pin_link(path)?,
                Kept::Absent { .. } => {}
            }
        }
        for path in &plan.exec_deny {
            self.pin(path, NOEXEC, true)?;
        }
        for mask in plan.masks.iter().filter(|mask| plan.shows(&mask.path)) {
            self.mask(&mask.path, if mask.directory { view::COVER_DIRECTORY } else { view::COVER_FILE }, false)?;
        }
        for path in &plan.channels {
            self.mask(path, view::COVER_FILE, true)?;
        }
        for Replaced { path, by } in plan.replaced.iter().filter(|replaced| plan.shows(&replaced.path)) {
            self.take(by, false)?;
            self.step(Step::Attributes { mount: MOUNT, set: STANDING_IN, recursive: false });
            self.attach(path)?;
        }
        Ok(())
    }

    /// What was created to hold protected names that do not exist. Below a mask nobody inside can make them.
    fn absent(&mut self, plan: &Plan) -> Result<()> {
        let masked = |path: &Path| plan.masks.iter().any(|mask| mask.directory && path.starts_with(&mask.path));
        for (path, content) in plan.absent().filter(|(path, _)| !masked(path)) {
            match path.file_name() {
                Some(name) if reserve::is_held_by_link(name.as_bytes(), content) => self.pin_link(path)?,
                _ => self.pin(path, RDONLY, false)?,
            }
        }
        Ok(())
    }

    fn mask(&mut self, path: &Path, cover: &'static CStr, fleeting: bool) -> Result<()> {
        let (at, target) = self.place(path)?;
        self.step(Step::Mask { at, cover, target, fleeting });
        Ok(())
    }

    fn pin(&mut self, path: &Path, set: u64, recursive: bool) -> Result<()> {
        let (at, target) = self.place(path)?;
        self.step(Step::Pin { at, target, set, recursive });
        Ok(())
    }

    fn pin_link(&mut self, path: &Path) -> Result<()> {
        let (at, target) = self.place(path)?;
        self.step(Step::PinLink { at, target });
        Ok(())
    }

    /// Nothing is created in the root any more, nor in `/dev`, which is a directory of it.
    fn seal(&mut self) {
        self.step(Step::Attributes { mount: ROOT, set: RDONLY | NOSUID | NODEV, recursive: false });
    }

    /// Rules for what exists only inside; those for host files stand in the ruleset already.
    fn landlock(&mut self, plan: &Plan, ruleset: RawFd) -> Result<()> {
        for (path, access) in landlocked::inside(plan, sys::landlock::abi()) {
            self.step(Step::LandlockAllow { ruleset, root: ROOT, path: below_root(&path)?, access });
        }
        Ok(())
    }

    /// Leaves the host's view and becomes pid 1.
    fn enter(&mut self, plan: &Plan, ends: &Ends, calls: Calls) {
        self.step(Step::Umask(UMASK));
        self.step(Step::LeaveHost(ROOT));
        self.step(Step::Hear { socket: ends.control });
        self.confine(plan, ends, calls);
    }

    /// Gives everything up and becomes an init.
    fn confine(&mut self, plan: &Plan, ends: &Ends, calls: Calls) {
        self.step(Step::NullStandard);
        let resident = Descriptor::Known(ends.resident);
        self.step(Step::NoNewPrivileges);
        self.step(Step::Capabilities(0));
        if let Some(ruleset) = ends.ruleset {
            self.step(Step::LandlockRestrict { ruleset });
        }
        if let Some(OpenerEnds { socket, apart }) = ends.opener {
            // Under the same walls as the commands, and its files do not count against their limits.
            self.step(Step::Spawn(opener(resident, socket, calls)));
            if let Some(ruleset) = apart {
                self.step(Step::LandlockRestrict { ruleset });
            }
        }
        self.limits(plan);
        self.step(Step::Descriptor { from: Descriptor::Known(ends.control), to: CONTROL });
        self.step(Step::CloseFrom(CONTROL + 1));
        if plan.limits.disk.is_some() {
            self.step(Step::NoPreallocation);
        }
        self.step(Step::Seccomp(calls));
        self.step(Step::Execute { program: resident, arguments: Arguments::new(vec![c"init".into()]) });
    }

    fn limits(&mut self, plan: &Plan) {
        self.steps.extend(bounds(plan));
    }
}

/// Starts a program inside a pid namespace that was joined, as a child of its pid 1. Joining counts for children only (setns(2)),
/// and a child that was started from outside becomes, when its parent has ended, a child of whoever collects orphans
/// outside; the end of the sandbox would wait until that one looks. The child's child becomes pid 1's.
fn given_away(program: Box<Program>) -> Step {
    Step::Through(Program::nested(vec![Step::Spawn(program)]))
}

/// The program that puts a warden into the running sandbox whose pid 1 has the pidfd `first`.
pub(crate) fn warden(resident: RawFd, first: RawFd, socket: RawFd) -> Program {
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    let steps = vec![
        Step::Join { first, namespaces },
        // Joining a mount namespace enters its root (setns(2)).
        Step::Open { root: Root::Host, path: view::MASKS.into(), to: MASKS },
        given_away(covering(Descriptor::Known(resident), socket)),
    ];
    Program::new(steps, Vec::new())
}

/// The program that leaves a detached mount of the host's directory `path` in a socket, to be shown in another's place. It needs
/// user and mount namespaces of its own, which end with it; the mount does not.
pub(crate) fn stand_in(path: &Path, socket: RawFd) -> Result<Program> {
    let source = text("path", path.as_os_str())?;
    let steps = vec![
        Step::CloneMount { host: HOST, source, recursive: false, expect: None, to: MOUNT },
        Step::Attributes { mount: MOUNT, set: STANDING_IN, recursive: false },
        Step::Send { socket, mount: MOUNT },
    ];
    let mut program = Program::new(steps, Vec::new());
    // Never looked at for a path that is absolute (openat(2)).
    program.slots[HOST] = libc::AT_FDCWD;
    Ok(program)
}

/// How many processes more than the plan's limit RLIMIT_NPROC lets be: the warden counts for the user in the namespace and not
/// in the control group, and where there is a group, it is the one that says that the limit was reached.
pub(crate) const SPARE: u64 = 4;

/// The largest core dump, in bytes.
pub(crate) const NO_CORE: u64 = 1;

/// The resource limits of a plan, by the kernel's numbers. Pid 1 needs its descriptors: that bound is in the image of each command.
pub(crate) fn bounds(plan: &Plan) -> impl Iterator<Item = Step> {
    let limits = &plan.limits;
    // The signal at the soft limit says which limit it was; the hard one ends who does not listen.
    let seconds = limits.cpu_time.map(|time| time.as_secs().max(1));
    let signals = getrlimit(Resource::RLIMIT_SIGPENDING);
    let bounds = [
        // Nothing fits into one byte; and only this value also keeps the kernel from starting the host's handler of core dumps,
        // as root and with names chosen inside, where `core_pattern` names one: 0 does not (core(5)).
        (i64::from(libc::RLIMIT_CORE), Some(NO_CORE), 0),
        (i64::from(libc::RLIMIT_NPROC), limits.pids.map(|pids| pids.saturating_add(SPARE)), 0),
        (i64::from(libc::RLIMIT_CPU), seconds, 1),
        (i64::from(libc::RLIMIT_FSIZE), limits.disk, 0),
        // All processes of the user have one number of signals and timers together, and others need some too (getrlimit(2)).
        (i64::from(libc::RLIMIT_SIGPENDING), signals.ok().map(|(most, _)| most / 2), 0),
    ];
    let step = |(resource, value, grace): (i64, Option<u64>, u64)| {
        value.map(|soft| Step::Limit { resource, soft, hard: soft.saturating_add(grace) })
    };
    bounds.into_iter().filter_map(step)
}

/// What all programs of a user share, and the bound on a namespace's part of it: others have to watch files as well, a second
/// sandbox among them.
const SHARED: [(&str, &CStr); 2] = [
    ("/proc/sys/fs/inotify/max_user_instances", c"proc/sys/user/max_inotify_instances"),
    ("/proc/sys/fs/inotify/max_user_watches", c"proc/sys/user/max_inotify_watches"),
];

/// Writes the process into its control groups of version 1.
pub(crate) fn enter_groups(doors: Vec<CString>) -> impl Iterator<Item = Step> {
    doors.into_iter().map(|path| Step::Write { root: Root::Host, path, text: c"0".into() })
}

/// The warden keeps the one capability that mounting needs, in the sandbox's own user namespace.
fn covering(resident: Descriptor, socket: RawFd) -> Box<Program> {
    let steps = vec![
        Step::NewSession,
        Step::NullStandard,
        Step::Lift(MASKS),
        Step::Descriptor { from: Descriptor::Known(socket), to: CONTROL },
        Step::Descriptor { from: Descriptor::Slot(MASKS), to: SECOND },
        Step::CloseFrom(SECOND + 1),
        Step::NoNewPrivileges,
        Step::Bounding { keep: CAP_SYS_ADMIN },
        Step::Capabilities(CAP_SYS_ADMIN),
        Step::Execute { program: resident, arguments: Arguments::new(vec![c"warden".into()]) },
    ];
    Program::nested(steps)
}

/// The opener has no rights of its own; only the traps, which pid 1 installs later, do not hold it.
fn opener(resident: Descriptor, socket: RawFd, calls: Calls) -> Box<Program> {
    let steps = vec![
        Step::NewSession,
        Step::Descriptor { from: Descriptor::Known(socket), to: CONTROL },
        Step::CloseFrom(CONTROL + 1),
        Step::Seccomp(calls),
        Step::Execute { program: resident, arguments: Arguments::new(vec![c"opener".into()]) },
    ];
    Program::nested(steps)
}

/// A path as the child wants it: relative to the new root.
fn below_root(path: &Path) -> Result<CString> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative == Path::new("") { Path::new(".") } else { relative };
    text("path", relative.as_os_str())
}

fn text(what: &'static str, value: &OsStr) -> Result<CString> {
    CString::new(value.as_bytes()).map_err(|_| Error::Plan {
        what,
        path: PathBuf::from(value),
        why: "holds a NUL byte".into(),
    })
}
