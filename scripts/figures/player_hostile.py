"""Hostile files in a page: python scripts/figures/player_hostile.py FILE.lvz [--count 100] [--seed 1]

Vectors that no reader takes and a film with bytes changed, one after the other in one page of headless Chromium: what
each ends with, how long the slowest took, and the most memory that the page ever had. Ends with 1 where one hung, ended
the page or with an error that is none of the player's. (tests/serve does the same with requests to the server.)
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from pathlib import Path

from lvc.models import default_model_path
from lvc.models.browser import decoder_only, player_folder
from scripts.figures.player_pages import browser, load
from tests.helpers.hostile_files import NAMES, hostile_files, peak_of_pages
from tests.helpers.player_site import ISOLATION, Site, served, until

PAGES = Path(__file__).resolve().parents[2] / "tests" / "player" / "pages"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a short film")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    path = default_model_path()
    model = f"/models/{hashlib.sha256(path.read_bytes()).hexdigest()}.decoder"
    pages = {f"/{page.name}": page for page in PAGES.iterdir()}
    files = Site({model: decoder_only(path), **pages}, {"/player/": player_folder()})
    files.headers |= ISOLATION  # as `lvc serve` has it
    ends: Counter[str] = Counter()
    slowest, bad = 0.0, 0
    with browser() as chromium, served(files) as site:
        page = chromium.new_page()
        page.goto(f"{site.address}/check.html")
        until(page, "window.ready")
        for name, data in hostile_files(args.file.read_bytes(), args.count, args.seed):
            site.files["/film.lvz"] = data
            start = time.monotonic()
            page.evaluate("window.found = null; check('/film.lvz', '/models/', false).then((it) => (found = it)); 0")
            until(page, "window.found !== null", 300)
            slowest = max(slowest, time.monotonic() - start)
            error = page.evaluate("found.error")
            end = "played" if error is None else error["name"]
            if end != "played" and end not in NAMES:
                print(f"{name}: {error}")
                bad += 1
            ends[end] += 1
        ended = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        memory = f"memory at most {peak_of_pages() >> 20} MiB"
        print(f"{args.count} files: {ended}; the slowest {slowest:.1f} s; {memory}; {load()}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
