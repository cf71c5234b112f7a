"""Motion chosen by rate and distortion for lvc's own coding of it (`lvc.entropy.fields.MotionCoder`).

The searched field was smoothed for another codec's prediction of vectors. Here every block, in the order in which it
will be coded, may take the vector that its neighbours predict instead, and a split block may become whole, when the
bits saved are worth the error added.
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch
import torch.nn.functional as F

from ..entropy.fields import MotionCoder
from .compensate import LUMA_FILTERS, interpolated, pad
from .native import Blocks, library

_MARGIN = 16 + LUMA_FILTERS.shape[1]
SPLIT_BITS = 2.0


_SIZES = np.arange(1 << 14)
COMPONENT_BITS = np.where(_SIZES == 0, 1.0, 2.0 + 2 * np.log2(np.maximum(_SIZES, 1))).astype(np.float32)


def vector_bits(d: np.ndarray) -> np.ndarray:
    """About what a vector difference [...,2,n] costs, in bits [...,n]."""
    per = COMPONENT_BITS[np.minimum(np.abs(d), len(COMPONENT_BITS) - 1)]
    bits: np.ndarray = 2.0 + per[..., 0, :] + per[..., 1, :]
    bits[~d.any(-2)] = 0.4
    return bits


def quarters(ys: np.ndarray, xs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the first samples of 16x16 blocks' quarters [4·n], all upper left ones first."""
    top, left = ys[None] * 16 + np.array([[0], [0], [8], [8]]), xs[None] * 16 + np.array([[0], [8], [0], [8]])
    return top.reshape(-1), left.reshape(-1)


def native_blocks(rows: int, cols: int) -> Blocks:
    """For going through frames of so many 16x16 blocks in the order in which their motion is coded."""
    return Blocks(rows, cols, MotionCoder.passes(rows, cols), _MARGIN, LUMA_FILTERS, COMPONENT_BITS)


class MotionChoice:
    """`choose` fields of one video in order. Frames are padded luma planes uint8 [H,W]."""

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._cols = height // 16, width // 16
        self._passes = MotionCoder.passes(self._rows, self._cols)
        self._last = np.zeros((2, self._rows, self._cols), np.int64)
        self._blocks: Blocks | None = None

    def restart(self) -> None:
        """A key frame: the next field is coded without one before it."""
        self._last = np.zeros_like(self._last)

    def choose(
        self, reference: np.ndarray, frame: np.ndarray, field: np.ndarray, price: float
    ) -> tuple[np.ndarray, float]:
        """`field` int16 [2,H/8,W/8] → the field to code, and its mean absolute error per sample. `price`: absolute
        error a bit is worth (255 / sqrt(λ))."""
        if native := library():
            self._blocks = self._blocks or native_blocks(self._rows, self._cols)
            prices = ctypes.c_float(price), ctypes.c_float(SPLIT_BITS)
            out, total = self._blocks.run(native.lvc_choose, (reference, frame), (field, self._last), *prices)
            self._last = out[:, ::2, ::2]
            return out, total / frame.size
        field = field.astype(np.int64)
        blocks = _Blocks(reference, frame)
        quads = np.stack([field[:, dy::2, dx::2] for dy in range(2) for dx in range(2)])
        split = (quads != quads[:1]).any((0, 1))
        whole = np.sort(quads, 0)[1]
        grid_y, grid_x = (g.reshape(-1) for g in np.indices(split.shape))
        whole_error = blocks.errors(grid_y, grid_x, whole.reshape(2, -1)).reshape(split.shape)
        own = whole_error.copy()
        sy, sx = np.nonzero(split)
        own[sy, sx] = blocks.split_errors(sy, sx, quads[:, :, sy, sx])
        inside = vector_bits((quads[1:] - quads[0]).reshape(3, 2, -1)).sum(0).reshape(split.shape) + SPLIT_BITS
        base = np.zeros((2, self._rows, self._cols), np.int64)
        missed = 0.0
        keep_split = np.zeros(split.shape, bool)
        for ys, xs, near in self._passes:
            candidates = np.stack([base[:, a, b] for a, b in near] + [self._last[:, ys, xs]])
            guess = np.sort(candidates, 0)[len(candidates) // 2] if len(near) else candidates[-1]
            before, searched, corner = self._last[:, ys, xs], whole[:, ys, xs], quads[0][:, ys, xs]
            vectors = np.stack([guess, before, searched, corner])
            errors = np.stack([whole_error[ys, xs]] * 3 + [np.where(split[ys, xs], own[ys, xs], np.inf)])
            other = (vectors[:2] != searched).any(1)  # most candidates are one and the same
            other[1] &= (before != guess).any(0)
            k, new = np.nonzero(other)
            errors[k, new] = blocks.errors(ys[new], xs[new], vectors[k, :, new].T)
            known = other[0] & ~other[1] & (before != searched).any(0)
            errors[1, known] = errors[0, known]
            bits = vector_bits(vectors - guess)
            bits[3] += inside[ys, xs]
            best, n = np.argmin(errors + price * bits, 0), np.arange(len(ys))
            base[:, ys, xs] = vectors[best, :, n].T
            keep_split[ys, xs] = best == 3
            missed += float(errors[best, n].sum(dtype=np.float64))
        out = base.repeat(2, 1).repeat(2, 2)
        out = np.where(keep_split.repeat(2, 0).repeat(2, 1)[None], field, out)
        self._last = out[:, ::2, ::2]
        return out.astype(np.int16), missed / frame.size


class _Blocks:
    """A padded luma plane and the 16x16 blocks of the frame after it, blocks last."""

    def __init__(self, reference: np.ndarray, frame: np.ndarray) -> None:
        height, width = frame.shape
        self._cols = width // 16
        self._reference = pad(reference[None], _MARGIN)
        blocks = np.ascontiguousarray(frame.reshape(height // 16, 16, -1, 16).transpose(0, 2, 1, 3))
        self._now = torch.from_numpy(blocks).reshape(-1, 256).to(torch.int16).t().contiguous()
        missed = (torch.from_numpy(reference).to(torch.int16) - torch.from_numpy(frame)).abs_().float()
        self._still = (F.avg_pool2d(missed[None], 16)[0] * 256).numpy()

    def _targets(self, ys: np.ndarray, xs: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._now.numpy().take(ys * self._cols + xs, 1))

    def errors(self, ys: np.ndarray, xs: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Sum of absolute differences of blocks [n] with one vector each [2,n], float32."""
        out = np.asarray(self._still[ys, xs])  # right where nothing moves
        at = np.flatnonzero(vectors.any(0))
        if len(at):
            ys, xs = ys[at], xs[at]
            start = (ys * 16 + _MARGIN, xs * 16 + _MARGIN)
            guess = interpolated(self._reference, 0, *start, vectors[:, at], 16, LUMA_FILTERS)
            out[at] = _sums(guess.view(256, -1).sub_(self._targets(ys, xs)))
        return out

    def split_errors(self, ys: np.ndarray, xs: np.ndarray, quads: np.ndarray) -> np.ndarray:
        """The same with a vector for each quarter, `quads` [4,2,n]."""
        n = len(ys)
        top, left = quarters(ys, xs)
        guess = interpolated(
            self._reference, 0, top + _MARGIN, left + _MARGIN,
            quads.transpose(1, 0, 2).reshape(2, -1), 8, LUMA_FILTERS,
        ).view(8, 8, 2, 2, n)  # fmt: skip
        wanted = self._targets(ys, xs).view(2, 8, 2, 8, n).permute(1, 3, 0, 2, 4)
        return np.asarray(_sums(guess.sub_(wanted).view(64, 4 * n)).reshape(4, n).sum(0))


def _sums(differences: torch.Tensor) -> np.ndarray:
    """int16 [C,n], C a power of two, in -255..255, overwritten → sums of absolute values [n] float32."""
    d = differences.abs_()
    while len(d) > 1 and len(differences) // len(d) < 64:  # 64 · 255 is within 16 bits
        half = len(d) // 2
        d = d[:half].add_(d[half:])
    return np.asarray(d.float().sum(0).numpy())
