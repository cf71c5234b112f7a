"""What was fetched once is not fetched again, unless it is another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvc.lvz import LvzReader
from lvc.remote.cache import DiskCache, shrink
from lvc.remote.open import open_remote
from lvc.remote.store import HEAD_BYTES
from tests.helpers.far_site import Site
from tests.helpers.lvz_files import lvz

DATA = lvz()


def first_frames(address: str, start: float = 12.5, end: float = 14.5) -> list[int]:
    with open_remote(address) as file:
        return [r.first_frame for r in LvzReader(file).records_from(start, end, packets=False)]  # type: ignore[union-attr]


@pytest.mark.usefixtures("cache")
def test_the_second_time_only_asks_whether_it_is_the_same(site: Site) -> None:
    address = site.put(DATA)
    frames = first_frames(address)
    site.requests.clear()
    assert first_frames(address) == frames and site.asked == [f"bytes=0-{HEAD_BYTES - 1}"]
    site.requests.clear()
    assert first_frames(address, 12.5, 16.5) == [300, 325, 350, 375, 400, 425]
    assert len(site.requests) == 2


@pytest.mark.usefixtures("cache")
def test_another_version_is_another_file(site: Site) -> None:
    first_frames(site.put(DATA))
    site.version, site.requests[:] = 2, []
    site.put(lvz(21_000))
    assert first_frames(site.address + "/a.lvz") == [300, 325, 350, 375] and len(site.requests) == 3


def test_a_damaged_piece_is_fetched_again(site: Site, cache: Path) -> None:
    address = site.put(DATA)
    frames = first_frames(address)
    for piece in cache.glob("*/*"):
        data = bytearray(piece.read_bytes())
        data[len(data) // 2] ^= 1
        piece.write_bytes(data)
    site.requests.clear()
    assert first_frames(address) == frames and len(site.requests) == 3
    for piece in cache.glob("*/*"):
        piece.write_bytes(b"")
    assert first_frames(address) == frames


def test_what_has_no_version_is_not_kept(site: Site, cache: Path) -> None:
    site.headers = {"ETag": 'W/"weak"'}
    first_frames(site.put(DATA))
    assert not cache.exists()


def test_what_is_on_this_machine_is_not_kept(tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "a.lvz").write_bytes(DATA)
    for address in (f"file://{tmp_path}/a.lvz", f"simplecache::file://{tmp_path}/a.lvz"):
        assert first_frames(address) == [300, 325, 350, 375]
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_is_no_error(site: Site, cache: Path) -> None:
    cache.write_text("a file")
    assert first_frames(site.put(DATA)) == [300, 325, 350, 375]


def test_only_its_owner_sees_it(site: Site, cache: Path) -> None:
    first_frames(site.put(DATA))
    assert {p.stat().st_mode & 0o077 for p in cache.iterdir()} == {0}
    assert not [p for p in cache.glob("*/*") if p.name.startswith(".")]


def test_the_oldest_go_first(tmp_path: Path) -> None:
    (tmp_path / "not ours").mkdir()
    caches = []
    for number in range(4):
        cache = DiskCache(tmp_path / (str(number) * 64))
        cache.write(0, bytes(1000))
        os.utime(tmp_path / (str(number) * 64), (number, number))
        caches.append(cache)
    shrink(tmp_path, 2 * 1004)
    assert sorted(p.name[:1] for p in tmp_path.iterdir()) == ["2", "3", "n"]
    assert caches[0].read(0, 10) == b"" and caches[3].read(990, 2000) == bytes(10)


def test_a_film_read_from_end_to_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvc.remote.cache._MAX_A_FILE", 1500)
    cache = DiskCache(tmp_path / "film")
    cache.write(0, bytes(1000))
    cache.write(1000, bytes(1000))
    assert [p.name for p in (tmp_path / "film").iterdir()] == ["0-1000"]
