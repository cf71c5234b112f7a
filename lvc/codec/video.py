"""Frames ↔ clips, as generators in memory that does not grow.

encode: frames ─▶ look ahead (thread) ─▶ anchors (caller) ─▶ what is between (threads) ─▶ clips
decode: clips ─▶ anchors (caller) ─▶ what is between (threads) ─▶ frames
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from ..engine.nets import set_threads
from ..entropy.clip import KIND_KEY, FrameLatents, latents_crc, pack_zstd, unpack_structured, verify_latents
from ..errors import CorruptError, UnsupportedError
from ..limits import DEFAULT, Limits
from ..lvz import PACKING_NAMES, Clip, Geometry, VideoDescriptor, fold
from ..media.depth import DEPTHS, depth_of
from ..media.types import Frame, VideoFormat
from ..models.load import Model
from ..pipeline import ReadAhead, acquire, usable_cores
from . import payload as layout
from .control import Control, control_of
from .frames import Coded, FrameDecoder, FrameEncoder, Given, Planes, integers, key_row, level_row
from .gop import Done, GopDecoder, GopEncoder, Rest
from .lookahead import LookAhead
from .pyramid import CHAIN, INTRA, OLDER, PYRAMID, Step, steps
from .settings import EFFORTS, EncodeSettings
from .shown import BITS, checksum, padded, shown
from .temporal_filter import REACH, STRENGTHS, filtered

T = TypeVar("T")
R = TypeVar("R")

LARGE = 1_500_000
"""Luma samples of a frame from which a clip is half as long, since all of a clip's frames are in memory, and from which
fewer clips are worked on at a time: four frames of a clip are coded side by side in any case."""
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
        return filtered(source, ((k, _padded(f)) for k, f in around), level, strength)


def _padded(frame: Frame) -> Planes:
    return padded(frame.y, frame.u, frame.v, depth_of(frame.y))


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
    frames: Iterable[Frame],
    video: VideoFormat,
    model: Model,
    settings: EncodeSettings,
    encoder_of: Callable[[Model, int, int], FrameEncoder] | None = None,
) -> Iterator[EncodedClip]:
    """Frames of one size, in order of `pts` → clips. Key frames come at least every `gop` seconds and at scene cuts;
    a key frame is a clip. `encoder_of` a model, height and width: who wants to look on while frames are coded."""
    if not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can only decode — choose another one with --model")
    height, width = video.height + -video.height % 16, video.width + -video.width % 16
    large = height * width >= LARGE
    length = max(1, settings.clip_frames // 2) if large else settings.clip_frames
    tick = video.time_base[0] / video.time_base[1]
    control = control_of(settings, video.width * video.height)
    zstd = settings.packing == "zstd"
    geometry = Geometry(video.width, video.height, 16, model.planes)
    workers = settings.threads or usable_cores()
    clips_at_once = -(-workers // 2) if large else workers
    steered = control.wants_sizes or control.wants_psnr
    reach = 0 if settings.low_delay else REACH[0]
    source = _grouped(frames, settings, length, settings.gop / tick, reach)
    lean, room = large and not steered, threading.Semaphore(clips_at_once + 1)
    with (
        _workers(workers, "lvc-frames") as side_by_side,
        _workers(clips_at_once, "lvc-clips") as pool,
        contextlib.nullcontext(_admitted(source, room)) if lean else ReadAhead(source, 1) as groups,
    ):
        if encoder_of is None:
            frames_of = FrameEncoder(model, height, width, keep=zstd, detail=not zstd, at_once=workers)
        else:
            frames_of = encoder_of(model, height, width)
        encoder = GopEncoder(
            frames_of,
            EFFORTS[settings.effort],
            side_by_side.map if workers > 1 else map,
            workers if large else None,
            intra=not zstd and not settings.low_delay,
        )

        def submitted(group: _Group) -> Future[EncodedClip]:
            return pool.submit(_begun(encoder, group, control, settings, video, geometry if zstd else None))

        def begun() -> Iterator[Future[EncodedClip]]:
            for group in groups:
                if settings.pace is not None:
                    encoder.effort = EFFORTS[settings.pace()]
                before = encoder.remembered()
                made = submitted(group)
                seconds = tick * sum(f.duration for f in group.frames)
                while steered and control.refused(8 * len(made.result().payload), seconds, group.key):
                    encoder.back(before)
                    made = submitted(group)
                yield made

        # what is steered by what came of a clip begins the next one afterwards
        with contextlib.nullcontext(begun()) if steered else ReadAhead(begun(), clips_at_once) as futures:
            for future in futures:
                clip = future.result()
                room.release()
                control.packed(8 * len(clip.payload), sum(clip.durations) * tick, clip.key)
                yield clip


def _admitted(groups: Iterator[_Group], room: threading.Semaphore) -> Iterator[_Group]:
    """Groups, each of them read when there is room for it."""
    while True:
        acquire(room)
        group = next(groups, None)
        if group is None:
            return
        yield group


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
) -> Callable[[], EncodedClip]:
    """Codes the anchors of a group at once, and gives the work that is left. `geometry`: for packing `zstd`."""
    checks: dict[int, int] = {}
    kept: list[dict[str, np.ndarray]] = []
    head: layout.ClipHead | None = None
    filters: dict[int, tuple[Around, float, float]] = {}
    sources = _Sources(group.frames, filters)

    def done(number: int, coded: Coded) -> None:
        if control.wants_psnr:
            control.measured(_psnr(_padded(group.frames[number]), coded.planes, video.bit_depth))
        checks[number] = checksum(shown(coded.planes, video.height, video.width, video.bit_depth))
        if geometry is not None:
            kept.append(integers(coded))

    between: Callable[[], bytes]
    if group.key:
        quality = layout.quality_of(control.level + settings.key_raise)
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
    """Frames of a group around one of them."""
    return [(abs(k - i), frames[k]) for k in range(max(0, i - reach), min(len(frames), i + reach + 1)) if k != i]


def _psnr(source: Planes, coded: Planes, depth: int) -> float:
    """PSNR 6:1:1 of padded planes in dB, at most 60 per plane."""
    top = ((1 << depth) - 1) << (BITS - depth)
    pairs = [(source[0], coded[0]), *zip(source[1], coded[1], strict=True)]
    errors = [float(((a.astype(np.float32) - b) ** 2).mean()) for a, b in pairs]
    y, u, v = (min(60.0, 10 * math.log10(top**2 / max(e, 1e-3))) for e in errors)
    return (6 * y + u + v) / 8


@dataclass(frozen=True)
class FrameIntegers:
    """The integers that a file holds for one frame, in arrays `[channels, rows, columns]`.

    `number`: the frame's in the file. `time` in seconds from `origin`, a pts. `key`: a group of pictures begins with
    it. `level`: its place in the pyramid, 0 for a key frame or an anchor. `references`: numbers of the frames that it
    is predicted from, −1 for none. `planes`: its integers by name (formats/lvz.md 8.3)."""

    number: int
    pts: int
    duration: int
    time: float
    key: bool
    quality: int
    level: int
    references: tuple[int, int]
    planes: dict[str, np.ndarray]

    @property
    def coded_as_key(self) -> bool:
        """Whether its latents stand for the picture: of key frames, and of anchors without references."""
        return "key_latent" in self.planes


@dataclass(frozen=True)
class LatentFrame(FrameIntegers):
    """The same with what a decoder makes of them.

    `values` int16: the dequantised latents in sixteenths of a step; `scale` float32 `[channels]`: by what the decoder
    multiplies a step at this quality and level. `intra` int16, where it was asked for: the latents in sixteenths of a
    step, before rounding, that the picture would have as a key frame of the same quality as its group's; `intra_scale`
    belongs to them. `detail` int16 `[rows/16, columns/16, 6, 64]`: the levels of its detail, if it has any
    (formats/decoder.md, section 10)."""

    values: np.ndarray
    scale: np.ndarray
    intra: np.ndarray | None = None
    intra_scale: np.ndarray | None = None
    detail: np.ndarray | None = None

    @property
    def dequantised(self) -> np.ndarray:
        """float32 `[channels, rows, columns]`: the latents as the decoder's first layer takes them."""
        return _dequantised(self.values, self.scale)

    @property
    def dequantised_intra(self) -> np.ndarray | None:
        """The same of `intra`."""
        return None if self.intra is None or self.intra_scale is None else _dequantised(self.intra, self.intra_scale)


def _dequantised(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) * (scale / 16)[:, None, None]


Change = Callable[[LatentFrame], Given]
"""What a frame is to be decoded from."""


@dataclass(frozen=True)
class _Changed:
    """A clip, and what its frames are decoded from instead, in coding order."""

    clip: Clip
    head: layout.ClipHead
    frames: list[Given]


def decode(
    clips: Iterable[Clip | _Changed],
    video: VideoDescriptor,
    model: Model,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    wanted: Callable[[int, int], bool] | None = None,
) -> Iterator[Frame]:
    """Clips in order, starting with a key clip → frames. `wanted` is asked for a frame's number and pts: of the others
    only those are decoded that are needed, and none is given. Raises `CorruptError` where a frame does not match its
    checksum, `UnsupportedError` for planes that are not the model's."""
    decoder = _decoder(video, model, threads)
    large = video.geometry.padded_width * video.geometry.padded_height >= LARGE

    def begun(item: Clip | _Changed) -> Callable[[Give[Frame]], None]:
        return _decoding(decoder, item, video, limits, wanted)

    workers = threads or usable_cores()
    set_threads(workers if large else 1)
    if not large:
        return _side_by_side(clips, begun, threads, 2 * workers)
    # a clip takes most memory when it gives its first frame: one of them waits, and leaves its core to the engine
    return _side_by_side(clips, begun, threads, workers, max(1, workers - 1))


def latents(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    intra: bool = False,
    origin: int = 0,
) -> Generator[LatentFrame]:
    """Clips in order, starting with a key clip → what they say of each frame, in order of display. Frames are decoded
    on the way: only then it is known what a symbol stands for. Raises as `decode` does."""
    for _, _, frames in _extracted(clips, video, model, threads, limits, intra, origin):
        yield from sorted(frames, key=lambda frame: frame.number)


def integers_of(
    clips: Iterable[Clip], video: VideoDescriptor, limits: Limits = DEFAULT, origin: int = 0
) -> Generator[FrameIntegers]:
    """What clips with packing `zstd` hold, in order of display: no model is needed, and nothing is decoded. Raises
    `CorruptError`, `LimitError`, `UnsupportedError`."""
    anchors: list[int] = []  # numbers: the one before the last, if there is one, and the last
    for clip in clips:
        head, said = _said(clip, video, limits)
        steps = [Step(1, 0, None, 0)] if clip.key else layout.order_of(head, len(anchors) == 2)
        if not clip.key and not anchors:
            raise CorruptError("the video starts with a predicted frame")
        before = {} if clip.key else {-k: number for k, number in enumerate(reversed(anchors))}
        numbers = before | {s.frame: clip.first_frame + s.frame - 1 for s in steps}
        frames = []
        for step, frame in zip(steps, said, strict=True):
            at = step.frame - 1
            references = [-1 if clip.key or r is None else numbers[r] for r in (step.first, step.second)]
            frames.append(
                FrameIntegers(
                    clip.first_frame + at, clip.pts[at], clip.durations[at],
                    float((clip.pts[at] - origin) * video.seconds_per_tick), clip.key, frame.quality, step.place,
                    (references[0], references[1]), frame.planes,
                )
            )  # fmt: skip
        kept = [numbers[s.frame] for s in steps if s.place == 0]
        anchors = kept if clip.key else [*anchors, *kept][-2:]
        yield from sorted(frames, key=lambda frame: frame.number)


def decode_changed(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    change: Change,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    wanted: Callable[[int, int], bool] | None = None,
) -> Iterator[Frame]:
    """`decode`, but of what `change` makes of each frame's latents: checksums count for what the file says, not for
    what comes out."""

    def changed() -> Iterator[_Changed]:
        for clip, head, frames in _extracted(clips, video, model, threads, limits):
            yield _Changed(clip, head, [change(frame) for frame in frames])

    return decode(changed(), video, model, threads, limits, wanted)


def keys_in(clip: Clip, video: VideoDescriptor) -> int:
    """How many frames of a clip are coded as key frames are: one at most."""
    return int(clip.key or (PACKING_NAMES.get(video.packing) == "rans" and clip.payload[:1] == bytes([INTRA])))


def _decoder(video: VideoDescriptor, model: Model, threads: int | None, keep: bool = False) -> GopDecoder:
    geometry = video.geometry
    if tuple(geometry.planes) != model.planes or geometry.align != 16:
        raise UnsupportedError("the file's planes do not match its model — update lvc")
    if video.bit_depth not in DEPTHS or video.chroma != 420:
        raise UnsupportedError(f"pictures of {video.bit_depth} bits and chroma {video.chroma} — update lvc")
    if PACKING_NAMES.get(video.packing) not in ("rans", "zstd"):
        raise UnsupportedError(f"packing {video.packing} is unknown — update lvc")
    return GopDecoder(FrameDecoder(model, geometry.padded_height, geometry.padded_width, keep, threads))


Give = Callable[[R], object]
"""Hands over a result."""


def _side_by_side(
    clips: Iterable[T],
    begun: Callable[[T], Callable[[Give[R]], object]],
    threads: int | None,
    most: int,
    filling: int | None = None,
) -> Iterator[R]:
    """Decodes the anchors of one clip after the other, and the rest of them on threads. `begun` begins a clip; what it
    returns does the rest, and gives the results in order. They are handed over while their clip is still worked on.
    `most`: clips that are begun and not yet handed over, since pictures take much memory; `filling`: those of them that
    have not given a result yet."""
    room, start = threading.Semaphore(most), threading.Semaphore(filling or most)
    with _workers(threads or usable_cores(), "lvc-decode") as pool:

        def rest(work: Callable[[Give[R]], object], results: queue.SimpleQueue[R | None]) -> None:
            given = False

            def give(result: R | None) -> None:
                nonlocal given
                if not given:
                    given = True
                    start.release()
                results.put(result)

            try:
                work(give)
            finally:
                give(None)

        def started() -> Iterator[tuple[queue.SimpleQueue[R | None], Future[None]]]:
            for item in clips:
                acquire(room)
                acquire(start)
                results: queue.SimpleQueue[R | None] = queue.SimpleQueue()
                yield results, pool.submit(rest, begun(item), results)

        with ReadAhead(started(), most) as ready:
            for results, future in ready:
                while (result := results.get()) is not None:
                    yield result
                    del result
                future.result()
                room.release()


def _decoding(
    decoder: GopDecoder,
    item: Clip | _Changed,
    video: VideoDescriptor,
    limits: Limits,
    wanted: Callable[[int, int], bool] | None,
) -> Callable[[Give[Frame]], None]:
    """Decodes a clip's anchors at once, and returns the work that is left."""
    clip = item if isinstance(item, Clip) else item.clip
    numbers = list(range(len(clip.pts)))
    if wanted is not None:
        numbers = [i for i in numbers if wanted(clip.first_frame + i, clip.pts[i])]
    waiting = deque(numbers)
    out: dict[int, Frame] = {}

    def done(number: int, coded: Coded) -> None:
        if number not in numbers:
            return
        planes = shown(coded.planes, video.height, video.width, video.bit_depth)
        if item is clip:
            _check(clip, number, planes)
        out[number] = Frame(*planes, clip.pts[number], clip.durations[number])

    if isinstance(item, Clip):
        _, rest = _begun_clip(decoder, clip, video, limits, done)
    else:
        rest = _begun_given(decoder, clip, item.head, item.frames, done)

    def work(give: Give[Frame]) -> None:
        def hand_over() -> None:
            while waiting and waiting[0] in out:
                give(out.pop(waiting.popleft()))

        def done_now(number: int, coded: Coded) -> None:
            done(number, coded)
            if clip.checks is not None:  # without them, damage may show only at the clip's end
                hand_over()

        rest(done_now, None if wanted is None else numbers, late=True)
        hand_over()

    return work


def _check(clip: Clip, number: int, planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Raises `CorruptError`."""
    if clip.checks is not None and fold(checksum(planes), clip.check_bits) != clip.checks[number]:
        raise CorruptError(f"frame {clip.first_frame + number} does not match its checksum")


def _begun_clip(
    decoder: GopDecoder, clip: Clip, video: VideoDescriptor, limits: Limits, done: Done
) -> tuple[layout.ClipHead, Rest]:
    """Decodes a clip's anchors as the file says them. → its structure and qualities, and the rest of the work."""
    if PACKING_NAMES[video.packing] == "zstd":
        head, said = _said(clip, video, limits)
        return head, _begun_given(decoder, clip, head, [Given(f.planes) for f in said], done)
    _check_frames(clip, video, limits)
    if clip.key:
        coded = decoder.key(clip.payload)
        done(0, coded)
        return layout.ClipHead(PYRAMID, (coded.quality,)), _nothing_left
    return decoder.anchors(clip.payload, len(clip.pts), done)


def _check_frames(clip: Clip, video: VideoDescriptor, limits: Limits) -> None:
    """Raises `CorruptError`, `LimitError`."""
    video.geometry.check_clip(len(clip.pts), limits)
    if clip.key and len(clip.pts) != 1:
        raise CorruptError(f"a key clip has {len(clip.pts)} frames")


def _said(clip: Clip, video: VideoDescriptor, limits: Limits) -> tuple[layout.ClipHead, list[FrameLatents]]:
    """What a clip with packing `zstd` holds."""
    _check_frames(clip, video, limits)
    structure, said = unpack_structured(clip.payload, video.geometry, len(clip.pts), limits)
    verify_latents(said, video.geometry, clip.latents_crc, clip.key)
    if any((f.kind == KIND_KEY) != clip.key for f in said):
        raise CorruptError("a clip has a frame of another kind")
    if structure == INTRA:
        raise UnsupportedError("a clip with packing zstd has an anchor without references — update lvc")
    return layout.ClipHead(structure, tuple(layout.checked_quality(f.quality) for f in said)), said


def _begun_given(decoder: GopDecoder, clip: Clip, head: layout.ClipHead, frames: Sequence[Given], done: Done) -> Rest:
    if clip.key:
        done(0, decoder.key_given(head.qualities[0], frames[0]))
        return _nothing_left
    return decoder.anchors_given(head, frames, done)


def _nothing_left(done: Done, wanted: Collection[int] | None = None, late: bool = False) -> None:
    pass


_Extracted = tuple[Clip, layout.ClipHead, list[LatentFrame]]


def _extracted(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    threads: int | None,
    limits: Limits,
    intra: bool = False,
    origin: int = 0,
) -> Iterator[_Extracted]:
    """Clips with what they say of their frames, in coding order."""
    decoder = _decoder(video, model, threads, keep=True)
    if intra and not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can decode only, so that it gives no intra latents")
    geometry = video.geometry
    analysis = FrameEncoder(model, geometry.padded_height, geometry.padded_width) if intra else None
    of_key = 0

    def begun(clip: Clip) -> Callable[[Give[_Extracted]], None]:
        out: list[LatentFrame] = []
        of_group = of_key

        def done(number: int, coded: Coded) -> None:
            nonlocal of_key
            if clip.checks is not None:
                _check(clip, number, shown(coded.planes, video.height, video.width, video.bit_depth))
            if clip.key:
                of_key = coded.quality
            frame = _latent_frame(
                clip, number, coded, model, float((clip.pts[number] - origin) * video.seconds_per_tick)
            )
            if analysis is not None:
                quality = coded.quality if clip.key else of_group
                intra, _ = analysis.analysed(coded.planes, quality)
                scale = model.latent_scale("key", key_row(quality))
                frame = replace(frame, intra=_channels_first(intra), intra_scale=scale)
            out.append(frame)
            coded.symbols = {}

        head, rest = _begun_clip(decoder, clip, video, limits, done)

        def work(give: Give[_Extracted]) -> None:
            rest(done)
            give((clip, head, out))

        return work

    return _side_by_side(clips, begun, threads, threads or usable_cores())


def _latent_frame(clip: Clip, number: int, coded: Coded, model: Model, time: float) -> LatentFrame:
    references, scale = (-1, -1), model.latent_scale("key", key_row(coded.quality))
    if coded.field is not None:
        key = clip.first_frame + number - coded.time
        first, second = coded.field.to
        references = key + first, -1 if second is None else key + second
        scale = model.latent_scale("predicted", level_row(coded.quality, coded.place))
    return LatentFrame(
        clip.first_frame + number, clip.pts[number], clip.durations[number], time, clip.key, coded.quality, coded.place,
        references, integers(coded), _channels_first(coded.symbols["value"]), scale,
        detail=coded.symbols.get("detail"),
    )  # fmt: skip


def _channels_first(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a.transpose(2, 0, 1))
