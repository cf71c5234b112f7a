/**
 * A group of pictures, clip by clip (formats/decoder.md, sections 2, 3 and 10). Anchors follow from each other; what lies
 * between two of them is a piece of work of its own, for any worker: `Anchors` decodes the first kind, `Between` the
 * second, and what goes from one to the other is bytes.
 */
import { CorruptError, LimitError, known, need } from "./errors.js";
import { latentsOf, loadProgram } from "./model.js";

const LONGEST = 32;
const QUALITIES = 128;
const [PYRAMID, CHAIN, OLDER, INTRA, LONG_TERM] = [0, 1, 2, 3, 4];
const KEY = -2;
/** Frames after the key frame up to which an anchor may be predicted from it. */
const LONG_REACH = 960;

/**
 * [{frame, first, second, place}] in coding order: frames 1 … n, 0 the anchor before the clip, −1 the one before that, −2 the key frame;
 * `first` is null of an anchor without references.
 */
export function steps(structure, n, older) {
  if (structure === CHAIN) return Array.from({ length: n }, (_, k) => ({ frame: k + 1, first: k, second: null, place: 0 }));
  const second = older ? ({ [OLDER]: -1, [LONG_TERM]: KEY }[structure] ?? null) : null;
  const out = [{ frame: n, first: structure === INTRA ? null : 0, second, place: 0 }];
  for (let spans = [[0, n]], place = 1; spans.length; place++) {
    const halves = [];
    for (const [low, high] of spans) {
      if (high - low < 2) continue;
      const middle = (low + high) >> 1;
      out.push({ frame: middle, first: low, second: high, place });
      halves.push([low, middle], [middle, high]);
    }
    spans = halves;
  }
  return out;
}

function quality(value) {
  need(value < QUALITIES, "a frame's quality is out of range");
  return value;
}

/** What a payload of a clip of `n` frames says before its parts: steps in coding order with their qualities, one or two parts. */
export function readClip(payload, n, older) {
  need(n >= 1 && n <= LONGEST, `a clip has ${n} frames`);
  need(payload.length >= 3, "a clip's payload ends too early");
  const [structure, first, fall] = payload;
  known([PYRAMID, CHAIN, OLDER, INTRA, LONG_TERM].includes(structure), "a clip of an unknown structure");
  known(fall < 130, "qualities given in an unknown way");
  const order = steps(structure, n, older);
  let at = 3;
  const take = (count) => {
    need(count <= payload.length - at, "a clip's payload ends too early");
    at += count;
    return payload.subarray(at - count, at);
  };
  let said;
  if (fall < 128) said = order.map(({ place }) => Math.max(0, first - ((fall * Math.min(place, 4) + 4) >> 3)));
  else if (fall === 128) {
    const byPlace = [first, ...take(Math.max(...order.map((s) => s.place)))];
    said = order.map(({ place }) => byPlace[place]);
  } else said = [first, ...take(n - 1)];
  order.forEach((step, i) => (step.quality = quality(said[i])));
  if (structure === CHAIN || n === 1) return { order, parts: [payload.subarray(at)] };
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    const [byte] = take(1);
    need(shift <= 28 && (byte !== 0 || shift === 0), "a size is not in its shortest form");
    size += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
  }
  return { order, parts: [take(size), payload.subarray(at)] };
}

/** CRC-32 folded to 4, 8, 16 or 32 bits. */
export function folded(crc, bits) {
  let value = crc >>> 0;
  for (const width of [16, 8, 4]) if (bits <= width) value = (value >>> width) ^ (value & (2 ** width - 1));
  return value >>> 0;
}

/** Frames of one size with one model, in an engine's memory. */
class Frames {
  constructor(engine, model, video, programs) {
    this.engine = engine;
    this.video = video;
    this.rows = Math.ceil(video.height / 16) * 2;
    this.columns = Math.ceil(video.width / 16) * 2;
    const at = (name) => (programs.includes(name) ? loadProgram(engine, model, name) : 0);
    const latents = Math.max(latentsOf(model.programs.key), latentsOf(model.programs.predicted));
    const laps = [engine.put(model.laps.luma), engine.put(model.laps.chroma)];
    this.decoder = engine.call("decoder_new", this.rows, this.columns, at("key"), at("predicted"), latents, ...laps);
    if (this.decoder === 0) throw new LimitError("the video needs more memory than a player may take");
    this.frameBytes = engine.call("frame_bytes", this.decoder);
    const halves = Math.ceil(video.width / 2) * Math.ceil(video.height / 2);
    this.shownBytes = (video.width * video.height + 2 * halves) * (video.depth > 8 ? 2 : 1);
    this.shownAt = engine.allocate(this.shownBytes);
    this.spare = [];
  }

  frame() {
    return this.spare.pop() ?? this.engine.allocate(this.frameBytes);
  }

  done(frame) {
    this.spare.push(frame);
  }

  export(frame) {
    return this.engine.bytes.slice(frame, frame + this.frameBytes);
  }

  import(bytes) {
    const frame = this.frame();
    this.engine.bytes.set(bytes, frame);
    return frame;
  }

  part(bytes, before = 0) {
    const data = this.engine.put(bytes);
    const at = this.engine.call("part_new", data, bytes.length, before);
    if (at === 0) throw new LimitError("the video needs more memory than a player may take");
    return { at, data };
  }

  /** The same place of a part, which `data` is left to. */
  copied(part) {
    const at = this.engine.call("part_copy", part.at);
    if (at === 0) throw new LimitError("the video needs more memory than a player may take");
    return { at, data: part.data };
  }

  end(part, keep = false) {
    const whole = this.engine.call("part_whole", part.at);
    this.engine.free(part.data);
    if (!keep) this.engine.free(part.at);
    need(whole, "an entropy-coded part is damaged");
  }

  checked(code) {
    if (code === 1) throw new CorruptError("a frame is damaged");
    if (code === 2) throw new LimitError("the video needs more memory than a player may take");
  }

  /** `before`: the anchor before one that is coded by itself. */
  key(part, quality, time, before = 0) {
    const frame = this.frame();
    this.checked(this.engine.call("frame_key", this.decoder, part.at, frame, before, quality, time));
    return frame;
  }

  /** `passed`: the frame is only read past; what is given is no picture. */
  predicted(part, step, known, zero, passed = false) {
    if (step.first === null) return this.key(part, step.quality, zero + step.frame, known.get(0));
    const frame = this.frame();
    const second = step.second === null ? 0 : known.get(step.second);
    const code = this.engine.call(
      "frame_predicted", this.decoder, part.at, frame, known.get(step.first), second, zero + step.frame, step.quality, step.place, passed,
    );
    this.checked(code);
    return frame;
  }

  /** Y, U and V of what is shown, compared with the file's checksum {bits, value} unless that is null. */
  shown(frame, check) {
    const { width, height, depth } = this.video;
    this.engine.call("frame_shown", this.decoder, frame, width, height, depth, this.shownAt);
    if (check !== null) {
      const crc = this.engine.call("checksum", this.shownAt, this.shownBytes);
      need(folded(crc, check.bits) === check.value, "a frame has another checksum than the file says");
    }
    return this.engine.bytes.slice(this.shownAt, this.shownAt + this.shownBytes);
  }
}

/**
 * Key frames and anchors, of each group in order. `show(number in the clip from 0, planes)` is given a function that makes
 * the planes of each. As many as `room` bytes hold are kept, so that a group need not be decoded from its beginning
 * again.
 */
export class Anchors {
  constructor(engine, model, video, room = 0) {
    this.frames = new Frames(engine, model, video, ["key", "predicted"]);
    this.most = Math.floor(room / this.frames.frameBytes);
    this.kept = new Map(); // by group and clip, the one used last at the end
    this.last = null; // {name, frame, time, contexts, older: the anchor before, or null, start: the group's first, gone}
    this.pinned = null;
  }

  /** Until another is: the last anchor stays, whatever is decoded meanwhile, so that its group can go on. */
  pin() {
    this.pinned = this.last;
  }

  /** Whether a clip of a group can be decoded next. */
  ready(group, clip) {
    return clip === 0 || this.#of(group, clip - 1) !== null;
  }

  #of(group, clip) {
    const found = this.kept.get(`${group}/${clip}`);
    // the next clip may refer to the anchor before as well, and to the key frame
    return found === undefined || found.older?.gone || found.start.gone ? null : found;
  }

  /** The last clip of a group that need not be decoded for those after it, of those that are `early` enough; −1: none. */
  latest(group, early) {
    let found = -1;
    for (const { name } of this.kept.values()) {
      const [of, clip] = name.split("/").map(Number);
      if (of === group && clip > found && early(clip) && this.#of(group, clip) !== null) found = clip;
    }
    return found;
  }

  #drop(anchor) {
    this.kept.delete(anchor.name);
    anchor.gone = true;
    anchor.older = null;
    this.frames.done(anchor.frame);
    if (anchor.contexts !== null) this.frames.engine.free(anchor.contexts.at);
  }

  #keep(anchor) {
    const same = this.kept.get(anchor.name);
    if (same === anchor) this.kept.delete(anchor.name);
    else if (same !== undefined) this.#drop(same);
    this.kept.set(anchor.name, anchor);
    this.last = anchor;
    for (const old of this.kept.values()) {
      if (this.kept.size <= Math.max(this.most, 3)) break;
      const { pinned } = this;
      if (![anchor, anchor.older, anchor.start, pinned, pinned?.older, pinned?.start].includes(old)) this.#drop(old);
    }
  }

  #shown(anchor, check) {
    return () => this.frames.shown(anchor.frame, check ?? null);
  }

  key(group, payload, checks, show) {
    let anchor = this.#of(group, 0);
    if (anchor === null) {
      need(payload.length > 0, "a clip's payload ends too early");
      const level = quality(payload[0]);
      const part = this.frames.part(payload.subarray(1));
      const frame = this.frames.key(part, level, 0);
      this.frames.end(part);
      anchor = { name: `${group}/0`, frame, time: 0, contexts: null, older: null, gone: false };
      anchor.start = anchor;
    }
    this.#keep(anchor);
    show(0, this.#shown(anchor, checks?.[0]));
  }

  /** Clip `clip` of a group, from 1 on. → the work that is left of it: what `Between.decode` takes; null if there is none, or it is not `wanted`. */
  clip(group, clip, payload, n, checks, show, wanted = true) {
    const zero = this.#of(group, clip - 1) ?? this.last;
    need(zero?.name === `${group}/${clip - 1}`, "the video starts with a predicted frame");
    this.#keep(zero);
    const { order, parts } = readClip(payload, n, zero.older !== null);
    const first = order.filter((step) => step.place === 0);
    let anchor = first.length === 1 ? this.#of(group, clip) : null;
    if (anchor === null) anchor = this.#decoded(`${group}/${clip}`, zero, first, parts[0], n, checks, show);
    this.#keep(anchor);
    show(n - 1, this.#shown(anchor, checks?.[n - 1]));
    if (first.length === order.length || !wanted) return null;
    const [low, high] = [this.frames.export(zero.frame), this.frames.export(anchor.frame)];
    return { low, high, time: zero.time, n, order: order.slice(1), part: parts[1].slice(), checks };
  }

  /** Decodes an anchor, or a chain, of which only the last frame is kept. */
  #decoded(name, zero, steps, bytes, n, checks, show) {
    const part = this.frames.part(bytes, zero.contexts?.at ?? 0);
    const known = new Map([[0, zero.frame]]);
    if (zero.older !== null) known.set(-1, zero.older.frame);
    known.set(KEY, zero.start.frame);
    need(steps[0].second !== KEY || zero.time + n <= LONG_REACH, "an anchor is too far from its key frame");
    for (const step of steps) {
      const frame = this.frames.predicted(part, step, known, zero.time);
      known.set(step.frame, frame);
      if (step.frame === n) break;
      show(step.frame - 1, () => this.frames.shown(frame, checks?.[step.frame - 1] ?? null));
      if (step.first > 0) this.frames.done(known.get(step.first));
    }
    if (steps.at(-1).first > 0) this.frames.done(known.get(steps.at(-1).first));
    this.frames.end(part, true);
    return { name, frame: known.get(n), time: zero.time + n, contexts: part, older: zero, start: zero.start, gone: false };
  }
}

/** Frames between anchors. */
export class Between {
  constructor(engine, model, video) {
    this.frames = new Frames(engine, model, video, ["predicted"]);
  }

  /**
   * Decodes the work's frames in coding order as a generator: yields each frame's number in the clip from 0 and a function
   * that gives its planes. Frames of places beyond `places()`, which is asked before every frame, are left out, and with
   * them all that come after.
   *
   * `sought`: the number of a frame that is wanted first. Frames are only read past, and yielded with null, that it does not
   * depend on, and afterwards those before it in time; they are made when another needs them, or last.
   */
  *decode(work, places = () => Infinity, sought = -1) {
    const { frames } = this;
    const { engine } = frames;
    const known = new Map([[0, frames.import(work.low)], [work.n, frames.import(work.high)]]);
    const part = frames.part(work.part);
    const found = work.order.findIndex((step) => step.frame === sought + 1);
    const until = found >= 0 && work.order[found].place <= places() ? found : -1;
    const needed = new Set(work.order.slice(0, until + 1).flatMap(({ first, second }) => [first, second])).add(sought + 1);
    const now = ({ frame }, i) => until < 0 || (i <= until ? needed.has(frame) : frame > sought);
    const left = new Set(work.order);
    const passed = new Map(); // number → {step, part: as it was before it}

    function* references(step) {
      for (const number of [step.first, step.second]) if (passed.has(number)) yield* late(number);
    }

    function* make(step, from) {
      yield* references(step);
      const frame = frames.predicted(from, step, known, work.time);
      known.set(step.frame, frame);
      left.delete(step);
      yield [step.frame - 1, () => frames.shown(frame, work.checks?.[step.frame - 1] ?? null)];
      const uses = new Set(Array.from(left, ({ first, second }) => [first, second]).flat());
      for (const number of known.keys()) {
        if (uses.has(number)) continue;
        frames.done(known.get(number));
        known.delete(number);
      }
    }

    function* late(number) {
      const { step, part: from } = passed.get(number);
      passed.delete(number);
      try {
        yield* make(step, from);
      } finally {
        engine.free(from.at);
      }
    }

    try {
      let whole = true;
      for (const [i, step] of work.order.entries()) {
        if (step.place > places()) {
          whole = false;
          break;
        }
        if (now(step, i)) {
          yield* make(step, part);
          continue;
        }
        yield* references(step);
        passed.set(step.frame, { step, part: frames.copied(part) });
        frames.done(frames.predicted(part, step, known, work.time, true));
        yield [step.frame - 1, null];
      }
      if (whole) need(engine.call("part_whole", part.at), "an entropy-coded part is damaged");
      for (const [number, { step }] of [...passed]) {
        if (step.place <= places() && passed.has(number)) yield* late(number);
      }
    } finally {
      engine.free(part.data);
      engine.free(part.at);
      for (const { part: from } of passed.values()) engine.free(from.at);
      for (const frame of known.values()) frames.done(frame);
    }
  }
}
