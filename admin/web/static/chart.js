// uPlot over the charts that the server has drawn, for looking at single moments. The
// data are in the figure; uPlot is loaded when there is a chart to draw.

const figures = () => [...document.querySelectorAll("figure[data-series]")];
const height = 180;
const drawn = new WeakMap(); // figure: what is drawn over it, and of what
let loading = null;

function load() {
  const at = document.body.dataset.static;
  loading ??= new Promise((resolve, reject) => {
    const css = document.createElement("link");
    css.rel = "stylesheet";
    css.href = `${at}uplot/uPlot.min.css`;
    const script = document.createElement("script");
    script.src = `${at}uplot/uPlot.iife.min.js`;
    script.onload = () => resolve(window.uPlot);
    script.onerror = reject;
    document.head.append(css, script);
  });
  return loading;
}

async function draw() {
  if (!figures().length) return;
  let Plot;
  try {
    Plot = await load();
  } catch {
    return; // the server's drawing stays
  }
  for (const figure of figures()) update(Plot, figure);
}

function update(Plot, figure) {
  const old = drawn.get(figure);
  const json = figure.dataset.series;
  if (old?.json === json && old.host.isConnected) return;
  const chart = JSON.parse(json);
  const data = columns(chart);
  if (old && old.host.isConnected && old.plot.series.length === data.length) {
    old.json = json;
    old.chart = chart;
    old.plot.setData(data);
    newest(old.plot);
    return;
  }
  old?.plot.destroy();
  const host = document.createElement("div");
  host.className = "plot";
  host.setAttribute("data-keep", "");
  host.setAttribute("aria-hidden", "true"); // the table beside it has the same
  figure.querySelector("svg.chart").before(host);
  figure.setAttribute("data-js-drawn", "");
  const now = { json, host, chart };
  now.plot = new Plot(options(figure, now), data, host);
  drawn.set(figure, now);
}

function columns({ from, step, series }) {
  const times = Array.from({ length: series[0]?.values.length ?? 0 }, (_, i) => from + i * step);
  return [times, ...series.map((s) => s.values)];
}

// newest puts the last moment that is known into the legend, as long as the pointer is at none.
function newest(plot) {
  if (plot.cursor.idx != null) return;
  const idx = plot.data[0].findLastIndex((_, i) => plot.data.some((values, s) => s > 0 && values[i] != null));
  if (idx >= 0) plot.setLegend({ idx }, false);
}

// A canvas wants a colour, not light-dark(): a property that is computed has one.
function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function options(figure, state) {
  const chart = state.chart;
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: colour("--soft"), font, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
  return {
    width: room(figure),
    height,
    padding: [8, 10, 0, 0],
    tzDate: (s) => { const d = new Date(s * 1000); return new Date(d.getTime() + d.getTimezoneOffset() * 60_000); }, // UTC, as everywhere
    cursor: { drag: { x: true, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, min, max) => [Math.min(0, min ?? 0), max > 0 ? max * 1.08 : 1] } },
    axes: [
      { ...axis, size: 26, values: (_, ticks, __, ___, step) => ticks.map((t) => moment(t, step)) },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(short) },
    ],
    legend: { live: true },
    series: [
      { value: (plot, s) => (s == null ? "–" : clock(s, plot.data[0])), label: "UTC" },
      ...chart.series.map((s, i) => ({
        label: s.name, stroke: colour(`--series-${i + 1}`), width: 1.6, dash: dashes[i], spanGaps: false, points: { show: false },
        value: (_, v) => (v == null ? "–" : v.toLocaleString("en", { maximumFractionDigits: v < 10 ? 2 : 0 }) + (chart.unit ?? "")),
      })),
    ],
    hooks: { draw: [(plot) => marks(plot, state)], ready: [newest], setCursor: [newest] },
  };
}

// marks are restarts of daemons: what happens there is no change of load.
function marks(plot, state) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour("--edge");
  ctx.setLineDash([3, 3]);
  for (const m of state.chart.marks ?? []) {
    const x = Math.round(plot.valToPos(m, "x", true)) + 0.5;
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

// clock is a point's time, with its day if there are several.
function clock(t, times) {
  const iso = new Date(t * 1000).toISOString();
  return times.at(-1) - times[0] > 43_200 ? iso.slice(5, 16).replace("T", " ") : iso.slice(11, 19);
}

// moment is a tick's time, by how far ticks are apart.
function moment(t, step) {
  const iso = new Date(t * 1000).toISOString();
  return step >= 86_400 ? iso.slice(5, 10) : step < 60 ? iso.slice(11, 19) : iso.slice(11, 16);
}

const room = (figure) => { const s = getComputedStyle(figure); return figure.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight); };

function short(v) {
  const units = ["", "k", "M", "G", "T", "P", "E"];
  let i = 0;
  while (Math.abs(v) >= 1000 && i < units.length - 1) { v /= 1000; i++; }
  return `${Number(v.toPrecision(3))}${units[i]}`;
}

function redraw() {
  for (const f of figures()) {
    const d = drawn.get(f);
    if (!d) continue;
    d.plot.destroy();
    d.host.remove();
    drawn.delete(f);
  }
  draw();
}

new ResizeObserver(() => {
  for (const f of figures()) {
    const d = drawn.get(f);
    if (d && f.clientWidth && d.plot.width !== room(f)) d.plot.setSize({ width: room(f), height });
  }
}).observe(document.getElementById("page"));

document.addEventListener("millrace:page", draw);
document.addEventListener("millrace:theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
draw();
