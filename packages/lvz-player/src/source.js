/** A file behind an address, read by ranges and kept in blocks: what is near what was read costs no second request. */
import { LimitError, NetworkError } from "./errors.js";

const BLOCK = 16384;
const KEPT = 2048; // blocks: 32 MiB
const PIECE = 64; // blocks that are fetched at once at most: 1 MiB

export class HttpSource {
  constructor(url) {
    this.url = url;
    this.size = null;
    this.blocks = new Map();
    this.tag = null;
    this.pending = new Map();
    this.fetched = 0;
  }

  async request(from, to) {
    let response;
    try {
      response = await fetch(this.url, { headers: { Range: `bytes=${from}-${to - 1}` } });
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
    let bytes;
    try {
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch {
      throw new NetworkError("the connection was lost");
    }
    const wanted = Math.min(to, total) - from;
    if (Number(range[1]) !== from || bytes.length !== wanted) throw new NetworkError("the server sent another range than it was asked for");
    this.fetched += bytes.length;
    return bytes;
  }

  async fetchBlocks(first, last) {
    const from = first * BLOCK;
    const to = (last + 1) * BLOCK;
    const bytes = await this.request(from, this.size === null ? to : Math.min(to, this.size));
    for (let i = first; i <= last && (i - first) * BLOCK < bytes.length; i++) {
      this.blocks.set(i, bytes.subarray((i - first) * BLOCK, (i - first + 1) * BLOCK));
    }
    while (this.blocks.size > KEPT) this.blocks.delete(this.blocks.keys().next().value);
  }

  /** Fetches what is missing of blocks first … last; parts that are on their way are waited for. */
  async have(first, last) {
    for (let i = first; i <= last; ) {
      if (this.blocks.has(i)) {
        i++;
        continue;
      }
      if (this.pending.has(i)) {
        await this.pending.get(i);
        continue;
      }
      let end = i;
      while (end < last && end - i + 1 < PIECE && !this.blocks.has(end + 1) && !this.pending.has(end + 1)) end++;
      const going = this.fetchBlocks(i, end).finally(() => {
        for (let k = i; k <= end; k++) this.pending.delete(k);
      });
      for (let k = i; k <= end; k++) this.pending.set(k, going);
      await going;
      i = end + 1;
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
