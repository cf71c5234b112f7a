"""Frames → more frames, as a generator in constant memory: motion on a thread, the network in the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from ..media.timing import with_durations
from ..media.types import CopiedPacket, Frame, VideoFormat
from ..pipeline import ReadAhead, usable_cores
from .between import Between, Planes, flatness, in_eight, pad_planes
from .compensate import compensate
from .motion import Fields, PairSearch
from .network import Interpolation
from .times import Moment, Times

PAIRS_AHEAD = 2
CUT = (4.0, 1.5)
"""A cut where prediction misses, in both directions, more than the first figure (mean absolute luma error) and more
than the second's multiple of what the blocks' own means miss; fast motion reaches 0.8 times that, cuts begin at 2.7."""
LONGEST = Fraction(1, 4), 3
"""A frame that is shown for more seconds than the first figure, and for more than the second's times what is usual, was
meant to stand still: it is repeated."""


@dataclass
class Count:
    """What has become of the frames so far: those of the source, those that are new, those shown again, and cuts."""

    old: int = 0
    new: int = 0
    repeated: int = 0
    cuts: int = 0


@dataclass
class _Pair:
    """A frame, the output frames before the next one, and what leads there; None where nothing does."""

    frame: Frame
    following: Frame | None
    moments: list[Moment]
    between: Between | None


def is_cut(a: Planes, b: Planes, fields: Fields) -> bool:
    """Whether nothing leads from a to b, planes in 8 bits."""
    for reference, target, field in ((a, b, fields.onward), (b, a, fields.back)):
        y, _ = compensate(reference[0][None], reference[1][None], field[None])
        missed = np.abs(y[0].astype(np.int16) - target[0]).mean()
        if missed <= max(CUT[0], CUT[1] * flatness(target[0])):
            return False
    return True


def interpolated(
    items: Iterable[Frame | CopiedPacket],
    video: VideoFormat,
    times: Times,
    interpolation: Interpolation,
    threads: int | None = None,
    count: Count | None = None,
) -> Iterator[Frame | CopiedPacket]:
    """Frames of `video` in order → frames at `times`, in ticks of `times.out`; packets pass by untouched. Old frames
    are handed on as they are."""
    torch.set_num_threads(threads or max(1, usable_cores() - 1))
    count = count or Count()
    passing: list[CopiedPacket] = []
    end = 0

    def frames() -> Iterator[Frame]:
        nonlocal end
        for item in items:
            if isinstance(item, CopiedPacket):
                passing.append(item)
            else:
                end = item.pts + item.duration
                yield item

    def shown(pairs: Iterable[_Pair]) -> Iterator[Frame]:
        for pair in pairs:
            for k, moment in enumerate(pair.moments):
                yield _frame_at(pair, moment, k, interpolation, video, count)

    with ReadAhead(_pairs(frames(), video, times, count), PAIRS_AHEAD) as pairs:
        for frame in with_durations(shown(pairs), 1, lambda: times.finish(end)):
            while passing:
                yield passing.pop(0)
            yield frame
        yield from passing


def _frame_at(
    pair: _Pair, moment: Moment, number: int, interpolation: Interpolation, video: VideoFormat, count: Count
) -> Frame:
    source = pair.frame
    if moment.share == 1 and pair.following is not None:
        source = pair.following
        count.old += 1
    elif moment.share == 0 or pair.between is None:
        if number:
            count.repeated += 1
        else:
            count.old += 1
    else:
        y, uv = pair.between.frame(float(moment.share), interpolation)
        height, width = -(-video.height // 2), -(-video.width // 2)
        y, u, v = (p.copy() for p in (y[: video.height, : video.width], *uv[:, :height, :width]))
        count.new += 1
        return Frame(y, u, v, moment.pts, 0)
    return Frame(source.y, source.u, source.v, moment.pts, 0)


def _pairs(frames: Iterable[Frame], video: VideoFormat, times: Times, count: Count) -> Iterator[_Pair]:
    """Neighbours with their motion, wherever a frame between them is wanted."""
    tick = video.seconds_per_tick
    longest = max(LONGEST[0], LONGEST[1] / video.rate if video.rate else LONGEST[0])
    search: PairSearch | None = None
    before: tuple[Frame, Planes, Planes] | None = None  # as they are, and in 8 bits
    led_here: tuple[np.ndarray, int] | None = None  # the motion before, and how long it took
    for frame in frames:
        planes = pad_planes(frame)
        seen = in_eight(planes)
        if search is None:
            search = PairSearch(*planes[0].shape)
        fields = search.push(*seen)
        if before is not None and fields is not None:
            moments = times.between(before[0].pts, frame.pts)
            between, length = None, frame.pts - before[0].pts
            if (frame.pts - before[0].pts) * tick <= longest and any(0 < m.share < 1 for m in moments):
                if is_cut(before[2], seen, fields):
                    count.cuts += 1
                else:
                    steady = None if led_here is None else led_here[0] * (length / led_here[1])
                    between = Between(before[1], planes, fields, steady)
            led_here = None if between is None else (-fields.onward.astype(np.float32), length)
            yield _Pair(before[0], frame, moments, between)
        before = frame, planes, seen
    if before is not None:
        last = times.last(before[0].pts, before[0].pts + before[0].duration)
        yield _Pair(before[0], None, [Moment(pts, Fraction(0)) for pts in last], None)
