"""Pages, thumbnails and assets of a running server."""

from __future__ import annotations

import gzip
import html
import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from tests.helpers.server import ODD, Server, Starter, picture_at


def text_of(server: Server, path: str) -> str:
    answer = server.ask(path, headers={"Accept": "text/html"})
    assert answer.status == 200, answer.body
    return answer.body.decode()


def test_the_gallery_shows_what_is_there(server: Server) -> None:
    page = text_of(server, "/")
    assert re.findall(r'href="/watch/([^"]+)"', page) == ["carphone.lvz", "cut.lvz", "in.lvz", "junk.lvz"]
    assert '<span class="length" aria-hidden="true">0:03</span>' in page
    assert re.findall(r'href="/browse/([^"]+)"', page) == ["trips"]
    assert "not an .lvz file" in page


def test_a_folder_has_a_page_and_crumbs(server: Server) -> None:
    page = text_of(server, "/browse/trips")
    assert 'href="/watch/trips/bunny.lvz"' in page and 'href="/browse/trips/sea"' in page
    inner = text_of(server, "/browse/trips/sea")
    assert re.findall(r'<a href="(/[^"]*)"><bdi>', inner) == ["/", "/browse/trips"]


def test_names_are_text(server: Server) -> None:
    page = text_of(server, "/browse/trips/sea")
    assert f"<bdi>{html.escape(ODD.removesuffix('.lvz'), quote=False)}</bdi>" in page
    assert "<b>" not in page
    watch = text_of(server, "/watch/trips/sea/" + quote(ODD))
    assert "<b>" not in watch and "&lt;b&gt;" in watch


def test_find_by_name(server: Server) -> None:
    page = text_of(server, "/?q=BUN")
    assert re.findall(r'href="/watch/([^"]+)"', page) == ["trips/bunny.lvz"]
    none = text_of(server, "/?q=" + quote('"><script>alert(1)</script>'))
    assert "No video here has" in none and "<script>alert" not in none


def test_orders(server: Server) -> None:
    largest = re.findall(r'href="/watch/([^"]+)"', text_of(server, "/?sort=large"))
    assert largest[-1] == "cut.lvz"
    assert len(text_of(server, "/?sort=long&page=999999999")) > 500


@pytest.mark.parametrize("path", ["/thumbs/carphone.lvz", "/thumbs/carphone.lvz?t=2.2", "/thumbs/trips/bunny.lvz"])
def test_thumbnails_are_key_frames(server: Server, path: str) -> None:
    answer = server.ask(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    picture = Image.open(io.BytesIO(answer.body))
    assert picture.width <= 480 and picture.convert("L").getextrema()[1] > 100
    again = server.ask(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_thumbnail_shows_the_right_picture(server: Server, tree: Path) -> None:
    wanted = picture_at(tree / "trips" / "bunny.lvz", 4.0).astype(float)
    shown = np.asarray(Image.open(io.BytesIO(server.ask("/thumbs/trips/bunny.lvz?t=4.0").body))).astype(float)
    assert shown.shape == wanted.shape and np.abs(shown - wanted).mean() < 6


def test_a_file_that_cannot_be_decoded_says_why(server: Server) -> None:
    assert server.ask("/thumbs/junk.lvz").status == 422
    cut = server.ask("/thumbs/cut.lvz")
    assert cut.status == 422 and b"ends inside" in cut.body
    assert "not an .lvz file" in text_of(server, "/watch/junk.lvz")


def test_assets_have_their_types(server: Server) -> None:
    types = {
        "style.css": "text/css; charset=utf-8",
        "watch.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
    assert {name: server.ask(f"/static/0/{name}").headers["content-type"] for name in types} == types
    assert server.ask("/models/" + "0" * 64 + ".decoder").status == 404


def test_browsers_keep_assets_as_long_as_they_are_the_same(server: Server) -> None:
    page = server.ask("/watch/carphone.lvz").body.decode()
    player = re.search(r'data-player="(/player/[0-9a-f]{12}/lvz-player\.js)"', page)
    assert player is not None
    modules = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)
    assert player[1] in modules and len(modules) > 10
    for path in (*modules, re.findall(r'href="(/static/[^"]+\.css)"', page)[0]):
        answer = server.ask(path, headers={"Accept-Encoding": "gzip"})
        assert answer.status == 200 and "immutable" in answer.headers["cache-control"]
        plain = server.ask(path)
        assert "content-encoding" not in plain.headers and gzip.decompress(answer.body) == plain.body
    older = server.ask(player[1].replace(player[1].split("/")[2], "0" * 12))
    assert older.status == 200 and older.headers["cache-control"] == "no-cache"


@pytest.mark.slow
def test_an_empty_folder_says_so(started: Starter, tmp_path: Path) -> None:
    page = text_of(started(tmp_path), "/")
    assert "There is no .lvz video in this folder yet" in page


@pytest.mark.slow
def test_new_files_appear_and_changed_ones_are_read_again(started: Starter, tmp_path: Path, silent: Path) -> None:
    server = started(tmp_path)
    (tmp_path / "later.lvz").write_bytes(silent.read_bytes())
    assert wait_for(lambda: b"later" in server.ask("/").body)
    whole = server.ask("/files/later.lvz")
    (tmp_path / "new").write_bytes(silent.read_bytes()[:1000])
    os.replace(tmp_path / "new", tmp_path / "later.lvz")
    changed = server.ask("/files/later.lvz", headers={"If-Range": whole.headers["etag"], "Range": "bytes=0-9"})
    assert (changed.status, len(changed.body)) == (200, 1000)
    (tmp_path / "later.lvz").unlink()
    assert wait_for(lambda: server.ask("/files/later.lvz").status == 404)


@pytest.mark.slow
def test_two_folders_of_the_same_name(started: Starter, tmp_path: Path, silent: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "films").mkdir(parents=True)
        (tmp_path / name / "films" / f"{name}.lvz").write_bytes(silent.read_bytes())
    server = started(tmp_path / "a" / "films", tmp_path / "b" / "films", silent)
    page = text_of(server, "/")
    assert 'href="/browse/films"' in page and 'href="/browse/films%20%282%29"' in page and "/watch/carphone.lvz" in page
    assert server.ask("/files/films%20%282%29/b.lvz", "HEAD").status == 200


@pytest.mark.slow
def test_names_that_are_no_utf8(started: Starter, tmp_path: Path, silent: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.lvz"), "wb") as file:
        file.write(silent.read_bytes())
    server = started(tmp_path)
    assert 'href="/watch/caf%E9.lvz"' in text_of(server, "/")
    assert "caf?" in text_of(server, "/watch/caf%E9.lvz")
    assert server.ask("/files/caf%E9.lvz").body == silent.read_bytes()
    assert server.ask("/thumbs/caf%E9.lvz").status == 200


def wait_for(condition: Callable[[], bool]) -> bool:
    """The folders are walked again after two seconds."""
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False
