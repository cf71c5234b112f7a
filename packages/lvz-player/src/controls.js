/** The bar under the picture. It uses nothing of the element but what a page can use too, and previews. */
import { clock } from "./clock.js";
import { Renderer } from "./renderer.js";

const ICONS = {
  play: "M8 5v14l11-7z", pause: "M6 5h4v14H6zm8 0h4v14h-4z", again: "M12 5V1L7 6l5 5V7a6 6 0 1 1-6 6H4a8 8 0 1 0 8-8z",
  loud: "M3 9v6h4l5 5V4L7 9zm13.5 3A4.5 4.5 0 0 0 14 8v8a4.5 4.5 0 0 0 2.5-4zM14 3.2v2.1a7 7 0 0 1 0 13.4v2.1a9 9 0 0 0 0-17.6z",
  mute: "M3 9v6h4l5 5V4L7 9zm18.5.9-1.4-1.4-2.6 2.6-2.6-2.6-1.4 1.4 2.6 2.6-2.6 2.6 1.4 1.4 2.6-2.6 2.6 2.6 1.4-1.4-2.6-2.6z",
  full: "M5 5h6v2H7v4H5zm8 0h6v6h-2V7h-4zM5 13h2v4h4v2H5zm12 0h2v6h-6v-2h4z",
  small: "M9 5h2v6H5V9h4zm4 0h2v4h4v2h-6zm-8 8h6v6H9v-4H5zm8 0h6v2h-4v4h-2z",
  text: "M4 5h16a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zm2 6v2h5v-2zm7 0v2h5v-2zm-7 3.5v2h8v-2z",
};
export const SPEEDS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];
const HIDE_MS = 2500;
const REST_MS = 100; // of the pointer over the seek bar, after which a click is expected

const SVG = "http://www.w3.org/2000/svg";
function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function make(tag, className, ...inside) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...inside);
  return made;
}

export class Controls {
  constructor(player) {
    this.player = player;
    this.play = this.button(() => (player.paused ? player.play().catch(() => {}) : player.pause()));
    this.mute = this.button(() => (player.muted = !player.muted));
    this.volume = this.range("volume", "Volume", () => {
      player.volume = Number(this.volume.value);
      player.muted = player.volume === 0;
    });
    [this.volume.max, this.volume.step] = [1, 0.05];
    this.seek = this.range("seek", "Time", () => (player.currentTime = Number(this.seek.value)));
    this.seek.step = "any";
    this.time = make("span", "time");
    this.speed = make("select", "speed");
    this.speed.setAttribute("aria-label", "Speed");
    for (const speed of SPEEDS) this.speed.append(new Option(`${speed}×`, speed, speed === 1, speed === 1));
    this.speed.addEventListener("change", () => (player.playbackRate = Number(this.speed.value)));
    this.text = this.button(() => player.toggleSubtitles());
    this.full = this.button(() => player.toggleFullscreen());
    const row = make("div", "row", this.play, this.mute, this.volume, this.time, make("span", "gap"), this.text, this.speed, this.full);
    this.bar = make("div", "bar", this.seek, row);
    this.bar.setAttribute("role", "group");
    this.bar.setAttribute("aria-label", "Video controls");
    this.preview = make("div", "preview");
    this.preview.hidden = true;
    this.bar.append(this.preview);
    this.seek.addEventListener("pointermove", (event) => this.hover(event));
    this.seek.addEventListener("pointerleave", () => {
      this.preview.hidden = true;
      clearTimeout(this.resting);
    });
    this.listening = new AbortController();
    const { signal } = this.listening;
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) player.addEventListener(name, () => this.wake(), { signal });
    player.addEventListener("pointerleave", () => this.wake(400), { signal });
    const changes = ["play", "pause", "ended", "seeking", "seeked", "timeupdate", "volumechange", "ratechange", "loadedmetadata", "durationchange", "canplay", "error"];
    for (const name of changes) player.addEventListener(name, () => this.update(), { signal });
    document.addEventListener("fullscreenchange", () => this.update(), { signal });
    this.update();
    this.wake();
  }

  button(act) {
    const made = make("button", "");
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  range(className, label, act) {
    const made = make("input", className);
    made.type = "range";
    made.min = 0;
    made.setAttribute("aria-label", label);
    made.addEventListener("input", act);
    return made;
  }

  show(button, name, label, key, pressed = null) {
    if (button.shown !== name) button.replaceChildren(icon(name));
    button.shown = name;
    button.title = `${label} (${key})`;
    button.setAttribute("aria-label", label);
    if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
  }

  update() {
    const { player } = this;
    const { duration, currentTime, paused, ended } = player;
    const known = Number.isFinite(duration);
    this.show(this.play, ended ? "again" : paused ? "play" : "pause", ended ? "Play again" : paused ? "Play" : "Pause", "space");
    const silent = player.muted || player.volume === 0;
    this.show(this.mute, silent ? "mute" : "loud", silent ? "Sound on" : "Sound off", "m");
    this.mute.hidden = this.volume.hidden = !player.hasSound;
    this.volume.value = silent ? 0 : player.volume;
    this.volume.style.setProperty("--done", `${100 * Number(this.volume.value)}%`);
    this.seek.max = known ? duration : 0;
    if (!player.seeking || !this.seek.matches(":active")) this.seek.value = currentTime;
    this.seek.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(known ? duration : 0)}`);
    const part = (time) => `${known && duration > 0 ? Math.min(100, (100 * time) / duration) : 0}%`;
    this.seek.style.setProperty("--done", part(currentTime));
    this.seek.style.setProperty("--there", part(Math.max(currentTime, player.decodedTo)));
    this.time.textContent = `${clock(currentTime)} / ${known ? clock(duration) : "–:––"}`;
    if (!SPEEDS.includes(player.playbackRate)) this.speed.value = "";
    else this.speed.value = String(player.playbackRate);
    this.text.hidden = !player.hasSubtitles;
    this.show(this.text, "text", "Subtitles", "c", player.subtitles);
    const full = document.fullscreenElement === player;
    this.show(this.full, full ? "small" : "full", full ? "Leave full screen" : "Full screen", "f");
    if (paused) this.wake();
  }

  /** Shown, until nothing happens for a while. */
  wake(after = HIDE_MS) {
    this.bar.classList.add("on");
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => {
      const { player } = this;
      if (!player.paused && !this.bar.matches(":focus-within, :hover")) this.bar.classList.remove("on");
    }, after);
  }

  hover(event) {
    const { player, seek, preview } = this;
    if (!Number.isFinite(player.duration) || event.pointerType === "touch") return;
    const bounds = seek.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - bounds.left) / bounds.width));
    const time = part * player.duration;
    preview.hidden = false;
    this.hovered = player.previewAt(time, (data, video) => this.drawPreview(data, video));
    clearTimeout(this.resting);
    this.resting = setTimeout(() => player.expect(time), REST_MS);
    const half = preview.offsetWidth / 2;
    preview.style.left = `${Math.min(bounds.width - half + 10, Math.max(half + 10, part * bounds.width + 10))}px`;
    this.label ??= preview.appendChild(make("span", ""));
    this.label.textContent = clock(time);
  }

  drawPreview(data, video) {
    if (this.drawer === undefined) {
      const canvas = make("canvas", "");
      try {
        this.drawer = new Renderer(canvas, false);
      } catch {
        this.drawer = null;
      }
      if (this.drawer !== null) this.preview.prepend(canvas);
    }
    if (this.drawer === null) return;
    if (this.drawer.video !== video) this.drawer.set(video);
    this.drawer.draw(data);
  }

  close() {
    this.listening.abort();
    clearTimeout(this.resting);
    clearTimeout(this.hiding);
  }
}
