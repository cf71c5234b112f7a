"""Pictures of what people see: python scripts/figures/player_shots.py FOLDER OUT

Serves a folder of `.lvz` by `lvc serve` and puts into the folder OUT screenshots of its pages in headless Chromium,
wide and as on a phone, in light and in dark: the gallery, a search by name that finds nothing, the page of the first
video once it was played for a second, with its controls and a preview over the seek bar, and a page that is not there.
Where LVC_AXE names axe-core's axe.min.js, its findings are printed for each; ends with 1 where there are any.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from scripts.figures.player_pages import PLAYER, browser, serving, until

SIZES = {"wide": (1280, 800), "phone": (390, 844)}
BAR = f"((it) => [it.x, it.y, it.width, it.height])({PLAYER}.shadowRoot.querySelector('.seek').getBoundingClientRect())"


def play(page: Any) -> None:
    """Up to a picture in the middle, with the pointer over the seek bar."""
    until(page, f"{PLAYER}?.readyState === 4", 400)
    page.evaluate(f"{PLAYER}.currentTime = {PLAYER}.duration / 2")
    until(page, f"{PLAYER}.readyState === 4 && !{PLAYER}.seeking", 400)
    page.evaluate(f"{PLAYER}.muted = true; {PLAYER}.play()")
    until(page, f"{PLAYER}.currentTime > {PLAYER}.duration / 2 + 1", 400)
    page.evaluate(f"{PLAYER}.pause()")
    left, top, width, height = page.evaluate(BAR)
    page.mouse.move(left + 0.7 * width, top + height / 2)
    until(page, f"{PLAYER}.shadowRoot.querySelector('.preview canvas') !== null", 60)
    page.wait_for_timeout(500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    axe = Path(os.environ["LVC_AXE"]).read_text(encoding="utf-8") if "LVC_AXE" in os.environ else None
    first = sorted(path.name for path in args.folder.glob("*.lvz"))[0]
    pages = {"gallery": "/", "nothing": "/?q=nothing-like-it", "player": f"/watch/{first}", "missing": "/nowhere"}
    findings = 0
    with browser() as chromium, serving(args.folder) as address:
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                context = chromium.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
                )
                for name, path in pages.items():
                    page = context.new_page()
                    page.goto(address + path)
                    page.wait_for_load_state("networkidle")
                    if name == "player":
                        play(page)
                    page.screenshot(path=args.out / f"{name}-{size}-{scheme}.png")
                    if axe is not None:
                        page.evaluate(axe)
                        found = page.evaluate(
                            "axe.run().then((it) => it.violations.map((v) => [v.id, v.impact, v.nodes.length]))"
                        )
                        findings += len(found)
                        print(f"{name}, {size}, {scheme}: {found or 'axe finds nothing'}", flush=True)
                    page.close()
                context.close()
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
