"""`lvc.Writer` and `lvc.encode`: frames that a program has → a `.lvz`."""

from __future__ import annotations

import contextlib
import io
import operator
import os
import time as clock
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from lvc.errors import LimitError, UsageError
from lvc.files.common import Notice, Progress, destination
from lvc.files.encode import (
    Beside,
    Count,
    opened_for_writing,
    settings_of,
    unmet,
    verify_written,
    video_model,
    write_lvz,
)
from lvc.files.memory import check_memory, frames_ahead
from lvc.kinds import LVZ
from lvc.latents.foreign import is_continuous
from lvc.limits import DEFAULT
from lvc.lvz import LvzWriter, Metadata
from lvc.media.arrays import Given, Picture, PlanesOf, given
from lvc.media.colour import ColourTags
from lvc.media.scaling import target_rate
from lvc.media.timing import with_durations
from lvc.media.types import Frame as CodedFrame
from lvc.media.types import VideoFormat
from lvc.options import EncodeOptions
from lvc.output import about, check_output
from lvc.pipeline import Consumer
from lvc.place import Place
from lvc.results import EncodeResult
from lvc.threads import own_threads
from lvc.video.frame import Frame

if TYPE_CHECKING:
    from lvc.models import Model

_FINE = Fraction(1, 90_000)  # seconds a tick where no frame rate says how fine times are
_LIVE_CLIP = 8
_GIVEN = "the frames given"  # what messages call the source


class Writer:
    """Writes frames into a `.lvz`; a context manager.

        with lvc.Writer("out.lvz", 1280, 720, fps=30, quality=60) as writer:
            for frame in frames:
                writer.write(frame)

    Frames are coded on threads of their own: `write` returns at once while there is room, and waits otherwise. The file
    appears under its name when the block is left, whole; if an exception leaves it, nothing is left behind.

    Attributes:
        result: What `close` gave: an `EncodeResult`; None before.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        width: int,
        height: int,
        fps: float | str | Fraction | None,
        *,
        time_base: Fraction | tuple[int, int] | None = None,
        model: str | os.PathLike[str] | Model | None = None,
        quality: float = 50.0,
        gop: float = 10.0,
        packing: str = "rans",
        effort: int = 4,
        tune: str = "psnr",
        features: bool = True,
        threads: int | None = None,
        device: str | None = None,
        target_bitrate: float | None = None,
        target_psnr: float | None = None,
        max_bitrate: float | None = None,
        buffer: float = 2.0,
        low_delay: bool = False,
        duration: float | None = None,
        sar: Fraction | tuple[int, int] = (1, 1),
        rotation: int = 0,
        hflip: bool = False,
        primaries: int | None = None,
        transfer: int | None = None,
        matrix: int | None = None,
        color_range: int | None = None,
        chroma_location: int = 0,
        tags: Mapping[str, str] | None = None,
        verify: bool = False,
        max_memory: float | None = None,
        force: bool = False,
        progress: Progress | None = None,
        notice: Notice | None = None,
    ) -> None:
        """Check everything that can be checked; nothing is written before the first frame.

        Args:
            target: Where to: a path, an address (`s3://…`), `-` for standard output, or a binary file object. That is
                written front to back, and not closed; what a pipe has taken when something fails cannot be taken back.
            width: Columns of the frames.
            height: Rows of the frames.
            fps: Frames per second: 30, 29.97, `"30000/1001"`. None where they come irregularly; each then brings its
                time.
            time_base: Seconds a tick, that times are rounded to. None takes 1/fps, or 1/90000 without a rate.
            model: A loaded model, a path, a name, or another project's VAE (`taesd:PATH`, `diffusers:FOLDER`). None
                takes lvc's own.
            quality: 0 to 100; higher is better, and larger.
            gop: Seconds between key frames, at most. A decoder can start that often.
            packing: How integers become bytes: `rans`, or `zstd`, which is larger.
            effort: 0 to 9; more searches longer for fewer bits.
            tune: What bits are spent on: `psnr`, or `ssim` for MS-SSIM, with the model made for it if one is installed.
            features: Keep what `lvc search` wants to know, under 1 kbit/s.
            threads: Cores to use. None takes all.
            device: Where torch runs another project's VAE, as `cuda`. lvc's own codec runs on the CPU.
            target_bitrate: Bits of video a second, in place of a quality.
            target_psnr: Mean PSNR of planes 6:1:1 in dB, in place of a quality.
            max_bitrate: Bits of video a second that no stretch passes by more than `buffer` seconds' worth.
            buffer: Seconds; a receiver at `max_bitrate` that waits for so long never waits again.
            low_delay: Predict each frame from the one before and pass on every 8 frames, as for a camera; larger.
            duration: Seconds that the video will have, if that is known: a bit rate is met better at its end.
            sar: Sample aspect ratio: width over height of a sample.
            rotation: Degrees clockwise, 0, 90, 180 or 270, by which a player turns the picture.
            hflip: A player mirrors the picture, before it turns it.
            primaries: Of planes, ITU-T H.273. None takes what the first frame says.
            transfer: Of planes, ITU-T H.273. None takes what the first frame says.
            matrix: Of planes, ITU-T H.273. None takes what the first frame says. RGB becomes BT.709.
            color_range: Of planes, 1 limited or 2 full. None takes what the first frame says. RGB becomes limited.
            chroma_location: 0 unknown, 1 left, 2 centre, 3 top left, 4 top, 5 bottom left, 6 bottom.
            tags: Of the file, as `{"title": "…"}`.
            verify: Decode what was written before it is published. For a path.
            max_memory: Bytes that pictures may take. None allows what the machine has.
            force: Replace an existing `.lvz`.
            progress: Called, on another thread, with frames done, 0, bytes out and None.
            notice: Called, on another thread, with each line about what was odd.

        Raises:
            UsageError: An argument is out of its range.
            OutputExistsError: The target exists, without `force` or as something that is no `.lvz`.
            LimitError: Such frames are larger than memory or the format allow.
        """
        self.result: EncodeResult | None = None
        self._target: str | BinaryIO = os.fspath(target) if isinstance(target, (str, os.PathLike)) else target
        self._force, self._progress, self._notice, self._verify = force, progress, notice, verify
        self._options = EncodeOptions(
            model=model, quality=quality, gop=gop, packing=packing, effort=effort, tune=tune, features=features,
            threads=threads, device=device, target_bitrate=target_bitrate, target_psnr=target_psnr,
            max_bitrate=max_bitrate, buffer=buffer,
        )  # fmt: skip
        settings = settings_of(self._options, duration)
        self._settings = replace(settings, low_delay=True, clip_frames=_LIVE_CLIP) if low_delay else settings
        self._rate = None if fps is None else target_rate(fps)
        self._tick = _positive(time_base, "time_base") if time_base is not None else _FINE
        if time_base is None and self._rate is not None:
            self._tick = 1 / self._rate
        if duration is not None and duration <= 0:
            raise UsageError("a duration is a number of seconds above 0")
        if rotation not in (0, 90, 180, 270):
            raise UsageError("a rotation is 0, 90, 180 or 270 degrees clockwise")
        if color_range not in (None, 0, 1, 2):
            raise UsageError("a colour range is 1, limited, or 2, full")
        for name, number, most in (
            ("primaries", primaries, 255), ("transfer", transfer, 255), ("matrix", matrix, 255),
            ("chroma_location", chroma_location, 6),
        ):  # fmt: skip
            if number is not None and not 0 <= number <= most:
                raise UsageError(f"{name} must be from 0 to {most}")
        width, height = _whole(width, "width"), _whole(height, "height")
        if width < 1 or height < 1:
            raise UsageError(f"frames of {width}x{height} have no samples")
        if max(width, height) > DEFAULT.max_side or width * height > DEFAULT.max_pixels:
            raise LimitError(f"pictures of {width}x{height} are over the limit — scale them down")
        check_memory("encode", (width, height), None, max_memory, notice)
        self._format = VideoFormat(
            width, height, _ratio(self._tick), (0, 0) if self._rate is None else _ratio(self._rate),
            _ratio(_positive(sar, "sar")), rotation, hflip, chroma_location=chroma_location,
        )  # fmt: skip
        self._colour = {"primaries": primaries, "transfer": transfer, "matrix": matrix, "color_range": color_range}
        self._tags = dict(tags or {})
        if isinstance(self._target, str):
            check_output(_GIVEN, self._target, force=force, writes=[LVZ])
        if verify and (not isinstance(self._target, str) or not Place(self._target).is_local):
            raise UsageError("verify cannot read back what was written to a stream — write a file")
        self._planes: PlanesOf | None = None  # from the first frame on
        self._rgb, self._depth = False, 8
        self._anchor = Fraction(0)  # seconds: the last time that was said, and frames since
        self._since = 0
        self._last: int | None = None
        self._started = clock.monotonic()
        self._consumer: Consumer[CodedFrame] | None = None
        self._over = self._aborted = False

    # ---------------------------------------------------------------- writing

    def write(
        self, frame: Picture, pts: int | None = None, *, time: float | Fraction | None = None, duration: int = 0
    ) -> None:
        """Append a frame. It is copied: an array may be used again at once.

        Args:
            frame: An array `[height, width, 3]` of RGB, uint8 or uint16 (0..65535); a tuple of planes `(y, u, v)`,
                4:2:0, `[height, width]` and twice `[ceil(height / 2), ceil(width / 2)]`, uint8 or uint16 of 10 bits
                (0..1023); a torch tensor of one of these (RGB also as `[3, height, width]`); an `av.VideoFrame` of any
                pixel format; an `lvc.Frame`. With more than 8 bits a sample the video has 10.
            pts: When it is shown, in ticks of `time_base`. Each is larger than the one before.
            time: The same in seconds, rounded to a tick. With neither, an `av.VideoFrame` or an `lvc.Frame` has its
                own time, and other frames follow each other at the frame rate.
            duration: For how many ticks it is shown; asked of the last frame only, which else lasts as long as the one
                before.

        Raises:
            UsageError: It is no picture, of another size or depth than the first, or not later than the one before; or
                the writer is closed.
            LvcError: What went wrong with an earlier frame or with the target, of any kind.
            OSError: The disk or the network failed.
        """
        if self._over:
            raise UsageError("the writer is closed")
        picture = given(frame)
        ticks = self._pts(frame, pts, time)
        duration = _whole(duration, "duration")
        if self._consumer is not None and picture.is_rgb != self._rgb:
            raise UsageError("RGB and YUV do not go into one video — convert one of them")
        if self._consumer is not None and picture.depth != self._depth:
            raise UsageError(f"a frame of {picture.depth} bits in a video of {self._depth} — convert one of them")
        bits = min(picture.depth, 8 if is_continuous(self._options.model) else 10)
        maker = self._planes or PlanesOf(self._format.width, self._format.height, bits)
        planes = maker(picture)
        self._planes = maker
        if self._consumer is None:
            self._begin(picture, frame, bits)
        if self._consumer is None:
            raise TypeError("the writer has not begun")
        try:
            self._consumer.put(CodedFrame(*planes, ticks, duration))
        except BaseException:
            self.abort()
            raise
        self._last = ticks

    def _pts(self, frame: Picture, pts: int | None, time: float | Fraction | None) -> int:
        if pts is not None and time is not None:
            raise UsageError("give a frame its pts or its time, not both")
        if pts is None and time is None:
            time = _own_time(frame)
        if pts is not None:
            ticks = _whole(pts, "pts")
            self._anchor, self._since = ticks * self._tick, 0
        elif time is not None:
            ticks = round(Fraction(time) / self._tick)
            self._anchor, self._since = Fraction(time), 0
        elif self._rate is not None:
            ticks = round((self._anchor + self._since / self._rate) / self._tick)
        else:
            raise UsageError("without a frame rate each frame needs its pts or its time")
        self._since += 1
        if self._last is not None and ticks <= self._last:
            raise UsageError(
                f"a frame at {float(ticks * self._tick):g} s is not later than the one before, at "
                f"{float(self._last * self._tick):g} s — give times that increase, or a finer time_base"
            )
        return ticks

    def _begin(self, first: Given, frame: Picture, bits: int) -> None:
        said = first.colour
        if isinstance(frame, Frame):
            f = frame.format
            said = ColourTags(f.primaries, f.transfer, f.matrix, f.color_range)
        wanted = {name: number for name, number in self._colour.items() if number is not None}
        self._rgb, self._depth = first.is_rgb, first.depth
        if bits < first.depth and self._notice is not None:
            self._notice(f"another project's VAE takes {bits} bits a sample: {first.depth} become {bits}")
        if self._rgb and wanted.get("matrix", said.matrix) != said.matrix:
            raise UsageError("RGB becomes YUV of BT.709 — leave the matrix out, or give planes")
        if self._rgb and wanted.get("color_range", said.color_range) != said.color_range:
            raise UsageError("RGB becomes YUV of limited range — leave the range out, or give planes")
        self._format = replace(self._format, **{**vars(said), **wanted}, source_pix_fmt=first.pix_fmt, bit_depth=bits)
        depth = frames_ahead(self._format.width, self._format.height)
        self._consumer = Consumer(self._encode, depth, "lvc-writer").__enter__()

    def _encode(self, frames: Iterator[CodedFrame]) -> None:
        """On a thread of its own: all frames up to `close`."""
        label = self._target if isinstance(self._target, str) else getattr(self._target, "name", None)
        named = str(label) if isinstance(label, (str, Path)) else "the file object"
        step = max(1, round(1 / (self._rate * self._tick))) if self._rate else 0
        timed = with_durations(frames, step or 1, lambda: None)
        count = Count(None, None, self._progress)
        reached: list[float] = []
        settings = replace(self._settings, told_psnr=reached.append)
        # only models with continuous latents run in torch, whose threads are the program's in the meantime
        threads = own_threads() if is_continuous(self._options.model) else contextlib.nullcontext()
        with threads, _writable(self._target, self._force) as target:
            model, items = video_model(self._options, timed, self._format, settings)
            with about(named), opened_for_writing(target) as file:
                writer = write_lvz(
                    file, items, self._format, model, settings, Beside(metadata=Metadata(self._tags)),
                    features=self._options.features, source=_GIVEN,
                    each=lambda record, written: count.add(record, written),
                )  # fmt: skip
            if self._verify and isinstance(target, Path):
                with about(named):
                    verify_written(target, count, model, self._options.threads)
        self.result = self._resulted(named, writer, count, model.id)
        for text in unmet(self._options, 8 * writer.clip_bytes, self.result.duration, reached):
            if self._notice is not None:
                self._notice(text)

    def _resulted(self, named: str, writer: LvzWriter, count: Count, model: str) -> EncodeResult:
        return EncodeResult(
            named, count.frames, self._format.width, self._format.height, float(count.ticks * self._tick), None,
            writer.bytes_written, clock.monotonic() - self._started, model=model, video_bytes=writer.video_chunk_bytes,
            verified=self._verify,
        )  # fmt: skip

    # ---------------------------------------------------------------- closing

    def close(self) -> EncodeResult:
        """Code what is waiting, finish the file and publish it. A second call does nothing.

        Returns:
            Frames, sizes and times.

        Raises:
            UsageError: No frame was written, or the writer was aborted.
            LvcError: What went wrong with a frame or with the target, of any kind.
            OSError: The disk or the network failed.
        """
        if not self._over:
            if self._consumer is None:
                self._over = True
                raise UsageError("no frame was written, and a .lvz has one at least")
            self._over = True
            self._consumer.__exit__(None, None, None)
        if self.result is None:
            raise UsageError("the writer was aborted: nothing was written")
        return self.result

    def abort(self) -> None:
        """Stop, and leave nothing behind. After `close` it does nothing."""
        if not self._over:
            self._over = self._aborted = True
            if self._consumer is not None:
                self._consumer.__exit__(InterruptedError, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self.abort()
        elif not self._aborted:
            self.close()


def encode(
    frames: Iterable[Picture],
    *,
    fps: float | str | Fraction | None,
    time_base: Fraction | tuple[int, int] | None = None,
    model: str | os.PathLike[str] | Model | None = None,
    quality: float = 50.0,
    gop: float = 10.0,
    packing: str = "rans",
    effort: int = 4,
    tune: str = "psnr",
    features: bool = True,
    threads: int | None = None,
    device: str | None = None,
    target_bitrate: float | None = None,
    target_psnr: float | None = None,
    max_bitrate: float | None = None,
    buffer: float = 2.0,
    low_delay: bool = False,
    duration: float | None = None,
    sar: Fraction | tuple[int, int] = (1, 1),
    rotation: int = 0,
    hflip: bool = False,
    primaries: int | None = None,
    transfer: int | None = None,
    matrix: int | None = None,
    color_range: int | None = None,
    chroma_location: int = 0,
    tags: Mapping[str, str] | None = None,
    max_memory: float | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> bytes:
    """Compress frames to the bytes of a `.lvz`, which `lvc.decode` and `lvc.open` read.

    Args:
        frames: Frames as `Writer.write` takes them, all of one size; taken one after the other.
        fps: Frames per second: 30, 29.97, `"30000/1001"`. None for frames that bring their times (`lvc.Frame`,
            `av.VideoFrame`).
        time_base: As for `Writer`, like all that follow.
        model: A loaded model, a path, a name, or another project's VAE.
        quality: 0 to 100; higher is better, and larger.
        gop: Seconds between key frames, at most.
        packing: `rans`, or `zstd`, which is larger.
        effort: 0 to 9; more searches longer for fewer bits.
        tune: `psnr`, or `ssim`.
        features: Keep what `lvc search` wants to know.
        threads: Cores to use. None takes all.
        device: Where torch runs another project's VAE.
        target_bitrate: Bits of video a second, in place of a quality.
        target_psnr: Mean PSNR of planes 6:1:1 in dB, in place of a quality.
        max_bitrate: Bits of video a second that no stretch passes by more than `buffer` seconds' worth.
        buffer: Seconds; a receiver at `max_bitrate` that waits for so long never waits again.
        low_delay: Predict each frame from the one before.
        duration: Seconds that the video will have, if that is known.
        sar: Sample aspect ratio.
        rotation: Degrees clockwise by which a player turns the picture.
        hflip: A player mirrors the picture, before it turns it.
        primaries: Of planes, ITU-T H.273.
        transfer: Of planes, ITU-T H.273.
        matrix: Of planes, ITU-T H.273.
        color_range: Of planes, 1 limited or 2 full.
        chroma_location: 0 unknown, 1 left, 2 centre, and so on.
        tags: Of the file, as `{"title": "…"}`.
        max_memory: Bytes that pictures may take. None allows what the machine has.
        progress: Called, on another thread, with frames done, 0, bytes out and None.
        notice: Called, on another thread, with each line about what was odd.

    Returns:
        The bytes of a `.lvz`: the same that `Writer` puts into a file.

    Raises:
        UsageError: An argument is out of its range, a frame is none, or there is no frame.
        LimitError: Such frames are larger than memory or the format allow.
        UnsupportedError: The model is not here.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise UsageError("there is no frame, and a .lvz has one at least")
    width, height = given(first).size
    out = io.BytesIO()
    with Writer(
        out, width, height, fps, time_base=time_base, model=model, quality=quality, gop=gop, packing=packing,
        effort=effort, tune=tune, features=features, threads=threads, device=device, target_bitrate=target_bitrate,
        target_psnr=target_psnr, max_bitrate=max_bitrate, buffer=buffer, low_delay=low_delay, duration=duration,
        sar=sar, rotation=rotation, hflip=hflip, primaries=primaries, transfer=transfer, matrix=matrix,
        color_range=color_range, chroma_location=chroma_location, tags=tags, max_memory=max_memory,
        progress=progress, notice=notice,
    ) as writer:  # fmt: skip
        for frame in chain([first], source):
            writer.write(frame)
    return out.getvalue()


@contextlib.contextmanager
def _writable(target: str | BinaryIO, force: bool) -> Iterator[Path | BinaryIO]:
    """Where to write; a file object that can go back has what it had if something fails."""
    if isinstance(target, str):
        with destination(target, force) as path:
            yield path
        return
    seekable = getattr(target, "seekable", None)
    begin = target.tell() if seekable is not None and seekable() else None
    try:
        yield target
    except BaseException:
        if begin is not None:
            with contextlib.suppress(OSError, ValueError):
                target.seek(begin)
                target.truncate()
        raise


def _own_time(frame: Picture) -> Fraction | None:
    """Seconds, of a frame that knows them."""
    if isinstance(frame, Frame):
        return Fraction(frame.time)
    pts, time_base = getattr(frame, "pts", None), getattr(frame, "time_base", None)
    return None if pts is None or not time_base else pts * Fraction(time_base)


def _positive(value: Fraction | tuple[int, int], name: str) -> Fraction:
    try:
        ratio = Fraction(*value) if isinstance(value, tuple) else Fraction(value)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{name} {value!r} is not a ratio — give a Fraction or (numerator, denominator)") from error
    if ratio <= 0:
        raise UsageError(f"{name} is a ratio above 0")
    return ratio


def _ratio(value: Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator


def _whole(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is a whole number, not {value!r}") from None
