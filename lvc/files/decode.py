"""A `.lvz` becomes a video, or frames."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lvc.errors import CorruptError, TruncatedError, UsageError
from lvc.files.common import (
    RECORDS_AHEAD,
    Notice,
    PathLike,
    Progress,
    blamed,
    codec_of,
    destination,
    drained,
    model_of,
    moment_of,
    opened,
)
from lvc.files.memory import check_memory, frames_ahead
from lvc.kinds import VIDEOS
from lvc.lvz import PACKET_KEY, Clip, LvzReader, PacketGroup
from lvc.lvz.salvage import frames_named
from lvc.media import (
    Attachment,
    Chapter,
    CopiedPacket,
    CopiedStreamInfo,
    Frame,
    MediaWriter,
    VideoFormat,
    VideoSide,
    Y4mWriter,
)
from lvc.media.containers import container_for
from lvc.media.side import TIMECODE
from lvc.media.sound import sound_coding
from lvc.media.timecode import advanced
from lvc.notices import Loss, Notices
from lvc.output import STDOUT, STREAM, about, check_output
from lvc.pipeline import ReadAhead, WriteBehind
from lvc.results import DecodeResult
from lvc.threads import own_threads, with_own_threads

if TYPE_CHECKING:
    from lvc.latents.video import ForeignModel
    from lvc.models import Model

Y4M = "y4m"


def decode_file(
    source: PathLike,
    target: PathLike,
    *,
    start: float | None = None,
    end: float | None = None,
    every: int = 1,
    codec: str = "h264",
    crf: float | None = None,
    container: str | None = None,
    audio: str = "copy",
    salvage: bool = False,
    follow: bool = False,
    model: str | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
    force: bool = False,
    strict: bool = False,
    max_memory: float | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> DecodeResult:
    """Decompress the `.lvz` `source` to a video; of a range, only the groups of clips that it touches are read.

    A range starts at time 0 in the output. `every`: of the file's frames 0, n, 2n …, each shown until the next; of the
    others only those are decoded that these need. `salvage` leaves out what is damaged and lists it in the result,
    where otherwise `CorruptError` is raised. `audio`: `copy`, `none`, or what to code it as: `flac`, `opus:96k`, `aac`.
    `follow` goes on while `source` is being written. `strict`: what the container would lose is a `LossError` and no
    notice. Pictures that take more than `max_memory` bytes (None: than the machine has) are refused with `LimitError`.
    Raises every kind of `LvcError`, and `OSError`; nothing is left behind then.
    """
    source, target = os.fspath(source), os.fspath(target)
    label = STDOUT if target == STREAM else target
    check_output(source, target, force=force, writes=VIDEOS)
    sound_coding(audio)  # what is wrong with it is said first
    if follow and salvage:
        raise UsageError("--follow and --salvage cannot be combined — leave one out")
    kind = container_of(target, container)
    started = time.monotonic()
    notices = Notices(notice, strict=strict)
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        reader = stack.enter_context(opened(source, salvage, notice, follow=follow))
        _check_size(reader, max_memory, notice)
        decoding = Decoding(
            reader, start, end, salvage, with_packets=kind != "y4m", from_zero=True, follow=follow, every=every
        )
        path = stack.enter_context(destination(target, force))
        total = -(-reader.tail.frame_count // every) if reader.tail and not decoding.ranged else None
        frames = ticks = 0
        metadata, chapters = reader.metadata.tags, [Chapter(**vars(c)) for c in reader.metadata.chapters]
        copied = [CopiedStreamInfo(**vars(stream)) for stream in reader.copied]
        with (
            about(label),
            opened_writer(
                path,
                kind,
                decoding.thinned(format_of(reader)),
                copied,
                metadata,
                chapters,
                codec,
                crf,
                threads,
                side_of(reader, start),
                attachments_of(reader),
                audio,
            ) as writing,
        ):
            writer, written = writing
            notices.new(writer.notices)
            with about(source):
                net = model_of(reader, model, device)
            stack.enter_context(own_threads())
            items = stack.enter_context(blamed(decoding.items(net, threads), source))
            with WriteBehind(writer.write, frames_ahead(reader.video.width, reader.video.height)) as sink:
                for item in items:
                    sink.put(item)
                    notices.new(writer.notices)
                    if isinstance(item, Frame):
                        frames += 1
                        ticks += item.duration
                        if progress is not None:
                            progress(frames, decoding.bytes_read, written(), total)
        bytes_out = written()
        notices.new(writer.notices, [f"left out: {text}" for text in decoding.damage])
    return DecodeResult(
        target, frames, reader.video.width, reader.video.height, float(ticks * reader.video.seconds_per_tick),
        None if source == STREAM else reader.size, bytes_out, time.monotonic() - started,
        damage=tuple(decoding.damage),
    )  # fmt: skip


def decode_frames(
    source: PathLike,
    start: float | None = None,
    end: float | None = None,
    *,
    salvage: bool = False,
    model: str | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Iterator[Frame]:
    """The frames of a `.lvz`, one after the other, with the times of the source. Same errors as `decode_file`."""
    source = os.fspath(source)
    with about(source), opened(source, salvage) as reader:
        _check_size(reader)
        net = model_of(reader, model, device)
        yield from frames_of(reader, start, end, salvage=salvage, model=net, threads=threads)


def frames_of(
    reader: LvzReader,
    start: float | None,
    end: float | None,
    *,
    model: Model,
    threads: int | None,
    salvage: bool = False,
    every: int = 1,
) -> Iterator[Frame]:
    """The frames in a range of an open file, or every n-th."""
    decoding = Decoding(reader, start, end, salvage, with_packets=False, from_zero=False, every=every)
    for item in with_own_threads(decoding.items(model, threads)):
        if isinstance(item, Frame):
            yield item


class Decoding:
    """A `.lvz` on its way to frames and packets: the range that is wanted, and what had to be left out."""

    def __init__(
        self,
        reader: LvzReader,
        start: float | None,
        end: float | None,
        salvage: bool,
        *,
        with_packets: bool,
        from_zero: bool,
        follow: bool = False,
        every: int = 1,
    ) -> None:
        if every < 1:
            raise UsageError("every has to be 1 or more")
        self._every = every
        self.reader = reader
        self.ranged = start is not None or end is not None
        self.start = Fraction(start or 0).limit_denominator(1_000_000)
        self.end = None if end is None else Fraction(end).limit_denominator(1_000_000)
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise UsageError("the time range is empty — its end has to be after its start")
        self.salvage = salvage
        self.follow = follow
        self.with_packets = with_packets
        self.from_zero = from_zero and self.ranged
        self.bytes_read = 0
        self._lost: list[str] = []
        self._arrived: deque[CopiedPacket] = deque()  # clips may be taken on another thread
        self._origin: int | None = reader.tail.start_pts if reader.tail else None
        self._first: int | None = None

    @property
    def damage(self) -> list[str]:
        return [f"byte {d.offset}: {d.reason}" for d in self.reader.damage] + self._lost

    def items(self, model: Model | ForeignModel, threads: int | None) -> Iterator[Frame | CopiedPacket]:
        """Frames, each followed by the packets read meanwhile; trimmed, and moved to 0 if a range is wanted."""
        if self.ranged:
            records = self.reader.records_from(self.start, self.end, packets=self.with_packets, from_first=True)
        else:
            records = self.reader.records()
        with ReadAhead(self._followed(records) if self.follow else records, RECORDS_AHEAD) as ahead:
            for frame in self._frames(self._clips(ahead), model, threads):
                if self.ranged and not self._wanted(frame.pts):
                    continue
                if self._first is None:
                    self._first = frame.pts
                yield replace(frame, pts=frame.pts - self._first) if self.from_zero else frame
                yield from self._packets()
            if self._first is None:
                if self.damage:
                    raise CorruptError("nothing could be recovered — get another copy of the file")
                raise UsageError("there is no frame in this range — lvc info shows the length")
            yield from self._packets()

    def _followed(self, records: Iterator[Clip | PacketGroup]) -> Iterator[Clip | PacketGroup]:
        """A recording that breaks off has been cut short by a crash: what was finished is all there is."""
        try:
            yield from records
        except TruncatedError as error:
            self._lost.append(f"the recording was cut off ({error})")

    def _clips(self, records: Iterable[Clip | PacketGroup]) -> Iterator[Clip]:
        for record in records:
            if isinstance(record, PacketGroup):
                self.bytes_read += sum(len(packet.data) for packet in record.packets)
                if self.with_packets:
                    self._arrived.extend(
                        CopiedPacket(record.stream, p.pts, p.dts, p.duration, bool(p.flags & PACKET_KEY), p.data)
                        for p in record.packets
                    )
                continue
            self.bytes_read += len(record.payload)
            if self._origin is None:  # what comes first may be in the midst of the file
                self._origin = record.pts[0] if self.reader.first_pts is None else self.reader.first_pts
            if self.end is None or self._seconds(record.pts[0]) < self.end:
                yield record
            elif not self.with_packets:
                return

    def _frames(self, clips: Iterator[Clip], model: Model | ForeignModel, threads: int | None) -> Iterator[Frame]:
        codec = codec_of(model)
        video = self.reader.video
        wanted = None if self._every == 1 else lambda number, _: number % self._every == 0
        if not self.salvage:
            frames = codec.decode(clips, video, model, threads=threads, wanted=wanted)
            yield from frames if wanted is None else _joined(frames)
            return
        # one group at a time: what is broken in one does not reach the next
        for gop in _gops(clips):
            frame, stop = gop[0].first_frame, gop[-1].first_frame + gop[-1].n_frames
            try:
                for decoded in codec.decode(iter(gop), video, model, threads=threads, wanted=wanted):
                    frame += 1
                    yield decoded
            except CorruptError as error:
                self._lost.append(f"{frames_named(frame, stop)} lost: {error}")

    def thinned(self, video: VideoFormat) -> VideoFormat:
        """The format of what comes out."""
        rate = Fraction(*video.frame_rate) / self._every if video.frame_rate[1] else None
        return video if rate is None else replace(video, frame_rate=(rate.numerator, rate.denominator))

    def _seconds(self, pts: int) -> Fraction:
        return (pts - (self._origin or 0)) * self.reader.video.seconds_per_tick

    def _wanted(self, pts: int) -> bool:
        moment = self._seconds(pts)
        return self.start <= moment and (self.end is None or moment < self.end)

    def _packets(self) -> Iterator[CopiedPacket]:
        """What was read meanwhile, trimmed to the range and moved with the frames."""
        taken = drained(self._arrived)
        if not self.from_zero:
            yield from taken
            return
        tick = self.reader.video.seconds_per_tick
        begin = (self._first or 0) * tick
        stop = None if self.end is None else self.end + (self._origin or 0) * tick
        for packet in taken:
            stream = self.reader.copied[packet.stream]
            moment = moment_of(packet, stream)
            if moment is None or (begin <= moment and (stop is None or moment < stop)):
                moved = round(begin / stream.seconds_per_tick)
                pts = None if packet.pts is None else packet.pts - moved
                dts = None if packet.dts is None else packet.dts - moved
                yield replace(packet, pts=pts, dts=dts)


def _joined(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Each shown until the next."""
    before: Frame | None = None
    for frame in frames:
        if before is not None:
            yield replace(before, duration=frame.pts - before.pts)
        before = frame
    if before is not None:
        yield before


def _check_size(reader: LvzReader, limit: float | None = None, notice: Notice | None = None) -> None:
    padded = reader.video.geometry
    check_memory("decode", (padded.padded_width, padded.padded_height), reader.frame_count, limit, notice)


def _gops(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    """The clips of each group, all read before the group is given on: a decoder that fails may still have a thread that
    reads its clips, and must not share an iterator with the next one."""
    held: list[Clip] = []
    for clip in clips:
        if clip.key and held:
            yield held
            held = []
        held.append(clip)
    if held:
        yield held


def container_of(target: str, wanted: str | None) -> str:
    """`y4m` or the name of what `MediaWriter` writes. Raises `UsageError`."""
    if wanted is None and target == STREAM:
        return Y4M
    ending = wanted or Path(target).suffix.lower().removeprefix(".")
    return Y4M if ending == Y4M else container_for(target, wanted).name


def format_of(reader: LvzReader) -> VideoFormat:
    return VideoFormat(**{name: getattr(reader.video, name) for name in VideoFormat.__dataclass_fields__})


def side_of(reader: LvzReader, start: float | None = None) -> VideoSide:
    """What belongs to the video beside its pictures; the timecode is that of the first frame from `start` on."""
    side = VideoSide(**vars(reader.side))
    rate = reader.video.frame_rate
    if start and TIMECODE in side.tags and all(rate):
        moved = advanced(side.tags[TIMECODE], Fraction(*rate), Fraction(start).limit_denominator(1_000_000))
        tags = {key: value for key, value in side.tags.items() if key != TIMECODE}
        side = replace(side, tags={**tags, **({} if moved is None else {TIMECODE: moved})})
    return side


def attachments_of(reader: LvzReader) -> list[Attachment]:
    return [Attachment(**vars(attachment)) for attachment in reader.attachments]


@contextlib.contextmanager
def opened_writer(
    target: Path | BinaryIO,
    kind: str,
    video: VideoFormat,
    copied: Sequence[CopiedStreamInfo],
    metadata: dict[str, str],
    chapters: Sequence[Chapter],
    codec: str,
    crf: float | None,
    threads: int | None,
    side: VideoSide | None = None,
    attachments: Sequence[Attachment] = (),
    audio: str = "copy",
) -> Iterator[tuple[MediaWriter | Y4mWriter, Callable[[], int]]]:
    """A writer of video, and how many bytes it has written."""
    with contextlib.ExitStack() as stack:
        writer: MediaWriter | Y4mWriter
        path, stream = (target, None) if isinstance(target, Path) else (None, _Counted(target))
        if kind == Y4M:
            file = stack.enter_context(path.open("wb")) if path is not None else stream
            writer = Y4mWriter(cast(BinaryIO, file), video, side)
            if any(audio != "none" or stream.kind != "audio" for stream in copied):
                text = "y4m holds no sound and no subtitles: they are left out — a .mkv keeps them"
                writer.notices.append(Loss(text))
            if attachments:
                writer.notices.append(Loss("y4m has no place for covers and attachments: left out"))
        else:
            # a path, because FFmpeg opens it a second time to move an MP4's index to its front
            writer = MediaWriter(
                path or cast(BinaryIO, stream), video, copied, metadata, chapters,
                container=kind, codec=codec, crf=crf, threads=threads or 0,
                side=side, attachments=attachments, audio=audio,
            )  # fmt: skip
        stack.enter_context(writer)
        yield writer, lambda: os.path.getsize(path) if path is not None else cast(_Counted, stream).bytes


class _Counted(io.RawIOBase):
    """A stream that is only written forward, and counts its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.bytes += memoryview(data).nbytes
        return self._file.write(data)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()
