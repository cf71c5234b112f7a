/**
 * Both kinds of worker. The *reader* fetches the file, reads the container and decodes key frames and anchors; *helpers*
 * decode what lies between two anchors, a clip each. A helper is sent both anchors of its clip as bytes, so that playing is
 * just as fast on pages without cross-origin isolation; with it, helpers lend a hand in seeks. What comes out goes to the
 * page, frame by frame.
 */
import { Container } from "./container.js";
import { Engine, hasRelaxedSimd, hasSharedMemory } from "./engine.js";
import { CorruptError, LvzError, NetworkError, UnsupportedError } from "./errors.js";
import { Anchors, Between } from "./gop.js";
import { Hand, Hands } from "./hands.js";
import { readModel, unpacked } from "./model.js";
import { HttpSource } from "./source.js";

const MAX_MODEL = 64 << 20;
const AHEAD_BYTES = 96 << 20; // of frames that are decoded before they are due
const AHEAD_SECONDS = 4;
const HELPED_PIXELS = 1 << 24; // of the pictures of all helpers together, so that large ones do not take memory for each
const ANCHOR_BYTES = 48 << 20; // of key frames and anchors that are kept, so that seeks need not begin at the key frame
const EXPECTING_ANCHORS = 8; // that must have room, so that seeks are prepared for
const NEAR_MS = 300; // between pictures that are shown on the way to the one that is sought: to draw one takes time too

const post = (message, moved = []) => self.postMessage(message, moved);
const postExpected = (frame, data) => post({ op: "expected", ...frame, data }, [data.buffer]);
const movable = (work) => [work.low.buffer, work.high.buffer, work.part.buffer];

function failed(error) {
  const plain = error instanceof LvzError || error instanceof WebAssembly.RuntimeError;
  const name = error instanceof LvzError ? error.name : error instanceof WebAssembly.RuntimeError ? "CorruptError" : "Error";
  post({ op: "error", name, message: plain ? error.message : String(error?.message ?? error) });
}

/** Lets messages in that have come meanwhile. */
const channel = new MessageChannel();
const resumed = [];
channel.port1.onmessage = () => resumed.shift()();
function breath() {
  return new Promise((resolve) => {
    resumed.push(resolve);
    channel.port2.postMessage(null);
  });
}

async function fetched(url, most, what) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new NetworkError(`${what} cannot be reached`);
  }
  if (response.status === 404) throw new UnsupportedError(`${what} is not on this server`);
  if (!response.ok) throw new NetworkError(`the server answers ${response.status} to ${what}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.length > most) throw new LvzError(`${what} is too large`);
  return bytes;
}

async function engineModule(relaxed, shared) {
  const name = `engine-${relaxed ? "relaxed" : "simd"}${shared ? "-shared" : ""}.wasm`;
  return WebAssembly.compile(await fetched(new URL(name, import.meta.url), 4 << 20, "the decoder"));
}

/** The model that a file brings, if it is the one that the file names. (Pages without https have no hashes.) */
async function ownModel(bytes, { sha256 }) {
  if (self.crypto?.subtle !== undefined) {
    const sum = new Uint8Array(await self.crypto.subtle.digest("SHA-256", bytes));
    const found = Array.from(sum, (b) => b.toString(16).padStart(2, "0")).join("");
    if (found !== sha256) throw new CorruptError("the file brings another model than the one it names");
  }
  return bytes;
}

class Reader {
  constructor() {
    this.helpers = [];
    this.seek = 0; // the number of the seek that is being answered
    this.position = 0;
    this.skip = 0;
    this.seeking = true; // the picture that was sought is not shown yet
    this.waiting = null;
    this.ends = []; // of each group's clips that were seen, in seconds
    this.expected = null; // seconds: of a picture that may be sought next
  }

  async open({ url, models, plain, time }) {
    this.source = new HttpSource(url);
    const relaxed = !plain && hasRelaxedSimd();
    const shared = hasSharedMemory() && this.helpers.length > 1;
    const engine = engineModule(relaxed, shared);
    engine.catch(() => {}); // is awaited below
    let named = null; // the model's bytes, which are on their way while the index is read
    this.container = await new Container(this.source).open((container) => {
      if (container.model !== null) return;
      named = this.modelOf(container.head, models);
      named.catch(() => {});
    });
    this.container.playable();
    const { head, video, streams, metadata, index, tail, start, duration } = this.container;
    this.ticks = video.timeBase[0] / video.timeBase[1];
    this.origin = start;
    if (index.gops.length > 0) this.source.ahead(...this.container.span(this.groupAt(time)));
    const bytes = await (named ?? ownModel(this.container.model.bytes, head));
    this.container.model = null;
    const module = (this.module = await engine);
    this.model = readModel(await unpacked(bytes));
    this.video = { width: video.width, height: video.height, depth: video.depth };
    this.anchors = new Anchors(new Engine(module), this.model, this.video, ANCHOR_BYTES);
    // helpers decode no key frames
    const { key, predicted } = this.model.programs;
    const model = { ...this.model, programs: { key: { ...key, layers: [] }, predicted } };
    this.helpers.splice(Math.max(1, Math.floor(HELPED_PIXELS / (video.width * video.height))));
    // the first helper decodes what is sought between anchors; the others lend it a hand, and the reader before
    const [first, ...others] = this.helpers;
    const hands = shared ? others : [];
    const ports = hands.map((port) => {
      const { port1, port2 } = new MessageChannel();
      port.postMessage({ op: "listen", port: port2 }, [port2]);
      return port1;
    });
    first.postMessage({ op: "set", module, model, video: this.video, ports }, ports);
    for (const port of others) port.postMessage({ op: "set", module, model, video: this.video, ports: [] });
    this.hands = new Hands(this.anchors.frames.engine, "reader", hands);
    const halves = Math.ceil(video.width / 2) * Math.ceil(video.height / 2);
    this.frameBytes = (video.width * video.height + 2 * halves) * (video.depth > 8 ? 2 : 1);
    const tracks = streams.map(({ number, kind, codec, language, sampleRate, channels, disposition, params, tags }) => ({
      number, kind, codec, language, sampleRate, channels, disposition, params, title: tags.get("title") ?? "",
      groups: index.packets[number].map((group) => [group.start - start, group.end - start]),
    }));
    post({
      op: "opened", relaxed, video, tracks, duration, frames: tail.frames, keys: index.gops.map((gop) => gop.pts * this.ticks - start),
      chapters: metadata.chapters, title: metadata.tags.get("title") ?? "", frameBytes: this.frameBytes,
    });
  }

  async modelOf(head, models) {
    if (/^0+$/.test(head.sha256)) throw new UnsupportedError("the file names no model");
    return fetched(new URL(`${head.sha256}.decoder`, models), MAX_MODEL, `the model “${head.model}” of this file`);
  }

  /** Seconds since the first frame. */
  secondsOf(pts) {
    return pts * this.ticks - this.origin;
  }

  /** A time that lies a hair before a frame's own means that frame. */
  groupAt(time) {
    return this.container.gopAt(Math.floor((time + this.origin) / this.ticks + 1e-3));
  }

  /** When the last frame of a clip is over, for ever if it is the video's. */
  endOf(clip) {
    const { container } = this;
    if (clip.first + clip.pts.length >= container.tail.frames) return Infinity;
    return this.secondsOf(clip.pts.at(-1)) + clip.durations.at(-1) * this.ticks;
  }

  /** From the frame that is shown at `time` on: everything, as far ahead as there is room. */
  async play({ id, time }) {
    this.seek = id;
    this.position = time;
    this.seeking = true;
    this.expected = null;
    this.wake();
    for (const port of this.helpers) port.postMessage({ op: "seek", id });
    const { container, source, anchors } = this;
    const { gops } = container.index;
    const from = this.groupAt(time);
    source.only(...container.span(from));
    let shownAt = -Infinity;
    let next = 0;
    let begun = false;
    for (let number = from; number < gops.length; number++) {
      const seen = (this.ends[number] ??= []);
      const there = anchors.latest(number, (clip) => seen[clip] <= time + 1e-6);
      let index = -1;
      for await (const clip of container.clips(number, true)) {
        if (id !== this.seek) return;
        index++;
        const times = clip.pts.map((pts) => this.secondsOf(pts));
        const ends = times.map((t, i) => t + clip.durations[i] * this.ticks);
        const last = times.length - 1;
        seen[index] = this.endOf(clip);
        const wanted = seen[index] > time + 1e-6;
        if (index <= there) continue;
        const sought = begun ? -1 : times.findLastIndex((t) => t <= time + 1e-6);
        const seeking = (work) => (begun ? work() : this.hands.during(work));
        if (wanted) {
          if (begun) await this.room(id, times[0]);
          if (id !== this.seek) return;
          post({ op: "clip", id, first: clip.first, times, ends });
        }
        const show = (i, planes) => {
          if (!wanted && performance.now() - shownAt < NEAR_MS) return;
          shownAt = performance.now();
          const data = planes();
          if (wanted) post({ op: "frame", id, number: clip.first + i, data }, [data.buffer]);
          else post({ op: "near", id, time: times[i], data }, [data.buffer]);
        };
        if (clip.key) seeking(() => anchors.key(number, clip.payload, clip.checks, show));
        else {
          const work = seeking(() => anchors.clip(number, index, clip.payload, last + 1, clip.checks, show, wanted));
          if (work !== null) {
            const helper = this.helpers[next++ % this.helpers.length];
            helper.postMessage({ op: "work", id, work, first: clip.first, end: ends[last], sought }, movable(work));
          }
        }
        anchors.pin();
        begun ||= wanted;
        await breath();
      }
    }
    if (id === this.seek) post({ op: "end", id });
  }

  /** Decodes a picture that may be sought, and what leads to it; until there is a seek, or something else is expected. */
  async expect({ time }) {
    const { anchors, hands } = this;
    if (this.seeking || this.expected === time || anchors.most < EXPECTING_ANCHORS) return;
    this.expected = time;
    const id = this.seek;
    const group = this.groupAt(time);
    const seen = (this.ends[group] ??= []);
    const there = anchors.latest(group, (clip) => seen[clip] <= time + 1e-6);
    let index = -1;
    try {
      for await (const clip of this.container.clips(group, true)) {
        if (this.expected !== time || !anchors.ready(group, ++index)) return;
        seen[index] = this.endOf(clip);
        if (index <= there) continue;
        const found = seen[index] > time + 1e-6;
        const times = clip.pts.map((pts) => this.secondsOf(pts));
        const sought = times.findLastIndex((t) => t <= time + 1e-6);
        const between = found && sought < times.length - 1;
        const frame = found && { number: clip.first + sought, time: times[sought], end: times[sought] + clip.durations[sought] * this.ticks };
        const show = (i, planes) => found && i === sought && postExpected(frame, planes());
        const work = hands.during(() => {
          if (clip.key) anchors.key(group, clip.payload, clip.checks, show);
          else return anchors.clip(group, index, clip.payload, times.length, clip.checks, show, between);
        });
        if (work) this.helpers[0].postMessage({ op: "work", id, work, first: clip.first, sought, expected: frame }, movable(work));
        if (found) return;
        await breath();
      }
    } catch (error) {
      if (!(error instanceof LvzError)) throw error; // a seek will say it
    }
  }

  /** The key frame of a group, for the seek bar. Has an engine of its own, so that nothing is in its way. */
  async preview({ gop }) {
    this.previews ??= new Anchors(new Engine(this.module), this.model, this.video);
    const { value: clip } = await this.container.clips(gop).next();
    this.previews.key(gop, clip.payload, clip.checks, (_, planes) => {
      const data = planes();
      post({ op: "preview", gop, data }, [data.buffer]);
    });
  }

  /** Waits until what begins at `time` may be decoded: nothing beyond the picture that is sought, until that is shown. */
  async room(id, time) {
    for (;;) {
      const rate = this.container.tail.frames / Math.max(this.container.duration, 1e-3);
      const most = this.seeking ? 0 : Math.max(1, Math.min(AHEAD_SECONDS, AHEAD_BYTES / (this.frameBytes * rate)));
      if (id !== this.seek || time - this.position <= most) return;
      await new Promise((resolve) => (this.waiting = resolve));
    }
  }

  wake() {
    this.waiting?.();
    this.waiting = null;
  }

  async packets({ id, stream, group }) {
    const packets = await this.container.packets(stream, this.container.index.packets[stream][group]);
    const plain = packets.map(({ time, duration, key, data }) => ({ time: time === null ? null : time - this.origin, duration, key, data: data.slice() }));
    post({ op: "packets", id, stream, group, packets: plain }, plain.map(({ data }) => data.buffer));
  }
}

class Helper {
  constructor() {
    this.queue = [];
    this.seek = 0;
    this.position = 0;
    this.skip = 0;
    this.busy = false;
  }

  set({ module, model, video, ports }) {
    this.between = new Between(new Engine(module), model, video);
    this.hands = new Hands(this.between.frames.engine, "helper", ports);
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.queue.length > 0) {
        const next = this.queue.shift();
        if (next.id === this.seek) await this.decode(next);
      }
    } finally {
      this.busy = false;
    }
  }

  /** `expected`: which picture the sought one is, if nothing else of the clip is wanted. */
  async decode({ id, work, first, end, sought, expected = null }) {
    const lowest = Math.max(...work.order.map((step) => step.place));
    const places = () => {
      if (id !== this.seek) return 0;
      if (expected !== null) return lowest;
      return this.position > end ? 0 : lowest - this.skip; // of a clip that is over nothing more is wanted
    };
    const missing = new Set(work.order.map((step) => step.frame - 1));
    const frames = this.between.decode(work, places, sought);
    let seeking = missing.has(sought);
    for (;;) {
      const { value, done } = seeking ? this.hands.during(() => frames.next()) : frames.next();
      if (done) break;
      const [number, shown] = value;
      if (expected !== null && number === sought) {
        postExpected(expected, shown());
        frames.return();
        return;
      }
      if (shown !== null && expected === null) {
        const data = shown();
        missing.delete(number);
        if (id === this.seek) post({ op: "frame", id, number: first + number, data }, [data.buffer]);
      }
      if (number === sought) seeking = false;
      await breath();
    }
    if (expected === null && missing.size > 0) post({ op: "left out", id, numbers: Array.from(missing, (number) => first + number) });
  }
}

let role = null;
const hands = new Map(); // of this worker, by the engine that they work for
const jobs = {
  reader({ ports }) {
    role = new Reader();
    role.helpers = ports;
  },
  helper({ port }) {
    role = new Helper();
    jobs.listen({ port });
  },
  listen({ port }) {
    port.onmessage = ({ data }) => handle(data);
  },
  hand(message) {
    hands.set(message.name, new Hand(message));
  },
  lend: ({ name, ticket }) => hands.get(name).lend(ticket),
  ping: ({ id }) => post({ op: "pong", id }),
  position({ time, skip, seeking }) {
    Object.assign(role, { position: time, skip, seeking });
    if (role instanceof Reader) role.wake();
  },
  set: (message) => role.set(message),
  seek({ id }) {
    role.seek = id;
  },
  work(message) {
    if (message.expected) role.queue = role.queue.filter(({ expected }) => !expected); // no more
    role.queue.push(message);
    return role.run();
  },
  open: (message) => role.open(message),
  play: (message) => role.play(message),
  packets: (message) => role.packets(message),
  preview: (message) => role.preview(message),
  expect: (message) => role.expect(message),
};

async function handle(message) {
  try {
    await jobs[message.op](message);
  } catch (error) {
    failed(error);
  }
}

self.onmessage = ({ data }) => handle(data);
