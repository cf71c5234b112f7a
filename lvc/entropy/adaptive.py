"""Tables that learn from what was written, in integers: rows of counts, one for each context.

A row's counts are its weights. It is halved, rounding up so that nothing becomes impossible, when its sum passes
`LIMIT`. All symbols of a run are coded with the rows as they were before it; both sides then count the same symbols.
What rows start from was counted on training footage, `rans.json`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .coder import BINARY, TABLES, Coding, IntArray

GAIN, LIMIT = 16, 65536
CLASSES = 24
"""Rows of a `Scored` for each of its groups, a row for half a unit of log odds."""
ONE = 1 << 16


@functools.cache
def learned() -> dict[str, Any]:
    """The constants of packing `rans` that come from training footage: weights of features, starts of rows."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("rans.json").read_text(encoding="ascii"))
    return found


def score(weights: Sequence[int], features: Sequence[IntArray | int]) -> IntArray:
    """The sum of features, each times its weight."""
    total: Any = 0
    for weight, feature in zip(weights, features, strict=True):
        total = total + weight * feature
    return np.asarray(total)


class Rows:
    """Rows of counts [contexts, symbols]."""

    def __init__(self, start: IntArray | Sequence[Sequence[int]], gain: int = GAIN) -> None:
        self.counts = np.array(start, np.int64)
        self._gain = gain
        self._room = 0
        """What may be added before a row can be full."""

    def code(self, coding: Coding, want: IntArray | None, contexts: IntArray) -> IntArray:
        """Symbols [n] with the rows `contexts` [n]; `want` is None when reading. Returns int64 [n]."""
        if not len(contexts):
            return np.zeros(0, np.int64)
        symbols = coding.code(want, len(contexts), TABLES, self.counts[contexts].astype(np.float64)).astype(np.int64)
        self.count(contexts, symbols)
        return symbols

    def count(self, contexts: IntArray, symbols: IntArray) -> None:
        counts = self.counts
        found = np.bincount(contexts * counts.shape[1] + symbols, minlength=counts.size)
        counts += found.reshape(counts.shape) * self._gain
        self._room -= self._gain * len(symbols)
        if self._room < 0:
            while (large := counts.sum(1) > LIMIT).any():
                counts[large] = (counts[large] + 1) >> 1
            self._room = LIMIT - int(counts.sum(1).max())


class Scored(Rows):
    """Flags, each with a row chosen by a score in 64ths of log odds, and by a group."""

    def code_flags(
        self, coding: Coding, want: IntArray | None, scores: IntArray, group: IntArray | int = 0
    ) -> IntArray:
        """Flags int64 [n] 0/1; `scores` [n]."""
        if not len(scores):
            return np.zeros(0, np.int64)
        rows = np.clip((scores >> 5) + CLASSES // 2, 0, CLASSES - 1) + CLASSES * group
        total = self.counts[:, 0] + self.counts[:, 1]
        likely = np.clip((self.counts[:, 1] * ONE + (total >> 1)) // total, 32, ONE - 32) / ONE
        flags = coding.code(want, len(scores), BINARY, likely[rows]).astype(np.int64)
        self.count(rows, flags)
        return flags
