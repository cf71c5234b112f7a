"""Stores finished points in a folder, so that an interrupted run continues and a repeated one takes no time.

A point is found again by everything that it depends on: the clip's content, the codec with its settings and version,
what was measured by which code, the number of threads. For lvc that includes the model's hash and the code of the
rooms that make a file. Anchors depend on neither, and are stored by their CRF and not by the size that they were to
meet: they stay valid for the next model.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lvc.evaluation.pictures import name_of
from lvc.evaluation.point import Point

PACKAGE = Path(__file__).resolve().parent.parent
CODEC_ROOMS = ("lvz", "entropy", "media", "models", "codec", "files")
MEASURING = (  # what figures depend on; the other modules of this room plan them and tell of them
    "evaluation/anchors", "media/encoders", "media/ffmpeg", "evaluation/judge", "evaluation/metrics",
    "evaluation/perceptual", "evaluation/pictures", "evaluation/planes", "evaluation/rawfile", "evaluation/reference",
    "evaluation/source", "evaluation/timing", "evaluation/vvc", "evaluation/worker",
)  # fmt: skip


class Store:
    """`folder` is made if it is not there. Safe to use from several threads; a file in it is whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("points", "sizes", "pictures"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Point | None:
        """None for what is not there, was stored by another version, or has lost a picture."""
        try:
            point = Point.restored(json.loads(self._file("points", key).read_text()))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        names = [*point.pictures.values(), *(name_of(point.original, frame) for frame in point.pictures)]
        return point if all(self.picture(name).exists() for name in names) else None

    def put(self, key: str, point: Point) -> None:
        _write(self._file("points", key), json.dumps(point.stored()))

    def sizes(self, key: str) -> dict[float, int]:
        """Sizes of files by CRF, as far as they are known."""
        try:
            return {float(crf): size for crf, size in json.loads(self._file("sizes", key).read_text()).items()}
        except (OSError, ValueError):
            return {}

    def add_size(self, key: str, crf: float, size: int) -> None:
        _write(self._file("sizes", key), json.dumps(self.sizes(key) | {crf: size}))

    def picture(self, name: str) -> Path:
        return self.folder / "pictures" / name

    def _file(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.json"


def key_of(**what: Any) -> str:
    """A name for these values, the same in every process."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:32]


def hash_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def hash_of_codec(package: Path = PACKAGE) -> str:
    """Of all code that decides what lvc writes and how fast, and that counts what its networks do."""
    files = sorted(path for room in CODEC_ROOMS for path in (package / room).rglob("*.py"))
    return _hash_of_code([*files, package / "evaluation" / "macs.py"])


@functools.cache
def hash_of_measuring(package: Path = PACKAGE) -> str:
    """Of all code that encodes with anchors, that measures, and that prepares what is measured."""
    return _hash_of_code([package / f"{name}.py" for name in MEASURING])


def _hash_of_code(files: list[Path]) -> str:
    """Of what is executed: comments and layout do not count."""
    return hashlib.sha256("".join(ast.dump(ast.parse(path.read_bytes())) for path in files).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    temporary.write_text(text)
    os.replace(temporary, path)
