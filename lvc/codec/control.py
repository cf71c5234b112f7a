"""Rate control: the level of each frame, constant or steered towards a bit rate or a PSNR by the clips coded so far.

All decisions depend only on what the encoder's own thread has seen, so that the same input gives the same file.
"""

from __future__ import annotations

import math
from typing import Protocol

from ..errors import UsageError
from .payload import LEVEL_MIN
from .settings import LEVEL_RANGE, EncodeSettings

OCTAVES_PER_LEVEL = 0.5
"""Octaves by which the rate grows with a level, roughly: the slope of corrections."""
DECIBELS_PER_LEVEL = 1.5
AGAIN, FAR = 3, 1.0
"""How often a clip is coded again if its PSNR misses the target by more than `FAR` dB."""
USUAL_RATE = 2.5
"""Typical bits per luma sample and second at `USUAL_LEVEL`."""
USUAL_LEVEL = 10.5
"""The level at which footage typically takes `USUAL_RATE`."""
WINDOW = 4.0
"""Seconds within which a debt of bits is repaid."""
MEMORY = 6.0
"""Seconds' worth of the target's bits beyond which debts and savings are forgotten."""
STEP = 1.5
"""Largest correction, in levels."""
KEY_CLIP = 3.0
"""Assumed cost of the first clip as a multiple of an ordinary clip's, until an ordinary one has been coded."""
FOLLOW = 0.5
"""Weight of the latest clip in the running estimate of cost."""
LOWEST = LEVEL_MIN
"""Level below which no frame's quality can go."""
LEAST = 0.15
"""Share of the target rate that is always allowed, however large the debt."""


RECODED = 1.15
"""Safety factor when a clip that was too large is coded again, so that it is not coded a third time."""
RESERVE = 0.5
"""Share of the buffer that is kept free for unusually expensive clips."""


class Control(Protocol):
    """`level` (log2 λ) is read before every clip; `measured` and `packed` report the result."""

    @property
    def level(self) -> float: ...

    wants_sizes: bool
    """Whether `packed` must be called before the next clip begins."""
    wants_psnr: bool

    def measured(self, psnr: float) -> None:
        """PSNR 6:1:1 of the frame just coded."""

    def refused(self, bits: int, seconds: float, key: bool) -> bool:
        """Return whether a clip is too large and must be coded again at the current `level`. Called only if
        `wants_sizes`; raises `UsageError` where no level is low enough."""

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        """Report a clip that was not refused: its bits, its duration, and whether it starts with a key frame."""


class Constant:
    """One level for all predicted frames."""

    wants_sizes = wants_psnr = False

    def __init__(self, settings: EncodeSettings) -> None:
        self.level = settings.level

    def measured(self, psnr: float) -> None:
        pass

    def refused(self, bits: int, seconds: float, key: bool) -> bool:
        return False

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        pass

    def _move(self, levels: float) -> None:
        low, high = LEVEL_RANGE
        self.level = min(max(self.level + min(max(levels, -STEP), STEP), low - 1.0), high)


class Bitrate(Constant):
    """Steers towards `target` bits a second by the recent cost of clips without a key frame. A key frame's bits are
    spread over its GOP, or over the rest of the video if its length is known; otherwise quality would drop after every
    key frame and rise before the next. Debts beyond `MEMORY` seconds' worth are forgotten."""

    wants_sizes = True

    def __init__(self, settings: EncodeSettings, target: float, samples: int) -> None:
        super().__init__(settings)
        self._target, self._gop = target, settings.gop
        self._total = settings.seconds if settings.seconds is not None else math.inf
        self._elapsed = self._spent = 0.0
        self._keys: list[tuple[float, float, float]] = []  # bits above an ordinary clip's, begin and end of paying
        self._saving: list[tuple[float, float, float]] = []
        low, high = LEVEL_RANGE
        self._cost = math.log2(samples * USUAL_RATE) - OCTAVES_PER_LEVEL * USUAL_LEVEL
        """log2 of the bits a second at level 0."""
        self._clips = 0
        self.level = min(max((math.log2(target) - self._cost) / OCTAVES_PER_LEVEL, low), high)

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        seconds = max(seconds, 1e-3)
        cost = math.log2(max(bits, 1) / seconds) - OCTAVES_PER_LEVEL * self.level
        if self._clips == 0:
            self._cost = cost - math.log2(KEY_CLIP)
        elif not key:
            self._cost += (cost - self._cost) * (1.0 if self._clips == 1 else FOLLOW)
        self._clips += not key or self._clips == 0
        if key:
            usual = 2 ** (self._cost + OCTAVES_PER_LEVEL * self.level)
            self._owe(max(0.0, bits - usual * seconds), seconds)
        self._elapsed += seconds
        self._spent += bits
        self._keys = [k for k in self._keys if k[2] > self._elapsed]
        unpaid = sum(b * (end - self._elapsed) / (end - begin) for b, begin, end in self._keys) - self._saved()
        owed = self._spent - unpaid - self._target * self._elapsed
        forgotten = owed - min(max(owed, -MEMORY * self._target), MEMORY * self._target)
        self._spent -= forgotten
        owed -= forgotten
        left = max(self._total - self._elapsed, seconds)
        instalments = sum(b / (end - begin) for b, begin, end in (*self._keys, *self._saving))
        allowed = self._target - instalments - owed / min(WINDOW, left)
        allowed = min(max(allowed, LEAST * self._target), 4 * self._target)
        self._move((math.log2(allowed) - self._cost) / OCTAVES_PER_LEVEL - self.level)

    def _owe(self, extra: float, seconds: float) -> None:
        """Spread a key frame's bits from now on. If the next key frame is the last, with too little time to repay it,
        save for it."""
        begin = self._elapsed
        end = begin + max(min(self._gop, self._total - begin), seconds)
        self._keys.append((max(0.0, extra - self._saved()), begin, end))
        rest = self._total - begin - self._gop
        self._saving = [(extra * (1 - rest / self._gop), begin, begin + self._gop)] if 0 < rest < self._gop else []

    def _saved(self) -> float:
        return sum(b * min((self._elapsed - begin) / (end - begin), 1.0) for b, begin, end in self._saving)


class Quality(Constant):
    """Steers towards a mean PSNR 6:1:1 of `target` dB over the last frames. A clip far from it, such as the first one
    and those after cuts, is coded again."""

    wants_psnr = True

    def __init__(self, settings: EncodeSettings, target: float) -> None:
        super().__init__(settings)
        self._target, self._sum, self._count = target, 0.0, 0
        self._above = settings.key_raise * DECIBELS_PER_LEVEL
        """By how many dB key frames are better than others."""
        self._tell = settings.told_psnr
        self._scores: list[float] = []
        self._again = 0

    def measured(self, psnr: float) -> None:
        self._scores.append(psnr)

    def refused(self, bits: int, seconds: float, key: bool) -> bool:
        missing = self._target + (self._above if key else 0.0) - sum(self._scores) / len(self._scores)
        low, high = LEVEL_RANGE
        level = min(max(self.level + missing / DECIBELS_PER_LEVEL, low - 1.0), high)
        if self._again == AGAIN or abs(missing) < FAR or level == self.level:
            return False
        self.level, self._again, self._scores = level, self._again + 1, []
        return True

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        for psnr in self._scores:
            if self._tell is not None:
                self._tell(psnr)
            self._sum += psnr
            self._count += 1
            mean = self._sum / self._count
            # the error so far is corrected over about the next second; the error of this frame counts only a little
            wanted = self._target + min(max((self._target - mean) * min(self._count, 24) / 24, -1.0), 1.0)
            self._move(0.25 * (wanted + (self._above if key else 0.0) - psnr) / DECIBELS_PER_LEVEL)
        self._scores, self._again = [], 0


class Peak:
    """A token bucket: over any stretch of time at most `rate` bits a second, plus `buffer` seconds' worth. The level of
    `inner` is lowered as the bucket empties, and a clip that does not fit is coded again. A client that receives `rate`
    bits a second and waits `buffer` seconds before the first picture never stalls."""

    wants_sizes = True

    def __init__(self, inner: Control, rate: float, buffer: float) -> None:
        self._inner, self._rate, self._size = inner, rate, rate * buffer
        self._left = self._size
        self._cost: float | None = None
        """log2 of the bits a second of clips without a key frame at level 0."""
        self._for_key = 0.0
        """Bits reserved for the next key frame: its cost at the lowest quality, plus a margin."""
        self._lowered = 0.0
        self.wants_psnr = inner.wants_psnr
        self._scores: list[float] = []

    @property
    def level(self) -> float:
        level = self._inner.level
        if self._cost is not None:
            level = min(level, (math.log2(self._allowed()) - self._cost) / OCTAVES_PER_LEVEL)
        return max(level - self._lowered, LOWEST)

    def _allowed(self) -> float:
        """The bits a second that refill the bucket to `RESERVE`."""
        return self._rate * max(0.25, 1 + 1.5 * ((self._left - self._for_key) / self._size - RESERVE))

    def measured(self, psnr: float) -> None:
        self._scores.append(psnr)

    def refused(self, bits: int, seconds: float, key: bool) -> bool:
        # leave something for the next clip after a key frame, or for the next key frame
        room = self._left * RESERVE if key else max(self._left - self._for_key, self._left * RESERVE)
        lowest = self.level <= LOWEST
        if bits <= (self._left if lowest else room):
            return False
        if lowest:
            raise UsageError(
                f"{'a key frame' if key else 'a clip'} takes {bits / 8000:.1f} kB at the lowest quality, and the "
                f"buffer has {self._left / 8000:.1f} kB left — raise --max-bitrate or --buffer, or lower --resolution"
            )
        wanted = room / RECODED if key else min(room / RECODED, self._allowed() * seconds)
        self._lowered += max(math.log2(bits / max(wanted, 1.0)) / OCTAVES_PER_LEVEL, 0.25)
        self._scores = []
        return True

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        seconds = max(seconds, 1e-3)
        if key:
            least = RECODED * bits * 2 ** (OCTAVES_PER_LEVEL * (LOWEST - self.level))
            self._for_key = min(max(least, self._for_key * FOLLOW), (1 - RESERVE / 2) * self._size)
        else:
            cost = math.log2(max(bits, 1) / seconds) - OCTAVES_PER_LEVEL * self.level
            self._cost = cost if self._cost is None else self._cost + FOLLOW * (cost - self._cost)
        self._left = min(self._left - bits + self._rate * seconds, self._size)
        self._lowered = 0.0
        for psnr in self._scores:
            self._inner.measured(psnr)
        self._scores = []
        self._inner.packed(bits, seconds, key)


def control_of(settings: EncodeSettings, samples: int) -> Control:
    """Return the rate control for `settings`; `samples`: luma samples of a frame."""
    control: Control = Constant(settings)
    if settings.target_bitrate is not None:
        control = Bitrate(settings, settings.target_bitrate, samples)
    elif settings.target_psnr is not None:
        control = Quality(settings, settings.target_psnr)
    return control if settings.max_bitrate is None else Peak(control, settings.max_bitrate, settings.buffer)
