// Two pictures of one frame under a divider that can be dragged, enlarged together, or their difference.

const viewer = { split: 0.5, x: 0.5, y: 0.5, clip: null, held: false };
const ZOOMS = [[0, "Fit"], [1, "1×"], [2, "2×"], [4, "4×"], [8, "8×"]];
const find = (selector) => document.querySelector(selector);

function option(select, value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  select.append(made);
}

// Keeps what was chosen before, where it still exists.
function refill(select, entries, fallback) {
  const before = select.value;
  select.replaceChildren();
  for (const [value, text] of entries) option(select, value, text);
  const values = entries.map(([value]) => String(value));
  select.value = values.includes(before) ? before : String(fallback ?? values[0] ?? "");
}

function showClip(clip, codecs) {
  viewer.clip = clip;
  const frames = Object.keys(clip.pictures);
  find("#viewer").hidden = !frames.length;
  if (!frames.length) return;
  const there = ["original", ...codecs.filter((c) => c in clip.pictures[frames[0]])];
  const names = there.map((c) => [c, c]);
  refill(find("#left"), names, there[1]);
  refill(find("#right"), names, there[2] ?? "original");
  refill(find("#frame"), frames.map((f) => [f, `${f} of ${clip.frames}`]));
  viewer.x = viewer.y = 0.5;
  loadPictures();
}

function loadPictures() {
  const { clip, held } = viewer;
  const pictures = clip.pictures[find("#frame").value];
  for (const side of ["left", "right"]) {
    const codec = held ? "original" : find(`#${side}`).value;
    const image = find(`.layer.${side} img`);
    image.onload = layOut;
    image.src = pictures[codec];
    image.alt = `frame ${find("#frame").value}, ${codec}`;
    find(`.tag.${side}`).textContent = codec;
  }
  find("#viewer-note").textContent = ["left", "right"].map((side) => described(find(`#${side}`).value)).join(" · ");
}

function described(codec) {
  const { clip } = viewer;
  const point = clip.points.find((p) => p.codec === codec && p.at === clip.pictures_at);
  if (!point) return codec;
  const frame = Number(find("#frame").value), psnr = point.series.psnr_y?.[frame];
  return `${codec}, ${settingOf(point)}: ${point.kbps ? `${point.kbps.toFixed(0)} kbit/s, ` : ""}` +
    `${(point.bytes / 1000).toFixed(1)} kB, this frame PSNR-Y ${psnr?.toFixed(2) ?? "–"} dB`;
}

// The picture's size on the page, where it lies, and where the divider is.
function layOut() {
  const stage = find("#stage"), image = find(".layer.left img");
  const { naturalWidth: w, naturalHeight: h } = image;
  if (!w || !stage.clientWidth) return;
  const fit = Math.min(stage.clientWidth / w, (window.innerHeight * 0.8) / h);
  const scale = chosen.zoom || fit;
  stage.style.height = `${Math.round(h * fit)}px`;
  stage.classList.toggle("zoomed", chosen.zoom > 0);
  stage.classList.toggle("sharp", scale >= 2);
  // (x, y): which part of the picture lies in the middle of the stage
  const place = (part, room, size) => {
    const free = room - size * scale;
    return free >= 0 ? free / 2 : Math.min(0, Math.max(free, room / 2 - part * size * scale));
  };
  const left = place(viewer.x, stage.clientWidth, w), top = place(viewer.y, h * fit, h);
  for (const one of stage.querySelectorAll("img, canvas")) one.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
  stage.style.setProperty("--split", `${viewer.split * 100}%`);
  find("#divider").setAttribute("aria-valuenow", Math.round(viewer.split * 100));
  viewer.scale = scale;
  drawDifference();
}

function drawDifference() {
  const on = find("#difference").checked, canvas = find("#stage canvas");
  const [left, right] = ["left", "right"].map((side) => find(`.layer.${side} img`));
  canvas.hidden = !on;
  find("#gain-label").hidden = !on;
  find("#divider").hidden = on;
  if (!on || !left.complete || !right.complete) return;
  const gain = Number(find("#gain").value), w = left.naturalWidth, h = left.naturalHeight;
  const state = `${left.src.length} ${find("#left").value} ${find("#right").value} ${find("#frame").value} ${viewer.held} ${gain} ${viewer.clip.name}`;
  if (canvas.dataset.state === state) return;
  const pixels = (image) => {
    const scratch = new OffscreenCanvas(w, h).getContext("2d");
    scratch.drawImage(image, 0, 0);
    return scratch.getImageData(0, 0, w, h);
  };
  const a = pixels(left), b = pixels(right).data;
  for (let i = 0; i < b.length; i++) a.data[i] = i % 4 === 3 ? 255 : Math.abs(a.data[i] - b[i]) * gain;
  canvas.width = w;
  canvas.height = h;
  canvas.getContext("2d").putImageData(a, 0, 0);
  canvas.dataset.state = state;
}

function setSplit(part) {
  viewer.split = Math.min(1, Math.max(0, part));
  layOut();
}

// On the divider, or anywhere while the whole picture is shown, a drag moves the divider; in an enlarged picture it pans.
function startDrag(event) {
  const stage = find("#stage"), box = stage.getBoundingClientRect();
  const image = find(".layer.left img");
  const moves = event.target.closest("#divider") || !chosen.zoom;
  let { clientX, clientY } = event;
  const drag = (e) => {
    if (moves) {
      setSplit((e.clientX - box.left) / box.width);
    } else {
      const part = (v) => Math.min(1, Math.max(0, v));
      viewer.x = part(viewer.x - (e.clientX - clientX) / (image.naturalWidth * viewer.scale));
      viewer.y = part(viewer.y - (e.clientY - clientY) / (image.naturalHeight * viewer.scale));
      ({ clientX, clientY } = e);
      layOut();
    }
  };
  const end = () => {
    stage.removeEventListener("pointermove", drag);
    stage.removeEventListener("pointerup", end);
    stage.removeEventListener("pointercancel", end);
  };
  stage.setPointerCapture(event.pointerId);
  stage.addEventListener("pointermove", drag);
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  if (moves) drag(event);
}

function hold(on) {
  if (viewer.held === on || !viewer.clip) return;
  viewer.held = on;
  loadPictures();
}

function startViewer() {
  choice("zoom", ZOOMS, layOut);
  for (const id of ["left", "right", "frame"]) find(`#${id}`).addEventListener("change", loadPictures);
  for (const id of ["difference", "gain"]) find(`#${id}`).addEventListener("input", layOut);
  find("#stage").addEventListener("pointerdown", startDrag);
  find("#divider").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (step) { setSplit(viewer.split + step); event.preventDefault(); }
  });
  const button = find("#hold");
  button.addEventListener("pointerdown", () => hold(true));
  for (const kind of ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"]) button.addEventListener(kind, () => hold(false));
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") hold(true); });
  new ResizeObserver(layOut).observe(find("#stage"));
}
