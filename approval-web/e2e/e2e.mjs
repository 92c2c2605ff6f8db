// The approval page in a real Chromium: pairing, live holds, decisions, hostile text, foreign pages, phone, keys,
// accessibility, and the page without JavaScript.
//
// Environment (all optional): E2E_SERVER, the e2e_server example; CHROMIUM; E2E_OUT, where the screenshots go.
// Prints "ok N - …" lines and exits non-zero when any check fails.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import AxeBuilder from "@axe-core/playwright";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.env.CARGO_TARGET_DIR ?? join(here, "../../target"));
const binary = process.env.E2E_SERVER ?? join(target, "debug/examples/e2e_server");
const out = process.env.E2E_OUT ?? join(target, "e2e");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const WAIT = 10_000;

for (const needed of [binary, executablePath]) {
  if (!existsSync(needed)) {
    console.error(`e2e: ${needed} is missing`);
    process.exit(2);
  }
}
mkdirSync(out, { recursive: true });
const scratch = mkdtempSync(join(tmpdir(), "holdpoint-e2e-"));

// --- the server under test -------------------------------------------------------------------------------------------

const server = spawn(binary, [join(scratch, "state")], { stdio: ["pipe", "pipe", "inherit"] });
const said = [];
const listeners = new Set();
createInterface({ input: server.stdout }).on("line", (line) => {
  said.push(JSON.parse(line));
  listeners.forEach((listener) => listener());
});
server.on("exit", (code) => {
  if (!done) {
    console.error(`e2e: the server ended with ${code}`);
    process.exit(2);
  }
});
let done = false;

/** The first line the server says, from number `from` on, that fits. */
function hear(fits, from = 0) {
  return new Promise((accept, reject) => {
    const timer = setTimeout(() => reject(new Error("the server did not say it in time")), WAIT);
    const look = () => {
      const found = said.slice(from).find(fits);
      if (!found) return;
      clearTimeout(timer);
      listeners.delete(look);
      accept(found);
    };
    listeners.add(look);
    look();
  });
}

function ask(command, fits) {
  const from = said.length;
  server.stdin.write(`${JSON.stringify(command)}\n`);
  return hear(fits, from);
}

const hold = async (plan, ttl_ms = 600_000) => (await ask({ do: "hold", plan, ttl_ms }, (l) => l.held)).held;
const ended = (id) => hear((line) => line.ended === id);
const pairLink = async () => (await ask({ do: "pair" }, (l) => l.pair)).pair;

const started = await hear((line) => line.started);
const url = started.started;
const origin = new URL(url).origin;

// --- browser ---------------------------------------------------------------------------------------------------------

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const complaints = [];

/** A browser context whose pages report every violated policy and every script error. */
async function person(options = {}, link = null) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  page.on("console", (message) => {
    if (/CSP|Content Security Policy|Trusted ?Type/i.test(message.text())) complaints.push(message.text());
  });
  await page.goto(link ?? (await pairLink()));
  if (!link) {
    await page.getByRole("button", { name: "Connect this browser" }).click();
    await page.waitForURL(url);
  }
  return page;
}

const card = (page, id) => page.locator(`#hold-${id}`);
const button = (page, id, name) => card(page, id).getByRole("button", { name, exact: true });
const state = (page, id, wanted) => page.locator(`#hold-${id}[data-state="${wanted}"]`).waitFor();
const live = (page) => page.locator('body[data-link="up"]').waitFor();
const armed = (page, id) => page.locator(`#hold-${id} [data-decision="approve"]:not([aria-disabled])`).waitFor();
const shot = (page, name) => page.screenshot({ path: join(out, `${name}.png`), fullPage: false });
const deny = async (page, id, reason = "") => {
  if (reason) await card(page, id).locator(".reason").fill(reason);
  await button(page, id, "Deny").click();
};

async function accessible(page, what) {
  const results = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
  const found = results.violations.map((v) => `${what}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
  assert.deepEqual(found, []);
}

let number = 0;
let failures = 0;
async function check(name, run) {
  number += 1;
  try {
    const note = await run();
    console.log(`ok ${number} - ${name}${note ? ` # ${note}` : ""}`);
  } catch (error) {
    failures += 1;
    console.log(`not ok ${number} - ${name}`);
    console.log(String(error?.stack ?? error).replace(/^/gm, "#   "));
  }
}

// --- what is held ----------------------------------------------------------------------------------------------------

const digest = "a3".repeat(32);
const INCIDENT = {
  argv: [
    "curl", "-sS", "-X", "POST", "https://backboard.example/graphql/v2",
    "-H", "Authorization: Bearer $RAILWAY_TOKEN", "-d",
    '{"query":"mutation { volumeDelete(volumeId: \\"3d2c42fb-78ac\\") }"}'.replaceAll("\\", "\\\\"),
  ],
  cwd: "/home/dana/acme/api",
  executable: { path: "/usr/bin/curl", dev: 1, ino: 4711, sha256: digest, len: 297_000 },
  env: [{ name: "HOME", sha256: digest }, { name: "LANG", sha256: digest }, { name: "PATH", sha256: digest }],
  reasons: [
    { rule: "catalog/graphql-delete", origin: "built-in", text: "volumeDelete cannot be undone" },
    { rule: "approval_policy = suggest", origin: "/home/dana/.config/holdpoint/config.toml:4", text: "every command is held" },
  ],
  sandbox: ["read the system and /home/dana/acme/api", "write /home/dana/acme/api, not .git/hooks, not AGENTS.md", "no network", "no credentials: 6 files cannot be read"],
  policy_digest: "5be1c0ffee5be1c0ffee",
};
const DIFF = [
  "--- a/src/volumes.rs", "+++ b/src/volumes.rs", "@@ -12,6 +12,7 @@ impl Volumes {", "     fn remove(&self, id: &Id) -> Result<()> {",
  "-        self.api.delete(id)", "+        let volume = self.api.get(id)?;", "+        self.bin.put(volume)", "     }", " }", "",
].join("\\n");
const EDIT = {
  kind: "edit", argv: ["holdpoint", "apply", "fix.patch"], diff: DIFF, cwd: "/home/dana/acme/api",
  reasons: [{ rule: "approval_policy = suggest", origin: "built-in", text: "file edits are held" }],
  sandbox: ["change src/volumes.rs"],
};
const HOSTILE = [
  "<img src=x onerror=window.pwned=1>", "<script>window.pwned=1</script>", "\"'><svg onload=window.pwned=1>", "</script><script>window.pwned=1</script>",
  "{{7*7}} ${7*7} <%= 7*7 %>", "javascript:window.pwned=1", "a\\u{202e}gnp.exe", "zero\\u{200b}width", "\\x1b[31mred\\x1b[0m", "line\\nbreak\\rreturn",
  "\\xff\\xfe", "\\u{feff}bom", "&lt;b&gt; &amp;", "<template><b>x</b></template>", "--><b>out</b>", "\\\\u{202e}spelled",
];

// --- checks ----------------------------------------------------------------------------------------------------------

await check("a browser that is not connected is told what to run, and shown nothing", async () => {
  await hold({ argv: ["secret-command"] });
  for (const address of [url, `${origin}/`]) {
    const page = await person({}, address);
    await page.getByText("holdpoint pair").waitFor();
    assert.ok(!(await page.content()).includes("secret-command"));
    await accessible(page, "not connected");
    await shot(page, "unpaired");
    await page.context().close();
  }
});

await check("looking at a pairing link does not spend it; the button spends it, once", async () => {
  const link = started.pair;
  for (let i = 0; i < 3; i += 1) assert.equal((await fetch(link)).status, 200);
  const page = await person({}, link);
  await accessible(page, "pairing");
  await shot(page, "pair");
  await page.getByRole("button", { name: "Connect this browser" }).click();
  await page.waitForURL(url);
  await page.getByText("secret-command").first().waitFor();
  const second = await person({}, link);
  await second.getByText("has been used").waitFor();
  const cookies = await page.context().cookies(url);
  assert.equal(cookies.length, 1);
  assert.equal(cookies[0].httpOnly, true);
  assert.equal(cookies[0].sameSite, "Strict");
  assert.equal(cookies[0].path, new URL(url).pathname);
  for (const one of [page, second]) await one.context().close();
});

const desk = await person();
await check("without holds the page explains itself", async () => {
  await live(desk);
  for (const one of await desk.locator("#open .card").all()) {
    await one.locator(".reason").fill("clearing up");
    await one.getByRole("button", { name: "Deny" }).click();
    await one.locator(".result").waitFor();
  }
  await desk.reload();
  await desk.getByText("Nothing is held").waitFor();
  await accessible(desk, "empty");
  await shot(desk, "empty");
});

let incident;
await check("a held command appears within a second, without a reload", async () => {
  await live(desk);
  await desk.evaluate(() => (window.sameDocument = true));
  let best = Infinity;
  for (let i = 0; i < 3 && best >= 1000; i += 1) {
    const before = performance.now();
    incident = await hold(INCIDENT);
    await card(desk, incident).waitFor();
    best = Math.min(best, performance.now() - before);
  }
  assert.ok(best < 1000, `it took ${best} ms`);
  assert.equal(await desk.evaluate(() => window.sameDocument), true);
  return `${Math.round(best)} ms`;
});

await check("the card shows the command with its boundaries, where, why, and what is allowed", async () => {
  const shown = card(desk, incident);
  assert.equal(await shown.locator(".argv .arg").count(), INCIDENT.argv.length);
  assert.equal(await shown.locator(".argv .arg").nth(6).innerText(), "Authorization: Bearer $RAILWAY_TOKEN");
  for (const text of ["/home/dana/acme/api", "production-adjacent", "dana@build-7", "volumeDelete cannot be undone", "config.toml:4", "no network"]) {
    await shown.getByText(text).first().waitFor();
  }
  assert.match(await shown.locator("time[data-expires]").innerText(), /^\d+:\d\d$/);
  const size = (selector) => shown.locator(selector).first().evaluate((e) => parseFloat(getComputedStyle(e).fontSize));
  for (const other of [".facts", ".reasons", ".allows", ".card-head h2"]) assert.ok((await size(".arg")) > (await size(other)), other);
  await armed(desk, incident);
  await shot(desk, "desktop-light");
  await accessible(desk, "a hold");
});

await check("a click on a card that has just appeared approves nothing", async () => {
  const id = await hold({ argv: ["just", "appeared"] });
  await card(desk, id).waitFor();
  await card(desk, id).evaluate((shown) => {
    const approve = shown.querySelector('[data-decision="approve"]');
    window.wasInert = approve.getAttribute("aria-disabled") === "true";
  });
  // Held inert, as it is for 700 ms: the click is a real one.
  await card(desk, id).evaluate((shown) => clearTimeout(shown.arming));
  await card(desk, id).locator('[data-decision="approve"]').click({ force: true });
  await desk.waitForTimeout(300);
  assert.equal(await card(desk, id).getAttribute("data-state"), "pending");
  assert.equal(await desk.evaluate(() => window.wasInert), true);
  await deny(desk, id);
  await state(desk, id, "denied");
});

await check("approve runs it, and the card keeps its place and says how it ended", async () => {
  const id = await hold({ argv: ["cargo", "test"], sandbox: ["no network"] });
  await armed(desk, id);
  const before = await card(desk, id).boundingBox();
  await button(desk, id, "Approve").click();
  assert.equal((await ended(id)).result.state, "finished");
  await state(desk, id, "finished");
  await card(desk, id).getByText("exit code 0").waitFor();
  const after = await card(desk, id).boundingBox();
  assert.ok(after.height >= before.height - 1, "the list would jump");
});

await check("a denial and its reason reach the one who asked", async () => {
  const reason = "not on production; ask ops — <b>now</b>";
  await deny(desk, incident, reason);
  const { result } = await ended(incident);
  assert.equal(result.state, "denied");
  assert.equal(result.reason, reason);
  await state(desk, incident, "denied");
  await card(desk, incident).getByText(reason).waitFor();
});

await check("Enter in the reason denies; nothing approves by Enter alone", async () => {
  const id = await hold({ argv: ["enter"] });
  await armed(desk, id);
  await card(desk, id).locator(".reason").press("Enter");
  await state(desk, id, "denied");
});

await check("hostile text is shown as text, in every field", async () => {
  const reasons = HOSTILE.map((text) => ({ rule: text.replaceAll("\\", "\\"), origin: text, text }));
  const raw = (text) => text; // In these fields a backslash stands for itself, and is shown doubled.
  const id = await hold({
    argv: HOSTILE, cwd: `/${HOSTILE[0]}`, profile: raw(HOSTILE[1]), user: HOSTILE[2], host: HOSTILE[3], policy_digest: HOSTILE[3], reasons,
    sandbox: HOSTILE.map(raw), diff: HOSTILE.map((text) => `+${text}`).join("\\n"),
    env: HOSTILE.map((name) => ({ name, sha256: digest })),
    stdin: { piped: { content: { len: 3, sha256: digest, head: HOSTILE.join("\\n") } } },
    executable: { path: HOSTILE[1], dev: 1, ino: 1, sha256: digest, len: 1 },
    operands: [{ path: HOSTILE[2], dev: 1, ino: 1, sha256: digest, len: 1 }],
  });
  await card(desk, id).waitFor();
  const args = await card(desk, id).locator(".argv .arg").allInnerTexts();
  assert.deepEqual(args.map((text) => text.replaceAll("\n", "")), HOSTILE);
  await card(desk, id).locator("details").evaluateAll((all) => all.forEach((one) => (one.open = true)));
  const text = await card(desk, id).evaluate((shown) => shown.textContent);
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u);
  const tags = await card(desk, id).evaluate((shown) => shown.querySelectorAll("img, script, svg, b, template, iframe, object").length);
  assert.equal(tags, 0);
  await card(desk, id).scrollIntoViewIfNeeded();
  await desk.screenshot({ path: join(out, "hostile.png") });
  await deny(desk, id, HOSTILE[0]);
  await state(desk, id, "denied");
  await desk.reload();
  await desk.locator(`#past-${id}`).waitFor();
  assert.equal(await desk.evaluate(() => window.pwned), undefined);
});

await check("a long command shows both ends, and is approved only when all of it was opened", async () => {
  await live(desk);
  const id = await hold({ argv: ["sh", "-c", `echo start; ${"true && ".repeat(600)}echo the-end`] });
  await armed(desk, id);
  const visible = await card(desk, id).locator(".argv .arg").nth(2).innerText();
  assert.ok(visible.startsWith("echo start") && visible.trimEnd().endsWith("echo the-end"));
  await button(desk, id, "Approve").click();
  await desk.waitForTimeout(300);
  assert.equal(await card(desk, id).getAttribute("data-state"), "pending");
  await card(desk, id).locator("details.fold summary").click();
  await card(desk, id).getByLabel("I opened every folded part").check();
  await button(desk, id, "Approve").click();
  await state(desk, id, "finished");
});

await check("a new hold does not move the list under the pointer", async () => {
  const first = await hold({ argv: ["first"] });
  await armed(desk, first);
  await button(desk, first, "Deny").scrollIntoViewIfNeeded();
  const before = await card(desk, first).boundingBox();
  const second = await hold({ argv: ["second"] });
  await card(desk, second).waitFor();
  const after = await card(desk, first).boundingBox();
  assert.deepEqual({ x: after.x, y: after.y }, { x: before.x, y: before.y });
  await desk.locator("#news").getByText("is held").waitFor({ state: "attached" });
  assert.match(await desk.title(), /^\(2\)/);
  await deny(desk, first);
  await deny(desk, second);
  await state(desk, second, "denied");
});

await check("two holds that come at once stand in their order, whichever is heard of first", async () => {
  let asked = 0;
  await desk.route("**/holds/*/card", async (route) => {
    if (asked++ === 0) await new Promise((done) => setTimeout(done, 500));
    await route.continue();
  });
  const one = await hold({ argv: ["at once", "one"] });
  const two = await hold({ argv: ["at once", "two"] });
  await card(desk, two).waitFor();
  await desk.unroute("**/holds/*/card");
  const order = await desk.locator(".card[data-state=pending]").evaluateAll((cards) => cards.map((card) => card.dataset.hold));
  assert.deepEqual(order, [one, two]);
  await deny(desk, one);
  await deny(desk, two);
  await state(desk, two, "denied");
});

await check("keys: j and k move, d goes to the reason, a to Approve and never approves, ? helps", async () => {
  await desk.reload();
  await live(desk);
  const one = await hold({ argv: ["key", "one"] });
  const two = await hold({ argv: ["key", "two"] });
  await armed(desk, two);
  const focused = () => desk.evaluate(() => document.activeElement.closest(".card")?.dataset.hold);
  await desk.keyboard.press("j");
  assert.equal(await focused(), one);
  await desk.keyboard.press("j");
  assert.equal(await focused(), two);
  await desk.keyboard.press("k");
  assert.equal(await focused(), one);
  await desk.keyboard.press("a");
  assert.equal(await desk.evaluate(() => document.activeElement.dataset.decision), "approve");
  await desk.keyboard.press("a");
  await desk.waitForTimeout(200);
  assert.equal(await card(desk, one).getAttribute("data-state"), "pending");
  await desk.keyboard.press("?");
  await desk.getByRole("dialog").waitFor();
  await accessible(desk, "help");
  await shot(desk, "help");
  await desk.keyboard.press("Escape");
  await desk.evaluate(() => document.activeElement.blur());
  await desk.keyboard.press("d");
  assert.equal(await desk.evaluate(() => document.activeElement.name), "reason");
  await desk.keyboard.type("jkda?");
  await desk.keyboard.press("Enter");
  assert.equal((await ended(one)).result.reason, "jkda?");
  await deny(desk, two);
});

await check("a file edit shows its diff, with signs", async () => {
  const id = await hold(EDIT);
  await armed(desk, id);
  assert.equal(await card(desk, id).locator("tr.added").count(), 2);
  assert.equal(await card(desk, id).locator("tr.removed .sign").innerText(), "-");
  await card(desk, id).evaluate((shown) => shown.scrollIntoView({ behavior: "instant" }));
  await shot(desk, "edit");
  await accessible(desk, "an edit");
  await deny(desk, id);
  await state(desk, id, "denied");
});

await check("a hold that nobody decides expires, and stays visible as expired", async () => {
  const id = await hold({ argv: ["too", "late"] }, 1500);
  await state(desk, id, "expired");
  assert.equal((await ended(id)).result.state, "expired");
});

await check("the page survives a restart of the server, and so does the hold", async () => {
  const id = await hold({ argv: ["across", "a", "restart"] });
  await armed(desk, id);
  await ask({ do: "stop" }, (line) => line.stopped);
  await desk.locator('body[data-link="down"]').waitFor();
  await shot(desk, "away");
  await ask({ do: "start" }, (line) => line.started);
  const during = await hold({ argv: ["while", "away"] });
  await live(desk);
  await card(desk, during).waitFor();
  await armed(desk, id);
  await button(desk, id, "Approve").click();
  assert.equal((await ended(id)).result.state, "finished");
  await deny(desk, during);
  await state(desk, during, "denied");
});

await check("without the cookie, or from another origin, nothing is decided; each alone is enough to be refused", async () => {
  const id = await hold({ argv: ["guarded"] });
  await armed(desk, id);
  const [cookie] = await desk.context().cookies(url);
  const fields = await card(desk, id).locator("form.approve").evaluate((form) => Object.fromEntries(new FormData(form)));
  const post = (headers) =>
    fetch(`${url}holds/${id}/decide`, {
      method: "POST", redirect: "manual", body: new URLSearchParams(fields),
      headers: { Origin: origin, Cookie: `${cookie.name}=${cookie.value}`, Accept: "application/json", ...headers },
    }).then((answer) => answer.status);
  assert.equal(await post({ Cookie: "" }), 401);
  assert.equal(await post({ Origin: "http://127.0.0.1:1" }), 403);
  assert.equal(await post({ Origin: "null" }), 403);
  assert.equal(await card(desk, id).getAttribute("data-state"), "pending");
  assert.equal(await post({}), 200, "the same request with everything right is accepted");
  await state(desk, id, "finished");
});

await check("a page of another port can neither decide, nor read, nor frame, nor get the cookie", async () => {
  const id = await hold({ argv: ["coveted"] });
  await armed(desk, id);
  const fields = await card(desk, id).locator("form.approve").evaluate((form) => Object.fromEntries(new FormData(form)));
  const action = `${url}holds/${id}/decide`;
  const cookies = [];
  const evil = http.createServer((request, response) => {
    cookies.push(request.headers.cookie ?? "");
    response.setHeader("content-type", "text/html");
    const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`).join("");
    response.end(`<!doctype html><form id=f method=post action="${action}" target=there>${inputs}</form><iframe name=there></iframe><iframe id=framed src="${url}"></iframe>`);
  });
  await new Promise((accept) => evil.listen(0, "127.0.0.1", accept));
  const evilPage = await desk.context().newPage();
  await evilPage.goto(`http://127.0.0.1:${evil.address().port}/`);
  await evilPage.evaluate(() => document.getElementById("f").submit());
  const tried = await evilPage.evaluate(
    async ({ action, url, fields }) => {
      const body = new URLSearchParams(fields);
      const outcome = (promise) => promise.then((answer) => answer.type, () => "blocked");
      return {
        simple: await outcome(fetch(action, { method: "POST", mode: "no-cors", credentials: "include", body })),
        cors: await outcome(fetch(action, { method: "POST", credentials: "include", body })),
        read: await outcome(fetch(`${url}api/holds`, { credentials: "include" })),
        live: await new Promise((accept) => {
          const events = new EventSource(`${url}events`, { withCredentials: true });
          events.onopen = () => accept("open");
          events.onerror = () => accept("blocked");
        }),
      };
    },
    { action, url, fields },
  );
  assert.deepEqual(tried, { simple: tried.simple, cors: "blocked", read: "blocked", live: "blocked" });
  const frames = evilPage.frames().slice(1);
  for (const frame of frames) {
    const text = await frame.evaluate(() => document.body?.innerText ?? "").catch(() => "");
    assert.ok(!text.includes("coveted"), "framed");
  }
  await desk.waitForTimeout(500);
  assert.equal(await card(desk, id).getAttribute("data-state"), "pending");
  assert.ok(cookies.length > 0);
  assert.deepEqual(cookies.filter((sent) => sent.includes("holdpoint")), [], "the cookie went to another port");
  await evilPage.close();
  evil.close();
  await deny(desk, id);
  await state(desk, id, "denied");
});

await check("phone: both buttons are in reach without scrolling, large, and of one size", async () => {
  const phone = await person({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  await live(phone);
  const id = await hold(INCIDENT);
  await armed(phone, id);
  const [yes, no] = [await button(phone, id, "Approve").boundingBox(), await button(phone, id, "Deny").boundingBox()];
  for (const box of [yes, no]) {
    assert.ok(box.y + box.height <= 844 && box.y > 844 * 0.6, `not in the thumb zone: ${JSON.stringify(box)}`);
    assert.ok(box.height >= 48 && box.width >= 48);
  }
  assert.ok(Math.abs(yes.width - no.width) < 1 && Math.abs(yes.height - no.height) < 1);
  await shot(phone, "phone-light");
  await accessible(phone, "phone");
  await button(phone, id, "Deny").tap();
  await state(phone, id, "denied");
  await phone.context().close();
});

await check("dark, 320 pixels wide, high contrast and reduced motion hold up", async () => {
  const id = await hold(INCIDENT);
  const edit = await hold(EDIT);
  for (const [name, options] of [
    ["desktop-dark", { colorScheme: "dark" }],
    ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
    ["narrow", { viewport: { width: 320, height: 640 }, reducedMotion: "reduce" }],
    ["forced-colors", { forcedColors: "active", colorScheme: "dark" }],
  ]) {
    const page = await person(options);
    await live(page);
    await armed(page, id);
    await shot(page, name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `${name} scrolls sideways by ${wide}`);
    if (name !== "forced-colors") await accessible(page, name);
    await card(page, edit).evaluate((shown) => shown.scrollIntoView({ behavior: "instant" }));
    await shot(page, `${name}-edit`);
    await page.context().close();
  }
  await deny(desk, id);
  await deny(desk, edit);
});

await check("without JavaScript the page can be read, approved and denied", async () => {
  const yes = await hold({ argv: ["plain", "form"] });
  const no = await hold({ argv: ["plain", "refusal"] });
  const page = await person({ javaScriptEnabled: false });
  await shot(page, "no-script");
  await button(page, yes, "Approve").click();
  assert.equal((await ended(yes)).result.state, "finished");
  await card(page, no).locator(".reason").fill("by hand");
  await button(page, no, "Deny").click();
  assert.equal((await ended(no)).result.reason, "by hand");
  await page.context().close();
});

await check("every browser sees a decision; who comes second is told", async () => {
  const other = await person();
  await live(other);
  const id = await hold({ argv: ["two", "people"] });
  await armed(desk, id);
  await armed(other, id);
  await other.route("**/card", (route) => route.abort());
  await deny(desk, id, "first");
  await ended(id);
  await button(other, id, "Approve").click();
  await card(other, id).getByText("already denied").waitFor();
  await other.unroute("**/card");
  await other.context().close();
});

await check("no policy was violated and no script failed, in any page", async () => {
  // The foreign page's attempts are reported by itself, not by ours.
  const ours = complaints.filter((text) => !/frame-ancestors|Framing/.test(text));
  assert.deepEqual(ours, []);
});

await browser.close();
done = true;
server.stdin.end();
rmSync(scratch, { recursive: true, force: true });
console.log(`1..${number}`);
if (failures) console.log(`# ${failures} failed`);
process.exit(failures ? 1 : 0);
