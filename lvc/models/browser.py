"""What a page needs to play a `.lvz`: the player's modules, and models without the encoder's programs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptError, UsageError
from .store import contents, inspect

PROGRAMS = "key", "predicted"
"""Programs of decoding; the others are for encoding."""
_TYPES = {"I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4"}


def player_folder() -> Path:
    """The folder of `lvz-player.js` in this installation or checkout. Raises `UsageError`."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "player", package.parent / "packages" / "lvz-player" / "src"):
        if (folder / "lvz-player.js").is_file():
            return folder
    raise UsageError("the player for browsers is missing — install lvc again")


def decoder_only(path: Path) -> bytes:
    """Convert a model's file for the player: a gzip stream of a safetensors file with only the programs of decoding,
    deterministic, to be served under the SHA-256 of the whole file. Its metadata have `lvc.packed`: rows of biases by
    level are stored as differences to the row before, modulo 2^32, in planes of bytes, lowest first. Biases change
    little from level to level, so this takes a third of the bytes. Of a delta, converts the model that it makes. Raises
    `CorruptError`, `LimitError`, `UnsupportedError`, or `OSError`."""
    data = contents(inspect(path))
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        about = header.pop("__metadata__")
        said = json.loads(about["lvc.programs"])
        said["programs"] = {name: said["programs"][name] for name in PROGRAMS}
        kept = {name: entry for name, entry in header.items() if name.split("/")[0] in (*PROGRAMS, "tables", "laps")}
        metadata = {"lvc.model": about["lvc.model"], "lvc.packed": "1"}
        metadata["lvc.programs"] = json.dumps(said, separators=(",", ":"))
        return _file(metadata, kept, data[8 + length :])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise CorruptError(f"{path.name} is not a model of a video codec") from e


def _file(metadata: Mapping[str, str], arrays: Mapping[str, Mapping[str, Any]], data: bytes) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, at = [], 0
    for name in sorted(arrays):
        entry = arrays[name]
        start, end = entry["data_offsets"]
        dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
        array = np.frombuffer(data[start:end], dtype).reshape(shape)
        if name.endswith("/bias") and len(shape) == 2 and shape[0] > 1:
            part = np.diff(array.astype(np.int64), axis=0, prepend=0).astype("<i4")
            parts.append(part.reshape(-1, 1).view(np.uint8).T.tobytes())
        else:
            parts.append(array.tobytes())
        header[name] = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    head = json.dumps(header, separators=(",", ":")).encode()
    return gzip.compress(len(head).to_bytes(8, "little") + head + b"".join(parts), 9, mtime=0)
