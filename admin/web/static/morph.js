// morph makes the children of one element like those of another, and touches nothing
// that is alike already: focus, selection, scroll positions, open <details> and what
// somebody is typing stay as they are.
//
// Elements are the same if they have the same key (data-id or id), or none and the same
// name at the same place. An element with data-keep is left alone, and so is what a
// script has put there with it. Attributes that begin with data-js are scripts'.

export function morph(from, to) {
  const active = document.activeElement;
  const range = selectionOf(active);
  children(from, to);
  if (active && active !== document.activeElement && active.isConnected && from.contains(active)) {
    active.focus({ preventScroll: true });
    if (range) active.setSelectionRange(...range);
  }
}

function selectionOf(field) {
  try {
    return field?.selectionStart == null ? null : [field.selectionStart, field.selectionEnd, field.selectionDirection];
  } catch {
    return null; // a field that has none
  }
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset?.id || node.id || "" : "");

function children(from, to) {
  const keyed = new Map();
  for (const child of from.children) {
    const key = keyOf(child);
    if (key) keyed.set(key, child);
  }
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    while (at && kept(at) && !same(at, want)) at = at.nextSibling;
    const key = keyOf(want);
    const old = key ? keyed.get(key) : at && !keyOf(at) && same(at, want) ? at : null;
    if (!old || old.nodeName !== want.nodeName) {
      from.insertBefore(want, at);
      continue;
    }
    keyed.delete(key);
    if (old === at) at = at.nextSibling;
    else move(from, old, at);
    one(old, want);
  }
  while (at) {
    const next = at.nextSibling;
    if (!kept(at)) at.remove();
    at = next;
  }
}

const kept = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-keep");
const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName;

// moveBefore, where there is one, keeps focus and animations of what it moves.
function move(parent, node, before) {
  if (parent.moveBefore) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

function one(old, want) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== want.nodeValue) old.nodeValue = want.nodeValue;
    return;
  }
  if (kept(old)) return;
  const touched = isTouched(old);
  for (const { name } of [...old.attributes]) {
    if (!want.hasAttribute(name) && !ours(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of want.attributes) {
    if (old.getAttribute(name) !== value && !ours(old, name)) old.setAttribute(name, value);
  }
  if (old.nodeName === "TEXTAREA") {
    if (!touched && old.defaultValue !== want.defaultValue) old.defaultValue = old.value = want.defaultValue;
    return;
  }
  if (old.nodeName === "INPUT" && !touched) {
    old.value = want.getAttribute("value") ?? old.value;
    old.checked = want.hasAttribute("checked");
  }
  if (old.nodeName === "SELECT" && touched) return;
  children(old, want);
}

// A field that somebody has changed, or is in, keeps what is in it.
function isTouched(e) {
  if (e === document.activeElement) return true;
  switch (e.nodeName) {
    case "INPUT": return e.type === "checkbox" || e.type === "radio" ? e.checked !== e.defaultChecked : e.value !== e.defaultValue;
    case "TEXTAREA": return e.value !== e.defaultValue;
    case "SELECT": return [...e.options].some((o) => o.selected !== o.defaultSelected) && e.dataset.jsTouched === "true";
  }
  return false;
}

// What is the browser's or a script's to change.
function ours(e, name) {
  return name.startsWith("data-js") || (name === "open" && (e.nodeName === "DETAILS" || e.nodeName === "DIALOG")) ||
    (name === "disabled" && e.hasAttribute("data-confirmed"));
}
