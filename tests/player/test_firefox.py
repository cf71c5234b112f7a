"""The player in Firefox, where it is installed: the same pixels, and the element plays, or says why it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.marionette import Firefox
from tests.helpers.player_site import ISOLATION, Site, digests

PROGRAM = next((found for name in ("firefox-esr", "firefox") if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(PROGRAM is None, reason="no Firefox: apt-get install firefox-esr"),
]
PLAYED = """new Promise((done) => {
  const film = document.getElementById("film");
  for (const name of ["ended", "error"]) {
    film.addEventListener(name, () => done([name, film.error, film.currentTime, film.captureFrame()?.number]));
  }
  film.addEventListener("canplay", () => { film.muted = true; film.play(); }, { once: true });
  film.src = "film.lvz";
})"""


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    assert PROGRAM is not None
    with Firefox(PROGRAM, tmp_path_factory.mktemp("firefox")) as running:
        yield running


@pytest.mark.parametrize("isolated", [False, True])
def test_every_frame(firefox: Firefox, site: Site, film: Path, isolated: bool) -> None:
    site.files["/film.lvz"] = film
    site.headers |= ISOLATION if isolated else {}
    firefox.goto(f"{site.address}/check.html")
    found = firefox.wait("check('/film.lvz', '/models/', false)")
    assert found["error"] is None and found["isolated"] is isolated and found["frames"] == digests(film)
    names = {path.rpartition("/")[2] for path, _ in site.requests if path.endswith(".wasm")}
    assert len(names) == 1 and (isolated or not any(name.endswith("-shared.wasm") for name in names))


def test_it_plays(firefox: Firefox, site: Site, film: Path) -> None:
    site.files["/film.lvz"] = film
    firefox.goto(f"{site.address}/play.html")
    draws = firefox.wait("Promise.resolve(document.createElement('canvas').getContext('webgl2') !== null)")
    name, error, time, number = firefox.wait(PLAYED)
    if draws:
        assert (name, error, time, number) == ("ended", None, 4, 99)
    else:  # without a display, most do not
        assert name == "error" and error == {"name": "UnsupportedError", "message": "this browser lacks WebGL 2"}
