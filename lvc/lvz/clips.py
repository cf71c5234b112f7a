"""Payload of `CLIP`: consecutive clips of one GOP and the times of their frames (`formats/lvz.md`, section 6).

One chunk holds several clips while they are small, so that at low rates framing and times are paid once for many; times
are stored as differences from a regular grid and cost nothing per frame when the rate is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvc.errors import LimitError, UnsupportedError
from lvc.limits import Limits
from lvc.lvz import fields as f
from lvc.lvz.records import Clip, VideoDescriptor

_KEY, _GOP_END, _OWN_STEP, _OWN_DURATIONS = 1, 2, 4, 8
TIME_BOUND = 1 << 61


@dataclass(frozen=True)
class ClipGroup:
    """One `CLIP` chunk. `gop_end`: the writer knew that the GOP ends here (it may also end where this is false)."""

    clips: list[Clip]
    gop_end: bool

    @property
    def key(self) -> bool:
        return self.clips[0].key

    @property
    def first_frame(self) -> int:
        return self.clips[0].first_frame

    @property
    def end_frame(self) -> int:
        return self.clips[-1].first_frame + self.clips[-1].n_frames

    @property
    def start_pts(self) -> int:
        return self.clips[0].pts[0]

    @property
    def last_pts(self) -> int:
        return self.clips[-1].pts[-1]

    @property
    def end_pts(self) -> int:
        return self.last_pts + self.clips[-1].durations[-1]


def _grid(video: VideoDescriptor, first_frame: int, count: int, step: int | None) -> list[int]:
    """Where frames would be at a constant rate, in ticks: of the stream (rounded half up), or `step` ticks apart."""
    if step is not None:
        return [i * step for i in range(count)]
    ticks = video.time_base[1] * video.frame_rate[1]
    per = video.time_base[0] * video.frame_rate[0]
    if per == 0:
        return [0] * count
    return [(2 * i * ticks + per) // (2 * per) for i in range(first_frame, first_frame + count)]


def pack_clips(group: ClipGroup, video: VideoDescriptor) -> bytes:
    """All clips but the last have the same number of frames; the caller has checked that and the times."""
    clips = group.clips
    pts = [t for c in clips for t in c.pts]
    durations = [d for c in clips for d in c.durations]
    flags = _KEY * group.key + _GOP_END * group.gop_end
    times = f.ints(_minus(pts, _grid(video, clips[0].first_frame, len(pts), None)))
    step = (pts[-1] - pts[0]) // (len(pts) - 1) if len(pts) > 1 else 0
    own = f.uvarint(step) + f.ints(_minus(pts, _grid(video, 0, len(pts), step)))
    if len(own) < len(times):
        flags, times = flags | _OWN_STEP, own
    own_durations = f.ints(durations)
    if durations[:-1] == [b - a for a, b in zip(pts, pts[1:], strict=False)]:
        times += f.uvarint(durations[-1])
    else:
        flags, times = flags | _OWN_DURATIONS, times + own_durations
    parts = [f.u8(flags), f.uvarint(clips[0].first_frame), f.uvarint(len(pts)), f.uvarint(clips[0].n_frames), times]
    for clip in clips:
        parts += [f.uvarint(len(clip.payload)), f.u32(clip.latents_crc)]
    return b"".join(parts + [c.payload for c in clips])


def unpack_clips(payload: bytes, video: VideoDescriptor, limits: Limits) -> ClipGroup:
    """Raises `CorruptError`, `LimitError` (frames or latent values per clip), `UnsupportedError` (reserved flag)."""
    r = f.Fields(payload, "CLIP")
    flags = r.u8()
    if flags & ~(_KEY | _GOP_END | _OWN_STEP | _OWN_DURATIONS):
        raise UnsupportedError("CLIP uses a reserved flag — use a newer lvc")
    first_frame, n_frames, per_clip = r.uvarint(1 << 48), r.uvarint(), r.uvarint()
    if not 1 <= per_clip <= n_frames:
        raise r.bad(f"{n_frames} frames, {per_clip} in each clip")
    if per_clip > limits.max_clip_frames:
        raise LimitError(f"{per_clip} frames in a clip, limit {limits.max_clip_frames}")
    video.geometry.check_clip(video.geometry.latent_frames(per_clip), limits)
    n_clips = -(-n_frames // per_clip)
    if 6 * n_clips > r.left:
        raise r.bad(f"{n_clips} clips do not fit into {r.left} bytes")
    if n_frames > limits.max_group_frames:
        raise LimitError(f"{n_frames} frames in a chunk, limit {limits.max_group_frames}")
    step = r.uvarint(TIME_BOUND) if flags & _OWN_STEP else None
    grid = _grid(video, first_frame, n_frames, step)
    pts = [a + b for a, b in zip(grid, r.ints(n_frames), strict=True)]
    if flags & _OWN_DURATIONS:
        durations = r.ints(n_frames)
    else:
        durations = _minus(pts[1:], pts[:-1]) + [r.uvarint(TIME_BOUND)]
    if any(a >= b for a, b in zip(pts, pts[1:], strict=False)):
        raise r.bad("pts do not increase")
    if abs(pts[0]) >= TIME_BOUND or abs(pts[-1]) >= TIME_BOUND or min(durations) < 0 or max(durations) >= TIME_BOUND:
        raise r.bad("a time is out of range")
    table = [(r.uvarint(), r.u32()) for _ in range(n_clips)]
    clips = []
    for i, (size, crc) in enumerate(table):
        if size == 0:
            raise r.bad("a clip without bytes")
        a, b = i * per_clip, min((i + 1) * per_clip, n_frames)
        key = bool(flags & _KEY) and i == 0
        clips.append(Clip(first_frame + a, key, pts[a:b], durations[a:b], crc, r.take(size)))
    r.end()
    return ClipGroup(clips, bool(flags & _GOP_END))


def _minus(a: Sequence[int], b: Sequence[int]) -> list[int]:
    return [x - y for x, y in zip(a, b, strict=True)]
