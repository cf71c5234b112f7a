"""Files at addresses: of a `.lvz` only head, end and vectors are fetched, and nothing again while it stays the same."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lvc.errors import MediaError
from lvc.features import default_extractor
from lvc.lvz import Clip, FeatureTrack, Header, LvzWriter, PlaneSpec, VideoDescriptor
from lvc.lvz.features import NUMBERS, PICTURE
from lvc.search import Database, index_folders, moments_of, query
from lvc.search.indexing import Indexed
from tests.helpers.far_site import Site, serving

SECONDS = 700


def film(seed: int, features: bool = True) -> bytes:
    """700 s in GOPs of 10 s with a clip of 3 kB a second, and a vector for each second: more than the end that is asked
    for anyway holds."""
    out = io.BytesIO()
    video = VideoDescriptor(64, 48, (PlaneSpec("latent", "int16", 8, 16),), 5, time_base=(1, 25), frame_rate=(25, 1))
    extractor = default_extractor()
    vectors = np.random.default_rng(seed).integers(-127, 128, (SECONDS, 64)).astype(np.int8)
    name, fingerprint = extractor.id.rsplit(":", 1)
    times = [25 * s for s in range(SECONDS)]
    hashed = bytes.fromhex(fingerprint)
    track = FeatureTrack(PICTURE, name, hashed, NUMBERS, 64, (1, 25), times, vectors.tobytes())
    with LvzWriter(out, Header("test", bytes(32)), video) as writer:
        if features:
            writer.write_features(track)
        for second in range(SECONDS):
            pts = list(range(25 * second, 25 * second + 25))
            writer.write_clip(Clip(pts[0], second % 10 == 0, pts, [1] * 25, second, bytes(3000)))
    return out.getvalue()


FILM, OTHER = film(1), film(2)
VECTORS = SECONDS * 64


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVC_CACHE", "off")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def counts(result: Indexed) -> tuple[int, int, int, int, int]:
    return result.added, result.changed, result.removed, result.unchanged, result.failed


def test_of_a_web_server_little_is_fetched(site: Site, tmp_path: Path) -> None:
    address = site.put(FILM)
    with Database(tmp_path / "db", create=True) as database:
        first = index_folders([address], database)
        assert counts(first) == (1, 0, 0, 0, 0) and first.stored == 1 and first.moments == SECONDS
        assert VECTORS < site.sent < VECTORS + 64 * 1024 < len(FILM) / 10 and len(site.requests) <= 6
        site.sent = 0
        assert counts(index_folders([address], database)) == (0, 0, 0, 1, 0)
        assert site.sent <= 16384
        site.put(OTHER)
        site.version = 2
        assert counts(index_folders([address], database)) == (0, 1, 0, 0, 0)
        collection = database.load()
    assert collection.paths == [address]
    # what is asked may be far away as well
    (hit,) = query(collection, moments_of(address, 100.0, 110.0), 3)
    assert (hit.path, hit.start) == (address, pytest.approx(100, abs=0.3)) and hit.score > 0.99


@pytest.mark.slow
def test_a_server_that_fails_says_nothing_of_the_file(site: Site, tmp_path: Path) -> None:
    address, told = site.put(FILM), []
    with Database(tmp_path / "db", create=True) as database:
        index_folders([address], database)
        site.files.clear()
        again = index_folders([address], database, seen=lambda *event: told.append(event))
        assert counts(again) == (0, 0, 0, 0, 1) and "404" in str(told[0][2])
        assert len(database.load().paths) == 1


@pytest.mark.slow
def test_a_folder_of_a_store_is_followed(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    root = f"memory://{uuid.uuid4().hex}/films"
    for name, data in (("a.lvz", FILM), ("sub/b.lvz", OTHER), (".hidden.lvz", FILM), ("notes.txt", b"x")):
        store.pipe(f"{root}/{name}", data)
    store.pipe(f"{root}/broken.mp4", b"no video")
    with Database(tmp_path / "db", create=True) as database:
        assert counts(index_folders([root], database)) == (2, 0, 0, 0, 1)
        assert database.load().paths == [f"{root}/a.lvz", f"{root}/sub/b.lvz"]
        assert counts(index_folders([root], database)) == (0, 0, 0, 3, 0)
        store.pipe(f"{root}/a.lvz", OTHER)
        store.rm(f"{root}/sub/b.lvz")
        assert counts(index_folders([root], database)) == (0, 1, 1, 1, 0)
        assert counts(index_folders([f"{root}/a.lvz"], database)) == (0, 0, 0, 1, 0)
        store.rm(root, recursive=True)
        assert counts(index_folders([root], database)) == (0, 0, 2, 0, 0)
        with pytest.raises(MediaError, match="no such file"):
            index_folders([root], database)
