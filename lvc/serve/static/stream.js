// Plays a HLS list of fragmented MP4 through Media Source Extensions: fetches what lies ahead of the playhead, drops what
// lies far behind it. Only what `lvc serve` writes is understood.
const AHEAD = 20; // seconds
const BEHIND = 60;

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

export function canStream() {
  return Boolean(Source);
}

export async function stream(video, list, say) {
  const base = new URL(list, location.href);
  const { init, segments } = readList(await (await fetched(base, say)).text(), base);
  const header = await fetched(init, say);
  const type = header.headers.get("content-type");
  const total = segments.at(-1).end;
  if (!Source.isTypeSupported(type)) {
    say(`This browser cannot play ${type}.`);
    return;
  }
  const source = new Source();
  video.disableRemotePlayback = true;
  video.src = URL.createObjectURL(source);
  await once(source, "sourceopen");
  URL.revokeObjectURL(video.src);
  source.duration = total;
  const buffer = source.addSourceBuffer(type);
  await append(buffer, await header.arrayBuffer());

  let busy = false;
  let again = false;
  let abort = null;
  const work = async () => {
    again = busy;
    if (busy) return;
    busy = true;
    try {
      for (let segment; (segment = next(video, buffer, segments)); ) {
        abort = new AbortController();
        const data = await (await fetched(segment.address, say, abort.signal)).arrayBuffer();
        if (source.readyState === "closed") return;
        await append(buffer, data);
        if (buffer.buffered.length && buffer.buffered.start(0) < video.currentTime - 2 * BEHIND) {
          buffer.remove(0, video.currentTime - BEHIND);
          await once(buffer, "updateend");
        }
        if (segment === segments.at(-1) && source.readyState === "open") source.endOfStream();
      }
    } catch (error) {
      if (error.name !== "AbortError") say(`This video stopped: ${error.message}.`);
      again ||= error.name === "AbortError";
    } finally {
      busy = false;
    }
    if (again) work();
  };
  video.addEventListener("timeupdate", work);
  video.addEventListener("seeking", () => {
    if (!held(buffer, video.currentTime)) abort?.abort();
    work();
  });
  work();
}

function held(buffer, time) {
  for (let i = 0; i < buffer.buffered.length; i++) {
    if (buffer.buffered.start(i) <= time + 0.1 && time < buffer.buffered.end(i) - 0.05) return buffer.buffered.end(i);
  }
  return 0;
}

// The first segment from the playhead on that is not there yet, up to so many seconds ahead.
function next(video, buffer, segments) {
  const at = video.currentTime;
  const end = held(buffer, at) || at;
  if (end - at > AHEAD) return null;
  return segments.find((segment) => segment.end > end + 0.1 && segment.start <= end + 0.5 && !held(buffer, Math.max(at, segment.start + 0.2)));
}

function readList(text, base) {
  const segments = [];
  let init = null;
  let length = 0;
  let at = 0;
  for (const line of text.split("\n")) {
    if (line.startsWith("#EXT-X-MAP:")) init = new URL(/URI="([^"]+)"/.exec(line)[1], base);
    else if (line.startsWith("#EXTINF:")) length = parseFloat(line.slice(8));
    else if (line && !line.startsWith("#")) {
      segments.push({ address: new URL(line, base), start: at, end: at + length });
      at += length;
    }
  }
  return { init, segments };
}

// Waits for a free place where the server has none.
async function fetched(address, say, signal) {
  for (;;) {
    const answer = await fetch(address, { signal });
    if (answer.ok) return answer;
    const words = (await answer.text()).trim();
    if (answer.status !== 503) throw new Error(words.slice(0, 200) || `the server answered ${answer.status}`);
    say(words);
    await new Promise((done) => setTimeout(done, 1000 * (Number(answer.headers.get("retry-after")) || 3)));
    say("");
  }
}

function append(buffer, data) {
  buffer.appendBuffer(data);
  return once(buffer, "updateend");
}

function once(target, event) {
  return new Promise((done, failed) => {
    target.addEventListener(event, done, { once: true });
    target.addEventListener("error", () => failed(new Error("the browser refused the converted video")), { once: true });
  });
}
