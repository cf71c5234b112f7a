"""Nearest neighbours by cosine, in numpy: an estimate from 128 signs per vector, then exact cosines of the best.

A million vectors are 64 MB, and their signs 16 MB, which are read in a few milliseconds. So no approximate index has to
be built, updated or trusted. docs/decisions/003-features.md compares it with such indexes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvc.features import DIMENSIONS, unit

EXACT = 20_000
"""Up to this many vectors are compared exactly."""
SHORTLIST = 15_000
"""Beyond that, about this many, those whose signs agree best, are compared exactly."""
_BATCH = 1 << 16
_COARSE = 16

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


def _mix(size: int) -> npt.NDArray[np.float32]:
    """Sylvester's Hadamard matrix, ±1: its signs separate vectors as well as a random rotation, and are exact."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


_MIX = _mix(DIMENSIONS)


def signs(vectors: npt.NDArray[np.int8]) -> npt.NDArray[np.uint64]:
    """int8 [N,64] → uint64 [N,2]: the signs of the components, and of their sums by `_MIX`."""
    x = vectors.astype(np.float32)
    return np.packbits(np.concatenate([x, x @ _MIX], 1) > 0, axis=1).view(np.uint64)


class Nearest:
    """Searches vectors int8 [N,64], which it refers to and does not copy."""

    def __init__(self, vectors: npt.NDArray[np.int8]) -> None:
        self._vectors = vectors
        n = len(vectors)
        self._scale = np.empty(n, np.float32)
        self._signs = [np.empty(n, np.uint64) for _ in range(2)]
        for start in range(0, n, _BATCH):
            part = vectors[start : start + _BATCH]
            length = np.sqrt(np.square(part, dtype=np.int32).sum(1))
            self._scale[start : start + _BATCH] = 1 / np.maximum(length, 1)
            if n > EXACT:
                for column, values in zip(self._signs, signs(part).T, strict=True):
                    column[start : start + _BATCH] = values

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vector: npt.NDArray[np.int8], count: int) -> tuple[Rows, Scores]:
        """The `count` rows nearest to `vector` int8 [64] and their cosines, best first."""
        rows = self._shortlist(vector, max(count, SHORTLIST)) if len(self) > EXACT else np.arange(len(self))
        scores = (self._vectors[rows].astype(np.float32) @ unit(vector[None])[0]) * self._scale[rows]
        if count < len(rows):
            best = np.argpartition(-scores, count - 1)[:count]
            rows, scores = rows[best], scores[best]
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def _shortlist(self, vector: npt.NDArray[np.int8], count: int) -> Rows:
        own = signs(vector[None])[0]
        differing = np.bitwise_count(self._signs[0] ^ own[0])
        differing += np.bitwise_count(self._signs[1] ^ own[1])
        # a histogram of differences from a sample suffices: the exact number does not matter
        counts = np.bincount(differing[::_COARSE], minlength=2 * DIMENSIONS + 1).cumsum() * _COARSE
        return np.flatnonzero(differing <= np.searchsorted(counts, count))
