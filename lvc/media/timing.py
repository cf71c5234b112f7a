"""Frame times: completed, made strictly increasing, cut to a range, resampled to a constant rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from lvc.media.types import Frame

_JUMP = Fraction(1, 2)  # seconds: a larger step back starts a new timeline
_LONGEST_STEP = Fraction(5)  # seconds between packets: more is a gap, as between joined recordings


class FrameClock:
    """Gives every frame a pts larger than that of the frame before.

    A missing pts is derived from the dts or the frame rate. A pts that does not increase is moved up by one tick,
    or to the dts. Where times jump back by more than half a second (joined recordings), the rest is shifted after what
    came before. `decoding_order`: the container stores only decoding times (AVI, ASF), and FFmpeg's pts is wrong where
    frames are reordered. A frame then gets the dts of the packet that precedes it by the decoder's delay.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None, decoding_order: bool = False) -> None:
        self._tick = time_base
        self.step = max(1, round(1 / (rate * time_base))) if rate else max(1, round(Fraction(1, 25) / time_base))
        self._last: int | None = None
        self._shift = 0
        self.derived = 0
        self.moved = 0
        self.jumps = 0
        self._waiting: deque[int] | None = deque() if decoding_order else None
        self._delay: int | None = None

    def sent(self, dts: int | None) -> None:
        """Note a packet that is sent to the decoder."""
        if self._waiting is not None and dts is not None:
            self._waiting.append(dts)

    def _in_order(self, dts: int | None) -> int | None:
        """The time of the next frame, output after the packet with `dts` was sent (`None`: the decoder is being
        drained)."""
        waiting = self._waiting
        if not waiting:
            return None
        if dts is not None:
            gone = sum(1 for other in waiting if other <= dts)
            if self._delay is None:
                self._delay = max(0, gone - 1)
            for _ in range(min(gone - 1 - self._delay, len(waiting) - 1)):
                waiting.popleft()  # of a frame that was never output
        return waiting.popleft()

    def stamp(self, pts: int | None, dts: int | None, duration: int) -> int:
        if self._waiting is not None:
            ordered = self._in_order(dts)
            pts = pts if ordered is None else ordered
        if pts is None:
            self.derived += 1
            expected = 0 if self._last is None else self._last + self.step
            pts = expected if dts is None or self._last is None else max(dts + self._shift, expected)
        else:
            pts += self._shift
        if self._last is not None and pts <= self._last:
            if (self._last - pts) * self._tick > _JUMP:
                correction = self._last + (duration or self.step) - pts
                self._shift += correction
                pts += correction
                self.jumps += 1
            elif dts is not None and self._last < dts + self._shift <= self._last + 4 * self.step:
                pts = dts + self._shift
            else:
                pts = self._last + 1
                self.moved += 1
        self._last = pts
        return pts


class Gaps:
    """Finds where the times of a file jump forward by more than 5 s and ten frames. All streams share the gaps.

    `see` takes the time of every packet in seconds; `before` returns the total length of the gaps before a time.
    """

    def __init__(self, rate: Fraction | None) -> None:
        self._longest = max(_LONGEST_STEP, 10 / rate) if rate else _LONGEST_STEP
        self.found: list[tuple[Fraction, Fraction]] = []  # middle and length of each
        self._ends: dict[int, Fraction] = {}

    def see(self, stream: int, start: Fraction, duration: Fraction) -> None:
        end = self._ends.get(stream)
        if end is not None and start - end > self._longest and not any(end <= at <= start for at, _ in self.found):
            self.found.append(((start + end) / 2, start - end))
        if end is None or start + duration > end or start < end - self._longest:
            self._ends[stream] = start + duration

    def before(self, time: Fraction) -> Fraction:
        return sum((length for at, length in self.found if at <= time), Fraction(0))


class ArrivalClock(FrameClock):
    """Stamps frames with their time of arrival in milliseconds, from `arrival`.

    Frames that arrive in a burst after a delay are spread out: the distance between two is at least nearly that of the
    stream's own times. `offset`: how far the stream's time is ahead, in seconds; copied packets are moved back by it.
    `over`: the source has ended, and the frames stamped now were delayed in the decoder.
    """

    TICK = Fraction(1, 1000)
    _SPREAD = Fraction(98, 100)  # below 1, so that stamps catch up with the clock after a burst
    _FARTHEST = 1000  # milliseconds

    def __init__(self, arrival: Callable[[], int], stream_tick: Fraction, rate: Fraction | None) -> None:
        super().__init__(self.TICK, rate)
        self._arrival, self._stream_tick = arrival, stream_tick
        self._own: Fraction | None = None
        self.offset: Fraction | None = None
        self.over = False

    def stamp(self, pts: int | None, dts: int | None, duration: int) -> int:
        ticks = pts if pts is not None else dts
        own = None if ticks is None else ticks * self._stream_tick
        now = self._arrival()
        if self._last is None:
            self.offset = (own or 0) - now * self.TICK
        else:
            apart = self.step if own is None or self._own is None else int((own - self._own) / self.TICK * self._SPREAD)
            least = self._last + min(max(1, apart), self._FARTHEST)
            now = least if self.over else max(now, least)
        self._own, self._last = own, now
        return now


def with_durations(frames: Iterable[Frame], step: int, end: Callable[[], int | None]) -> Iterator[Frame]:
    """Set each duration to the distance to the next frame. The last frame lasts until `end()`, which is called when it
    is reached. If that is unknown, it keeps its own duration, or takes that of the frame before.
    """
    held: Frame | None = None
    before = 0
    for frame in frames:
        if held is not None:
            held.duration = before = frame.pts - held.pts
            yield held
        held = frame
    if held is not None:
        last = end()
        if last is not None and last > held.pts:
            held.duration = last - held.pts
        held.duration = held.duration or before or step
        yield held


@dataclass(frozen=True)
class Cut:
    """A range of the timeline in seconds, from `begin` (inclusive) to `end` (exclusive); `None` means unbounded.

    Times become relative to `begin`, if given.
    """

    begin: Fraction | None = None
    end: Fraction | None = None

    def shift(self, tick: Fraction) -> int:
        """Ticks to subtract from every time."""
        return round(self.begin / tick) if self.begin is not None else 0

    def has_begun(self, ticks: int, tick: Fraction) -> bool:
        # half a tick of tolerance, so that 2.5 s finds a frame whose time was rounded to just below it
        return self.begin is None or (ticks + Fraction(1, 2)) * tick >= self.begin

    def is_over(self, ticks: int, tick: Fraction) -> bool:
        return self.end is not None and (ticks + Fraction(1, 2)) * tick >= self.end


def at_constant_rate(frames: Iterable[Frame], tick: Fraction, rate: Fraction) -> Iterator[Frame]:
    """Repeat and drop frames so that there is one at every 1/`rate` seconds; the new time base is 1/`rate`."""
    done: int | None = None
    last: Frame | None = None
    for frame in frames:
        last = frame
        start = _nearest(frame.pts * tick * rate)
        stop = _nearest((frame.pts + frame.duration) * tick * rate)
        if done is not None:
            start = max(start, done)
        for number in range(start, stop):
            yield replace(frame, pts=number, duration=1)
            done = number + 1
    if done is None and last is not None:
        yield replace(last, pts=_nearest(last.pts * tick * rate), duration=1)


def _nearest(value: Fraction) -> int:
    """Round half up, so that a regular pattern stays regular."""
    return int((value + Fraction(1, 2)).__floor__())
