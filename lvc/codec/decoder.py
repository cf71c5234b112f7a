"""Clips → frames: a generator whose memory does not grow.

clips ─▶ anchors (caller) ─▶ frames between (threads) ─▶ frames
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..engine.nets import set_threads
from ..entropy.clip import KIND_KEY, FrameLatents, unpack_structured, verify_latents
from ..errors import CorruptError, UnsupportedError
from ..limits import DEFAULT, Limits
from ..lvz import PACKING_NAMES, Clip, VideoDescriptor, fold
from ..media.depth import DEPTHS
from ..media.types import Frame
from ..models.load import Model
from ..pipeline import ReadAhead, acquire, thread_pool, usable_cores
from . import payload as layout
from .frames import Coded, FrameDecoder, Given
from .gop import Done, GopDecoder, Rest
from .pyramid import CHAIN, OLDER, PYRAMID
from .settings import is_large
from .shown import checksum, shown

T = TypeVar("T")
R = TypeVar("R")


Give = Callable[[R], object]
"""Hands over a result."""


@dataclass(frozen=True)
class ChangedClip:
    """A clip, and the replacements from which its frames are decoded, in coding order."""

    clip: Clip
    head: layout.ClipHead
    frames: list[Given]


def decode(
    clips: Iterable[Clip | ChangedClip],
    video: VideoDescriptor,
    model: Model,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    wanted: Callable[[int, int], bool] | None = None,
) -> Iterator[Frame]:
    """Clips in order, starting with a key clip → frames. `wanted` says by number and pts whether a frame is yielded;
    other frames are decoded only if a wanted frame needs them. Raises `CorruptError` where a frame does not match its
    checksum, `UnsupportedError` for planes that are not the model's."""
    decoder = decoder_of(video, model, threads)

    def begun(item: Clip | ChangedClip) -> Callable[[Give[Frame]], None]:
        return _decoding(decoder, item, video, limits, wanted)

    workers, large = threads or usable_cores(), is_large(video.geometry.padded_height, video.geometry.padded_width)
    set_threads(workers if large else 1)
    if not large:
        return decode_side_by_side(clips, begun, threads, 2 * workers)
    # a clip takes the most memory when it yields its first frame, so one worker waits and leaves its core to the engine
    return decode_side_by_side(clips, begun, threads, workers, max(1, workers - 1))


def decoder_of(video: VideoDescriptor, model: Model, threads: int | None, keep: bool = False) -> GopDecoder:
    geometry = video.geometry
    if tuple(geometry.planes) != model.planes or geometry.align != 16:
        raise UnsupportedError("the file's planes do not match its model — update lvc")
    if video.bit_depth not in DEPTHS or video.chroma != 420:
        raise UnsupportedError(f"pictures of {video.bit_depth} bits and chroma {video.chroma} — update lvc")
    if PACKING_NAMES.get(video.packing) not in ("rans", "zstd"):
        raise UnsupportedError(f"packing {video.packing} is unknown — update lvc")
    return GopDecoder(FrameDecoder(model, geometry.padded_height, geometry.padded_width, keep, threads))


def decode_side_by_side(
    clips: Iterable[T],
    begun: Callable[[T], Callable[[Give[R]], object]],
    threads: int | None,
    most: int,
    filling: int | None = None,
) -> Iterator[R]:
    """Decode the anchors of one clip after the other, and the remaining frames on threads. `begun` begins a clip and
    returns the remaining work, which hands over results in order while the clip is still being decoded. `most` limits
    the clips that are begun and not yet handed over, since pictures take much memory; `filling` limits those among them
    that have no result yet."""
    room, start = threading.Semaphore(most), threading.Semaphore(filling or most)
    with thread_pool(threads or usable_cores(), "lvc-decode") as pool:

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
    item: Clip | ChangedClip,
    video: VideoDescriptor,
    limits: Limits,
    wanted: Callable[[int, int], bool] | None,
) -> Callable[[Give[Frame]], None]:
    """Decode a clip's anchors at once and return the remaining work."""
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
            check_shown(clip, number, planes)
        out[number] = Frame(*planes, clip.pts[number], clip.durations[number])

    if isinstance(item, Clip):
        _, rest = begin_clip(decoder, clip, video, limits, done)
    else:
        rest = _begin_given(decoder, clip, item.head, item.frames, done)

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


def check_shown(clip: Clip, number: int, planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Raises `CorruptError`."""
    if clip.checks is not None and fold(checksum(planes), clip.check_bits) != clip.checks[number]:
        raise CorruptError(f"frame {clip.first_frame + number} does not match its checksum")


def begin_clip(
    decoder: GopDecoder, clip: Clip, video: VideoDescriptor, limits: Limits, done: Done
) -> tuple[layout.ClipHead, Rest]:
    """Decode a clip's anchors from the file's data. Return its structure and qualities, and the remaining work."""
    if PACKING_NAMES[video.packing] == "zstd":
        head, said = read_integers(clip, video, limits)
        return head, _begin_given(decoder, clip, head, [Given(f.planes) for f in said], done)
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


def read_integers(clip: Clip, video: VideoDescriptor, limits: Limits) -> tuple[layout.ClipHead, list[FrameLatents]]:
    """Return the structure, qualities and integers of a clip with packing `zstd`."""
    _check_frames(clip, video, limits)
    structure, said = unpack_structured(clip.payload, video.geometry, len(clip.pts), limits)
    verify_latents(said, video.geometry, clip.latents_crc, clip.key)
    if any((f.kind == KIND_KEY) != clip.key for f in said):
        raise CorruptError("a clip has a frame of another kind")
    if structure not in (PYRAMID, CHAIN, OLDER):
        raise UnsupportedError(f"a clip with packing zstd has the structure {structure} — update lvc")
    return layout.ClipHead(structure, tuple(layout.checked_quality(f.quality) for f in said)), said


def _begin_given(decoder: GopDecoder, clip: Clip, head: layout.ClipHead, frames: Sequence[Given], done: Done) -> Rest:
    if clip.key:
        done(0, decoder.key_given(head.qualities[0], frames[0]))
        return _nothing_left
    return decoder.anchors_given(head, frames, done)


def _nothing_left(done: Done, wanted: Collection[int] | None = None, late: bool = False) -> None:
    pass
