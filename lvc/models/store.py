"""Models on disk: programs of integer layers in safetensors, with their names in the metadata.

A model is identified by its name and the SHA-256 of its file. The model of a `.lvz` is found by that hash, among the
installed models and in the folders of `LVC_MODELS`, and never by a path or an address from the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import CorruptError, UnsupportedError, UsageError
from ..installed import checkpoints

DEFAULT_NAME = "default"
T = TypeVar("T")
_MAX_HEADER = 4 * 1024 * 1024
_MAX_FILE = 64 * 1024 * 1024
MAX_NAME = 255
FAMILIES = "codec", "ae", "vae", "gan"
"""Families of models: lvc's own codec, whose files name no family, and auto-encoders, which torch runs."""


@dataclass(frozen=True)
class ModelFile:
    """A model that was found but not loaded."""

    path: Path
    sha256: bytes
    name: str
    family: str = FAMILIES[0]


def folders() -> list[Path]:
    """Folders with models: those of `LVC_MODELS`, the installation's, then the checkout's."""
    listed = [Path(p) for p in os.environ.get("LVC_MODELS", "").split(os.pathsep) if p]
    return [*(p for p in listed if p.is_dir()), *checkpoints()]


def default_model_path() -> Path:
    """The path of the default model. Raises `UnsupportedError` if this installation has none."""
    for folder in folders():
        path = folder / f"{DEFAULT_NAME}.safetensors"
        if path.is_file():
            return path
    raise UnsupportedError("no default model is installed — give one with --model")


def inspect(path: Path) -> ModelFile:
    """Read a model's name and hash its file. Raises `UsageError` (no such file), `CorruptError`, `UnsupportedError`."""
    return read(path)[0]


def read(path: Path) -> tuple[ModelFile, bytes]:
    """As `inspect`, with the file's content, which is what was hashed."""
    try:
        size = path.stat().st_size
        if size > _MAX_FILE:
            raise UnsupportedError(f"{path.name} is larger than any lvc model")
        data = path.read_bytes()
    except OSError as e:
        raise UsageError(f"the model {path} cannot be read ({e.strerror}) — check --model") from e
    return described(path, hashlib.sha256(data).digest(), data), data


def described(path: Path, sha256: bytes, data: bytes) -> ModelFile:
    """What a model's file with this hash and this content says of itself. Raises `CorruptError`, `UnsupportedError`."""
    said, _ = about_model(data, path.name)
    family = said.get("family", FAMILIES[0])
    if family not in FAMILIES:
        raise UnsupportedError(f"{path.name} is a model of the family {family!s:.20} — use a newer lvc")
    return ModelFile(path, sha256, said["name"], family)


def about_model(data: bytes, called: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the metadata `lvc.model` of a model's file, and the entries of its tensors. Only the name is validated.
    Raises `CorruptError`, `UnsupportedError`."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(_MAX_HEADER, len(data) - 8):
        raise CorruptError(f"{called} is not a safetensors file")
    try:
        entries = json.loads(data[8 : 8 + length])
        said: dict[str, Any] = json.loads(entries.pop("__metadata__")["lvc.model"])
        name = said["name"]
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise TypeError("its name is not valid")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise UnsupportedError(f"{called} is not an lvc model — lvc train makes models") from e
    return said, entries


def resolve(name: str | os.PathLike[str] | None) -> ModelFile:
    """Find a model by path, by the name of an installed one, or the default. Raises as `inspect`."""
    return inspect(path_of(name))


def path_of(name: str | os.PathLike[str] | None) -> Path:
    """Find the file that `resolve` describes."""
    if name is None:
        return default_model_path()
    path = Path(name)
    if path.suffix == ".safetensors" or path.exists():
        return path
    for folder in folders():
        if path.name == str(name) and (folder / f"{name}.safetensors").is_file():
            return folder / f"{name}.safetensors"
    raise UsageError(f"no such model: {name!s} — give a .safetensors file or an installed name")


def tuned(name: T | None, tune: str | None) -> T | str | None:
    """Return `name` if given, else the installed model for `tune`, if there is one."""
    if name is None and tune not in (None, "psnr") and any((f / f"{tune}.safetensors").is_file() for f in folders()):
        return tune
    return name


def find_model(model_id: str, sha256: bytes) -> Path:
    """Find the model of a `.lvz`. Raises `UnsupportedError` if it is not installed."""
    return find(model_id, sha256)[0]


def find(model_id: str, sha256: bytes) -> tuple[Path, bytes]:
    """Find the model of a `.lvz`, as `find_model` does, with the content of its file, which is what was hashed."""
    for folder in folders():
        for path in sorted(folder.glob("*.safetensors")):
            try:
                if path.stat().st_size <= _MAX_FILE and hashlib.sha256(data := path.read_bytes()).digest() == sha256:
                    return path, data
            except OSError:  # a dangling link, a folder, an unreadable file: not a candidate
                continue
    raise UnsupportedError(
        f"the model {model_id!r} ({sha256.hex()[:16]}) that made this file is not installed — "
        "put it in a folder named by LVC_MODELS"
    )
