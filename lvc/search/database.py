"""Files and their vectors in an SQLite file. Each file is a transaction of its own, so an interrupted run keeps its
work.

meta   the extractors of the vectors
files  path, size, modification time and duration, or why the file could not be read
       times and vectors as blobs: float32 [N] and int8 [N,64]; for sound, float32 [M] and uint8 [M,32]
tags   results of `lvc tag`: a file, a tag, start and end in seconds, and the probability
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lvc.errors import CorruptError, MediaError, UnsupportedError, UsageError
from lvc.features import DIMENSIONS, default_extractor
from lvc.features import sound as of_sound
from lvc.remote.addresses import without_secrets
from lvc.search.hearing import Sounds
from lvc.search.sources import Moments
from lvc.search.tagging import Tagged

FILE = "features.sqlite"
SCHEMA = 3
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL,
    seconds REAL NOT NULL, error TEXT, times BLOB NOT NULL, vectors BLOB NOT NULL,
    sound_times BLOB NOT NULL, sound_vectors BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS tags (
    file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    tag TEXT NOT NULL, start REAL NOT NULL, end REAL NOT NULL, score REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS tags_by_file ON tags (file);
CREATE INDEX IF NOT EXISTS tags_by_name ON tags (tag);
"""


@dataclass(frozen=True)
class Known:
    """A file when it was indexed: size in bytes, modification time in nanoseconds, and why it could not be read, if
    so."""

    size: int
    changed: int
    error: str | None


@dataclass(frozen=True)
class Collection:
    """All vectors in one array. Those of file i are rows `begins[i]` to `begins[i + 1]`; those of its sound are rows
    `sound_begins[i]` to `sound_begins[i + 1]`."""

    paths: list[str]
    seconds: npt.NDArray[np.float64]
    begins: npt.NDArray[np.int64]
    times: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.int8]
    sound_begins: npt.NDArray[np.int64]
    sound_times: npt.NDArray[np.float32]
    sound_vectors: npt.NDArray[np.uint8]

    def file_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.begins, rows, side="right") - 1

    def moments(self, file: int) -> Moments:
        rows = slice(int(self.begins[file]), int(self.begins[file + 1]))
        return Moments(self.times[rows].astype(np.float64), self.vectors[rows], float(self.seconds[file]))

    @property
    def sound_words(self) -> npt.NDArray[np.uint64]:
        """The sound vectors as uint64 [M,4]."""
        return self.sound_vectors.view(np.uint64)

    def sounds(self, file: int) -> Sounds:
        rows = slice(int(self.sound_begins[file]), int(self.sound_begins[file + 1]))
        return Sounds(self.sound_times[rows].astype(np.float64), self.sound_vectors[rows], float(self.seconds[file]))


class Database:
    """A folder with `features.sqlite`; a context manager.

    Raises `CorruptError` for a damaged file, and `UnsupportedError` for another extractor or version unless `create`
    allows starting over.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = False) -> None:
        self.folder = Path(folder)
        path = self.folder / FILE
        if create:
            if self.folder.exists() and not self.folder.is_dir():
                raise UsageError(f"{self.folder} is a file — give a folder for the database")
            self.folder.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise UsageError(f"{self.folder} is not a database — make one with lvc search index")
        self.restarted = False
        with _sqlite_errors(self.folder):
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            try:
                self._prepare(create)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, create: bool) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")  # deleting a file deletes its tags
        if create:
            self._db.executescript(_TABLES)
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        wanted = {"schema": str(SCHEMA), "extractor": default_extractor().id, "sound": of_sound.ID}
        if meta and meta != wanted:
            if not create:
                raise UnsupportedError(
                    f"the database has vectors of another version ({meta.get('extractor')}) — index the folders again"
                )
            self.restarted = True
            with self._transaction():
                for table in ("tags", "files", "meta"):
                    self._db.execute(f"DROP TABLE IF EXISTS {table}")
            self._db.executescript(_TABLES)
            meta = {}
        if create:  # earlier versions stored addresses with passwords and signatures
            paths = [path for (path,) in self._db.execute("SELECT path FROM files WHERE path LIKE '%://%'")]
            self.remove([path for path in paths if without_secrets(path) != path])
        if not meta:
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", wanted.items())

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _sqlite_errors(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def known(self) -> dict[str, Known]:
        with _sqlite_errors(self.folder):
            rows = self._db.execute("SELECT path, size, changed, error FROM files").fetchall()
        return {path: Known(size, changed, error) for path, size, changed, error in rows}

    def put(self, path: str, known: Known, moments: Moments | None, sounds: Sounds | None = None) -> None:
        """Store a new or changed file. Without `moments` it could not be read, and `known` says why."""
        times = b"" if moments is None else moments.times.astype(np.float32).tobytes()
        vectors = b"" if moments is None else moments.vectors.tobytes()
        seconds = 0.0 if moments is None else moments.seconds
        of_sounds = (
            (b"", b"") if sounds is None else (sounds.times.astype(np.float32).tobytes(), sounds.vectors.tobytes())
        )
        with self._transaction():
            self._db.execute("DELETE FROM files WHERE path = ?", (path,))
            self._db.execute(
                "INSERT INTO files (path, size, changed, seconds, error, times, vectors, sound_times, sound_vectors)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (path, known.size, known.changed, seconds, known.error, times, vectors, *of_sounds),
            )

    def remove(self, paths: list[str]) -> None:
        with self._transaction():
            self._db.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in paths))

    def put_tags(self, path: str, names: Sequence[str], found: Sequence[Tagged]) -> None:
        """Replace what is stored of the tags `names` in a file. Other tags stay."""
        with self._transaction():
            row = self._db.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
            if row is None:
                return  # removed meanwhile
            self._db.executemany("DELETE FROM tags WHERE file = ? AND tag = ?", ((row[0], name) for name in names))
            self._db.executemany(
                "INSERT INTO tags (file, tag, start, end, score) VALUES (?, ?, ?, ?, ?)",
                ((row[0], t.tag, t.start, t.end, t.score) for t in found),
            )

    def tags(self, tag: str | None = None) -> dict[str, list[Tagged]]:
        """Tags by path, ordered by name and time: all of them, or one. Raises `UsageError` for a tag that no file
        has."""
        with _sqlite_errors(self.folder):
            rows = self._db.execute(
                "SELECT path, tag, start, end, score FROM tags JOIN files ON file = id"
                " WHERE ?1 IS NULL OR tag = ?1 ORDER BY path, tag, start",
                (tag,),
            ).fetchall()
        if tag is not None and not rows:
            raise UsageError(f"no video in the database has the tag {tag!r} — lvc search tags lists the tags")
        result: dict[str, list[Tagged]] = {}
        for path, *values in rows:
            result.setdefault(path, []).append(Tagged(*values))
        return result

    def load(self, paths: Container[str] | None = None) -> Collection:
        """Load all files, or only `paths`, into memory: 68 bytes for each vector, 36 for each sound vector."""
        with _sqlite_errors(self.folder):
            rows = self._db.execute(
                "SELECT path, seconds, times, vectors, sound_times, sound_vectors FROM files WHERE error IS NULL"
                " ORDER BY path"
            ).fetchall()
        if paths is not None:
            rows = [row for row in rows if row[0] in paths]
        begins, times, vectors = self._joined([row[2:4] for row in rows], DIMENSIONS)
        sound_begins, sound_times, sound_vectors = self._joined([row[4:6] for row in rows], of_sound.SIZE)
        return Collection(
            [path for path, *_ in rows],
            np.array([row[1] for row in rows], np.float64),
            begins,
            times,
            vectors.view(np.int8),
            sound_begins,
            sound_times,
            sound_vectors,
        )

    def _joined(
        self, blobs: list[tuple[bytes, bytes]], size: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Blobs of times and of vectors of `size` bytes → first row of each file, float32 [N], uint8 [N,size]."""
        counts = [len(times) // 4 for times, _ in blobs]
        if any(len(vectors) != n * size for (_, vectors), n in zip(blobs, counts, strict=True)):
            raise CorruptError(f"{self.folder}: vectors and times do not match — delete it and index again")
        return (
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.frombuffer(b"".join(times for times, _ in blobs), np.float32),
            np.frombuffer(b"".join(vectors for _, vectors in blobs), np.uint8).reshape(-1, size),
        )


@contextlib.contextmanager
def _sqlite_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise MediaError(
            f"the database {folder}: {error} — check the folder, and that no other program uses it"
        ) from error
    except sqlite3.DatabaseError as error:
        raise CorruptError(f"the database {folder} is damaged ({error}) — delete it and index again") from error
