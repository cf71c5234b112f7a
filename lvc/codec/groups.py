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
    """Frames of a clip; `around`: the frames around its last one. `ends`: no more frames follow before the next key
    frame. Of a key frame: `elapsed` ticks since the video's first frame, and the group `after` it, if that is known."""

    key: bool
    frames: list[Frame] = field(default_factory=list)
    around: Around = field(default_factory=list)
    ends: bool = False
    elapsed: int = 0
    after: Group | None = None


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
    or `SHORT` in lively scenes. `reach`: how many frames before and after are kept. Unless in low delay, a key frame
    comes when the group after it is known."""
    key: Group | None = None
    for group in _groups(frames, length, ticks, reach):
        if key is not None:
            key.after = None if group.key else group
            yield key
        key = group if group.key and not settings.low_delay else None
        if key is None:
            yield group
    if key is not None:
        yield key


def _groups(frames: Iterable[Frame], length: int, ticks: float, reach: int) -> Iterator[Group]:
    group, change = Group(False), 0.0
    first_pts: int | None = None
    key_pts: int | None = None
    for seen in look_ahead(frames, reach):
        frame = seen.frame
        first_pts = frame.pts if first_pts is None else first_pts
        if key_pts is None or frame.pts - key_pts >= ticks or seen.cut:
            if group.frames:
                group.ends = True
                yield group
            yield Group(True, [frame], seen.around, elapsed=frame.pts - first_pts)
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
        group.ends = True
        yield group
