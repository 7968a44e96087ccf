// Everything reads and works without these; they make it live.
import "./theme.js";
import "./live.js";
import "./chart.js";
import "./keys.js";
import "./forms.js";

document.documentElement.classList.add("scripted");
