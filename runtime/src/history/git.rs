//! Git, asked about databases of objects and about nothing else. It runs in a sandbox that shows nothing but them, in an empty
//! repository of our own: no configuration, hook or reference of the repository in question is read, and whatever a database says
//! leads nowhere else.

use super::{
    object::{Format, ObjectName},
    store::Store,
};
use crate::{
    Child, Protection, Sandbox, Stdio,
    error::{Error, Result},
    executable,
    plan::Limits,
    survey,
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    str,
    time::Duration,
};

/// Where a git is that nobody inside could have put there.
const PLACES: [&str; 3] = ["/usr/bin/git", "/usr/local/bin/git", "/bin/git"];
/// Bytes of its complaints.
const MOST_COMPLAINTS: u64 = 64 << 10;
/// No tree is larger, and nothing else is read.
const LARGEST: u64 = 256 << 20;
/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Tag,
    Blob,
}

/// An object of a store or of one that it borrows from.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: ObjectName,
    pub(super) kind: Kind,
    /// Bytes.
    pub(super) size: u64,
}

/// A sandbox for git, and where it may write.
pub(super) struct Bench {
    sandbox: Sandbox,
    place: PathBuf,
}

/// Git for one store.
pub(super) struct Git<'a> {
    bench: &'a Bench,
    store: &'a Store,
    format: Format,
    repository: PathBuf,
}

impl Bench {
    /// One that sees `shown`. `place` is emptied.
    pub(super) fn new(shown: &[PathBuf], allow_missing: &BTreeSet<Protection>, place: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&place),
        }
        .map_err(Error::io("make room to look through the history of git"))?;
        let mut builder = Sandbox::builder();
        builder.system().read_write(&place).limits(Limits { wall_time: Some(PATIENCE), ..Limits::default() });
        for path in shown {
            builder.read_only(path);
        }
        for protection in allow_missing {
            builder.allow_missing(*protection);
        }
        Ok(Self { sandbox: builder.start()?, place })
    }

    /// Where git may write.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        fs::remove_dir_all(&self.place).unwrap_or_default();
    }
}

impl<'a> Git<'a> {
    /// That of a store: in an empty repository that borrows all its objects. There is one such at a time.
    pub(super) fn new(bench: &'a Bench, store: &'a Store, format: Format) -> Result<Self> {
        let config = match format {
            Format::Sha1 => "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
            Format::Sha256 => {
                "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
            }
        };
        let borrowed = store.path.as_os_str().as_bytes();
        if borrowed.contains(&b'\n') {
            return Err(store.fault("its path has the end of a line in it".into()));
        }
        let repository = bench.place.join("repository");
        let made = ["objects/info", "refs"].into_iter().try_for_each(|name| fs::create_dir_all(repository.join(name)));
        made.and_then(|()| fs::write(repository.join("HEAD"), "ref: refs/heads/none\n"))
            .and_then(|()| fs::write(repository.join("config"), config))
            .and_then(|()| fs::write(repository.join("objects/info/alternates"), borrowed))
            .map_err(Error::io("prepare a repository to look through the history of git"))?;
        Ok(Self { bench, store, format, repository })
    }

    /// Everything that is there, or what of `names` is. What only looks like an object is none.
    pub(super) fn objects(&self, names: Option<&[ObjectName]>) -> Result<Vec<Object>> {
        let format = "--batch-check=%(objectname) %(objecttype) %(objectsize)";
        let mut objects = Vec::new();
        let each = |line: &[u8]| objects.extend(object(line));
        match names {
            Some(names) => self.ask(&["cat-file", "--buffer", format], list(names.iter())?, each)?,
            None => self.ask(&["cat-file", "--batch-all-objects", "--unordered", format], Stdio::null(), each)?,
        }
        Ok(objects)
    }

    /// Reads objects that are not blobs, in this order. False when one of them is not there.
    pub(super) fn read(&self, names: &[ObjectName], mut each: impl FnMut(ObjectName, &[u8])) -> Result<bool> {
        let mut running = self.start(&["cat-file", "--batch", "--buffer"], list(names.iter())?)?;
        let from = running.child.stdout.take();
        let read = from.map_or(Ok(true), |from| each_object(BufReader::with_capacity(1 << 16, from), &mut each));
        let end = self.end(running, "cat-file");
        let all = read.map_err(|error| self.store.fault(format!("`git cat-file` answers nonsense: {error}")))?;
        end.map(|()| all)
    }

    /// The objects of the pack with this index.
    pub(super) fn packed(&self, index: &Path) -> Result<Vec<ObjectName>> {
        let opened =
            survey::open_plain(index).map_err(|error| self.store.fault(format!("{}: {error}", index.display())))?;
        let Some(index) = opened else { return Err(self.store.fault(format!("{} is no file", index.display()))) };
        let arguments: &[&str] = match self.format {
            Format::Sha1 => &["show-index"],
            Format::Sha256 => &["show-index", "--object-format=sha256"],
        };
        let mut names = Vec::new();
        let name = |line: &[u8]| ObjectName::parse(line.split(|byte| *byte == b' ').nth(1)?);
        self.ask(arguments, index.into(), |line| names.extend(name(line)))?;
        Ok(names)
    }

    /// Writes a pack of these objects, and of no others, into `directory`.
    pub(super) fn pack<'n>(&self, names: impl Iterator<Item = &'n ObjectName>, directory: &Path) -> Result<()> {
        let base = directory.join("pack");
        let arguments = ["pack-objects", "--quiet", "--delta-base-offset", "--window=0"].map(str::as_ref);
        let arguments: Vec<_> = arguments.into_iter().chain([base.as_os_str()]).collect();
        self.ask(&arguments, list(names)?, |_| ())
    }

    /// The names that contents have as blobs.
    pub(super) fn hash(&self, contents: impl Iterator<Item = Vec<u8>>) -> Result<Vec<ObjectName>> {
        let mut names = Vec::new();
        for content in contents {
            self.ask(&["hash-object", "--stdin"], input(&content)?, |line| names.extend(ObjectName::parse(line)))?;
        }
        Ok(names)
    }

    fn start(&self, arguments: &[impl AsRef<OsStr>], input: Stdio) -> Result<Running> {
        let program = PLACES.into_iter().find(|place| Path::new(place).is_file());
        let program = program.ok_or_else(|| self.store.fault("git is needed to look through it; install it".into()))?;
        let mut command = self.bench.sandbox.command(program);
        command.args(arguments).env_clear().current_dir(&self.repository);
        command.env("PATH", "/usr/bin:/bin").env("HOME", &self.repository).env("LC_ALL", "C");
        command.env("GIT_DIR", &self.repository);
        command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_NO_LAZY_FETCH", "1")]);
        // Not a pipe: nobody reads it while we read the answer.
        let complaints = File::from(executable::memory_file(b"")?);
        let copy = complaints.try_clone().map_err(Error::io("copy a descriptor"))?;
        let child = command.stdin(input).stdout(Stdio::piped()).stderr(copy).spawn()?;
        Ok(Running { child, complaints })
    }

    /// Takes an answer line by line.
    fn ask(&self, arguments: &[impl AsRef<OsStr>], input: Stdio, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut running = self.start(arguments, input)?;
        let from = running.child.stdout.take().into_iter();
        let mut lines = from.flat_map(|from| BufReader::with_capacity(1 << 16, from).split(b'\n'));
        let read = lines.try_for_each(|line| line.map(|line| each(&line)));
        let what = arguments.first().map(|word| word.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        self.end(running, &what)?;
        read.map_err(Error::io("hear from git"))
    }

    /// Collects it, and gives its last words when it has failed.
    fn end(&self, running: Running, what: &str) -> Result<()> {
        let Running { mut child, mut complaints } = running;
        if child.wait()?.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        let read = complaints.rewind().and_then(|()| complaints.take(MOST_COMPLAINTS).read_to_end(&mut said));
        read.map_err(Error::io("read what git complains about"))?;
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().next_back().unwrap_or("nothing was said").escape_debug();
        Err(self.store.fault(format!("`git {what}` failed: {last} (`git fsck` says more)")))
    }
}

/// A git that works, and where it complains.
struct Running {
    child: Child,
    complaints: File,
}

/// Names, one in a line, as the input of a command.
fn list<'n>(names: impl Iterator<Item = &'n ObjectName>) -> Result<Stdio> {
    let text: String = names.map(|name| format!("{name}\n")).collect();
    input(text.as_bytes())
}

fn input(text: &[u8]) -> Result<Stdio> {
    let mut file = File::from(executable::memory_file(text)?);
    file.rewind().map_err(Error::io("fill a memory file"))?;
    Ok(file.into())
}

/// A line of `git cat-file --batch-check`.
fn object(line: &[u8]) -> Option<Object> {
    let mut words = line.split(|byte| *byte == b' ');
    let name = ObjectName::parse(words.next()?)?;
    let kind = match words.next()? {
        b"commit" => Kind::Commit,
        b"tree" => Kind::Tree,
        b"tag" => Kind::Tag,
        b"blob" => Kind::Blob,
        _ => return None,
    };
    let size = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some(Object { name, kind, size })
}

/// Takes the answer of `git cat-file --batch` apart (git-cat-file(1)). False when something was missing.
fn each_object(mut from: BufReader<File>, each: &mut impl FnMut(ObjectName, &[u8])) -> io::Result<bool> {
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    let (mut head, mut content, mut all) = (Vec::new(), Vec::new(), true);
    loop {
        head.clear();
        if from.read_until(b'\n', &mut head)? == 0 {
            return Ok(all);
        }
        let mut words = head.trim_ascii_end().split(|byte| *byte == b' ');
        let name = words.next().and_then(ObjectName::parse).ok_or_else(nonsense)?;
        let Some(size) = words.nth(1) else {
            all = false;
            continue;
        };
        let size: u64 = str::from_utf8(size).ok().and_then(|size| size.parse().ok()).ok_or_else(nonsense)?;
        if size > LARGEST {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        content.clear();
        (&mut from).take(size + 1).read_to_end(&mut content)?;
        content.pop().filter(|_| content.len() as u64 == size).ok_or_else(nonsense)?;
        each(name, &content);
    }
}
