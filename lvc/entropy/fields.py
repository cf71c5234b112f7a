"""Coding of motion fields [2,H8,W8], quarter samples, with a 16/8 quadtree.

Blocks of 16 in seven passes from coarse to fine. Each is predicted by the median of its neighbours of earlier passes
and of the frame before; one that differs takes the vector of a candidate, or differs from a candidate's. Then blocks
are split, their quarters having candidates on all sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError
from .adaptive import Rows, Scored, learned, score
from .coder import TABLES, UNIFORM, Coding, IntArray
from .flags import YOUNG
from .passes import diagonal, neighbours, passes, size_class, straight

CANDIDATES = 6
_DIRECT = 2
_CLASSES = 13
MAGNITUDES = 1 + 2 * _DIRECT + _CLASSES
"""Symbols of a vector difference: 0, +1, -1, +2, -2, then classes of |d| ≥ 3 by powers of two."""
_SMALL = np.array([0, 1, -1, 2, -2] + [0] * _CLASSES)


def spread(vectors: IntArray) -> IntArray:
    """[K,2,n] → class of the largest difference between candidates: 0 none, 1 ≤ 2, 2 ≤ 12, 3 more."""
    if not vectors.shape[2]:
        return np.zeros(0, np.int64)
    s = (vectors.max(0) - vectors.min(0)).max(0)
    classes: IntArray = (s > 0).astype(np.int64) + (s > 2) + (s > 12)
    return classes


def _eight(a: IntArray) -> IntArray:
    total: IntArray = straight(a) + diagonal(a)
    return total


def _same(a: IntArray, b: IntArray) -> IntArray:
    """Whether vectors [...,2,n] are equal: int64 [...,n]."""
    equal = a == b
    return np.asarray(equal[..., 0, :] & equal[..., 1, :], np.int64)


class MotionCoder:
    """Motion of one GOP, frame by frame."""

    passes = staticmethod(passes)

    def __init__(self, height: int, width: int) -> None:
        """In blocks of 16."""
        known = learned()
        self._field = np.zeros((2, 2 * height, 2 * width), np.int64)
        self.changed = np.zeros((height, width), np.int64)
        """Where the last field's blocks are not as predicted."""
        self._split = self.changed
        self._age = 0
        self._same, self._split_flag = Scored(known["same"]["rows"]), Scored(known["split"]["rows"])
        self._rows = {name: Rows(known[name]) for name in ("moving", "top", "candidate", "quarter", "dx", "dy")}

    def code(self, coding: Coding, motion: IntArray | None, skip: IntArray, copy: IntArray) -> IntArray:
        """`skip`, `copy`: the frame's flags uint8 [H,W]. Returns int16 [2,H8,W8]."""
        field = None if motion is None else motion.astype(np.int64)
        flag = None if field is None else np.array([int(field.any())])
        moving = self._rows["moving"].code(coding, flag, np.array([int(self._field.any())]))
        if moving[0]:
            self._field = self._moving(coding, field, skip.astype(np.int64), copy.astype(np.int64))
        else:
            self._field = np.zeros_like(self._field)
            self.changed = self._split = np.zeros_like(self.changed)
        self._age = min(self._age + 1, YOUNG)
        return self._field.astype(np.int16)

    def _moving(self, coding: Coding, field: IntArray | None, skip: IntArray, copy: IntArray) -> IntArray:
        last = np.ascontiguousarray(self._field[:, ::2, ::2])
        whole = None if field is None else field[:, ::2, ::2]
        base = np.zeros_like(last)
        changed, new = np.zeros_like(skip), np.zeros_like(skip)
        weights = learned()["same"]
        still = score(weights["frame"], [skip, copy, _eight(skip), self.changed, _eight(self.changed), self._age])
        for number, (ys, xs, near) in enumerate(passes(*skip.shape)):
            want, before = None if whole is None else whole[:, ys, xs], last[:, ys, xs]
            if not near:
                flags = None if want is None else 1 - _same(want, before)
                differ = self._rows["top"].code(coding, flags, 2 - skip[ys, xs] - copy[ys, xs])
                at = np.flatnonzero(differ)
                base[:, ys, xs] = before
                changed[ys, xs] = new[ys, xs] = differ
                slots = before[None, :, at]
                missing = None if want is None else (want - before)[:, at]
                base[:, ys[at], xs[at]] += self._difference(coding, missing, slots, 0)
                continue
            if not len(ys):
                continue
            places = neighbours(*skip.shape)[number - 1]
            beside, was = (v.reshape(2, -1).take(places, 1).reshape(2, 4, -1).transpose(1, 0, 2) for v in (base, last))
            candidates = np.concatenate([beside, before[None]])
            guess = np.sort(candidates, 0)[CANDIDATES // 2 - 1]
            steady, agree = _same(before, guess), _same(beside, guess).sum(0)
            all_agree, turned = agree == 4, changed.reshape(-1).take(places).reshape(4, -1).sum(0)
            followed = _same(was, beside).sum(0)
            features = [
                agree, all_agree, steady, steady * all_agree, turned, turned == 0, followed, skip[ys, xs] * all_agree,
            ]  # fmt: skip
            scores = still[ys, xs] + score(weights["pass"], features) + weights["bias"][number - 1]
            flags = None if want is None else 1 - _same(want, guess)
            differ = self._same.code_flags(coding, flags, scores, steady)
            base[:, ys, xs] = guess
            changed[ys, xs] = differ
            at = np.flatnonzero(differ)
            slots = np.concatenate([guess[None], candidates])[:, :, at]
            contexts = 8 * spread(slots[1:5]) + 4 * steady[at] + np.minimum(agree[at], 3)
            vectors, apart = self._candidate(
                coding, None if want is None else want[:, at], slots, self._rows["candidate"], contexts, 0
            )
            base[:, ys[at], xs[at]], new[ys[at], xs[at]] = vectors, apart
        field = self._quarters(coding, field, base, skip, copy, changed, new)
        self.changed = changed
        return field.clip(-32768, 32767)

    def _quarters(
        self,
        coding: Coding,
        field: IntArray | None,
        base: IntArray,
        skip: IntArray,
        copy: IntArray,
        changed: IntArray,
        new: IntArray,
    ) -> IntArray:
        """The field of which `base` are the vectors of blocks, or of their upper left quarters."""
        height, width = skip.shape
        out: IntArray = base.repeat(2, 1).repeat(2, 2)
        ringed = np.pad(base, ((0, 0), (1, 1), (1, 1)), mode="edge")
        beside = np.stack([ringed[:, :-2, 1:-1], ringed[:, 2:, 1:-1], ringed[:, 1:-1, :-2], ringed[:, 1:-1, 2:]])
        equal = (beside == base).all((0, 1)).astype(np.int64)
        rest, still = ~base.any(0), (base == self._field[:, ::2, ::2]).all(0)
        features = [
            equal, skip, copy, _eight(skip), self._split, _eight(self._split), changed, new, _eight(new), self.changed,
            rest, still, self._age, 1,
        ]  # fmt: skip
        scores = score(learned()["split"]["frame"], features)
        flags = None
        if field is not None:
            flags = (field != out).any(0).reshape(height, 2, width, 2).any((1, 3)).astype(np.int64)
        ys, xs = np.nonzero(np.ones_like(skip))
        want = None if flags is None else flags.reshape(-1)
        self._split = self._split_flag.code_flags(coding, want, scores[ys, xs], new[ys, xs]).reshape(height, width)
        ys, xs = np.nonzero(self._split)
        corner, far = base[:, ys, xs], ringed[:, ys + 2, xs + 2]
        above, below = ringed[:, ys, xs + 1], ringed[:, ys + 2, xs + 1]
        left, right = ringed[:, ys + 1, xs], ringed[:, ys + 1, xs + 2]
        # upper right and lower left together, then lower right
        y2, x2 = np.concatenate([2 * ys, 2 * ys + 1]), np.concatenate([2 * xs + 1, 2 * xs])
        slots = np.concatenate(
            [
                np.stack([corner, above, right, ringed[:, ys, xs + 2], self._field[:, 2 * ys, 2 * xs + 1], below]),
                np.stack([corner, left, below, ringed[:, ys + 2, xs], self._field[:, 2 * ys + 1, 2 * xs], right]),
            ],
            2,
        )
        contexts = 4 * (np.arange(len(y2)) >= len(ys)) + spread(slots)
        want = None if field is None else field[:, y2, x2]
        two, _ = self._candidate(coding, want, slots, self._rows["quarter"], contexts, 1)
        out[:, y2, x2] = two
        slots = np.stack([two[:, len(ys) :], two[:, : len(ys)], corner, right, below, far])
        want = None if field is None else field[:, 2 * ys + 1, 2 * xs + 1]
        last, _ = self._candidate(coding, want, slots, self._rows["quarter"], 8 + spread(slots), 1)
        out[:, 2 * ys + 1, 2 * xs + 1] = last
        return out

    def _candidate(
        self, coding: Coding, want: IntArray | None, slots: IntArray, rows: Rows, contexts: IntArray, quarter: int
    ) -> tuple[IntArray, IntArray]:
        """Vectors [2,n] by `slots` [6,2,n]: symbols 0 to 5 are a candidate's vector, 6 to 11 one that differs from it.
        Returns them, and whether they differ [n]. `quarter`: 1 for quarters of blocks, else candidate 0 is known to be
        wrong."""
        n = slots.shape[2]
        if not n:
            return np.zeros((2, 0), np.int64), np.zeros(0, np.int64)
        first = _same(slots[:, None], slots[None]).argmax(0)  # of equal candidates the first stands for all
        stands = (first[:, None] == np.arange(CANDIDATES)[:, None]).astype(np.int64)
        weights = np.einsum("jin,kjn->kin", stands, rows.counts[contexts].T.reshape(2, CANDIDATES, n))
        if not quarter:
            weights[0, 0] = 0
        weights = weights.reshape(-1, n)
        symbols = None
        if want is not None:
            symbols = _choose(want, slots, weights, quarter)
        each = np.ascontiguousarray(weights.T, np.float64)
        symbols = coding.code(symbols, n, TABLES, each).astype(np.int64)
        rows.count(contexts, symbols)
        apart = symbols >= CANDIDATES
        vectors = slots[symbols % CANDIDATES, :, np.arange(n)].T
        at = np.flatnonzero(apart)
        missing = None if want is None else (want - vectors)[:, at]
        vectors[:, at] += self._difference(coding, missing, slots[:, :, at], quarter)
        return vectors, apart.astype(np.int64)

    def _difference(self, coding: Coding, want: IntArray | None, slots: IntArray, quarter: int) -> IntArray:
        """Vector differences [2,n]."""
        if not slots.shape[2]:
            return np.zeros((2, 0), np.int64)
        wide = np.minimum(size_class(slots.max(0) - slots.min(0)), 7)
        x = self._component(coding, None if want is None else want[0], 2 * wide[0] + quarter, self._rows["dx"])
        contexts = 8 * wide[1] + np.minimum(size_class(x), 7)
        y = self._component(coding, None if want is None else want[1], contexts, self._rows["dy"])
        return np.stack([x, y])

    @staticmethod
    def _component(coding: Coding, want: IntArray | None, contexts: IntArray, rows: Rows) -> IntArray:
        symbols = extra = None
        if want is not None:
            size = np.abs(want)
            rest = np.maximum(size - _DIRECT, 1)  # 1, 2..3, 4..7, …
            klass = size_class(rest) - 1
            if (klass >= _CLASSES).any():
                raise UsageError("a motion vector differs from its neighbours by more than there are codes for")
            small = np.where(want == 0, 0, 2 * size - (want > 0))
            symbols = np.where(size <= _DIRECT, small, 1 + 2 * _DIRECT + klass)
            extra = ((rest - (1 << klass)) << 1) | (want < 0)
        symbols = rows.code(coding, symbols, contexts)
        out = _SMALL[symbols]
        far = np.flatnonzero(symbols > 2 * _DIRECT)
        if len(far):
            klass = symbols[far] - 1 - 2 * _DIRECT
            sizes = (2 << klass).astype(np.int32)
            bits = coding.code(None if extra is None else extra[far], len(far), UNIFORM, sizes).astype(np.int64)
            size = (bits >> 1) + (1 << klass) + _DIRECT
            out[far] = np.where(bits & 1, -size, size)
        return out


def _choose(want: IntArray, slots: IntArray, weights: IntArray, quarter: int) -> IntArray:
    """The symbols [n] for vectors `want` [2,n]: a candidate that has it, else the one from which it costs least."""
    equal = _same(slots, want)
    equal[0] *= quarter
    size = np.abs(want - slots)
    bits = np.where(size == 0, 1.0, 2 + 2 * np.log2(np.maximum(size, 1))).sum(1)
    bits -= np.log2(np.maximum(weights[CANDIDATES:], 2**-20))
    chosen: Any = np.where(equal.any(0), equal.argmax(0), CANDIDATES + bits.argmin(0))
    return np.asarray(chosen)
