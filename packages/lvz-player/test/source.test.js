import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpSource } from "../src/source.js";

const FILE = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) >> 3);

/** A server that knows ranges; `change` may spoil its answers. */
function serving(file = FILE, change = (answer) => answer) {
  const asked = [];
  globalThis.fetch = async (_, { headers }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.Range).map(Number);
    asked.push([first, last]);
    const body = file.slice(first, last + 1);
    const range = `bytes ${first}-${first + body.length - 1}/${file.length}`;
    const answer = change({ status: 206, body, headers: { "Content-Range": range, ETag: '"1"' } }, asked.length);
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  };
  return asked;
}

test("what is read is what the file holds, and nothing is fetched twice", async () => {
  const asked = serving();
  const source = new HttpSource("film.lvz");
  for (const [offset, length] of [[0, 8], [5, 40_000], [99_990, 100], [16_384, 16_384], [0, 200_000]]) {
    assert.deepEqual(await source.read(offset, length), FILE.slice(offset, offset + length));
  }
  assert.equal(source.size, FILE.length);
  assert.equal(source.fetched, FILE.length);
  for (const [i, [first, last]] of asked.entries()) {
    for (const [first2, last2] of asked.slice(i + 1)) assert.ok(last < first2 || last2 < first);
  }
});

test("a seek fetches the blocks that it reads, and no others", async () => {
  const asked = serving();
  const source = new HttpSource("film.lvz");
  await source.read(0, 100);
  await source.read(60_000, 1000);
  assert.deepEqual(asked, [[0, 8191], [57_344, 65_535]]);
});

test("reads at the same time share requests", async () => {
  const asked = serving();
  const source = new HttpSource("film.lvz");
  const all = await Promise.all([source.read(0, 10), source.read(3, 10), source.read(20_000, 10)]);
  assert.deepEqual(all[2], FILE.slice(20_000, 20_010));
  assert.ok(asked.length <= 3);
});

test("answers that are none are refused by name", async () => {
  const spoiled = {
    "no ranges": (answer) => ({ ...answer, status: 200, headers: {} }),
    "a hidden Content-Range": (answer) => ({ ...answer, headers: {} }),
    "another place": (answer) => ({ ...answer, headers: { "Content-Range": "bytes 5-10/100000" } }),
    "too little": (answer) => ({ ...answer, body: answer.body.slice(1) }),
    "not found": (answer) => ({ ...answer, status: 404 }),
    empty: (answer) => ({ ...answer, status: 416, body: null }),
  };
  for (const [name, change] of Object.entries(spoiled)) {
    serving(FILE, change);
    await assert.rejects(new HttpSource("film.lvz").read(0, 8), { name: "NetworkError" }, name);
  }
  serving(FILE, (answer, number) => ({ ...answer, headers: { ...answer.headers, ETag: `"${number}"` } }));
  const source = new HttpSource("film.lvz");
  await source.read(0, 8);
  await assert.rejects(source.read(50_000, 8), /has changed/);
});
