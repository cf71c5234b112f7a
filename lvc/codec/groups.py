"""Frames in groups: a key frame, or the frames of a clip, each with the frames around its last one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..media.types import Frame
from .lookahead import LookAhead
from .settings import EncodeSettings
from .shown import planes_of

SHORT, LIVELY = 16, 0.17
"""Frames between anchors in lively scenes, and what makes a scene lively: the mean error of prediction from the frame
before, as a share of the error of block means (decision 009)."""

Around = list[tuple[int, Frame]]
"""Distances in frames, and frames of the same scene."""


@dataclass
class Seen:
    """A frame, whether it begins a scene, how much it changes, and the frames around it for the temporal filter."""

    frame: Frame
    cut: bool
    change: float
    around: Around = field(default_factory=list)


@dataclass
class Group:
    """Frames of a clip; `around`: the frames around its last one."""

    key: bool
    frames: list[Frame] = field(default_factory=list)
    around: Around = field(default_factory=list)


def look_ahead(frames: Iterable[Frame], reach: int) -> Iterator[Seen]:
    """Yield every frame, `reach` frames late, with up to `reach` frames before and after it in `around`."""
    look = LookAhead()
    before: deque[Frame] = deque(maxlen=reach)
    waiting: deque[Seen] = deque()

    def first() -> Seen:
        seen = waiting.popleft()
        if seen.cut:
            before.clear()
        seen.around = [(len(before) - i, f) for i, f in enumerate(before)]
        seen.around += [(i + 1, s.frame) for i, s in enumerate(waiting)]
        before.append(seen.frame)
        return seen

    for frame in frames:
        missed, flat = look.see(planes_of(frame)[0])
        cut = look.cut(missed, flat)
        while waiting and (cut or len(waiting) > reach):
            yield first()
        waiting.append(Seen(frame, cut, missed / max(flat, 0.5)))
        if not reach:
            yield first()
    while waiting:
        yield first()


def group_frames(
    frames: Iterable[Frame], settings: EncodeSettings, length: int, ticks: float, reach: int
) -> Iterator[Group]:
    """Group frames: a key frame alone, at cuts and every `ticks` of the time base; other frames up to `length` a group,
    or `SHORT` in lively scenes. `reach`: how many frames before and after are kept."""
    group, change = Group(False), 0.0
    key_pts: int | None = None
    for seen in look_ahead(frames, reach):
        frame = seen.frame
        if key_pts is None or frame.pts - key_pts >= ticks or seen.cut:
            if group.frames:
                yield group
            yield Group(True, [frame], seen.around)
            key_pts, group, change = frame.pts, Group(False), 0.0
            continue
        group.frames.append(frame)
        group.around = seen.around
        change += seen.change
        count = len(group.frames)
        if count == length or (count == SHORT < length and change > LIVELY * SHORT):
            yield group
            group, change = Group(False), 0.0
    if group.frames:
        yield group
