"""Motion through a moment between two frames: the codec's own search in both directions, made into vectors that go
through the blocks of the new frame.

A block of the new frame at p, at the share `moment` of the way from frame a to frame b, has a vector v (quarter luma
samples): what is seen there was at p - moment·v in a and will be at p + (1 - moment)·v in b. Candidates are what the
search found there, what it found elsewhere and goes through there, rest, and what the neighbours have; the two ends of
the best agree over a window around the block, and its neighbours move alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..media.motion import MotionSearch
from .compensate import BLOCK, LUMA_FILTERS, interpolated, pad

SEARCH_CRF = 38.0
"""Smoother fields than for coding: what moves is asked, not what is cheapest."""
_WINDOW = 16
_MARGIN = _WINDOW + LUMA_FILTERS.shape[1]
_SMOOTH = 48.0
"""What a quarter sample of difference from a neighbour's vector costs, in absolute error over the window."""
_APART = 16
"""Quarter samples beyond which a neighbour's vector is just another one."""
_REST = 256.0
"""How much more absolute error over the window rest may have than motion, one level a sample: noise moves nothing."""
_ROUNDS = 3
_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class Fields:
    """What the search found between two frames, int16 [2,H/8,W/8] in quarter samples: `onward` predicts b's blocks from
    a, `back` a's blocks from b. `far`: the same two, found in pictures of half the size, where it reaches farther."""

    onward: np.ndarray
    back: np.ndarray
    far: tuple[np.ndarray, np.ndarray]


class PairSearch:
    """`push` luma and chroma of frames in order (padded planes); from the second on each gives the fields between it
    and the one before."""

    def __init__(self, height: int, width: int, crf: float = SEARCH_CRF) -> None:
        self._near = _BothWays(height, width, crf)
        self._far = _BothWays(-(-height // 32) * 16, -(-width // 32) * 16, crf)

    def push(self, y: np.ndarray, uv: np.ndarray) -> Fields | None:
        near, far = self._near.push(y, uv), self._far.push(*_halved(y, uv))
        if near is None or far is None:
            return None
        rows, cols = near[0].shape[1:]
        onward, back = (2 * f.repeat(2, 1).repeat(2, 2)[:, :rows, :cols] for f in far)
        return Fields(*near, (onward, back))


def _halved(y: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planes of half the size, padded to multiples of 16 by their edge."""

    def half(plane: np.ndarray, align: int) -> np.ndarray:
        height, width = plane.shape[-2:]
        fours = plane.reshape(*plane.shape[:-2], height // 2, 2, width // 2, 2).sum((-3, -1), dtype=np.uint16)
        edges = [(0, 0)] * (plane.ndim - 2) + [(0, -n % align) for n in fours.shape[-2:]]
        return np.pad(((fours + 2) // 4).astype(np.uint8), edges, mode="edge")

    return half(y, 16), half(uv, 8)


class _BothWays:
    """The search in both directions, at one size."""

    def __init__(self, height: int, width: int, crf: float) -> None:
        self._onward, self._back = MotionSearch(width, height, crf), MotionSearch(width, height, crf)
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def push(self, y: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        onward = _only(self._onward.push(y, uv))
        before, self._before = self._before, (y, uv)
        if before is None:
            return None
        _only(self._back.push(y, uv))
        return onward, _only(self._back.push(*before))


def _only(fields: Iterator[np.ndarray]) -> np.ndarray:
    (field,) = fields  # the search has no delay
    return field


@dataclass(frozen=True)
class Through:
    """Vectors int16 [2,H/8,W/8] that compensate a and b to the moment, and `error` float32 [H/8,W/8]: the mean absolute
    difference of the two over each block's window."""

    to_a: np.ndarray
    to_b: np.ndarray
    error: np.ndarray


def split(v: np.ndarray, moment: float) -> tuple[np.ndarray, np.ndarray]:
    """Vectors from a to b → what leads from the block to a, and to b; their difference is v exactly."""
    to_a = -np.floor(v * moment + 0.5).astype(np.int32)
    return to_a, v + to_a


class Middle:
    """Finds vectors through moments between a and b, luma uint8 [H,W]; sides are multiples of 16."""

    def __init__(self, a: np.ndarray, b: np.ndarray, fields: Fields) -> None:
        self._a, self._b = pad(a[None], _MARGIN), pad(b[None], _MARGIN)
        self._rows, self._cols = a.shape[0] // BLOCK, a.shape[1] // BLOCK
        self._fields = fields
        self._grid = np.indices((self._rows, self._cols))

    def through(self, moment: float) -> Through:
        """`moment` in 0..1 of the way from a to b."""
        onward, back = -self._fields.onward.astype(np.int32), self._fields.back.astype(np.int32)
        best = onward
        error = self._errors(best, moment, None)
        far = -self._fields.far[0].astype(np.int32), self._fields.far[1].astype(np.int32)
        candidates = [back, np.zeros_like(best), *far]
        for field, part, sign in zip((onward, back, *far), (1 - moment, moment) * 2, (-1, 1) * 2, strict=True):
            candidates.append(self._carried(field, part, sign))
        best, error = self._choose(best, error, candidates, moment, 0.0)
        for k in range(_ROUNDS):
            near = [_shifted(best, dy, dx) for dy, dx in _SIDES]
            if k == 0:
                near.append(_median(best))
            best, error = self._choose(best, error, near, moment, _SMOOTH)
        rest = self._errors(np.zeros_like(best), moment, None)
        stays = rest <= error + _REST
        best[:, stays], error[stays] = 0, rest[stays]
        to_a, to_b = split(best, moment)
        return Through(to_a.astype(np.int16), to_b.astype(np.int16), error / _WINDOW**2)

    def _choose(
        self, best: np.ndarray, error: np.ndarray, candidates: list[np.ndarray], moment: float, smooth: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best of `best` and the candidates [2,rows,cols] in each block, and its error."""
        around = [_shifted(best, dy, dx) for dy, dx in _SIDES]

        def cost(v: np.ndarray, e: np.ndarray, where: np.ndarray | tuple[np.ndarray, ...]) -> np.ndarray:
            rough = sum(np.minimum(np.abs(v - n[:, where[0], where[1]]).sum(0), _APART) for n in around)
            total: np.ndarray = e + smooth * rough
            return total

        everywhere = tuple(self._grid)
        best, error = best.copy(), error.copy()
        lowest = cost(best, error, everywhere)
        for candidate in candidates:
            where = np.nonzero((candidate != best).any(0))
            if not len(where[0]):
                continue
            v = candidate[:, where[0], where[1]]
            e = self._errors(v, moment, where)
            c = cost(v, e, where)
            better = c < lowest[where]
            at = where[0][better], where[1][better]
            best[:, at[0], at[1]], error[at], lowest[at] = v[:, better], e[better], c[better]
        return best, error

    def _errors(self, v: np.ndarray, moment: float, where: tuple[np.ndarray, ...] | None) -> np.ndarray:
        """Sum of absolute differences of the two ends over the window around each block: float32, v's shape without its
        first side."""
        rows, cols = self._grid if where is None else where
        shape = rows.shape
        rows, cols, v = rows.reshape(-1), cols.reshape(-1), v.reshape(2, -1)
        corner = _MARGIN - (_WINDOW - BLOCK) // 2
        to_a, to_b = split(v, moment)
        ys, xs = rows * BLOCK + corner, cols * BLOCK + corner
        first = interpolated(self._a, 0, ys, xs, to_a, _WINDOW, LUMA_FILTERS)
        second = interpolated(self._b, 0, ys, xs, to_b, _WINDOW, LUMA_FILTERS)
        total = first.sub_(second).abs_().sum((0, 1), dtype=torch.int32)
        result: np.ndarray = total.numpy().astype(np.float32).reshape(shape)
        return result

    def _carried(self, v: np.ndarray, part: float, sign: int) -> np.ndarray:
        """A field of vectors from a to b on one frame's blocks → on the new frame's: each block is carried `part` of
        its way, `sign` 1 onward from a, -1 back from b. Where none arrives, the one that was there; where several do,
        the farther-travelled, which tends to be in front."""
        step = np.floor(sign * part * v / (4 * BLOCK) + 0.5).astype(np.int32)
        rows, cols = self._grid[0] + step[1], self._grid[1] + step[0]
        ok = (rows >= 0) & (rows < self._rows) & (cols >= 0) & (cols < self._cols)
        order = np.argsort(np.abs(v).sum(0)[ok], kind="stable")
        out = v.copy()
        out[:, rows[ok][order], cols[ok][order]] = v[:, ok][:, order]
        return out


def _shifted(field: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Every block gets the vector of its neighbour `dy` down and `dx` to the right; edges keep their own."""
    height, width = field.shape[1:]
    ys, xs = np.clip(np.arange(height) + dy, 0, height - 1), np.clip(np.arange(width) + dx, 0, width - 1)
    return field[:, ys[:, None], xs[None]]


def _median(field: np.ndarray) -> np.ndarray:
    """Of the 3x3 blocks around each, component by component."""
    near = [_shifted(field, dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    result: np.ndarray = np.sort(np.stack(near), 0)[4]
    return result
