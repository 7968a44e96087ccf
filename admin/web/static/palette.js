// Ctrl-K: names of topics, channels and nodes while they are typed. What else can be
// found (clients, a message by its ID) is on the page of the search.

const base = document.body.dataset.base;
let dialog, input, list, asked = 0, shown = "";

export function openPalette() {
  if (!dialog) build();
  if (dialog.open) return;
  dialog.showModal();
  input.select();
  ask();
}

function build() {
  dialog = document.createElement("dialog");
  dialog.id = "palette";
  dialog.setAttribute("aria-label", "Go to");
  input = document.createElement("input");
  input.type = "search";
  input.maxLength = 200;
  input.placeholder = "Go to a topic, channel or node";
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-expanded": "true", "aria-controls": "hits", "aria-autocomplete": "list", "aria-label": "Go to", autocomplete: "off", spellcheck: "false",
  })) input.setAttribute(name, value);
  list = document.createElement("ul");
  list.id = "hits";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Found");
  dialog.append(input, list);
  document.body.append(dialog);
  input.addEventListener("input", ask);
  input.addEventListener("keydown", key);
  list.addEventListener("click", (e) => go(e.target.closest("[role=option]")));
  dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
}

async function ask() {
  const number = ++asked;
  const q = input.value.trim();
  let hits = [];
  try {
    const answer = await fetch(`${base}/find?q=${encodeURIComponent(q)}`, { headers: { Accept: "application/json" } });
    if (answer.ok) hits = await answer.json();
  } catch { /* the search page can still be gone to */ }
  if (number !== asked) return; // a later one has been typed
  if (q) hits.push({ kind: "search", name: `Search for “${q}” everywhere`, url: `${base}/search?q=${encodeURIComponent(q)}` });
  const was = q === shown ? options()[chosen()]?.dataset.url : null; // somebody may have moved on meanwhile
  shown = q;
  list.replaceChildren(...hits.map(option));
  choose(Math.max(0, options().findIndex((o) => o.dataset.url === was)));
}

function option(hit, i) {
  const li = document.createElement("li");
  li.id = `hit-${i}`;
  li.dataset.url = hit.url;
  li.setAttribute("role", "option");
  const name = document.createElement("span");
  name.textContent = hit.name;
  const kind = document.createElement("small");
  kind.textContent = hit.kind;
  li.append(name, kind);
  return li;
}

const options = () => [...list.children];
const chosen = () => options().findIndex((o) => o.getAttribute("aria-selected") === "true");

function choose(i) {
  options().forEach((o, n) => o.setAttribute("aria-selected", String(n === i)));
  const o = options()[i];
  if (o) { input.setAttribute("aria-activedescendant", o.id); o.scrollIntoView({ block: "nearest" }); }
  else input.removeAttribute("aria-activedescendant");
}

function key(e) {
  const n = options().length;
  if (e.key === "ArrowDown" && n) choose((chosen() + 1) % n);
  else if (e.key === "ArrowUp" && n) choose((chosen() - 1 + n) % n);
  else if (e.key === "Enter") go(options()[chosen()]);
  else if (e.key === "Escape") dialog.close(); // the field would only be emptied, the first time
  else return;
  e.preventDefault();
}

function go(o) {
  if (o) location.href = o.dataset.url;
}
