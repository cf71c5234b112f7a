/** A file behind an address, read by ranges and kept in blocks: what is near what was read costs no second request. */
import { LimitError, NetworkError } from "./errors.js";

const BLOCK = 8192;
const KEPT = 4096; // blocks: 32 MiB
const PIECE = 128; // blocks of one request at most: 1 MiB

/** Blocks first … last of one request; they can be read as soon as each is there. */
class Coming {
  constructor(first, last) {
    Object.assign(this, { first, last, next: first, over: false, error: null, waiting: [] });
    this.abort = new AbortController();
  }

  reached(next) {
    this.next = next;
    for (const go of this.waiting.splice(0)) go();
  }

  end(error = null) {
    this.over = true;
    this.error = error;
    this.reached(this.next);
  }

  /** Until block `i` is there, or the request is over. */
  async until(i) {
    while (this.next <= i && !this.over) await new Promise((go) => this.waiting.push(go));
    if (this.error !== null) throw this.error;
  }
}

export class HttpSource {
  constructor(url) {
    this.url = url;
    this.size = null;
    this.blocks = new Map();
    this.tag = null;
    this.coming = new Set();
    this.fetched = 0;
  }

  /** Bytes from … to − 1 as the server sends them; `take` gets them in order. */
  async request(from, to, signal, take) {
    let response;
    try {
      response = await fetch(this.url, { headers: { Range: `bytes=${from}-${to - 1}` }, signal });
    } catch {
      throw new NetworkError("the video cannot be reached");
    }
    if (response.status === 416) throw new NetworkError("the file is empty, or has become shorter");
    if (!response.ok) throw new NetworkError(`the server answers ${response.status} to the video's address`);
    const tag = response.headers.get("ETag") ?? response.headers.get("Last-Modified");
    if (this.tag !== null && tag !== this.tag) throw new NetworkError("the file has changed while it played");
    this.tag = tag;
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "");
    if (response.status !== 206 || range === null) {
      await response.body?.cancel();
      throw new NetworkError("the server knows no ranges, without which no part of the file can be fetched (or does not expose Content-Range across origins)");
    }
    const total = Number(range[3]);
    if (!Number.isSafeInteger(total)) throw new LimitError("the file is too large");
    if (this.size !== null && total !== this.size) throw new NetworkError("the file has changed while it played");
    this.size = total;
    let left = Math.min(to, total) - from;
    const other = "the server sent another range than it was asked for";
    if (Number(range[1]) !== from) throw new NetworkError(other);
    const reader = response.body.getReader();
    for (;;) {
      let part;
      try {
        part = await reader.read();
      } catch {
        throw new NetworkError("the connection was lost");
      }
      if (part.done) break;
      left -= part.value.length;
      if (left < 0) {
        reader.cancel().catch(() => {});
        throw new NetworkError(other);
      }
      this.fetched += part.value.length;
      take(part.value);
    }
    if (left !== 0) throw new NetworkError(other);
  }

  async fetchBlocks(coming) {
    const from = coming.first * BLOCK;
    const to = (coming.last + 1) * BLOCK;
    let block = new Uint8Array(BLOCK);
    let at = 0;
    const done = () => {
      this.blocks.set(coming.next, at === BLOCK ? block : block.slice(0, at));
      block = new Uint8Array(BLOCK);
      at = 0;
      coming.reached(coming.next + 1);
    };
    try {
      await this.request(from, this.size === null ? to : Math.min(to, this.size), coming.abort.signal, (bytes) => {
        for (let i = 0; i < bytes.length; ) {
          const part = bytes.subarray(i, i + BLOCK - at);
          block.set(part, at);
          at += part.length;
          i += part.length;
          if (at === BLOCK) done();
        }
      });
      if (at > 0) done();
      coming.end();
    } catch (error) {
      coming.end(coming.abort.signal.aborted ? null : error);
    }
    this.coming.delete(coming);
    while (this.blocks.size > KEPT) this.blocks.delete(this.blocks.keys().next().value);
  }

  of(i) {
    for (const coming of this.coming) if (coming.first <= i && i <= coming.last) return coming;
    return null;
  }

  /** Asks for what of blocks first … last is neither there nor on its way. */
  start(first, last) {
    const here = (i) => this.blocks.has(i) || this.of(i) !== null;
    for (let i = first; i <= last; i++) {
      if (here(i)) continue;
      let end = i;
      while (end < last && end - i + 1 < PIECE && !here(end + 1)) end++;
      const coming = new Coming(i, end);
      this.coming.add(coming);
      this.fetchBlocks(coming);
      i = end;
    }
  }

  /** Until blocks first … last are there. */
  async have(first, last) {
    this.start(first, last);
    for (let i = first; i <= last; ) {
      if (this.blocks.has(i)) {
        i++;
        continue;
      }
      if (this.of(i) === null) this.start(i, last); // it was given up, or pushed out
      await this.of(i).until(i);
    }
  }

  /** Fetches the beginning of what lies between two places, a MiB at most, before it is read. Answers nothing; what goes wrong is said when it is read. */
  ahead(from, to) {
    const end = this.size === null ? to : Math.min(to, this.size);
    if (end <= from) return;
    const first = Math.floor(from / BLOCK);
    this.start(first, Math.min(first + PIECE - 1, Math.floor((end - 1) / BLOCK)));
  }

  /** Gives up requests of which nothing lies between two places. */
  only(from, to) {
    for (const coming of this.coming) {
      if ((coming.last + 1) * BLOCK <= from || coming.first * BLOCK >= to) coming.abort.abort();
    }
  }

  /** `length` bytes from `offset`, fewer where the file ends; a copy. */
  async read(offset, length) {
    if (this.size === null) await this.have(0, 0);
    const end = Math.min(offset + length, this.size);
    if (end <= offset) return new Uint8Array(0);
    const out = new Uint8Array(end - offset);
    // piece by piece, so that a large read does not push its own blocks out
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / BLOCK);
      const until = Math.min(end, (block + PIECE) * BLOCK);
      await this.have(block, Math.floor((until - 1) / BLOCK));
      for (; at < until; ) {
        const i = Math.floor(at / BLOCK);
        const bytes = this.blocks.get(i);
        if (bytes === undefined) break; // pushed out by others meanwhile
        this.blocks.delete(i);
        this.blocks.set(i, bytes);
        const part = bytes.subarray(at - i * BLOCK, Math.min(BLOCK, until - i * BLOCK));
        out.set(part, at - offset);
        at += part.length;
        if (part.length === 0) throw new NetworkError("the file has become shorter");
      }
    }
    return out;
  }
}
