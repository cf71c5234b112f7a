"""Finds a job's files in a folder and names their outputs: the same tree below another folder.

Videos are recognised by content, not by name. Hidden files and folders, the output folder and special files (sockets,
pipes, devices) are left out. Links are followed; a folder that contains itself through a link is entered once.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvc.errors import LvcError, UsageError
from lvc.jobs.task import Command, Task
from lvc.kinds import VIDEO_ENDINGS
from lvc.lvz.chunks import SIGNATURE
from lvc.output import opened_input
from lvc.place import Place
from lvc.remote.filesystems import listed

_MAX_NAME = 255  # bytes, in all common file systems


@dataclass
class Tree:
    """The content of a folder: paths of the job's files, and the number of other files."""

    files: list[str]
    others: int


def find(root: str, command: Command, without: str | None = None) -> Tree:
    """Return the files below `root` that `command` works on, sorted; the folder `without` is left out."""
    tree = Tree([], 0)
    for path in walk(root, without):
        if is_wanted(path, command):
            tree.files.append(path)
        else:
            tree.others += 1
    return tree


def walk(root: str, without: str | None = None) -> Iterator[str]:
    """Yield every visible regular file below `root`, sorted by name."""
    if Place(root).is_url:
        yield from listed(root)
        return
    if not os.path.isdir(root):
        raise UsageError("is not a folder — give one")
    # a folder of outputs that holds the sources too, or is theirs, cannot be left out
    excluded = os.path.realpath(without) if without is not None else ""
    if excluded == os.path.realpath(root):
        excluded = ""
    yield from _walk(root, excluded, ())


def _walk(folder: str, excluded: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    here = os.stat(folder)
    identity = here.st_dev, here.st_ino
    if identity in above or (excluded and os.path.realpath(folder) == excluded):
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except PermissionError:
        if above:
            return
        raise
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            mode = entry.stat().st_mode
        except OSError:  # a broken link: opening it reports that
            yield entry.path
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(entry.path, excluded, (*above, identity))
        elif stat.S_ISREG(mode):
            yield entry.path


def is_wanted(path: str, command: Command) -> bool:
    """Return whether `command` works on this file: a video to encode, or a `.lvz`."""
    if command != "encode":
        return _starts_like_lvz(path) or path.endswith(".lvz")
    if _starts_like_lvz(path):
        return False
    from lvc.media.probe import is_video

    try:
        with opened_input(path) as file:
            found = is_video(path, file)
    except (OSError, LvcError):
        found = None
    return os.path.splitext(path)[1].lower() in VIDEO_ENDINGS if found is None else found


def _starts_like_lvz(path: str) -> bool:
    try:
        with opened_input(path) as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except (OSError, LvcError):
        return False


def tasks(root: str, output_dir: str, files: Iterable[str], suffix: str) -> list[Task]:
    """Return a task for each file. Its output is below `output_dir`, with `suffix` in place of the extension.

    Files that would get the same output keep their extensions: `a.mp4` and `a.mov` become `a.mp4.lvz` and `a.mov.lvz`.
    Case does not count, because on many systems `A.lvz` and `a.lvz` are the same file.
    """
    files = list(files)
    plain = {path: os.path.splitext(path)[0] + suffix for path in files}
    count = Counter(map(str.casefold, plain.values()))
    result = []
    for path in files:
        target = plain[path] if count[plain[path].casefold()] == 1 else path + suffix
        inside = target.removeprefix(root.rstrip("/") + "/") if Place(root).is_url else os.path.relpath(target, root)
        target = _short_enough(os.path.join(output_dir, inside), suffix)
        result.append(Task(path, target, Place(target).stamp()))
    return result


def _short_enough(path: str, suffix: str) -> str:
    """Shorten a file name that is too long for file systems; it then ends in a hash of the full name."""
    folder, name = os.path.split(path)
    if len(os.fsencode(name)) <= _MAX_NAME:
        return path
    end = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{suffix}"
    stem = name.removesuffix(suffix)
    while len(os.fsencode(stem + end)) > _MAX_NAME:
        stem = stem[:-1]
    return os.path.join(folder, stem + end)
