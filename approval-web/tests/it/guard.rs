//! Each guard bites alone: one wrong ingredient is refused with its own answer, all right ones are accepted.

use std::time::Duration;

use holdpoint_approval_web::client::{Client, HoldId};
use holdpoint_approval_web::server::Server;
use holdpoint_approval_web::state::State;

use crate::fixture::{Answer, Browser, Request, plan, server};

struct Scene {
    _dir: tempfile::TempDir,
    server: Server,
    client: Client,
    browser: Browser,
    id: HoldId,
    digest: String,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = Client::connect(&dir.path().join("state")).unwrap().unwrap();
    let browser = Browser::pair(&server);
    let id = client.hold(&plan(), Duration::from_secs(60)).unwrap();
    Scene { _dir: dir, server, client, browser, id, digest: plan().digest().to_string() }
}

impl Scene {
    fn approve(&self) -> Request {
        self.browser.decide(self.id.as_str(), &self.digest, "approve", "")
    }

    fn send(&self, request: &Request) -> Answer {
        let answer = request.send(&self.browser.address);
        assert!(
            answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")),
            "a CORS header: {:?}",
            answer.headers
        );
        answer
    }

    fn is_pending(&self) -> bool {
        self.client.get(&self.id).unwrap().state == State::Pending
    }
}

#[test]
fn one_wrong_ingredient_is_enough_to_be_refused() {
    let scene = scene();
    let right = scene.approve();
    let address = scene.browser.address.clone();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let other = Browser::pair(&scene.server);
    let name = scene.browser.cookie.split('=').next().unwrap().to_owned();
    let invented = format!("{name}={}", "5e".repeat(32));
    let body = |from: &str, to: &str| right.body.replace(from, to);
    let wrong: Vec<(&str, u16, Request)> = vec![
        // Host: what DNS rebinding, proxies and typing change.
        ("no host", 421, right.clone().with("Host", None)),
        ("another name", 421, right.clone().with("Host", Some(&format!("evil.example:{port}")))),
        ("localhost", 421, right.clone().with("Host", Some(&format!("localhost:{port}")))),
        ("a name that resolves to it", 421, right.clone().with("Host", Some(&format!("127.0.0.1.nip.io:{port}")))),
        ("another port", 421, right.clone().with("Host", Some("127.0.0.1:1"))),
        ("no port", 421, right.clone().with("Host", Some("127.0.0.1"))),
        ("a dot at the end", 421, right.clone().with("Host", Some(&format!("127.0.0.1.:{port}")))),
        ("another spelling", 421, right.clone().with("Host", Some(&format!("127.1:{port}")))),
        ("an empty host", 421, right.clone().with("Host", Some(""))),
        ("two hosts", 421, right.clone().and("Host", &address)),
        (
            "another host in the target",
            421,
            Request { target: format!("http://evil.example{}", right.target), ..right.clone() },
        ),
        // Origin: what says which page sent it.
        ("no origin", 403, right.clone().with("Origin", None)),
        ("an opaque origin", 403, right.clone().with("Origin", Some("null"))),
        ("another site", 403, right.clone().with("Origin", Some("http://evil.example"))),
        ("another port's origin", 403, right.clone().with("Origin", Some("http://127.0.0.1:1"))),
        ("another scheme's origin", 403, right.clone().with("Origin", Some(&format!("https://{address}")))),
        ("an origin that begins like ours", 403, right.clone().with("Origin", Some(&format!("http://{address}0")))),
        ("two origins", 403, right.clone().and("Origin", &scene.browser.origin)),
        // Sec-Fetch-Site: what the browser says about who started it.
        ("cross-site", 403, right.clone().with("Sec-Fetch-Site", Some("cross-site"))),
        ("another port", 403, right.clone().with("Sec-Fetch-Site", Some("same-site"))),
        ("typed by hand", 403, right.clone().with("Sec-Fetch-Site", Some("none"))),
        ("a value of tomorrow", 403, right.clone().with("Sec-Fetch-Site", Some("same-galaxy"))),
        ("two answers", 403, right.clone().and("Sec-Fetch-Site", "same-origin")),
        (
            "a cross-site form that navigates",
            403,
            right
                .clone()
                .with("Sec-Fetch-Site", Some("cross-site"))
                .with("Sec-Fetch-Mode", Some("navigate"))
                .with("Sec-Fetch-Dest", Some("document")),
        ),
        // Media type: what a plain form of another site could send without asking.
        ("plain text", 415, right.clone().with("Content-Type", Some("text/plain"))),
        ("no media type", 415, right.clone().with("Content-Type", None)),
        ("multipart", 415, right.clone().with("Content-Type", Some("multipart/form-data; boundary=x"))),
        // Cookie: who it is.
        ("no cookie", 401, right.clone().with("Cookie", None)),
        ("an unknown cookie", 401, right.clone().with("Cookie", Some(&invented))),
        ("an empty cookie", 401, right.clone().with("Cookie", Some(&format!("{name}=")))),
        ("two cookies", 401, right.clone().with("Cookie", Some(&format!("{0}; {0}", scene.browser.cookie)))),
        // Token: that the page's own form sent it.
        ("no token", 422, right.clone().body(body("csrf=", "other="))),
        ("an empty token", 403, right.clone().body(body(&scene.browser.csrf, ""))),
        ("another session's token", 403, right.clone().body(body(&scene.browser.csrf, &other.csrf))),
        ("the token of another cookie", 403, right.clone().with("Cookie", Some(&other.cookie))),
        // The plan that was shown.
        ("another digest", 412, right.clone().body(body(&scene.digest, &"0".repeat(64)))),
        ("no digest", 422, right.clone().body(body("digest=", "other="))),
        ("a short digest", 422, right.clone().body(body(&scene.digest, &scene.digest[..12]))),
        (
            "another hold",
            404,
            Request { target: right.target.replace(scene.id.as_str(), "0000000000000000"), ..right.clone() },
        ),
        ("another word", 422, right.clone().body(body("approve", "yes"))),
        ("a field too many", 422, right.clone().body(format!("{}&by=root", right.body))),
        ("a long reason", 422, scene.browser.decide(scene.id.as_str(), &scene.digest, "deny", &"x".repeat(501))),
        ("a large body", 422, right.clone().body(format!("{}&reason={}", right.body, "x".repeat(17_000)))),
        ("another path", 404, Request { target: right.target.replace(&scene.browser.path, "/"), ..right.clone() }),
        ("GET", 405, Request { method: "GET", body: String::new(), ..right.clone() }),
        ("PUT", 405, Request { method: "PUT", ..right.clone() }),
    ];
    for (what, status, request) in &wrong {
        let answer = scene.send(request);
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        assert!(scene.is_pending(), "{what} decided");
    }
    let answer = scene.send(&right);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["state"]["state"], "approved");
}

#[test]
fn the_json_decision_is_guarded_in_the_same_way() {
    let scene = scene();
    let vote = format!(r#"{{"digest":"{}","decision":"deny","reason":"no"}}"#, scene.digest);
    let right = scene
        .browser
        .post(&format!("api/holds/{}/decide", scene.id))
        .with("Content-Type", Some("application/json"))
        .with("X-Holdpoint-Csrf", Some(&scene.browser.csrf))
        .body(vote.clone());
    let wrong = [
        (421, right.clone().with("Host", Some("evil.example"))),
        (403, right.clone().with("Origin", None)),
        (403, right.clone().with("Sec-Fetch-Site", Some("same-site"))),
        (401, right.clone().with("Cookie", None)),
        (403, right.clone().with("X-Holdpoint-Csrf", None)),
        (403, right.clone().with("X-Holdpoint-Csrf", Some("0"))),
        (415, right.clone().with("Content-Type", Some("text/plain"))),
        (422, right.clone().with("Content-Type", Some("application/x-www-form-urlencoded"))),
        (422, right.clone().body(vote.replace('}', r#","by":"root"}"#))),
        (412, right.clone().body(vote.replace(&scene.digest, &"0".repeat(64)))),
    ];
    for (status, request) in wrong {
        assert_eq!(scene.send(&request).status, status, "{request:?}");
        assert!(scene.is_pending());
    }
    assert_eq!(scene.send(&right).status, 200);
    let hold = scene.client.get(&scene.id).unwrap();
    assert!(matches!(hold.state, State::Denied { ref reason, .. } if reason == "no"));
}

#[test]
fn every_route_checks_the_host_and_carries_the_headers() {
    let scene = scene();
    let id = scene.id.as_str();
    let card = format!("holds/{id}/card");
    let one = format!("api/holds/{id}");
    for (target, status) in [
        ("", 200),
        (card.as_str(), 200),
        ("api/session", 200),
        ("api/holds", 200),
        (one.as_str(), 200),
        ("pair/none", 410),
        ("nothing", 404),
    ] {
        let right = scene.browser.get(target);
        let answer = scene.send(&right);
        assert_eq!(answer.status, status, "{target}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]
        {
            assert!(policy.contains(part), "{target}: {policy}");
        }
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{target}");
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{target}");
    }
    let assets = ["/assets/page.css", "/assets/page.js", "/assets/icon.svg", "/", "/none"];
    let own = ["", &card, "events", "api/session", "api/holds", &one, "pair/none"]
        .map(|t| format!("{}{t}", scene.browser.path));
    for target in assets.iter().map(|t| (*t).to_owned()).chain(own) {
        let request = Request { target, ..scene.browser.get("") };
        for host in [None, Some("evil.example"), Some("localhost")] {
            let answer = scene.send(&request.clone().with("Host", host));
            assert_eq!(answer.status, 421, "{request:?} with host {host:?}");
            assert!(answer.header("content-security-policy").is_some());
        }
    }
}

#[test]
fn reading_needs_the_cookie_and_no_other_site() {
    let scene = scene();
    let card = format!("holds/{}/card", scene.id);
    let one = format!("api/holds/{}", scene.id);
    for target in ["", card.as_str(), "events", "api/session", "api/holds", one.as_str()] {
        let right = scene.browser.get(target);
        let name = scene.browser.cookie.split('=').next().unwrap();
        let invented = format!("{name}={}", "5e".repeat(32));
        for cookie in [None, Some(invented.as_str()), Some(name), Some("")] {
            assert_eq!(scene.send(&right.clone().with("Cookie", cookie)).status, 401, "{target} with {cookie:?}");
        }
        for site in ["cross-site", "same-site"] {
            let foreign = right.clone().with("Sec-Fetch-Site", Some(site)).with("Sec-Fetch-Mode", Some("cors"));
            assert_eq!(scene.send(&foreign).status, 403, "{target} from {site}");
            let frame = right
                .clone()
                .with("Sec-Fetch-Site", Some(site))
                .with("Sec-Fetch-Mode", Some("navigate"))
                .with("Sec-Fetch-Dest", Some("iframe"));
            assert_eq!(scene.send(&frame).status, 403, "{target} framed from {site}");
        }
        let foreign = right.clone().with("Origin", Some("http://evil.example"));
        assert_eq!(scene.send(&foreign).status, 403, "{target} for another origin");
    }
    // Following a link from elsewhere shows the page, if the browser sends the (strict) cookie at all.
    let link = scene
        .browser
        .get("")
        .with("Sec-Fetch-Site", Some("cross-site"))
        .with("Sec-Fetch-Mode", Some("navigate"))
        .with("Sec-Fetch-Dest", Some("document"));
    assert_eq!(scene.send(&link).status, 200);
}

#[test]
fn a_preflight_is_never_answered_with_leave() {
    let scene = scene();
    for origin in ["http://evil.example", scene.browser.origin.as_str()] {
        let preflight = Request { method: "OPTIONS", body: String::new(), ..scene.approve() }
            .with("Origin", Some(origin))
            .with("Access-Control-Request-Method", Some("POST"));
        let answer = scene.send(&preflight);
        assert!(answer.status >= 400, "{answer:?}");
    }
}
