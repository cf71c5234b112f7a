"""Motion chosen by rate and distortion for lvc's own coding of it (`lvc.entropy.fields.MotionCoder`).

The searched field was smoothed for another codec's prediction of vectors. Here every block, in the order in which it
will be coded, may take the vector that its neighbours predict instead, and a split block may become whole, when the
bits saved are worth the error added.
"""

from __future__ import annotations

import numpy as np
import torch

from ..entropy.fields import MotionCoder
from .compensate import LUMA_FILTERS, interpolate, pad

_MARGIN = 8 + LUMA_FILTERS.shape[1]


def _bits(d: np.ndarray) -> np.ndarray:
    """About what a vector difference [2,n] costs, in bits."""
    size = np.abs(d).astype(np.float32)
    per = np.where(size == 0, 1.0, 2.0 + 2 * np.log2(np.maximum(size, 1)))
    bits: np.ndarray = np.where((size == 0).all(0), 0.4, 2.0 + per.sum(0))
    return bits


class MotionChoice:
    """`choose` fields of one video in order. Frames are padded luma planes uint8 [H,W]."""

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._cols = height // 16, width // 16
        self._passes = MotionCoder.passes(self._rows, self._cols)
        self._last = np.zeros((2, self._rows, self._cols), np.int64)

    def _errors(
        self, ref: np.ndarray, now: torch.Tensor, ys: np.ndarray, xs: np.ndarray, vectors: np.ndarray
    ) -> np.ndarray:
        """Sum of absolute differences of 16x16 blocks [n] with one vector each [2,n], as four 8x8 blocks."""
        y8 = (2 * ys[:, None] + np.array([0, 0, 1, 1])).reshape(-1)
        x8 = (2 * xs[:, None] + np.array([0, 1, 0, 1])).reshape(-1)
        errors: np.ndarray = self._errors8(ref, now, y8, x8, np.repeat(vectors, 4, 1)).reshape(-1, 4).sum(1)
        return errors

    @staticmethod
    def _errors8(ref: np.ndarray, now: torch.Tensor, ys: np.ndarray, xs: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        if not len(ys):
            return np.zeros(0, np.float32)
        guess = interpolate(
            ref, np.zeros(len(ys), np.int64), ys * 8 + _MARGIN, xs * 8 + _MARGIN, vectors, 8, LUMA_FILTERS
        )
        target = now[torch.from_numpy(ys), torch.from_numpy(xs)]
        return (guess - target).abs_().sum((1, 2)).numpy().astype(np.float32)

    def restart(self) -> None:
        """A key frame: the next field is coded without one before it."""
        self._last = np.zeros_like(self._last)

    def choose(
        self, reference: np.ndarray, frame: np.ndarray, field: np.ndarray, price: float
    ) -> tuple[np.ndarray, float]:
        """`field` int16 [2,H/8,W/8] → the field to code, and its mean absolute error per sample. `price`: absolute
        error a bit is worth (255 / sqrt(λ))."""
        field = field.astype(np.int64)
        ref = pad(reference[None], _MARGIN)
        h8, w8 = field.shape[1:]
        now = torch.from_numpy(frame).reshape(h8, 8, w8, 8).transpose(1, 2).to(torch.int16)
        grid_y, grid_x = (g.reshape(-1) for g in np.indices((h8, w8)))
        own = self._errors8(ref, now, grid_y, grid_x, field.reshape(2, -1)).reshape(h8, w8)
        own = own.reshape(self._rows, 2, self._cols, 2).sum((1, 3))
        quads = np.stack([field[:, dy::2, dx::2] for dy in range(2) for dx in range(2)])
        split = (quads != quads[:1]).any((0, 1))
        whole = np.sort(quads, 0)[1]
        whole_error = own.copy()
        sy, sx = np.nonzero(split)
        whole_error[sy, sx] = self._errors(ref, now, sy, sx, whole[:, sy, sx])
        inside = np.stack([_bits((quads[k] - quads[0]).reshape(2, -1)) for k in (1, 2, 3)]).sum(0).reshape(split.shape)
        inside = inside + 2.0
        base = np.zeros((2, self._rows, self._cols), np.int64)
        missed = 0.0
        keep_split = np.zeros(split.shape, bool)
        for ys, xs, near in self._passes:
            candidates = np.stack([base[:, a, b] for a, b in near] + [self._last[:, ys, xs]])
            guess = np.sort(candidates, 0)[len(candidates) // 2] if len(near) else candidates[-1]
            before, searched, corner = self._last[:, ys, xs], whole[:, ys, xs], quads[0][:, ys, xs]
            vectors = np.stack([guess, before, searched, corner])
            errors = np.stack([whole_error[ys, xs]] * 3 + [np.where(split[ys, xs], own[ys, xs], np.inf)])
            for k in range(2):  # most candidates are one and the same
                new = np.flatnonzero((vectors[k] != searched).any(0))
                errors[k, new] = self._errors(ref, now, ys[new], xs[new], vectors[k][:, new])
            bits = np.stack([_bits(v - guess) for v in vectors])
            bits[3] += inside[ys, xs]
            best, n = np.argmin(errors + price * bits, 0), np.arange(len(ys))
            base[:, ys, xs] = vectors[best, :, n].T
            keep_split[ys, xs] = best == 3
            missed += float(errors[best, n].sum())
        out = base.repeat(2, 1).repeat(2, 2)
        out = np.where(keep_split.repeat(2, 0).repeat(2, 1)[None], field, out)
        self._last = out[:, ::2, ::2]
        return out.astype(np.int16), missed / frame.size
