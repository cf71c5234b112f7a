"""Deltas: small files that make an adapted model of another one, the base (`formats/decoder.md`, section 8).

A delta changes biases of the base by whole numbers, in place. The file that results is a model like any other: its
SHA-256, which the delta declares, is the model's in every `.lvz`. Delta and base are untrusted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import safetensors_file
from ..errors import CorruptError, LimitError, UnsupportedError
from .store import DELTA_VERSION, MAX_DELTA, about_delta

QUARTERS = 2
"""Biases change by multiples of a quarter of what the layer's output counts, where its shift has room for that."""
BIAS_MAX = 2**31 - 1
_TYPES = {"U8": "u1", "I16": "<i2", "I32": "<i4"}
Changes = Mapping[str, np.ndarray]
"""int16 [outputs], by the name of an array of biases in the base's file."""


def applied(delta: bytes, base: bytes, called: str) -> bytes:
    """Return the file of the adapted model.

    Args:
        delta: The delta's file.
        base: The file of the model that it applies to.
        called: The delta's name, for messages.

    Raises:
        LimitError: The delta is larger than `MAX_DELTA`.
        UnsupportedError: `base` is another model than the delta's.
        CorruptError: The delta is damaged, does not fit the base, or does not make what it declares.
    """
    if len(delta) > MAX_DELTA:
        raise LimitError(f"{called} is a delta of {len(delta)} bytes — the limit is {MAX_DELTA}")
    try:
        entries, start = _header(delta)
        about = about_delta(json.loads(entries.pop("__metadata__")["lvc.model"]), called)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise CorruptError(f"{called} is a damaged delta") from e
    if about is None:
        raise CorruptError(f"{called} is not a delta")
    if hashlib.sha256(base).digest() != about.base:
        raise UnsupportedError(f"{called} applies to another model than the one given")
    made = changed(base, {name: _array(delta, start, entry, name, called) for name, entry in entries.items()}, called)
    if hashlib.sha256(made).digest() != about.makes:
        raise CorruptError(f"{called} is a damaged delta: it does not make the model that it declares")
    return made


def changed(base: bytes, changes: Changes, called: str) -> bytes:
    """Return a copy of a model's file with changed biases. Raises `CorruptError` where they do not fit, or where the
    model is damaged."""
    out = np.frombuffer(base, np.uint8).copy()
    try:
        entries, start = _header(base)
        for name, change in changes.items():
            whole = _of(out, start, entries[name], "I32")
            shift = _of(out, start, entries[name.removesuffix("bias") + "shift"], "U8").astype(np.int64)
            if whole.ndim != 2 or not whole.shape[1:] == shift.shape == change.shape:
                raise ValueError("another shape")
            moved = whole + (change.astype(np.int64) << np.clip(shift - QUARTERS, 0, 24))
            whole[...] = np.clip(moved, -BIAS_MAX, BIAS_MAX)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise CorruptError(f"{called} does not fit its base: other arrays or shapes") from e
    return out.tobytes()


def _of(file: np.ndarray, start: int, entry: Mapping[str, Any], kind: str) -> np.ndarray:
    """A view of an array of a model's file."""
    if entry["dtype"] != kind:
        raise ValueError("another type")
    first, last = (start + end for end in entry["data_offsets"])
    found: np.ndarray = file[first:last].view(_TYPES[kind]).reshape(entry["shape"])
    return found


def write_delta(path: Path, name: str, base: bytes, changes: Changes, more: Mapping[str, Any]) -> bytes:
    """Write a delta's file; arrays of zeros are left out. `more`: what else it says of itself. Returns the adapted
    model's file. Raises `ValueError` where the file would be too large."""
    kept = {name: np.ascontiguousarray(a) for name, a in changes.items() if a.any()}
    made = changed(base, kept, name)
    delta = {
        "version": DELTA_VERSION,
        "base": hashlib.sha256(base).hexdigest(),
        "makes": hashlib.sha256(made).hexdigest(),
    }
    said = json.dumps({"name": name, "delta": delta, **more})
    part = path.with_name(path.name + ".part")
    safetensors_file.save(part, {n: (a.dtype.name, a) for n, a in kept.items()}, {"lvc.model": said})
    if part.stat().st_size > MAX_DELTA:
        part.unlink()
        raise ValueError("a delta is too large")
    os.replace(part, path)
    return made


def _header(file: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file[:8], "little")
    entries: dict[str, Any] = json.loads(file[8 : 8 + length])
    return entries, 8 + length


def _array(delta: bytes, start: int, entry: Any, name: str, called: str) -> np.ndarray:
    """One of a delta's arrays, checked. Raises `CorruptError`."""
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        (count,) = shape
        if kind != "I16" or not name.endswith("/bias") or not all(type(n) is int for n in (count, first, last)):
            raise ValueError("no biases")
        if not 0 <= first <= last <= len(delta) - start:
            raise ValueError("outside the file")
        array = np.frombuffer(delta[start + first : start + last], _TYPES[kind])
        if len(array) != count:
            raise ValueError("of another size")
    except (KeyError, TypeError, ValueError) as e:
        raise CorruptError(f"{called} is a damaged delta: the array {name!r:.80}") from e
    return array
