"""Motion decided by rate and distortion on the reconstruction that the frame will be predicted from.

The search (`lvc.media.motion`) and the first choice (`lvc.codec.motion_choice`) go by the originals, since they run
ahead of coding. What is predicted from is a reconstruction: smoother, and wrong where it was not worth bits. Here every
block takes the best of some candidates — what was searched, what its neighbours and the frame before have, nothing, and
steps of half and quarter samples around the best of these — by λ·(squared error) + bits, which is what a block costs
that gets no symbols. What that saves: docs/decisions/004-rate.md.
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch

from ..entropy.fields import MotionCoder
from .choice import LUMA_WEIGHT
from .compensate import LUMA_FILTERS, pad, squares
from .motion_choice import COMPONENT_BITS, SPLIT_BITS, native_blocks, quarters, vector_bits
from .native import Blocks, address, library

_PHASES, _TAPS = LUMA_FILTERS.shape
_LEAD = _TAPS // 2 - 1
_MARGIN = 16 + _TAPS
_SAME, _LIKE_ANOTHER, _NEW = 0.4, 4.5, 5.0
"""About what it costs, in bits, that a vector is as predicted, a candidate's, or neither."""
SETTLED_BITS = 10.0
"""A block that costs no more than this is not looked at any further."""
_STEPS = (2, 1)
_PRICES = np.array([_SAME, _LIKE_ANOTHER, _NEW, SPLIT_BITS, SETTLED_BITS], np.float32)
_LIMIT = 4095
"""Longest component of a vector: steps from frame to frame must not carry it beyond what the coder can say."""
_AT_ONCE = 1024
"""Blocks compared at a time: what that takes stays in the cache."""
_CROSS = np.array([[1, -1, 0, 0], [0, 0, 1, -1]])


class MotionDecision:
    """`decide` the fields of one video in order."""

    def __init__(self, height: int, width: int) -> None:
        """Size of the padded luma plane."""
        self._rows, self._cols = height // 16, width // 16
        self._passes = MotionCoder.passes(self._rows, self._cols)
        self._last = np.zeros((2, self._rows, self._cols), np.int64)
        self._blocks: Blocks | None = None

    def coded(self, field: np.ndarray) -> None:
        """The field int16 [2,H/8,W/8] that was coded, whoever decided it; zeros for a key frame."""
        self._last = field[:, ::2, ::2].astype(np.int64)

    def decide(self, reference: np.ndarray, frame: np.ndarray, found: np.ndarray, level: float) -> np.ndarray:
        """`reference`: luma of the last reconstruction, `frame` uint8 [H,W]; `found` int16 [2,H/8,W/8]: the vectors
        searched → the field to code, same shape. `level`: log2 λ of the frame."""
        weight = LUMA_WEIGHT / 255**2 * 2**level
        if native := library():
            self._blocks = self._blocks or native_blocks(self._rows, self._cols)
            prices = ctypes.c_float(weight), address(_PRICES), ctypes.c_int32(_LIMIT)
            return self._blocks.run(native.lvc_decide, (reference, frame), (found, self._last), *prices)[0]
        field = found.astype(np.int64)
        blocks = _Blocks(reference, frame, weight)
        quads = np.stack([field[:, dy::2, dx::2] for dy in range(2) for dx in range(2)])
        split = (quads != quads[:1]).any((0, 1))
        whole = np.sort(quads, 0)[1]
        inside = vector_bits((quads[1:] - quads[0]).reshape(3, 2, -1)).sum(0).reshape(split.shape) + SPLIT_BITS
        base = np.zeros((2, self._rows, self._cols), np.int64)
        keep_split = np.zeros(split.shape, bool)
        for ys, xs, near in self._passes:
            around = [base[:, a, b] for a, b in near]
            before = self._last[:, ys, xs]
            slots = np.stack([*around, before])
            guess = np.sort(slots, 0)[len(around) // 2]
            best = _Best(blocks, ys, xs, guess, slots)
            best.offer(np.stack([guess, before, whole[:, ys, xs]]))
            corners = [quads[k][:, ys, xs] for k in range(4)]
            best.offer(np.stack([*around, np.zeros_like(guess), *corners]))
            for step in _STEPS:
                best.offer(best.vectors[None] + step * _CROSS.T[:, :, None])
            at = np.flatnonzero(split[ys, xs] & (best.cost > SETTLED_BITS))
            if len(at):
                sy, sx = ys[at], xs[at]
                corner = corners[0][:, at]
                cost = _bits(corner, guess[:, at], slots[:, :, at]) + inside[sy, sx]
                cost += blocks.split_errors(sy, sx, quads[:, :, sy, sx])
                better = cost < best.cost[at]
                keep_split[sy[better], sx[better]] = True
                best.vectors[:, at[better]] = corner[:, better]
            base[:, ys, xs] = best.vectors
        out = base.repeat(2, 1).repeat(2, 2)
        return np.where(keep_split.repeat(2, 0).repeat(2, 1)[None], field, out).astype(np.int16)


def _bits(vectors: np.ndarray, guess: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """About what `lvc.entropy.fields` needs for vectors [2,n] predicted by `guess`, other candidates being `slots`
    [K,2,n]."""
    apart = np.abs(np.concatenate([slots, guess[None]]) - vectors)
    like = ~apart.any(1)
    bits = np.where(like.any(0), _LIKE_ANOTHER, _NEW + COMPONENT_BITS[apart].sum(1).min(0)).astype(np.float32)
    bits[like[-1]] = _SAME
    return np.asarray(bits)


class _Best:
    """The cheapest vectors [2,n] so far of the blocks at `ys`, `xs`, and what they cost in bits [n]; `guess` and
    `slots` as for `_bits`."""

    def __init__(self, blocks: _Blocks, ys: np.ndarray, xs: np.ndarray, guess: np.ndarray, slots: np.ndarray) -> None:
        self._blocks, self._ys, self._xs, self._guess, self._slots = blocks, ys, xs, guess, slots
        self.vectors, self.cost = guess.copy(), np.full(len(ys), np.inf)
        self._seen = np.empty((0, len(ys)), np.int64)

    def offer(self, candidates: np.ndarray) -> None:
        """Vectors [K,2,n]; those of settled blocks and those known already are not looked at."""
        candidates = candidates.clip(-_LIMIT, _LIMIT)
        packed = (candidates[:, 0] << 16) + candidates[:, 1]
        known = len(self._seen)
        self._seen = np.concatenate([self._seen, packed])
        new = np.broadcast_to(self.cost > SETTLED_BITS, packed.shape).copy()
        for k in range(len(packed)):
            new[k] &= (self._seen[: known + k] != packed[k]).all(0)
        which, at = np.nonzero(new)
        if not len(at):
            return
        vectors = candidates[which, :, at].T
        cost = np.full(packed.shape, np.inf, np.float32)
        cost[which, at] = self._blocks.errors(self._ys[at], self._xs[at], vectors)
        cost[which, at] += _bits(vectors, self._guess[:, at], self._slots[:, :, at])
        first, n = np.argmin(cost, 0), np.arange(len(self.cost))
        better = cost[first, n] < self.cost
        self.cost[better] = cost[first, n][better]
        self.vectors[:, better] = candidates[first, :, n].T[:, better]


class _Blocks:
    """The 16x16 blocks of a luma plane, and the reconstruction they are predicted from at every quarter of a sample;
    errors in bits, by `weight` bits per squared step of 8-bit samples.

    Whole planes are filtered, each when a vector first asks for it: several candidates per block make that three times
    as fast as filtering a window for each (`lvc.codec.compensate.interpolated`, which gives the same samples)."""

    def __init__(self, reference: np.ndarray, frame: np.ndarray, weight: float) -> None:
        height, width = frame.shape
        self._cols, self._weight = width // 16, weight
        padded = pad(reference[None], _MARGIN)[0]
        self._shape = padded.shape
        self._planes = np.empty((_PHASES * _PHASES, *padded.shape), np.uint8)
        self._planes[0] = padded
        self._filled = np.zeros(len(self._planes), bool)
        self._filled[0] = True
        self._across = {0: torch.from_numpy(padded).to(torch.int16)}
        self._now = np.ascontiguousarray(frame.reshape(height // 16, 16, -1, 16).transpose(0, 2, 1, 3)).reshape(-1, 256)

    def errors(self, ys: np.ndarray, xs: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Of blocks [n] with one vector each [2,n]: float32 [n]."""
        out = np.empty(len(ys), np.float32)
        for start in range(0, len(ys), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            windows = self._windows(ys[part] * 16, xs[part] * 16, vectors[:, part], 16)
            out[part] = self._squares(windows, self._now[ys[part] * self._cols + xs[part]])
        return out

    def split_errors(self, ys: np.ndarray, xs: np.ndarray, quads: np.ndarray) -> np.ndarray:
        """The same with a vector for each quarter, `quads` [4,2,n]."""
        n = len(ys)
        guess = self._windows(*quarters(ys, xs), quads.transpose(1, 0, 2).reshape(2, -1), 8)
        wanted = self._now[ys * self._cols + xs].reshape(n, 2, 8, 2, 8).transpose(1, 3, 0, 2, 4)
        return np.asarray(self._squares(guess, wanted.reshape(4 * n, 64)).reshape(4, n).sum(0))

    def _squares(self, guess: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        d = torch.from_numpy(guess).to(torch.int16).sub_(torch.from_numpy(wanted)).float()
        return np.asarray(torch.linalg.vecdot(d, d).mul_(self._weight).numpy())  # sums of integers below 2**24: exact

    def _windows(self, top: np.ndarray, left: np.ndarray, vectors: np.ndarray, size: int) -> np.ndarray:
        """Predictions uint8 [n, size·size] of the blocks at `top`, `left`."""
        height, width = self._shape
        phase = (vectors[1] & (_PHASES - 1)) * _PHASES + (vectors[0] & (_PHASES - 1))
        wanted = np.bincount(phase, minlength=len(self._planes)) > 0
        for missing in np.flatnonzero(wanted & ~self._filled).tolist():
            self._fill(missing)
        whole = vectors >> (_PHASES.bit_length() - 1)
        y = (top + _MARGIN + whole[1]).clip(_LEAD, height - size - _TAPS + 1 + _LEAD)
        x = (left + _MARGIN + whole[0]).clip(_LEAD, width - size - _TAPS + 1 + _LEAD)
        return squares(self._planes, phase, y, x, size)

    def _fill(self, phase: int) -> None:
        fy, fx = divmod(phase, _PHASES)
        if fx not in self._across:
            self._across[fx] = _filtered(self._across[0], LUMA_FILTERS[fx], 1)
        plane = _filtered(self._across[fx], LUMA_FILTERS[fy], 0) if fy else self._across[fx]
        self._planes[phase] = plane.clamp(0, 255).to(torch.uint8).numpy()
        self._filled[phase] = True


def _filtered(samples: torch.Tensor, taps: np.ndarray, axis: int) -> torch.Tensor:
    """int16 [H,W] filtered along `axis`, rounded to 8 bits, same shape; 0 where the filter reaches beyond."""
    n = samples.shape[axis] - _TAPS + 1
    out = torch.zeros_like(samples)
    inner = out.narrow(axis, _LEAD, n).fill_(32)
    for k, tap in enumerate(taps.tolist()):
        if tap:
            inner.add_(samples.narrow(axis, k, n), alpha=tap)
    inner.bitwise_right_shift_(6)
    return out
