// Decodes a real file, whole and damaged. `LVZ_FILM`, `LVZ_MODEL`, `LVZ_DIGESTS` name the file, its model and what its frames are; tests/player
// gives them.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Container, crc32 } from "../src/container.js";
import { Engine } from "../src/engine.js";
import { Anchors, Between } from "../src/gop.js";
import { Hands } from "../src/hands.js";
import { readModel, unpacked } from "../src/model.js";

const { LVZ_FILM, LVZ_MODEL, LVZ_DIGESTS } = process.env;
const skip = LVZ_FILM === undefined && "LVZ_FILM names no file";
const film = skip ? null : new Uint8Array(readFileSync(LVZ_FILM));
const model = skip ? null : readModel(await unpacked(new Uint8Array(readFileSync(LVZ_MODEL))));
const module = new WebAssembly.Module(readFileSync(new URL("../src/engine-simd.wasm", import.meta.url)));

/** SHA-256 of each frame; of every clip the pictures up to `places`; of all groups, or of one. */
async function digests(bytes, places = Infinity, only = null) {
  const source = { size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
  const container = await new Container(source).open();
  container.playable();
  const { width, height, depth } = container.video;
  const made = [new Engine(module), new Engine(module)];
  const anchors = new Anchors(made[0], model, { width, height, depth });
  const between = new Between(made[1], model, { width, height, depth });
  const sums = [];
  for (let gop = 0; gop < container.index.gops.length; gop++) {
    if (only !== null && gop !== only) continue;
    let number = -1;
    for await (const clip of container.clips(gop)) {
      number++;
      const show = (i, planes) => (sums[clip.first + i] = createHash("sha256").update(planes()).digest("hex"));
      if (clip.key) anchors.key(gop, clip.payload, clip.checks, show);
      else {
        const work = anchors.clip(gop, number, clip.payload, clip.pts.length, clip.checks, show);
        if (work !== null) for (const [i, planes] of between.decode(work, () => places)) show(i, planes);
      }
    }
  }
  return { sums, memory: Math.max(...made.map((engine) => engine.bytes.length)) };
}

test("every frame is what lvc decodes", { skip }, async () => {
  const { sums } = await digests(film);
  assert.deepEqual(sums, readFileSync(LVZ_DIGESTS, "utf8").trim().split("\n"));
});

test("upper places alone are the same pictures", { skip }, async () => {
  const { sums } = await digests(film, 2);
  const all = readFileSync(LVZ_DIGESTS, "utf8").trim().split("\n");
  const there = Object.keys(sums).map(Number);
  assert.ok(there.length > 0 && there.length < all.length / 2);
  for (const i of there) assert.equal(sums[i], all[i]);
});

test("a group is decoded from an anchor that was kept as from its key frame", { skip }, async () => {
  const source = { size: film.length, read: async (offset, length) => film.slice(offset, offset + length) };
  const container = await new Container(source).open();
  const { width, height, depth } = container.video;
  const all = readFileSync(LVZ_DIGESTS, "utf8").trim().split("\n");
  const between = new Between(new Engine(module), model, { width, height, depth });
  const clips = [];
  for (let group = 0; group < container.index.gops.length; group++) {
    let number = 0;
    for await (const clip of container.clips(group)) clips.push({ ...clip, group, number: number++ });
  }
  for (const [room, most] of [[1 << 24, Infinity], [0, 3]]) {
    const engine = new Engine(module);
    const anchors = new Anchors(engine, model, { width, height, depth }, room);
    const calls = [];
    engine.call = (name, ...given) => {
      if (/^frame_(key|predicted)$/.test(name)) calls.push(name);
      return engine.exports[name](...given);
    };
    /** Decodes a clip, and before it those of its group that must be. */
    const decode = (wanted) => {
      calls.length = 0;
      const there = anchors.latest(wanted.group, (number) => number < wanted.number);
      for (const clip of clips) {
        if (clip.group !== wanted.group || clip.number <= there || clip.number > wanted.number) continue;
        const show = (i, planes) => assert.equal(createHash("sha256").update(planes()).digest("hex"), all[clip.first + i]);
        if (clip.key) anchors.key(clip.group, clip.payload, clip.checks, show);
        else {
          const work = anchors.clip(clip.group, clip.number, clip.payload, clip.pts.length, clip.checks, show);
          if (work !== null) for (const [i, planes] of between.decode(work, () => (clip === wanted ? Infinity : 0))) show(i, planes);
        }
      }
      assert.ok(anchors.kept.size <= Math.max(most, clips.length));
      if (most === 3) assert.ok(anchors.kept.size <= 3); // the last two anchors and the key frame
      return calls.length;
    };
    const [last, first] = [clips.at(-1), clips.find((clip) => !clip.key)];
    decode(last);
    decode(first);
    const again = decode(last);
    assert.equal(again, most === 3 ? last.number + 1 : 0);
    for (const clip of [...clips].reverse()) decode(clip);
  }
});

test("a frame that is sought comes before what it does not depend on, and all are the same pictures", { skip }, async () => {
  const source = { size: film.length, read: async (offset, length) => film.slice(offset, offset + length) };
  const container = await new Container(source).open();
  const { width, height, depth } = container.video;
  const all = readFileSync(LVZ_DIGESTS, "utf8").trim().split("\n");
  const anchors = new Anchors(new Engine(module), model, { width, height, depth });
  const engine = new Engine(module);
  const between = new Between(engine, model, { width, height, depth });
  let number = 0;
  for await (const clip of container.clips(0)) {
    const n = clip.pts.length;
    if (clip.key) anchors.key(0, clip.payload, clip.checks, () => {});
    const work = clip.key ? null : anchors.clip(0, number, clip.payload, n, clip.checks, () => {});
    number++;
    if (work === null) continue;
    const { order } = work;
    for (const sought of [0, 1, n >> 1, n - 2, n - 1].filter((i) => i < n)) {
      for (const places of [Infinity, 2]) {
        const calls = [];
        engine.call = (name, ...given) => {
          if (name === "frame_predicted") calls.push(given.at(-1));
          return engine.exports[name](...given);
        };
        const until = order.findIndex((step) => step.frame === sought + 1);
        const comes = until >= 0 && order[until].place <= places;
        const seen = [];
        for (const [i, planes] of between.decode(work, () => places, sought)) {
          if (planes === null) continue;
          assert.equal(createHash("sha256").update(planes()).digest("hex"), all[clip.first + i]);
          if (comes && i === sought) {
            assert.equal(calls.length, until + 1);
            const needed = new Set(order.slice(0, until + 1).flatMap((step) => [step.first, step.second])).add(sought + 1);
            assert.equal(calls.filter((passed) => !passed).length, order.slice(0, until + 1).filter((step) => needed.has(step.frame)).length);
          }
          seen.push(i);
        }
        assert.deepEqual(seen.sort((a, b) => a - b), order.filter((step) => step.place <= places).map((step) => step.frame - 1).sort((a, b) => a - b));
      }
    }
    const memory = engine.bytes.length;
    for (const _ of between.decode(work, () => Infinity, n >> 1)); // eslint-disable-line no-unused-vars
    assert.equal(engine.bytes.length, memory);
    if (number > 2) break;
  }
});

test("workers that lend a hand change nothing", { skip }, async () => {
  const shared = new WebAssembly.Module(readFileSync(new URL("../src/engine-simd-shared.wasm", import.meta.url)));
  const source = { size: film.length, read: async (offset, length) => film.slice(offset, offset + length) };
  const container = await new Container(source).open();
  const { width, height, depth } = container.video;
  const all = readFileSync(LVZ_DIGESTS, "utf8").trim().split("\n");
  const engine = new Engine(shared);
  const anchors = new Anchors(engine, model, { width, height, depth });
  const hand = `
    import { parentPort, workerData } from "node:worker_threads";
    const { Hand } = await import(workerData);
    let hand = null;
    parentPort.on("message", (message) => {
      if (message.op === "hand") hand = new Hand(message);
      else hand.lend(message.ticket);
    });`;
  const workers = [1, 2].map(() => new Worker(new URL(`data:text/javascript,${encodeURIComponent(hand)}`), { workerData: new URL("../src/hands.js", import.meta.url).href }));
  await Promise.all(workers.map((worker) => once(worker, "online")));
  const hands = new Hands(engine, "test", workers);
  let together = 0;
  engine.call = (name, ...given) => {
    const result = engine.exports[name](...given);
    if (name.startsWith("frame_")) together += engine.exports.lent();
    return result;
  };
  try {
    let number = 0;
    for await (const clip of container.clips(0)) {
      const show = (i, planes) => assert.equal(createHash("sha256").update(planes()).digest("hex"), all[clip.first + i]);
      hands.during(() => {
        if (clip.key) anchors.key(0, clip.payload, clip.checks, show);
        else anchors.clip(0, number, clip.payload, clip.pts.length, clip.checks, show);
      });
      assert.equal(engine.exports.lent(), 0);
      number++;
    }
    assert.ok(together > 0, "no worker ever came");
  } finally {
    for (const worker of workers) await worker.terminate();
  }
});

test("damage behind right checksums is found, or does no harm, in bounded memory", { skip }, async () => {
  // chunks of clips, changed here and there, with a CRC that fits again
  const clips = [];
  let gop = -1;
  for (let at = 8; at < film.length; ) {
    const length = new DataView(film.buffer, at + 4).getUint32(0, true);
    if (String.fromCharCode(...film.slice(at, at + 4)) === "CLIP") clips.push([at, length, (gop += film[at + 8] & 1)]);
    at += length + 12;
  }
  let state = 1;
  const random = (n) => (state = (state * 48271) % 2147483647) % n;
  let refused = 0;
  for (let i = 0; i < 16; i++) {
    const bytes = film.slice();
    const [at, length, number] = clips[random(clips.length)];
    for (let k = 0; k <= i % 4; k++) bytes[at + 8 + random(length)] ^= 1 << random(8);
    new DataView(bytes.buffer).setUint32(at + 8 + length, crc32(bytes.subarray(at, at + 8 + length)), true);
    try {
      const { memory } = await digests(bytes, Infinity, number);
      assert.ok(memory < 64 << 20);
    } catch (error) {
      assert.ok(["CorruptError", "UnsupportedError", "LimitError"].includes(error.name), error.stack);
      refused++;
    }
  }
  assert.ok(refused > 8, `only ${refused} of 16 were refused`);
});
