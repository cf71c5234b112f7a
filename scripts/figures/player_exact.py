"""Whether a page decodes what `lvc decode` does: python scripts/figures/player_exact.py FILE.lvz [FILE.lvz...]

Every frame of each file, decoded by the player's workers in headless Chromium, with relaxed SIMD and without, against
what lvc decodes, by SHA-256 of the planes. Ends with 1 where one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from lvc.models import default_model_path
from lvc.models.browser import decoder_only, player_folder
from scripts.figures.player_pages import browser
from tests.helpers.player_site import Site, digests, served, until

PAGES = Path(__file__).resolve().parents[2] / "tests" / "player" / "pages"


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
        for file in args.files:
            site.files["/film.lvz"] = file
            right = digests(file)
            for plain in (False, True):
                page = chromium.new_page()
                page.goto(f"{site.address}/check.html")
                until(page, "window.ready")
                found = page.evaluate("(plain) => check('/film.lvz', '/models/', plain)", plain)
                page.close()
                same = sum(a == b for a, b in zip(found["frames"], right, strict=False))
                print(
                    f"{file.name}, {'SIMD128' if plain else 'relaxed SIMD'}: {same} of {len(right)} frames the same, "
                    f"{len(found['frames'])} decoded; error {found['error']}",
                    flush=True,
                )
                differ += found["error"] is not None or found["frames"] != right
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
