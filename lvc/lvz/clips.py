"""Payload of `CLIP`: consecutive clips of one GOP and the times of their frames (`formats/lvz.md`, section 6).

A chunk holds several clips while they are small, so that at low bit rates they share framing and times. Times are
stored as differences from a regular grid, and cost nothing per frame at a constant rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvc.errors import CorruptError, LimitError, UnsupportedError
from lvc.limits import DEFAULT, Limits
from lvc.lvz import fields as f
from lvc.lvz.checks import CHECK_BITS, bits_for, pack_checks, unpack_checks
from lvc.lvz.records import PACKING_RANS, Clip, VideoDescriptor

_KEY, _GOP_END, _OWN_STEP, _OWN_DURATIONS = 1, 2, 4, 8
_CHECK_SIZE = 4  # from this bit on, two bits
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
    """Times of frames at a constant rate, in ticks: at the rate of the stream (rounded half up), or `step` ticks
    apart."""
    if step is not None:
        return [i * step for i in range(count)]
    ticks = video.time_base[1] * video.frame_rate[1]
    per = video.time_base[0] * video.frame_rate[0]
    if per == 0:
        return [0] * count
    return [(2 * i * ticks + per) // (2 * per) for i in range(first_frame, first_frame + count)]


def pack_clips(group: ClipGroup, video: VideoDescriptor) -> bytes:
    """Pack clips whose frames, times and checks the caller has validated."""
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
    checks = b""
    if video.checks:
        most = min(c.check_bits or CHECK_BITS[-1] for c in clips)
        bits = bits_for(len(pts), sum(len(c.payload) for c in clips), most)
        flags |= CHECK_BITS.index(bits) << _CHECK_SIZE
        checks = pack_checks([check for c in clips for check in c.checks or ()], bits)
    parts = [f.u8(flags), f.uvarint(clips[0].first_frame), f.uvarint(len(clips)), f.ints([c.n_frames for c in clips])]
    parts.append(times)
    for clip in clips:
        parts.append(f.uvarint(len(clip.payload)))
        if clip.latents_crc is not None and video.packing != PACKING_RANS:
            parts.append(f.u32(clip.latents_crc))
    return b"".join([*parts, checks, *(c.payload for c in clips)])


def most_frames(video: VideoDescriptor, limits: Limits = DEFAULT) -> int:
    """The most frames of a clip: for large pictures, a reader's limit on values is lower than that on frames."""
    geometry = video.geometry
    per_frame = max(1, geometry.max_clip_symbols(1))
    within_values = geometry.temporal_lead + geometry.temporal_stride * (limits.max_clip_symbols // per_frame - 1)
    return min(_frame_limit(video, limits), within_values)


def _frame_limit(video: VideoDescriptor, limits: Limits) -> int:
    return limits.max_rans_frames if video.packing == PACKING_RANS else limits.max_clip_frames


def _clip_frames(r: f.Fields, video: VideoDescriptor, limits: Limits) -> list[int]:
    """Numbers of frames of each clip. They bound everything that is allocated later."""
    n_clips = r.uvarint()
    if n_clips < 1 or n_clips * (2 if video.packing == PACKING_RANS else 6) > r.left:
        raise r.bad(f"{n_clips} clips do not fit into {r.left} bytes")
    if n_clips > limits.max_group_frames:
        raise LimitError(f"{n_clips} clips in a chunk, limit {limits.max_group_frames}")
    frames = r.ints(n_clips)
    if min(frames) < 1:
        raise r.bad("a clip without frames")
    most = _frame_limit(video, limits)
    if max(frames) > most:
        raise LimitError(f"{max(frames)} frames in a clip, limit {most}")
    video.geometry.check_clip(video.geometry.latent_frames(max(frames)), limits)
    if sum(frames) > limits.max_group_frames:
        raise LimitError(f"{sum(frames)} frames in a chunk, limit {limits.max_group_frames}")
    return frames


def unpack_clips(payload: bytes, video: VideoDescriptor, limits: Limits) -> ClipGroup:
    """Raises `CorruptError`, `LimitError` (frames or latent values per clip), `UnsupportedError` (reserved flag, or the
    layout before 0.1.0)."""
    try:
        return _unpacked(payload, video, limits)
    except (CorruptError, LimitError):
        if video.packing != PACKING_RANS and _is_early(payload):
            text = "CLIP is laid out as by a version before 0.1.0 — encode the source again"
            raise UnsupportedError(text) from None
        raise


def _is_early(payload: bytes) -> bool:
    """Whether the payload fits the layout before 0.1.0, where all clips of a chunk had the same number of frames."""
    r = f.Fields(payload, "CLIP")
    try:
        flags, _, n_frames, per_clip = r.u8(), r.uvarint(1 << 48), r.uvarint(), r.uvarint()
        if flags >= 1 << _CHECK_SIZE or not 1 <= per_clip <= n_frames <= DEFAULT.max_group_frames:
            return False
        if flags & _OWN_STEP:
            r.uvarint(TIME_BOUND)
        r.ints(n_frames)
        if flags & _OWN_DURATIONS:
            r.ints(n_frames)
        else:
            r.uvarint(TIME_BOUND)
        n_clips = -(-n_frames // per_clip)
        sizes = [(r.uvarint(), r.u32())[0] for _ in range(n_clips)] if 6 * n_clips <= r.left else [0]
        r.take(sum(sizes))
        r.end()
        return min(sizes) > 0
    except CorruptError:
        return False


def _unpacked(payload: bytes, video: VideoDescriptor, limits: Limits) -> ClipGroup:
    r = f.Fields(payload, "CLIP")
    flags = r.u8()
    check_size = flags >> _CHECK_SIZE
    if check_size >= len(CHECK_BITS) or (check_size and not video.checks):
        raise UnsupportedError("CLIP uses a reserved flag — use a newer lvc")
    first_frame = r.uvarint(1 << 48)
    frames = _clip_frames(r, video, limits)
    n_frames = sum(frames)
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
    table = [(r.uvarint(), None if video.packing == PACKING_RANS else r.u32()) for _ in frames]
    bits = CHECK_BITS[check_size] if video.checks else 0
    checks = unpack_checks(r.take(-(-n_frames * bits // 8)), n_frames, bits) if bits else None
    clips = []
    a = 0
    for count, (size, crc) in zip(frames, table, strict=True):
        if size == 0:
            raise r.bad("a clip without bytes")
        b = a + count
        of_frames = None if checks is None else tuple(checks[a:b])
        key = bool(flags & _KEY) and a == 0
        clips.append(Clip(first_frame + a, key, pts[a:b], durations[a:b], crc, r.take(size), of_frames, bits))
        a = b
    r.end()
    return ClipGroup(clips, bool(flags & _GOP_END))


def _minus(a: Sequence[int], b: Sequence[int]) -> list[int]:
    return [x - y for x, y in zip(a, b, strict=True)]
