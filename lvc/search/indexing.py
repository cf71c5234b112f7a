"""Update the database from folders and addresses: read what is new or changed, remove what is gone. An interrupted run
keeps its work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lvc.errors import LvcError, MediaError, UsageError
from lvc.output import about, opened_input
from lvc.place import Place
from lvc.remote.addresses import hidden, is_http, without_secrets
from lvc.remote.filesystems import listed
from lvc.remote.store import RangeFile
from lvc.search.database import Database, Known
from lvc.search.sources import described, files_under, is_video_name

Seen = Callable[[str, str, LvcError | None], object]
"""Called after each file with its path, the outcome (`added`, `changed`, `removed`, `failed`), and the error."""

Begun = Callable[[int, int, str], object]
"""Called before each file with its number, the number of files, and its path."""

_UNKNOWN = -1
"""Stands for the modification time where versions of a file cannot be told apart: it is read every time."""


@dataclass
class Indexed:
    """Numbers of files by outcome. `moments`: vectors added; `seconds`: the video they cover; `heard`: files with
    sound."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0
    stored: int = 0
    moments: int = 0
    seconds: float = 0.0
    heard: int = 0


def index_folders(
    paths: Iterable[str | os.PathLike[str]],
    database: Database,
    *,
    threads: int | None = None,
    seen: Seen | None = None,
    begun: Begun | None = None,
) -> Indexed:
    """Update the database from folders, files and addresses of either. Files that cannot be read are remembered, and
    tried again once they have changed. Files elsewhere stay in the database.

    Raises `MediaError` for a path that neither exists nor is in the database.
    """
    result = Indexed()
    known = database.known()
    roots: list[str] = []
    wanted: dict[str, tuple[str, Known | None]] = {}
    for path in paths:
        named = os.fspath(path)
        roots.append(name_of(named))
        with about(named):
            found = _files_of(Place(named).absolute())
            if found is None and not any(is_under(path, roots[-1:]) for path in known):
                raise MediaError("no such file or folder — check the name")
            for place, state in (found or {}).items():
                if wanted.setdefault(name_of(place), (place, state))[0] != place:
                    raise UsageError("differs from another URL only in its query — index it in another database")
    gone = [path for path in known if path not in wanted and is_under(path, roots)]
    database.remove(gone)
    result.removed = len(gone)
    for path in gone:
        _tell(seen, path, "removed")
    for number, (name, (place, state)) in enumerate(wanted.items(), 1):
        if begun is not None:
            begun(number, len(wanted), name)
        _bring(name, place, state, known.get(name), database, result, threads, seen)
    return result


def name_of(path: str | os.PathLike[str]) -> str:
    """The name of a file in the database: an absolute path, or an address without user, password, query and fragment,
    which may be secret."""
    return without_secrets(Place(os.fspath(path)).absolute())


def _files_of(root: str) -> dict[str, Known | None] | None:
    """Files to index below a name, with their state where that costs no request; `None` if nothing is there."""
    if is_http(root):  # web servers do not list folders
        return {root: None}
    if Place(root).is_url:
        states = {path: _state(version) for path, version in listed(root).items()}
        return {path: state for path, state in states.items() if path == root or is_video_name(path)} or None
    if os.path.isdir(root):
        return {str(path): None for path in files_under(Path(root))}
    return {root: None} if os.path.exists(root) else None


def _state(version: str | None) -> Known:
    """State of a remote file: a hash of its ETag or date."""
    if version is None:
        return Known(0, _UNKNOWN, None)
    return Known(0, int.from_bytes(hashlib.sha256(version.encode()).digest()[:8]) >> 1, None)


def _bring(
    name: str,
    path: str,
    state: Known | None,
    before: Known | None,
    database: Database,
    result: Indexed,
    threads: int | None,
    seen: Seen | None,
) -> None:
    with ExitStack() as files:
        opened = None
        try:
            if state is None and Place(path).is_url:
                opened = files.enter_context(opened_input(path))
                state = _state(opened.shared.store.identity if isinstance(opened, RangeFile) else None)
            elif state is None:
                try:
                    status = os.stat(path)
                except OSError:
                    return  # removed while the folder was read; the next run notices
                state = Known(status.st_size, status.st_mtime_ns, None)
            same = before is not None and (before.size, before.changed) == (state.size, state.changed)
            if same and state.changed != _UNKNOWN:
                result.unchanged += 1
                return
            moments, sounds = described(path, threads, opened)
        except (LvcError, OSError) as problem:
            error = problem if isinstance(problem, LvcError) else MediaError(problem.strerror or str(problem))
            if state is not None:  # otherwise the server did not answer, which says nothing about the file
                database.put(name, replace(state, error=hidden(str(error))), None)
            result.failed += 1
            _tell(seen, name, "failed", error)
            return
    database.put(name, state, moments, sounds)
    what = "added" if before is None else "changed"
    setattr(result, what, getattr(result, what) + 1)
    result.stored += moments.stored
    result.moments += len(moments.times)
    result.seconds += moments.seconds
    result.heard += bool(len(sounds.times))
    _tell(seen, name, what)


def _tell(seen: Seen | None, path: str, what: str, error: LvcError | None = None) -> None:
    if seen is not None:
        seen(path, what, error)


def is_under(path: str, roots: list[str]) -> bool:
    """Whether a name is one of `roots` or below one; all in the form of `name_of`."""
    return any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots)
