"""Exact files: floats as a coarse step, predicted from neighbours, and a remainder (`formats/lvz.md`, 5.6 and 8.4)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.entropy.coder import Coding, make_table, uniform

IntArray = npt.NDArray[Any]

LARGEST = 32766
WIDTH = {"bfloat16": 16, "float16": 16, "float32": 32}
FRACTION = {"bfloat16": 7, "float16": 10, "float32": 23}
REST_PLANES = {"bfloat16": 2, "float16": 2, "float32": 4}


@lru_cache(maxsize=8)
def bases(element: str, exponent: int) -> IntArray:
    """Return base(k) for k = 0..32766 and the end of all bit patterns, int64 `[32768]`."""
    wanted = np.arange(LARGEST + 1, dtype=np.float64) * 2.0**exponent
    with np.errstate(over="ignore", under="ignore"):
        if element == "float16":
            near = wanted.astype(np.float16)
            patterns = near.view(np.uint16).astype(np.int64) + (near.astype(np.float64) < wanted)
        else:
            single = wanted.astype(np.float32)
            patterns = single.view(np.uint32).astype(np.int64) + (single.astype(np.float64) < wanted)
            if element == "bfloat16":
                patterns = -(-patterns >> 16)
    return np.append(patterns, 1 << (WIDTH[element] - 1))


def split(patterns: IntArray, element: str, exponent: int) -> list[IntArray]:
    """Bit patterns, unsigned, any shape → `whole` (int16) and the bytes of `rest` (int8), lowest first."""
    width = WIDTH[element]
    wide = patterns.astype(np.int64)
    size = wide & ((1 << (width - 1)) - 1)
    base = bases(element, exponent)
    step = np.searchsorted(base[:-1], size, side="right") - 1
    rest = size - base[step]
    whole = np.where(wide >> (width - 1), -1 - step, step).astype(np.int16)
    return [whole, *((rest >> (8 * i)).astype(np.uint8).view(np.int8) for i in range(REST_PLANES[element]))]


def join(planes: list[IntArray], element: str, exponent: int) -> IntArray:
    """The inverse of `split`; uint16 or uint32."""
    width = WIDTH[element]
    whole = planes[0].astype(np.int64)
    step = np.minimum(np.where(whole < 0, -1 - whole, whole), LARGEST)
    rest = sum(plane.view(np.uint8).astype(np.int64) << (8 * i) for i, plane in enumerate(planes[1:]))
    size = (bases(element, exponent)[step] + rest) & ((1 << (width - 1)) - 1)
    return (size | (whole < 0).astype(np.int64) << (width - 1)).astype(np.uint16 if width == 16 else np.uint32)


def code_rest(coding: Coding, element: str, exponent: int, whole: IntArray, rest: IntArray | None) -> IntArray:
    """Write `rest` int64 `[n]`, or read it (None), given `whole` `[n]`."""
    base, fraction = bases(element, exponent), FRACTION[element]
    step = np.minimum(np.where(whole < 0, -1 - whole, whole), LARGEST)
    count = base[step + 1] - base[step]
    found = np.zeros(len(step), np.int64)
    small = np.flatnonzero(step == 0)
    exponents = int(base[1]) >> fraction
    if exponents and small.size:
        table = make_table(np.maximum(1, (1 << 20) >> np.minimum(np.arange(max(2, exponents)), 30)))
        given = None if rest is None else exponents - 1 - (rest[small] >> fraction)
        symbols = coding.code(given, small.size, table).astype(np.int64)
        found[small] = np.maximum(exponents - 1 - symbols, 0) << fraction
        count[small] = 1 << fraction
    bits = np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64)
    for number in np.unique(bits[bits > 0]).tolist():
        at = np.flatnonzero(bits == number)
        low = min(number, 16)
        given = None if rest is None else rest[at] & ((1 << low) - 1)
        found[at] += coding.code(given, at.size, uniform(1 << low)).astype(np.int64)
        if number > 16:
            given = None if rest is None else (rest[at] >> 16) & ((1 << (number - 16)) - 1)
            found[at] += coding.code(given, at.size, uniform(1 << (number - 16))).astype(np.int64) << 16
    return found
