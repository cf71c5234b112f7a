"""Encodes a video to a `.lvz`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lvc import __version__
from lvc.engine.library import library
from lvc.entropy.model_file import model_chunk
from lvc.errors import CorruptError, MediaError, UsageError
from lvc.features import Watcher
from lvc.files.coding import OwnModel, VideoModel, loaded
from lvc.files.common import (
    RECORDS_AHEAD,
    Notice,
    Progress,
    blamed,
    destination,
    drained,
    moment_of,
    size_of,
)
from lvc.files.memory import check_memory, frames_ahead
from lvc.kinds import LVZ, kind_of_file
from lvc.latents.foreign import is_continuous, load_continuous
from lvc.lvz import (
    PACKET_KEY,
    Attachment,
    Chapter,
    Clip,
    CopiedStream,
    Header,
    LvzReader,
    LvzWriter,
    Metadata,
    ModelChunk,
    Origin,
    Packet,
    PacketGroup,
    Side,
)
from lvc.media import CopiedPacket, CopiedStreamInfo, Frame, MediaReader, VideoFormat
from lvc.media.fitting import way_out
from lvc.notices import Notices
from lvc.options import CodingOptions, EncodeOptions
from lvc.output import about, check_output, opened_input
from lvc.pipeline import ReadAhead, WriteBehind, in_background
from lvc.place import STDOUT, Place
from lvc.results import EncodeResult
from lvc.threads import own_threads

if TYPE_CHECKING:
    from lvc.codec import EncodeSettings


BY_MUCH = 0.05
"""Relative miss of a target bit rate above which a notice is sent."""
BY_DECIBELS = 0.5
"""The same for a target PSNR."""


@dataclass(frozen=True)
class Trial:
    """One of the encodings of a source that are compared: its model, and the error of every frame
    (`EncodeSettings.told_error`)."""

    model: OwnModel
    errors: list[float] = field(default_factory=list)


def encode_once(
    source: str,
    target: str,
    options: EncodeOptions,
    *,
    force: bool = False,
    origin: Origin | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
    trial: Trial | None = None,
) -> EncodeResult:
    """Encode `source` in one pass; ignores the targets that take several. Raises as `encode_file`."""
    label = Place(target).called(STDOUT)
    check_output(source, target, force=force, writes=[LVZ])
    if options.verify and not Place(target).is_local:
        raise UsageError("--verify cannot read back what was written to a pipe or URL — write a file")
    if not is_continuous(options.model):
        library()  # without it nothing can be encoded: said before anything is read
    started = time.monotonic()
    notices = Notices(notice, strict=options.strict)
    reached: list[float] = []  # PSNR of the frames in dB, if that is the target
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        refuse_lvz(source)
        reader = in_background(
            lambda: MediaReader(
                stack.enter_context(opened_input(source, whole=True)) if Place(source).is_fetched else source,
                resolution=options.resolution, fps=options.fps, start=options.start, duration=options.duration,
                audio=options.audio, subtitles=options.subtitles, threads=options.threads or 0,
                allow_playlists=options.allow_playlists, close_gaps=options.close_gaps,
                bit_depth=depth_of(options),
            )
        )  # fmt: skip
        notices.new(reader.notices, list(filter(None, map(way_out, reader.copied))))
        size = reader.video.width, reader.video.height
        check_memory("encode", size, reader.frame_count_hint, options.max_memory, notice, options.adapt)
        items: Iterable[Frame | CopiedPacket] = stack.enter_context(ReadAhead(reader, frames_ahead(*size)))
        path = stack.enter_context(destination(target, force))
        stack.enter_context(own_threads())
        settings = settings_of(options, seconds_of(reader), reached.append)
        net: VideoModel
        if trial is None:
            net, items = video_model(options, items, reader.video, settings)
            inside = _embedded(net) if options.embed_model else None
        else:
            settings = replace(settings, told_error=trial.errors.append)
            net, inside = trial.model, trial.model.inside
        copied = [CopiedStream(**vars(stream)) for stream in reader.copied]
        beside = Beside(
            tuple(copied),
            Metadata(dict(reader.metadata), tuple(Chapter(**vars(chapter)) for chapter in reader.chapters)),
            Side(**vars(reader.side)),
            tuple(Attachment(**vars(item)) for item in reader.attachments),
            origin,
            inside,
        )
        count = Count(size_of(source), reader.frame_count_hint, progress)
        with about(label), opened_for_writing(path) as file:

            def each(record: Clip | PacketGroup, written: int) -> None:
                count.add(record, written)
                notices.new(reader.notices)

            writer = write_lvz(
                file, items, reader.video, net, settings, beside, features=options.features, source=source, each=each
            )
        seconds = float(count.ticks * reader.video.seconds_per_tick)
        notices.new(reader.notices, unmet(options, 8 * writer.clip_bytes, seconds, reached))
        if options.verify and isinstance(path, Path):
            with about(target):
                verify_written(path, count, net, options.threads)
    cut = options.start is not None or options.duration is not None
    return EncodeResult(
        target, count.frames, size[0], size[1], seconds,
        size_of(source), writer.bytes_written, time.monotonic() - started,
        model=net.id, video_bytes=writer.video_chunk_bytes, verified=options.verify,
        audio_bytes=writer.sound_chunk_bytes,
        bytes_taken=_taken(size_of(source), seconds, reader.source_seconds, cut),
    )  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """The content of a file other than its pictures."""

    copied: tuple[CopiedStream, ...] = ()
    metadata: Metadata = Metadata()
    side: Side = Side()
    attachments: tuple[Attachment, ...] = ()
    origin: Origin | None = None
    model_chunk: ModelChunk | None = None


def write_lvz(
    file: BinaryIO,
    items: Iterable[Frame | CopiedPacket],
    video: VideoFormat,
    model: VideoModel,
    settings: EncodeSettings,
    beside: Beside,
    *,
    features: bool,
    source: str,
    each: Callable[[Clip | PacketGroup, int], object],
) -> LvzWriter:
    """Codes `items` into `file` up to its end. `each` hears of every record, and of the bytes written so far; errors of
    reading and coding are about `source`."""
    watcher = Watcher(video, [CopiedStreamInfo(**vars(stream)) for stream in beside.copied]) if features else None
    if watcher is not None:
        items = watcher.watch(items)
    writer = LvzWriter(
        file,
        Header(model.id, model.sha256, made_by(settings)),
        model.described(video, settings),
        beside.copied,
        beside.metadata,
        origin=beside.origin,
        side=beside.side,
        attachments=beside.attachments,
        tensors=model.tensors,
        model_chunk=beside.model_chunk,
    )
    made = records_of(items, video, list(beside.copied), model, settings)
    write = write_to(writer, flush=settings.low_delay)
    with blamed(made, source) as records, WriteBehind(write, RECORDS_AHEAD) as sink:
        for record in records:
            sink.put(record)
            each(record, writer.bytes_written)
    if watcher is not None:
        writer.write_features(*watcher.finish())
    writer.close()
    return writer


def settings_of(
    options: EncodeOptions, seconds: float | None = None, told_psnr: Callable[[float], object] | None = None
) -> EncodeSettings:
    """Return the codec's settings. `seconds`: the video's length, if known. Raises `UsageError`."""
    from lvc import codec

    return codec.EncodeSettings(
        options.quality, options.gop, packing=options.packing, threads=options.threads, effort=options.effort,
        target_bitrate=options.target_bitrate, target_psnr=options.target_psnr, max_bitrate=options.max_bitrate,
        buffer=options.buffer, tune=options.tune, seconds=seconds, told_psnr=told_psnr,
    )  # fmt: skip


def depth_of(options: CodingOptions) -> int | None:
    """Bits a sample; None: as many of the source's as the codec takes."""
    if not is_continuous(options.model):
        return options.bit_depth
    if options.bit_depth == 10:
        raise UsageError("a model with continuous latents takes 8 bits a sample — leave --bit-depth out")
    return 8


def video_model(
    options: EncodeOptions, items: Iterable[Frame | CopiedPacket], video: VideoFormat, settings: EncodeSettings
) -> tuple[VideoModel, Iterable[Frame | CopiedPacket]]:
    """The model to encode with, and `items` again: one with continuous latents is fitted to their beginning."""
    if is_continuous(options.model):
        given = {
            "tune": options.tune != "psnr", "max-bitrate": options.max_bitrate, "target-psnr": options.target_psnr,
            "target-bitrate": options.target_bitrate,
        }  # fmt: skip
        for name, value in given.items():
            if value:
                raise UsageError(f"--{name} is for lvc's own codec — use --quality")
        return _fitted(options.model, options.device, items, video, settings)
    from lvc import models

    return OwnModel(loaded(models.tuned(options.model, options.tune))), items


def _embedded(model: VideoModel) -> ModelChunk:
    """What a file carries to be decoded without the model's own: of an adapted model, what makes it of its base."""
    if model.path is None:
        raise UsageError("--embed-model is for models that lvc train or lvc adapt made — leave it out")
    return model_chunk(*bytes_of(model))


def bytes_of(model: VideoModel) -> tuple[bytes, bytes | None]:
    """The file of a model that has one, and that of the base if a delta makes it. Raises `MediaError`."""
    from lvc import models

    assert model.path is not None
    file = models.inspect(model.path)
    data = models.contents(file)
    if hashlib.sha256(data).digest() != model.sha256:
        raise MediaError(f"the model {model.path} changed during the work — start again")
    return data, None if file.base is None else models.base_of(file)


def made_by(settings: EncodeSettings) -> str:
    """Return the program and its main settings, for `lvc info` and people. Decoding does not use it."""
    wanted = f"quality {settings.quality:g}"
    if settings.target_bitrate is not None:
        wanted = f"{settings.target_bitrate / 1000:g} kbit/s"
    elif settings.target_psnr is not None:
        wanted = f"PSNR {settings.target_psnr:g}"
    tuned = "" if settings.tune == "psnr" else f", tune {settings.tune}"
    return f"lvc {__version__}; {wanted}, effort {settings.effort}{tuned}"


def refuse_lvz(source: str) -> None:
    """Raise `MediaError` if the source is a .lvz already."""
    if kind_of_file(source) == LVZ:
        raise MediaError("is a .lvz already — use lvc decode to convert it to a video")


def unmet(options: EncodeOptions, bits: int, seconds: float, reached: list[float]) -> list[str]:
    """Return notices of missed targets. `bits`: of video; `reached`: PSNR of every frame in dB."""
    return [*_missed(options.target_bitrate, bits, seconds), *_missed_psnr(options.target_psnr, reached)]


def _missed_psnr(target: float | None, reached: list[float]) -> list[str]:
    """Return a notice if the target PSNR was missed, because quality has limits."""
    if target is None or not reached:
        return []
    mean = sum(reached) / len(reached)
    if abs(mean - target) <= BY_DECIBELS:
        return []
    advice = "no quality gives more" if mean < target else "no quality gives less, or it is too short"
    return [f"has a mean PSNR of {mean:.1f} instead of {target:g} dB — {advice}"]


def _taken(size: int | None, seconds: float, of: float | None, cut: bool) -> int | None:
    """Return the share of `size` bytes that the encoded part takes, by its length."""
    if size is None or not cut:
        return size
    return round(size * min(1.0, seconds / of)) if of else None


def _missed(target: float | None, bits: int, seconds: float) -> list[str]:
    """Return a notice if the target bit rate was missed, because quality has limits."""
    if target is None or seconds <= 0 or abs(bits / seconds / target - 1) <= BY_MUCH:
        return []
    advice = "scale it with --resolution" if bits / seconds > target else "no quality needs more, or it is too short"
    return [f"has {bits / seconds / 1000:.0f} instead of {target / 1000:.0f} kbit/s of video — {advice}"]


def seconds_of(reader: MediaReader) -> float | None:
    """Return the video's length in seconds, if its file states it."""
    rate = reader.video.rate
    return float(reader.frame_count_hint / rate) if reader.frame_count_hint and rate else None


class Count:
    """Counts what was encoded so far. `clips`, for `verify`: frames and checksum of the payload of each clip."""

    def __init__(self, bytes_in: int | None, frames_hint: int | None, progress: Progress | None) -> None:
        self.frames = self.ticks = 0
        self.clips: list[tuple[int, int]] = []
        self._bytes_in, self._hint, self._progress = bytes_in, frames_hint, progress

    def add(self, record: Clip | PacketGroup, bytes_out: int) -> None:
        if isinstance(record, PacketGroup):
            return
        self.frames += record.n_frames
        self.ticks += sum(record.durations)
        self.clips.append((record.n_frames, zlib.crc32(record.payload)))
        if self._progress is not None:
            total = max(self._hint, self.frames) if self._hint else None
            # how much of the source was read can only be estimated from the frames
            bytes_in = (self._bytes_in or 0) * self.frames // total if total else 0
            self._progress(self.frames, bytes_in, bytes_out, total)


def records_of(
    items: Iterable[Frame | CopiedPacket],
    video: VideoFormat,
    copied: list[CopiedStream],
    model: VideoModel,
    settings: EncodeSettings,
) -> Iterator[Clip | PacketGroup]:
    """Encode to clips, and yield each followed by the packets of its time."""
    arrived: deque[CopiedPacket] = deque()  # the codec reads frames on another thread
    waiting: list[CopiedPacket] = []

    def frames() -> Iterator[Frame]:
        for item in items:
            if isinstance(item, CopiedPacket):
                arrived.append(item)
            else:
                yield item

    def packets(end: Fraction | None) -> Iterator[PacketGroup]:
        waiting.extend(drained(arrived))
        later = []
        for packet in waiting:
            moment = moment_of(packet, copied[packet.stream])
            if end is None or moment is None or moment < end:
                flags = PACKET_KEY if packet.is_key else 0
                yield PacketGroup(packet.stream, [Packet(packet.pts, packet.dts, packet.duration, flags, packet.data)])
            else:
                later.append(packet)
        waiting[:] = later

    first_frame = 0
    for clip in model.encode(frames(), video, settings):
        yield Clip(first_frame, clip.key, clip.pts, clip.durations, clip.latents_crc, clip.payload, clip.checks)
        first_frame += len(clip.pts)
        yield from packets((clip.pts[-1] + clip.durations[-1]) * video.seconds_per_tick)
    if not first_frame:
        raise MediaError("no frame could be decoded — the file may be damaged, or the range starts after its end")
    yield from packets(None)


def write_to(writer: LvzWriter, *, flush: bool = False) -> Callable[[Clip | PacketGroup], None]:
    """Return a function that writes records. `flush`: make each clip readable at once."""

    def write(record: Clip | PacketGroup) -> None:
        if isinstance(record, Clip):
            writer.write_clip(record)
            if flush:
                writer.flush()
        else:
            writer.write_packets(record.stream, record.packets)

    return write


def _fitted(
    name: str | os.PathLike[str],
    device: str | None,
    items: Iterable[Frame | CopiedPacket],
    video: VideoFormat,
    settings: EncodeSettings,
) -> tuple[VideoModel, Iterator[Frame | CopiedPacket]]:
    """A model with continuous latents, fitted to the beginning of `items`; and the same items."""
    from lvc.latents.video import fitted

    source, held = iter(items), deque[Frame | CopiedPacket]()

    def frames() -> Iterator[Frame]:
        for item in source:
            held.append(item)
            if isinstance(item, Frame):
                yield item

    model = fitted(load_continuous(name, device), frames(), video, settings)

    def again() -> Iterator[Frame | CopiedPacket]:
        while held:
            yield held.popleft()
        yield from source

    return model, again()


def verify_written(path: Path, count: Count, model: VideoModel, threads: int | None) -> None:
    """Decode all of `path` and compare its clips with those encoded. Raises `CorruptError` if they differ."""
    seen: list[tuple[int, int]] = []

    def clips(reader: LvzReader) -> Iterator[Clip]:
        for record in reader.records():
            if isinstance(record, Clip):
                seen.append((record.n_frames, zlib.crc32(record.payload)))
                yield record

    with path.open("rb") as file:
        reader = LvzReader(file)
        frames = sum(1 for _ in model.decode(clips(reader), reader.video, threads))
    if frames != count.frames or seen != count.clips:
        raise CorruptError(
            "the written file does not decode to what was encoded — try again, and check disk and memory"
        )


def opened_for_writing(target: Path | BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a path for writing; a stream is left to `destination` to close."""
    return target.open("wb") if isinstance(target, Path) else contextlib.nullcontext(target)
