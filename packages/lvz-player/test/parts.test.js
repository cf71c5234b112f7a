import assert from "node:assert/strict";
import { test } from "node:test";
import { conversion, shownSize, siting, weights } from "../src/colour.js";
import { clock } from "../src/clock.js";
import { folded, readClip, steps } from "../src/gop.js";
import { readModel } from "../src/model.js";
import { fragment, initialised } from "../src/mp4.js";
import { readable, textOf } from "../src/subtitles.js";

test("a pyramid's frames come after what they are predicted from", () => {
  for (const structure of [0, 1, 2, 3, 4]) {
    for (let n = 1; n <= 32; n++) {
      for (const older of [false, true]) {
        const known = new Set(older ? [-2, -1, 0] : [0]);
        for (const { frame, first, second } of steps(structure, n, older)) {
          assert.ok((structure === 3 && frame === n ? first === null : known.has(first)) && (second === null || known.has(second)));
          known.add(frame);
        }
        for (let k = 1; k <= n; k++) assert.ok(known.has(k));
      }
    }
  }
  assert.deepEqual(steps(2, 4, true).map((s) => [s.frame, s.first, s.second, s.place]), [[4, 0, -1, 0], [2, 0, 4, 1], [1, 0, 2, 2], [3, 2, 4, 2]]);
});

test("qualities fall from place to place, or are said", () => {
  const payload = (...bytes) => Uint8Array.from(bytes);
  const falling = readClip(payload(0, 60, 8, 2, 9, 9, 7), 4, false);
  assert.deepEqual(falling.order.map((s) => s.quality), [60, 59, 58, 58]);
  assert.deepEqual(falling.parts.map((p) => [...p]), [[9, 9], [7]]);
  assert.deepEqual(readClip(payload(0, 60, 128, 50, 40, 0), 4, false).order.map((s) => s.quality), [60, 50, 40, 40]);
  assert.deepEqual(readClip(payload(1, 60, 129, 1, 2, 5), 3, false).order.map((s) => s.quality), [60, 1, 2]);
  assert.throws(() => readClip(payload(0, 128, 0, 0), 2, false), { name: "CorruptError" });
  assert.throws(() => readClip(payload(5, 0, 0, 0), 2, false), { name: "UnsupportedError" });
  assert.throws(() => readClip(payload(0, 0, 130, 0), 2, false), { name: "UnsupportedError" });
  assert.throws(() => readClip(payload(0, 0, 0, 9), 2, false), { name: "CorruptError" });
  assert.throws(() => readClip(payload(0, 0, 0, 0x80, 0), 2, false), { name: "CorruptError" });
  assert.throws(() => readClip(payload(0, 0, 0), 33, false), { name: "CorruptError" });
});

test("checks fold to half their bits again and again", () => {
  assert.equal(folded(0x12345678, 32), 0x12345678);
  assert.equal(folded(0x12345678, 16), 0x1234 ^ 0x5678);
  assert.equal(folded(0xffffffff, 16), 0);
  assert.equal(folded(0x12345678, 4), [1, 2, 3, 4, 5, 6, 7, 8].reduce((a, b) => a ^ b));
});

test("white, black and grey stay so in every matrix and range", () => {
  for (const matrix of [1, 2, 5, 6, 9]) {
    for (const [depth, range, black, white] of [[8, 1, 16, 235], [8, 2, 0, 255], [10, 1, 64, 940], [10, 2, 0, 1023]]) {
      const { matrix: m, offset, one } = conversion({ matrix, range, depth, width: 640, height: 480 });
      for (const [y, grey] of [[black, 0], [white, 1]]) {
        const at = [y, 2 ** (depth - 1), 2 ** (depth - 1)].map((v, i) => v / one - offset[i]);
        for (let i = 0; i < 3; i++) assert.ok(Math.abs(m[i] * at[0] + m[3 + i] * at[1] + m[6 + i] * at[2] - grey) < 1e-6);
      }
    }
  }
  assert.deepEqual(weights({ matrix: 2, width: 1280, height: 720 }), weights({ matrix: 1 }));
  assert.deepEqual(weights({ matrix: 2, width: 640, height: 480 }), weights({ matrix: 6 }));
  assert.deepEqual(siting({ chromaLocation: 2 }), [0.5, 0.5]);
});

test("a picture is shown with square samples, turned", () => {
  assert.deepEqual(shownSize({ width: 720, height: 576, sar: [64, 45], rotation: 0 }), [1024, 576]);
  assert.deepEqual(shownSize({ width: 720, height: 576, sar: [0, 1], rotation: 90 }), [576, 720]);
  assert.deepEqual(shownSize({ width: 100, height: 50, sar: [1, 2], rotation: 180 }), [100, 100]);
});

test("times are written as people write them", () => {
  assert.deepEqual([0, 59.99, 60, 3599, 3600, 36061].map(clock), ["0:00", "0:59", "1:00", "59:59", "1:00:00", "10:01:01"]);
});

test("sound becomes fragmented MP4 whose boxes are as long as they say", () => {
  const boxes = (bytes) => {
    const found = [];
    for (let at = 0; at < bytes.length; ) {
      const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
      assert.ok(size >= 8 && at + size <= bytes.length);
      found.push(String.fromCharCode(...bytes.slice(at + 4, at + 8)));
      at += size;
    }
    return found;
  };
  const none = new Uint8Array(0);
  for (const codec of ["aac", "opus", "mp3"]) {
    const { start, rate } = initialised({ codec, params: none, sampleRate: 48000, channels: 2 });
    assert.equal(rate, 48000);
    assert.deepEqual(boxes(start), ["ftyp", "moov"]);
  }
  assert.equal(initialised({ codec: "aac", params: none, sampleRate: 48000, channels: 2 }).mime, 'audio/mp4; codecs="mp4a.40.2"');
  assert.equal(initialised({ codec: "ac3", params: none, sampleRate: 48000, channels: 2 }), null);
  assert.equal(initialised({ codec: "opus", params: none, sampleRate: 48000, channels: 6 }), null);
  const packets = [0, 0.02].map((time) => ({ time, duration: 0.02, data: Uint8Array.of(1, 2, 3) }));
  assert.deepEqual(boxes(fragment(packets, 48000, 1024, 1)), ["moof", "mdat"]);
});

test("parameters that are no parameters do no harm", () => {
  for (let seed = 1; seed < 300; seed++) {
    let state = seed;
    const noise = Uint8Array.from({ length: 60 }, () => (state = (state * 48271) % 2147483647) & 255);
    for (const [codec, name] of [["aac", "esds"], ["opus", "dOps"], ["opus", "OpusHead"], ["flac", "dfLa"]]) {
      noise.set([0, 0, 0, seed & 63, ...new TextEncoder().encode(name)], 8);
      initialised({ codec, params: noise, sampleRate: 44100, channels: 2 });
    }
  }
});

test("subtitles lose their markup", () => {
  const bytes = (text) => new TextEncoder().encode(text);
  assert.equal(textOf("subrip", bytes("<i>Hello</i>,\r\nyou")), "Hello,\nyou");
  assert.equal(textOf("ass", bytes("0,0,Default,,0,0,0,,{\\b1}One, two\\Nthree")), "One, two\nthree");
  assert.equal(textOf("mov_text", Uint8Array.of(0, 2, 72, 105, 9, 9)), "Hi");
  assert.equal(textOf("mov_text", new Uint8Array(0)), "");
  assert.ok(!readable({ kind: "subtitle", codec: "dvd_subtitle" }));
});

test("what is no model is refused by name", () => {
  const file = (header) => {
    const text = new TextEncoder().encode(header);
    const bytes = new Uint8Array(8 + text.length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
    bytes.set(text, 8);
    return bytes;
  };
  const programs = (value) => JSON.stringify({ __metadata__: { "lvc.programs": JSON.stringify(value) } });
  for (const bytes of [
    new Uint8Array(3), file("{"), file("null"), file("[]"), file(programs(null)), file(programs({ version: 1 })),
    file(programs({ version: 1, levels: 768, programs: {} })), file(programs({ version: 1, levels: 768, programs: { key: { tensors: 1 } } })),
    Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255),
  ]) {
    assert.throws(() => readModel(bytes), { name: "CorruptError" });
  }
  assert.throws(() => readModel(file(programs({ version: 2 }))), { name: "UnsupportedError" });
});
