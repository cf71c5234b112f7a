"""Entropy-coded streams: coded by the compiled engine (rans.h), or by Python when the numpy engine is in use."""

from __future__ import annotations

import ctypes
import math

import numpy as np

from ..errors import CorruptError
from .library import address, compiled
from .rans_reference import ONE, Reader, Writer


def _declared(c: ctypes.CDLL) -> ctypes.CDLL:
    for name in ("lvc_rans_reader", "lvc_rans_writer"):
        getattr(c, name).restype = ctypes.c_void_p
    for name in ("lvc_rans_room", "lvc_rans_finish"):
        getattr(c, name).restype = ctypes.c_int64
    c.lvc_rans_bits.restype = ctypes.c_double
    return c


class Coder:
    """An entropy-coded stream: a reader of `data` if that is given, else a writer."""

    def __init__(self, data: bytes | None = None) -> None:
        self.reading = data is not None
        self.python: Writer | Reader | None = None
        """The Python stream. `None` with the compiled engine, whose stream `pointer` refers to."""
        if (c := compiled()) is None:
            self.python = Writer() if data is None else Reader(data)
            return
        self._c = _declared(c)
        if data is None:
            self.pointer = ctypes.c_void_p(self._c.lvc_rans_writer())
        else:
            self._data = np.frombuffer(data, np.uint8)
            size = ctypes.c_int64(self._data.size)
            self.pointer = ctypes.c_void_p(self._c.lvc_rans_reader(address(self._data), size))
        if not self.pointer.value:
            raise MemoryError("no memory for an entropy-coded stream")

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._c.lvc_rans_free(self.pointer)

    def append(self, other: Coder) -> None:
        """Append everything that the writer `other` has written."""
        if isinstance(self.python, Writer) and isinstance(other.python, Writer):
            self.python.pieces += other.python.pieces
        else:
            self._c.lvc_rans_append(self.pointer, other.pointer)

    def bits(self) -> float:
        """Return the number of bits written so far. Writers only."""
        if isinstance(self.python, Writer):
            return sum(math.log2(ONE / frequency) for _, frequency in self.python.pieces)
        return float(self._c.lvc_rans_bits(self.pointer))

    def finish(self) -> bytes:
        """End the stream.

        Returns:
            The bytes of a writer; `b""` for a reader.

        Raises:
            CorruptError: A reader has not consumed exactly the whole stream.
        """
        if isinstance(self.python, Writer):
            return self.python.finish()
        if self.reading:
            whole = self._c.lvc_rans_whole(self.pointer) if self.python is None else self.python.whole()
            if not whole:
                raise CorruptError("an entropy-coded stream is damaged")
            return b""
        out = np.empty(self._c.lvc_rans_room(self.pointer), np.uint8)
        size = int(self._c.lvc_rans_finish(self.pointer, address(out)))
        if not size:
            raise MemoryError("no memory for an entropy-coded stream")
        return out[:size].tobytes()
