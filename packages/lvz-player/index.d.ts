/** A frame as it is shown: Y, U and V (4:2:0) one after the other, bytes, or 16-bit little-endian numbers of more than 8 bits. */
export interface Frame {
  number: number;
  /** Seconds since the first frame. */
  time: number;
  width: number;
  height: number;
  depth: 8 | 10;
  data: Uint8Array;
}

export interface PlayerError {
  name: "CorruptError" | "UnsupportedError" | "LimitError" | "NetworkError" | "Error";
  message: string;
}

/** Attributes: `src`, `models`, `controls`, `autoplay`, `loop`, `muted`, `start`. */
export class LvzPlayer extends HTMLElement {
  src: string;
  controls: boolean;
  autoplay: boolean;
  loop: boolean;
  muted: boolean;
  /** 0 … 1. */
  volume: number;
  /** 0.25 … 4. */
  playbackRate: number;
  /** Seconds; setting it seeks. */
  currentTime: number;
  /** Seconds; NaN until the file is open. */
  readonly duration: number;
  readonly paused: boolean;
  readonly ended: boolean;
  readonly seeking: boolean;
  /** 0 nothing, 1 the file is open, 2 a picture is there, 4 it plays or can. */
  readonly readyState: 0 | 1 | 2 | 4;
  /** As shown: samples made square, turned. 0 until the file is open. */
  readonly videoWidth: number;
  readonly videoHeight: number;
  readonly error: PlayerError | null;
  readonly hasSound: boolean;
  readonly hasSubtitles: boolean;
  readonly subtitles: boolean;
  /** Seconds up to which frames are decoded. */
  readonly decodedTo: number;
  /** Rejects with NotAllowedError where the page may not make a sound before a click, as <video> does. */
  play(): Promise<void>;
  pause(): void;
  /** The next picture (1) or the one before (-1); pauses. */
  step(by: 1 | -1): void;
  /** Prepares for a seek to a time in seconds, if there is time for that. */
  expect(time: number): void;
  toggleSubtitles(): void;
  toggleFullscreen(): void;
  /** What is shown; null before the first picture, or while one is sought. */
  captureFrame(): Frame | null;
}

/** "" where the player runs; otherwise what the browser lacks, in words. */
export function supported(): string;

declare global {
  interface HTMLElementTagNameMap {
    "lvz-player": LvzPlayer;
  }
}
