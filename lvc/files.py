"""File-level jobs: a video becomes a `.lvz` and a `.lvz` becomes a video, in constant memory.

    media.read ─▶ codec.encode ─▶ lvz.write          encode_file
    media.write ◀─ codec.decode ◀─ lvz.read          decode_file, decode_frames

Both directions are generators end to end. Reading and writing run on threads of their own with bounded queues, so
that PyAV's work overlaps the network's. Times are seconds from the first frame; the end of a range is exclusive.
A path may be `-`: standard input or output. torch is imported by the jobs themselves, after what can be refused
without it was refused.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from lvc import __version__
from lvc.errors import CorruptError, MediaError, UnsupportedError, UsageError
from lvc.lvz import (
    PACKET_KEY,
    PACKING_NAMES,
    Chapter,
    Clip,
    CopiedStream,
    Header,
    LvzReader,
    LvzWriter,
    Metadata,
    Packet,
    PacketGroup,
    VideoDescriptor,
)
from lvc.media import Chapter as MediaChapter
from lvc.media import CopiedPacket, CopiedStreamInfo, Frame, MediaReader, MediaWriter, VideoFormat, Y4mWriter
from lvc.media.containers import container_for
from lvc.output import STDOUT, STREAM, about, binary_stdin, binary_stdout, check_output, publish
from lvc.pipeline import ReadAhead, WriteBehind, in_background
from lvc.results import DecodeResult, EncodeResult

if TYPE_CHECKING:
    from lvc.codec import EncodeSettings
    from lvc.models import Model

Progress = Callable[[int, int, int, int | None], object]
"""Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown)."""
Notice = Callable[[str], object]
PathLike = str | os.PathLike[str]
T = TypeVar("T")

Y4M = "y4m"
FRAMES_AHEAD = 24
RECORDS_AHEAD = 4


# ---------------------------------------------------------------- video → .lvz


def encode_file(
    source: PathLike,
    target: PathLike,
    *,
    model: str | None = None,
    quality: float = 50,
    gop: float = 10.0,
    packing: str = "rans",
    audio: str = "copy",
    subtitles: str = "copy",
    resolution: str | None = None,
    fps: str | Fraction | None = None,
    start: float | None = None,
    duration: float | None = None,
    threads: int | None = None,
    device: str | None = None,
    force: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Compress the video `source` to the `.lvz` `target`; `verify` decodes what was written before it is published.

    Raises every kind of `LvcError`, and `OSError`; nothing is left behind then.
    """
    source, target = os.fspath(source), os.fspath(target)
    label = STDOUT if target == STREAM else target
    check_output(source, target, force=force)
    if verify and target == STREAM:
        raise UsageError("what went into a pipe cannot be read again to verify it — write a file")
    started = time.monotonic()

    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        reader = in_background(
            lambda: MediaReader(
                binary_stdin() if source == STREAM else source,
                resolution=resolution, fps=fps, start=start, duration=duration, audio=audio, subtitles=subtitles,
            )
        )  # fmt: skip
        items = stack.enter_context(ReadAhead(reader, FRAMES_AHEAD))
        path = stack.enter_context(_destination(target, force))
        from lvc import codec

        net = _load_model(model, device)
        settings = codec.EncodeSettings(quality=quality, gop=gop, packing=packing, threads=threads)
        video = _describe(reader.video, net, settings)
        copied = [CopiedStream(**vars(stream)) for stream in reader.copied]
        metadata = Metadata(dict(reader.metadata), tuple(Chapter(**vars(chapter)) for chapter in reader.chapters))
        count = _Count(_size(source), reader.frame_count_hint, progress)
        with about(label), _opened_for_writing(path) as file:
            writer = LvzWriter(file, Header(net.id, net.sha256, f"lvc {__version__}"), video, copied, metadata)
            records = stack.enter_context(_blamed(_records(items, reader.video, copied, net, settings), source))
            with WriteBehind(_write_to(writer), RECORDS_AHEAD) as sink:
                for record in records:
                    sink.put(record)
                    count.add(record, writer.bytes_written)
            writer.close()
        for text in reader.notices:
            if notice is not None:
                notice(text)
        if verify and path is not None:
            with about(target):
                _verify_written(path, count, net, threads)
    return EncodeResult(
        target, count.frames, video.width, video.height, float(count.ticks * video.seconds_per_tick),
        _size(source), writer.bytes_written, time.monotonic() - started,
        model=net.id, video_bytes=writer.clip_bytes, verified=verify,
    )  # fmt: skip


class _Count:
    """What was encoded so far, and per clip what `verify` compares: frames and checksum of the latents."""

    def __init__(self, bytes_in: int | None, frames_hint: int | None, progress: Progress | None) -> None:
        self.frames = self.ticks = 0
        self.clips: list[tuple[int, int]] = []
        self._bytes_in, self._hint, self._progress = bytes_in, frames_hint, progress

    def add(self, record: Clip | PacketGroup, bytes_out: int) -> None:
        if isinstance(record, PacketGroup):
            return
        self.frames += record.n_frames
        self.ticks += sum(record.durations)
        self.clips.append((record.n_frames, record.latents_crc))
        if self._progress is not None:
            total = max(self._hint, self.frames) if self._hint else None
            # what of the source was read is only known from how far its frames have come
            bytes_in = (self._bytes_in or 0) * self.frames // total if total else 0
            self._progress(self.frames, bytes_in, bytes_out, total)


def _records(
    items: Iterable[Frame | CopiedPacket],
    video: VideoFormat,
    copied: list[CopiedStream],
    model: Model,
    settings: EncodeSettings,
) -> Iterator[Clip | PacketGroup]:
    """Clips, each followed by the packets of its time."""
    from lvc import codec

    arrived: deque[CopiedPacket] = deque()  # the codec takes frames on a thread of its own
    waiting: list[CopiedPacket] = []

    def frames() -> Iterator[Frame]:
        for item in items:
            if isinstance(item, CopiedPacket):
                arrived.append(item)
            else:
                yield item

    def packets(end: Fraction | None) -> Iterator[PacketGroup]:
        waiting.extend(_drained(arrived))
        later = []
        for packet in waiting:
            moment = _moment(packet, copied[packet.stream])
            if end is None or moment is None or moment < end:
                flags = PACKET_KEY if packet.is_key else 0
                yield PacketGroup(packet.stream, [Packet(packet.pts, packet.dts, packet.duration, flags, packet.data)])
            else:
                later.append(packet)
        waiting[:] = later

    first_frame = 0
    for clip in codec.encode(frames(), video, model, settings):
        yield Clip(first_frame, clip.key, clip.pts, clip.durations, clip.latents_crc, clip.payload)
        first_frame += len(clip.pts)
        yield from packets((clip.pts[-1] + clip.durations[-1]) * video.seconds_per_tick)
    if not first_frame:
        raise MediaError("no frame could be decoded — it may be damaged, or the range lies behind its end")
    yield from packets(None)


def _drained(arrived: deque[CopiedPacket]) -> Iterator[CopiedPacket]:
    while arrived:
        yield arrived.popleft()


def _moment(packet: CopiedPacket, stream: CopiedStream) -> Fraction | None:
    """When a packet plays, in seconds."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None else ticks * stream.seconds_per_tick


def _write_to(writer: LvzWriter) -> Callable[[Clip | PacketGroup], None]:
    def write(record: Clip | PacketGroup) -> None:
        if isinstance(record, Clip):
            writer.write_clip(record)
        else:
            writer.write_packets(record.stream, record.packets)

    return write


def _describe(video: VideoFormat, model: Model, settings: EncodeSettings) -> VideoDescriptor:
    packing = {name: number for number, name in PACKING_NAMES.items()}[settings.packing]
    return VideoDescriptor(**vars(video), planes=model.planes, packing=packing, gop_seconds=settings.gop)


def _verify_written(path: Path, count: _Count, model: Model, threads: int | None) -> None:
    """Decode `path` to the end; its clips must be the ones that went in. Raises `CorruptError`."""
    from lvc import codec

    seen: list[tuple[int, int]] = []

    def clips(reader: LvzReader) -> Iterator[Clip]:
        for record in reader.records():
            if isinstance(record, Clip):
                seen.append((record.n_frames, record.latents_crc))
                yield record

    with path.open("rb") as file:
        reader = LvzReader(file)
        frames = sum(1 for _ in codec.decode(clips(reader), reader.video, model, threads=threads))
    if frames != count.frames or seen != count.clips:
        raise CorruptError("what was written does not decode to what went in — try again, and check disk and memory")


# ---------------------------------------------------------------- .lvz → video


def decode_file(
    source: PathLike,
    target: PathLike,
    *,
    start: float | None = None,
    end: float | None = None,
    codec: str = "h264",
    crf: float | None = None,
    container: str | None = None,
    salvage: bool = False,
    model: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> DecodeResult:
    """Decompress the `.lvz` `source` to a video; of a range, only the groups of clips that it touches are read.

    A range starts at time 0 in the output. `salvage` leaves out what is damaged and lists it in the result, where
    otherwise `CorruptError` is raised. Raises every kind of `LvcError`, and `OSError`; nothing is left behind then.
    """
    source, target = os.fspath(source), os.fspath(target)
    label = STDOUT if target == STREAM else target
    check_output(source, target, force=force)
    kind = _container(target, container)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        reader = stack.enter_context(_opened(source, salvage))
        decoding = _Decoding(reader, start, end, salvage, with_packets=kind != "y4m", from_zero=True)
        path = stack.enter_context(_destination(target, force))
        total = reader.tail.frame_count if reader.tail and not decoding.ranged else None
        frames = ticks = 0
        with about(label), _opened_writer(path, kind, reader, codec, crf, threads) as (writer, written):
            with about(source):
                net = _model_of(reader, model, device)
            items = stack.enter_context(_blamed(decoding.items(net, threads), source))
            with WriteBehind(writer.write, FRAMES_AHEAD) as sink:
                for item in items:
                    sink.put(item)
                    if isinstance(item, Frame):
                        frames += 1
                        ticks += item.duration
                        if progress is not None:
                            progress(frames, decoding.bytes_read, written(), total)
        bytes_out = written()
        if notice is not None:
            for text in [*writer.notices, *(f"left out: {text}" for text in decoding.damage)]:
                notice(text)
    return DecodeResult(
        target, frames, reader.video.width, reader.video.height, float(ticks * reader.video.seconds_per_tick),
        _size(source), bytes_out, time.monotonic() - started,
        damage=tuple(decoding.damage),
    )  # fmt: skip


def decode_frames(
    source: PathLike,
    start: float | None = None,
    end: float | None = None,
    *,
    salvage: bool = False,
    model: str | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Iterator[Frame]:
    """The frames of a `.lvz`, one after the other, with the times of the source. Same errors as `decode_file`."""
    source = os.fspath(source)
    with about(source), _opened(source, salvage) as reader:
        decoding = _Decoding(reader, start, end, salvage, with_packets=False, from_zero=False)
        for item in decoding.items(_model_of(reader, model, device), threads):
            if isinstance(item, Frame):
                yield item


class _Decoding:
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
    ) -> None:
        self.reader = reader
        self.ranged = start is not None or end is not None
        self.start = Fraction(start or 0).limit_denominator(1_000_000)
        self.end = None if end is None else Fraction(end).limit_denominator(1_000_000)
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise UsageError("the range is empty — it has to end after its start")
        self.salvage = salvage
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

    def items(self, model: Model, threads: int | None) -> Iterator[Frame | CopiedPacket]:
        """Frames, each followed by the packets read meanwhile; trimmed, and moved to 0 if a range is wanted."""
        if self.ranged:
            origin = (self._origin or 0) * self.reader.video.seconds_per_tick
            records = self.reader.records_from(origin + self.start, None if self.end is None else origin + self.end)
        else:
            records = self.reader.records()
        with ReadAhead(records, RECORDS_AHEAD) as ahead:
            for frame in self._frames(self._clips(ahead), model, threads):
                if self.ranged and not self._wanted(frame.pts):
                    continue
                if self._first is None:
                    self._first = frame.pts
                yield replace(frame, pts=frame.pts - self._first) if self.from_zero else frame
                yield from self._packets()
            if self._first is None:
                if self.damage:
                    raise CorruptError("nothing could be saved — get another copy of the file")
                raise UsageError("no frame lies in that range — lvc info shows its length")
            yield from self._packets()

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
            if self._origin is None:
                self._origin = record.pts[0]
            if self.end is None or self._seconds(record.pts[0]) < self.end:
                yield record

    def _frames(self, clips: Iterator[Clip], model: Model, threads: int | None) -> Iterator[Frame]:
        from lvc import codec

        video = self.reader.video
        if not self.salvage:
            yield from codec.decode(clips, video, model, threads=threads)
            return
        # one group at a time: what is broken in one does not reach the next
        group = itertools.count()
        number = 0

        def number_of(clip: Clip) -> int:
            nonlocal number
            number = next(group) if clip.key else number
            return number

        for _, gop in itertools.groupby(clips, number_of):
            try:
                yield from codec.decode(gop, video, model, threads=threads)
            except CorruptError as error:
                self._lost.append(str(error))

    def _seconds(self, pts: int) -> Fraction:
        return (pts - (self._origin or 0)) * self.reader.video.seconds_per_tick

    def _wanted(self, pts: int) -> bool:
        moment = self._seconds(pts)
        return self.start <= moment and (self.end is None or moment < self.end)

    def _packets(self) -> Iterator[CopiedPacket]:
        """What was read meanwhile, trimmed to the range and moved with the frames."""
        taken = _drained(self._arrived)
        if not self.from_zero:
            yield from taken
            return
        tick = self.reader.video.seconds_per_tick
        begin = (self._first or 0) * tick
        stop = None if self.end is None else self.end + (self._origin or 0) * tick
        for packet in taken:
            stream = self.reader.copied[packet.stream]
            moment = _moment(packet, stream)
            if moment is None or (begin <= moment and (stop is None or moment < stop)):
                moved = round(begin / stream.seconds_per_tick)
                pts = None if packet.pts is None else packet.pts - moved
                dts = None if packet.dts is None else packet.dts - moved
                yield replace(packet, pts=pts, dts=dts)


@contextlib.contextmanager
def _opened(source: str, salvage: bool = False) -> Iterator[LvzReader]:
    with binary_stdin() if source == STREAM else open(source, "rb") as file:
        yield LvzReader(file, salvage=salvage, partial_gops=True)


def _container(target: str, wanted: str | None) -> str:
    """`y4m` or the name of what `MediaWriter` writes. Raises `UsageError`."""
    if wanted is None and target == STREAM:
        return Y4M
    ending = wanted or Path(target).suffix.lower().removeprefix(".")
    return Y4M if ending == Y4M else container_for(target, wanted).name


@contextlib.contextmanager
def _opened_writer(
    path: Path | None, kind: str, reader: LvzReader, codec: str, crf: float | None, threads: int | None
) -> Iterator[tuple[MediaWriter | Y4mWriter, Callable[[], int]]]:
    """A writer of video, and how many bytes it has written."""
    video = VideoFormat(**{name: getattr(reader.video, name) for name in VideoFormat.__dataclass_fields__})
    copied = [CopiedStreamInfo(**vars(stream)) for stream in reader.copied]
    metadata = reader.metadata
    with contextlib.ExitStack() as stack:
        writer: MediaWriter | Y4mWriter
        stdout = _Counted(stack.enter_context(binary_stdout())) if path is None else None
        if kind == Y4M:
            file = stack.enter_context(path.open("wb")) if path is not None else stdout
            writer = Y4mWriter(cast(BinaryIO, file), video)
            if copied:
                writer.notices.append("y4m holds no sound and no subtitles: they are left out — a .mkv keeps them")
        else:
            # a path, because FFmpeg opens it a second time to move an MP4's index to its front
            writer = MediaWriter(
                path or cast(BinaryIO, stdout), video, copied, metadata.tags,
                [MediaChapter(**vars(chapter)) for chapter in metadata.chapters],
                container=kind, codec=codec, crf=crf, threads=threads or 0,
            )  # fmt: skip
        stack.enter_context(writer)
        yield writer, lambda: os.path.getsize(path) if path is not None else cast(_Counted, stdout).bytes


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


# ---------------------------------------------------------------- both ways


@contextlib.contextmanager
def _destination(target: str, force: bool) -> Iterator[Path | None]:
    """Where to write so that `target` appears at once and whole; None is standard output."""
    if target == STREAM:
        yield None
    else:
        with publish(target, force=force) as path:
            yield path


def _opened_for_writing(path: Path | None) -> BinaryIO:
    return binary_stdout() if path is None else path.open("wb")


@contextlib.contextmanager
def _blamed(items: Iterator[T], name: str) -> Iterator[Iterator[T]]:
    """`items`, whose errors are about the file `name` and not about the one that is written; closed in good order."""

    def labelled() -> Generator[T]:
        with about(name):
            yield from items

    with contextlib.closing(labelled()) as result:
        yield result


def _size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None


def _load_model(name: str | None, device: str | None) -> Model:
    from lvc import models

    return models.load_model(name, device)


def _model_of(reader: LvzReader, name: str | None, device: str | None) -> Model:
    """The model that a file was made with: the one named, which has to match, or the one that is found."""
    from lvc import models

    header = reader.header
    if name is None:
        return models.load_model(models.find_model(header.model_id, header.model_sha256), device)
    model = models.load_model(name, device)
    if model.sha256 != header.model_sha256:
        raise UnsupportedError(f"was made with the model {header.model_id}, not with {name} — name the right one")
    return model
