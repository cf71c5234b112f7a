"""How fast a page plays: python scripts/figures/player_speed.py FILE.lvz [FILE.lvz...] [--plain] [--seconds N]

Serves each file by `lvc serve`, plays it in headless Chromium (which draws on the CPU), and prints when the first
picture was there, how many pictures were shown of those that were due, how many per second of wall time, and how
many per second of processor time, of all processes, drawing included. `--plain` takes relaxed SIMD away, `--workers
1` leaves one worker for what lies between anchors. The load average stands beside the figures: on a machine that is
busy only those of processor time mean something.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from scripts.figures.player_pages import (
    PLAYER,
    WATCH,
    as_if_cores,
    browser,
    load,
    processor_seconds,
    serving,
    until,
    without_relaxed,
)

COUNT = """
const look = () => {
  const frame = document.querySelector("lvz-player")?.captureFrame?.();
  if (frame) seen.numbers.add(frame.number);
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
READY = f"{PLAYER}?.readyState === 4"


def measured(page: Any, address: str, seconds: float, workers: int | None) -> str:
    page.add_init_script(WATCH + COUNT)
    if workers is not None:
        page.add_init_script(as_if_cores(workers))
    page.goto(address)
    if not until(page, READY, 60):
        return "no picture within 60 s"
    first = page.evaluate("seen.drawn[0] / 1000")
    page.evaluate("seen.numbers.clear()")
    start, used = time.monotonic(), processor_seconds()
    page.evaluate(f"{PLAYER}.muted = true; {PLAYER}.play()")
    until(page, f"{PLAYER}.ended", seconds)
    spent, used = time.monotonic() - start, processor_seconds() - used
    shown, at, due = page.evaluate(f"[seen.numbers.size, {PLAYER}.currentTime, Math.max(...seen.numbers) + 1]")
    note = page.evaluate(f"{PLAYER}.note.textContent") or "no picture left out"
    return (
        f"first picture {first:.1f} s; {at:.1f} s played in {spent:.1f} s, {shown} of {due} pictures shown, "
        f"{shown / spent:.1f} a second, {shown / used:.1f} a second of processors; {note}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--plain", action="store_true", help="without relaxed SIMD")
    parser.add_argument("--workers", type=int, help="as if the machine had so many cores")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each plays at most")
    args = parser.parse_args()
    with browser() as chromium:
        for file in args.files:
            with serving(file) as address:
                context = chromium.new_context(viewport={"width": 1000, "height": 700})
                if args.plain:
                    context.route("**/engine.js*", without_relaxed)
                line = measured(context.new_page(), f"{address}/watch/{file.name}", args.seconds, args.workers)
                print(f"{file.name}: {line}; {load()}", flush=True)
                context.close()


if __name__ == "__main__":
    main()
