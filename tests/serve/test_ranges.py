"""Bytes of a file over HTTP, compared with the file."""

from __future__ import annotations

import email.utils
import os
import random
from pathlib import Path

import pytest

from lvc.files import decode_frames
from lvc.serve.ranges import asked_range
from tests.helpers.server import Server

PATH = "/files/carphone.lvz"


@pytest.fixture
def data(tree: Path) -> bytes:
    return (tree / "carphone.lvz").read_bytes()


def test_whole(server: Server, data: bytes) -> None:
    answer = server.ask(PATH)
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["accept-ranges"] == "bytes" and answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-type"] == "video/x-lvz"
    head = server.ask(PATH, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(data)))


def test_ranges_to_the_byte(server: Server, data: bytes) -> None:
    size = len(data)
    rng = random.Random(5)
    spans = [
        (0, 0),
        (0, size - 1),
        (size - 1, size - 1),
        (1, size * 2),
        (size // 2, None),
        (0, None),
        (None, 84),
        (None, size * 3),
    ]
    spans += [tuple(sorted((rng.randrange(size), rng.randrange(size)))) for _ in range(60)]
    for first, last in spans:
        text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
        start = max(0, size - last) if first is None else first
        stop = size if first is None or last is None else min(size, last + 1)
        for method in ("GET", "HEAD"):
            answer = server.ask(PATH, method, {"Range": text})
            assert answer.status == 206
            assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert answer.headers["content-length"] == str(stop - start)
            assert answer.body == (data[start:stop] if method == "GET" else b"")


@pytest.mark.parametrize("text", ["bytes={size}-", "bytes=999999999-", "bytes=-0", "bytes={size}-{size}"])
def test_behind_the_end(server: Server, data: bytes, text: str) -> None:
    answer = server.ask(PATH, headers={"Range": text.format(size=len(data))})
    assert (answer.status, answer.headers["content-range"], answer.body) == (416, f"bytes */{len(data)}", b"")


@pytest.mark.parametrize(
    "text", ["bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "bytes=1-2,5-9", "octets=1-2", "bytes=--5",
    "bytes=0x1-0x5", "bytes=1.5-2",
             "bytes=²-³", "bytes=" + "1" * 40 + "-", "bytes=" + "0-1," * 2000, "", "bytes 1-2", "bytes=1-2;q=1",
             "\t", "none"],
)  # fmt: skip
def test_what_is_no_range_gives_everything(server: Server, data: bytes, text: str) -> None:
    answer = server.ask(PATH, headers={"Range": text.encode().decode("latin-1")})
    assert (answer.status, answer.body) == (200, data)


def test_validators(server: Server, data: bytes, tree: Path) -> None:
    headers = server.ask(PATH, "HEAD").headers
    tag, date = headers["etag"], headers["last-modified"]
    assert email.utils.parsedate_to_datetime(date).timestamp() == int(os.stat(tree / "carphone.lvz").st_mtime)
    for asked in (tag, f'"x", W/{tag}', "*"):
        assert server.ask(PATH, headers={"If-None-Match": asked}).status == 304
    assert server.ask(PATH, headers={"If-None-Match": '"other"'}).status == 200
    for valid in (tag, date):
        assert server.ask(PATH, headers={"Range": "bytes=0-9", "If-Range": valid}).body == data[:10]
    for stale in ('"other"', "Thu, 01 Jan 1970 00:00:00 GMT", f"W/{tag}", "nonsense"):
        assert server.ask(PATH, headers={"Range": "bytes=0-9", "If-Range": stale}).body == data


def test_of_an_empty_file() -> None:
    assert (
        asked_range("bytes=0-", 0) == (0, 0) and asked_range("bytes=-5", 0) == (0, 0) and asked_range(None, 0) is None
    )


def test_lvc_reads_it(server: Server, tree: Path) -> None:
    far = decode_frames(f"http://127.0.0.1:{server.port}{PATH}", 1.5, 1.6)
    near = decode_frames(tree / "carphone.lvz", 1.5, 1.6)
    assert sum((a.y == b.y).all() for a, b in zip(far, near, strict=True)) == 3
