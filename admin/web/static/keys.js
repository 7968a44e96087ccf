// The keyboard's way. No single key changes anything.
import { toggleHold } from "./live.js";
import { openPalette } from "./palette.js";

const places = new Map([...document.querySelectorAll(".side a[data-key]")].map((a) => [a.dataset.key, a]));
let after = ""; // g was pressed, and when
let at = 0;
let used = ""; // the key that is down and has done something

document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const t = event.target;
  if (t.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, dialog, [contenteditable]")) {
    if (event.key === "Escape" && t.id === "find") t.blur();
    return;
  }
  if (after === "g" && Date.now() - at < 1500) {
    after = "";
    const place = places.get(event.key);
    if (place) { event.preventDefault(); location.href = place.href; }
    return;
  }
  after = "";
  const act = keys[event.key];
  if (act) { event.preventDefault(); used = event.key; act(); }
});

// What has led into a field is not typed there as well, should its character come by itself.
document.addEventListener("keypress", (event) => { if (event.key === used) event.preventDefault(); });
document.addEventListener("keyup", () => { used = ""; });

const keys = {
  g() { after = "g"; at = Date.now(); },
  j() { step(1); },
  k() { step(-1); },
  "/"() { const f = document.querySelector("[data-filter]") ?? document.getElementById("find"); f.focus(); f.select(); },
  "?"() { help(); },
  h() { toggleHold(); },
};

// step goes to the next row's link, from where the focus is.
function step(by) {
  const rows = [...document.querySelectorAll("main [data-row]")].filter((r) => r.querySelector("a[href]"));
  if (!rows.length) return;
  const here = rows.indexOf(document.activeElement?.closest?.("[data-row]"));
  const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + by));
  rows[next].querySelector("th a[href], a[href]").focus();
}

const lines = [
  ["g", "then one of", ""],
  ...[...places].map(([key, a]) => [`g ${key}`, a.querySelector("span").textContent, "place"]),
  ["j k", "next row, row before", ""],
  ["Enter", "open the row", ""],
  ["/", "search, or filter this list", ""],
  ["Ctrl K", "go to a topic, channel or node", ""],
  ["h", "hold the page as it is", ""],
  ["Esc", "close", ""],
  ["?", "this list", ""],
].slice(1);

function help() {
  let dialog = document.getElementById("keys");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.id = "keys";
    dialog.setAttribute("aria-labelledby", "keys-h");
    const h = document.createElement("h2");
    h.id = "keys-h";
    h.textContent = "Keys";
    const list = document.createElement("dl");
    for (const [key, what] of lines) {
      const dt = document.createElement("dt");
      for (const part of key.split(" ")) {
        const k = document.createElement("kbd");
        k.textContent = part;
        dt.append(k, " ");
      }
      const dd = document.createElement("dd");
      dd.textContent = what;
      list.append(dt, dd);
    }
    const form = document.createElement("form");
    form.method = "dialog";
    const close = document.createElement("button");
    close.textContent = "Close";
    form.append(close);
    dialog.append(h, list, form);
    document.body.append(dialog);
  }
  dialog.showModal();
}

for (const b of document.querySelectorAll("[data-help]")) b.addEventListener("click", help);
