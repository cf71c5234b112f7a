"""Stores finished points in a folder, so that an interrupted run continues and a repeated one takes no time.

The key of a point covers everything that it depends on: the clip's content, the codec with its settings and version,
the metrics and their code, the number of threads. For lvc that includes the model's hash and the code of the packages
that make a file. Anchors depend on neither, and are stored by CRF instead of the size to match, so they stay valid for
the next model.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from lvc.evaluation.pictures import name_of
from lvc.evaluation.point import Point
from lvc.output import publish

PACKAGE = Path(__file__).resolve().parent.parent
CODEC_ROOMS = ("lvz", "entropy", "media", "models", "codec", "files")
MEASURING = (  # figures depend on these; the other modules here plan and report
    "evaluation/anchors", "media/encoders", "media/ffmpeg", "evaluation/judge", "evaluation/metrics",
    "evaluation/perceptual", "evaluation/pictures", "evaluation/planes", "evaluation/rawfile", "evaluation/reference",
    "evaluation/source", "evaluation/timing", "evaluation/vvc", "evaluation/worker",
)  # fmt: skip


class Store:
    """`folder` is created if needed. Thread-safe; files in it are complete or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("points", "sizes", "pictures"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Point | None:
        """The point; `None` if it is missing, was stored by another version, or lacks a picture."""
        try:
            point = Point.restored(json.loads(self._file("points", key).read_text()))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        names = [*point.pictures.values(), *(name_of(point.original, frame) for frame in point.pictures)]
        return point if all(self.picture(name).exists() for name in names) else None

    def put(self, key: str, point: Point) -> None:
        _write(self._file("points", key), json.dumps(point.stored()))

    def sizes(self, key: str) -> dict[float, int]:
        """Known sizes of files by CRF."""
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
    """Hash of all code that determines what lvc writes and how fast, and that counts its operations."""
    files = sorted(path for room in CODEC_ROOMS for path in (package / room).rglob("*.py"))
    return _hash_of_code([*files, package / "evaluation" / "macs.py"])


@functools.cache
def hash_of_measuring(package: Path = PACKAGE) -> str:
    """Hash of all code that encodes with anchors, that measures, and that prepares measurements."""
    return _hash_of_code([package / f"{name}.py" for name in MEASURING])


def _hash_of_code(files: list[Path]) -> str:
    """Hash of what is executed: docstrings, comments and layout do not count."""
    trees = (_WithoutDocstrings().visit(ast.parse(path.read_bytes())) for path in files)
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def _write(path: Path, text: str) -> None:
    with publish(str(path), force=True) as unfinished:
        unfinished.write_text(text)
