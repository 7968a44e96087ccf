// What forms and tables gain: a button that waits for the name to be typed, choosing
// all rows, copying as curl.

const main = document.getElementById("page");

main.addEventListener("input", (event) => {
  const field = event.target;
  if (field.nodeName === "SELECT") field.dataset.jsTouched = "true";
  if (field.matches("[data-all]")) { // before refresh, which makes it what the boxes are
    for (const box of boxes(field)) box.checked = field.checked;
  }
  refresh();
});
document.addEventListener("millrace:page", refresh);

function boxes(e) {
  return [...e.closest("form").querySelectorAll('tbody input[type="checkbox"]')];
}

function refresh() {
  for (const field of main.querySelectorAll("input[data-confirm]")) {
    const button = field.form.querySelector("[data-confirmed]");
    if (button) button.disabled = field.value.trim() !== field.dataset.confirm;
  }
  for (const all of main.querySelectorAll("[data-all]")) {
    const list = boxes(all);
    const chosen = list.filter((b) => b.checked);
    all.checked = list.length > 0 && chosen.length === list.length;
    all.indeterminate = chosen.length > 0 && !all.checked;
    for (const box of list) box.closest("tr").toggleAttribute("data-js-chosen", box.checked);
    const note = all.closest("form").querySelector("[data-chosen]");
    if (note) note.textContent = chosen.length ? `${chosen.length} chosen` : "";
    for (const b of all.closest("form").querySelectorAll("button[data-bulk]")) b.disabled = chosen.length === 0;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-of], [data-curl]");
  if (!button) return;
  const of = document.getElementById(button.dataset.copyOf);
  const text = button.dataset.curl ? curl(button) : of ? of.textContent : button.dataset.copy;
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  label.textContent = (await copy(text)) ? "Copied" : "Not allowed to copy";
  setTimeout(() => { label.textContent = before; }, 1500);
});

// curl is the command that asks for the same: of a page its data, of a form what it does.
function curl(button) {
  const url = new URL(button.dataset.curl, location.href).href;
  const form = button.closest("form");
  if (!button.dataset.action || !form) return `curl -s ${quote(url)}`;
  const data = new FormData(form);
  const args = {};
  for (const [name, value] of data) {
    if (![...names, "pick", "confirm", "ask"].includes(name) && typeof value === "string" && value !== "") args[name] = value;
  }
  const body = JSON.stringify({ action: button.dataset.action, targets: targets(data), args });
  return `curl -s -X POST -H 'Content-Type: application/json' --data ${quote(body)} ${quote(url)}`;
}

const names = ["topic", "channel", "node", "id"];

// targets are the product of what a form names, as the server makes it.
function targets(data) {
  let list = [{}];
  for (const name of names) {
    const values = data.getAll(name).filter((v) => v !== "");
    if (values.length) list = list.flatMap((t) => values.map((v) => ({ ...t, [name]: v.trim() })));
  }
  const picked = data.getAll("pick").filter((v) => v !== "");
  if (!picked.length) return list;
  return list.flatMap((t) => picked.map((v) => ({ ...t, node: v.slice(0, Math.max(0, v.lastIndexOf("/"))), id: v.slice(v.lastIndexOf("/") + 1) })));
}

const quote = (s) => `'${s.replaceAll("'", `'\\''`)}'`;

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return older(text); // there is no clipboard without TLS but on loopback
  }
}

function older(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

refresh();
