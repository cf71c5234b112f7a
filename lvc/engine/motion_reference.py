"""Motion in plain numpy: a readable reference for `motion*.c`, which must give the same results.

A motion field gives every 8x8 luma block a mode (0 or 1 names one of two references, 2 is the mean of both) and vectors
`mv` [reference, (x, y), rows, cols] in quarter luma samples: the block at p is predicted from p + mv/4. Components are
within ±4095; the vector of an unused reference is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import CorruptError
from .rans_reference import Coder, Context, Reader, starts

TOP = LONGEST = 4095
"""The largest sample (12 bits), and the longest component of a vector."""

LUMA_FILTERS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ]
)
"""HEVC's luma interpolation filters, by quarter sample. The fourth tap is at the sample itself."""

CHROMA_FILTERS = np.array(
    [
        [0, 64, 0, 0], [-2, 58, 10, -2], [-4, 54, 16, -2], [-6, 46, 28, -4],
        [-4, 36, 36, -4], [-4, 28, 46, -6], [-2, 16, 54, -4], [-2, 10, 58, -2],
    ],
)  # fmt: skip
"""HEVC's chroma interpolation filters, by eighth sample. The second tap is at the sample itself."""


def compensate(
    refs: list[tuple[np.ndarray, np.ndarray] | None], mode: np.ndarray, mv: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Predict a frame by OBMC, as `motion.compensate` does.

    Args:
        refs: References (luma [H,W], chroma [2,H/2,W/2]) of 12-bit samples.
        mode: uint8 [H/8,W/8].
        mv: int16 [2,2,H/8,W/8].

    Returns:
        The prediction P and the difference D of the two predictions, each (luma, chroma) in int16.
    """
    luma = [None if r is None else r[0].astype(np.int64) for r in refs]
    p, d = _plane(luma, mode, mv, 8, 4, LUMA_FILTERS)
    parts = []
    for c in range(2):
        chroma = [None if r is None else r[1][c].astype(np.int64) for r in refs]
        parts.append(_plane(chroma, mode, mv, 4, 2, CHROMA_FILTERS))
    return (p, np.stack([part[0] for part in parts])), (d, np.stack([part[1] for part in parts]))


def _plane(
    refs: list[np.ndarray | None], mode: np.ndarray, mv: np.ndarray, block: int, ramp: int, filters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predict one plane. Each block's window reaches half a ramp into its neighbours. Along each axis its weights rise
    by 1, 3, … over the ramp, so that the weights of all windows sum to 2·ramp at every sample."""
    rows, cols = mode.shape
    size, half, full = block + ramp, ramp // 2, 2 * ramp
    p, d = (np.zeros((rows * block + ramp, cols * block + ramp), np.int64) for _ in range(2))
    rise = np.full(size, full)
    rise[:ramp] = 2 * np.arange(ramp) + 1
    rise[-ramp:] = rise[:ramp][::-1]
    for r in range(rows):
        for c in range(cols):
            down, along = rise.copy(), rise.copy()
            # At the picture's edges a block has no neighbour, and keeps its full weight.
            if r == 0:
                down[half:ramp] = full
            if r == rows - 1:
                down[block : block + half] = full
            if c == 0:
                along[half:ramp] = full
            if c == cols - 1:
                along[block : block + half] = full
            windows = [
                moved(refs[k], r * block - half, c * block - half, mv[k, :, r, c], size, filters)
                for k in (0, 1)
                if mode[r, c] in (k, 2)
            ]
            weights = down[:, None] * along
            at = np.s_[r * block : r * block + size, c * block : c * block + size]
            if len(windows) == 2:
                p[at] += weights * ((windows[0] + windows[1] + 1) >> 1)
                d[at] += weights * (windows[0] - windows[1])
            else:
                p[at] += weights * windows[0]
    inside = np.s_[half:-half, half:-half]
    total = full * full
    return tuple(((a[inside] + total // 2) // total).astype(np.int16) for a in (p, d))  # type: ignore[return-value]


def moved(
    plane: np.ndarray | None, top: int, left: int, vector: np.ndarray, size: int, filters: np.ndarray
) -> np.ndarray:
    """Return the window of size x size samples at (top, left), displaced by `vector` (x, y) in 1/len(filters) sample.
    Edge samples are repeated outside the plane. Filters and rounds along rows, then along columns, then clamps."""
    if plane is None:
        raise ValueError("a block is predicted from a reference that the frame does not have")
    per, taps = filters.shape
    vx, vy = int(vector[0]), int(vector[1])
    lead = taps // 2 - 1
    ys = np.clip(np.arange(size + taps - 1) + top + vy // per - lead, 0, plane.shape[0] - 1)
    xs = np.clip(np.arange(size + taps - 1) + left + vx // per - lead, 0, plane.shape[1] - 1)
    window = plane[ys[:, None], xs]
    for fraction in (vx % per, vy % per):  # transposed, so that the second pass filters columns
        parts = [window[:, k : k + size] * filters[fraction, k] for k in range(taps)]
        window = ((sum(parts) + 32) >> 6).T
    return np.asarray(window.clip(0, TOP))


# ---- coding of fields and flags ----

CANDIDATES = 6
"""The most merge candidates of a block."""
SUPERBLOCK = 8
"""Side of a superblock in 8x8 blocks: 64 luma samples."""


@dataclass(frozen=True)
class Motion:
    """The motion of a block: its mode and the vector (x, y) of each reference, (0, 0) for one that is not used."""

    mode: int
    vectors: tuple[tuple[int, int], tuple[int, int]]

    def uses(self, reference: int) -> bool:
        return self.mode in (reference, 2)


@dataclass
class Field:
    """The motion field of a frame shown at `time`; `to`: when its references are shown (the second may be `None`)."""

    mode: np.ndarray
    mv: np.ndarray
    time: int
    to: tuple[int, int | None]

    def at(self, y: int, x: int) -> Motion:
        v = self.mv[:, :, y, x].tolist()
        return Motion(int(self.mode[y, x]), ((v[0][0], v[0][1]), (v[1][0], v[1][1])))

    def uniform(self, y: int, x: int, n: int) -> bool:
        """Return whether all of a square of n x n blocks move alike."""
        square = np.concatenate([self.mode[None], self.mv.reshape(4, *self.mode.shape)])[:, y : y + n, x : x + n]
        return bool((square == square[:, :1, :1]).all())


def scaled(v: int, numerator: int, denominator: int) -> int:
    """Return v · numerator / denominator, rounded to the nearest integer (halves away from 0) and clamped."""
    product = v * numerator * (1 if denominator > 0 else -1)
    size = (abs(product) + abs(denominator) // 2) // abs(denominator)
    return min(size, LONGEST) * (1 if product >= 0 else -1)


class _Leaves:
    """A field in the course of coding. `leaf` [rows,cols]: 1 + log2 of the side of the quadtree leaf that a block
    belongs to, or 0 if it is not coded yet; `explicit`: 1 if that leaf carries explicit motion, 0 if it merges."""

    def __init__(self, field: Field, fields: tuple[Field | None, Field | None]) -> None:
        self.field, self.fields = field, fields
        self.rows, self.cols = field.mode.shape
        self.leaf, self.explicit = np.zeros((self.rows, self.cols), int), np.zeros((self.rows, self.cols), int)
        self.references = 1 if field.to[1] is None else 2

    def at(self, values: np.ndarray, y: int, x: int) -> int:
        return int(values[y, x]) if y >= 0 and x >= 0 else 0

    def temporal(self, k: int, y: int, x: int) -> Motion | None:
        """Return the temporal candidate: the motion of reference k at a block, scaled to this frame's distances."""
        field = self.fields[k]
        if field is None:
            return None
        motion, now = field.at(min(y, self.rows - 1), min(x, self.cols - 1)), self.field
        which = motion.mode
        if which == 2:  # the vector that points in this frame's direction of time
            which = 0 if (field.to[0] > field.time) == (now.time > field.time) else 1
        apart = [now.to[r] or 0 for r in range(2)]
        vectors = [(0, 0), (0, 0)]
        for r in range(self.references):
            x_, y_ = (
                scaled(c, apart[r] - now.time, (field.to[which] or 0) - field.time) for c in motion.vectors[which]
            )
            vectors[r] = (x_, y_)
        return Motion(2 if self.references == 2 else 0, (vectors[0], vectors[1]))

    def candidates(self, y: int, x: int, n: int) -> tuple[list[Motion], list[int]]:
        """Return the distinct merge candidates of the n x n blocks at (y, x), and how often each was offered."""

        def beside(y: int, x: int) -> Motion | None:
            inside = 0 <= y < self.rows and 0 <= x < self.cols
            return self.field.at(y, x) if inside and self.leaf[y, x] else None

        middle = y + n // 2, x + n // 2
        offers = [
            beside(y + n - 1, x - 1),
            beside(y - 1, x + n - 1),
            self.temporal(1, *middle) if self.references == 2 else None,
            beside(y - 1, x + n),
            self.temporal(0, *middle),
            beside(y + n, x - 1),
            Motion(2 if self.references == 2 else 0, ((0, 0), (0, 0))),
            beside(y - 1, x - 1),
        ]
        found: list[Motion] = []
        times: list[int] = []
        for offer in offers:
            if offer in found:
                times[found.index(offer)] += 1
            elif offer is not None and len(found) < CANDIDATES:
                found.append(offer)
                times.append(1)
        return found, times

    def settle(self, y: int, x: int, n: int, motion: Motion, explicit: bool) -> None:
        at = np.s_[y : y + n, x : x + n]
        self.field.mode[at] = motion.mode
        self.field.mv[(slice(None), slice(None), *at)] = np.array(motion.vectors)[:, :, None, None]
        self.leaf[at], self.explicit[at] = n.bit_length(), explicit


def guesses(candidates: list[Motion], reference: int) -> list[tuple[int, int]]:
    """Return the vector predictors for `reference`: the first two distinct vectors of the candidates."""
    found = list(dict.fromkeys(c.vectors[reference] for c in candidates if c.uses(reference)))
    return found[:2] or [(0, 0)]


def _spread(of: list[tuple[int, int]], axis: int) -> int:
    if len(of) < 2:
        return 0
    apart = abs(of[0][axis] - of[1][axis])
    return 1 if apart <= 2 else 2 if apart <= 12 else 3


class Exposure(NamedTuple):
    """How bright a frame is beside its group's key frame: a gain in 64ths, and an offset in quarters of an 8-bit
    level."""

    gain: int = 64
    offset: int = 0


GAINS, OFFSET_MAX = (32, 128), 1023


def expected_exposure(first: Exposure, second: Exposure | None) -> Exposure:
    """Return what costs least to say: the first reference's, or the mean of both."""
    if second is None:
        return first
    return Exposure((first.gain + second.gain + 1) >> 1, (first.offset + second.offset + 1) >> 1)


def weight(of: Exposure, to: Exposure) -> tuple[int, int]:
    """Return what takes samples from one exposure to another: a gain in 256ths and an offset in 12-bit levels."""
    gain = (256 * to.gain + of.gain // 2) // of.gain
    return gain, 4 * to.offset - ((gain * 4 * of.offset + 128) >> 8)


def expose(planes: tuple[np.ndarray, np.ndarray], of: Exposure, to: Exposure) -> tuple[np.ndarray, np.ndarray]:
    """Return a reference's planes as they are at another exposure."""
    gain, offset = weight(of, to)
    luma, chroma = (p.astype(np.int32) for p in planes)
    made = ((luma * gain + 128) >> 8) + offset, (((chroma - 2048) * gain + 128) >> 8) + 2048
    return made[0].clip(0, 4095).astype(np.int16), made[1].clip(0, 4095).astype(np.int16)


class FieldCoder:
    """Codes the fields and flags of a stream's frames, in order. `coder` writes or reads; `contexts` keep adapting."""

    def __init__(self, coder: Coder, contexts: list[Context]) -> None:
        self._coder, self.contexts = coder, contexts
        self._reading = isinstance(coder, Reader)

    def _flag(self, start: int, sizes: tuple[int, ...], at: tuple[int, ...], bit: bool | int) -> int:
        """Code a flag with the context at index `at` of an array of shape `sizes` that begins at context `start`."""
        return self._coder.bit(self.contexts[start + int(np.ravel_multi_index(at, sizes))], int(bit))

    def exposure(self, expected: Exposure, given: Exposure) -> Exposure:
        """Write `given`, or read an exposure. Raises `ValueError` for one that is out of range."""
        change = given.gain - expected.gain, given.offset - expected.offset
        if self._coder.bit(self.contexts[EXPOSURE], int(any(change))):
            found = [self._change(k, c) for k, c in zip((1, 3), change, strict=True)]
            expected = Exposure(expected.gain + found[0], expected.offset + found[1])
        if not GAINS[0] <= expected.gain <= GAINS[1] or abs(expected.offset) > OFFSET_MAX:
            raise ValueError("an exposure is out of range")
        return expected

    def _change(self, k: int, change: int) -> int:
        size = self._coder.golomb(k, abs(change))
        return -size if size and self._coder.raw(1, change < 0) else size

    def field(self, field: Field, fields: tuple[Field | None, Field | None], level: int) -> _Leaves:
        """Write `field`, or read into it."""
        leaves, self._level = _Leaves(field, fields), min(level, 2)
        for y in range(0, leaves.rows, SUPERBLOCK):
            for x in range(0, leaves.cols, SUPERBLOCK):
                self._square(leaves, y, x, SUPERBLOCK)
        return leaves

    def _square(self, f: _Leaves, y: int, x: int, n: int) -> None:
        split = n > 1
        if split and y + n <= f.rows and x + n <= f.cols:
            beside = f.at(f.leaf, y, x - 1), f.at(f.leaf, y - 1, x)
            smaller = sum(0 < leaf < n.bit_length() for leaf in beside)
            busy = sum(k is not None and not k.uniform(y, x, n) for k in f.fields[: f.references])
            at = 4 - n.bit_length(), smaller, busy, self._level
            split = bool(self._flag(SPLIT, (3, 3, 3, 3), at, not self._reading and not f.field.uniform(y, x, n)))
        if not split:
            self._leaf(f, y, x, n)
            return
        for dy in (0, n // 2):
            for dx in (0, n // 2):
                if y + dy < f.rows and x + dx < f.cols:
                    self._square(f, y + dy, x + dx, n // 2)

    def _leaf(self, f: _Leaves, y: int, x: int, n: int) -> None:
        candidates, times = f.candidates(y, x, n)
        often, size = [min(t, 3) - 1 for t in times], n.bit_length() - 1
        motion = f.field.at(y, x)  # meaningless when reading
        index = candidates.index(motion) if motion in candidates else len(candidates)
        explicit = f.at(f.explicit, y, x - 1) + f.at(f.explicit, y - 1, x)
        if not self._flag(MERGE, (4, 3, 3, 3), (size, explicit, often[0], self._level), index < len(candidates)):
            f.settle(y, x, n, self._explicit(f, y, x, size, candidates, motion), True)
            return
        k = 0
        while k + 1 < len(candidates) and self._flag(INDEX, (5, 3, 4, 3), (k, often[k], size, self._level), k < index):
            k += 1
        f.settle(y, x, n, candidates[k], False)

    def _explicit(self, f: _Leaves, y: int, x: int, size: int, candidates: list[Motion], motion: Motion) -> Motion:
        mode = 0
        if f.references == 2:
            modes = [int(f.field.mode[b]) for b in ((y, x - 1), (y - 1, x)) if f.at(f.leaf, *b)]
            if self._flag(BOTH, (4, 3), (size, modes.count(2)), motion.mode == 2):
                mode = 2
            else:
                balance = min(max(1 + modes.count(1) - modes.count(0), 0), 2)
                mode = self._flag(SECOND, (3,), (balance,), motion.mode == 1)
        vectors = [
            self._vector(guesses(candidates, r), motion.vectors[r]) if mode in (r, 2) else (0, 0) for r in range(2)
        ]
        return Motion(mode, (vectors[0], vectors[1]))

    def _vector(self, by: list[tuple[int, int]], v: tuple[int, int]) -> tuple[int, int]:
        which, apart = 0, (_spread(by, 0), _spread(by, 1))
        if len(by) > 1:
            far = [abs(v[0] - g[0]) + abs(v[1] - g[1]) for g in by]
            which = self._flag(GUESS, (4,), (max(apart),), far[1] < far[0])
        start = by[which]
        x = self._difference(0, apart[0], 0, v[0] - start[0])
        y = self._difference(1, apart[1], min(abs(x), 2), v[1] - start[1])
        made = start[0] + x, start[1] + y
        if max(abs(made[0]), abs(made[1])) > LONGEST:
            raise CorruptError("a motion field is damaged")
        return made

    def _difference(self, axis: int, apart: int, before: int, d: int) -> int:
        """Code a difference along one axis: whether it is 0, its size's class (powers of two), the remainder, the
        sign."""
        if axis:
            some = self._flag(ZERO + 4, (4, 3), (apart, before), d != 0)
        else:
            some = self._flag(ZERO, (4,), (apart,), d != 0)
        if not some:
            return 0
        size, power = abs(d), 0
        while power < 12 and self._flag(CLASS, (2, 4, 12), (axis, apart, power), size >= 2 << power):
            power += 1
        size = (1 << power) + self._coder.raw(power, max(size - (1 << power), 0))
        return -size if self._coder.raw(1, int(d < 0)) else size

    def flags(
        self,
        leaves: _Leaves,
        level: int,
        skip: np.ndarray,
        copy: np.ndarray,
        others: tuple[tuple[np.ndarray, np.ndarray] | None, tuple[np.ndarray, np.ndarray] | None],
    ) -> None:
        """Write the flags `skip` and `copy` of 16x16 blocks, or read into them, after the frame's field. `others`: the
        flags of its references. Only skipped blocks can be copied."""
        rows, cols = skip.shape
        for y in range(rows):
            for x in range(cols):
                of_leaf = min(max(int(leaves.leaf[2 * y, 2 * x]), 1), 3) - 1
                for which, (start, flags) in enumerate(((SKIP, skip), (COPY, copy))):
                    if which and not skip[y, x]:
                        copy[y, x] = 0
                        continue
                    near = int(flags[y, x - 1]) if x else 0
                    if y:
                        near += int(flags[y - 1, x]) + int(flags[y - 1, x + 1 if x + 1 < cols else x])
                    then = sum(int(o[which][y, x]) for o in others if o is not None)
                    at = near, then, of_leaf, min(level, 2)
                    flags[y, x] = self._flag(start, (4, 3, 3, 3), at, flags[y, x])


SPLIT = 0
MERGE = SPLIT + 3 * 3 * 3 * 3
INDEX = MERGE + 4 * 3 * 3 * 3
BOTH = INDEX + 5 * 3 * 4 * 3
SECOND = BOTH + 4 * 3
GUESS = SECOND + 3
ZERO = GUESS + 4
CLASS = ZERO + 4 + 4 * 3
SKIP = CLASS + 2 * 4 * 12
COPY = SKIP + 4 * 3 * 3 * 3
EXPOSURE = COPY + 4 * 3 * 3 * 3
CONTEXTS = EXPOSURE + 1
"""The first context of each kind, and the number of all."""


def start() -> list[Context]:
    """Return the contexts with which a stream starts."""
    return starts("motion_start.h", CONTEXTS)
