// The page of a video: the player that decodes here, or the browser's own with a converted stream; the time in the address.
const stage = document.getElementById("stage");
const notice = document.getElementById("notice");
const { src, models, mp4, hls, segments, poster, transcode, ratio } = stage.dataset;
const seconds = Number(stage.dataset.seconds) || 0;
let player = null;

if (ratio) stage.style.setProperty("--ratio", ratio);

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

// 12.5, 90s, 1:30 and 0:01:30 as in #t=…
export function timeIn(hash) {
  const match = /^#?t=(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)s?$/.exec(hash);
  return match ? Number(match[1] ?? 0) * 3600 + Number(match[2] ?? 0) * 60 + Number(match[3]) : null;
}

function withTime(time) {
  return `#t=${Math.round(time * 100) / 100}`;
}

function seek(time) {
  if (!player) return;
  const end = Number.isFinite(player.duration) && player.duration > 0 ? player.duration : seconds || time;
  player.currentTime = Math.min(time, Math.max(0, end - 0.01));
}

function onHash() {
  const time = timeIn(location.hash);
  if (time !== null) seek(time);
}

// The address follows, so that it can be sent on, but the history does not fill.
function remember() {
  if (player && !player.seeking) history.replaceState(null, "", withTime(player.currentTime));
}

function adopt(element, start) {
  player = element;
  for (const event of ["pause", "seeked"]) element.addEventListener(event, remember);
  element.addEventListener("timeupdate", aim);
  stage.append(element);
  if (start === null && location.hash) onHash();
}

function aim() {
  const link = document.getElementById("similar");
  if (link && player) {
    const address = new URL(link.href);
    address.searchParams.set("t", player.currentTime.toFixed(2));
    link.href = address.pathname + address.search;
  }
}

async function decodeHere() {
  let reason;
  try {
    const module = await import(stage.dataset.player);
    reason = module.supported();
  } catch {
    reason = "the player could not be loaded";
  }
  if (reason) return convert(reason);
  const start = timeIn(location.hash);
  const element = document.createElement("lvz-player");
  element.setAttribute("controls", "");
  element.setAttribute("models", models);
  if (start !== null) element.setAttribute("start", String(start));
  element.addEventListener("unsupported", (event) => {
    event.preventDefault();
    element.remove();
    convert(event.detail?.reason ?? "");
  });
  element.addEventListener("error", () => say(element.error?.message ? `This video stopped: ${element.error.message}` : ""));
  element.setAttribute("src", src);
  adopt(element, start);
}

async function convert(reason) {
  if (!hls) {
    say(`This browser cannot decode .lvz${reason ? ` (${reason})` : ""}, and the server was started without conversion.`);
    return;
  }
  if (reason) say(`Converted by the server while it plays, because this browser cannot decode it: ${reason}.`);
  const video = document.createElement("video");
  Object.assign(video, { controls: true, playsInline: true, poster, preload: "metadata" });
  video.addEventListener("error", () => say(`This video stopped: ${video.error?.message || "it could not be converted"}.`));
  const start = timeIn(location.hash) ?? 0;
  const { canStream, stream } = await import("./stream.js");
  if (canStream()) {
    stream(video, segments, say);
    video.addEventListener("loadedmetadata", () => start && seek(start), { once: true });
  } else if (video.canPlayType("application/vnd.apple.mpegurl")) {
    video.src = hls;
    video.addEventListener("loadedmetadata", () => start && seek(start), { once: true });
  } else {
    video.src = `${mp4}${start ? `?start=${start}` : ""}`;
  }
  adopt(video, start);
}

// Keys work wherever the focus is, unless something there wants them itself.
const KEYS = new Set([" ", "k", "f", "m", "c", ",", ".", "<", ">", "ArrowLeft", "ArrowRight", ..."0123456789"]);
document.addEventListener("keydown", (event) => {
  const at = event.target;
  const free = at === document.body || at.id === "main";
  if (!player || !free || event.ctrlKey || event.metaKey || event.altKey || !KEYS.has(event.key)) return;
  event.preventDefault();
  if (player.localName === "lvz-player") {
    player.focus({ preventScroll: true });
    player.dispatchEvent(new KeyboardEvent("keydown", { key: event.key, code: event.code, shiftKey: event.shiftKey, cancelable: true }));
  } else {
    ownKeys(event.key);
  }
});

function ownKeys(key) {
  if (key === " " || key === "k") player.paused ? player.play() : player.pause();
  else if (key === "ArrowLeft" || key === "ArrowRight") seek(Math.max(0, player.currentTime + (key === "ArrowLeft" ? -5 : 5)));
  else if (key === "f") document.fullscreenElement ? document.exitFullscreen() : player.requestFullscreen();
  else if (key === "m") player.muted = !player.muted;
  else if (key === "<" || key === ">") player.playbackRate = Math.min(4, Math.max(0.25, player.playbackRate * (key === "<" ? 0.8 : 1.25)));
  else if (/^\d$/.test(key)) seek((seconds * Number(key)) / 10);
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    prompt("Copy this address:", text); // without https, browsers give no clipboard
  }
  setTimeout(() => (button.textContent = before), 1500);
}

for (const field of document.querySelectorAll("input[data-path]")) {
  field.value = new URL(field.dataset.path, location.href).href;
  field.addEventListener("focus", () => field.select());
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy).value, button));
}
const share = document.getElementById("share");
share.addEventListener("click", () => copy(new URL(withTime(player.currentTime), location.href).href, share));
addEventListener("hashchange", onHash);

if (!stage.querySelector("[role=alert]")) {
  share.hidden = false;
  await (transcode ? convert("") : decodeHere());
}
