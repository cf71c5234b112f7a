/** What can be wrong with a file, as formats/lvz.md names it; `NetworkError` is for what could not be fetched. */
export class LvzError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}
export class CorruptError extends LvzError {}
export class UnsupportedError extends LvzError {}
export class LimitError extends LvzError {}
export class NetworkError extends LvzError {}

export function need(condition, what) {
  if (!condition) throw new CorruptError(what);
}

export function known(condition, what) {
  if (!condition) throw new UnsupportedError(`${what} — this player is older than the file`);
}

export function limit(value, most, what) {
  if (value > most) throw new LimitError(`${what}: ${value}, and the limit is ${most}`);
}
