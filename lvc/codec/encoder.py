"""Frames → clips: a generator whose memory does not grow.

frames ─▶ look ahead (thread) ─▶ anchors (caller) ─▶ frames between (threads) ─▶ clips
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..engine.planes import block_errors, to_patches
from ..entropy.clip import FrameLatents, latents_crc, pack_zstd
from ..errors import UnsupportedError
from ..lvz import Geometry
from ..media.types import Frame, VideoFormat
from ..models.load import Model
from ..pipeline import ReadAhead, acquire, thread_pool, usable_cores
from . import payload as layout
from .control import Control, control_of
from .frames import OFFSET, Coded, FrameEncoder, Planes, integers
from .gop import GopEncoder
from .groups import Around, Group, group_frames
from .pyramid import CHAIN, OLDER, PYRAMID, steps
from .reuse import LEAST, key_raise
from .settings import EFFORTS, Effort, EncodeSettings, is_large
from .shown import BITS, checksum, planes_of, shown
from .temporal_filter import REACH, STRENGTHS, filtered

FALL = 50
"""Eighths of a quality step between a place in the pyramid and the place before (decision 009)."""
ANCHOR_RAISE = 1.0
"""Levels by which anchors exceed the mean."""
LOWEST_KEY = 7.1
"""The level below which key frames fall apart."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip ready for the container: `pts`, `durations` and `checks` (CRC-32 of the displayed picture) per frame."""

    key: bool
    pts: list[int]
    durations: list[int]
    latents_crc: int | None
    payload: bytes
    checks: tuple[int, ...] | None = None


class _Sources(Sequence[Planes]):
    """Frames in the encoder's 12 bits, converted on access because they take twice the memory. Frames in `filters` (the
    frames around, a level and a strength) go through the temporal filter."""

    def __init__(self, frames: list[Frame], filters: dict[int, tuple[Around, float, float]]) -> None:
        self._frames, self._filters = frames, filters

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, i: Any) -> Any:
        source = planes_of(self._frames[i])
        if i not in self._filters:
            return source
        around, level, strength = self._filters[i]
        return filtered(source, [(k, partial(planes_of, f)) for k, f in around], level, strength)


def encode(
    frames: Iterable[Frame],
    video: VideoFormat,
    model: Model,
    settings: EncodeSettings,
    encoder_of: Callable[..., FrameEncoder] = FrameEncoder,
) -> Iterator[EncodedClip]:
    """Frames of one size, in order of `pts` → clips. Key frames come at least every `gop` seconds and at scene cuts; a
    key frame is a clip. `encoder_of` takes the arguments of `FrameEncoder`, for callers that observe how frames are
    coded."""
    if not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can only decode — choose another one with --model")
    height, width = video.height + -video.height % 16, video.width + -video.width % 16
    large = is_large(height, width)
    length = max(1, settings.clip_frames // 2) if large else settings.clip_frames
    tick = video.time_base[0] / video.time_base[1]
    control = control_of(settings, video.width * video.height)
    zstd = settings.packing == "zstd"
    geometry = Geometry(video.width, video.height, 16, model.planes)
    workers = settings.threads or usable_cores()
    clips_at_once = -(-workers // 2) if large else workers
    steered = control.wants_sizes or control.wants_psnr
    reach = 0 if settings.low_delay else REACH[0]
    source = group_frames(frames, settings, length, settings.gop / tick, reach)

    def effort_of(number: int) -> Effort:
        """In low delay, nothing waits for latents to be refined."""
        return Effort(EFFORTS[number].motion) if settings.low_delay else EFFORTS[number]

    lean, room = large and not steered, threading.Semaphore(clips_at_once + 1)
    with (
        thread_pool(workers, "lvc-frames") as side_by_side,
        thread_pool(clips_at_once, "lvc-clips") as pool,
        contextlib.nullcontext(_admitted(source, room)) if lean else ReadAhead(source, 1) as groups,
    ):
        encoder = GopEncoder(
            encoder_of(model, height, width, keep=zstd, detail=not zstd, at_once=workers),
            effort_of(settings.effort),
            side_by_side.map if workers > 1 else map,
            workers if large else None,
            intra=not zstd and not settings.low_delay,
        )

        def submitted(group: Group) -> Future[EncodedClip]:
            return pool.submit(_begun(encoder, group, control, settings, video, geometry if zstd else None))

        def begun() -> Iterator[Future[EncodedClip]]:
            for group in groups:
                if settings.pace is not None:
                    encoder.effort = effort_of(settings.pace())
                before = encoder.remembered()
                made = submitted(group)
                seconds = tick * sum(f.duration for f in group.frames)
                while steered and control.refused(8 * len(made.result().payload), seconds, group.key):
                    encoder.back(before)
                    made = submitted(group)
                yield made

        # where the result of a clip steers the next one, the next one waits for it
        with contextlib.nullcontext(begun()) if steered else ReadAhead(begun(), clips_at_once) as futures:
            for future in futures:
                clip = future.result()
                room.release()
                control.packed(8 * len(clip.payload), sum(clip.durations) * tick, clip.key)
                yield clip


def _admitted(groups: Iterator[Group], room: threading.Semaphore) -> Iterator[Group]:
    """Yield groups, each read when there is room for it."""
    while True:
        acquire(room)
        group = next(groups, None)
        if group is None:
            return
        yield group


def _raise_of(group: Group, control: Control, settings: EncodeSettings, video: VideoFormat) -> float:
    """By how many levels a key frame is better than others. Rate control expects always the same."""
    (key,), after = group.frames, group.after
    only = after is None and group.elapsed == 0
    if settings.low_delay or control.wants_sizes or control.wants_psnr or only:
        return settings.key_raise
    if after is None:
        return LEAST
    tick = video.time_base[0] / video.time_base[1]
    seconds = settings.gop if settings.seconds is None else min(settings.gop, settings.seconds - tick * group.elapsed)
    each = (after.frames[-1].pts - key.pts) / len(after.frames)
    frames = len(after.frames) + 1 if after.ends else max(len(after.frames) + 1, int(seconds / (tick * each)))
    distances = sorted({-(-len(after.frames) // n) for n in (4, 2, 1)})
    later = [(n, planes_of(after.frames[n - 1])[0]) for n in distances]
    return key_raise(planes_of(key)[0], later, frames)


def _begun(
    encoder: GopEncoder,
    group: Group,
    control: Control,
    settings: EncodeSettings,
    video: VideoFormat,
    geometry: Geometry | None,
) -> Callable[[], EncodedClip]:
    """Code the anchors of a group at once and return the remaining work. `geometry`: for packing `zstd`."""
    checks: dict[int, int] = {}
    kept: list[dict[str, np.ndarray]] = []
    head: layout.ClipHead | None = None
    filters: dict[int, tuple[Around, float, float]] = {}
    sources = _Sources(group.frames, filters)

    def done(number: int, coded: Coded) -> None:
        if control.wants_psnr:
            control.measured(_psnr(planes_of(group.frames[number]), coded.planes, video.bit_depth))
        if settings.told_error is not None:
            settings.told_error(_error(planes_of(group.frames[number]), coded.planes))
        checks[number] = checksum(shown(coded.planes, video.height, video.width, video.bit_depth))
        if geometry is not None:
            kept.append(integers(coded))

    between: Callable[[], bytes]
    if group.key:
        level = control.level + _raise_of(group, control, settings, video)
        quality = layout.quality_of(max(level, LOWEST_KEY))
        filters[0] = group.around, layout.level_of(quality), STRENGTHS[0]
        with encoder.turn():
            payload, coded = encoder.key(sources[0], quality)
        done(0, coded)
        between = lambda: payload  # noqa: E731
    else:
        structure = CHAIN if settings.low_delay else OLDER if encoder.older else PYRAMID
        first = layout.quality_of(control.level + (0.0 if settings.low_delay else ANCHOR_RAISE))
        order = steps(structure, len(sources), encoder.older)
        qualities = [layout.falling(first, FALL, s.place) for s in order]
        filters[len(sources) - 1] = group.around, layout.level_of(first), STRENGTHS[0]
        for step, q in zip(order, qualities, strict=True):
            if 1 <= step.place < len(STRENGTHS):
                filters[step.frame - 1] = (
                    _near(group.frames, step.frame - 1, REACH[step.place]),
                    layout.level_of(q),
                    STRENGTHS[step.place],
                )
        head = layout.ClipHead(structure, tuple(qualities))
        rest = encoder.anchors(sources, head, done)
        between = lambda: rest(done)  # noqa: E731
    times = [(f.pts, f.duration) for f in group.frames]

    def work() -> EncodedClip:
        payload, crc = between(), None
        if geometry is not None:
            kind, structure, qualities = (0, 0, (quality,)) if head is None else (1, head.structure, head.qualities)
            frames = [FrameLatents(kind, q, k) for q, k in zip(qualities, kept, strict=True)]
            payload, crc = pack_zstd(frames, geometry, structure=structure), latents_crc(frames, geometry)
        pts, durations = [t for t, _ in times], [d for _, d in times]
        return EncodedClip(group.key, pts, durations, crc, payload, tuple(checks[i] for i in range(len(times))))

    return work


def _near(frames: list[Frame], i: int, reach: int) -> Around:
    """The frames of a group around frame `i`, with their distances."""
    return [(abs(k - i), frames[k]) for k in range(max(0, i - reach), min(len(frames), i + reach + 1)) if k != i]


def _error(source: Planes, coded: Planes) -> float:
    """The squared error of padded planes, weighted as by the choices of `FrameEncoder`."""
    error = to_patches(*source, OFFSET)
    error -= to_patches(*coded, OFFSET)
    return float(block_errors(error).sum())


def _psnr(source: Planes, coded: Planes, depth: int) -> float:
    """PSNR 6:1:1 of padded planes in dB, at most 60 per plane."""
    top = ((1 << depth) - 1) << (BITS - depth)
    pairs = [(source[0], coded[0]), *zip(source[1], coded[1], strict=True)]
    errors = [float(((a.astype(np.float32) - b) ** 2).mean()) for a, b in pairs]
    y, u, v = (min(60.0, 10 * math.log10(top**2 / max(e, 1e-3))) for e in errors)
    return (6 * y + u + v) / 8
