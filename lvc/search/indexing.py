"""Folders → database: what is new or changed is read, what is gone leaves, what was done stays if it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lvc.errors import LvcError, MediaError
from lvc.output import about
from lvc.search.database import Database, Known
from lvc.search.sources import files_under, moments_of

Seen = Callable[[str, str, LvcError | None], object]
"""Called after each file with its path, what was done (`added`, `changed`, `removed`, `failed`), and the error."""


@dataclass
class Indexed:
    """Files by what was done with them. `moments`: vectors that were added; `seconds`: of video they stand for."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0
    stored: int = 0
    moments: int = 0
    seconds: float = 0.0


def index_folders(
    paths: Iterable[str | os.PathLike[str]], database: Database, *, threads: int | None = None, seen: Seen | None = None
) -> Indexed:
    """Bring the database up to date with folders and files. Files that cannot be read are remembered and tried again
    when they have changed. What lies elsewhere stays in the database untouched.

    Raises `MediaError` for a path that does not exist and was not known either.
    """
    result = Indexed()
    known = database.known()
    roots = [Path(os.path.abspath(path)) for path in paths]
    wanted: dict[str, None] = {}
    for root in roots:
        if root.is_dir():
            wanted.update(dict.fromkeys(str(path) for path in files_under(root)))
        elif root.exists():
            wanted[str(root)] = None
        elif not any(_is_under(path, [root]) for path in known):
            with about(str(root)):
                raise MediaError("no such file or folder — check the name")
    gone = [path for path in known if path not in wanted and _is_under(path, roots)]
    database.remove(gone)
    result.removed = len(gone)
    for path in gone:
        _tell(seen, path, "removed")
    for path in wanted:
        _bring(path, known.get(path), database, result, threads, seen)
    return result


def _bring(
    path: str, before: Known | None, database: Database, result: Indexed, threads: int | None, seen: Seen | None
) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return  # it left while the folder was read; the next run will notice
    if before is not None and (before.size, before.changed) == (status.st_size, status.st_mtime_ns):
        result.unchanged += 1
        return
    try:
        moments = moments_of(path, threads=threads)
    except (LvcError, OSError) as problem:
        error = problem if isinstance(problem, LvcError) else MediaError(problem.strerror or str(problem))
        database.put(path, Known(status.st_size, status.st_mtime_ns, str(error)), None)
        result.failed += 1
        _tell(seen, path, "failed", error)
        return
    database.put(path, Known(status.st_size, status.st_mtime_ns, None), moments)
    what = "added" if before is None else "changed"
    setattr(result, what, getattr(result, what) + 1)
    result.stored += moments.stored
    result.moments += len(moments.times)
    result.seconds += moments.seconds
    _tell(seen, path, what)


def _tell(seen: Seen | None, path: str, what: str, error: LvcError | None = None) -> None:
    if seen is not None:
        seen(path, what, error)


def _is_under(path: str, roots: list[Path]) -> bool:
    return any(Path(path) == root or root in Path(path).parents for root in roots)
