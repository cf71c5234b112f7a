"""One ANS stream (constriction's `AnsCoder`: 32-bit words, 64-bit state, 24-bit probabilities) over integer tables.

A table is a row of integer weights. constriction turns them into 24-bit probabilities using only additions and
multiplications of doubles, which IEEE 754 defines exactly, so that all machines agree. ANS (Duda 2013,
https://arxiv.org/abs/1311.2540) is a stack: `Encoder` collects symbols in reading order and `finish` encodes them in
reverse.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from ..errors import CorruptError, UsageError

IntArray = npt.NDArray[Any]


def make_table(weights: IntArray) -> Any:
    """Return the probability table of the symbols 0..n-1 from integer weights [n], n ≥ 2, all ≥ 0, with a sum > 0 and
    below 2**53. A symbol of weight 0 can still be written, at 24 bits."""
    return constriction.stream.model.Categorical(np.asarray(weights, np.float64), lazy=False, perfect=False)


_UNIFORM: dict[int, Any] = {}


def uniform(size: int) -> Any:
    """Return the table of `size` equally likely symbols, 2 ≤ size ≤ 2**16."""
    if size not in _UNIFORM:
        _UNIFORM[size] = constriction.stream.model.Uniform(size)
    return _UNIFORM[size]


BINARY = constriction.stream.model.Bernoulli(perfect=False)
"""Family of tables for the symbols 0 and 1, by the probability of 1: a multiple of 2**-24 between 0 and 1."""
TABLES = constriction.stream.model.Categorical(lazy=False, perfect=False)
"""Family of tables by a row of weights each, as in `make_table`."""
UNIFORM = constriction.stream.model.Uniform()
"""Family of tables by their size, as in `uniform`."""


class Encoder:
    """Collects arrays of symbols with their tables, and encodes them at the end."""

    def __init__(self) -> None:
        self._parts: list[tuple[Any, ...]] = []

    def put(self, symbols: IntArray, table: Any, *each: IntArray) -> None:
        """Add symbols.

        Args:
            symbols: Any integer array; flattened in C order.
            table: A table for all symbols, or a family of tables.
            each: The parameters of the family, one for each symbol.
        """
        if symbols.size:
            self._parts.append((np.ascontiguousarray(symbols, np.int32).reshape(-1), table, *each))

    def finish(self) -> bytes:
        """Return the stream, little-endian 32-bit words. Raises `UsageError` for a symbol that its table lacks."""
        coder = constriction.stream.stack.AnsCoder()
        try:
            for part in reversed(self._parts):
                coder.encode_reverse(*part)
        except KeyError as e:
            raise UsageError("a value is outside the range of the entropy coder") from e
        return np.asarray(coder.get_compressed()).astype("<u4").tobytes()


class Decoder:
    """Decodes a stream of `Encoder`. Check its CRC first: damaged ANS streams decode to plausible symbols."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise CorruptError("an entropy-coded clip is not a whole number of words")
        try:
            self._coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))
        except Exception as e:  # constriction documents no exception types
            raise CorruptError("an entropy-coded clip has an invalid start") from e

    def get(self, count: int, table: Any, *each: IntArray) -> IntArray:
        """Read `count` symbols, int32 [count]; `each` as for `Encoder.put`. Raises `CorruptError`."""
        if not count:
            return np.zeros(0, np.int32)
        try:
            return np.asarray(self._coder.decode(table, *(each or (count,))))
        except Exception as e:
            raise CorruptError("an entropy-coded clip cannot be decoded") from e

    def finish(self) -> None:
        """Raise `CorruptError` unless everything has been read."""
        if not self._coder.is_empty():
            raise CorruptError("an entropy-coded clip has data left after its last frame")


class Coding:
    """An encoder or decoder behind one interface, so that the same code serves both directions."""

    def __init__(self, stream: Encoder | Decoder) -> None:
        self.encoder = stream if isinstance(stream, Encoder) else None
        self.decoder = stream if isinstance(stream, Decoder) else None

    def code(self, symbols: IntArray | None, count: int, table: Any, *each: IntArray) -> IntArray:
        """Write `symbols` [count], or read them (`symbols` is None). Returns the symbols."""
        if self.decoder is not None:
            return self.decoder.get(count, table, *each)
        if self.encoder is None or symbols is None:
            raise TypeError("writing needs symbols")
        self.encoder.put(symbols, table, *each)
        return symbols
