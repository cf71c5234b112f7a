"""Writes safetensors files. Unlike the library, it gives the same bytes for the same content (the library orders
metadata at random), and takes element types that numpy lacks, as bit patterns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ELEMENTS = {
    "float64": "F64", "int64": "I64", "float32": "F32", "int32": "I32", "uint32": "U32",
    "bfloat16": "BF16", "float16": "F16", "int16": "I16", "uint16": "U16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int8": "I8", "uint8": "U8",
}  # fmt: skip


def header(entries: Iterable[tuple[str, str, tuple[int, ...], int]], text: Mapping[str, str]) -> bytes:
    """Return the header of a file of consecutive tensors (name, element type, shape, bytes) with `text` as metadata."""
    listing: dict[str, Any] = {"__metadata__": dict(sorted(text.items()))} if text else {}
    at = 0
    for name, element, shape, size in entries:
        ends = [at, at := at + size]
        listing[name] = {"dtype": ELEMENTS[element], "shape": list(shape), "data_offsets": ends}
    data = json.dumps(listing, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data


def save(path: str | Path, arrays: Mapping[str, tuple[str, npt.NDArray[Any]]], text: Mapping[str, str]) -> None:
    """Write a file. `arrays`: by name, the element type and the numbers, or their bit patterns. Wide types come first,
    so that every array is aligned to its item size."""
    ordered = sorted(arrays.items(), key=lambda item: (-item[1][1].itemsize, item[0]))
    with Path(path).open("wb") as file:
        file.write(header([(name, element, a.shape, a.nbytes) for name, (element, a) in ordered], text))
        for _, (_, array) in ordered:
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
