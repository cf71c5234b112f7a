"""The level of each frame: constant, or steered towards a bit rate or a PSNR by what was coded so far.

Everything is decided from what the encoder's own thread has seen, so that the same input gives the same file.
"""

from __future__ import annotations

import math
from typing import Protocol

from ..models.config import level_to_code
from .settings import P_LEVEL_RANGE, EncodeSettings

OCTAVES_PER_LEVEL = 0.5
"""About how many times 2 the rate grows with a level: the slope that corrections are made with."""
DECIBELS_PER_LEVEL = 1.5
USUAL_RATE = 1.5
"""Bits per luma sample and second that footage often needs in the middle of the levels."""
WINDOW = 3.0
"""Seconds within which a debt of bits is to be paid back."""
MEMORY = 6.0
"""Seconds of the target's bits: debts and savings beyond are forgotten."""
STEP = 1.5
"""A correction's largest size, in levels."""
RAISE, LARGEST_RAISE = 0.6, 3.2
"""Levels that a key frame is raised for every halving of what changes after it, and at most (decision 004)."""


def key_raise(novelty: float) -> float:
    """Levels that a key frame is worth more than the predicted frames after it, which inherit what it shows. `novelty`:
    what prediction misses of these, as a share of what would be missed without it; 1 or more: nothing lasts."""
    return min(RAISE * math.log2(1 / min(max(novelty, 1e-3), 1.0)), LARGEST_RAISE)


class Control(Protocol):
    """`code` is asked before every frame; `measured` and `packed` tell what came of it."""

    wants_sizes: bool
    """Whether `packed` must be called before the next clip begins."""
    wants_psnr: bool

    def code(self, raised: float) -> int:
        """The u16 `quality` of the next frame, so many levels above a predicted one's."""

    def measured(self, psnr: float) -> None:
        """PSNR 6:1:1 of the frame just coded."""

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        """A clip: its bits, how long it is shown, and whether it starts with a key frame."""


class Constant:
    """One level for all predicted frames."""

    wants_sizes = wants_psnr = False

    def __init__(self, settings: EncodeSettings) -> None:
        self.level = settings.level

    def code(self, raised: float) -> int:
        return level_to_code(self.level + raised)

    def measured(self, psnr: float) -> None:
        pass

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        pass

    def _move(self, levels: float) -> None:
        low, high = P_LEVEL_RANGE
        self.level = min(max(self.level + min(max(levels, -STEP), STEP), low - 1.0), high)


class Bitrate(Constant):
    """Towards `target` bits a second. A key frame's bits count as spent little by little over its GOP of `gop`
    seconds: otherwise quality would sink after every key frame and rise before the next. Of old debts no more is
    remembered than `MEMORY` seconds' worth."""

    wants_sizes = True

    def __init__(self, settings: EncodeSettings, target: float, samples: int) -> None:
        super().__init__(settings)
        self._target, self._gop = target, settings.gop
        self._elapsed = self._spent = 0.0
        self._key_bits = self._key_time = 0.0
        self._settled: float | None = None
        low, high = P_LEVEL_RANGE
        guess = (low + high) / 2 + math.log2(target / samples / USUAL_RATE) / OCTAVES_PER_LEVEL
        self.level = min(max(guess, low), high)

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        seconds = max(seconds, 1e-3)
        if key:
            # what this clip costs above an ordinary one is the key frame
            usual = self._settled if self._settled is not None else self._target
            self._key_bits, self._key_time = max(0.0, bits - usual * seconds), self._elapsed
        self._elapsed += seconds
        self._spent += bits
        if not key:
            rate = bits / seconds
            self._settled = rate if self._settled is None else 0.5 * (self._settled + rate)
        horizon = max(self._gop, seconds)
        share = min((self._elapsed - self._key_time) / horizon, 1.0)
        owed = self._spent - self._key_bits * (1 - share) - self._target * self._elapsed
        forgotten = owed - min(max(owed, -MEMORY * self._target), MEMORY * self._target)
        self._spent -= forgotten
        owed -= forgotten
        allowed = self._target - self._key_bits / horizon * (share < 1) - owed / WINDOW
        allowed = min(max(allowed, 0.1 * self._target), 4 * self._target)
        if not key:
            self._move(math.log2(allowed * seconds / max(bits, 1)) / OCTAVES_PER_LEVEL)
        elif self._settled is None:  # the first clip: all that is known is that it is too large or too small
            self._move(math.log2(self._target * seconds * 3 / max(bits, 1)) / OCTAVES_PER_LEVEL)


class Quality(Constant):
    """Towards a mean PSNR 6:1:1 of `target` dB over the last frames."""

    wants_psnr = True

    def __init__(self, settings: EncodeSettings, target: float) -> None:
        super().__init__(settings)
        self._target, self._sum, self._count = target, 0.0, 0

    def code(self, raised: float) -> int:
        # where nothing moves, frames have the key frame's PSNR for good, whatever their own level
        return super().code(min(raised, 1.2))

    def measured(self, psnr: float) -> None:
        self._sum += psnr
        self._count += 1
        mean = self._sum / self._count
        # what is missing so far is made good over the next second or so; this frame's own error is followed gently
        wanted = self._target + min(max((self._target - mean) * min(self._count, 24) / 24, -1.0), 1.0)
        self._move(0.25 * (wanted - psnr) / DECIBELS_PER_LEVEL)


def control_of(settings: EncodeSettings, samples: int) -> Control:
    """The control that `settings` ask for; `samples`: luma samples of a frame."""
    if settings.target_bitrate is not None:
        return Bitrate(settings, settings.target_bitrate, samples)
    if settings.target_psnr is not None:
        return Quality(settings, settings.target_psnr)
    return Constant(settings)
