"""A video or a `.lvz` becomes a video with more frames."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from lvc.errors import UsageError
from lvc.files.coding import model_of
from lvc.files.common import Notice, PathLike, Progress, blamed, destination, opened, size_of
from lvc.files.decode import Decoding, attachments_of, container_of, format_of, opened_writer, side_of
from lvc.files.memory import frames_ahead
from lvc.interpolate.times import Constant, Multiplied, Times
from lvc.kinds import VIDEOS
from lvc.lvz.chunks import SIGNATURE
from lvc.media import Attachment, Chapter, CopiedPacket, CopiedStreamInfo, Frame, MediaReader, VideoFormat, VideoSide
from lvc.media.containers import CONTAINERS
from lvc.media.scaling import target_rate
from lvc.media.side import FIELDS, TIMECODE
from lvc.media.streams import ratio
from lvc.media.timecode import advanced
from lvc.notices import Notices
from lvc.output import about, check_output, opened_input
from lvc.pipeline import ReadAhead, WriteBehind, in_background
from lvc.place import STDOUT, Place
from lvc.results import Facts, InterpolateResult
from lvc.threads import own_threads

if TYPE_CHECKING:
    from lvc.interpolate.network import Interpolation

FACTORS = (2, 4)


@dataclass
class _Source:
    """What is read: `items` once, on the caller's thread; `frames` is None or a good guess; `notices` is complete at
    the end."""

    video: VideoFormat
    copied: Sequence[CopiedStreamInfo]
    metadata: dict[str, str]
    chapters: Sequence[Chapter]
    side: VideoSide
    attachments: Sequence[Attachment]
    items: Callable[[], Iterable[Frame | CopiedPacket]]
    frames: int | None
    notices: list[str]


def interpolate_file(
    source: PathLike,
    target: PathLike,
    *,
    factor: int | None = None,
    fps: str | int | float | Fraction | None = None,
    start: float | None = None,
    end: float | None = None,
    codec: str | None = None,
    crf: float | None = None,
    container: str | None = None,
    interpolation: Interpolation | None = None,
    threads: int | None = None,
    device: str | None = None,
    force: bool = False,
    allow_playlists: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> InterpolateResult:
    """Write a video with new frames between the old ones. Sound and subtitles are copied bit for bit.

    Args:
        source: A video or a `.lvz`: a path, an address, or `-` for standard input.
        target: The video to write: a path, an address, or `-` for standard output.
        factor: 2 or 4 frames for one; 2 where neither this nor `fps` is given.
        fps: Frames per second instead, evenly spaced.
        start: Seconds from the first frame to begin at; the output begins at 0.
        end: Seconds from the first frame to stop before.
        codec: What the output is coded with: `h264`, `hevc`, `av1`, or `ffv1`, which loses nothing. None takes `h264`
            for 8 bits a sample and `hevc` for 10; `av1` for `webm`.
        crf: Its quality, 0 to 63; lower is better, and larger. None takes the codec's usual one.
        container: `mp4`, `mkv`, `mov`, `webm` or `y4m`, where the target's name does not say.
        interpolation: The network, if it is loaded already. None takes lvc's own.
        threads: Cores to use. None leaves one free.
        device: Where torch runs the network, as `cuda`.
        force: Replace an existing video.
        allow_playlists: The source may be a playlist, which names other files.
        strict: What would be lost is a `LossError` and no notice.
        progress: Called with frames done, 0, bytes out and the expected number of frames (None: unknown).
        notice: Called with each line about what was lost or odd.

    Returns:
        Sizes, frames and times; how many frames are new.

    Raises:
        UsageError: An argument is out of its range, or two exclude each other.
        MediaError: The source cannot be read, or holds no video.
        CorruptError: The source is a damaged `.lvz`.
        UnsupportedError: The source is a `.lvz` that needs a newer lvc, or the device is not here.
        OutputExistsError: The target exists, without `force` or as something that is no video.
        LossError: With `strict`, something would be lost.
        OSError: The disk or the network failed.

    Whatever is raised, nothing is left behind.
    """
    source, target = os.fspath(source), os.fspath(target)
    label = Place(target).called(STDOUT)
    rate = _wanted(factor, fps)
    check_output(source, target, force=force, writes=VIDEOS)
    kind = _checked(target, container, codec)
    started = time.monotonic()
    notices = Notices(notice, strict=strict)
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        read = stack.enter_context(_opened(source, start, end, kind, threads, device, notice, allow_playlists))
        notices.new(read.notices)
        times, video, total = _planned(read, factor, rate)
        path = stack.enter_context(destination(target, force))
        with (
            about(label),
            opened_writer(
                path,
                kind,
                video,
                read.copied,
                read.metadata,
                read.chapters,
                codec,
                crf,
                threads,
                _side_of(read, video, notices),
                read.attachments,
            ) as writing,
        ):
            writer, written = writing
            notices.new(writer.notices)
            from lvc.interpolate.network import default_interpolation
            from lvc.interpolate.stream import Count, interpolated

            stack.enter_context(own_threads())
            net = interpolation or default_interpolation(device)
            count, frames, ticks = Count(), 0, 0
            made = interpolated(read.items(), read.video, times, net, threads, count)
            items = stack.enter_context(blamed(made, source))
            with WriteBehind(writer.write, frames_ahead(video.width, video.height)) as sink:
                for item in items:
                    sink.put(item)
                    notices.new(read.notices, writer.notices)
                    if isinstance(item, Frame):
                        frames, ticks = frames + 1, ticks + item.duration
                        if progress is not None:
                            progress(frames, 0, written(), total if total is None else max(total, frames))
        bytes_out = written()
        notices.new(read.notices, writer.notices)
    return InterpolateResult(
        target, frames, video.width, video.height, float(ticks * times.out), size_of(source), bytes_out,
        time.monotonic() - started, new=count.new, repeated=count.repeated, cuts=count.cuts,
    )  # fmt: skip


def plan_file(
    source: PathLike,
    target: PathLike,
    *,
    factor: int | None = None,
    fps: str | int | float | Fraction | None = None,
    start: float | None = None,
    end: float | None = None,
    codec: str | None = None,
    container: str | None = None,
    threads: int | None = None,
    allow_playlists: bool = False,
    force: bool = False,
) -> Facts:
    """What `interpolate_file` would do; everything that can be refused beforehand is."""
    source, target = os.fspath(source), os.fspath(target)
    rate = _wanted(factor, fps)
    check_output(source, target, force=force, writes=VIDEOS)
    kind = _checked(target, container, codec)
    with about(source), _opened(source, start, end, kind, threads, None, None, allow_playlists) as read:
        _, video, total = _planned(read, factor, rate)
    values = {
        "output": target,
        "container": kind,
        "width": video.width,
        "height": video.height,
        "frames_in": read.frames,
        "frames_out": total,
        "fps_in": None if read.video.rate is None else round(float(read.video.rate), 3),
        "fps_out": None if video.rate is None else round(float(video.rate), 3),
        "streams_copied": len(read.copied),
    }
    shown = {k: "?" if v is None else v for k, v in values.items()}
    text = (
        "would make {frames_in} frames at {fps_in} fps into {frames_out} at {fps_out} fps, {width}x{height}, "
        "{streams_copied} other streams copied → {output}".format(**shown)
    )
    return Facts(values, text=text)


def _side_of(read: _Source, video: VideoFormat, notices: Notices) -> VideoSide:
    """What is still true of more frames: a timecode counts at the new rate. Fields stay woven, in new frames too."""
    tags = dict(read.side.tags)
    if TIMECODE in tags and read.video.rate is not None and video.rate is not None:
        moved = advanced(tags[TIMECODE], read.video.rate, Fraction(0), video.rate)
        tags[TIMECODE] = moved or tags[TIMECODE]
    if FIELDS in read.side.properties:
        notices("interlaced video: new frames are made of whole ones, fields woven, and flagged like them")
    return replace(read.side, tags=tags)


def _wanted(factor: int | None, fps: str | int | float | Fraction | None) -> Fraction | None:
    """The constant rate, or None for a factor. Raises `UsageError`."""
    if fps is not None:
        if factor is not None:
            raise UsageError("--factor and --fps cannot be combined — give one of them")
        return target_rate(fps)
    if factor is not None and factor not in FACTORS:
        raise UsageError(f"a factor of {factor} is not possible — use 2 or 4, or --fps")
    return None


def _checked(target: str, container: str | None, codec: str | None) -> str:
    """The kind of container. Raises `UsageError`, also for a codec that it cannot hold."""
    kind = container_of(target, container)
    fitting = CONTAINERS[kind].codecs if kind in CONTAINERS else (codec or "",)
    if codec is not None and codec not in fitting:
        raise UsageError(f"{kind} cannot hold {codec} — use a codec it holds ({', '.join(fitting)}) or .mkv")
    return kind


def _planned(read: _Source, factor: int | None, rate: Fraction | None) -> tuple[Times, VideoFormat, int | None]:
    """The times of the new frames, what the output is, and about how many frames it has."""
    tick, old = read.video.seconds_per_tick, read.video.rate
    times: Times
    if rate is None:
        times = Multiplied(tick, factor or FACTORS[0])
        new = None if old is None else old * (factor or FACTORS[0])
        total = None if read.frames is None else read.frames * (factor or FACTORS[0])
    else:
        times, new = Constant(tick, rate), rate
        total = None if read.frames is None or old is None else round(read.frames * rate / old)
    return times, replace(read.video, time_base=ratio(times.out), frame_rate=ratio(new)), total


@contextlib.contextmanager
def _opened(
    source: str,
    start: float | None,
    end: float | None,
    kind: str,
    threads: int | None,
    device: str | None,
    notice: Notice | None,
    allow_playlists: bool = False,
) -> Iterator[_Source]:
    if os.path.isdir(source):
        raise UsageError("is a folder — give a video in it")
    if _is_lvz(source):
        with opened(source, notice=notice) as reader:
            decoding = Decoding(reader, start, end, False, with_packets=kind != "y4m", from_zero=True)
            yield _Source(
                format_of(reader),
                [CopiedStreamInfo(**vars(stream)) for stream in reader.copied],
                reader.metadata.tags,
                [Chapter(**vars(chapter)) for chapter in reader.metadata.chapters],
                side_of(reader, start),
                attachments_of(reader),
                lambda: decoding.items(model_of(reader, None, device), threads),
                reader.tail.frame_count if reader.tail and not decoding.ranged else None,
                [],
            )
        return
    duration = None if end is None else end - (start or 0)
    if duration is not None and duration <= 0:
        raise UsageError("the time range is empty — its end has to be after its start")
    with contextlib.ExitStack() as stack:
        media = in_background(
            lambda: MediaReader(
                stack.enter_context(opened_input(source, whole=True)) if Place(source).is_fetched else source,
                start=start, duration=duration, threads=threads or 0, allow_playlists=allow_playlists,
            )
        )  # fmt: skip
        items = stack.enter_context(ReadAhead(media, frames_ahead(media.video.width, media.video.height)))
        yield _Source(
            media.video, media.copied, dict(media.metadata), media.chapters, media.side, media.attachments,
            lambda: items, media.frame_count_hint, media.notices,
        )  # fmt: skip


def _is_lvz(source: str) -> bool:
    """What comes through a pipe is taken for a video; so is what only FFmpeg can open."""
    if not (Place(source).is_local or source.split("?")[0].endswith(".lvz")):
        return False
    with opened_input(source) as file:
        return file.read(4) == SIGNATURE[:4]
