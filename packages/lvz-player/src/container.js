/**
 * The container, read in parts (formats/lvz.md, section 11): descriptors from the front, the index from the end, then
 * chunks by their place. What a file declares is compared with limits before anything is allocated.
 */
import { CorruptError, LvzError, UnsupportedError, known, limit, need } from "./errors.js";

const SIGNATURE = [0x89, 0x4c, 0x56, 0x5a, 0x0d, 0x0a, 0x1a, 0x0a];
const TAIL_BYTES = 84;
const TAIL_READ = 8192; // from the end on, where the index of a short video is as well
const RANS = 5;
const PLACES = { 1: "zstd", 3: "field", 5: "rans" };
/** As lvc's, but for what a page can hold: chunks, and pictures (about 4096x2304). */
export const LIMITS = {
  side: 16384, pixels: 1 << 24, chunk: 64 << 20, metadata: 16 << 20, clipFrames: { rans: 32, zstd: 64, field: 64 }, groupFrames: 1 << 16, streams: 64,
  attachments: 1000, entries: 1 << 22, values: 2 ** 29, packets: 4096, emptyPackets: 64, packet: 16 << 20, tags: 1 << 16, chapters: 1 << 16,
};
const TEXT = new TextDecoder("utf-8", { fatal: true });

let crcTable = null;
/** CRC-32 of zlib. */
export function crc32(bytes, crc = 0) {
  if (crcTable === null) {
    crcTable = Array.from({ length: 8 }, () => new Uint32Array(256));
    for (let i = 0; i < 256; i++) {
      let c = i;
      for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
      crcTable[0][i] = c;
    }
    for (let k = 1; k < 8; k++)
      for (let i = 0; i < 256; i++) crcTable[k][i] = (crcTable[k - 1][i] >>> 8) ^ crcTable[0][crcTable[k - 1][i] & 255];
  }
  const [t0, t1, t2, t3, t4, t5, t6, t7] = crcTable;
  let c = ~crc;
  let i = 0;
  for (; i + 8 <= bytes.length; i += 8) {
    c ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    c = t7[c & 255] ^ t6[(c >>> 8) & 255] ^ t5[(c >>> 16) & 255] ^ t4[c >>> 24] ^ t3[bytes[i + 4]] ^ t2[bytes[i + 5]] ^ t1[bytes[i + 6]] ^ t0[bytes[i + 7]];
  }
  for (; i < bytes.length; i++) c = (c >>> 8) ^ t0[(c ^ bytes[i]) & 255];
  return ~c >>> 0;
}

/** A payload, read from front to back. Numbers beyond 2^53 are refused: no time or size of a real file is so large. */
class Payload {
  constructor(bytes, name) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = 0;
    this.name = name;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(count) {
    need(count <= this.left, `a ${this.name} chunk ends too early`);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  u8() {
    return this.take(1)[0];
  }

  number(size, method) {
    this.take(size);
    return this.view[method](this.at - size, true);
  }

  u16 = () => this.number(2, "getUint16");
  u32 = () => this.number(4, "getUint32");
  f32 = () => this.number(4, "getFloat32");
  f64 = () => this.number(8, "getFloat64");
  u64 = () => this.safe(this.number(8, "getBigUint64"));
  i64 = () => this.safe(this.number(8, "getBigInt64"));

  safe(big) {
    const value = Number(big);
    if (!Number.isSafeInteger(value)) throw new UnsupportedError(`a number in ${this.name} is too large for this player`);
    return value;
  }

  big() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        need((byte !== 0 || shift === 0n) && value < 1n << 64n, `a number in ${this.name} is not in its shortest form`);
        return value;
      }
      need(shift < 63n, `a number in ${this.name} is too long`);
    }
  }

  uvarint(below = Infinity) {
    const value = this.safe(this.big());
    need(value < below, `a number in ${this.name} is out of range`);
    return value;
  }

  svarint() {
    const value = this.big();
    return this.safe(value & 1n ? -((value + 1n) >> 1n) : value >> 1n);
  }

  text(most = Infinity) {
    const size = this.uvarint();
    need(size <= most, `a text in ${this.name} is too long`);
    try {
      return TEXT.decode(this.take(size));
    } catch (error) {
      if (error instanceof LvzError) throw error;
      throw new CorruptError(`a text in ${this.name} is not UTF-8`);
    }
  }

  blob() {
    return this.take(this.uvarint());
  }

  ratio() {
    return [this.uvarint(2 ** 32), this.uvarint(2 ** 32)];
  }

  positive() {
    const ratio = this.ratio();
    need(ratio[0] > 0 && ratio[1] > 0, `a ratio in ${this.name} is 0`);
    return ratio;
  }

  tags() {
    const count = this.uvarint();
    limit(count, LIMITS.tags, `tags in ${this.name}`);
    const out = new Map();
    for (let i = 0; i < count; i++) {
      const key = this.text();
      need(!out.has(key), `a tag in ${this.name} comes twice`);
      out.set(key, this.text());
    }
    return out;
  }

  /** `n` is bounded by the caller. */
  ints(n) {
    const base = this.svarint();
    const width = this.u8();
    need(width <= 64, `a width in ${this.name} is over 64`);
    const bits = this.take(Math.ceil((n * width) / 8));
    const spare = bits.length * 8 - n * width;
    need(spare === 0 || bits.at(-1) >> (8 - spare) === 0, `unused bits in ${this.name} are set`);
    if (width === 0) return new Array(n).fill(base);
    const out = new Array(n);
    for (let i = 0, bit = 0; i < n; i++, bit += width) {
      let value = 0;
      if (width <= 24) {
        const at = bit >> 3;
        const word = bits[at] | ((bits[at + 1] ?? 0) << 8) | ((bits[at + 2] ?? 0) << 16) | ((bits[at + 3] ?? 0) << 24);
        value = (word >>> (bit & 7)) & (2 ** width - 1);
      } else {
        let big = 0n;
        for (let k = 0; k < width; k++) if ((bits[(bit + k) >> 3] >> ((bit + k) & 7)) & 1) big |= 1n << BigInt(k);
        value = this.safe(big);
      }
      out[i] = base + value;
      if (!Number.isSafeInteger(out[i])) throw new UnsupportedError(`a number in ${this.name} is too large for this player`);
    }
    return out;
  }

  end() {
    need(this.left === 0, `a ${this.name} chunk has bytes left over`);
  }
}

function bounded(value, what) {
  need(Math.abs(value) < 2 ** 53, `${what} is out of range`);
  return value;
}

function readHead(bytes) {
  const p = new Payload(bytes, "HEAD");
  known(p.u16() === 1, "a version of .lvz");
  known(p.u32() === 0, "a feature that the file needs");
  p.u32();
  const sha256 = Array.from(p.take(32), (b) => b.toString(16).padStart(2, "0")).join("");
  const head = { sha256, model: p.text(), createdBy: p.text() };
  p.end();
  return head;
}

function readPlane(p) {
  const name = p.text(255);
  need(name.length > 0, "a plane without a name");
  known([1, 2, 3].includes(p.u8()), "a plane's type");
  const flags = p.u8();
  known(flags < 32, "a plane's flag");
  const channels = p.uvarint(65536);
  const stride = p.uvarint(65536);
  need(channels > 0 && stride > 0, "a plane without values");
  const finite = (value) => need(Number.isFinite(value), "a plane's scale");
  if (flags & 8) for (let i = 0; i < 2 * channels; i++) finite(p.f32());
  if (flags & 16) finite(p.f32());
  return { name, channels, stride };
}

function readVideo(bytes) {
  const p = new Payload(bytes, "VSTR");
  const packing = p.u8();
  known(packing in PLACES, "a packing of clips");
  const video = { packing: PLACES[packing] };
  [video.width, video.height] = [p.uvarint(2 ** 32), p.uvarint(2 ** 32)];
  const align = p.uvarint(65536);
  need(video.width > 0 && video.height > 0 && align > 0, "a picture without samples");
  limit(Math.max(video.width, video.height), LIMITS.side, "samples of a side");
  const padded = (n) => Math.ceil(n / align) * align;
  limit(padded(video.width) * padded(video.height), LIMITS.pixels, "samples of a picture in a browser");
  video.timeBase = p.positive();
  video.rate = p.ratio();
  need((video.rate[0] === 0) === (video.rate[1] === 0), "a frame rate");
  video.sar = p.ratio();
  need(video.sar[1] > 0, "a sample aspect ratio");
  video.rotation = p.uvarint(360);
  const flags = p.u8();
  known(flags < 4, "a flag of the video");
  video.mirrored = Boolean(flags & 1);
  video.checks = Boolean(flags & 2);
  [video.primaries, video.transfer, video.matrix] = [p.u8(), p.u8(), p.u8()];
  video.range = p.u8();
  video.chromaLocation = p.u8();
  need(video.range <= 2 && video.chromaLocation <= 6, "a colour of the video");
  video.depth = p.u8();
  need(video.depth >= 1 && video.depth <= 16, "a bit depth");
  const chroma = p.uvarint();
  need([400, 420, 422, 444].includes(chroma), "a chroma format");
  p.text();
  const seconds = p.f64();
  need(Number.isFinite(seconds) && seconds >= 0, "a length of GOPs");
  const stride = p.uvarint(65536);
  const lead = p.uvarint(65536);
  need(stride > 0 && lead > 0 && lead <= stride, "a temporal stride");
  const count = p.uvarint();
  need(count <= 64, "planes of latents");
  const names = new Set();
  video.values = 0; // of a frame's latents
  for (let i = 0; i < count; i++) {
    const { name, channels: own, stride: by } = readPlane(p);
    names.add(name);
    video.values += own * Math.ceil(padded(video.width) / by) * Math.ceil(padded(video.height) / by);
  }
  need(names.size === count, "two planes of one name");
  limit(video.values, LIMITS.values, "values of a frame");
  p.end();
  if (packing === RANS) {
    known((video.depth === 8 || video.depth === 10) && chroma === 420 && align === 16 && stride === 1, "a picture of another kind");
  }
  return video;
}

function readStream(bytes, number) {
  const p = new Payload(bytes, "CSTR");
  need(p.uvarint() === number, "streams out of order");
  limit(number, LIMITS.streams - 1, "copied streams");
  const kind = p.u8();
  known(kind >= 1 && kind <= 3, "a kind of stream");
  const stream = {
    number, kind: ["audio", "subtitle", "data"][kind - 1], codec: p.text(), timeBase: p.positive(), language: p.text(),
    sampleRate: p.uvarint(2 ** 32), channels: p.uvarint(2 ** 32), disposition: p.uvarint(2 ** 32), tags: p.tags(),
    params: p.blob().slice(),
  };
  p.end();
  return stream;
}

function readMetadata(bytes) {
  const p = new Payload(bytes, "mETa");
  const tags = p.tags();
  const count = p.uvarint();
  limit(count, LIMITS.chapters, "chapters");
  const chapters = [];
  for (let i = 0; i < count; i++) {
    const [start, end] = [p.svarint(), p.svarint()];
    const [num, den] = p.positive();
    chapters.push({ start: (start * num) / den, end: (end * num) / den, title: p.tags().get("title") ?? "" });
  }
  p.end();
  return { tags, chapters };
}

/** {delta: whether it builds on another model, bytes}. */
function readModelChunk(bytes) {
  const p = new Payload(bytes, "MODL");
  const kind = p.u8();
  known(kind <= 1, "a kind of model");
  if (kind === 1) p.take(32);
  return { delta: kind === 1, bytes: p.take(p.left).slice() };
}

/** The clips of a chunk. `expected`: the number that its first frame must have, or null. */
export function readClips(bytes, video, expected = null) {
  const p = new Payload(bytes, "CLIP");
  const flags = p.u8();
  known(flags < 64 && (video.checks || flags < 16), "a flag of a clip");
  const first = p.uvarint(2 ** 48);
  need(expected === null || first === expected, `frame ${expected} is followed by frame ${first}`);
  const count = p.uvarint();
  need(count > 0 && count * (video.packing === "rans" ? 2 : 6) <= p.left, "a chunk of more clips than bytes");
  limit(count, LIMITS.groupFrames, "clips of a chunk");
  const lengths = p.ints(count);
  let frames = 0;
  for (const length of lengths) {
    need(length >= 1, "a clip without frames");
    limit(length, LIMITS.clipFrames[video.packing], "frames of a clip");
    limit(length * video.values, LIMITS.values, "values of a clip");
    frames += length;
  }
  limit(frames, LIMITS.groupFrames, "frames of a chunk");
  const step = flags & 4 ? p.uvarint(2 ** 53) : null;
  const pts = p.ints(frames);
  const [num, den] = [BigInt(video.timeBase[1]) * BigInt(video.rate[1]), BigInt(video.timeBase[0]) * BigInt(video.rate[0])];
  for (let i = 0; i < frames; i++) {
    const grid = step !== null ? i * step : den > 0n ? Number((2n * BigInt(first + i) * num + den) / (2n * den)) : 0;
    pts[i] = bounded(pts[i] + grid, "a time");
    need(i === 0 || pts[i] > pts[i - 1], "times that do not increase");
  }
  let durations;
  if (flags & 8) {
    durations = p.ints(frames);
    need(durations.every((d) => d >= 0), "a negative duration");
  } else {
    const last = p.uvarint(2 ** 53);
    durations = pts.map((t, i) => (i + 1 < frames ? pts[i + 1] - t : last));
  }
  const sizes = [];
  for (let i = 0; i < count; i++) {
    sizes.push(p.uvarint());
    need(sizes[i] > 0, "a clip without bytes");
    if (video.packing !== "rans") p.u32();
  }
  let checks = null;
  if (video.checks) {
    const bits = [4, 8, 16, 32][flags >> 4];
    const data = p.take(Math.ceil((frames * bits) / 8));
    need(bits !== 4 || frames % 2 === 0 || data.at(-1) >> 4 === 0, "unused bits of checks are set");
    checks = Array.from({ length: frames }, (_, i) => {
      if (bits === 4) return { bits, value: (data[i >> 1] >> (4 * (i & 1))) & 15 };
      let value = 0;
      for (let k = bits / 8 - 1; k >= 0; k--) value = value * 256 + data[(i * bits) / 8 + k];
      return { bits, value };
    });
  }
  const clips = [];
  for (let i = 0, at = 0; i < count; at += lengths[i++]) {
    const end = at + lengths[i];
    clips.push({
      key: i === 0 && Boolean(flags & 1), first: first + at, pts: pts.slice(at, end), durations: durations.slice(at, end),
      checks: checks?.slice(at, end) ?? null, payload: p.take(sizes[i]),
    });
  }
  p.end();
  return { clips, end: first + frames };
}

/** Packets of one stream: [{time, duration, key, data}] with times in seconds, null where the file has none. */
export function readPackets(bytes, streams) {
  const p = new Payload(bytes, "PKTS");
  const number = p.uvarint();
  need(number < streams.length, "packets of a stream that is not described");
  const [num, den] = streams[number].timeBase;
  const count = p.uvarint();
  need(count >= 1, "a group without packets");
  limit(count, Math.min(LIMITS.packets, p.left + LIMITS.emptyPackets), "packets of a group");
  const marks = p.ints(count);
  known(marks.every((m) => m >= 0 && m < 4), "a mark of a packet");
  const flags = p.ints(count);
  const durations = p.ints(count);
  need(durations.every((d) => d >= 0) && flags.every((f) => f >= 0 && f < 2 ** 32), "a packet's duration or flags");
  const timed = marks.filter((m) => m & 1).length;
  const steps = [...p.ints(timed > 0 ? 1 : 0), ...p.ints(Math.max(0, timed - 1))];
  const late = p.ints(marks.filter((m) => m & 2).length);
  const sizes = p.ints(count);
  const out = [];
  let expected = 0;
  for (let i = 0, step = 0, behind = 0; i < count; i++) {
    limit(sizes[i], LIMITS.packet, "bytes of a packet");
    need(sizes[i] >= 0, "a packet's size");
    const pts = marks[i] & 1 ? bounded(expected + steps[step++], "a packet's time") : null;
    const dts = marks[i] & 2 ? bounded((pts ?? expected) + late[behind++], "a packet's time") : null;
    const time = pts ?? dts;
    out.push({
      time: time === null ? null : (time * num) / den, duration: (durations[i] * num) / den, key: Boolean(flags[i] & 1),
      data: p.take(sizes[i]),
    });
    expected = (time ?? expected) + durations[i];
  }
  p.end();
  return { stream: number, packets: out };
}

function readIndex(bytes, end, streams) {
  const p = new Payload(bytes, "INDX");
  const index = { gops: [], metadata: [], packets: streams.map(() => []) };
  let offset = 0;
  let entries = 0;
  let [frame, pts] = [0, 0];
  const ends = streams.map(() => 0);
  while (p.left > 0) {
    limit(++entries, LIMITS.entries, "entries of an index");
    const kind = p.uvarint();
    const step = p.uvarint();
    need(step >= 14, "an index entry");
    offset = bounded(offset + step, "an offset");
    need(offset < end, "an index entry behind the index");
    if (kind === 0) {
      const moved = p.uvarint();
      need(index.gops.length === 0 || moved >= 1, "an index entry");
      frame = bounded(frame + moved, "a frame's number");
      pts = bounded(pts + p.svarint(), "a time");
      index.gops.push({ offset, frame, pts });
    } else if (kind === 1) index.metadata.push(offset);
    else {
      const stream = kind - 2;
      need(stream < streams.length, "an index entry of a stream that is not described");
      const start = bounded(ends[stream] + p.svarint(), "a time");
      ends[stream] = bounded(start + p.uvarint(), "a time");
      const [num, den] = streams[stream].timeBase;
      index.packets[stream].push({ offset, start: (start * num) / den, end: (ends[stream] * num) / den });
    }
  }
  return index;
}

function readTail(bytes) {
  const p = new Payload(bytes, "TAIL");
  const tail = { index: p.u64(), frames: p.u64(), clips: p.u64(), start: p.i64(), end: p.i64() };
  p.take(32);
  p.end();
  return tail;
}

const METADATA = new Set(["CSTR", "mETa", "oRIG", "LTNT", "sIDe", "aTTa", "MODL", "HEAD", "VSTR"]);
const BODY = new Set(["CLIP", "PKTS", "INDX", "TAIL"]);
const KNOWN = new Set([...METADATA, ...BODY, "fEAT"]);

export class Container {
  /**
   * `source`: {size, read(offset, length) → Promise of bytes}; `size` is known after the first read. One that fetches has
   * `ahead(from, to)` as well, which is told what will be read.
   */
  constructor(source) {
    this.source = source;
  }

  /** A chunk at `offset`: {type, payload, end}; null where the file ends. `want`: of which types the payload is read and checked. */
  async chunk(offset, want = KNOWN) {
    const { source } = this;
    if (offset === source.size) return null;
    need(offset + 8 <= source.size, "the file ends in a chunk");
    let head = await source.read(offset, Math.min(16, source.size - offset));
    const type = String.fromCharCode(...head.subarray(0, 4));
    need(/^[A-Za-z]{4}$/.test(type), "a chunk without a type");
    let length = new DataView(head.buffer, head.byteOffset).getUint32(4, true);
    let begin = 8;
    if (length === 0xffffffff) {
      need(head.length === 16, "the file ends in a chunk");
      const long = new DataView(head.buffer, head.byteOffset).getBigUint64(8, true);
      need(long >= 0xffffffffn, "a chunk's length is not in its shortest form");
      length = Number(long);
      begin = 16;
    }
    limit(length, METADATA.has(type) ? LIMITS.metadata : LIMITS.chunk, `bytes of a ${type} chunk`);
    const end = offset + begin + length + 4;
    need(end <= source.size, "the file ends in a chunk");
    if (!KNOWN.has(type)) known(!(head[2] & 32) && head[0] & 32, `a ${type} chunk`);
    if (!want.has(type)) return { type, payload: null, end };
    const bytes = await source.read(offset, end - offset);
    const crc = new DataView(bytes.buffer, bytes.byteOffset).getUint32(bytes.length - 4, true);
    need(crc32(bytes.subarray(0, -4)) === crc, `a ${type} chunk has another checksum than it should`);
    return { type, payload: bytes.subarray(begin, -4), end };
  }

  /** Reads what stands before the first clip, and the index. `begun` is called between the two. */
  async open(begun = () => {}) {
    const { source } = this;
    const start = await source.read(0, 8);
    need(start.length === 8 && SIGNATURE.every((b, i) => b === start[i]), "this is no .lvz file");
    source.ahead?.(Math.max(0, source.size - TAIL_READ), source.size);
    this.streams = [];
    this.metadata = { tags: new Map(), chapters: [] };
    this.model = null;
    this.attachments = 0;
    let at = 8;
    const seen = new Set();
    for (;;) {
      const chunk = await this.chunk(at, METADATA);
      need(chunk !== null, "the file ends before its video");
      const { type, payload } = chunk;
      need(at > 8 || type === "HEAD", "the file does not begin with HEAD");
      if (["HEAD", "VSTR", "sIDe", "oRIG", "LTNT", "MODL"].includes(type)) {
        need(!seen.has(type), `${type} comes twice`);
        seen.add(type);
      }
      if (BODY.has(type)) {
        need(seen.has("VSTR"), "the file has no video");
        break;
      }
      need(seen.has("VSTR") || ["HEAD", "mETa"].includes(type) || !KNOWN.has(type), `${type} stands before VSTR`);
      if (type === "HEAD") this.head = readHead(payload);
      else if (type === "VSTR") this.video = readVideo(payload);
      else if (type === "CSTR") this.streams.push(readStream(payload, this.streams.length));
      else if (type === "mETa") this.metadata = readMetadata(payload);
      else if (type === "MODL") this.model = readModelChunk(payload);
      else if (type === "aTTa") limit(++this.attachments, LIMITS.attachments, "attachments");
      else if (type === "LTNT") this.latents = true;
      at = chunk.end;
    }
    this.body = at;
    begun(this);
    if (!(await this.fromTail())) await this.walk();
    const base = this.video.timeBase[0] / this.video.timeBase[1];
    this.start = this.tail.start * base;
    this.duration = (this.tail.end - this.tail.start) * base;
    return this;
  }

  /** Throws for a file that is whole, and no page can show. */
  playable() {
    if (this.latents) throw new UnsupportedError("the file holds latents of another model, which only that model turns into pictures");
    if (this.model?.delta) throw new UnsupportedError("the file's model builds on another one, which this player cannot put together — lvc decode can");
    if (this.video.packing !== "rans") {
      throw new UnsupportedError(`a file with packing ${this.video.packing} does not play in a browser — lvc decode can read it`);
    }
  }

  /** Whether there is a valid end. */
  async fromTail() {
    const { source } = this;
    const at = source.size - TAIL_BYTES;
    if (at < this.body) return false;
    let tail;
    try {
      const chunk = await this.chunk(at, new Set(["TAIL"]));
      if (chunk.type !== "TAIL" || chunk.end !== source.size) return false;
      tail = readTail(chunk.payload);
    } catch (error) {
      if (error instanceof CorruptError || error instanceof UnsupportedError || error.name === "LimitError") return false;
      throw error;
    }
    need(tail.index >= this.body && tail.index < at, "TAIL names no index");
    const chunk = await this.chunk(tail.index, new Set(["INDX"]));
    need(chunk.type === "INDX" && chunk.end === at, "TAIL names no index");
    this.tail = tail;
    this.index = readIndex(chunk.payload, tail.index, this.streams);
    need(this.index.gops.length > 0 || tail.frames === 0, "an index without clips");
    need(this.index.gops.every((gop) => gop.frame < tail.frames), "an index of more frames than there are");
    need(this.index.gops.length === 0 || this.index.gops[0].frame === 0, "the video does not begin with frame 0");
    need(tail.end >= tail.start && this.index.gops.every((g, i, all) => i === 0 || g.pts > all[i - 1].pts), "times of an index");
    this.stop = tail.index;
    if (this.index.metadata.length > 0) {
      const last = this.index.metadata.at(-1);
      const { type, payload } = await this.chunk(last, METADATA);
      need(type === "mETa", "an index entry that names another chunk");
      this.metadata = readMetadata(payload);
    }
    return true;
  }

  /** A file without an end, as a recording has it that goes on: all of it is read, up to where it ends. */
  async walk() {
    const index = { gops: [], metadata: [], packets: this.streams.map(() => []) };
    const tail = { frames: 0, clips: 0, start: 0, end: 0 };
    let at = this.body;
    try {
      for (;;) {
        const chunk = await this.chunk(at, new Set(["CLIP", "PKTS"]));
        if (chunk === null) break;
        if (chunk.type === "CLIP") {
          const { clips, end } = readClips(chunk.payload, this.video, tail.frames);
          if (clips[0].key) index.gops.push({ offset: at, frame: clips[0].first, pts: clips[0].pts[0] });
          need(index.gops.length > 0, "the video starts with a predicted frame");
          if (tail.frames === 0) tail.start = clips[0].pts[0];
          tail.frames = end;
          tail.end = clips.at(-1).pts.at(-1) + clips.at(-1).durations.at(-1);
        } else if (chunk.type === "PKTS") {
          const { stream, packets } = readPackets(chunk.payload, this.streams);
          const timed = packets.filter((packet) => packet.time !== null);
          if (timed.length > 0) {
            const start = Math.min(...timed.map((packet) => packet.time));
            const end = Math.max(...timed.map((packet) => packet.time + packet.duration));
            index.packets[stream].push({ offset: at, start, end });
          }
        }
        at = chunk.end;
      }
    } catch (error) {
      if (!(error instanceof CorruptError) || tail.frames === 0) throw error;
    }
    need(tail.frames > 0, "the file ends before its first frame");
    [this.tail, this.index, this.stop] = [tail, index, at];
  }

  /** The number of the GOP that a time (pts) lies in. */
  gopAt(pts) {
    const { gops } = this.index;
    let [low, high] = [0, gops.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (gops[middle].pts <= pts) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** [from, to): where the chunks of GOP `number` lie, and what stands between them. */
  span(number) {
    const { gops } = this.index;
    return [gops[number].offset, gops[number + 1]?.offset ?? this.stop];
  }

  /** Clips of GOP `number`, in order; `all`: that all will be read. */
  async *clips(number, all = false) {
    const { gops } = this.index;
    const [gop, next] = [gops[number], gops[number + 1]];
    const [, stop] = this.span(number);
    let at = gop.offset;
    let expected = gop.frame;
    let pts = -Infinity;
    while (at < stop) {
      if (all) this.source.ahead?.(at, stop);
      const chunk = await this.chunk(at, new Set(["CLIP"]));
      need(chunk !== null && chunk.end <= stop, "an index entry that names no chunk");
      need(at !== gop.offset || chunk.type === "CLIP", "an index entry that names another chunk");
      if (chunk.type === "CLIP") {
        const { clips, end } = readClips(chunk.payload, this.video, expected);
        need(clips[0].key === (at === gop.offset), "an index that does not match its clips");
        need(at !== gop.offset || clips[0].pts[0] === gop.pts, "an index that does not match its clips");
        need(clips[0].pts[0] > pts, "times that do not increase");
        pts = clips.at(-1).pts.at(-1);
        expected = end;
        yield* clips;
      }
      at = chunk.end;
    }
    need(expected === (next?.frame ?? this.tail.frames), "frames are missing");
  }

  /** Packets of a group of the index. */
  async packets(stream, group) {
    const chunk = await this.chunk(group.offset, new Set(["PKTS"]));
    need(chunk !== null && chunk.type === "PKTS", "an index entry that names another chunk");
    const found = readPackets(chunk.payload, this.streams);
    need(found.stream === stream, "an index entry that names another stream");
    return found.packets;
  }
}
