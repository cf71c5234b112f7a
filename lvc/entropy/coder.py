"""One ANS stream (constriction's `AnsCoder`: 32-bit words, 64-bit state, 24-bit probabilities) over integer tables.

A table is a row of integer weights; constriction turns them into 24-bit probabilities with additions and
multiplications of doubles only, which IEEE 754 fixes, so that every machine gets the same. ANS is a stack: `Encoder`
gathers what is to be written in reading order and hands it over backwards, in `finish`.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from ..errors import CorruptError, UsageError

IntArray = npt.NDArray[Any]


def make_table(weights: IntArray) -> Any:
    """Integer weights [n], n ≥ 2, all ≥ 0, sum > 0 and below 2**53 → a probability table of the symbols 0..n-1.
    Weight 0 still can be written, at 24 bits."""
    return constriction.stream.model.Categorical(np.asarray(weights, np.float64), lazy=False, perfect=False)


_UNIFORM: dict[int, Any] = {}


def uniform(size: int) -> Any:
    """The table of `size` equally likely symbols, 2 ≤ size ≤ 2**16."""
    if size not in _UNIFORM:
        _UNIFORM[size] = constriction.stream.model.Uniform(size)
    return _UNIFORM[size]


BINARY = constriction.stream.model.Bernoulli(perfect=False)
"""Symbols 0 and 1 with a table each, by the probability of 1: a multiple of 2**-24 between 0 and 1."""
TABLES = constriction.stream.model.Categorical(lazy=False, perfect=False)
"""Symbols with a table each, by a row of weights as in `make_table`."""
UNIFORM = constriction.stream.model.Uniform()
"""Symbols with a table each, by its size as in `uniform`."""


class Encoder:
    """Gathers arrays of symbols with their tables."""

    def __init__(self) -> None:
        self._parts: list[tuple[Any, ...]] = []

    def put(self, symbols: IntArray, table: Any, *each: IntArray) -> None:
        """`symbols`: any integer array, flattened in C order. `each`: what a family of tables wants to know for every
        symbol."""
        if symbols.size:
            self._parts.append((np.ascontiguousarray(symbols, np.int32).reshape(-1), table, *each))

    def finish(self) -> bytes:
        """The stream: little-endian 32-bit words. Raises `UsageError` for a symbol that its table does not have."""
        coder = constriction.stream.stack.AnsCoder()
        try:
            for part in reversed(self._parts):
                coder.encode_reverse(*part)
        except KeyError as e:
            raise UsageError("a value is outside the range that entropy coding has codes for") from e
        return np.asarray(coder.get_compressed()).astype("<u4").tobytes()


class Decoder:
    """Reads what `Encoder` wrote. Check the stream's CRC first: ANS turns damage into plausible symbols."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise CorruptError("an entropy-coded clip is not a whole number of words")
        try:
            self._coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))
        except Exception as e:  # constriction raises what it likes
            raise CorruptError("an entropy-coded clip does not start as one") from e

    def get(self, count: int, table: Any, *each: IntArray) -> IntArray:
        """`count` symbols as int32; `each` as for `Encoder.put`."""
        if not count:
            return np.zeros(0, np.int32)
        try:
            return np.asarray(self._coder.decode(table, *(each or (count,))))
        except Exception as e:
            raise CorruptError("an entropy-coded clip cannot be decoded") from e

    def finish(self) -> None:
        """Raises `CorruptError` unless everything has been read."""
        if not self._coder.is_empty():
            raise CorruptError("an entropy-coded clip holds more than its frames")


class Coding:
    """One piece of code for both directions: `code` writes `symbols` (encoder) or returns what it reads (decoder)."""

    def __init__(self, stream: Encoder | Decoder) -> None:
        self.encoder = stream if isinstance(stream, Encoder) else None
        self.decoder = stream if isinstance(stream, Decoder) else None

    def code(self, symbols: IntArray | None, count: int, table: Any, *each: IntArray) -> IntArray:
        """`symbols` [count] when writing, None when reading."""
        if self.decoder is not None:
            return self.decoder.get(count, table, *each)
        if self.encoder is None or symbols is None:
            raise TypeError("writing needs symbols")
        self.encoder.put(symbols, table, *each)
        return symbols
