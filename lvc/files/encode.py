"""A video becomes a `.lvz`."""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lvc import __version__
from lvc.errors import CorruptError, MediaError, UsageError
from lvc.features import FeatureSampler
from lvc.files.common import (
    RECORDS_AHEAD,
    Notice,
    PathLike,
    Progress,
    blamed,
    codec_of,
    destination,
    drained,
    loaded,
    moment_of,
    size_of,
)
from lvc.files.memory import check_memory, frames_ahead
from lvc.kinds import LVZ, kind_of_file
from lvc.latents.foreign import is_foreign, load_foreign
from lvc.lvz import (
    PACKET_KEY,
    PACKING_NAMES,
    Attachment,
    Chapter,
    Clip,
    CopiedStream,
    Header,
    LvzReader,
    LvzWriter,
    Metadata,
    Origin,
    Packet,
    PacketGroup,
    Side,
    VideoDescriptor,
)
from lvc.media import CopiedPacket, Frame, MediaReader, VideoFormat
from lvc.media.fitting import way_out
from lvc.notices import Notices
from lvc.output import STDOUT, STREAM, about, check_output, opened_input
from lvc.pipeline import ReadAhead, WriteBehind, in_background
from lvc.remote.addresses import is_address, is_stored
from lvc.results import EncodeResult
from lvc.threads import own_threads

if TYPE_CHECKING:
    from lvc.codec import EncodeSettings
    from lvc.latents.video import ForeignModel
    from lvc.models import Model


BY_MUCH = 0.05
"""Of a target bit rate; if it is missed by more, that is said."""
BY_DECIBELS = 0.5
"""Of a target PSNR."""


def encode_file(
    source: PathLike,
    target: PathLike,
    *,
    model: str | Model | None = None,
    quality: float = 50,
    gop: float = 10.0,
    packing: str = "rans",
    effort: int = 4,
    target_bitrate: float | None = None,
    target_psnr: float | None = None,
    tune: str = "psnr",
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
    features: bool = True,
    max_memory: float | None = None,
    origin: Origin | None = None,
    allow_playlists: bool = False,
    close_gaps: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Compress the video `source` to the `.lvz` `target`; `verify` decodes what was written before it is published.

    `model` is a path, a name, or a model that is loaded already; `origin` is kept in the file. `effort` 0..9 trades
    time for size; `target_bitrate` (bits of video a second) or `target_psnr` (dB) steer the quality. `tune` `ssim`: for
    MS-SSIM instead of PSNR, with the model made for it if that is installed and no other is named.
    Pictures that take more than `max_memory` bytes (None: than the machine has) are refused with `LimitError`.
    With `features` the file says, about once a second, what its frames show: searching it then decodes nothing.
    `allow_playlists`: `source` may be a playlist, which names other files. `close_gaps` takes out jumps of the times by
    more than 5 s. `strict`: what would be lost of the source is a `LossError` and no notice.

    Raises every kind of `LvcError`, and `OSError`; nothing is left behind then.
    """
    source, target = os.fspath(source), os.fspath(target)
    label = STDOUT if target == STREAM else target
    check_output(source, target, force=force, writes=[LVZ])
    if verify and (target == STREAM or is_address(target)):
        raise UsageError("--verify cannot read back what was written to a pipe or URL — write a file")
    started = time.monotonic()
    notices = Notices(notice, strict=strict)
    reached: list[float] = []  # dB, where a PSNR is the target
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(source))
        refuse_lvz(source)
        fetched = source == STREAM or is_stored(source)
        reader = in_background(
            lambda: MediaReader(
                stack.enter_context(opened_input(source, whole=True)) if fetched else source,
                resolution=resolution, fps=fps, start=start, duration=duration, audio=audio, subtitles=subtitles,
                threads=threads or 0, allow_playlists=allow_playlists, close_gaps=close_gaps,
            )
        )  # fmt: skip
        notices.new(reader.notices, list(filter(None, map(way_out, reader.copied))))
        size = reader.video.width, reader.video.height
        check_memory("encode", size, reader.frame_count_hint, max_memory, notice)
        items: Iterable[Frame | CopiedPacket] = stack.enter_context(ReadAhead(reader, frames_ahead(*size)))
        sampler = FeatureSampler.of(reader.video) if features else None
        if sampler is not None:
            items = sampler.watch(items)
        path = stack.enter_context(destination(target, force))
        from lvc import codec, models

        stack.enter_context(own_threads())
        settings = codec.EncodeSettings(
            quality, gop, packing=packing, threads=threads, effort=effort, target_bitrate=target_bitrate,
            target_psnr=target_psnr, tune=tune, seconds=seconds_of(reader), told_psnr=reached.append,
        )  # fmt: skip
        net: Model | ForeignModel
        if is_foreign(model):
            if tune != "psnr":
                raise UsageError("--tune is for lvc's own models — leave it out")
            net, items = _fitted(model, device, items, reader.video, settings)
        else:
            net = loaded(models.tuned(model, tune), device)
        video = described(reader.video, net, settings)
        copied = [CopiedStream(**vars(stream)) for stream in reader.copied]
        metadata = Metadata(dict(reader.metadata), tuple(Chapter(**vars(chapter)) for chapter in reader.chapters))
        count = _Count(size_of(source), reader.frame_count_hint, copied, progress)
        with about(label), _opened_for_writing(path) as file:
            writer = LvzWriter(
                file,
                Header(net.id, net.sha256, made_by(settings)),
                video,
                copied,
                metadata,
                origin=origin,
                side=Side(**vars(reader.side)),
                attachments=[Attachment(**vars(item)) for item in reader.attachments],
                tensors=getattr(net, "tensors", None),
            )
            records = stack.enter_context(blamed(records_of(items, reader.video, copied, net, settings), source))
            with WriteBehind(write_to(writer), RECORDS_AHEAD) as sink:
                for record in records:
                    sink.put(record)
                    count.add(record, writer.bytes_written)
                    notices.new(reader.notices)
            if sampler is not None:
                writer.write_features(sampler.finish())
            writer.close()
        seconds = float(count.ticks * video.seconds_per_tick)
        notices.new(
            reader.notices,
            _missed(target_bitrate, 8 * writer.clip_bytes, seconds),
            _missed_psnr(target_psnr, reached),
        )
        if verify and isinstance(path, Path):
            with about(target):
                _verify_written(path, count, net, threads)
    return EncodeResult(
        target, count.frames, video.width, video.height, seconds,
        size_of(source), writer.bytes_written, time.monotonic() - started,
        model=net.id, video_bytes=writer.clip_bytes, verified=verify, audio_bytes=count.audio_bytes,
        bytes_taken=_taken(size_of(source), seconds, reader.source_seconds, start is not None or duration is not None),
    )  # fmt: skip


def made_by(settings: EncodeSettings) -> str:
    """The program and how it was told to encode, for `lvc info` and for people; nobody needs it to decode."""
    wanted = f"quality {settings.quality:g}"
    if settings.target_bitrate is not None:
        wanted = f"{settings.target_bitrate / 1000:g} kbit/s"
    elif settings.target_psnr is not None:
        wanted = f"PSNR {settings.target_psnr:g}"
    tuned = "" if settings.tune == "psnr" else f", tune {settings.tune}"
    return f"lvc {__version__}; {wanted}, effort {settings.effort}{tuned}"


def refuse_lvz(source: str) -> None:
    """What is a .lvz already. Raises `MediaError`."""
    if kind_of_file(source) == LVZ:
        raise MediaError("is a .lvz already — use lvc decode to convert it to a video")


def _missed_psnr(target: float | None, reached: list[float]) -> list[str]:
    """What to say where a PSNR was not met: the dial has ends."""
    if target is None or not reached:
        return []
    mean = sum(reached) / len(reached)
    if abs(mean - target) <= BY_DECIBELS:
        return []
    advice = "no quality gives more" if mean < target else "no quality gives less, or it is too short"
    return [f"has a mean PSNR of {mean:.1f} instead of {target:g} dB — {advice}"]


def _taken(size: int | None, seconds: float, of: float | None, cut: bool) -> int | None:
    """Of `size` bytes, those of the part that was taken, by its length."""
    if size is None or not cut:
        return size
    return round(size * min(1.0, seconds / of)) if of else None


def _missed(target: float | None, bits: int, seconds: float) -> list[str]:
    """What to say where a bit rate was not met: the dial has ends."""
    if target is None or seconds <= 0 or abs(bits / seconds / target - 1) <= BY_MUCH:
        return []
    advice = "scale it with --resolution" if bits / seconds > target else "no quality needs more, or it is too short"
    return [f"has {bits / seconds / 1000:.0f} instead of {target / 1000:.0f} kbit/s of video — {advice}"]


def seconds_of(reader: MediaReader) -> float | None:
    """How long the video is, as far as its file says."""
    rate = reader.video.rate
    return float(reader.frame_count_hint / rate) if reader.frame_count_hint and rate else None


class _Count:
    """What was encoded so far, and per clip what `verify` compares: frames and checksum of the payload."""

    def __init__(
        self, bytes_in: int | None, frames_hint: int | None, copied: list[CopiedStream], progress: Progress | None
    ) -> None:
        self.frames = self.ticks = self.audio_bytes = 0
        self._audio = {number for number, stream in enumerate(copied) if stream.kind == "audio"}
        self.clips: list[tuple[int, int]] = []
        self._bytes_in, self._hint, self._progress = bytes_in, frames_hint, progress

    def add(self, record: Clip | PacketGroup, bytes_out: int) -> None:
        if isinstance(record, PacketGroup):
            if record.stream in self._audio:
                self.audio_bytes += sum(len(packet.data) for packet in record.packets)
            return
        self.frames += record.n_frames
        self.ticks += sum(record.durations)
        self.clips.append((record.n_frames, zlib.crc32(record.payload)))
        if self._progress is not None:
            total = max(self._hint, self.frames) if self._hint else None
            # what of the source was read is only known from how far its frames have come
            bytes_in = (self._bytes_in or 0) * self.frames // total if total else 0
            self._progress(self.frames, bytes_in, bytes_out, total)


def records_of(
    items: Iterable[Frame | CopiedPacket],
    video: VideoFormat,
    copied: list[CopiedStream],
    model: Model | ForeignModel,
    settings: EncodeSettings,
) -> Iterator[Clip | PacketGroup]:
    """Clips, each followed by the packets of its time."""
    codec = codec_of(model)
    arrived: deque[CopiedPacket] = deque()  # the codec takes frames on a thread of its own
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
    for clip in codec.encode(frames(), video, model, settings):
        yield Clip(first_frame, clip.key, clip.pts, clip.durations, clip.latents_crc, clip.payload, clip.checks)
        first_frame += len(clip.pts)
        yield from packets((clip.pts[-1] + clip.durations[-1]) * video.seconds_per_tick)
    if not first_frame:
        raise MediaError("no frame could be decoded — the file may be damaged, or the range starts after its end")
    yield from packets(None)


def write_to(writer: LvzWriter) -> Callable[[Clip | PacketGroup], None]:
    def write(record: Clip | PacketGroup) -> None:
        if isinstance(record, Clip):
            writer.write_clip(record)
        else:
            writer.write_packets(record.stream, record.packets)

    return write


def _fitted(
    name: str, device: str | None, items: Iterable[Frame | CopiedPacket], video: VideoFormat, settings: EncodeSettings
) -> tuple[ForeignModel, Iterator[Frame | CopiedPacket]]:
    """Somebody else's VAE, fitted to the beginning of `items`; and the same items."""
    from lvc.latents.video import fitted

    source, held = iter(items), deque[Frame | CopiedPacket]()

    def frames() -> Iterator[Frame]:
        for item in source:
            held.append(item)
            if isinstance(item, Frame):
                yield item

    model = fitted(load_foreign(name, device), frames(), video, settings)

    def again() -> Iterator[Frame | CopiedPacket]:
        while held:
            yield held.popleft()
        yield from source

    return model, again()


def described(video: VideoFormat, model: Model | ForeignModel, settings: EncodeSettings) -> VideoDescriptor:
    if hasattr(model, "adapter"):
        return cast("ForeignModel", model).described(video, settings)
    packing = {name: number for number, name in PACKING_NAMES.items()}[settings.packing]
    return VideoDescriptor(**vars(video), planes=model.planes, packing=packing, gop_seconds=settings.gop, checks=True)


def _verify_written(path: Path, count: _Count, model: Model | ForeignModel, threads: int | None) -> None:
    """Decode `path` to the end; its clips must be the ones that went in. Raises `CorruptError`."""
    codec = codec_of(model)
    seen: list[tuple[int, int]] = []

    def clips(reader: LvzReader) -> Iterator[Clip]:
        for record in reader.records():
            if isinstance(record, Clip):
                seen.append((record.n_frames, zlib.crc32(record.payload)))
                yield record

    with path.open("rb") as file:
        reader = LvzReader(file)
        frames = sum(1 for _ in codec.decode(clips(reader), reader.video, model, threads=threads))
    if frames != count.frames or seen != count.clips:
        raise CorruptError(
            "the written file does not decode to what was encoded — try again, and check disk and memory"
        )


def _opened_for_writing(target: Path | BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """`destination` closes a stream of its own."""
    return target.open("wb") if isinstance(target, Path) else contextlib.nullcontext(target)
