// Times in the reader's zone, and pages that look again by themselves. Everything works without.
"use strict";

const DAY = { dateStyle: "medium", timeStyle: "medium" };
const CLOCK = { timeStyle: "medium" };

function localise(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const clock = time.querySelector(".clock");
    const at = new Date(time.dateTime);
    if (clock && !Number.isNaN(at.getTime())) {
      clock.textContent = at.toLocaleString([], at.toDateString() === today ? CLOCK : DAY);
    }
  }
}

// Nothing is taken from under the reader: not a selected text, nor a field that is being filled in.
function isBusy(main) {
  const chosen = document.getSelection();
  const active = document.activeElement;
  return (chosen && !chosen.isCollapsed) || (main.contains(active) && active.matches("input, button"));
}

function focused(main) {
  const active = document.activeElement;
  if (!main.contains(active)) return "";
  if (active.matches("a[href]")) return `a[href="${CSS.escape(active.getAttribute("href"))}"]`;
  return active.matches("details[id] > summary") ? `#${CSS.escape(active.parentElement.id)} > summary` : "";
}

function replace(main, fresh) {
  for (const part of main.querySelectorAll("details[open][id]")) {
    const same = fresh.querySelector(`#${CSS.escape(part.id)}`);
    if (same) same.open = true;
  }
  localise(fresh);
  if (fresh.innerHTML === main.innerHTML) return;
  const focus = focused(main);
  main.replaceChildren(...fresh.childNodes);
  if (focus) main.querySelector(focus)?.focus({ preventScroll: true });
}

async function look() {
  const offline = document.getElementById("offline");
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(20000) });
    if (answer.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.getElementById("main");
    const fresh = page.getElementById("main");
    offline.hidden = true;
    if (fresh && !isBusy(main)) replace(main, fresh);
    document.body.dataset.live = page.body.dataset.live || document.body.dataset.live;
  } catch {
    offline.hidden = false;
  }
  return undefined;
}

function keepLooking() {
  const seconds = Number(document.body.dataset.live);
  if (!(seconds > 0)) return;
  setTimeout(async () => {
    if (!document.hidden) await look();
    keepLooking();
  }, seconds * 1000);
}

localise(document);
keepLooking();
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && search && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
  }
});
