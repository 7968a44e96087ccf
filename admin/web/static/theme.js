// The switch between light, dark and what the system has. The server remembers it in a
// cookie and renders the attribute, so no page is drawn in the wrong one first.

for (const form of document.querySelectorAll("form.themes")) {
  form.addEventListener("submit", (event) => {
    const theme = event.submitter?.value;
    if (!theme) return;
    event.preventDefault();
    show(theme);
    const body = new URLSearchParams({ theme, back: "/" });
    fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => {}); // the next page asks again
  });
}

function show(theme) {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  document.querySelector('meta[name="color-scheme"]').content = theme === "system" ? "light dark" : theme;
  for (const b of document.querySelectorAll("form.themes button")) b.setAttribute("aria-pressed", String(b.value === theme));
  document.dispatchEvent(new Event("millrace:theme"));
}
