"""Models on disk: programs of integer layers in safetensors, with their names in the metadata.

A model is identified by its name and the SHA-256 of its file. The model of a `.lvz` is found by that hash, among the
installed models and in the folders of `LVC_MODELS`, and never by a path or an address from the file. A delta (`delta`)
stands for the file that it makes of its base.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
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
MAX_DELTA = 100_000
"""Bytes of a delta's file."""
DELTA_VERSION = 1
FAMILIES = "codec", "ae", "vae", "gan"
"""Families of models: lvc's own codec, whose files name no family, and auto-encoders, which torch runs."""


@dataclass(frozen=True)
class ModelFile:
    """A model that was found but not loaded. `path`: its file, or a delta that makes it of the model with the SHA-256
    `base`; `sha256` is then what the delta declares."""

    path: Path
    sha256: bytes
    name: str
    family: str = FAMILIES[0]
    base: bytes | None = None


@dataclass(frozen=True)
class About:
    """What a delta's file declares: SHA-256 of the base's file, and of the file that it makes."""

    base: bytes
    makes: bytes


def about_delta(said: Mapping[str, Any], called: str) -> About | None:
    """Return what a model's file, by its metadata `lvc.model`, declares as a delta. None: it is a whole model. Raises
    `CorruptError`, `UnsupportedError`."""
    if "delta" not in said:
        return None
    try:
        delta = said["delta"]
        if delta["version"] != DELTA_VERSION:
            raise UnsupportedError(f"{called} is a delta of version {delta['version']!s:.20} — use a newer lvc")
        if not all(re.fullmatch("[0-9a-f]{64}", delta[name]) for name in ("base", "makes")):
            raise ValueError("no SHA-256")
    except (KeyError, TypeError, ValueError) as e:
        raise CorruptError(f"{called} is a damaged delta: it does not say what it applies to") from e
    return About(bytes.fromhex(delta["base"]), bytes.fromhex(delta["makes"]))


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
    if (delta := about_delta(said, path.name)) is not None:
        return ModelFile(path, delta.makes, said["name"], family, delta.base)
    return ModelFile(path, sha256, said["name"], family)


def contents(file: ModelFile, data: bytes | None = None) -> bytes:
    """Return the bytes of a model's file, or of the one that a delta makes of its base. `data`: those on disk, where
    they were read already. Raises `UnsupportedError` if the base is not installed, `CorruptError`, `LimitError`,
    `OSError`."""
    data = file.path.read_bytes() if data is None else data
    if file.base is None:
        return data
    from .delta import applied  # not without need: numpy

    return applied(data, base_of(file), file.path.name)


def base_of(file: ModelFile) -> bytes:
    """The bytes of the file that a delta applies to. Raises `UnsupportedError` if it is not here, `OSError`."""
    assert file.base is not None
    for path in _files():
        data = _small_enough(path)
        if data is not None and hashlib.sha256(data).digest() == file.base:
            return data
    raise UnsupportedError(
        f"{file.path.name} is a delta to the model with SHA-256 {file.base.hex()[:16]}…, which is not installed — "
        "put that model in a folder named by LVC_MODELS"
    )


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
    """Find the file of the model that a `.lvz` names, or the delta that makes it. Raises as `find`."""
    return find(model_id, sha256)[0].path


def find(model_id: str, sha256: bytes) -> tuple[ModelFile, bytes]:
    """Find the model of a `.lvz`, with its content, which is what was hashed. Raises `UnsupportedError` if it, or the
    base of the delta that makes it, is not installed, `CorruptError`, `LimitError`."""
    for path in _files():
        data = _small_enough(path)
        if data is None:
            continue
        if hashlib.sha256(data).digest() == sha256:
            return described(path, sha256, data), data
        if len(data) <= MAX_DELTA and _made_by(data, path.name) == sha256:
            file = described(path, sha256, data)
            return file, contents(file, data)
    raise UnsupportedError(
        f"the model {model_id!r} ({sha256.hex()[:16]}) that made this file is not installed — "
        "put it in a folder named by LVC_MODELS"
    )


def _files() -> Iterator[Path]:
    for folder in folders():
        yield from sorted(folder.glob("*.safetensors"))


def _small_enough(path: Path) -> bytes | None:
    """The content of what might be a model. None: a dangling link, a folder, an unreadable or a large file."""
    try:
        return path.read_bytes() if path.stat().st_size <= _MAX_FILE else None
    except OSError:
        return None


def _made_by(data: bytes, called: str) -> bytes | None:
    """What a delta makes; None: the file is none."""
    try:
        delta = about_delta(about_model(data, called)[0], called)
    except (CorruptError, UnsupportedError):
        return None
    return None if delta is None else delta.makes
