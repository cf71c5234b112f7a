"""Quantisation of latents: a rotation over channels, a step, and the cost of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.errors import UsageError

IntArray = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_MOST = 32767
_WORTH = 0.02  # bits a value that a rotation must save
_MAX_ROTATED = 256  # channels; a rotation costs their square


@dataclass
class Statistics:
    """Statistics of all latents: sums over their values, per channel where applicable."""

    count: int
    total: Floats  # [channels]
    products: Floats  # [channels, channels]
    largest: float
    finite: bool = True

    @classmethod
    def empty(cls, channels: int) -> Statistics:
        return cls(0, np.zeros(channels), np.zeros((channels, channels)), 0.0)

    def add(self, frames: npt.NDArray[np.float32]) -> None:
        """`[frames, channels, rows, columns]`."""
        flat = frames.swapaxes(0, 1).reshape(frames.shape[1], -1).astype(np.float64)
        self.finite = self.finite and bool(np.isfinite(flat).all())
        if self.finite:
            self.count += flat.shape[1]
            self.total += flat.sum(1)
            self.products += flat @ flat.T
            self.largest = max(self.largest, float(np.abs(flat).max()))

    @property
    def mean(self) -> Floats:
        return self.total / max(1, self.count)

    @property
    def covariance(self) -> Floats:
        mean = self.mean
        result: Floats = self.products / max(1, self.count) - np.outer(mean, mean)
        return result

    @property
    def rms(self) -> float:
        """Return the root mean square of all values."""
        return float(np.sqrt(np.trace(self.products) / max(1, self.count) / len(self.total)))


@dataclass(frozen=True)
class Quantiser:
    """`forward` `[channels, channels]` or None: integers are round(forward · (latent − mean) / step)."""

    mean: Floats
    forward: Floats | None
    step: float

    @property
    def matrix(self) -> tuple[float, ...]:
        """Return the inverse, which `LTNT` stores."""
        return () if self.forward is None else tuple(np.linalg.inv(self.forward).astype(np.float32).ravel().tolist())

    def __call__(self, frames: npt.NDArray[np.float32]) -> IntArray:
        """`[frames, channels, rows, columns]` → int16 of the same shape. Raises `UsageError` for too fine a step."""
        count, channels, rows, columns = frames.shape
        moved = frames.reshape(count, channels, -1) - self.mean[:, None]
        turned = moved if self.forward is None else self.forward @ moved
        values = np.round(turned / self.step)
        if not (np.abs(values) <= _MOST).all():
            raise UsageError("the error asked for needs more than 16 bits a value — allow more, or use --lossless")
        return values.astype(np.int16).reshape(frames.shape)


def rotation(statistics: Statistics, weights: Floats | None) -> Floats | None:
    """Return a rotation that decorrelates the channels, or None if that saves too little.

    `weights` `[channels, channels]`, symmetric: eᵀ · weights · e is the mean square error of the pictures for an error
    e of the latents. The rotation is then that of latents scaled so that all directions weigh the same; its determinant
    is 1, so that a step costs about the same bits with and without weights.
    """
    channels = len(statistics.total)
    if channels > _MAX_ROTATED:
        return None
    stretch = np.eye(channels)
    if weights is not None:
        values, vectors = np.linalg.eigh(weights)
        root = np.sqrt(np.maximum(values, 1e-4 * values.max()))
        stretch = vectors @ np.diag(root / np.exp(np.log(root).mean())) @ vectors.T
    covariance = stretch @ statistics.covariance @ stretch.T
    variances, vectors = np.linalg.eigh(covariance)
    floor = 1e-9 * max(float(variances.max()), 1e-30)
    plain = np.log2(np.maximum(np.diag(covariance), floor)).mean()
    turned = np.log2(np.maximum(variances, floor)).mean()
    if weights is None and 0.5 * (plain - turned) < _WORTH:
        return None
    forward: Floats = vectors[:, ::-1].T @ stretch
    return forward
