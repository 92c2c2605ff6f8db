//! Modes, times and owners of files, which Landlock leaves to every owner of a file (landlock(7)): the calls that change them are
//! held (seccomp_unotify(2)) and carried out here, on what the rules let the caller write and on nothing else. Nothing is
//! left to the kernel after the look, so no other thread can put another file in its place.

use super::grants::Grants;
use crate::{
    notify::{Handler, Listener, Target, View, path_of},
    sys::notify::Held,
};
use landlock::AccessFs;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat},
    sys::{
        stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstat, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat, getegid, geteuid},
};
use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

const LONGEST: usize = 4095;
const FCHMODAT2: i64 = 452;

/// Answers the calls of one sandbox.
pub(crate) struct Modes {
    view: View,
    /// Where files can be written, sorted.
    writable: Vec<PathBuf>,
}

/// What is asked, once its arguments are read.
enum Change {
    Mode(Mode),
    Times(TimeSpec, TimeSpec),
    Owner(Option<Uid>, Option<Gid>),
}

/// How the caller names the file.
struct Name {
    /// An open directory, or the file itself when there is no path.
    directory: i32,
    path: Option<PathBuf>,
    follow: bool,
}

impl Modes {
    pub(super) fn new(grants: &Grants, own: &Path) -> io::Result<Self> {
        let written = grants.rules.iter().filter(|(_, rights)| rights.contains(AccessFs::WriteFile));
        let mut writable: Vec<PathBuf> = written.map(|(path, _)| path.clone()).chain([own.to_owned()]).collect();
        writable.sort();
        Ok(Self { view: View::of(std::process::id().cast_signed())?, writable })
    }

    fn carry_out(&self, listener: &Listener, call: &Held) -> Result<(), Errno> {
        let target = Target::of(call);
        let (name, change) = read(target, call)?;
        let place = match &name.path {
            Some(path) => self.view.find(target, name.directory, path, name.follow)?,
            None => named_by(call.thread, name.directory)?,
        };
        // What was read was the caller's only if it still waits.
        if !listener.is_valid(call) {
            return Err(Errno::ESRCH);
        }
        self.permitted(&place)?;
        let place = format!("/proc/self/fd/{}", place.as_raw_fd());
        match change {
            Change::Mode(mode) => fchmodat(AT_FDCWD, place.as_str(), mode, FchmodatFlags::FollowSymlink),
            Change::Times(access, modification) => {
                utimensat(AT_FDCWD, place.as_str(), &access, &modification, UtimensatFlags::FollowSymlink)
            }
            Change::Owner(user, group) => {
                // We may be root; what runs inside has no right to give files away.
                let own = user.is_none_or(|user| user == geteuid()) && group.is_none_or(|group| group == getegid());
                if own { fchownat(AT_FDCWD, place.as_str(), user, group, AtFlags::empty()) } else { Err(Errno::EPERM) }
            }
        }
    }

    /// A file, directory or link of one's own that may be written.
    fn permitted(&self, place: &OwnedFd) -> Result<(), Errno> {
        let found = fstat(place)?;
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        let plain = matches!(kind, SFlag::S_IFREG | SFlag::S_IFDIR | SFlag::S_IFLNK);
        let path = path_of(place.as_fd())?;
        let writable =
            path.ancestors().any(|above| self.writable.binary_search_by(|own| own.as_path().cmp(above)).is_ok());
        if plain && writable && found.st_uid == geteuid().as_raw() { Ok(()) } else { Err(Errno::EPERM) }
    }
}

impl Handler for Modes {
    fn takes(&self, _: &Held) -> bool {
        true
    }

    fn answer(&mut self, listener: &Arc<Listener>, call: &Held) {
        match self.carry_out(listener, call) {
            Ok(()) => listener.done(call),
            Err(errno) => listener.refuse(call, errno as i32),
        }
    }
}

/// The file behind an open descriptor of the caller.
fn named_by(thread: i32, fd: i32) -> Result<OwnedFd, Errno> {
    let link = format!("/proc/{thread}/fd/{fd}");
    let place = openat(AT_FDCWD, link.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    place.map_err(|errno| if errno == Errno::ENOENT { Errno::EBADF } else { errno })
}

/// What the call asks (chmod(2), utimensat(2), utime(2)).
fn read(target: Target, call: &Held) -> Result<(Name, Change), Errno> {
    let [first, second, third, fourth, fifth, _] = call.arguments;
    let mode = |bits: u64| Change::Mode(Mode::from_bits_truncate(bits as u32));
    let at = |directory: u64, path: u64, flags: u64| name(target, directory as i32, path, flags);
    match call.number {
        libc::SYS_fchmod => Ok((Name { directory: first as i32, path: None, follow: true }, mode(second))),
        libc::SYS_fchown => Ok((Name { directory: first as i32, path: None, follow: true }, owner(second, third))),
        libc::SYS_fchownat => Ok((at(first, second, fifth)?, owner(third, fourth))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => Ok((at(HERE, first, 0)?, owner(second, third))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => Ok((at(HERE, first, NO_FOLLOW)?, owner(second, third))),
        libc::SYS_fchmodat => Ok((at(first, second, 0)?, mode(third))),
        FCHMODAT2 => Ok((at(first, second, fourth)?, mode(third))),
        libc::SYS_utimensat => Ok((at(first, second, fourth)?, times(target, third)?)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod => Ok((at(HERE, first, 0)?, mode(second))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utime => Ok((at(HERE, first, 0)?, seconds(target, second)?)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utimes => Ok((at(HERE, first, 0)?, microseconds(target, second)?)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_futimesat => Ok((at(first, second, 0)?, microseconds(target, third)?)),
        _ => Err(Errno::ENOSYS),
    }
}

const HERE: u64 = libc::AT_FDCWD as i64 as u64;
#[cfg(target_arch = "x86_64")]
const NO_FOLLOW: u64 = libc::AT_SYMLINK_NOFOLLOW as u64;

fn owner(user: u64, group: u64) -> Change {
    let asked = |id: u64| (id as u32 != u32::MAX).then_some(id as u32);
    Change::Owner(asked(user).map(Uid::from_raw), asked(group).map(Gid::from_raw))
}

fn name(target: Target, directory: i32, path: u64, flags: u64) -> Result<Name, Errno> {
    let flags = AtFlags::from_bits_truncate(flags as i32);
    let follow = !flags.contains(AtFlags::AT_SYMLINK_NOFOLLOW);
    let text = if path == 0 { Vec::new() } else { target.read_string(path, LONGEST).map_err(Errno::from_raw)? };
    let itself = path == 0 || (text.is_empty() && flags.contains(AtFlags::AT_EMPTY_PATH));
    let path = (!itself).then(|| PathBuf::from(OsStr::from_bytes(&text)));
    Ok(Name { directory, path, follow })
}

/// Two pairs of numbers out of the caller's memory; now, twice, when there are none.
fn pairs(target: Target, address: u64, count: usize) -> Result<Option<Vec<i64>>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; count * size_of::<i64>()];
    if target.read(address, &mut bytes).map_err(Errno::from_raw)? < bytes.len() {
        return Err(Errno::EFAULT);
    }
    let number = |chunk: &[u8]| chunk.try_into().map(i64::from_ne_bytes).unwrap_or_default();
    Ok(Some(bytes.chunks_exact(size_of::<i64>()).map(number).collect()))
}

fn times(target: Target, address: u64) -> Result<Change, Errno> {
    Ok(match pairs(target, address, 4)?.as_deref() {
        Some([a, b, c, d]) => Change::Times(TimeSpec::new(*a, *b), TimeSpec::new(*c, *d)),
        _ => Change::Times(TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW),
    })
}

#[cfg(target_arch = "x86_64")]
fn microseconds(target: Target, address: u64) -> Result<Change, Errno> {
    let at = |seconds: i64, micros: i64| match micros {
        0..1_000_000 => Ok(TimeSpec::new(seconds, micros * 1000)),
        _ => Err(Errno::EINVAL),
    };
    Ok(match pairs(target, address, 4)?.as_deref() {
        Some([a, b, c, d]) => Change::Times(at(*a, *b)?, at(*c, *d)?),
        _ => Change::Times(TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW),
    })
}

#[cfg(target_arch = "x86_64")]
fn seconds(target: Target, address: u64) -> Result<Change, Errno> {
    Ok(match pairs(target, address, 2)?.as_deref() {
        Some([access, modification]) => Change::Times(TimeSpec::new(*access, 0), TimeSpec::new(*modification, 0)),
        _ => Change::Times(TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW),
    })
}
