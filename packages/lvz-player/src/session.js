/** The page's end of the workers: frames that are there, frames that will come, and a watch over workers that hang. */

const KEPT_BYTES = 160 << 20; // of frames, those that were shown included
const WATCH_MS = 5000;
const SILENCE_MS = 25000; // a worker that has answered nothing for so long hangs

export class Session {
  /** `on`: functions by the names of messages: opened, frame, near, clip, packets, preview, end, error. */
  constructor(on) {
    this.on = on;
    this.id = 0;
    this.frames = new Map(); // number → {time, end, data: bytes, null: on its way, undefined: left out}
    this.frameBytes = 1;
    this.last = -1;
    this.ended = false;
    const cores = Math.min(4, navigator.hardwareConcurrency || 2);
    this.workers = Array.from({ length: cores + 1 }, () => this.worker());
    const channels = this.workers.slice(1).map((worker) => {
      const { port1, port2 } = new MessageChannel();
      worker.postMessage({ op: "helper", port: port2 }, [port2]);
      return port1;
    });
    this.workers[0].postMessage({ op: "reader", ports: channels }, channels);
    this.watch = setInterval(() => this.look(), WATCH_MS);
  }

  worker() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "lvz" });
    worker.heard = performance.now();
    worker.asked = 0;
    worker.onmessage = ({ data }) => {
      worker.heard = performance.now();
      worker.asked = 0;
      this.take(data);
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.fail({ name: "Error", message: `a worker could not start${event.message ? `: ${event.message}` : ""}` });
    };
    return worker;
  }

  look() {
    const now = performance.now();
    const hidden = document.visibilityState === "hidden"; // timers sleep there
    for (const worker of this.workers) {
      if (!hidden && worker.asked > 0 && now - worker.asked > SILENCE_MS) {
        this.fail({ name: "LimitError", message: "decoding takes far too long: the file is hostile, or this machine too slow" });
        return;
      }
      if (worker.asked === 0 || hidden) worker.asked = now;
      worker.postMessage({ op: "ping", id: 0 });
    }
  }

  fail(error) {
    this.close();
    this.on.error(error);
  }

  /** `plain`: without relaxed SIMD. `time`: from where on it will play. */
  open(url, models, plain = false, time = 0) {
    this.workers[0].postMessage({ op: "open", url, models, plain, time });
  }

  /** Frames from `time` on come; what is on its way from before does not any more. Frames that are there stay. */
  play(time, skip) {
    this.id++;
    this.ended = false;
    this.last = -1;
    for (const [number, frame] of this.frames) if (!frame.data) this.frames.delete(number);
    this.tell(time, skip, true);
    this.workers[0].postMessage({ op: "play", id: this.id, time });
  }

  /** Where the picture is, how many of the lowest places of pyramids are left out, and whether that picture is still sought. */
  tell(time, skip, seeking = false) {
    this.time = time;
    for (const worker of this.workers) worker.postMessage({ op: "position", time, skip, seeking });
  }

  packets(stream, group, id) {
    this.workers[0].postMessage({ op: "packets", id, stream, group });
  }

  preview(gop) {
    this.workers[0].postMessage({ op: "preview", gop });
  }

  /** A time that may be sought soon: its frame comes, unless something else is wanted before. */
  expect(time) {
    this.workers[0].postMessage({ op: "expect", time });
  }

  take(message) {
    const { op, id } = message;
    if (op === "error") this.fail(message);
    else if (op === "opened") {
      this.frameBytes = message.frameBytes;
      this.on.opened(message);
    } else if (op === "packets" || op === "preview") this.on[op](message);
    else if (op === "expected") {
      const { number, time, end, data } = message;
      const frame = { number, time, end, data };
      this.frames.set(number, frame);
      this.trim();
      this.on.frame(frame);
    } else if (op === "pong" || id !== this.id) return;
    else if (op === "clip") {
      message.times.forEach((time, i) => {
        const number = message.first + i;
        if (!this.frames.get(number)?.data) this.frames.set(number, { number, time, end: message.ends[i], data: null });
      });
      this.last = message.first + message.times.length - 1;
    } else if (op === "frame") {
      const frame = this.frames.get(message.number);
      if (frame === undefined) return;
      frame.data = message.data;
      this.trim();
      this.on.frame(frame);
    } else if (op === "left out") {
      for (const number of message.numbers) {
        const frame = this.frames.get(number);
        if (frame !== undefined && frame.data === null) frame.data = undefined;
      }
    } else if (op === "near") this.on.near(message);
    else if (op === "end") {
      this.ended = true;
      this.on.end?.();
    }
  }

  /** Frames that are farthest behind go first, then those farthest ahead. */
  trim() {
    let bytes = 0;
    for (const frame of this.frames.values()) if (frame.data) bytes += frame.data.length;
    if (bytes <= KEPT_BYTES) return;
    const far = [...this.frames.values()].sort((a, b) => a.time - b.time);
    const behind = far.filter((frame) => frame.end < this.time);
    for (const frame of [...behind, ...far.slice(behind.length).reverse()]) {
      if (bytes <= KEPT_BYTES * 0.75) break;
      if (frame.data) bytes -= frame.data.length;
      this.frames.delete(frame.number);
    }
  }

  /** The frame of `time`, whether its planes are there or not. */
  at(time) {
    let best = null;
    for (const frame of this.frames.values()) {
      if (frame.time <= time + 1e-6 && (best === null || frame.time > best.time)) best = frame;
    }
    return best;
  }

  /** The latest frame up to `time` that is there. */
  latest(time) {
    let best = null;
    for (const frame of this.frames.values()) {
      if (frame.data && frame.time <= time + 1e-6 && (best === null || frame.time > best.time)) best = frame;
    }
    return best;
  }

  /** The first frame after `time` that is there. */
  next(time) {
    let best = null;
    for (const frame of this.frames.values()) {
      if (frame.data && frame.time > time && (best === null || frame.time < best.time)) best = frame;
    }
    return best;
  }

  /** Up to when all frames from `time` on are there or were left out. */
  reach(time) {
    let frame = this.at(time);
    let end = time;
    for (; frame !== undefined && frame !== null && frame.data !== null; frame = this.frames.get(frame.number + 1)) end = Math.max(end, frame.end);
    return end;
  }

  /** Whether all frames of [from, to) are there or were left out. */
  ready(from, to) {
    let reach = from;
    const near = [...this.frames.values()].filter((f) => f.end > from + 1e-6 && f.time < to).sort((a, b) => a.time - b.time);
    for (const frame of near) {
      if (frame.data === null || frame.time > reach + 0.25) return false;
      reach = Math.max(reach, frame.end);
    }
    return reach >= to - 1e-6 || (this.ended && near.length > 0);
  }

  close() {
    clearInterval(this.watch);
    for (const worker of this.workers) {
      worker.onmessage = worker.onerror = null;
      worker.terminate();
    }
    this.workers = [];
    this.frames.clear();
  }
}
