"""The database follows its folders: what is new, changed or gone; what is broken; what was interrupted."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from lvc.errors import CorruptError, LvcError, MediaError, UnsupportedError, UsageError
from lvc.search import Database, Moments, Sounds, index_folders, indexing
from lvc.search.database import FILE, Known
from lvc.search.sources import NO_SOUND
from tests.helpers.clips import CARPHONE, real_clip


def moments(seed: int, count: int = 3) -> Moments:
    vectors = np.random.default_rng(seed).integers(-127, 128, (count, 64)).astype(np.int8)
    return Moments(np.arange(float(count)), vectors, float(count))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Instead of looking at videos: vectors from the length of the file. The list says what was looked at."""
    looked_at: list[str] = []

    def look(path: str, threads: int | None = None, opened: None = None) -> tuple[Moments, Sounds]:
        looked_at.append(os.path.basename(path))
        data = Path(path).read_bytes()
        if data == b"broken":
            raise MediaError("not a video — get another")
        if data == b"stop":
            raise KeyboardInterrupt
        return moments(len(data)), NO_SOUND

    monkeypatch.setattr(indexing, "described", look)
    return looked_at


def test_keeps_what_it_is_given(tmp_path: Path) -> None:
    with Database(tmp_path / "db", create=True) as database:
        database.put("/b", Known(5, 6, None), moments(1))
        database.put("/a", Known(7, 8, None), moments(2, 1))
        database.put("/c", Known(9, 10, "broken"), None)
    with Database(tmp_path / "db") as database:
        assert database.known() == {"/b": Known(5, 6, None), "/a": Known(7, 8, None), "/c": Known(9, 10, "broken")}
        everything = database.load()
    assert everything.paths == ["/a", "/b"] and list(everything.begins) == [0, 1, 4]
    assert list(everything.file_of(np.array([0, 1, 3]))) == [0, 1, 1]
    assert np.array_equal(everything.moments(1).vectors, moments(1).vectors)


def test_follows_a_folder(tmp_path: Path, drawn: list[str]) -> None:
    folder = tmp_path / "v"
    (folder / "sub").mkdir(parents=True)
    for name, data in (("a.mp4", b"1"), ("sub/b.lvz", b"22"), ("c.mkv", b"broken"), ("d.txt", b"text")):
        (folder / name).write_bytes(data)
    events: list[tuple[str, str]] = []

    def seen(path: str, what: str, error: LvcError | None) -> None:
        events.append((os.path.basename(path), what))

    with Database(tmp_path / "db", create=True) as database:
        first = index_folders([folder], database, seen=seen)
        assert (first.added, first.failed, first.unchanged) == (2, 1, 0)
        assert sorted(drawn) == ["a.mp4", "b.lvz", "c.mkv"]
        assert ("c.mkv", "failed") in events

        drawn.clear()
        again = index_folders([folder], database)
        assert drawn == [] and again.unchanged == 3  # what is broken is not tried again

        (folder / "a.mp4").write_bytes(b"longer than before")
        (folder / "sub" / "b.lvz").unlink()
        (folder / "e.mov").write_bytes(b"new")
        third = index_folders([folder], database)
        assert (third.added, third.changed, third.removed) == (1, 1, 1)
        assert sorted(drawn) == ["a.mp4", "e.mov"]
        assert [os.path.basename(p) for p in database.load().paths] == ["a.mp4", "e.mov"]

        index_folders([tmp_path / "v" / "sub"], database)
        assert len(database.load().paths) == 2  # what lies elsewhere stays


def test_a_folder_that_is_gone_leaves(tmp_path: Path, drawn: list[str]) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"1")
    with Database(tmp_path / "db", create=True) as database:
        index_folders([folder], database)
        (folder / "a.mp4").unlink()
        folder.rmdir()
        assert index_folders([folder], database).removed == 1
        with pytest.raises(MediaError, match="no such"):
            index_folders([tmp_path / "never"], database)


def test_goes_on_after_an_interruption(tmp_path: Path, drawn: list[str]) -> None:
    for name, data in (("a.mp4", b"1"), ("b.mp4", b"stop"), ("c.mp4", b"333")):
        (tmp_path / name).write_bytes(data)
    with Database(tmp_path / "db", create=True) as database, pytest.raises(KeyboardInterrupt):
        index_folders([tmp_path], database)
    (tmp_path / "b.mp4").write_bytes(b"22")
    drawn.clear()
    with Database(tmp_path / "db") as database:
        assert len(database.load().paths) == 1
        index_folders([tmp_path], database)
        assert drawn == ["b.mp4", "c.mp4"] and len(database.load().paths) == 3


def test_other_features_begin_anew(tmp_path: Path, drawn: list[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"1")
    with Database(tmp_path / "db", create=True) as database:
        index_folders([tmp_path], database)
        database._db.execute("UPDATE meta SET value = 'other:00' WHERE name = 'extractor'")
    with pytest.raises(UnsupportedError, match="other:00"):
        Database(tmp_path / "db")
    with Database(tmp_path / "db", create=True) as database:
        assert database.restarted and not database.known()


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a database"):
        Database(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        Database(tmp_path / "file", create=True)
    (tmp_path / FILE).write_bytes(b"this is not sqlite" * 100)
    with pytest.raises(CorruptError, match="damaged"):
        Database(tmp_path)
    (tmp_path / "db").mkdir()
    with Database(tmp_path / "db", create=True) as database:
        database._db.execute("INSERT INTO files VALUES (1, 'x', 1, 1, 1.0, NULL, x'00000000', x'01', x'', x'')")
        with pytest.raises(CorruptError, match="do not match"):
            database.load()


def test_real_videos_broken_ones_and_others(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(real_clip(CARPHONE))
    (tmp_path / "b.mp4").write_bytes(b"not a video")
    (tmp_path / "c.lvz").write_bytes(b"\x89LVZ broken")
    failures: list[LvcError] = []

    def seen(path: str, what: str, error: LvcError | None) -> None:
        if error is not None:
            failures.append(error)

    with Database(tmp_path / "db", create=True) as database:
        result = index_folders([tmp_path], database, seen=seen)
        assert (result.added, result.failed, result.moments) == (1, 2, 4)
        assert result.seconds == pytest.approx(4.0, abs=0.1)
    assert [type(e) for e in failures] == [MediaError, CorruptError]


def test_sounds_are_kept_and_loaded(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).integers(0, 256, (3, 32), dtype=np.uint8)
    with Database(tmp_path, create=True) as database:
        database.put("/a", Known(1, 1, None), moments(1))
        database.put("/b", Known(1, 1, None), moments(2), Sounds(np.array([0.02, 1.02, 2.02]), vectors, 5.0))
        collection = database.load()
    assert not len(collection.sounds(0).times)
    kept = collection.sounds(1)
    assert np.array_equal(kept.vectors, vectors) and kept.times == pytest.approx([0.02, 1.02, 2.02])
    assert np.array_equal(collection.sound_words, vectors.view(np.uint64))


def test_a_database_of_an_earlier_lvc_is_begun_anew(tmp_path: Path) -> None:
    """Its tables have other columns."""
    with sqlite3.connect(tmp_path / FILE) as old:
        old.executescript(
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
            "CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, times BLOB, vectors BLOB);"
            "INSERT INTO meta VALUES ('schema', '2'); INSERT INTO files VALUES (1, '/a', x'', x'');"
        )
    old.close()
    with pytest.raises(UnsupportedError, match="another version"):
        Database(tmp_path)
    with Database(tmp_path, create=True) as database:
        assert database.restarted and not database.known()
        database.put("/a", Known(1, 1, None), moments(1), NO_SOUND)
    with Database(tmp_path) as database:
        assert not database.restarted and len(database.load().times) == 3
