"""The level of each frame: constant, or steered towards a bit rate or a PSNR by what was coded so far.

Everything is decided from what the encoder's own thread has seen, so that the same input gives the same file.
"""

from __future__ import annotations

import math
from typing import Protocol

from ..errors import UsageError
from .payload import LEVEL_MIN
from .settings import LEVEL_RANGE, EncodeSettings

OCTAVES_PER_LEVEL = 0.5
"""About how many times 2 the rate grows with a level: the slope that corrections are made with."""
DECIBELS_PER_LEVEL = 1.5
AGAIN, FAR = 3, 1.0
"""How often a clip is coded again that misses the PSNR wanted by so many dB."""
USUAL_RATE = 2.5
"""Bits per luma sample and second that footage often needs in the middle of the levels."""
USUAL_LEVEL = 10.5
"""The level at which a video takes that much."""
WINDOW = 4.0
"""Seconds within which a debt of bits is to be paid back."""
MEMORY = 6.0
"""Seconds of the target's bits: debts and savings beyond are forgotten."""
STEP = 1.5
"""A correction's largest size, in levels."""
KEY_CLIP = 3.0
"""How many times an ordinary clip the first one costs, until there is an ordinary one."""
FOLLOW = 0.5
"""Share of the news about what clips cost that is believed at once."""
LOWEST = LEVEL_MIN
"""Level below which no frame's quality can go."""
LEAST = 0.15
"""Share of the target rate that is allowed however much is owed."""


RECODED = 1.15
"""By how much a clip that was too large is to pass below what is left, so that it is not coded a third time."""
RESERVE = 0.5
"""Share of a buffer that is kept free for what costs more than usual."""


class Control(Protocol):
    """`level` (log2 λ) is asked before every clip; `measured` and `packed` tell what came of it."""

    @property
    def level(self) -> float: ...

    wants_sizes: bool
    """Whether `packed` must be called before the next clip begins."""
    wants_psnr: bool

    def measured(self, psnr: float) -> None:
        """PSNR 6:1:1 of the frame just coded."""

    def refused(self, bits: int, seconds: float, key: bool) -> bool:
        """Whether a clip is too large and is to be coded again, at what `level` is now. Asked only where `wants_sizes`;
        raises `UsageError` where no level is low enough."""

    def packed(self, bits: int, seconds: float, key: bool) -> None:
        """A clip that was not refused: its bits, how long it is shown, and whether it starts with a key frame."""


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
    """Towards `target` bits a second, by what clips without a key frame have cost lately. A key frame's bits count as
    spent little by little over its GOP, or what is left of the video if that is known: otherwise quality would sink
    after every key frame and rise before the next. Of old debts no more is remembered than `MEMORY` seconds' worth."""

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
        """A key frame begins now. Where the next one will be the last, and has no time to be paid, it is saved for."""
        begin = self._elapsed
        end = begin + max(min(self._gop, self._total - begin), seconds)
        self._keys.append((max(0.0, extra - self._saved()), begin, end))
        rest = self._total - begin - self._gop
        self._saving = [(extra * (1 - rest / self._gop), begin, begin + self._gop)] if 0 < rest < self._gop else []

    def _saved(self) -> float:
        return sum(b * min((self._elapsed - begin) / (end - begin), 1.0) for b, begin, end in self._saving)


class Quality(Constant):
    """Towards a mean PSNR 6:1:1 of `target` dB over the last frames. A clip that is far from it, as the first one and
    those after cuts, is coded again."""

    wants_psnr = True

    def __init__(self, settings: EncodeSettings, target: float) -> None:
        super().__init__(settings)
        self._target, self._sum, self._count = target, 0.0, 0
        self._above = settings.key_raise * DECIBELS_PER_LEVEL
        """By how much key frames are better than others."""
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
            # what is missing so far is made good over the next second or so; this frame's own error is followed gently
            wanted = self._target + min(max((self._target - mean) * min(self._count, 24) / 24, -1.0), 1.0)
            self._move(0.25 * (wanted + (self._above if key else 0.0) - psnr) / DECIBELS_PER_LEVEL)
        self._scores, self._again = [], 0


class Peak:
    """Never more than `rate` bits a second over any stretch of time, but for `buffer` seconds' worth at once: a token
    bucket. What `inner` asks for is lowered as the bucket empties, and a clip that does not fit is coded again. So who
    receives `rate` bits a second and waits for `buffer` seconds before the first picture never waits again."""

    wants_sizes = True

    def __init__(self, inner: Control, rate: float, buffer: float) -> None:
        self._inner, self._rate, self._size = inner, rate, rate * buffer
        self._left = self._size
        self._cost: float | None = None
        """log2 of the bits a second of clips without a key frame at level 0."""
        self._for_key = 0.0
        """Bits kept for the next key frame: what one takes at the lowest quality, and some."""
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
        """Bits a second that bring the bucket back to `RESERVE`."""
        return self._rate * max(0.25, 1 + 1.5 * ((self._left - self._for_key) / self._size - RESERVE))

    def measured(self, psnr: float) -> None:
        self._scores.append(psnr)

    def refused(self, bits: int, seconds: float, key: bool) -> bool:
        # something is left for what comes next: the clip after a key frame, or the next key frame
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
    """The control that `settings` ask for; `samples`: luma samples of a frame."""
    control: Control = Constant(settings)
    if settings.target_bitrate is not None:
        control = Bitrate(settings, settings.target_bitrate, samples)
    elif settings.target_psnr is not None:
        control = Quality(settings, settings.target_psnr)
    return control if settings.max_bitrate is None else Peak(control, settings.max_bitrate, settings.buffer)
