"""Whether a page decodes what `lvc decode` does: python scripts/figures/player_exact.py FILE.lvz [FILE.lvz...]

Every frame of each file, decoded by the player's workers in headless Chromium, against what lvc decodes, by SHA-256 of
the planes: with relaxed SIMD on a page that is cross-origin isolated, and with SIMD128 alone on one that is not. Files
that lvc refuses to decode must end with an error in the page too; those that only lvc decodes (packings and models that
are not for pages) with the page's `UnsupportedError`. Ends with 1 where something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

from lvc.errors import LvcError
from lvc.models import default_model_path
from lvc.models.browser import decoder_only, player_folder
from scripts.figures.player_pages import browser
from tests.helpers.player_site import ISOLATION, Site, digests, served, until

PAGES = Path(__file__).resolve().parents[2] / "tests" / "player" / "pages"


def verdict(found: dict[str, Any], right: list[str] | None) -> tuple[bool, str]:
    """Whether page and lvc agree, and how. `right` is None for a file that lvc does not decode."""
    error, frames = found["error"], found["frames"]
    if right is None:
        return error is not None, f"refused by both ({error['name']})" if error else "only lvc refuses it"
    if error is not None:
        return error["name"] == "UnsupportedError", f"{error['name']}: {error['message']}"
    same = sum(a == b for a, b in zip(frames, right, strict=False))
    return frames == right, f"{same} of {len(right)} frames the same, {len(frames)} decoded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    path = default_model_path()
    model = f"/models/{hashlib.sha256(path.read_bytes()).hexdigest()}.decoder"
    pages = {f"/{page.name}": page for page in PAGES.iterdir()}
    differ = 0
    with (
        browser() as chromium,
        served(Site({model: decoder_only(path), **pages}, {"/player/": player_folder()})) as site,
    ):
        headers = site.headers
        for file in args.files:
            site.files["/film.lvz"] = file
            try:
                right = digests(file)
            except LvcError:
                right = None
            for plain in (False, True):
                site.headers = headers if plain else headers | ISOLATION
                page = chromium.new_page()
                page.goto(f"{site.address}/check.html")
                until(page, "window.ready")
                found = page.evaluate("(plain) => check('/film.lvz', '/models/', plain)", plain)
                page.close()
                agree, words = verdict(found, right)
                print(f"{file.name}, {'SIMD128' if plain else 'relaxed SIMD, isolated'}: {words}", flush=True)
                differ += not agree
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
