/**
 * Sound by Media Source Extensions: they are there in every browser and on pages without https too, keep the pitch at other
 * speeds, and give a clock that the pictures follow. (WebCodecs are not on pages without https.) The packets are those of
 * the file, wrapped in fragmented MP4.
 */
import { fragment, initialised } from "./mp4.js";

const AHEAD = 8; // seconds that are fetched before they are heard: pictures reach less far
const BEHIND = 30; // seconds that are kept
const SHIFT = 1024; // seconds by which times are moved up in MP4, and back again by the browser

export class Sound {
  /** Whether this browser can play a stream. */
  static plays(track) {
    const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
    const about = initialised(track);
    return about !== null && Source !== undefined && Source.isTypeSupported(about.mime);
  }

  /** `request(group)` asks for a group of packets, which come by `take`. */
  constructor(track, audio, request, failed) {
    Object.assign(this, { track, audio, request, failed });
    this.about = initialised(track);
    this.queue = [];
    this.sequence = 1;
    this.asked = null;
    this.next = 0;
    this.fresh = true;
    const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
    this.source = new Source();
    audio.disableRemotePlayback = true;
    this.address = URL.createObjectURL(this.source);
    audio.src = this.address;
    this.source.addEventListener("sourceopen", () => this.opened(), { once: true });
    audio.addEventListener("error", () => this.failed(audio.error?.message || "the browser cannot play it"));
  }

  /** Seconds at which it ends. */
  get end() {
    return this.track.groups.at(-1)?.[1] ?? 0;
  }

  opened() {
    if (this.buffer !== undefined || this.source.readyState !== "open") return;
    this.buffer = this.source.addSourceBuffer(this.about.mime);
    this.buffer.timestampOffset = -SHIFT;
    this.source.duration = Math.max(this.end, 0.1);
    this.buffer.addEventListener("updateend", () => this.append());
    this.queue.unshift(this.about.start);
    this.append();
    this.feed();
  }

  /** From `time` on. */
  seek(time) {
    const target = Math.min(time, Math.max(0, this.end));
    if (Math.abs(this.audio.currentTime - target) > 1e-4) this.audio.currentTime = target;
    if (this.has(target)) return;
    let first = this.track.groups.findIndex(([, end]) => end > target);
    if (first < 0) first = this.track.groups.length;
    this.next = Math.max(0, first - 1); // decoders want something before
    this.asked = null;
    this.fresh = true;
    this.queue = this.queue.filter((part) => part === this.about.start);
    this.feed();
  }

  has(time) {
    const { buffered } = this.audio;
    for (let i = 0; i < buffered.length; i++) if (buffered.start(i) <= time + 0.03 && time < buffered.end(i)) return true;
    return time >= this.end - 0.05;
  }

  /** How far it is there from `time` on without a gap. */
  reach(time) {
    const { buffered } = this.audio;
    for (let i = 0; i < buffered.length; i++) if (buffered.start(i) <= time + 0.1 && time < buffered.end(i)) return buffered.end(i);
    return time;
  }

  feed() {
    if (this.asked !== null || this.queue.length > 1) return;
    if (this.next >= this.track.groups.length) {
      this.finish();
      return;
    }
    if (!this.fresh && this.reach(this.audio.currentTime) - this.audio.currentTime > AHEAD) return;
    this.asked = this.next;
    this.request(this.next);
  }

  take(group, packets) {
    if (group !== this.asked) return; // of an earlier seek
    this.asked = null;
    this.fresh = false;
    this.next = group + 1;
    const timed = packets.filter(({ time, data }) => time !== null && data.length > 0 && time + SHIFT >= 0);
    if (timed.length > 0) this.queue.push(fragment(timed, this.about.rate, SHIFT, this.sequence++));
    this.append();
    this.feed();
  }

  append() {
    const { buffer, source } = this;
    if (buffer === undefined || buffer.updating || source.readyState === "closed") return;
    if (this.queue.length === 0) {
      this.feed();
      return;
    }
    const old = this.audio.currentTime - BEHIND;
    try {
      if (buffer.buffered.length > 0 && buffer.buffered.start(0) < old - BEHIND) {
        buffer.remove(0, old);
        return;
      }
      buffer.appendBuffer(this.queue[0]);
      this.queue.shift();
    } catch (error) {
      if (error.name !== "QuotaExceededError") this.failed(error.message);
      else if (old > 1) buffer.remove(0, old);
    }
  }

  finish() {
    const idle = this.buffer !== undefined && !this.buffer.updating && this.queue.length === 0;
    if (idle && this.source.readyState === "open") this.source.endOfStream();
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    URL.revokeObjectURL(this.address);
    this.failed = () => {};
  }
}
