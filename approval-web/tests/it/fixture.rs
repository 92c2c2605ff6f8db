//! Plans, a plain HTTP client that sends exactly what it is told, and children of this test binary.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdpoint_approval_web::plan::{Digest, EnvRef, FileId, FileRef, HoldPlan, Kind, Reason, Stdin};
use holdpoint_approval_web::server::{Server, ServerConfig};

/// A plan with something in every field.
pub(crate) fn plan() -> HoldPlan {
    let file = |path: &str| FileRef { path: path.into(), dev: 1, ino: 7, sha256: Digest::of(b"x"), len: 1 };
    HoldPlan {
        kind: Kind::Run,
        argv: vec!["sh".into(), "run.sh".into(), "two words".into()],
        cwd: "/srv/app".into(),
        cwd_id: FileId { dev: 1, ino: 2 },
        executable: Some(file("/usr/bin/sh")),
        operands: vec![file("/srv/app/run.sh")],
        env: vec![EnvRef { name: "PATH".into(), sha256: Digest::of(b"/usr/bin") }],
        stdin: Stdin::Null,
        profile: "default".into(),
        policy_digest: "d".into(),
        reasons: vec![Reason { rule: "suggest".into(), origin: "built-in".into(), text: "commands are held".into() }],
        sandbox: vec!["no network".into()],
        diff: None,
        host: "build-7".into(),
        user: "dana".into(),
    }
}

/// A server on a state directory of its own.
pub(crate) fn server(dir: &Path) -> Server {
    Server::start(ServerConfig::new(dir.join("state"))).unwrap()
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// A request, header by header: nothing is added but `Content-Length` and `Connection`.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body: String::new() }
    }

    /// Sets a header, or removes it with `None`.
    pub(crate) fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            self.headers.push((name.into(), value.into()));
        }
        self
    }

    /// Adds a header besides one of the same name.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn open(&self, address: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length =
            if self.body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", self.body.len()) };
        stream.write_all(format!("{head}{length}\r\n{}", self.body).as_bytes()).unwrap();
        stream
    }

    pub(crate) fn send(&self, address: &str) -> Answer {
        let mut text = Vec::new();
        self.open(address).read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Answer { status, headers, body: body.to_owned() }
    }
}

/// A connected browser: its address, cookie and token.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) address: String,
    pub(crate) origin: String,
    /// `/LABEL/`
    pub(crate) path: String,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Browser {
    pub(crate) fn pair(server: &Server) -> Self {
        let link = server.pairing_url().unwrap();
        let (address, target) = parts(&link);
        let origin = format!("http://{address}");
        let answer = Request::new("POST", target)
            .with("Host", Some(&address))
            .with("Origin", Some(&origin))
            .with("Accept", Some("application/json"))
            .with("Content-Type", Some("application/x-www-form-urlencoded"))
            .send(&address);
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
        let (_, path) = parts(server.url());
        Self { address, origin, path, cookie, csrf }
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        Request::new("GET", format!("{}{target}", self.path))
            .with("Host", Some(&self.address))
            .with("Cookie", Some(&self.cookie))
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        Request { method: "POST", ..self.get(target) }
            .with("Origin", Some(&self.origin))
            .with("Sec-Fetch-Site", Some("same-origin"))
            .with("Accept", Some("application/json"))
    }

    /// The form of a card, as the page sends it.
    pub(crate) fn decide(&self, id: &str, digest: &str, decision: &str, reason: &str) -> Request {
        self.post(&format!("holds/{id}/decide"))
            .with("Content-Type", Some("application/x-www-form-urlencoded"))
            .body(format!("csrf={}&digest={digest}&decision={decision}&reason={reason}", self.csrf))
    }
}

/// `http://ADDRESS/TARGET` in its two parts.
pub(crate) fn parts(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let at = rest.find('/').unwrap();
    (rest[..at].to_owned(), rest[at..].to_owned())
}

/// Runs one test of this binary as a child process, with a variable set; the test does nothing without it.
pub(crate) fn child(test: &str, variable: &str, value: &Path) -> Child {
    child_under(&[], test, variable, value)
}

/// The same under another program, as `unshare`.
pub(crate) fn child_under(under: &[&str], test: &str, variable: &str, value: &Path) -> Child {
    let exe = std::env::current_exe().unwrap();
    let mut words: Vec<std::ffi::OsString> = under.iter().map(Into::into).collect();
    words.push(exe.into());
    Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(variable, value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The lines a child prints that begin with a mark, as they come.
pub(crate) fn marked_lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map_while(Result::ok).filter_map(|line| line.split_once("@@ ").map(|(_, rest)| rest.to_owned()))
}
