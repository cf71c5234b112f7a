// Puts the data of one run on the page: what is chosen above decides what every chart shows.

const DATA = JSON.parse(find("#data").textContent);
const ALL = "";
const chosen = { job: "encode", kind: "fps", zoom: 0 };
const style = (codec) => DATA.codecs.indexOf(codec);
const isLvc = (codec) => codec.split(":")[0] === "lvc";
const clipNamed = (name) => DATA.clips.find((c) => c.name === name);
const metricName = () => DATA.metrics[find("#metric").value];
const anchors = DATA.codecs.filter((c) => !isLvc(c));

function shown(value, places) {
  return value == null ? "–" : value.toFixed(places);
}

function signed(value, places) {
  return value == null ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(places);
}

function cell(row, text, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  row.append(made);
}

function table(target, head, rows) {
  target.replaceChildren();
  const top = target.createTHead().insertRow();
  for (const text of head) cell(top, text, "th");
  const body = target.createTBody();
  for (const { cells, lvc } of rows) {
    const row = body.insertRow();
    row.className = lvc ? "lvc" : "";
    for (const text of cells) cell(row, text);
  }
}

// The points of the chosen clip, or the means over all clips, in one shape: codec, at, bpp, quality, speed.
function currentPoints() {
  const clip = clipNamed(find("#clip").value);
  if (clip) return clip.points;
  return DATA.averages.map((row) => ({
    codec: row.codec, at: row.at, setting: row.crf, bpp: row.bpp, quality: row,
    speed: {
      encode: { fps: row.encode_fps, process: row.encode_fps_process, starved: row.encode_starved },
      decode: { fps: row.decode_fps, process: row.decode_fps_process, starved: row.decode_starved },
    },
  }));
}

function settingOf(p) {
  const own = p.setting == null ? "" : `${isLvc(p.codec) ? "quality" : "CRF"} ${p.setting}`;
  return own || `at lvc's ${p.at}`;
}

function seriesOf(points, toPoint) {
  return DATA.codecs.map((codec) => ({
    name: codec, style: style(codec), thick: isLvc(codec),
    points: points.filter((p) => p.codec === codec).map(toPoint).filter((p) => p && p.x > 0 && p.y != null),
  }));
}

// Means at one CRF and means at lvc's sizes are of different mixtures of clips, and lie on different curves.
function onOneCurve(points) {
  const own = new Set(points.filter((p) => p.at == null).map((p) => p.codec));
  return find("#clip").value === ALL ? points.filter((p) => p.at == null || !own.has(p.codec)) : points;
}

function drawRates() {
  const metric = find("#metric").value, places = DATA.places[metric];
  const series = seriesOf(onOneCurve(currentPoints()), (p) => ({
    x: p.bpp, y: p.quality[metric],
    text: `${settingOf(p)}\n${p.bpp.toFixed(4)} bpp${p.kbps ? `, ${p.kbps.toFixed(0)} kbit/s` : ""}\n${shown(p.quality[metric], places)}`,
  }));
  for (const s of series) s.points.sort((a, b) => a.x - b.x);
  chart(find("#rd"), { series, x: { label: "bits per pixel", log: true }, y: { label: metricName() } });
  const all = find("#clip").value === ALL;
  find("#rd-note").textContent = all
    ? `Means over the ${DATA.averages[0]?.clips ?? 0} clips on which every codec was measured. Higher (ST-LPIPS: lower) and further left is better.`
    : "Higher (ST-LPIPS: lower) and further left is better.";
}

function drawSpeeds() {
  const metric = find("#metric").value, { job, kind } = chosen;
  // where a codec was measured with a processor of its own too, nothing else tells its speed
  const fed = new Set(currentPoints().filter((p) => p.speed[job] && !p.speed[job].starved).map((p) => p.codec));
  const points = currentPoints().filter((p) => !(p.speed[job]?.starved && fed.has(p.codec))).sort((a, b) => a.bpp - b.bpp);
  const series = seriesOf(points, (p) => {
    const fps = p.speed[job]?.[kind];
    return fps && { x: fps, y: p.quality[metric], text: `${settingOf(p)}\n${fps.toFixed(1)} fps\n${shown(p.quality[metric], DATA.places[metric])}` };
  });
  const label = `frames per second, ${job === "encode" ? "encoding" : "decoding"}`;
  chart(find("#speed"), { series, x: { label, log: true }, y: { label: metricName() } });
  const starved = points.some((p) => p.speed[job]?.starved);
  find("#speed-note").textContent = "Further right is faster. Points joined by a line are the same codec. " +
    (kind === "fps" ? "Without the start of the process; clips of under 40 frames have no such figure for lvc." : "Frames over the time of the whole process, its start included.") +
    (Number(DATA.settings["points at a time"]) > 1 ? " Several points were measured at a time and slowed each other down." : "") +
    (starved ? " Some waited for the processor, because the machine was busy with other work: they are faster than it seems." : "");
}

// Buttons of which one is pressed; `chosen[name]` is its value.
function choice(name, entries, draw) {
  const group = find(`#${name}`);
  for (const [value, text] of entries) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-pressed", value === chosen[name]);
    button.addEventListener("click", () => {
      chosen[name] = value;
      for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      draw();
    });
    group.append(button);
  }
}

function drawTime() {
  // the means have no frames: then the first clip's are shown
  const clip = clipNamed(find("#clip").value) ?? DATA.clips[0];
  const metric = find("#metric").value, at = Number(find("#at").value);
  const points = clip?.points ?? [], goal = points.find((p) => isLvc(p.codec) && p.at === at)?.bytes;
  // an anchor at CRFs of its own has a point of this size at one of lvc's qualities only: else the nearest is shown
  const off = (p) => Math.abs(Math.log(p.bytes / goal));
  const pick = (codec) => points.find((p) => p.codec === codec && p.at === at) ??
    points.filter((p) => goal && p.codec === codec && !isLvc(codec)).sort((a, b) => off(a) - off(b))[0];
  const series = DATA.codecs.map((codec) => {
    const point = pick(codec), size = point && `${(point.bytes / 1000).toFixed(1)} kB`;
    return {
      name: codec, style: style(codec), thick: isLvc(codec),
      points: (point?.series[metric] ?? [])
        .map((y, i) => ({ x: i, y, text: `frame ${i}\n${shown(y, DATA.places[metric])}\n${size}` })).filter((p) => p.y != null),
    };
  });
  const far = DATA.codecs.map(pick).filter((p) => p && !isLvc(p.codec) && goal && off(p) > Math.log(1.02));
  find("#time-note").textContent = anchors.length === 0 ? "" : far.length === 0
    ? "Anchors at lvc's size."
    : `Anchors at lvc's size, ${(goal / 1000).toFixed(1)} kB, or at the CRF that comes nearest: ` +
      far.map((p) => `${p.codec} ${(p.bytes / 1000).toFixed(1)} kB`).join(", ") + ".";
  chart(find("#time"), { series, x: { label: clip ? `frame of ${clip.name}` : "frame" }, y: { label: metricName() }, marks: false });
}

function drawBd() {
  const clip = find("#clip").value, metrics = Object.keys(DATA.metrics);
  const found = clip === ALL ? DATA.means : DATA.verdicts.filter((v) => v.clip === clip);
  const pairs = [...new Set(found.map((v) => `${v.codec} against ${v.anchor}`))];
  find("#bd-title").textContent = DATA.curves ? "Bits at equal quality" : "Quality at equal size";
  find("#bd-note").textContent = (DATA.curves
    ? "BD-rate in %: how many more (+) or fewer (−) bits at equal quality; in brackets BD-quality at equal size. " +
      "By PCHIP over log rate, only where the curves overlap; "
    : "How much better (+) or worse (−) at equal size. A BD-rate needs three points of a codec; ") +
    "SSIM and MS-SSIM in dB, −10·log10(1 − x).";
  const head = [clip === ALL ? "mean over clips" : clip, ...metrics.map((m) => DATA.metrics[m])];
  table(find("#bd"), head, pairs.map((pair) => ({
    cells: [pair, ...metrics.map((m) => {
      const v = found.find((one) => `${one.codec} against ${one.anchor}` === pair && one.metric === m);
      if (!v) return "–";
      if (!DATA.curves) return signed(v.gap, 2);
      if (v.rate == null) return v.note || `no overlap (${signed(v.quality, 2)})`;
      const counted = v.clips > v.count ? ` · ${v.count} of ${v.clips}` : "";
      return `${signed(v.rate, 1)} (${signed(v.quality, 2)})${counted}${v.note ? ` · ${v.note}` : ""}`;
    })],
  })));
}

// More or fewer bits; where there are too few points for a curve, more or less quality at equal size.
function headline(v) {
  if (!DATA.curves) return v.gap == null ? "–" : `${signed(v.gap, 2)}${v.metric.startsWith("vmaf") ? "" : " dB"}`;
  return v.rate == null ? v.note || "no overlap" : `${signed(v.rate, 1)} %`;
}

function drawTiles() {
  const metric = find("#metric").value, clip = find("#clip").value;
  const all = clip === ALL ? DATA.means : DATA.verdicts.filter((v) => v.clip === clip);
  const found = all.filter((v) => v.metric === metric && (DATA.curves || v.gap != null));
  find("#tiles").replaceChildren(...found.map((v) => {
    const tile = document.createElement("div"), big = document.createElement("b"), small = document.createElement("span");
    big.textContent = headline(v);
    small.textContent = DATA.curves
      ? `bits at equal ${metricName()}, ${v.codec} against ${v.anchor}`
      : `${metricName()} at equal size, ${v.codec} against ${v.anchor}`;
    tile.append(big, small);
    const seen = all.find((w) => w.metric === "vmaf" && w.codec === v.codec && w.anchor === v.anchor);
    if (seen && metric !== "vmaf") {
      const more = document.createElement("span");
      more.textContent = `VMAF: ${headline(seen)}`;
      tile.append(more);
    }
    return tile;
  }));
}

function drawTables() {
  const metrics = Object.keys(DATA.metrics);
  const head = ["codec", "q/crf", "kB", "bpp", ...metrics.map((m) => DATA.metrics[m]), "enc fps", "whole", "dec fps", "whole", "kMAC/px enc", "dec", "MiB", "key frames"];
  for (const clip of DATA.clips) {
    const details = document.createElement("details"), summary = document.createElement("summary");
    const scroll = document.createElement("div"), target = document.createElement("table");
    summary.textContent = `${clip.name}: ${clip.frames} frames ${clip.width}×${clip.height}, ${clip.rate} fps, ${clip.bit_depth} bits`;
    scroll.className = "scroll";
    scroll.append(target);
    details.append(summary, scroll);
    table(target, head, clip.points.map((p) => {
      const { encode: e, decode: d } = p.speed;
      return {
        lvc: isLvc(p.codec),
        cells: [
          p.codec, String(p.setting), (p.bytes / 1000).toFixed(1), (p.far ? "≠" : "") + p.bpp.toFixed(4),
          ...metrics.map((m) => shown(p.quality[m], DATA.places[m])), (e?.starved ? "~" : "") + shown(e?.fps, 1), shown(e?.process, 1), (d?.starved ? "~" : "") + shown(d?.fps, 1), shown(d?.process, 1),
          shown(e?.kmacs, 1), shown(d?.kmacs, 1), String(Math.max(e?.mib ?? 0, d?.mib ?? 0)), p.key_frames ?? "–",
        ],
      };
    }));
    find("#tables").append(details);
  }
}

function drawAll() {
  drawTiles();
  drawRates();
  drawSpeeds();
  drawTime();
  drawBd();
}

function start() {
  const clips = DATA.clips.map((c) => [c.name, c.name]);
  refill(find("#clip"), DATA.clips.length === 1 ? clips : [[ALL, `Mean of ${DATA.clips.length} clips`], ...clips]);
  refill(find("#metric"), Object.entries(DATA.metrics));
  refill(find("#at"), DATA.qualities.map((q) => [q, q]), DATA.clips[0]?.pictures_at);
  find("#frame-by-frame").hidden = !DATA.qualities.length;
  const frames = DATA.clips.reduce((sum, c) => sum + c.frames, 0);
  find("#lead").textContent = `${DATA.clips.length} ${DATA.clips.length === 1 ? "clip" : "clips"}, ${frames} frames, lvc ${DATA.versions.lvc}` +
    (anchors.length ? ` beside ${anchors.join(", ")}` : "") + ".";
  const steady = DATA.clips.some((c) => c.points.some((p) => isLvc(p.codec) && p.speed.encode?.fps));
  chosen.kind = steady ? "fps" : "process";
  choice("job", [["encode", "Encoding"], ["decode", "Decoding"]], drawSpeeds);
  choice("kind", [["fps", "Steady"], ["process", "Whole process"]], drawSpeeds);
  for (const [name, value] of [...Object.entries(DATA.settings), ...Object.entries(DATA.versions)]) {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    find("#versions").append(term, text);
  }
  for (const { clip, point, error } of DATA.failed) {
    const item = document.createElement("li");
    item.textContent = `${clip}, ${point}: ${error}`;
    find("#failed ul").append(item);
  }
  find("#failed").hidden = !DATA.failed.length;
  startViewer();
  drawTables();
  drawAll();
  const pick = () => { const clip = clipNamed(find("#clip").value) ?? DATA.clips[0]; if (clip) showClip(clip, DATA.codecs); };
  pick();
  find("#clip").addEventListener("change", () => { drawAll(); pick(); });
  find("#metric").addEventListener("change", drawAll);
  find("#at").addEventListener("change", drawTime);
}

start();
