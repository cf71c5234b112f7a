"""What the browser decodes is what `lvc decode` gives, frame for frame and bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.player_site import ISOLATION, Site, Tab, digests, until


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "isolated", "plain"),
    [("carphone_lvz", False, False), ("film", True, False), ("film", False, True), ("ten_bits", False, False)],
)
def test_every_frame(request: Any, browser: Any, site: Site, name: str, isolated: bool, plain: bool) -> None:
    """On pages that are isolated or not; `plain`: without relaxed SIMD, where the browser has it."""
    path: Path = request.getfixturevalue(name)
    site.files["/film.lvz"] = path
    site.headers |= ISOLATION if isolated else {}
    with Tab(browser, f"{site.address}/check.html") as page:
        until(page, "window.ready")
        found = page.evaluate("(plain) => check('/film.lvz', '/models/', plain)", plain)
    assert found["error"] is None and found["isolated"] is isolated
    assert found["frames"] == digests(path)


SUM = """
crypto.subtle.digest("SHA-256", film.captureFrame().data)
  .then((sum) => Array.from(new Uint8Array(sum), (b) => b.toString(16).padStart(2, "0")).join(""))
"""


@pytest.mark.parametrize("isolated", [pytest.param(False, marks=pytest.mark.slow), True])
def test_frames_that_are_sought(browser: Any, site: Site, carphone_lvz: Path, isolated: bool) -> None:
    """Far from their key frame, in several places of the pyramid, and with what comes after them. On isolated pages
    workers lend each other a hand."""
    site.files["/film.lvz"] = carphone_lvz
    site.headers |= ISOLATION if isolated else {}
    right = digests(carphone_lvz)
    with Tab(browser, f"{site.address}/play.html") as page:
        page.add_init_script("Object.defineProperty(navigator, 'hardwareConcurrency', { value: 3 })")
        page.reload()
        until(page, "window.film?.play !== undefined")
        page.evaluate("film.src = 'film.lvz'")
        until(page, "film.readyState === 4")
        for number in (47, 46, 48, 110, 109, 75, 1, 59):
            for expected in (100, number + 2):  # what is expected is given up for what is sought
                page.evaluate(f"film.expect({expected * 1001 / 30000})")
            page.evaluate(f"film.currentTime = {(number + 0.5) * 1001 / 30000}")
            until(page, "!film.seeking && film.captureFrame() !== null")
            assert page.evaluate("film.captureFrame().number") == number
            assert page.evaluate(SUM) == right[number]
        assert page.evaluate("film.error") is None
    names = {path.rpartition("/")[2] for path, _ in site.requests if path.endswith(".wasm")}
    assert len(names) == 1 and all(name.endswith("-shared.wasm") is isolated for name in names)
