// Small SVG charts: lines with marks, axes with round numbers, and the nearest point's figures under the pointer.

const SVG = "http://www.w3.org/2000/svg";
const MARKS = [
  "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5", "M-4.5-4.5H4.5V4.5H-4.5Z", "M0-6L5.5 4.5H-5.5Z", "M0-6L6 0L0 6L-6 0Z",
  "M0 6L5.5-4.5H-5.5Z", "M-5-5L5 5M5-5L-5 5", "M0-6V6M-6 0H6", "M-6-3H6M-6 3H6",
];
const STROKED = 5; // from here on marks have no area

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

function mark(parent, style, x, y) {
  const color = `var(--s${style % 8})`;
  const open = style % MARKS.length >= STROKED;
  return element("path", {
    d: MARKS[style % MARKS.length], transform: `translate(${x} ${y})`, fill: open ? "none" : color, stroke: color,
    "stroke-width": open ? 2 : 0,
  }, parent);
}

// Round numbers across a range: about `count` of them; decades and their 2 and 5 on a logarithmic axis.
function ticks(low, high, count, log) {
  const found = [];
  if (log) {
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const m of high / low > 300 ? [1] : high / low > 8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8]) found.push(m * 10 ** e);
  } else {
    const rough = (high - low) / count;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough);
    for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(k * step);
  }
  return found.filter((t) => t >= low * (1 - 1e-9) - 1e-12 && t <= high * (1 + 1e-9) + 1e-12);
}

function short(value) {
  return Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 5, useGrouping: value >= 10000 });
}

// Padded range of all values; on a logarithmic axis the padding is a factor.
function rangeOf(values, log) {
  let low = Math.min(...values), high = Math.max(...values);
  if (log) return [low / 1.15, high * 1.15];
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.02 || 1;
  return [low - pad, high + pad];
}

// host: a .chart element. series: [{name, style, points: [{x, y, text}], thick}]. x, y: {label, log}. marks: false for
// lines alone. Draws again when the host's width changes.
function chart(host, { series, x, y, marks = true, lines = true }) {
  const full = series.filter((s) => s.points.length);
  const draw = () => drawChart(host, full, x, y, marks, lines);
  host.redraw?.disconnect();
  let width = 0;
  host.redraw = new ResizeObserver(() => {
    if (host.clientWidth !== width) { width = host.clientWidth; draw(); }
  });
  host.redraw.observe(host);
}

function drawChart(host, series, x, y, marks, lines) {
  host.replaceChildren();
  const all = series.flatMap((s) => s.points);
  if (!all.length) {
    const empty = document.createElement("p");
    empty.className = "empty";
    empty.textContent = "Nothing was measured here.";
    host.append(empty);
    return;
  }
  host.append(legend(series));
  const width = Math.max(260, host.clientWidth - 16), height = Math.round(Math.min(420, Math.max(240, width * 0.5)));
  const box = { left: 56, right: 14, top: 12, bottom: 42 };
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${y.label} over ${x.label}` });
  host.append(svg);
  const scale = (axis, values, from, to) => {
    const [low, high] = rangeOf(values, axis.log);
    const f = axis.log ? Math.log : (v) => v;
    return { low, high, at: (v) => from + ((f(v) - f(low)) / (f(high) - f(low))) * (to - from) };
  };
  const sx = scale(x, all.map((p) => p.x), box.left, width - box.right);
  const sy = scale(y, all.map((p) => p.y), height - box.bottom, box.top);
  let reached = -Infinity;
  for (const t of ticks(sx.low, sx.high, width / 90, x.log)) {
    const at = sx.at(t);
    element("line", { class: "grid", x1: at, x2: at, y1: box.top, y2: height - box.bottom }, svg);
    if (at - reached < 38) continue;
    reached = at;
    element("text", { x: at, y: height - box.bottom + 17, "text-anchor": "middle" }, svg).textContent = short(t);
  }
  for (const t of ticks(sy.low, sy.high, 6, y.log)) {
    const at = sy.at(t);
    element("line", { class: "grid", x1: box.left, x2: width - box.right, y1: at, y2: at }, svg);
    element("text", { x: box.left - 7, y: at + 4, "text-anchor": "end" }, svg).textContent = short(t);
  }
  element("text", { x: (box.left + width - box.right) / 2, y: height - 8, "text-anchor": "middle" }, svg).textContent = x.label;
  const turned = `translate(13 ${(box.top + height - box.bottom) / 2}) rotate(-90)`;
  element("text", { transform: turned, "text-anchor": "middle" }, svg).textContent = y.label;
  const placed = [];
  for (const s of [...series].reverse()) { // the first series, lvc's, lies on top
    const at = s.points.map((p) => [sx.at(p.x), sy.at(p.y)]);
    const d = "M" + at.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L");
    if (lines) element("path", { class: s.thick ? "curve thick" : "curve", d, stroke: `var(--s${s.style % 8})` }, svg);
    at.forEach(([px, py], i) => {
      if (marks) mark(svg, s.style, px, py);
      placed.push({ px, py, text: `${s.name}\n${s.points[i].text}` });
    });
  }
  pointTip(host, svg, placed, width);
}

function legend(series) {
  const made = document.createElement("div");
  made.className = "legend";
  for (const s of series) {
    const entry = document.createElement("span");
    const svg = element("svg", { viewBox: "-8 -8 16 16" });
    mark(svg, s.style, 0, 0);
    entry.append(svg, s.name);
    made.append(entry);
  }
  return made;
}

function pointTip(host, svg, placed, width) {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  host.append(tip);
  const show = (event) => {
    const bounds = svg.getBoundingClientRect(), k = width / bounds.width;
    const mx = (event.clientX - bounds.left) * k, my = (event.clientY - bounds.top) * k;
    let best = null, least = 40 ** 2;
    for (const p of placed) {
      const far = (p.px - mx) ** 2 + (p.py - my) ** 2;
      if (far < least) { best = p; least = far; }
    }
    tip.hidden = !best;
    if (!best) return;
    tip.textContent = best.text;
    const left = best.px / k + 8 + (svg.getBoundingClientRect().left - host.getBoundingClientRect().left);
    tip.style.left = `${Math.max(4, Math.min(left, host.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${svg.offsetTop + svg.getBoundingClientRect().top - host.getBoundingClientRect().top + best.py / k + 10}px`;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}
