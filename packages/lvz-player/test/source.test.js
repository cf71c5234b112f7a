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

/** A server whose answers come when `send(number, bytes)` says so; `asked[number]` has the range and whether it was given up. */
function slowly() {
  const asked = [];
  globalThis.fetch = async (_, { headers, signal }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.Range).map(Number);
    const end = Math.min(last + 1, FILE.length);
    const request = { first, last: end - 1, over: false, at: first };
    asked.push(request);
    const body = new ReadableStream({ start: (out) => (request.out = out) });
    signal.addEventListener("abort", () => {
      request.over = true;
      request.out.error(new Error("aborted"));
    });
    return new Response(body, { status: 206, headers: { "Content-Range": `bytes ${first}-${end - 1}/${FILE.length}` } });
  };
  const send = (number, count = Infinity) => {
    const request = asked[number];
    const end = Math.min(request.last + 1, request.at + count);
    request.out.enqueue(FILE.slice(request.at, end));
    request.at = end;
    if (end > request.last) request.out.close();
  };
  return { asked, send };
}

const soon = () => new Promise((resolve) => setTimeout(resolve));

/** A source whose head has come: the first of the requests that `slowly` keeps. */
async function opened() {
  const { asked, send } = slowly();
  const source = new HttpSource("film.lvz");
  const head = source.read(0, 8);
  await soon();
  send(0);
  await head;
  return { asked, send, source };
}

test("what has come of an answer is read before its end", async () => {
  const { asked, send, source } = await opened();
  source.ahead(8192, FILE.length);
  await soon();
  assert.deepEqual([asked[1].first, asked[1].last], [8192, FILE.length - 1]);
  let late = null;
  const early = source.read(9000, 100);
  source.read(60_000, 100).then((bytes) => (late = bytes));
  await soon();
  send(1, 10_000);
  assert.deepEqual(await early, FILE.slice(9000, 9100));
  assert.equal(late, null);
  send(1);
  await soon();
  assert.deepEqual(late, FILE.slice(60_000, 60_100));
  assert.equal(asked.length, 2);
});

test("what is no longer wanted is given up, and asked for again if it is read after all", async () => {
  const { asked, send, source } = await opened();
  source.ahead(8192, 40_960);
  source.ahead(81_920, 90_112);
  await soon();
  send(1, 8192);
  const waiting = source.read(20_000, 10);
  await soon();
  source.only(81_920, 90_112);
  await soon();
  assert.deepEqual(asked.map((request) => request.over), [false, true, false, false]);
  assert.deepEqual([asked[3].first, asked[3].last], [16_384, 24_575]);
  send(3);
  assert.deepEqual(await waiting, FILE.slice(20_000, 20_010));
  assert.deepEqual(await source.read(8192, 8192), FILE.slice(8192, 16_384));
});
