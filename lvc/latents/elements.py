"""Element types of tensors without torch: bfloat16 and float8 numbers as bit patterns, and safetensors files of them.
Rounding is to nearest, ties to even, as in torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lvc.engine import safetensors_file

Array = npt.NDArray[Any]

NUMPY = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
"""Types that numpy has; arrays of other types hold unsigned integers."""


class Tensor(NamedTuple):
    """`array`: numbers, or bit patterns of an `element` that numpy does not have."""

    element: str
    array: Array

    def widened(self) -> Array:
        """Convert to a numpy type, without loss."""
        if self.element == "bfloat16":
            return (self.array.astype(np.uint32) << 16).view(np.float32)
        if self.element == "float8_e5m2":
            return (self.array.astype(np.uint16) << 8).view(np.float16)
        return _float8()[self.array] if self.element == "float8_e4m3fn" else self.array


def narrowed(values: Array, element: str) -> Array:
    """float32 → bfloat16 bit patterns (uint16), float16 or float32."""
    if element != "bfloat16":
        with np.errstate(over="ignore"):
            return values.astype(NUMPY[element])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def packed_from(tensor: Tensor, element: str, *, exact: bool) -> Tensor:
    """Convert a tensor that a `.lvz` holds as float16 or float32 back to its original type. If values are not `exact`,
    some may exceed float8's largest number; they are clamped and stay finite."""
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
    """Return the float8_e4m3fn numbers as float16 [256]."""
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
    # as torch does with numbers beyond the largest, which no file has: NaN
    pattern = np.where(np.isnan(size) | (size > 464), 127, below + halfway)
    signed: Array = (pattern | np.signbit(values) << 7).astype(np.uint8)
    return signed


def save_tensors(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
    """Write a safetensors file."""
    safetensors_file.save(path, {name: (t.element, t.array) for name, t in tensors.items()}, text)
