//! Ways to reach something that listens outside: over IP, over sockets with a path or an abstract name, through a FIFO. Each
//! is shown to arrive without a sandbox, and not to arrive from inside one. What listens is what tells.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::fs::OpenOptions;
use std::io::Read;
use std::iter;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use arena::{Arena, Host};
use holdpoint_runtime::{Access, Sandbox};

/// Python that tries one way after the other; each line is a socket and what to do with it.
const HELPERS: &str = "import os, socket, sys\n\
    def tried(attack):\n    try: attack()\n    except OSError as error: print('refused', error)\n\
    def connected(family, address, kind=socket.SOCK_STREAM, protocol=0):\n    \
        with socket.socket(family, kind, protocol) as s:\n        s.settimeout(3); s.connect(address); s.send(b'HIT')\n";

/// Runs Python lines bare and in a sandbox, in two arenas that `listen` prepares; `hit` asks what listens.
#[track_caller]
fn reaches_nothing<L>(lines: &str, listen: impl Fn(&Arena) -> (L, String), hit: impl Fn(&L) -> bool) {
    for host in iter::once(None).chain(Host::possible().iter().copied().map(Some)) {
        let arena = Arena::new();
        let (listening, arguments) = listen(&arena);
        arena::write(&arena.path("attack.py"), &format!("{HELPERS}{lines}"));
        let script = format!("/usr/bin/python3 attack.py {arguments}");
        let output = match host {
            Some(host) => arena.inside(&arena.start_on(host), &script),
            None => arena.bare(&script),
        };
        assert_eq!(hit(&listening), host.is_none(), "sandboxed: {host:?}, {lines}\n{output}");
    }
}

/// Whether something arrived; what is on its way over loopback gets a moment.
fn eventually(mut arrived: impl FnMut() -> bool) -> bool {
    (0..20).any(|_| {
        let now = arrived();
        if !now {
            thread::sleep(Duration::from_millis(10));
        }
        now
    })
}

fn tcp(address: &'static str) -> impl Fn(&Arena) -> (TcpListener, String) {
    move |_| {
        let listener = TcpListener::bind((address, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port.to_string())
    }
}

#[test]
fn tcp_on_this_machine() {
    let hit = |listener: &TcpListener| eventually(|| listener.accept().is_ok());
    for address in ["127.0.0.1", "0.0.0.0", "localhost"] {
        let lines = format!("tried(lambda: connected(socket.AF_INET, ('{address}', int(sys.argv[1]))))");
        reaches_nothing(&lines, tcp("127.0.0.1"), hit);
    }
    let six = "tried(lambda: connected(socket.AF_INET6, ('::1', int(sys.argv[1]))))";
    reaches_nothing(six, tcp("::1"), hit);
    let multipath = "tried(lambda: connected(socket.AF_INET, ('127.0.0.1', int(sys.argv[1])), protocol=262))";
    reaches_nothing(multipath, tcp("127.0.0.1"), hit);
    let fast_open = "s = socket.socket()\ntried(lambda: s.sendto(b'HIT', 0x20000000, ('127.0.0.1', int(sys.argv[1]))))";
    reaches_nothing(fast_open, tcp("127.0.0.1"), hit);
}

#[test]
fn datagrams_on_this_machine() {
    let listen = |_: &Arena| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port.to_string())
    };
    let hit = |socket: &UdpSocket| eventually(|| socket.recv(&mut [0; 16]).is_ok());
    for send in ["s.sendto(b'HIT', to)", "s.sendmsg([b'HIT'], [], 0, to)", "(s.connect(to), s.send(b'HIT'))"] {
        let lines = format!(
            "s = socket.socket(type=socket.SOCK_DGRAM); to = ('127.0.0.1', int(sys.argv[1]))\ntried(lambda: {send})"
        );
        reaches_nothing(&lines, listen, hit);
    }
}

/// Where nobody looks through what is shown.
#[test]
fn sockets_in_what_is_shown_read_only() {
    for shown in [false, true] {
        let arena = Arena::new();
        let listener = UnixListener::bind(arena.outside.join("dir/agent.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let path = arena.outside.join("dir/agent.sock").display().to_string();
        arena::write(
            &arena.path("attack.py"),
            &format!("{HELPERS}tried(lambda: connected(socket.AF_UNIX, sys.argv[1]))"),
        );
        let script = format!("/usr/bin/python3 attack.py {path}");
        let mut builder = Sandbox::builder();
        builder.system().workspace(&arena.workspace, Access::ReadWrite).read_only(arena.outside.join("dir"));
        let output = if shown { arena.inside(&builder.start().unwrap(), &script) } else { arena.bare(&script) };
        assert_eq!(eventually(|| listener.accept().is_ok()), !shown, "{output}");
    }
}

#[test]
fn sockets_with_a_path() {
    let listen = |arena: &Arena| {
        let path = arena.outside.join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener, path.display().to_string())
    };
    let hit = |listener: &UnixListener| eventually(|| listener.accept().is_ok());
    for path in
        ["sys.argv[1]", "'link-outside/agent.sock'", "'/proc/self/root' + sys.argv[1]", "'../../outside/agent.sock'"]
    {
        let lines = format!("tried(lambda: connected(socket.AF_UNIX, {path}))");
        reaches_nothing(&lines, listen, hit);
    }
    let datagram = |arena: &Arena| {
        let path = arena.outside.join("log.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (socket, path.display().to_string())
    };
    let lines = "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ntried(lambda: s.sendto(b'HIT', sys.argv[1]))";
    reaches_nothing(lines, datagram, |socket| eventually(|| socket.recv(&mut [0; 16]).is_ok()));
}

/// A server's own socket in the workspace, as tmux, databases and editors have them.
#[test]
fn sockets_in_the_workspace() {
    let listen = |arena: &Arena| {
        let listener = UnixListener::bind(arena.path("server.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener, String::new())
    };
    let hit = |listener: &UnixListener| eventually(|| listener.accept().is_ok());
    for path in ["'server.sock'", "'/proc/self/cwd/server.sock'"] {
        reaches_nothing(&format!("tried(lambda: connected(socket.AF_UNIX, {path}))"), listen, hit);
    }
    let lines = "os.symlink('server.sock', 'link')\ntried(lambda: connected(socket.AF_UNIX, 'link'))";
    reaches_nothing(lines, listen, hit);
    let lines = "tried(lambda: os.link('server.sock', 'other'))\ntried(lambda: os.rename('server.sock', 'other'))\n\
        tried(lambda: connected(socket.AF_UNIX, 'other'))\ntried(lambda: connected(socket.AF_UNIX, 'server.sock'))";
    reaches_nothing(lines, listen, hit);
    let datagram = |arena: &Arena| {
        let socket = UnixDatagram::bind(arena.path("log.sock")).unwrap();
        socket.set_nonblocking(true).unwrap();
        (socket, String::new())
    };
    let lines = "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ntried(lambda: s.sendto(b'HIT', 'log.sock'))";
    reaches_nothing(lines, datagram, |socket| eventually(|| socket.recv(&mut [0; 16]).is_ok()));
}

#[test]
fn what_leads_out_is_hidden_in_a_read_only_workspace_too_and_what_leads_nowhere_stays() {
    let workspace = tempfile::tempdir().unwrap();
    let path = |name: &str| workspace.path().join(name);
    let listener = UnixListener::bind(path("live")).unwrap();
    drop(UnixListener::bind(path("stale")).unwrap());
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path("fifo")).unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let sandbox = Sandbox::builder().system().workspace(workspace.path(), access).start().unwrap();
        assert_eq!(sandbox.plan().channels, [path("fifo"), path("live")]);
        let said = sandbox.enforced().warnings.iter().filter(|warning| warning.contains("leads to somebody outside"));
        assert_eq!(said.count(), 2);
        let script = "echo HIT > fifo; stat -c %F fifo live stale; rm stale 2>&1 | grep -o Read-only";
        let output = sandbox.command("sh").args(["-c", script]).env("PATH", "/usr/bin:/bin").output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.starts_with("regular empty file\nregular empty file\nsocket\n"), "{output}");
        assert_eq!(output.contains("Read-only"), access == Access::ReadOnly, "{output}");
    }
    assert!(!path("stale").exists(), "a socket that nobody has bound may be removed, and bound anew");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody notices that it was looked at");
    assert!((&reader).read(&mut [0; 16]).is_ok_and(|length| length == 0));
}

#[test]
fn sockets_with_an_abstract_name() {
    let listen = |arena: &Arena| {
        // Unique, as the arena's directory is.
        let name = arena.outside.display().to_string();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener, name)
    };
    let lines = "tried(lambda: connected(socket.AF_UNIX, '\\0' + sys.argv[1]))";
    reaches_nothing(lines, listen, |listener| eventually(|| listener.accept().is_ok()));
}

#[test]
fn a_fifo_that_somebody_reads_commands_from() {
    let listen = |arena: &Arena| {
        let path = arena.outside.join("commands");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        (reader, path.display().to_string())
    };
    let lines = "tried(lambda: os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK), b'HIT'))";
    let hit = |reader: &std::fs::File| eventually(|| (&*reader).read(&mut [0; 16]).is_ok_and(|length| length > 0));
    reaches_nothing(lines, listen, hit);
}

#[test]
fn what_a_command_serves_itself_it_can_reach() {
    let arena = Arena::new();
    let lines = "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n\
        connected(socket.AF_INET, s.getsockname()); print(s.accept()[0].recv(3))\n\
        u = socket.socket(socket.AF_UNIX); u.bind('own.sock'); u.listen(); connected(socket.AF_UNIX, 'own.sock'); print('OWN')";
    arena::write(&arena.path("attack.py"), &format!("{HELPERS}{lines}"));
    let output = arena.inside(&arena.start(), "/usr/bin/python3 attack.py");
    assert!(output.contains("b'HIT'") && output.contains("OWN"), "{output}");
    assert!(Path::new(&arena.path("own.sock")).exists());
}

/// Java, Node and Python look up the name of what they run on, and some end when nothing has it.
#[test]
fn the_name_of_the_host_is_its_own_and_leads_to_itself() {
    let arena = Arena::new();
    let output = arena.inside(&arena.start(), "hostname; getent ahosts \"$(hostname)\" && echo FOUND");
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(output.contains("FOUND") && output.contains("localhost\n"), "{output}");
    assert!(own == "localhost\n" || !output.contains(&own), "{output}");
}
