"""How soon pictures are there over a network: python scripts/figures/player_network.py FILE.lvz

`lvc serve` behind a line of a given round trip (--latency) and rate (--rate), in headless Chromium: a first visit,
further ones with player and model in the cache, and seeks, each on a page of its own, to several places. Of a seek
two times are printed: until a picture near the place was drawn, and until the right one was. Beside them stand the
processor time of all the browser's and the server's processes until then, what was fetched of the file and in how many
requests, and the load of the machine, which makes the times longer. With --rest, the pointer rests on the seek bar
before.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from scripts.figures.player_pages import (
    PLAYER,
    WATCH,
    Line,
    as_if_cores,
    browser,
    load,
    processor_seconds,
    serving,
    until,
)

READY = f"{PLAYER}?.readyState === 4"
SEEK = """
(time) => {
  const player = document.querySelector("lvz-player");
  window.right = null;
  player.addEventListener("seeked", () => (window.right = performance.now()), { once: true });
  window.asked = performance.now();
  seen.drawn = [];
  player.currentTime = time;
}
"""


def visit(page: Any, line: Line, path: str, number: int) -> str:
    before, sent, used = line.sent[path], line.sent.total(), processor_seconds()
    page.goto(f"{line.address}/watch/{path.rpartition('/')[2]}?visit={number}")
    if not until(page, READY, 60):
        return "no picture within 60 s"
    first = page.evaluate("seen.drawn[0] / 1000")
    used = processor_seconds() - used
    fetched = f"{line.sent.total() - sent:,} bytes so far, {line.sent[path] - before:,} of them of the file"
    return f"{first:.2f} s ({used:.2f} s of processors, {fetched})"


def again(context: Any, page: Any) -> Any:
    """Another page instead of one."""
    page.close()
    fresh = context.new_page()
    time.sleep(0.5)  # until the old one's process is gone
    return fresh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--latency", type=float, default=20.0, help="of a round trip, in milliseconds")
    parser.add_argument("--rate", type=float, default=10.0, help="in Mbit a second")
    parser.add_argument("--seeks", type=float, nargs="*", default=[0.1, 0.25, 0.4, 0.6, 0.75, 0.9], help="0 to 1")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds that a seek is expected before it comes")
    parser.add_argument("--workers", type=int, help="as if the machine had so many cores")
    args = parser.parse_args()
    path = f"/files/{args.file.name}"
    with browser() as chromium, serving(args.file) as address:
        with Line(address, args.latency / 1000, args.rate * 1e6) as line:
            context = chromium.new_context(viewport={"width": 1000, "height": 700})
            context.add_init_script(WATCH)
            if args.workers is not None:
                context.add_init_script(as_if_cores(args.workers))
            page = context.new_page()
            print(f"first visit {visit(page, line, path, 0)}", flush=True)
            for number in (1, 2, 3):
                page = again(context, page)
                print(f"cached {visit(page, line, path, number)}", flush=True)
            for place in args.seeks:
                page = again(context, page)
                visit(page, line, path, 9)
                page.wait_for_timeout(1500)  # what it fetches for the beginning is not the seek's
                target = place * page.evaluate(f"{PLAYER}.duration")
                if args.rest:
                    page.evaluate(f"{PLAYER}.expect({target})")
                    page.wait_for_timeout(1000 * args.rest)
                before, asked_before, used = line.sent[path], line.asked[path], processor_seconds()
                page.evaluate(SEEK, target)
                found = until(page, "window.right !== null", 60)
                used = processor_seconds() - used
                asked, right, drawn = page.evaluate("[asked, right, seen.drawn[0]]")
                near, exact = (
                    f"{(at - asked) / 1000:.2f} s" if at else "-" for at in (drawn, right if found else None)
                )
                print(
                    f"seek to {place:.0%}: a picture after {near}, the right one after {exact} "
                    f"({used:.2f} s of processors, {line.sent[path] - before:,} bytes in "
                    f"{line.asked[path] - asked_before} requests)",
                    flush=True,
                )
            page.wait_for_timeout(3000)
            print(load())


if __name__ == "__main__":
    main()
