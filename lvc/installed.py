"""Where the files lie that come with lvc: in `checkpoints/`, inside the package or beside it in a source checkout."""

from __future__ import annotations

from pathlib import Path

from lvc.errors import UnsupportedError

_PACKAGE = Path(__file__).resolve().parent


def checkpoints() -> list[Path]:
    """The folders of models that come with lvc, as far as they are there."""
    return [p for p in (_PACKAGE / "checkpoints", _PACKAGE.parent / "checkpoints") if p.is_dir()]


def checkpoint(name: str) -> Path:
    """A file that comes with lvc. Raises `UnsupportedError` if this installation lacks it."""
    for folder in checkpoints():
        if (folder / name).is_file():
            return folder / name
    raise UnsupportedError(f"checkpoints/{name} is missing — reinstall lvc")
