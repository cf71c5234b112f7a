"""Element types of tensors without torch: numbers of bfloat16 and float8 as their bit patterns, and safetensors files
of them. What is between two numbers of a type goes to the nearest, half-way to the even one, as torch does it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NUMPY = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
"""Types that numpy has; arrays of the others are unsigned integers."""
_SAFETENSORS = {
    "bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "uint8": "U8", "int16": "I16", "int64": "I64",
}  # fmt: skip


class Tensor(NamedTuple):
    """`array`: numbers, or bit patterns of an `element` that numpy does not have."""

    element: str
    array: Array

    def widened(self) -> Array:
        """In a type of numpy's, without any loss."""
        if self.element == "bfloat16":
            return (self.array.astype(np.uint32) << 16).view(np.float32)
        if self.element == "float8_e5m2":
            return (self.array.astype(np.uint16) << 8).view(np.float16)
        return _float8()[self.array] if self.element == "float8_e4m3fn" else self.array


def narrowed(values: Array, element: str) -> Array:
    """float32 → bfloat16's patterns uint16, float16 or float32."""
    if element != "bfloat16":
        with np.errstate(over="ignore"):
            return values.astype(NUMPY[element])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def packed_from(tensor: Tensor, element: str, *, exact: bool) -> Tensor:
    """A tensor that went into a `.lvz` as float16 or float32 in the type that it had before. Values that are not
    `exact` may have been moved beyond float8's largest number: they stay finite."""
    if element == "float64":
        return Tensor(element, tensor.widened().astype(np.float64))
    values = tensor.widened().astype(np.float32)
    if element == "float8_e5m2":
        if not exact:
            values = values.clip(-57344, 57344)
        bits = values.astype(np.float16).view(np.uint16)
        patterns = ((bits.astype(np.uint32) + (0x7F + ((bits >> 8) & 1))) >> 8).astype(np.uint8)
        return Tensor(element, np.where(np.isnan(values), (bits >> 8).astype(np.uint8) | np.uint8(0x03), patterns))
    if not exact:
        values = values.clip(-448, 448)
    return Tensor(element, _to_float8(values))


@cache
def _float8() -> Array:
    """float16 [256]: the numbers of float8_e4m3fn."""
    bits = np.arange(128)
    exponent, fraction = bits >> 3, bits & 7
    sizes = np.where(exponent == 0, fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7.0))
    sizes[127] = np.nan
    return np.concatenate([sizes, -sizes]).astype(np.float16)


def _to_float8(values: Array) -> Array:
    sizes = _float8()[:127].astype(np.float32)
    between = (sizes[1:] + sizes[:-1]) / 2
    size = np.abs(values)
    below = np.searchsorted(between, size, side="left")
    halfway = (below < 126) & (size == between[np.minimum(below, 125)]) & (below % 2 == 1)
    # what torch does with numbers beyond the largest one, which no file has: they are none
    pattern = np.where(np.isnan(size) | (size > 464), 127, below + halfway)
    return (pattern | np.signbit(values) << 7).astype(np.uint8)


def safetensors_header(entries: Iterable[tuple[str, str, tuple[int, ...], int]], text: dict[str, str]) -> bytes:
    """The first bytes of a file of (name, element, shape, bytes), one after the other, with `text` as metadata."""
    header: dict[str, Any] = {"__metadata__": text} if text else {}
    at = 0
    for name, element, shape, size in entries:
        ends = [at, at := at + size]
        header[name] = {"dtype": _SAFETENSORS[element], "shape": list(shape), "data_offsets": ends}
    data = json.dumps(header).encode()
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data


def save_tensors(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
    """A safetensors file. Wide types come first, so that each tensor begins at a multiple of its item's size."""
    ordered = sorted(tensors.items(), key=lambda item: -item[1].array.itemsize)
    entries = [(name, t.element, t.array.shape, t.array.nbytes) for name, t in ordered]
    with path.open("wb") as file:
        file.write(safetensors_header(entries, text))
        for _, tensor in ordered:
            array = np.ascontiguousarray(tensor.array)
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
