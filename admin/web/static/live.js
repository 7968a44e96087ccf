// The page as it is now: server-sent events bring the inside of <main> when it has
// changed. Hold keeps it as it is; a tab that nobody sees asks for nothing.
import { morph } from "./morph.js";

const body = document.body;
const main = document.getElementById("page");
const sampled = document.getElementById("sampled");
const hold = document.getElementById("hold");
const announce = document.getElementById("announce");

const hiddenFor = 20_000; // milliseconds that a hidden tab stays connected
const slowest = 30_000; // between two attempts to connect

let source = null;
let failures = 0;
let retry = 0;
let leave = 0;
let held = false;
let lost = false;
let newest = Number(sampled.dataset.at);
let waiting = null; // the newest page that came while it was held
let failuresSeen = null;

function connect() {
  clearTimeout(retry);
  if (source || !body.dataset.events || document.hidden) return;
  source = new EventSource(body.dataset.events);
  source.addEventListener("page", (e) => page(e.data));
  source.addEventListener("sample", (e) => sample(JSON.parse(e.data)));
  source.addEventListener("reload", reload);
  source.onerror = () => {
    disconnect();
    lost = true;
    tick();
    const wait = Math.min(slowest, 1000 * 2 ** failures++);
    retry = setTimeout(connect, wait * (0.5 + Math.random() / 2)); // all viewers must not come back at once
  };
}

function disconnect() {
  source?.close();
  source = null;
}

function page(html) {
  if (held) waiting = html;
  else show(html);
}

function show(html) {
  waiting = null;
  const parsed = new DOMParser().parseFromString(`<!DOCTYPE html><main>${html}</main>`, "text/html");
  morph(main, document.adoptNode(parsed.querySelector("main")));
  document.dispatchEvent(new Event("millrace:page"));
}

function sample(s) {
  failures = 0;
  lost = false;
  newest = s.at;
  if (!held) sampled.dataset.at = newest; // else it is how old what is shown is
  sampled.dataset.period = s.period;
  for (const e of document.querySelectorAll("[data-count]")) {
    const text = s[e.dataset.count];
    if (e.textContent !== text) e.textContent = text;
    if (e.dataset.count === "troubles") e.dataset.worst = s.worst;
  }
  if (s.title) document.title = s.title;
  if (failuresSeen !== null && s.failures > failuresSeen) {
    announce.textContent = `${s.failures} ${s.failures === 1 ? "failure" : "failures"} now, ${failuresSeen} before`;
  }
  failuresSeen = s.failures;
  tick();
}

// The server wants the page to be loaded anew: somebody was signed out, or it was
// upgraded. What somebody is typing is worth more than that.
function reload() {
  disconnect();
  const dirty = [...main.querySelectorAll("input, textarea")].some((f) => f.type !== "hidden" && f.value !== f.defaultValue);
  if (dirty || held) {
    lost = true;
    tick();
    return;
  }
  location.reload();
}

// tick says how old what is shown is.
function tick() {
  const at = Number(sampled.dataset.at);
  const age = Math.max(0, Math.round((Date.now() - at) / 1000));
  const text = at ? (age === 0 ? "now" : `${span(age)} ago`) : "no sample yet";
  const late = at && age * 1000 > 3 * Number(sampled.dataset.period) + 5000;
  const state = held ? "held" : lost ? "lost" : late ? "late" : source && at ? "live" : "";
  const words = { held: "held, ", lost: "not connected, ", late: "late, " }[state] ?? "";
  if (sampled.textContent !== words + text) sampled.textContent = words + text;
  sampled.dataset.state = state;
}

function span(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export function toggleHold() {
  held = !held;
  hold.setAttribute("aria-pressed", String(held));
  hold.querySelector("span").textContent = held ? "Held" : "Hold";
  if (!held) {
    sampled.dataset.at = newest;
    if (waiting !== null) show(waiting);
  }
  tick();
}

hold.addEventListener("click", toggleHold);
document.addEventListener("visibilitychange", () => {
  clearTimeout(leave);
  if (document.hidden) {
    leave = setTimeout(() => { clearTimeout(retry); disconnect(); }, hiddenFor);
  } else {
    failures = 0;
    connect();
    tick();
  }
});
window.addEventListener("pagehide", disconnect);
window.addEventListener("pageshow", (e) => { if (e.persisted) connect(); });
setInterval(() => { if (!document.hidden) tick(); }, 1000);
connect();
tick();
