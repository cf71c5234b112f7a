"""Python access to the compiled rANS coder: codes lists of flags, raw bits and symbols, for tests and tools."""

from __future__ import annotations

import ctypes

import numpy as np

from ..errors import CorruptError, UsageError
from .library import address, library

FLAG, RAW, SYMBOL, GOLOMB = range(4)
"""Kinds of coded values. Their arguments: a context, a number of bits, a table, an order."""


def make_tables(frequencies: list[list[int]]) -> np.ndarray:
    """Return tables in C's form from rows of frequencies. Raises `UsageError` unless each row sums to 65536."""
    size = int(library().lvc_rans_table_size())
    out = np.zeros((max(len(frequencies), 1), size), np.uint8)
    for row, wanted in zip(out, frequencies, strict=False):
        given = np.array(wanted, np.uint32)
        if not library().lvc_rans_table_make(address(row), address(given), len(given)):
            raise UsageError("a table's frequencies are not 1..65536 with the sum 65536")
    return out


def write(ops: np.ndarray, values: np.ndarray, contexts: np.ndarray, tables: np.ndarray) -> bytes:
    """Encode values.

    Args:
        ops: int32 [n,2], the kind and argument of each value.
        values: int32 [n].
        contexts: uint16 [c,3]; adapted in place.
        tables: From `make_tables`.
    """
    out = np.empty(4 + 6 * len(values), np.uint8)
    return out[: _script(0, out, ops, values, contexts, tables)].tobytes()


def read(data: bytes, ops: np.ndarray, contexts: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Decode values, int32 [n]; arguments as for `write`. Raises `CorruptError` unless they are the whole stream."""
    values = np.zeros(len(ops), np.int32)
    _script(1, np.frombuffer(data, np.uint8), ops, values, contexts, tables)
    return values


def _script(
    reading: int, data: np.ndarray, ops: np.ndarray, values: np.ndarray, contexts: np.ndarray, tables: np.ndarray
) -> int:
    for array, kind in ((ops, np.int32), (values, np.int32), (contexts, np.uint16), (tables, np.uint8)):
        if array.dtype != kind:
            raise ValueError(f"an array is {array.dtype}, not {kind}")
    function = library().lvc_rans_script
    function.restype = ctypes.c_int64
    count = ctypes.c_int64
    done = int(
        function(
            reading, address(data), count(data.size), address(ops), address(values), count(len(values)),
            address(contexts), address(tables),
        )
    )  # fmt: skip
    if done == -2:
        raise CorruptError("an entropy-coded stream is damaged")
    if done < 0:
        raise MemoryError("no memory for an entropy-coded stream")
    return done
