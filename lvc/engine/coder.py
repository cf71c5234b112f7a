"""Entropy-coded streams in the compiled engine (rans.h)."""

from __future__ import annotations

import ctypes

import numpy as np

from ..errors import CorruptError
from .library import address, library


def _functions() -> ctypes.CDLL:
    found = library()
    for name in ("lvc_rans_reader", "lvc_rans_writer"):
        getattr(found, name).restype = ctypes.c_void_p
    for name in ("lvc_rans_room", "lvc_rans_finish"):
        getattr(found, name).restype = ctypes.c_int64
    found.lvc_rans_bits.restype = ctypes.c_double
    return found


class Coder:
    """An entropy-coded stream that the engine's functions read from (`data`), or write to."""

    def __init__(self, data: bytes | None = None) -> None:
        self._c = _functions()
        self._data = None if data is None else np.frombuffer(data, np.uint8)
        if self._data is None:
            self.pointer = ctypes.c_void_p(self._c.lvc_rans_writer())
        else:
            size = ctypes.c_int64(self._data.size)
            self.pointer = ctypes.c_void_p(self._c.lvc_rans_reader(address(self._data), size))
        if not self.pointer.value:
            raise MemoryError("no memory for an entropy-coded stream")

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._c.lvc_rans_free(self.pointer)

    @property
    def reading(self) -> bool:
        return self._data is not None

    def append(self, other: Coder) -> None:
        """Write what another writer has written."""
        self._c.lvc_rans_append(self.pointer, other.pointer)

    def bits(self) -> float:
        """Of a writer: how many were written so far."""
        return float(self._c.lvc_rans_bits(self.pointer))

    def finish(self) -> bytes:
        """What was written. For a reader: raises `CorruptError` unless everything was read, and nothing but it."""
        if self.reading:
            if not self._c.lvc_rans_whole(self.pointer):
                raise CorruptError("an entropy-coded stream is damaged")
            return b""
        out = np.empty(self._c.lvc_rans_room(self.pointer), np.uint8)
        size = int(self._c.lvc_rans_finish(self.pointer, address(out)))
        if not size:
            raise MemoryError("no memory for an entropy-coded stream")
        return out[:size].tobytes()
