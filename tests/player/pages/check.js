// Decodes a whole file with the player's workers; nothing is drawn.
import { Session } from "/player/session.js";

const hex = (buffer) => Array.from(new Uint8Array(buffer), (b) => b.toString(16).padStart(2, "0")).join("");

/** {frames: SHA-256 of each frame's planes, error, isolated}. */
window.check = (url, model, plain) =>
  new Promise((resolve) => {
    const sums = [];
    const going = [];
    let session = null;
    let total = 0;
    let next = 0;
    const done = async (error) => {
      session.close();
      await Promise.all(going);
      resolve({ frames: sums, error, isolated: crossOriginIsolated });
    };
    session = new Session({
      opened: (info) => {
        total = info.frames;
        if (total === 0) done(null);
        else session.play(0);
      },
      frame: (frame) => {
        going.push(crypto.subtle.digest("SHA-256", frame.data).then((sum) => (sums[frame.number] = hex(sum))));
        // nothing before the first frame that is missing is late
        while (session.frames.get(next)?.data) next++;
        session.tell(session.frames.get(next)?.time ?? frame.time, 0);
        if (going.length === total) done(null);
      },
      near: () => {},
      error: ({ name, message }) => done({ name, message }),
    });
    session.open(new URL(url, location.href).href, new URL(model, location.href).href, plain);
  });
window.ready = true;
