"""How a video is coded, and the maps from a user's options to the model's levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from .pyramid import LONGEST


class Effort(NamedTuple):
    """`motion`: effort of the search (`lvc.engine.motion.search`). `rounds`: how often latents of key frames may move
    (`refine`), and half as often those of frames at the first `places` places of the pyramid."""

    motion: int = 1
    rounds: int = 0
    places: int = 0


EFFORTS = (
    *[Effort(0)] * 2, *[Effort(1)] * 2, Effort(1, 2, 1), Effort(1, 4, 1), Effort(1, 8, 1),
    Effort(2, 8, 1), Effort(2, 8, 3), Effort(2, 16, 3),
)  # fmt: skip


def lower_efforts(effort: int) -> list[int]:
    """Return `effort` and the lower ones that search less, in falling order, for an encoder that falls behind."""
    found = [effort]
    for lower in reversed(range(effort)):
        if EFFORTS[lower].motion != EFFORTS[found[-1]].motion:
            found.append(lower)
    return found


LARGE = 1_500_000
"""Luma samples of a frame from which clips are half as long, since all frames of a clip are in memory, and fewer clips
are coded at a time, since four frames of a clip are coded side by side anyway."""


def is_large(height: int, width: int) -> bool:
    return height * width >= LARGE


LEVEL_RANGE = (5.5, 17.5)
STEEP, STEEP_LEVEL = 90.0, 14.5
"""The quality from which levels rise three times as fast, and its level; quality 100 is nearly lossless."""
TUNES = ("psnr", "ssim")


@dataclass(frozen=True)
class EncodeSettings:
    """`quality` 0..100 (higher is better), `gop` seconds between key frames, `clip_frames` between anchors at most,
    `low_delay`: every frame from the one before, `key_raise`: levels of key frames above the others in low delay and
    where a target sets the quality (elsewhere `reuse.key_raise` finds it), `packing` `rans` or `zstd`, `threads` that
    code clips side by side (None: all cores), `effort` 0..9: how long the encoder searches.
    `target_bitrate` (bits of video a second) or `target_psnr` (dB, mean of planes 6:1:1) set the quality instead.
    `max_bitrate`: bits of video a second, which no stretch of the video exceeds by more than `buffer` seconds' worth.
    `tune`, `psnr` or `ssim`, is what the model was chosen for. `seconds`: expected length of the video, if known.
    `pace` returns the effort for each clip, for live encoding. `told_psnr` is called with every frame's PSNR if a PSNR
    is the target, `told_error` with every frame's squared error, in 12-bit samples, in any order and on any thread.
    Raises `UsageError`."""

    quality: float = 50.0
    gop: float = 10.0
    clip_frames: int = 32
    low_delay: bool = False
    key_raise: float = 1.6
    packing: str = "rans"
    threads: int | None = None
    effort: int = 4
    target_bitrate: float | None = None
    target_psnr: float | None = None
    max_bitrate: float | None = None
    buffer: float = 2.0
    tune: str = "psnr"
    seconds: float | None = None
    pace: Callable[[], int] | None = None
    told_psnr: Callable[[float], object] | None = None
    told_error: Callable[[float], object] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise UsageError("quality has to be from 0 to 100")
        if not self.gop > 0:
            raise UsageError("the GOP length has to be above 0 seconds")
        if not 0 <= self.effort < len(EFFORTS):
            raise UsageError("effort has to be from 0 to 9")
        if not 1 <= self.clip_frames <= LONGEST:
            raise UsageError(f"a clip has to have 1 to {LONGEST} frames")
        if self.target_bitrate is not None and self.target_psnr is not None:
            raise UsageError("a bit rate and a PSNR cannot both be targets")
        for target in (self.target_bitrate, self.target_psnr, self.max_bitrate, self.buffer):
            if target is not None and not 0 < target < float("inf"):
                raise UsageError("a target has to be above 0")
        if self.tune not in TUNES:
            raise UsageError(f"tune has to be {' or '.join(TUNES)}")
        if self.packing not in ("rans", "zstd"):
            raise UsageError("packing has to be rans or zstd")

    @property
    def level(self) -> float:
        """Level of predicted frames: piecewise linear in quality, with a bend at `STEEP`."""
        points = (0.0, STEEP, 100.0), (LEVEL_RANGE[0], STEEP_LEVEL, LEVEL_RANGE[1])
        return float(np.interp(self.quality, *points))
