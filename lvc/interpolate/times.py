"""Which moments new frames show, and when: exact, in a time base that holds both old times and new ones."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_MAX_TICKS = (1 << 31) - 1
"""Ticks in a second that containers can count."""
_NEAR = Fraction(1, 1000)
"""Seconds: a moment this near to an old frame shows that frame. Containers that count in milliseconds round by half."""


@dataclass(frozen=True)
class Moment:
    """An output frame at `pts`; it shows what is the `share` of the way from an old frame to the next: 0 is the old
    one, 1 the next one itself."""

    pts: int
    share: Fraction


class Times:
    """Of old frames in order, whose times count in `tick` seconds: output frames between each and the next, and behind
    the last. Output times count in `out` seconds."""

    out: Fraction

    def between(self, a: int, b: int) -> list[Moment]:
        """From the old frame at `a` (inclusive) to the next at `b` (exclusive)."""
        raise NotImplementedError

    def last(self, a: int, end: int) -> list[int]:
        """Output times at which the last frame, from `a` to `end`, is shown."""
        raise NotImplementedError

    def finish(self, end: int) -> int:
        """When the output ends that ends at `end`."""
        raise NotImplementedError


class Multiplied(Times):
    """`factor` frames for every one: the old ones keep their times, the new ones divide what is between."""

    def __init__(self, tick: Fraction, factor: int) -> None:
        self._factor = factor
        self._finer = factor if (tick / factor).denominator <= _MAX_TICKS else 1
        self.out = tick / self._finer

    def between(self, a: int, b: int) -> list[Moment]:
        return [Moment(pts, share) for pts, share in self._divided(a, b)]

    def last(self, a: int, end: int) -> list[int]:
        return [pts for pts, _ in self._divided(a, end)]

    def finish(self, end: int) -> int:
        return end * self._finer

    def _divided(self, a: int, b: int) -> list[tuple[int, Fraction]]:
        found: dict[int, Fraction] = {}  # a tick too coarse for all of them has the first of each time
        for k in range(self._factor):
            share = Fraction(k, self._factor)
            found.setdefault(_nearest((a + (b - a) * share) * self._finer), share)
        return [(pts, share) for pts, share in found.items() if pts < b * self._finer or b <= a]


class Constant(Times):
    """One frame every 1/`rate` seconds, counted from 0; the first at the place nearest to the first old one."""

    def __init__(self, tick: Fraction, rate: Fraction) -> None:
        self._tick, self._rate = tick, rate
        self.out = 1 / rate
        self._next: int | None = None

    def _numbers(self, a: int, b: int) -> range:
        """Of output frames at or behind time `a`, before `b`."""
        if self._next is None:
            self._next = _nearest(a * self._tick * self._rate)
        stop = -((-b * self._tick * self._rate) // 1)
        numbers = range(self._next, max(self._next, int(stop)))
        self._next = numbers.stop
        return numbers

    def between(self, a: int, b: int) -> list[Moment]:
        length = (b - a) * self._tick
        near = min(Fraction(1, 4), _NEAR / length)
        moments = []
        for number in self._numbers(a, b):
            share = max(Fraction(0), (number * self.out - a * self._tick) / length)
            share = Fraction(0) if share <= near else Fraction(1) if share >= 1 - near else share
            moments.append(Moment(number, share))
        return moments

    def last(self, a: int, end: int) -> list[int]:
        alone = self._next is None
        numbers = self._numbers(a, end)
        return [numbers.start] if alone and not numbers else list(numbers)

    def finish(self, end: int) -> int:
        return -int(-end * self._tick * self._rate // 1)


def _nearest(value: Fraction) -> int:
    """Halves go up."""
    return int((value + Fraction(1, 2)) // 1)
