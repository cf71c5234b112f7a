"""How fast a page plays: python scripts/figures/player_speed.py FILE.lvz [FILE.lvz...] [--plain] [--seconds N]

Serves each file by `lvc serve`, plays it in headless Chromium (which draws on the CPU), and prints when the first
picture was there, how many pictures were shown of those that were due, how many per second of wall time, and how long
a seek to 60 % took. `--plain` takes relaxed SIMD away. The load average stands beside the figures: they mean little on
a machine that is busy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Route, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conftest import BROWSER_OPTIONS, browser_path  # noqa: E402

COUNT = """
window.seen = { numbers: new Set(), first: null };
const look = () => {
  const frame = document.querySelector("lvz-player")?.captureFrame?.();
  if (frame) {
    seen.first ??= performance.now();
    seen.numbers.add(frame.number);
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
PLAYER = "document.querySelector('lvz-player')"


def until(page: Any, condition: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def without_relaxed(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("runs(RELAXED)", "false"))


def measured(page: Any, address: str, seconds: float) -> str:
    page.add_init_script(COUNT)
    page.goto(address)
    if not until(page, f"window.seen?.first != null && {PLAYER}.readyState === 4", 60):
        return "no picture within 60 s"
    first, duration = page.evaluate(f"[seen.first / 1000, {PLAYER}.duration]")
    page.evaluate("seen.numbers.clear()")
    start = time.monotonic()
    page.evaluate(f"{PLAYER}.muted = true; {PLAYER}.play()")
    until(page, f"{PLAYER}.ended", seconds)
    spent = time.monotonic() - start
    shown, at, due = page.evaluate(f"[seen.numbers.size, {PLAYER}.currentTime, Math.max(...seen.numbers) + 1]")
    page.evaluate(f"{PLAYER}.pause()")
    page.reload()  # so that nothing is decoded already
    until(page, f"window.seen?.first != null && {PLAYER}.readyState === 4", 60)
    start = time.monotonic()
    page.evaluate(f"{PLAYER}.currentTime = {0.6 * duration}")
    found = until(page, f"!{PLAYER}.seeking", 60)
    sought = f"{time.monotonic() - start:.1f} s" if found else "not within 60 s"
    return (
        f"first picture {first:.1f} s; {at:.1f} s played in {spent:.1f} s, {shown} of {due} pictures shown, "
        f"{shown / spent:.1f} a second; seek to 60 % {sought}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--plain", action="store_true", help="without relaxed SIMD")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each plays at most")
    args = parser.parse_args()
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=browser_path(), args=BROWSER_OPTIONS)
        for file in args.files:
            command = [sys.executable, "-m", "lvc", "serve", "--json", "--port", "0", str(file)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                address = json.loads(server.stdout.readline())["address"].rstrip("/")
                context = browser.new_context(viewport={"width": 1000, "height": 700})
                if args.plain:
                    context.route("**/engine.js*", without_relaxed)
                line = measured(context.new_page(), f"{address}/watch/{file.name}", args.seconds)
                load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
                print(f"{file.name}: {line}; load {load}", flush=True)
                context.close()
                server.terminate()
        browser.close()


if __name__ == "__main__":
    main()
