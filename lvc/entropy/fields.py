"""Coding of what comes before a predicted frame's latents: skip and copy flags, and motion.

Both are coded in passes over subsets of blocks, so that every pass is a few array operations: a block's context and
prediction come from blocks of earlier passes (on all sides, not only above and left) and from the frame before.
"""

from __future__ import annotations

import functools

import numpy as np

from ..errors import UsageError
from .coder import Adaptive, Coding, IntArray, uniform

FLAG_CONTEXTS = 60
_DIRECT = 2
_CLASSES = 13
MAGNITUDES = 1 + 2 * _DIRECT + _CLASSES
"""Symbols of a vector difference: 0, +1, -1, +2, -2, then classes of |d| ≥ 3 by powers of two."""


def _neighbours(a: IntArray, fill: int) -> IntArray:
    """[H,W] → [4,H,W]: the blocks above, below, left and right."""
    p = np.pad(a, 1, constant_values=fill)
    return np.stack([p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]])


class FlagCoder:
    """Flags [1,H,W] of predicted frames, two checkerboard passes: which blocks are skipped, which of these are
    copied."""

    def __init__(self, start: tuple[int, int]) -> None:
        """`start`: counts of 0 and 1 that every context begins with."""
        self._model = Adaptive(np.tile(start, (FLAG_CONTEXTS, 1)))

    def code(self, coding: Coding, flags: IntArray | None, previous: IntArray, among: IntArray | None) -> IntArray:
        """`previous` [H,W]: the last frame's flags (zeros after a key frame). `among` [H,W]: where flags are coded, 0
        elsewhere; None: everywhere. Returns uint8 [H,W]."""
        height, width = previous.shape
        colour = (np.arange(height)[:, None] + np.arange(width)[None]) % 2
        where = np.ones(previous.shape, bool) if among is None else among != 0
        before = previous.astype(np.int32) * 5 + _neighbours(previous.astype(np.int32), 0).sum(0)
        out = np.zeros((height, width), np.uint8)
        for number in range(2):
            at = where & (colour == number)
            context = before[at]
            if number:
                context = 10 + _neighbours(out.astype(np.int32), 1).sum(0)[at] * 10 + context
            out[at] = coding.by_context(None if flags is None else flags[0][at], context, self._model)
        return out


def _spread(vectors: IntArray) -> IntArray:
    """[K,2,n] → class of the largest difference between candidates: 0 none, 1 ≤ 2, 2 ≤ 12, 3 more."""
    s = (vectors.max(0) - vectors.min(0)).max(0)
    classes: IntArray = (s > 0).astype(np.int64) + (s > 2) + (s > 12)
    return classes


class MotionCoder:
    """Motion fields [2,H8,W8], quarter samples, with a 16/8 quadtree: blocks of 16 in seven passes from coarse to
    fine, each predicted by the median of its neighbours of earlier passes and of the frame before; then the split
    ones."""

    def __init__(self) -> None:
        self._moving = Adaptive(np.array([[8, 8], [8, 8]]))
        self._changed = Adaptive(np.full((16, 2), 8))
        self._split = Adaptive(np.tile([24, 8], (4, 1)))
        start = np.array([2 * 16] + [16] * (2 * _DIRECT) + [12, 12, 12, 10, 8, 6, 4, 2, 1, 1, 1, 1, 1])
        self._x = Adaptive(np.tile(start, (5, 1)))
        self._y = Adaptive(np.tile(start, (10, 1)))

    def code(self, coding: Coding, motion: IntArray | None, previous: IntArray) -> IntArray:
        """`previous` int16 [2,H8,W8]: the last frame's field (zeros after a key frame). Returns int16 [2,H8,W8]."""
        h8, w8 = previous.shape[1:]
        any_before = int(previous.any())
        flag = None if motion is None else np.array([int(motion.any())])
        moving = coding.by_context(flag, np.array([any_before]), self._moving)
        out = np.zeros((2, h8, w8), np.int64)
        if not moving[0]:
            return out.astype(np.int16)
        field = None if motion is None else motion.astype(np.int64)
        base, last = np.zeros((2, h8 // 2, w8 // 2), np.int64), previous[:, ::2, ::2].astype(np.int64)
        whole = None if field is None else field[:, ::2, ::2]
        for ys, xs, near in self.passes(h8 // 2, w8 // 2):
            candidates = np.stack([base[:, a, b] for a, b in near] + [last[:, ys, xs]])
            if len(near):
                guess = np.sort(candidates, 0)[len(candidates) // 2]
                context = _spread(candidates[:-1]) * 2 + (candidates[-1] == guess).all(0)
            else:
                guess, context = candidates[-1], np.full(len(ys), 8)
            want = None if whole is None else whole[:, ys, xs] - guess
            base[:, ys, xs] = guess + self._difference(coding, want, context)
        self._split_blocks(coding, base, field, out)
        return out.clip(-32768, 32767).astype(np.int16)

    def _split_blocks(self, coding: Coding, base: IntArray, field: IntArray | None, out: IntArray) -> None:
        ring = np.stack([_neighbours(base[k], 0) for k in range(2)], 1)
        for dy in range(2):
            for dx in range(2):
                out[:, dy::2, dx::2] = base
        contexts = _spread(np.concatenate([ring, base[None]]).reshape(5, 2, -1))
        flags = None
        if field is not None:
            flags = (
                (field != out)
                .any(0)
                .reshape(base.shape[1], 2, base.shape[2], 2)
                .any((1, 3))
                .astype(np.int64)
                .reshape(-1)
            )
        split = coding.by_context(flags, contexts, self._split).reshape(base.shape[1:])
        ys, xs = np.nonzero(split)
        corner = base[:, ys, xs]
        right = corner
        below = corner
        for number, (dy, dx) in enumerate(((0, 1), (1, 0), (1, 1))):
            guess = corner if number < 2 else np.where((below == corner).all(0), right, below)
            want = None if field is None else field[:, 2 * ys + dy, 2 * xs + dx] - guess
            value = guess + self._difference(coding, want, np.full(len(ys), 10 + number))
            out[:, 2 * ys + dy, 2 * xs + dx] = value
            if number == 0:
                right = value
            elif number == 1:
                below = value

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def passes(height: int, width: int) -> list[tuple[IntArray, IntArray, list[tuple[IntArray, IntArray]]]]:
        """(rows, columns, four neighbours already coded) of every pass; the first has none."""
        top = 8
        ys, xs = (g.reshape(-1) for g in np.mgrid[0:height:top, 0:width:top])
        out: list[tuple[IntArray, IntArray, list[tuple[IntArray, IntArray]]]] = [(ys, xs, [])]
        step = top
        while step > 1:
            half = step // 2
            diagonal = [(-half, -half), (-half, half), (half, -half), (half, half)]
            straight = [(-half, 0), (half, 0), (0, -half), (0, half)]
            gy, gx = np.mgrid[0:height:half, 0:width:half]
            odd_y, odd_x = gy % step != 0, gx % step != 0
            for pick, offsets in ((odd_y & odd_x, diagonal), (odd_y ^ odd_x, straight)):
                ys, xs = gy[pick], gx[pick]
                near = []
                for dy, dx in offsets:
                    # outside the grid the opposite neighbour stands in; it is of an earlier pass too
                    ny = np.where((ys + dy < 0) | (ys + dy >= height), ys - dy, ys + dy)
                    nx = np.where((xs + dx < 0) | (xs + dx >= width), xs - dx, xs + dx)
                    ny, nx = np.where((ny < 0) | (ny >= height), 0, ny), np.where((nx < 0) | (nx >= width), 0, nx)
                    near.append((ny, nx))
                if len(ys):
                    out.append((ys, xs, near))
            step = half
        return out

    def _difference(self, coding: Coding, want: IntArray | None, context: IntArray) -> IntArray:
        """Vector differences [2,n]; `context` [n] of the flag "any difference"."""
        flags = None if want is None else np.asarray(want.any(0), np.int64)
        changed = coding.by_context(flags, context, self._changed)
        at = np.flatnonzero(changed)
        out = np.zeros((2, len(context)), np.int64)
        group = np.minimum(context[at] // 2, 4)
        x = self._component(coding, None if want is None else want[0, at], group, self._x)
        y = self._component(coding, None if want is None else want[1, at], group * 2 + (x == 0), self._y)
        out[0, at], out[1, at] = x, y
        return out

    @staticmethod
    def _component(coding: Coding, want: IntArray | None, context: IntArray, model: Adaptive) -> IntArray:
        symbols = extra = None
        if want is not None:
            size = np.abs(want)
            rest = np.maximum(size - _DIRECT, 1)  # 1, 2..3, 4..7, …
            klass = np.frexp(rest.astype(np.float64))[1] - 1
            if (klass >= _CLASSES).any():
                raise UsageError("a motion vector differs from its neighbours by more than there are codes for")
            small = np.where(want == 0, 0, 2 * size - (want > 0))
            symbols = np.where(size <= _DIRECT, small, 1 + 2 * _DIRECT + klass)
            extra = ((rest - (1 << klass)) << 1) | (want < 0)
        symbols = coding.by_context(symbols, context, model)
        out = np.where(symbols % 2 == 1, (symbols + 1) // 2, -(symbols // 2)).astype(np.int64)
        for k in range(int(symbols.max(initial=0)) - 2 * _DIRECT):
            where = (symbols == 1 + 2 * _DIRECT + k).nonzero()[0]
            if len(where):
                bits = coding.code(None if extra is None else extra[where], len(where), uniform(1 << (k + 1))).astype(
                    np.int64
                )
                size = (bits >> 1) + (1 << k) + _DIRECT
                out[where] = np.where(bits & 1, -size, size)
        return out
