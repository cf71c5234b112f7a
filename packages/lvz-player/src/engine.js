/** The engine compiled to WebAssembly: memory, calls, and which of its builds runs here. */
import { LimitError } from "./errors.js";

// Modules of one function: (v128) i16x8.splat 0 …, and i32x4.relaxed_dot_i8x16_i7x16_add.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253,
  15, 253, 147, 2, 11,
];

const runs = (bytes) => typeof WebAssembly === "object" && WebAssembly.validate(Uint8Array.from(bytes));

/** Whether this browser has the vectors without which nothing plays. */
export const hasSimd = () => runs(SIMD);
export const hasRelaxedSimd = () => runs(RELAXED);

const PAGES = 64; // as scripts/build_player says, and at most
const MOST_PAGES = 1 << 14;

/** Whether workers of this page can compute in one memory: where it is cross-origin isolated. */
export const hasSharedMemory = () => self.crossOriginIsolated === true && typeof SharedArrayBuffer !== "undefined";

export class Engine {
  /** `memory`: that of another engine, for a module that takes its memory from outside. */
  constructor(module, memory = null) {
    this.module = module;
    if (WebAssembly.Module.imports(module).length === 0) {
      this.exports = new WebAssembly.Instance(module, {}).exports;
      this.memory = this.exports.memory;
    } else {
      this.memory = memory ?? new WebAssembly.Memory({ initial: PAGES, maximum: MOST_PAGES, shared: true });
      this.exports = new WebAssembly.Instance(module, { env: { memory: this.memory } }).exports;
    }
  }

  /** Memory moves when it grows: never keep this. */
  get bytes() {
    return new Uint8Array(this.memory.buffer);
  }

  call(name, ...given) {
    return this.exports[name](...given);
  }

  allocate(size) {
    const at = this.exports.allocate(size) >>> 0;
    if (at === 0) throw new LimitError("the video needs more memory than a player may take");
    return at;
  }

  /** A copy of an array in the engine's memory. */
  put(array) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const at = this.allocate(Math.max(bytes.length, 1));
    this.bytes.set(bytes, at);
    return at;
  }

  free(at) {
    this.exports.release(at);
  }
}
