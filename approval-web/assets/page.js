// The live part of the page: shows new holds, counts down, sends decisions. Everything works without it, by forms and
// reloading. Cards come ready-made from the server; text is only ever set as text.
"use strict";
(() => {
  const body = document.body;
  const path = body.dataset.path;
  const list = document.getElementById("open");
  const link = document.getElementById("link");
  const news = document.getElementById("news");
  const more = document.getElementById("more");
  const moreButton = document.getElementById("more-button");
  const help = document.getElementById("help");
  const INERT_MS = 700;
  const SILENT_MS = 15000;
  const warned = new Set();
  let ahead = Number(body.dataset.now) - Date.now();
  let lastSeen = Number(body.dataset.seq);
  let lastHeard = Date.now();
  let unseen = null;

  const cards = () => Array.from(list.querySelectorAll(".card"));
  const pending = () => cards().filter((card) => card.dataset.state === "pending");
  const cardOf = (id) => list.querySelector(`.card[data-hold="${CSS.escape(id)}"]`);

  // A card that has just appeared, moved or come back into view cannot be approved by a click meant for something else.
  const arm = (card) => {
    const button = card.querySelector('[data-decision="approve"]');
    if (!button) return;
    button.setAttribute("aria-disabled", "true");
    clearTimeout(card.arming);
    card.arming = setTimeout(() => button.removeAttribute("aria-disabled"), INERT_MS);
  };
  const armAll = () => pending().forEach(arm);

  const count = () => {
    const waiting = pending().length;
    document.title = waiting ? `(${waiting}) Holdpoint` : "Holdpoint";
    document.getElementById("empty").hidden = cards().length > 0;
  };

  // A document fetched this way runs no scripts, and is no string that becomes markup here.
  const fetchPage = (url) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("GET", url);
      request.responseType = "document";
      request.timeout = 10000;
      request.ontimeout = () => reject(new Error("slow"));
      request.onload = () => (request.status === 200 ? resolve(request.response) : reject(new Error(String(request.status))));
      request.onerror = () => reject(new Error("away"));
      request.send();
    });

  const place = (fresh) => {
    const card = document.importNode(fresh, true);
    const old = cardOf(card.dataset.hold);
    if (!old) {
      if (card.dataset.state !== "pending") return;
      list.append(card);
      arm(card);
      countDown();
      const name = card.querySelector(".kind").textContent;
      news.textContent = `New: a ${name} is held. ${pending().length} waiting.`;
      if (card.getBoundingClientRect().top > window.innerHeight - 80) {
        unseen = unseen || card;
        moreButton.textContent = "A new hold is below ↓";
        more.hidden = false;
      }
    } else if (old.dataset.state !== card.dataset.state) {
      // The list must not move under the pointer: the card keeps its height.
      const height = old.offsetHeight;
      const hadFocus = old.contains(document.activeElement);
      old.replaceWith(card);
      card.style.minHeight = `${height}px`;
      if (hadFocus) card.focus({ preventScroll: true });
      const result = card.querySelector(".result");
      if (result) news.textContent = result.textContent;
    }
    count();
  };

  // One after the other: an answer that overtakes another would exchange two cards, or bring an old state back.
  let turn = Promise.resolve();
  const inTurn = (work) => (turn = turn.then(work).catch(() => {}));

  const refresh = (id) =>
    inTurn(() =>
      fetchPage(`${path}holds/${encodeURIComponent(id)}/card`)
        .then((page) => page.querySelector(".card"))
        .then((card) => card && place(card)),
    );

  const resync = () =>
    inTurn(() =>
      fetchPage(path).then((page) => {
        const now = new Set();
        page.querySelectorAll("#open .card").forEach((card) => {
          now.add(card.dataset.hold);
          place(card);
        });
        cards().filter((card) => !now.has(card.dataset.hold)).forEach((card) => refresh(card.dataset.hold));
      }),
    );

  const live = (up, text) => {
    body.dataset.link = up ? "up" : "down";
    if (link.textContent !== text) link.textContent = text;
  };

  const listen = () => {
    const events = new EventSource(`${path}events?after=${lastSeen}`);
    const heard = (event) => {
      lastHeard = Date.now();
      if (event.lastEventId) lastSeen = Number(event.lastEventId);
      return JSON.parse(event.data);
    };
    events.addEventListener("hello", (event) => {
      ahead = heard(event).now - Date.now();
      live(true, "Live");
    });
    events.addEventListener("tick", (event) => {
      ahead = heard(event).now - Date.now();
      live(true, "Live");
    });
    events.addEventListener("hold", (event) => refresh(heard(event).id));
    events.addEventListener("resync", (event) => {
      heard(event);
      resync();
    });
    events.addEventListener("error", () => {
      live(false, "Reconnecting…");
      if (events.readyState === EventSource.CLOSED) {
        events.close();
        setTimeout(listen, 2000);
      }
    });
  };

  const tell = (card, text) => {
    card.querySelector(".problem").textContent = text;
  };

  const send = async (form, card) => {
    const buttons = card.querySelectorAll(".button");
    buttons.forEach((button) => (button.disabled = true));
    tell(card, "");
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        headers: { Accept: "application/json" },
        body: new URLSearchParams(new FormData(form)),
        redirect: "error",
      });
      if (!answer.ok) tell(card, `Not done: ${(await answer.json()).error}.`);
      if (answer.ok || answer.status === 409 || answer.status === 412) await refresh(card.dataset.hold);
    } catch {
      tell(card, "Not done: the server is away.");
    }
    buttons.forEach((button) => (button.disabled = false));
  };

  document.addEventListener("submit", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    event.preventDefault();
    const approve = event.target.classList.contains("approve");
    const inert = card.querySelector('[data-decision="approve"]').getAttribute("aria-disabled") === "true";
    if (approve && (inert || body.dataset.link !== "up" || !event.isTrusted)) return;
    send(event.target, card);
  });

  const countDown = () => {
    const now = Date.now() + ahead;
    list.querySelectorAll("time[data-expires]").forEach((time) => {
      const left = Math.max(0, Math.ceil((Number(time.dataset.expires) - now) / 1000));
      const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      if (time.textContent !== text) time.textContent = text;
      time.parentElement.firstElementChild.textContent = "expires in";
      time.classList.toggle("urgent", left <= 20);
      const id = time.closest(".card").dataset.hold;
      if (left === 20 && !warned.has(id)) {
        warned.add(id);
        news.textContent = "A hold expires in 20 seconds.";
      }
    });
    if (Date.now() - lastHeard > SILENT_MS) live(false, "Reconnecting…");
  };

  const current = () => document.activeElement.closest(".card") || pending()[0] || cards()[0];
  const step = (by) => {
    const all = cards();
    if (!all.length) return;
    const here = all.indexOf(document.activeElement.closest(".card"));
    const next = here < 0 ? 0 : Math.min(all.length - 1, Math.max(0, here + by));
    all[next].focus({ preventScroll: true });
    all[next].scrollIntoView({ block: "start" });
  };
  const focusIn = (selector) => {
    const card = current();
    const target = card && card.querySelector(selector);
    if (target) target.focus();
  };
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    d: () => focusIn(".reason"),
    a: () => focusIn('[data-decision="approve"]'),
    "?": () => help.showModal(),
  };
  const keysOn = document.getElementById("keys-on");
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || (!keysOn.checked && event.key !== "?")) return;
    const act = Object.hasOwn(keys, event.key) && keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  document.getElementById("help-button").addEventListener("click", () => help.showModal());

  moreButton.addEventListener("click", () => {
    more.hidden = true;
    if (unseen) {
      unseen.scrollIntoView({ block: "start" });
      unseen.focus({ preventScroll: true });
    }
    unseen = null;
  });
  window.addEventListener(
    "scroll",
    () => {
      if (unseen && unseen.getBoundingClientRect().top < window.innerHeight - 80) {
        more.hidden = true;
        unseen = null;
      }
    },
    { passive: true },
  );
  document.addEventListener("visibilitychange", () => document.hidden || armAll());
  window.addEventListener("focus", armAll);

  body.classList.add("script");
  live(false, "Connecting…");
  armAll();
  count();
  countDown();
  setInterval(countDown, 1000);
  listen();
})();
