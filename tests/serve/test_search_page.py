"""Search over HTTP: what is found, what is refused, and that nothing stays behind."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvc.media.listen import listen
from tests.helpers.clips import write_sound
from tests.helpers.server import Answer, Server, Starter, picture_at, start


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, silent: Path, sounding: Path) -> tuple[Path, Path]:
    """A folder to serve, and a database that knows a file outside of it too."""
    top = tmp_path_factory.mktemp("archive")
    for name, film in (("films/bunny.lvz", sounding), ("films/carphone.lvz", silent), ("private/secret.lvz", sounding)):
        (top / name).parent.mkdir(exist_ok=True)
        shutil.copy(film, top / name)
    command = [sys.executable, "-m", "lvc", "search", "index", str(top), "--db", str(top / "db")]
    subprocess.run(command, check=True, capture_output=True)
    return top / "films", top / "db"


@pytest.fixture(scope="module")
def searching(archive: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """The server, and where it puts temporary files."""
    folder, database = archive
    temporary = tmp_path_factory.mktemp("temporary")
    with start(folder, "--db", database, TMPDIR=str(temporary)) as running:
        yield running, temporary


def send(server: Server, data: bytes, **headers: str) -> Answer:
    return server.ask("/api/search", "POST", {name.replace("_", "-"): text for name, text in headers.items()}, data)


def places(server: Server, page: str) -> list[str]:
    answer = server.ask(page, headers={"Accept": "text/html"})
    assert answer.status == 200
    return re.findall(r'<a href="(/watch/[^"]+#t=[\d.]+)" title', answer.body.decode())


@pytest.mark.slow
def test_by_picture(searching: tuple[Server, Path], archive: tuple[Path, Path]) -> None:
    server, temporary = searching
    out = io.BytesIO()
    Image.fromarray(picture_at(archive[0] / "bunny.lvz", 3.0)).save(out, "JPEG")
    answer = send(server, out.getvalue(), Sec_Fetch_Site="same-origin")
    assert answer.status == 200, answer.body
    found = places(server, json.loads(answer.body)["page"])
    assert found[0].startswith("/watch/bunny.lvz#t=") and abs(float(found[0].partition("=")[2]) - 3) < 1.1
    assert "secret" not in "".join(found)
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_by_clip(searching: tuple[Server, Path], bunny: Path) -> None:
    server, temporary = searching
    answer = send(server, bunny.read_bytes())
    assert places(server, json.loads(answer.body)["page"])[0].startswith("/watch/bunny.lvz#t=")
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_by_sound(searching: tuple[Server, Path], bunny: Path) -> None:
    server, temporary = searching
    samples = np.concatenate([sound.samples for sound in listen(bunny, 1.0, 4.5)])
    file = io.BytesIO()
    write_sound(file, samples, "libmp3lame", form="mp3")
    answer = send(server, file.getvalue())
    assert answer.status == 200, answer.body
    found = places(server, json.loads(answer.body)["page"])
    assert len(found) == 1 and found[0].startswith("/watch/bunny.lvz#t=")
    assert abs(float(found[0].partition("=")[2]) - 1) < 0.3 and list(temporary.iterdir()) == []


@pytest.mark.slow
def test_by_time(searching: tuple[Server, Path]) -> None:
    server, _ = searching
    found = places(server, "/search?in=carphone.lvz&t=1.2")
    assert found[0].startswith("/watch/carphone.lvz#t=")
    page = server.ask("/search?in=carphone.lvz&t=1.2", headers={"Accept": "text/html"}).body.decode()
    assert "Looking for the moment at 0:01 of" in page and "secret" not in page
    assert server.ask("/search?in=nothing.lvz&t=1").status == 404
    assert server.ask("/search?in=carphone.lvz&t=99999").status in (200, 422)


@pytest.mark.slow
def test_what_is_refused(searching: tuple[Server, Path]) -> None:
    server, temporary = searching
    for data in (
        b"",
        b"hello",
        b"#EXTM3U\nhttp://127.0.0.1/x.ts\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        bytes(5000),
    ):
        answer = send(server, data)
        assert answer.status == 422 and b"Traceback" not in answer.body and b"root:" not in answer.body, answer
    assert send(server, b"x", Sec_Fetch_Site="cross-site").status == 403
    assert send(server, b"x", Origin="http://evil.example").status == 403
    assert send(server, b"x", Origin=f"http://127.0.0.1:{server.port}").status == 422
    huge = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n"
    assert server.raw(huge).startswith(b"HTTP/1.1 413")
    assert server.ask("/search?found=nothing").status == 200
    assert server.ask("/api/search").status == 405
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_too_much_without_saying_so(searching: tuple[Server, Path]) -> None:
    server, temporary = searching
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    got = server.raw(head + piece * 70 + b"0\r\n\r\n")
    assert not got or got.startswith(b"HTTP/1.1 413")  # or it has hung up before all was sent
    assert send(server, b"x").status == 422 and list(temporary.iterdir()) == []


@pytest.mark.slow
def test_without_a_database(server: Server, started: Starter, tree: Path, tmp_path: Path) -> None:
    assert server.ask("/search").status == 404 and server.ask("/api/search", "POST", body=b"x").status == 404
    assert b"Search by picture or sound" not in server.ask("/").body
    command = [sys.executable, "-m", "lvc", "serve", str(tree), "--port", "0", "--db", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "make one with lvc search index" in done.stderr
