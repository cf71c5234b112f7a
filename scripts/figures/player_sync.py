"""Sound against picture: python scripts/figures/player_sync.py FILE.lvz [--seconds 60] [--throttle 4] [--seeks 6]

Plays a file with sound in headless Chromium, with a processor that DevTools slows down by `--throttle`, and seeks
now and then. Whenever a picture is drawn while it plays, the clock of the sound is compared with the time for which
that picture is to be seen: 0 within it, else the distance. The longest time that one picture stood while the sound
went on, what the element says of its speed, and the load of the machine stand beside it.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from pathlib import Path

from scripts.figures.player_pages import PLAYER, WATCH, browser, load, serving, until

LOOK = """
const first = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (...given) {
  const player = document.querySelector("lvz-player");
  const frame = player?.captureFrame?.();
  if (frame && !player.paused && !player.seeking && player.readyState === 4 && !player.audio.paused) {
    const heard = player.audio.currentTime;
    const away = heard < frame.time ? frame.time - heard : Math.max(0, heard - (frame.time + window.frameSeconds));
    seen.times.push([away, frame.number, heard]);
  }
  return first.apply(this, given);
};
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--throttle", type=float, default=4.0, help="1: as fast as the machine is")
    parser.add_argument("--seeks", type=int, default=6)
    parser.add_argument("--fps", type=float, default=25.0, help="of the video")
    args = parser.parse_args()
    with browser() as chromium, serving(args.file) as address:
        page = chromium.new_page(viewport={"width": 1000, "height": 700})
        page.add_init_script(f"window.frameSeconds = {1 / args.fps};" + WATCH + LOOK)
        page.goto(f"{address}/watch/{args.file.name}")
        if not until(page, f"{PLAYER}?.readyState === 4", 120):
            raise SystemExit("no picture within 120 s")
        if not page.evaluate(f"{PLAYER}.hasSound"):
            raise SystemExit("the file has no sound that this browser plays")
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": args.throttle})
        duration = page.evaluate(f"{PLAYER}.duration")
        page.evaluate(f"{PLAYER}.play()")
        draw = random.Random(7)
        end = time.monotonic() + args.seconds
        for number in range(args.seeks + 1):
            page.wait_for_timeout(1000 * args.seconds / (args.seeks + 1))
            if number < args.seeks:
                page.evaluate(f"{PLAYER}.currentTime = {draw.uniform(0, 0.8) * duration}")
        page.wait_for_timeout(max(0.0, 1000 * (end - time.monotonic())))
        times = page.evaluate("seen.times")
        note = page.evaluate(f"{PLAYER}.note.textContent") or "every picture shown"
    if not times:
        raise SystemExit("nothing was played")
    away = sorted(1000 * each for each, _, _ in times)
    stood = max((b - a for (_, _, a), (_, _, b) in itertools.pairwise(times) if 0 <= b - a < 1), default=0.0)
    middle, most_of_them, most = (away[int(part * (len(away) - 1))] for part in (0.5, 0.99, 1))
    print(
        f"{args.file.name}: {args.seconds:.0f} s, {args.seeks} seeks, processor slowed {args.throttle:g} times: "
        f"{len(times)} pictures drawn, {middle:.0f} ms from the sound (median), {most_of_them:.0f} ms (99 of 100), "
        f"{most:.0f} ms (most); one stood for {1000 * stood:.0f} ms at most; {note}; {load()}"
    )


if __name__ == "__main__":
    main()
