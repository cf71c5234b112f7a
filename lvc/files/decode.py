"""Decodes a `.lvz` to a video or to frames."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lvc.errors import CorruptError, TruncatedError, UnsupportedError, UsageError
from lvc.files.coding import OwnModel, VideoModel, model_of
from lvc.files.common import (
    RECORDS_AHEAD,
    Notice,
    PathLike,
    Progress,
    destination,
    drained,
    labelled,
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
    VideoFormat,
    VideoSide,
)
from lvc.media.containers import container_for
from lvc.media.depth import DEPTHS
from lvc.media.side import TIMECODE
from lvc.media.sound_coding import sound_coding
from lvc.media.timecode import advanced
from lvc.media.y4m import Y4mWriter
from lvc.notices import Loss, Notices
from lvc.options import DecodeOptions
from lvc.output import about, check_output, workspace
from lvc.pipeline import ReadAhead, WriteBehind
from lvc.place import STDOUT, STREAM, Place
from lvc.results import DecodeResult
from lvc.threads import own_threads, with_own_threads

if TYPE_CHECKING:
    from lvc.codec import Change
    from lvc.media import MediaWriter
    from lvc.models import Model

Y4M = "y4m"


def decode_video(
    source: str,
    target: str,
    options: DecodeOptions,
    *,
    force: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> DecodeResult:
    """Decompress the `.lvz` `source` to a video. A range starts at time 0 in the output; only the GOPs that it touches
    are read. Raises as `decode_file`."""
    label = Place(target).called(STDOUT)
    changes = None if options.latents is None else os.fspath(options.latents)
    check_output([source, *([] if changes is None else [changes])], target, force=force, writes=VIDEOS)
    sound_coding(options.audio)  # raises early if it is not valid
    if options.follow and options.salvage:
        raise UsageError("--follow and --salvage cannot be combined — leave one out")
    if changes is not None and (options.salvage or options.follow):
        raise UsageError("--latents cannot be combined with --salvage or --follow — leave it out")
    kind = container_of(target, options.container)
    started = time.monotonic()
    notices = Notices(notice, strict=options.strict)
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        reader = stack.enter_context(opened(source, options.salvage, notice, follow=options.follow))
        check_size(reader, options.max_memory, notice)
        decoding = Decoding(
            reader,
            options.start,
            options.end,
            options.salvage,
            with_packets=kind != "y4m",
            from_zero=True,
            follow=options.follow,
            every=options.every,
        )
        path = stack.enter_context(destination(target, force))
        total = -(-reader.tail.frame_count // options.every) if reader.tail and not decoding.ranged else None
        frames = ticks = 0
        metadata, chapters = reader.metadata.tags, [Chapter(**vars(c)) for c in reader.metadata.chapters]
        copied = [CopiedStreamInfo(**vars(stream)) for stream in reader.copied]
        net = model_of(reader, options.model, options.device)
        if changes is not None:
            decoding.change = stack.enter_context(_changes(changes, reader, net, target))
        stack.enter_context(own_threads())
        # on a thread, so that it begins while FFmpeg is loaded
        items = stack.enter_context(ReadAhead(labelled(decoding.items(net, options.threads), source), 1))
        with (
            about(label),
            opened_writer(
                path,
                kind,
                decoding.thinned(format_of(reader)),
                copied,
                metadata,
                chapters,
                options.codec,
                options.crf,
                options.threads,
                side_of(reader, options.start),
                attachments_of(reader),
                options.audio,
            ) as writing,
        ):
            writer, written = writing
            notices.new(writer.notices)
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
    model: str | os.PathLike[str] | Model | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a `.lvz` in order, with the times of the source. Raises as `decode_file`."""
    source = os.fspath(source)
    with about(source), opened(source, salvage) as reader:
        check_size(reader)
        net = model_of(reader, model, device)
        yield from frames_of(Decoding(reader, start, end, salvage, with_packets=False, from_zero=False), net, threads)


def frames_of(decoding: Decoding, model: VideoModel, threads: int | None) -> Iterator[Frame]:
    """Yield frames only. The caller's torch settings are left unchanged."""
    for item in with_own_threads(decoding.items(model, threads)):
        if isinstance(item, Frame):
            yield item


class Decoding:
    """The decoding of a `.lvz` to frames and packets: the wanted range, and what had to be left out."""

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
            raise UsageError("every must be 1 or more")
        self._every = every
        self.reader = reader
        self.ranged = start is not None or end is not None
        self.start = Fraction(start or 0).limit_denominator(1_000_000)
        self.end = None if end is None else Fraction(end).limit_denominator(1_000_000)
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise UsageError("the time range is empty — its end has to be after its start")
        self.change: Change | None = None
        """Edits the latents of each frame before it is decoded, if set."""
        self.salvage = salvage
        self.follow = follow
        self.with_packets = with_packets
        self.from_zero = from_zero and self.ranged
        self.bytes_read = 0
        self._lost: list[str] = []
        self._arrived: deque[CopiedPacket] = deque()  # another thread may read the clips
        self.origin: int | None = reader.tail.start_pts if reader.tail else None
        """pts of the file's first frame; known at the latest when a clip has been read."""
        self._first: int | None = None

    @property
    def damage(self) -> list[str]:
        return [f"byte {d.offset}: {d.reason}" for d in self.reader.damage] + self._lost

    def items(self, model: VideoModel, threads: int | None) -> Iterator[Frame | CopiedPacket]:
        """Yield frames, each followed by the packets read meanwhile; a range is trimmed and moved to time 0."""
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
                raise UsageError("no frame lies in this range — lvc info shows the length")
            yield from self._packets()

    def _followed(self, records: Iterator[Clip | PacketGroup]) -> Iterator[Clip | PacketGroup]:
        """Yield the records of a file that is being followed. If it ends too early, the recorder has crashed; keep what
        was finished."""
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
            if self.origin is None:  # the first clip read may not be the file's first
                self.origin = record.pts[0] if self.reader.first_pts is None else self.reader.first_pts
            if self.end is None or self._seconds(record.pts[0]) < self.end:
                yield record
            elif not self.with_packets:
                return

    def _frames(self, clips: Iterator[Clip], model: VideoModel, threads: int | None) -> Iterator[Frame]:
        video = self.reader.video
        wanted: Callable[[int, int], bool] | None = None
        if self._every != 1:
            wanted = lambda number, _: number % self._every == 0  # noqa: E731
        elif self.ranged and not self.salvage:
            # frames before the range are decoded only if they are referred to
            wanted = lambda _, pts: self._wanted(pts)  # noqa: E731
        if not self.salvage:
            if self.change is None:
                frames = model.decode(clips, video, threads, wanted)
            elif isinstance(model, OwnModel):
                frames = model.decode_changed(clips, video, self.change, threads, wanted)
            else:
                raise TypeError("only latents of lvc's own codec can be changed")
            yield from frames if self._every == 1 else _joined(frames)
            return
        # one GOP at a time, so that damage in one does not affect the next
        for gop in _gops(clips):
            frame, stop = gop[0].first_frame, gop[-1].first_frame + gop[-1].n_frames
            try:
                for decoded in model.decode(iter(gop), video, threads, wanted):
                    frame += 1
                    yield decoded
            except CorruptError as error:
                self._lost.append(f"{frames_named(frame, stop)} lost: {error}")

    def thinned(self, video: VideoFormat) -> VideoFormat:
        """Return the format of the output, with every n-th frame."""
        rate = Fraction(*video.frame_rate) / self._every if video.frame_rate[1] else None
        return video if rate is None else replace(video, frame_rate=(rate.numerator, rate.denominator))

    def _seconds(self, pts: int) -> Fraction:
        return (pts - (self.origin or 0)) * self.reader.video.seconds_per_tick

    def _wanted(self, pts: int) -> bool:
        moment = self._seconds(pts)
        return self.start <= moment and (self.end is None or moment < self.end)

    def _packets(self) -> Iterator[CopiedPacket]:
        """Yield the packets read meanwhile, trimmed to the range and moved with the frames."""
        taken = drained(self._arrived)
        if not self.from_zero:
            yield from taken
            return
        tick = self.reader.video.seconds_per_tick
        begin = (self._first or 0) * tick
        stop = None if self.end is None else self.end + (self.origin or 0) * tick
        for packet in taken:
            stream = self.reader.copied[packet.stream]
            moment = moment_of(packet, stream)
            if moment is None or (begin <= moment and (stop is None or moment < stop)):
                moved = round(begin / stream.seconds_per_tick)
                pts = None if packet.pts is None else packet.pts - moved
                dts = None if packet.dts is None else packet.dts - moved
                yield replace(packet, pts=pts, dts=dts)


def _joined(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield frames, each lasting until the next."""
    before: Frame | None = None
    for frame in frames:
        if before is not None:
            yield replace(before, duration=frame.pts - before.pts)
        before = frame
    if before is not None:
        yield before


@contextlib.contextmanager
def _changes(path: str, reader: LvzReader, model: VideoModel, target: str) -> Iterator[Change]:
    if not isinstance(model, OwnModel):
        raise UsageError("was made with another project's VAE, whose latents lvc pack takes — leave --latents out")
    from lvc.latents.changes import opened as opened_changes

    with workspace(target) if Place(target).is_local else tempfile.TemporaryDirectory(prefix="lvc-") as scratch:
        geometry, sha256 = reader.video.geometry, reader.header.model_sha256
        with opened_changes(path, geometry, sha256, reader.frame_count, Path(scratch)) as changes:
            yield changes


def check_size(reader: LvzReader, limit: float | None = None, notice: Notice | None = None) -> None:
    padded = reader.video.geometry
    check_memory("decode", (padded.padded_width, padded.padded_height), reader.frame_count, limit, notice)


def _gops(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    """Yield the clips of each GOP as a list. A decoder that fails may still have a thread that reads clips, so GOPs
    must not share an iterator."""
    held: list[Clip] = []
    for clip in clips:
        if clip.key and held:
            yield held
            held = []
        held.append(clip)
    if held:
        yield held


def container_of(target: str, wanted: str | None) -> str:
    """Return the output's container: `y4m`, or a name that `MediaWriter` knows. Raises `UsageError`."""
    if wanted is None and target == STREAM:
        return Y4M
    ending = wanted or Path(target).suffix.lower().removeprefix(".")
    return Y4M if ending == Y4M else container_for(target, wanted).name


def format_of(reader: LvzReader) -> VideoFormat:
    """Of the pictures that are decoded. Raises `UnsupportedError`."""
    if reader.video.bit_depth not in DEPTHS or reader.video.chroma != 420:
        kind = f"{reader.video.bit_depth} bits and chroma {reader.video.chroma}"
        raise UnsupportedError(f"has pictures of {kind} — update lvc")
    return VideoFormat(**{name: getattr(reader.video, name) for name in VideoFormat.__dataclass_fields__})


def side_of(reader: LvzReader, start: float | None = None) -> VideoSide:
    """Return the side data of the video. The timecode is that of the first frame from `start` on."""
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
    codec: str | None,
    crf: float | None,
    threads: int | None,
    side: VideoSide | None = None,
    attachments: Sequence[Attachment] = (),
    audio: str = "copy",
) -> Iterator[tuple[MediaWriter | Y4mWriter, Callable[[], int]]]:
    """Yield a writer of video, and a function that returns how many bytes it has written."""
    with contextlib.ExitStack() as stack:
        writer: MediaWriter | Y4mWriter
        path, stream = (target, None) if isinstance(target, Path) else (None, _Counted(target))
        if kind == Y4M:
            file = stack.enter_context(path.open("wb")) if path is not None else stream
            writer = Y4mWriter(cast(BinaryIO, file), video, side)
            if any(audio != "none" or stream.kind != "audio" for stream in copied):
                text = "y4m cannot hold sound or subtitles: they are left out — a .mkv keeps them"
                writer.notices.append(Loss(text))
            if attachments:
                writer.notices.append(Loss("y4m cannot hold covers and attachments: they are left out"))
        else:
            from lvc.media import MediaWriter

            # a path, because FFmpeg opens it again to move an MP4's index to the front
            writer = MediaWriter(
                path or cast(BinaryIO, stream), video, copied, metadata, chapters,
                container=kind, codec=codec, crf=crf, threads=threads or 0,
                side=side, attachments=attachments, audio=audio,
            )  # fmt: skip
        stack.enter_context(writer)
        yield writer, lambda: os.path.getsize(path) if path is not None else cast(_Counted, stream).bytes


class _Counted(io.RawIOBase):
    """A stream without seeking that counts the bytes written."""

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
