/** Text subtitles: packets of SubRip, WebVTT, ASS and MP4's timed text as lines of plain text. */

const TEXT = new TextDecoder();
const KINDS = new Set(["subrip", "srt", "text", "webvtt", "ass", "ssa", "mov_text"]);

export const readable = (track) => track.kind === "subtitle" && KINDS.has(track.codec);

/** The text of a packet; markup is left out. */
export function textOf(codec, data) {
  if (codec === "mov_text") {
    const size = data.length >= 2 ? (data[0] << 8) | data[1] : 0;
    return TEXT.decode(data.subarray(2, 2 + size)).trim();
  }
  let text = TEXT.decode(data);
  if (codec === "ass" || codec === "ssa") {
    text = text.split(",").slice(8).join(",").replace(/\{[^}]*\}/g, "").replace(/\\[Nn]/g, "\n").replace(/\\h/g, " ");
  }
  return text.replace(/<[^>]*>/g, "").replace(/\r/g, "").trim();
}

export class Subtitles {
  /** `request(group)` asks for a group of packets, which come by `take`. */
  constructor(track, request) {
    Object.assign(this, { track, request });
    this.asked = new Set();
    this.lines = [];
  }

  /** What is to be read at `time`; asks for what comes in the next seconds. */
  at(time) {
    this.track.groups.forEach(([start, end], group) => {
      if (this.asked.has(group) || start > time + 10 || end < time - 1) return;
      this.asked.add(group);
      this.request(group);
    });
    return this.lines.filter((line) => line.time <= time && time < line.end).map((line) => line.text).join("\n");
  }

  take(packets) {
    for (const { time, duration, data } of packets) {
      if (time === null) continue;
      this.lines.push({ time, end: time + (duration > 0 ? duration : 3), text: textOf(this.track.codec, data) });
    }
  }
}
