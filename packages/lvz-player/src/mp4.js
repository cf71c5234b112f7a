/** Fragmented MP4 of one copied sound stream, as Media Source Extensions take it. */

const ascii = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const u8 = (...values) => Uint8Array.from(values);
const u16 = (value) => u8(value >> 8, value);
const u32 = (value) => u8(value >>> 24, value >>> 16, value >>> 8, value);
const u64 = (value) => joined([u32(Math.floor(value / 2 ** 32)), u32(value % 2 ** 32)]);
const zeros = (count) => new Uint8Array(count);

function joined(parts) {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const box = (type, ...parts) => {
  const content = joined(parts);
  return joined([u32(content.length + 8), ascii(type), content]);
};
const full = (type, flags, ...parts) => box(type, u32(flags), ...parts);
const MATRIX = joined([u32(0x10000), zeros(12), u32(0x10000), zeros(12), u32(0x40000000)]);

/** Where `text` begins in `bytes`, or −1. */
function find(bytes, text) {
  const wanted = ascii(text);
  for (let i = 0; i + wanted.length <= bytes.length; i++) if (wanted.every((b, k) => b === bytes[i + k])) return i;
  return -1;
}

/** The content of the first box of a type in what may be a whole MP4 file; null where there is none. */
function content(bytes, type) {
  const at = find(bytes, type);
  if (at < 4) return null;
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at - 4);
  return size >= 8 && at - 4 + size <= bytes.length ? bytes.slice(at + 4, at - 4 + size) : null;
}

const descriptor = (tag, ...parts) => {
  const inside = joined(parts);
  return joined([u8(tag, 0x80 | (inside.length >> 21), 0x80 | ((inside.length >> 14) & 127), 0x80 | ((inside.length >> 7) & 127), inside.length & 127), inside]);
};

function esds(objectType, config) {
  const decoder = [u8(objectType, 0x15), zeros(3), zeros(8), ...(config.length > 0 ? [descriptor(5, config)] : [])];
  return full("esds", 0, descriptor(3, u16(1), u8(0), descriptor(4, ...decoder), descriptor(6, u8(2))));
}

const RATES = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/** AAC's AudioSpecificConfig, from the parameters' `esds`, else of AAC LC. */
function aacConfig({ params, sampleRate, channels }) {
  const found = content(params, "esds");
  for (let i = 4; found !== null && i + 2 < found.length; i++) {
    if (found[i] !== 4) continue; // DecoderConfigDescriptor, then DecoderSpecificInfo behind 13 bytes
    let at = i + 1;
    while (found[at] & 128) at++;
    at += 14;
    if (found[at++] !== 5) continue;
    let size = 0;
    for (let more = true; more && at < found.length; ) {
      size = (size << 7) | (found[at] & 127);
      more = (found[at++] & 128) !== 0;
    }
    if (size >= 2 && at + size <= found.length) return found.slice(at, at + size);
  }
  const rate = RATES.indexOf(sampleRate);
  const layout = channels === 8 ? 7 : channels;
  return rate < 0 || layout > 7 ? null : u8((2 << 3) | (rate >> 1), ((rate & 1) << 7) | (layout << 3));
}

function opusConfig({ params, channels }) {
  const found = content(params, "dOps");
  if (found !== null) return found;
  const at = find(params, "OpusHead");
  if (at >= 0 && at + 19 <= params.length) {
    const view = new DataView(params.buffer, params.byteOffset + at);
    const family = view.getUint8(18);
    const table = family > 0 ? params.slice(at + 19, at + 21 + view.getUint8(9)) : zeros(0);
    return joined([u8(0, view.getUint8(9)), u16(view.getUint16(10, true)), u32(view.getUint32(12, true)), u16(view.getUint16(16, true)), u8(family), table]);
  }
  return channels > 2 ? null : joined([u8(0, channels), u16(312), u32(48000), u16(0), u8(0)]);
}

/** {mime, entry: the box of the codec, name} of a stream, or null where MP4 has no place for it. */
function described(track) {
  if (track.codec === "aac") {
    const config = aacConfig(track);
    if (config === null) return null;
    const type = config[0] >> 3 === 31 ? 32 + (((config[0] & 7) << 3) | (config[1] >> 5)) : config[0] >> 3;
    return { mime: `audio/mp4; codecs="mp4a.40.${type}"`, entry: "mp4a", own: esds(0x40, config) };
  }
  if (track.codec === "mp3") return { mime: 'audio/mp4; codecs="mp3"', entry: "mp4a", own: esds(0x6b, zeros(0)) };
  if (track.codec === "opus") {
    const config = opusConfig(track);
    return config && { mime: 'audio/mp4; codecs="opus"', entry: "Opus", own: box("dOps", config) };
  }
  if (track.codec === "flac") {
    const found = content(track.params, "dfLa");
    return found && { mime: 'audio/mp4; codecs="flac"', entry: "fLaC", own: box("dfLa", found) };
  }
  return null;
}

/** {mime, rate, start: the initialisation segment}, or null. */
export function initialised(track) {
  const kind = track.sampleRate > 0 && track.channels > 0 ? described(track) : null;
  if (kind === null) return null;
  const rate = track.codec === "opus" ? 48000 : track.sampleRate;
  const entry = box(
    kind.entry, zeros(6), u16(1), zeros(8), u16(track.channels), u16(16), zeros(4), u32(rate < 65536 ? rate * 65536 : 0), kind.own,
  );
  const tables = [full("stts", 0, u32(0)), full("stsc", 0, u32(0)), full("stsz", 0, u32(0), u32(0)), full("stco", 0, u32(0))];
  const media = box(
    "mdia",
    full("mdhd", 0, zeros(8), u32(rate), u32(0), u16(0x55c4), u16(0)),
    full("hdlr", 0, zeros(4), ascii("soun"), zeros(12), ascii("sound\0")),
    box(
      "minf", full("smhd", 0, zeros(4)), box("dinf", full("dref", 0, u32(1), full("url ", 1))),
      box("stbl", full("stsd", 0, u32(1), entry), ...tables),
    ),
  );
  const start = joined([
    box("ftyp", ascii("iso5"), u32(0), ascii("iso5iso6mp41")),
    box(
      "moov",
      full("mvhd", 0, zeros(8), u32(1000), u32(0), u32(0x10000), u16(0x100), zeros(10), MATRIX, zeros(24), u32(2)),
      box("trak", full("tkhd", 3, zeros(8), u32(1), zeros(8), zeros(8), u16(0), u16(0), u16(0x100), u16(0), MATRIX, zeros(8)), media),
      box("mvex", full("trex", 0, u32(1), u32(1), zeros(12))),
    ),
  ]);
  return { mime: kind.mime, rate, start };
}

/** A fragment of packets with times; `shift` seconds are added, since times in MP4 begin at 0. */
export function fragment(packets, rate, shift, sequence) {
  const at = packets.map(({ time }) => Math.round((time + shift) * rate));
  const samples = packets.map(({ data, duration }, i) => {
    const length = i + 1 < at.length ? at[i + 1] - at[i] : Math.round(duration * rate);
    return joined([u32(Math.max(0, length)), u32(data.length)]);
  });
  const made = (offset) =>
    box(
      "moof",
      full("mfhd", 0, u32(sequence)),
      box(
        "traf", full("tfhd", 0x20000, u32(1)), full("tfdt", 0x1000000, u64(at[0])),
        full("trun", 0x301, u32(packets.length), u32(offset), ...samples),
      ),
    );
  const head = made(made(0).length + 8);
  return joined([head, box("mdat", ...packets.map(({ data }) => data))]);
}
