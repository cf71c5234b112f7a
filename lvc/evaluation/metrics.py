"""Quality of decoded 4:2:0 planes against the source's, at the source's resolution, never through RGB.

| metric | definition |
|---|---|
| PSNR of a plane | 10·log10(peak²/MSE), peak 255, or 1023 of 10 bits; identical planes count as `IDENTICAL` dB |
| PSNR of a clip | from the MSE pooled over all samples of all frames (FFmpeg's "average"), not a mean of PSNRs |
| PSNR 6:1:1 | (6·Y + U + V)/8 of the three plane PSNRs: of the clip's for a clip, of the frame's for a frame |
| SSIM | FFmpeg's filter `ssim`: unweighted 8×8 windows at stride 4, unbiased variance; a clip's: mean of the frames' |
| MS-SSIM | Wang, Simoncelli, Bovik 2003, luma: 11×11 Gaussian σ 1.5, 5 scales, 2×2 means between; sides ≥ 176 |
| PSNR-YUV | of the squared error pooled over the samples of all three planes, so that each counts by its error |
| ST-LPIPS | `lvc.evaluation.perceptual`, of RGB; less is better; a clip's: mean of every eighth frame's |
| VMAF, -NEG | libvmaf's, models vmaf_v0.6.1 and vmaf_v0.6.1neg, by `lvc.media.ffmpeg`; a clip's: mean of the frames' |

Both pictures have the depth of the source: 8 bits in uint8, or 10 in uint16. Sums of squares are exact: float64 holds
every integer below 2**53 (float32 would round them). SSIM's window sums are int32 (int64 for 10 bits) as in FFmpeg, its
quotients float64. MS-SSIM filters in float32, which moves it by less than 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.evaluation.planes import Plane, Planes
from lvc.media.depth import depth_of

IDENTICAL = 100.0
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_MIN_SIDE = 11 * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
F32 = npt.NDArray[np.float32]
Integers = npt.NDArray[Any]


def squared_error(a: Plane, b: Plane) -> int:
    """Sum of squared differences of two planes, exact."""
    if a.shape != b.shape:
        raise ValueError(f"planes of {a.shape} and {b.shape} cannot be compared")
    total = 0
    for top in range(0, a.shape[0], 64):  # bands: the float64 copy stays small and in the cache
        d = np.subtract(a[top : top + 64], b[top : top + 64], dtype=np.float64).ravel()
        total += int(np.einsum("i,i->", d, d))  # not np.dot, which would start BLAS threads
    return total


def peak_of(plane: Plane) -> int:
    """The largest value of its samples."""
    return (1 << depth_of(plane)) - 1


def psnr(mse: float, peak: int = 255) -> float:
    """dB for a mean squared error."""
    return min(IDENTICAL, 10 * math.log10(peak**2 / mse)) if mse > 0 else IDENTICAL


def weighted_611(y: float, u: float, v: float) -> float:
    return (6 * y + u + v) / 8


def ssim(a: Plane, b: Plane) -> float:
    """SSIM of two planes, FFmpeg's way. Under 8 rows or columns there is no window: 1.0 if equal, else 0.0."""
    if a.shape != b.shape:
        raise ValueError(f"planes of {a.shape} and {b.shape} cannot be compared")
    rows, columns = a.shape[0] // 4 * 4, a.shape[1] // 4 * 4
    if rows < 8 or columns < 8:
        return float(np.array_equal(a, b))
    peak = peak_of(a)
    c1, c2 = int(0.01**2 * peak**2 * 64 + 0.5), int(0.03**2 * peak**2 * 64 * 63 + 0.5)
    # the largest sum is 64 times 8 * 8 * 2 * peak**2: below 2**31 for 8 bits
    kind: Any = np.int32 if peak == 255 else np.int64
    x, y = a[:rows, :columns].astype(kind), b[:rows, :columns].astype(kind)
    s1, s2 = _windows(x), _windows(y)
    squares, cross = _windows(x * x + y * y), _windows(x * y)
    means = s1 * s2
    energy = s1 * s1 + s2 * s2
    variances = squares * 64 - energy
    covariance = cross * 64 - means
    top = (2.0 * means + c1) * (2.0 * covariance + c2)
    return float(np.mean(top / ((energy + float(c1)) * (variances + float(c2)))))


def _windows(x: Integers) -> Integers:
    """Sums over all 8×8 windows at stride 4 of an array whose sides are multiples of 4."""
    columns = x[:, 0::4] + x[:, 1::4] + x[:, 2::4] + x[:, 3::4]
    blocks = columns[0::4] + columns[1::4] + columns[2::4] + columns[3::4]
    pairs: Integers = blocks[:-1] + blocks[1:]
    windows: Integers = pairs[:, :-1] + pairs[:, 1:]
    return windows


def ms_ssim(a: Plane, b: Plane) -> float | None:
    """MS-SSIM of two luma planes, or None where a side is under `MS_SSIM_MIN_SIDE`. Negative terms count as 0."""
    if a.shape != b.shape:
        raise ValueError(f"planes of {a.shape} and {b.shape} cannot be compared")
    if min(a.shape) < MS_SSIM_MIN_SIDE:
        return None
    x, y = a.astype(np.float32), b.astype(np.float32)
    product: float = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, contrast = _ssim_terms(x, y, peak_of(a))
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        product *= max(0.0, float(np.mean(luminance * contrast if last else contrast))) ** weight
    return product


def _ssim_terms(x: F32, y: F32, peak: int) -> tuple[F32, F32]:
    """The luminance and the contrast-structure term of SSIM at every full 11×11 window."""
    c1, c2 = np.array([0.01, 0.03], np.float32) ** 2 * np.float32(peak**2)
    # Around the mean of the picture, float32 keeps the variances; the means are put back below.
    offset = np.float32((peak + 1) // 2)
    x, y = np.subtract(x, offset), np.subtract(y, offset)
    mx, my = _blur(x), _blur(y)
    variances = _blur(x * x + y * y) - mx * mx - my * my
    covariance = _blur(x * y) - mx * my
    contrast: F32 = (2 * covariance + c2) / (variances + c2)
    mx, my = mx + offset, my + offset
    luminance: F32 = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return luminance, contrast


def _blur(x: F32) -> F32:
    """11-tap Gaussian σ 1.5 down and across, full windows only."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        length = x.shape[axis] - 10
        parts = [x[i : i + length] if axis == 0 else x[:, i : i + length] for i in range(11)]
        total = weights[5] * parts[5]
        for i in range(5):  # symmetric: six products instead of eleven
            total += weights[i] * (parts[i] + parts[10 - i])
        x = total
    return x


def _halve(x: F32) -> F32:
    rows, columns = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    x = x[:rows, :columns]
    return (x[0::2, 0::2] + x[1::2, 0::2] + x[0::2, 1::2] + x[1::2, 1::2]) * np.float32(0.25)


@dataclass(frozen=True)
class FrameQuality:
    """One frame's figures: dB, dB, dB, dB, then SSIM of Y and of Y/U/V by area, MS-SSIM of Y, VMAFs (0 to 100),
    ST-LPIPS (0 is the same)."""

    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_611: float
    ssim_y: float | None = None
    ssim_all: float | None = None
    ms_ssim_y: float | None = None
    vmaf: float | None = None
    vmaf_neg: float | None = None
    st_lpips: float | None = None

    @property
    def psnr_yuv(self) -> float:
        """PSNR over all samples of the three 4:2:0 planes."""
        y, u, v = (
            255**2 / 10 ** (db / 10) if db < IDENTICAL else 0.0 for db in (self.psnr_y, self.psnr_u, self.psnr_v)
        )
        return psnr((4 * y + u + v) / 6)


@dataclass
class ClipQuality:
    """Collects frames with `add`: exact sums and one small record per frame. `ssim`, `multi_scale`: what to measure;
    `perceptual` measures ST-LPIPS, on a sample of the frames."""

    ssim: bool = True
    multi_scale: bool = False
    perceptual: Callable[[Planes, Planes], float] | None = None
    perceptual_every: int = 1
    frames: list[FrameQuality] = field(default_factory=list)
    _errors: list[int] = field(default_factory=lambda: [0, 0, 0])
    _samples: list[int] = field(default_factory=lambda: [0, 0, 0])
    _peak: int = 255

    def add(self, reference: Planes, decoded: Planes) -> FrameQuality:
        pairs = ((reference.y, decoded.y), (reference.u, decoded.u), (reference.v, decoded.v))
        decibels: list[float] = []
        self._peak = peak_of(reference.y)
        for i, (a, b) in enumerate(pairs):
            error = squared_error(a, b)
            self._errors[i] += error
            self._samples[i] += a.size
            decibels.append(psnr(error / a.size, self._peak))
        structure = [ssim(a, b) for a, b in pairs] if self.ssim else []
        areas = [a.size for a, _ in pairs]
        y, u, v = decibels
        frame = FrameQuality(
            y,
            u,
            v,
            weighted_611(y, u, v),
            structure[0] if structure else None,
            sum(s * n for s, n in zip(structure, areas, strict=True)) / sum(areas) if structure else None,
            ms_ssim(reference.y, decoded.y) if self.multi_scale else None,
            st_lpips=self._perceived(reference, decoded),
        )
        self.frames.append(frame)
        return frame

    def _perceived(self, reference: Planes, decoded: Planes) -> float | None:
        due = self.perceptual is not None and len(self.frames) % self.perceptual_every == 0
        return self.perceptual(reference, decoded) if self.perceptual is not None and due else None

    def add_vmaf(self, scores: Sequence[Mapping[str, float | None]]) -> None:
        """Add the scores, by name, of each frame."""
        self.frames = [FrameQuality(**{**vars(f), **score}) for f, score in zip(self.frames, scores, strict=True)]

    def clip(self) -> FrameQuality:
        """The figures of the whole clip, pooled as in the table above."""
        if not self.frames:
            raise ValueError("no frames to pool")
        y, u, v = (psnr(e / n, self._peak) for e, n in zip(self._errors, self._samples, strict=True))
        names = ("ssim_y", "ssim_all", "ms_ssim_y", "vmaf", "vmaf_neg", "st_lpips")
        means = (self._mean(name) for name in names)
        return FrameQuality(y, u, v, weighted_611(y, u, v), *means)

    def _mean(self, name: str) -> float | None:
        values = [getattr(f, name) for f in self.frames]
        if name == "st_lpips":  # which not every frame has
            values = [v for v in values if v is not None]
        return None if None in values or not values else float(np.mean(values))


def compare(reference: Iterable[Planes], decoded: Iterable[Planes], quality: ClipQuality | None = None) -> ClipQuality:
    """Compare frame by frame. Raises `ValueError` if the numbers of frames differ."""
    quality = quality or ClipQuality()
    for a, b in zip(reference, decoded, strict=True):
        quality.add(a, b)
    return quality
