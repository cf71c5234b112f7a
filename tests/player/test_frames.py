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
