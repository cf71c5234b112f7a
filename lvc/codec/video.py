"""Frames ↔ clips, as generators in memory that does not grow.

encode: frames ─▶ look ahead (thread) ─▶ anchors (caller) ─▶ what is between (threads) ─▶ clips
decode: clips ─▶ anchors (caller) ─▶ what is between (threads) ─▶ frames
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..entropy.clip import FrameLatents, latents_crc, pack_zstd, unpack_structured, verify_latents
from ..errors import CorruptError, UnsupportedError
from ..limits import DEFAULT, Limits
from ..lvz import PACKING_NAMES, Clip, Geometry, VideoDescriptor, fold
from ..media.types import Frame, VideoFormat
from ..models.load import Model
from ..pipeline import ReadAhead, usable_cores
from . import payload as layout
from .control import Control, control_of
from .frames import Coded, FrameDecoder, FrameEncoder, Planes, integers
from .gop import GopDecoder, GopEncoder
from .lookahead import LookAhead
from .pyramid import CHAIN, OLDER, PYRAMID, steps
from .settings import EFFORTS, EncodeSettings
from .shown import checksum, padded, shown
from .temporal_filter import STRENGTHS, filtered

LARGE = 1_500_000
"""Luma samples of a frame from which a clip is half as long: all of a clip's frames are in memory."""
SHORT, LIVELY = 16, 0.17
"""Frames between anchors where prediction from the frame before misses more than the second figure, as a share of what
blocks' means miss, on the average of those frames (decision 009)."""
FALL = 50
"""Eighths of a quality by which each place in the pyramid is below the one before (decision 009)."""
ANCHOR_RAISE = 1.0
"""Levels of anchors above the mean."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip ready for the container: `pts`, `durations` and `checks` (CRC-32 of what is shown) per frame."""

    key: bool
    pts: list[int]
    durations: list[int]
    latents_crc: int | None
    payload: bytes
    checks: tuple[int, ...] | None = None


Around = list[tuple[int, Frame]]
"""Frames of the same scene, and how far away each is."""


@dataclass
class _Seen:
    """A frame, whether a scene begins with it, its change, and frames around it that are to help filter it."""

    frame: Frame
    cut: bool
    change: float
    around: Around = field(default_factory=list)


@dataclass
class _Group:
    """Frames of a clip; `around` the last of them."""

    key: bool
    frames: list[Frame] = field(default_factory=list)
    around: Around = field(default_factory=list)


class _Sources(Sequence[Planes]):
    """Frames as the encoder takes them, made when they are asked for: in 12 bits they take twice the memory. Those in
    `filters`, which have what is around them, a level and a strength, go through the temporal filter."""

    def __init__(self, frames: list[Frame], filters: dict[int, tuple[Around, float, float]]) -> None:
        self._frames, self._filters = frames, filters

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, i: Any) -> Any:
        source = _padded(self._frames[i])
        if i not in self._filters:
            return source
        around, level, strength = self._filters[i]
        return filtered(source, [(k, _padded(f)) for k, f in around], level, strength)


def _padded(frame: Frame) -> Planes:
    return padded(frame.y, frame.u, frame.v, 8 if frame.y.dtype == np.uint8 else 10)


def _seen(frames: Iterable[Frame], reach: int) -> Iterator[_Seen]:
    """Every frame, `reach` frames late, with up to so many before and after it in `around`."""
    look = LookAhead()
    before: deque[Frame] = deque(maxlen=reach)
    waiting: deque[_Seen] = deque()

    def first() -> _Seen:
        seen = waiting.popleft()
        if seen.cut:
            before.clear()
        seen.around = [(len(before) - i, f) for i, f in enumerate(before)]
        seen.around += [(i + 1, s.frame) for i, s in enumerate(waiting)]
        before.append(seen.frame)
        return seen

    for frame in frames:
        missed, flat = look.see(_padded(frame)[0])
        cut = look.cut(missed, flat)
        while waiting and (cut or len(waiting) > reach):
            yield first()
        waiting.append(_Seen(frame, cut, missed / max(flat, 0.5)))
        if not reach:
            yield first()
    while waiting:
        yield first()


def _grouped(
    frames: Iterable[Frame], settings: EncodeSettings, length: int, ticks: float, reach: int
) -> Iterator[_Group]:
    """Frames in groups: key frames alone, at cuts and every `ticks` of the time base, others up to `length` a group, or
    `SHORT` where much changes. `reach`: of the frames around that are kept."""
    group, change = _Group(False), 0.0
    key_pts: int | None = None
    for seen in _seen(frames, reach):
        frame = seen.frame
        if key_pts is None or frame.pts - key_pts >= ticks or seen.cut:
            if group.frames:
                yield group
            yield _Group(True, [frame], seen.around)
            key_pts, group, change = frame.pts, _Group(False), 0.0
            continue
        group.frames.append(frame)
        group.around = seen.around
        change += seen.change
        count = len(group.frames)
        if count == length or (count == SHORT < length and change > LIVELY * SHORT):
            yield group
            group, change = _Group(False), 0.0
    if group.frames:
        yield group


def encode(
    frames: Iterable[Frame], video: VideoFormat, model: Model, settings: EncodeSettings
) -> Iterator[EncodedClip]:
    """Frames of one size, in order of `pts` → clips. Key frames come at least every `gop` seconds and at scene cuts;
    a key frame is a clip."""
    if not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can only decode — choose another one with --model")
    height, width = video.height + -video.height % 16, video.width + -video.width % 16
    length = settings.clip_frames if height * width < LARGE else max(1, settings.clip_frames // 2)
    tick = video.time_base[0] / video.time_base[1]
    control = control_of(settings, video.width * video.height)
    zstd = settings.packing == "zstd"
    encoder = GopEncoder(FrameEncoder(model, height, width, keep=zstd), EFFORTS[settings.effort])
    geometry = Geometry(video.width, video.height, 16, model.planes)
    workers = settings.threads or usable_cores()
    steered = control.wants_sizes or control.wants_psnr
    reach = 0 if settings.low_delay else EFFORTS[settings.effort].reach
    source = _grouped(frames, settings, length, settings.gop / tick, reach)
    with _workers(workers, "lvc-encode") as pool, ReadAhead(source, 1) as groups:

        def begun() -> Iterator[Future[EncodedClip]]:
            for group in groups:
                if settings.pace is not None:
                    encoder.effort = EFFORTS[settings.pace()]
                yield pool.submit(_begun(encoder, group, control, settings, video, geometry if zstd else None, reach))

        # what is steered by what came of a clip begins the next one afterwards
        with contextlib.nullcontext(begun()) if steered else ReadAhead(begun(), workers) as futures:
            for future in futures:
                clip = future.result()
                control.packed(8 * len(clip.payload), sum(clip.durations) * tick, clip.key)
                yield clip


@contextlib.contextmanager
def _workers(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads; work that has not begun when the caller leaves is not begun."""
    pool = ThreadPoolExecutor(count, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(
    encoder: GopEncoder,
    group: _Group,
    control: Control,
    settings: EncodeSettings,
    video: VideoFormat,
    geometry: Geometry | None,
    reach: int,
) -> Callable[[], EncodedClip]:
    """Codes the anchors of a group at once, and gives the work that is left. `geometry`: for packing `zstd`. `reach`:
    of the temporal filter."""
    checks: dict[int, int] = {}
    kept: list[dict[str, np.ndarray]] = []
    head: layout.ClipHead | None = None
    filters: dict[int, tuple[Around, float, float]] = {}
    sources = _Sources(group.frames, filters)

    def done(number: int, coded: Coded) -> None:
        if control.wants_psnr:
            control.measured(_psnr(_padded(group.frames[number]), coded.planes))
        checks[number] = checksum(shown(coded.planes, video.height, video.width, 8))
        if geometry is not None:
            kept.append(integers(coded))

    between: Callable[[], bytes]
    if group.key:
        quality = layout.quality_of(control.level + settings.key_raise)
        filters[0] = group.around, layout.level_of(quality), STRENGTHS[0]
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
            if 1 <= step.place < len(STRENGTHS) and reach:
                filters[step.frame - 1] = (
                    _near(group.frames, step.frame - 1, reach),
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
    """Frames of a group around one of them."""
    return [(abs(k - i), frames[k]) for k in range(max(0, i - reach), min(len(frames), i + reach + 1)) if k != i]


def _psnr(source: Planes, coded: Planes) -> float:
    """PSNR 6:1:1 of padded planes in dB, at most 60 per plane."""
    pairs = [(source[0], coded[0]), *zip(source[1], coded[1], strict=True)]
    errors = [float(((a.astype(np.float32) - b) ** 2).mean()) for a, b in pairs]
    y, u, v = (min(60.0, 10 * math.log10(4080**2 / max(e, 1e-3))) for e in errors)
    return (6 * y + u + v) / 8


def decode(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    wanted: Callable[[int, int], bool] | None = None,
) -> Iterator[Frame]:
    """Clips in order, starting with a key clip → frames. `wanted` is asked for a frame's number and pts: of the others
    only those are decoded that are needed, and none is given. Raises `CorruptError` where a frame does not match its
    checksum, `UnsupportedError` for planes that are not the model's."""
    geometry = video.geometry
    if tuple(geometry.planes) != model.planes or geometry.align != 16:
        raise UnsupportedError("the file's planes do not match its model — update lvc")
    if PACKING_NAMES.get(video.packing) not in ("rans", "zstd"):
        raise UnsupportedError(f"packing {video.packing} is unknown — update lvc")
    decoder = GopDecoder(FrameDecoder(model, geometry.padded_height, geometry.padded_width))
    workers = threads or usable_cores()
    with _workers(workers, "lvc-decode") as pool:

        def begun() -> Iterator[Future[list[Frame]]]:
            for clip in clips:
                geometry.check_clip(len(clip.pts), limits)
                yield pool.submit(_decoding(decoder, clip, video, limits, wanted))

        with ReadAhead(begun(), workers) as futures:
            for future in futures:
                yield from future.result()


def _decoding(
    decoder: GopDecoder,
    clip: Clip,
    video: VideoDescriptor,
    limits: Limits,
    wanted: Callable[[int, int], bool] | None,
) -> Callable[[], list[Frame]]:
    """Decodes a clip's anchors at once, and gives the work that is left."""
    frames = len(clip.pts)
    numbers = set(range(frames))
    if wanted is not None:
        numbers = {i for i in numbers if wanted(clip.first_frame + i, clip.pts[i])}
    out: dict[int, Frame] = {}

    def done(number: int, coded: Coded) -> None:
        if number not in numbers:
            return
        planes = shown(coded.planes, video.height, video.width, video.bit_depth)
        if clip.checks is not None and fold(checksum(planes), clip.check_bits) != clip.checks[number]:
            raise CorruptError(f"frame {clip.first_frame + number} does not match its checksum")
        out[number] = Frame(*planes, clip.pts[number], clip.durations[number])

    def ready() -> list[Frame]:
        return [out[i] for i in sorted(numbers)]

    latents: list[FrameLatents] | None = None
    if PACKING_NAMES[video.packing] == "zstd":
        structure, latents = unpack_structured(clip.payload, video.geometry, frames, limits)
        verify_latents(latents, video.geometry, clip.latents_crc, clip.key)
    if clip.key:
        if frames != 1:
            raise CorruptError(f"a key clip has {frames} frames")
        done(0, decoder.key(clip.payload) if latents is None else decoder.key_given(latents[0]))
        return ready
    between = (
        decoder.anchors(clip.payload, frames, done)
        if latents is None
        else decoder.anchors_given(structure, latents, done)
    )

    def work() -> list[Frame]:
        between(done, None if wanted is None else numbers)
        return ready()

    return work
