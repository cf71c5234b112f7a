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


class Encoder:
    """Gathers arrays of symbols with their tables."""

    def __init__(self) -> None:
        self._parts: list[tuple[IntArray, Any]] = []

    def put(self, symbols: IntArray, table: Any) -> None:
        """`symbols`: any integer array, flattened in C order."""
        if symbols.size:
            self._parts.append((np.ascontiguousarray(symbols, np.int32).reshape(-1), table))

    def finish(self) -> bytes:
        """The stream: little-endian 32-bit words. Raises `UsageError` for a symbol that its table does not have."""
        coder = constriction.stream.stack.AnsCoder()
        try:
            for symbols, table in reversed(self._parts):
                coder.encode_reverse(symbols, table)
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

    def get(self, count: int, table: Any) -> IntArray:
        """`count` symbols as int32."""
        if not count:
            return np.zeros(0, np.int32)
        try:
            return np.asarray(self._coder.decode(table, count))
        except Exception as e:
            raise CorruptError("an entropy-coded clip cannot be decoded") from e

    def finish(self) -> None:
        """Raises `CorruptError` unless everything has been read."""
        if not self._coder.is_empty():
            raise CorruptError("an entropy-coded clip holds more than its frames")


class Adaptive:
    """Tables that learn from what was written, in integers: a row of counts per context.

    A row is halved (rounding up, so nothing becomes impossible) when its sum passes `limit`. Both sides call `update`
    with the same symbols, after a frame or pass, never within one.
    """

    def __init__(self, start: IntArray, limit: int = 4096, gain: int = 16) -> None:
        self.counts = np.array(start, np.int64)
        self._limit, self._gain = limit * gain, gain
        self._tables: dict[int, Any] = {}

    def table(self, context: int) -> Any:
        if context not in self._tables:
            self._tables[context] = make_table(self.counts[context])
        return self._tables[context]

    def update(self, context: int, symbols: IntArray) -> None:
        if not symbols.size:
            return
        row = self.counts[context]
        row += np.bincount(symbols, minlength=len(row)) * self._gain
        while row.sum() > self._limit:
            row[:] = (row + 1) >> 1
        self._tables.pop(context, None)


class Coding:
    """One piece of code for both directions: `code` writes `symbols` (encoder) or returns what it reads (decoder)."""

    def __init__(self, stream: Encoder | Decoder) -> None:
        self.encoder = stream if isinstance(stream, Encoder) else None
        self.decoder = stream if isinstance(stream, Decoder) else None

    def code(self, symbols: IntArray | None, count: int, table: Any) -> IntArray:
        """`symbols` [count] when writing, None when reading."""
        if self.decoder is not None:
            return self.decoder.get(count, table)
        if self.encoder is None or symbols is None:
            raise TypeError("writing needs symbols")
        self.encoder.put(symbols, table)
        return symbols

    def by_context(self, symbols: IntArray | None, contexts: IntArray, model: Adaptive) -> IntArray:
        """Symbols [n] whose tables are chosen by `contexts` [n]; coded by context in ascending order, then learned."""
        out = np.zeros(len(contexts), np.int32)
        if not len(contexts):
            return out
        counts = np.bincount(contexts)
        order, start = contexts.argsort(kind="stable"), 0
        for context in counts.nonzero()[0].tolist():
            where = order[start : start + int(counts[context])]
            start += len(where)
            part = self.code(None if symbols is None else symbols[where], len(where), model.table(context))
            out[where] = part
            model.update(context, part)
        return out
