"""Hostile files in the page: each ends with an error that says what is wrong, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hostile_files import NAMES, hostile_files, peak_of_pages
from tests.helpers.player_site import Site, Tab, digests, until

VECTORS = Path(__file__).resolve().parents[2] / "formats" / "vectors"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_hostile_files_end_with_an_error(browser: Any, site: Site, film: Path) -> None:
    wrong, refused = [], 0
    with Tab(browser, f"{site.address}/check.html", expected=("404", "416")) as page:
        until(page, "window.ready")
        for name, data in hostile_files(film.read_bytes(), 24):
            site.files["/film.lvz"] = data
            page.evaluate("window.found = null; check('/film.lvz', '/models/', false).then((it) => (found = it)); 0")
            until(page, "window.found !== null", 120)
            error = page.evaluate("found.error")
            refused += error is not None
            if error is not None and error["name"] not in NAMES:
                wrong.append((name, error))
        assert not wrong and refused > 18
        assert peak_of_pages() < 1 << 30
        site.files["/film.lvz"] = film  # and the page plays on
        assert page.evaluate("check('/film.lvz', '/models/', false)")["frames"] == digests(film)


@pytest.mark.slow
def test_the_vector_of_every_structure(browser: Any, site: Site) -> None:
    """Pyramids, chains, older references and a model of its own, as `lvc decode` shows them."""
    path = VECTORS / "good-rans-video.lvz"
    site.files["/film.lvz"] = path
    with Tab(browser, f"{site.address}/check.html") as page:
        until(page, "window.ready")
        found = page.evaluate("check('/film.lvz', '/models/', false)")
    assert found["error"] is None and found["frames"] == digests(path)
