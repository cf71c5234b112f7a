/** `<lvz-player src="film.lvz" controls>`: plays a .lvz in the page, by decoding it there. */
import { Controls, SPEEDS } from "./controls.js";
import { hasSimd } from "./engine.js";
import { shownSize } from "./colour.js";
import { Renderer } from "./renderer.js";
import { Session } from "./session.js";
import { Sound } from "./sound.js";
import { sheet } from "./style.js";
import { Subtitles, readable } from "./subtitles.js";

const START_SECONDS = 0.5; // of frames that are there before it plays
const STALL_SECONDS = 0.25; // without a frame, after which it waits
const LATE_SECONDS = 0.05; // of a picture that is still shown
const UPDATE_MS = 200;
const NEAR_MS = 300; // between pictures on the way to the one that is sought
const EXPECT_SECONDS = 2; // of frames that are there, from which on seeks are prepared for while it plays
const SKIP_MOST = 2;
const NOTES = ["", "This machine is slow: every 2nd picture", "This machine is slow: every 4th picture"];

/** Early implementations of relaxed SIMD compute wrong sums. What fails with it is tried once more without, from where it was. */
let plain = false;

/** "" where the player runs; otherwise what the browser lacks. */
export function supported() {
  if (typeof WebAssembly !== "object" || !hasSimd()) return "WebAssembly with SIMD";
  if (typeof WebGL2RenderingContext === "undefined") return "WebGL 2";
  if (typeof DecompressionStream === "undefined" || typeof Worker === "undefined") return "streams that decompress";
  return "";
}

export class LvzPlayer extends HTMLElement {
  static observedAttributes = ["src", "controls", "muted", "models"];

  #session = null;
  #renderer = null;
  #sound = null;
  #subtitles = null;
  #controls = null;
  #info = null;
  #error = null;
  #paused = true;
  #seeking = false;
  #opening = false; // seeks the first picture
  #waiting = false;
  #ended = false;
  #time = 0;
  #clock = null; // {at: performance.now() when it showed `time`, time}; null: it stands
  #rate = 1;
  #volume = 1;
  #muted = false;
  #shown = null;
  #nearest = { away: Infinity, at: -Infinity }; // of the pictures drawn on the way to the one that is sought
  #skip = 0;
  #missed = [];
  #calmSince = 0;
  #changed = 0;
  #updated = 0;
  #textOn = false;
  #previews = new Map();
  #timer = 0;
  #frame = 0;
  #loading = 0;
  #again = null; // {time, playing}: where to go on

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet()];
    const make = (tag, className) => Object.assign(document.createElement(tag), { className });
    this.canvas = make("canvas", "picture");
    this.audio = document.createElement("audio");
    this.spinner = make("div", "spinner");
    this.spinner.hidden = true;
    this.text = make("div", "text");
    this.note = make("div", "note");
    this.note.setAttribute("role", "status");
    this.words = make("div", "words");
    this.words.setAttribute("role", "alert");
    root.append(this.canvas, this.audio, this.spinner, this.text, this.note, this.words);
    this.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("click", () => this.controls && this.#toggle());
    this.canvas.addEventListener("dblclick", () => this.controls && this.toggleFullscreen());
  }

  connectedCallback() {
    if (!this.hasAttribute("tabindex")) this.tabIndex = 0;
    if (!this.hasAttribute("role")) this.setAttribute("role", "region");
    if (!this.hasAttribute("aria-label")) this.setAttribute("aria-label", "Video player");
    if (this.hasAttribute("muted")) this.#muted = true;
    this.#soundLevel();
    this.#wantControls();
    this.#load();
  }

  disconnectedCallback() {
    this.#unload();
    this.#controls?.close();
    this.#controls?.bar.remove();
    this.#controls = null;
  }

  attributeChangedCallback(name, before, now) {
    if (!this.isConnected || before === now) return;
    if (name === "controls") this.#wantControls();
    else if (name === "muted") this.muted = now !== null;
    else this.#load();
  }

  #wantControls() {
    if (this.controls && this.#controls === null) {
      this.#controls = new Controls(this);
      this.text.before(this.#controls.bar);
    } else if (!this.controls && this.#controls !== null) {
      this.#controls.close();
      this.#controls.bar.remove();
      this.#controls = null;
    }
  }

  // --- loading

  #unload() {
    clearInterval(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#session?.close();
    this.#sound?.close();
    this.#session = this.#sound = this.#subtitles = this.#info = this.#shown = this.#error = this.#clock = null;
    this.#previews.clear();
    this.#paused = true;
    this.#seeking = this.#opening = this.#waiting = this.#ended = false;
    this.#time = this.#skip = 0;
    this.words.textContent = this.note.textContent = this.text.textContent = "";
    this.spinner.hidden = true;
  }

  #load() {
    this.#unload();
    this.#again = null;
    const loading = ++this.#loading;
    // once for several attributes that are set together
    queueMicrotask(() => {
      if (loading === this.#loading && this.isConnected && this.src !== "") this.#start();
    });
  }

  #start() {
    const lacks = supported();
    if (lacks === "" && this.#renderer === null) {
      try {
        this.#renderer = new Renderer(this.canvas);
      } catch {
        this.#renderer = null;
      }
    }
    if (lacks !== "" || this.#renderer === null) {
      const reason = lacks || "WebGL 2";
      const taken = !this.dispatchEvent(new CustomEvent("unsupported", { bubbles: true, cancelable: true, detail: { reason } }));
      if (!taken) this.#fail({ name: "UnsupportedError", message: `this browser lacks ${reason}` });
      return;
    }
    this.#emit("loadstart");
    this.spinner.hidden = false;
    const session = new Session({
      opened: (info) => this.#opened(info),
      frame: (frame) => this.#arrived(frame),
      near: ({ time, data }) => this.#nearly(time, data),
      packets: ({ id, stream, group, packets }) => {
        if (id === "text") this.#subtitles?.track.number === stream && this.#subtitles.take(packets);
        else if (this.#sound?.track.number === stream) this.#sound.take(group, packets);
      },
      preview: ({ gop, data }) => {
        const preview = this.#previews.get(gop);
        if (preview === undefined) return;
        preview.data = data;
        preview.draw?.(data);
      },
      error: (error) => this.#fail(error),
    });
    this.#session = session;
    const models = new URL(this.getAttribute("models") ?? new URL("./models/", import.meta.url), this.baseURI);
    session.open(new URL(this.src, this.baseURI).href, models.href, plain, this.#begin);
    this.#timer = setInterval(() => this.#tick(), 250); // frames of animation stop in the background
  }

  /** Looks at every frame of animation what is due, while it plays. */
  #animate() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#tick();
      if (this.#clock !== null) this.#animate();
    });
  }

  /** Where it begins, in seconds. */
  get #begin() {
    const time = Number(this.#again?.time ?? this.getAttribute("start") ?? 0);
    return Number.isFinite(time) ? Math.max(0, time) : 0;
  }

  #opened(info) {
    this.#info = info;
    this.#renderer.set(info.video);
    this.style.aspectRatio = `${this.videoWidth} / ${this.videoHeight}`;
    const tracks = info.tracks.filter((track) => track.kind === "audio" && track.groups.length > 0);
    const first = tracks.find((track) => track.disposition & 1) ?? tracks[0];
    const track = [first, ...tracks].find((one) => one !== undefined && Sound.plays(one));
    if (track !== undefined) {
      this.#sound = new Sound(track, this.audio, (group) => this.#session?.packets(track.number, group, "sound"), () => this.#mute());
      this.#soundLevel();
    } else if (tracks.length > 0) this.note.textContent = `This browser cannot play the sound (${first.codec})`;
    const text = info.tracks.find((one) => readable(one) && one.groups.length > 0);
    if (text !== undefined) {
      this.#subtitles = new Subtitles(text, (group) => this.#session?.packets(text.number, group, "text"));
      this.#textOn = Boolean(text.disposition & 0x41); // default, forced
    }
    this.#emit("durationchange");
    this.#emit("loadedmetadata");
    if (info.frames === 0) {
      this.spinner.hidden = true;
      return;
    }
    this.#time = this.#bounded(this.#begin);
    this.#seeking = this.#opening = true;
    this.#nearest = { away: Infinity, at: -Infinity };
    this.#session.play(this.#time, 0);
    this.#sound?.seek(this.#time);
    if (this.#again?.playing ?? this.autoplay) this.play().catch(() => {});
    this.#again = null;
  }

  /** The sound does not play after all: on without it. */
  #mute() {
    if (this.#sound === null) return;
    const { codec } = this.#sound.track;
    this.#sound.close();
    this.#sound = null;
    this.note.textContent = `This browser cannot play the sound (${codec})`;
    if (this.#clock !== null) this.#run();
    this.#emit("volumechange");
  }

  #fail({ name, message }) {
    if (name === "CorruptError" && this.#info?.relaxed) {
      plain = true;
      const again = { time: this.#time, playing: !this.#paused };
      this.#load();
      this.#again = again;
      return;
    }
    this.#unload();
    this.#error = { name, message };
    this.words.textContent = `This video cannot be played: ${message}`;
    this.#emit("error");
  }

  // --- time

  #bounded(time) {
    return Math.min(Math.max(0, time), this.duration || 0);
  }

  /** Whether the clock is the sound's. */
  get #heard() {
    return this.#sound !== null && this.#time < this.#sound.end - 0.1;
  }

  #now() {
    if (this.#clock === null) return this.#time;
    if (this.#heard) {
      // a picture never goes back because a clock was corrected by a hair
      const time = this.audio.currentTime;
      return time < this.#time && this.#time - time < 0.1 ? this.#time : time;
    }
    return this.#clock.time + ((performance.now() - this.#clock.at) / 1000) * this.#rate;
  }

  #run() {
    this.#clock = { at: performance.now(), time: this.#time };
    this.#animate();
    if (!this.#heard) return;
    this.audio.playbackRate = this.#rate;
    if (Math.abs(this.audio.currentTime - this.#time) > 0.05) this.audio.currentTime = this.#time;
    this.audio.play().catch((error) => {
      if (error.name !== "NotAllowedError" || this.#paused) return;
      this.pause(); // without a click first, a page may not make a sound
    });
  }

  #stop() {
    this.#clock = null;
    this.audio.pause();
  }

  #tick() {
    const session = this.#session;
    if (session === null || this.#info === null || this.#info.frames === 0) return;
    if (this.#clock !== null) {
      const wasHeard = this.#heard;
      this.#time = Math.min(this.#now(), this.duration);
      if (wasHeard && !this.#heard) this.#clock = { at: performance.now(), time: this.#time }; // the sound is over first
    }
    const now = performance.now();
    if (now - this.#updated > UPDATE_MS) {
      this.#updated = now;
      session.tell(this.#time, this.#leaving, this.#seeking);
      if (this.#clock !== null) this.#emit("timeupdate");
      this.#sound?.feed();
      this.#text();
    }
    const due = session.at(this.#time);
    const whole = due !== null && (due.end > this.#time + 1e-6 || due.number === this.#info.frames - 1);
    if (this.#seeking) {
      if (!whole || due.data === null) return;
      if (due.data) this.#sought(due);
      else if (this.#paused) session.play(this.#time, 0); // it was left out while it played
      else {
        const next = session.next(this.#time);
        if (next !== null) this.#sought(next);
      }
      return;
    }
    const over = this.#time >= this.duration - 1e-3;
    const latest = session.latest(this.#time);
    const newer = latest !== null && (this.#shown === null || this.#shown.time < latest.time);
    // what comes too late for the sound is not shown while that goes on
    if (newer && (this.#clock === null || over || this.#time < latest.end + LATE_SECONDS)) this.#draw(latest, latest.data);
    if (this.#waiting) {
      if (session.ready(this.#time, Math.min(this.#time + START_SECONDS * this.#rate, this.duration))) this.#go();
      else if (due !== null && due.data === undefined) this.#go(); // it was left out, because it was late
      return;
    }
    if (this.#clock === null) return;
    if (over) {
      this.#over();
      return;
    }
    const late = !whole || !due.data;
    this.#judge(now, late);
    if (late && this.#time - (latest?.end ?? -1) > STALL_SECONDS) this.#stall();
  }

  #sought(frame) {
    this.#seeking = false;
    this.spinner.hidden = true;
    this.#session.tell(this.#time, this.#leaving);
    this.#draw(frame, frame.data);
    if (!this.#opening) {
      this.#emit("seeked");
      this.#emit("timeupdate");
    }
    this.#opening = false;
    if (this.#clock === null) this.#waiting = !this.#paused;
    this.#emit("canplay");
  }

  #stall() {
    this.#stop();
    this.#waiting = true;
    this.spinner.hidden = false;
    this.#more();
    this.#emit("waiting");
  }

  #go() {
    this.#waiting = false;
    this.spinner.hidden = true;
    this.#run();
    this.#emit("playing");
  }

  #over() {
    this.#stop();
    this.#time = this.duration;
    if (this.loop) {
      this.currentTime = 0;
      return;
    }
    this.#paused = this.#ended = true;
    this.#emit("timeupdate");
    this.#emit("pause");
    this.#emit("ended");
  }

  /** Pictures that are late again and again are left out by the pyramid's lowest place; back when there is room. */
  #judge(now, late) {
    if (this.#lastJudged !== undefined && this.#time === this.#lastJudged) return;
    this.#lastJudged = this.#time;
    this.#missed.push([now, late]);
    while (this.#missed.length > 0 && now - this.#missed[0][0] > 2000) this.#missed.shift();
    const count = this.#missed.filter(([, was]) => was).length;
    if (late && this.#skip === 0 ? count > 12 : count > 0.75 * this.#missed.length && count > 30) this.#more();
    if (late) this.#calmSince = now;
    else if (this.#skip > 0 && now - Math.max(this.#calmSince, this.#changed) > 8000 && this.decodedTo - this.#time > 1.5) this.#leave(this.#skip - 1);
  }

  #lastJudged;

  #more() {
    if (this.#skip < SKIP_MOST && performance.now() - this.#changed > 1500) this.#leave(this.#skip + 1);
  }

  /** What is left out now: pictures that stand are shown exactly, and stepped through one by one. */
  get #leaving() {
    return this.#paused ? 0 : this.#skip;
  }

  #leave(skip) {
    this.#skip = skip;
    this.#changed = performance.now();
    this.#missed = [];
    this.note.textContent = NOTES[skip];
    this.#session?.tell(this.#time, skip);
  }

  #arrived(frame) {
    if (this.#waiting || (this.#seeking && frame.time <= this.#time + 1e-6)) this.#tick();
    if (this.#seeking) this.#nearly(frame.time, frame.data);
  }

  /** On the way to the picture that is sought, those near it are shown: each nearer than the one before. */
  #nearly(time, data) {
    const away = Math.abs(time - this.#time);
    const now = performance.now();
    if (!this.#seeking || away >= this.#nearest.away || now - this.#nearest.at < NEAR_MS) return;
    this.#nearest = { away, at: now };
    this.#draw(null, data);
  }

  #draw(frame, data) {
    this.#shown = frame;
    this.#renderer.draw(data);
  }

  #text() {
    const words = this.#textOn && this.#subtitles !== null ? this.#subtitles.at(this.#time) : "";
    if (this.text.textContent !== words) this.text.textContent = words;
  }

  #emit(name) {
    this.dispatchEvent(new Event(name));
  }

  // --- as <video>

  get src() {
    return this.getAttribute("src") ?? "";
  }

  set src(value) {
    this.setAttribute("src", value);
  }

  get error() {
    return this.#error;
  }

  get paused() {
    return this.#paused;
  }

  get ended() {
    return this.#ended;
  }

  get seeking() {
    return this.#seeking && !this.#opening;
  }

  get readyState() {
    if (this.#info === null) return 0;
    return this.#shown === null ? 1 : this.#waiting || this.#seeking ? 2 : 4;
  }

  get duration() {
    return this.#info?.duration ?? NaN;
  }

  get videoWidth() {
    return this.#info === null ? 0 : shownSize(this.#info.video)[0];
  }

  get videoHeight() {
    return this.#info === null ? 0 : shownSize(this.#info.video)[1];
  }

  get currentTime() {
    return this.#time;
  }

  set currentTime(value) {
    if (this.#info === null || this.#info.frames === 0) {
      if (this.#info === null) this.setAttribute("start", String(value));
      return;
    }
    const time = this.#bounded(Number(value) || 0);
    this.#stop();
    this.#time = time;
    this.#seeking = true;
    this.#opening = this.#ended = this.#waiting = false;
    this.#shown = null;
    this.#emit("seeking");
    const session = this.#session;
    const there = session.at(time);
    // what is there, or on its way without a gap, need not be decoded again
    let follows = there !== null && there.data !== undefined && session.last >= there.number;
    for (let n = there?.number ?? 0; follows && n <= session.last; n++) follows = session.frames.has(n);
    if (follows && (there.end > time || there.number === this.#info.frames - 1)) session.tell(time, this.#leaving, true);
    else session.play(time, this.#leaving);
    this.#nearest = { away: Infinity, at: -Infinity };
    this.#sound?.seek(time);
    this.spinner.hidden = false;
    this.#tick();
  }

  get volume() {
    return this.#volume;
  }

  set volume(value) {
    const volume = Math.min(1, Math.max(0, Number(value) || 0));
    if (volume === this.#volume) return;
    this.#volume = volume;
    this.#soundLevel();
    this.#emit("volumechange");
  }

  get muted() {
    return this.#muted;
  }

  set muted(value) {
    if (Boolean(value) === this.#muted) return;
    this.#muted = Boolean(value);
    this.#soundLevel();
    this.#emit("volumechange");
  }

  #soundLevel() {
    this.audio.volume = this.#volume;
    this.audio.muted = this.#muted;
  }

  get playbackRate() {
    return this.#rate;
  }

  set playbackRate(value) {
    const rate = Math.min(4, Math.max(0.25, Number(value) || 1));
    if (rate === this.#rate) return;
    this.#time = this.#now();
    this.#rate = rate;
    if (this.#clock !== null) this.#run();
    this.#emit("ratechange");
  }

  async play() {
    if (this.#error !== null) throw new DOMException(this.#error.message, "NotSupportedError");
    if (!this.#paused) return;
    if (this.#sound !== null && !this.#muted && navigator.userActivation?.hasBeenActive === false) await this.#allowed();
    if (this.#ended) this.currentTime = 0;
    this.#paused = false;
    this.#ended = false;
    if (this.#info !== null && !this.#seeking) this.#waiting = true;
    this.#emit("play");
    this.#tick();
  }

  /** Throws, as <video> does, where the page may not make a sound yet. */
  async #allowed() {
    await this.audio.play().catch((error) => {
      if (error.name === "NotAllowedError") throw error;
    });
    if (this.#clock === null) this.audio.pause();
  }

  pause() {
    if (this.#paused) return;
    this.#time = this.#bounded(this.#now());
    this.#stop();
    this.#paused = true;
    this.#waiting = false;
    if (!this.#seeking) this.spinner.hidden = true;
    this.#emit("timeupdate");
    this.#emit("pause");
  }

  get controls() {
    return this.hasAttribute("controls");
  }

  set controls(value) {
    this.toggleAttribute("controls", Boolean(value));
  }

  get autoplay() {
    return this.hasAttribute("autoplay");
  }

  set autoplay(value) {
    this.toggleAttribute("autoplay", Boolean(value));
  }

  get loop() {
    return this.hasAttribute("loop");
  }

  set loop(value) {
    this.toggleAttribute("loop", Boolean(value));
  }

  // --- more than <video>

  get hasSound() {
    return this.#sound !== null;
  }

  get hasSubtitles() {
    return this.#subtitles !== null;
  }

  get subtitles() {
    return this.#textOn && this.hasSubtitles;
  }

  toggleSubtitles() {
    this.#textOn = !this.#textOn;
    this.#text();
    this.#controls?.update();
  }

  toggleFullscreen() {
    const going = document.fullscreenElement === this ? document.exitFullscreen() : this.requestFullscreen?.();
    going?.catch(() => {});
  }

  /** Up to where frames are decoded, in seconds. */
  get decodedTo() {
    return this.#session?.reach(this.#time) ?? 0;
  }

  /** The picture one frame on (1) or back (−1). */
  step(by) {
    if (this.#info === null) return;
    this.pause();
    // frames of earlier seeks may be all that is there: only a neighbour by its number is one
    const here = this.#shown ?? this.#session.at(this.#time);
    if (here === null || (this.#shown === null && here.end <= this.#time && here.number < this.#info.frames - 1)) return;
    if (by > 0) {
      this.currentTime = here.number < this.#info.frames - 1 ? here.end + 1e-6 : here.time;
      return;
    }
    const before = this.#session.frames.get(here.number - 1);
    const [numerator, denominator] = this.#info.video.timeBase;
    this.currentTime = before !== undefined ? before.time + 1e-6 : here.time - Math.max(numerator / denominator / 2, 1e-4);
  }

  /** A picture near `time`, small: `draw` is called with its planes, now or when it is there. */
  previewAt(time, draw) {
    const { keys, video } = this.#info;
    let gop = 0;
    while (gop + 1 < keys.length && keys[gop + 1] <= time) gop++;
    let preview = this.#previews.get(gop);
    if (preview === undefined) {
      if (this.#previews.size > 60) this.#previews.delete(this.#previews.keys().next().value);
      preview = { data: null, draw: null };
      this.#previews.set(gop, preview);
      this.#session.preview(gop);
    }
    for (const other of this.#previews.values()) other.draw = null;
    if (preview.data !== null) draw(preview.data, video);
    else preview.draw = (data) => draw(data, video);
  }

  /** Prepares for a seek to `time`, if there is time for that: its picture is decoded. */
  expect(time) {
    if (this.#info === null || this.#seeking || (!this.#paused && this.decodedTo - this.#time < EXPECT_SECONDS)) return;
    const expected = this.#bounded(Number(time) || 0);
    const there = this.#session.at(expected);
    if (!there?.data || there.end <= expected) this.#session.expect(expected);
  }

  /** What is shown: {number, time, width, height, depth, data: Y, U and V one after the other}; null before the first. */
  captureFrame() {
    const frame = this.#shown;
    if (frame === null) return null;
    const { width, height, depth } = this.#info.video;
    return { number: frame.number, time: frame.time, width, height, depth, data: frame.data };
  }

  #toggle() {
    if (this.#paused) this.play().catch(() => {});
    else this.pause();
  }

  #key(event) {
    if (!this.controls || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const inside = event.composedPath()[0];
    if (inside instanceof HTMLSelectElement || (inside instanceof HTMLButtonElement && [" ", "Enter"].includes(event.key))) return;
    const speed = (by) => {
      const next = by > 0 ? SPEEDS.find((s) => s > this.#rate) : SPEEDS.findLast((s) => s < this.#rate);
      if (next !== undefined) this.playbackRate = next;
    };
    const louder = (by) => {
      this.muted = false;
      this.volume = Math.round((this.#volume + by) * 20) / 20;
    };
    const keys = {
      " ": () => this.#toggle(), k: () => this.#toggle(), ArrowLeft: () => (this.currentTime -= 5), ArrowRight: () => (this.currentTime += 5),
      j: () => (this.currentTime -= 10), l: () => (this.currentTime += 10), ArrowUp: () => louder(0.05), ArrowDown: () => louder(-0.05),
      ",": () => this.step(-1), ".": () => this.step(1), f: () => this.toggleFullscreen(), m: () => (this.muted = !this.#muted),
      c: () => this.toggleSubtitles(), "<": () => speed(-1), ">": () => speed(1), Home: () => (this.currentTime = 0),
      End: () => (this.currentTime = this.duration),
    };
    const act = /^[0-9]$/.test(event.key) ? () => (this.currentTime = (this.duration * Number(event.key)) / 10) : keys[event.key];
    if (act === undefined || this.#info === null) return;
    event.preventDefault();
    act();
  }
}

if (!customElements.get("lvz-player")) customElements.define("lvz-player", LvzPlayer);
