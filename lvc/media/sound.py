"""Transcoding of sound: to `opus:48k` and the like on input, and to `flac`, `opus` and `aac` on output."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av

from lvc.errors import UnsupportedError
from lvc.media.errors import AV_ERRORS, media_errors
from lvc.media.open import open_output
from lvc.media.params import pack_params
from lvc.media.sound_coding import SoundCoding
from lvc.media.streams import tags_of_stream
from lvc.media.types import CopiedPacket, CopiedStreamInfo

_GAP = Fraction(1, 10)  # seconds of missing sound that are filled with silence; less is jitter of the clock
_LONGEST_GAP = 3600
# channel layouts that Opus, FLAC and AAC support
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_ENCODERS = {"opus": "libopus", "flac": "flac", "aac": "aac"}
_RATES = {"opus": (48000,), "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)}
_BITS_PER_CHANNEL = {"opus": 64_000, "aac": 96_000}


class SoundEncoder:
    """Turns packets of an audio stream into packets of copied stream `number`, with times in samples.

    `aligned`: packets begin at multiples of their length on the stream's clock, so that separately coded pieces fit
    together; silence fills the gap before the first.
    """

    def __init__(self, stream: Any, coding: SoundCoding, number: int, *, aligned: bool = False) -> None:
        library = _ENCODERS[coding.codec]
        if library not in av.codecs_available:
            raise UnsupportedError(f"this FFmpeg has no encoder {library} — use --audio copy or none")
        self._stream = stream
        self._number = number
        self._what = f"the audio cannot be coded as {coding.codec}"
        source = stream.codec_context
        name = _LAYOUTS.get(source.layout.nb_channels, "stereo")
        rates = _RATES.get(coding.codec)
        self._rate: int = source.sample_rate if rates is None else min(rates, key=lambda r: abs(r - source.sample_rate))
        options = {}
        if coding.codec in _BITS_PER_CHANNEL:
            channels = len(av.AudioLayout(name).channels)
            options["bit_rate"] = coding.bits_per_second or _BITS_PER_CHANNEL[coding.codec] * channels
        with media_errors(self._what, "use --audio copy or none"):
            self._sink = open_output(io.BytesIO(), "matroska", {"strict": "-2"})
            self._out = self._sink.add_stream(library, rate=self._rate, layout=name, **options)
            if coding.codec == "flac" and source.format is not None and source.format.bytes > 2:
                self._out.codec_context.format = "s32"
            self._sink.start_encoding()
            self._layout, self._sample_format = name, self._out.codec_context.format.name
            self._frame: int = self._out.codec_context.frame_size or 1024
            self._resampler = self._new_resampler()
            params = pack_params(self._out)
        language, tags = tags_of_stream(stream.metadata)
        self.info = CopiedStreamInfo(
            kind="audio",
            codec=coding.codec,
            time_base=(1, self._rate),
            language=language,
            sample_rate=self._rate,
            channels=len(av.AudioLayout(name).channels),
            disposition=int(stream.disposition),
            metadata=tags,
            params=params or b"",
        )
        self._next: int | None = None  # samples given to the encoder, as a time
        self._aligned = aligned
        self._fifo = av.AudioFifo()

    def encode(self, packet: Any, begin: Fraction, note: Callable[[BaseException], None]) -> list[CopiedPacket]:
        """Transcode `packet`, with times `begin` seconds earlier."""
        try:
            frames = self._stream.decode(packet)
        except EOFError:
            return []
        except AV_ERRORS as error:
            note(error)
            return []
        for frame in frames:
            try:
                self._take(frame, begin)
            except AV_ERRORS as error:
                note(error)
        return self._drain(final=False) if self._next is not None else []

    def _take(self, frame: Any, begin: Fraction) -> None:
        if frame.pts is not None or self._next is None:
            time = round(
                (Fraction(frame.pts or 0) * Fraction(frame.time_base or Fraction(1, self._rate)) - begin) * self._rate
            )
            if self._next is None:
                self._next = time
                if self._aligned:
                    self._next -= time % self._frame
                    self._fill(time % self._frame)
            gap = time - (self._next + self._fifo.samples)
            if _GAP < Fraction(gap, self._rate) < _LONGEST_GAP:
                self._fill(gap)
        try:
            parts = self._resampler.resample(frame)
        except ValueError:  # the sound changes its rate or layout
            self._resampler = self._new_resampler()
            parts = self._resampler.resample(frame)
        for part in parts:
            self._write(part)

    def _new_resampler(self) -> Any:
        return av.AudioResampler(format=self._sample_format, layout=self._layout, rate=self._rate)

    def flush(self) -> list[CopiedPacket]:
        """Drain the encoder after the last packet."""
        if self._next is None:
            return []
        try:
            for frame in self._stream.decode(None):
                for part in self._resampler.resample(frame):
                    self._write(part)
            for part in self._resampler.resample(None):
                self._write(part)
        except (EOFError, *AV_ERRORS):
            pass
        return self._drain(final=True)

    def _write(self, frame: Any) -> None:
        frame.pts = None
        self._fifo.write(frame)

    def _fill(self, samples: int) -> None:
        """Insert silence, so that what follows keeps its time."""
        while samples > 0:
            frame = av.AudioFrame(self._sample_format, self._layout, min(samples, self._rate))
            frame.sample_rate = self._rate
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            self._write(frame)
            samples -= frame.samples

    def _drain(self, final: bool) -> list[CopiedPacket]:
        if self._next is None:
            raise RuntimeError("nothing was put in")
        result: list[CopiedPacket] = []
        with media_errors(self._what, "use --audio copy or none"):
            while True:
                frame = self._fifo.read(self._frame)
                if frame is None and final:
                    frame = self._fifo.read(0, partial=True)
                if frame is None:
                    break
                frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
                self._next += frame.samples
                result += [self._packet(p) for p in self._out.encode(frame)]
            if final:
                result += [self._packet(p) for p in self._out.encode(None)]
        return result

    def _packet(self, packet: Any) -> CopiedPacket:
        return CopiedPacket(
            self._number, packet.pts, packet.dts, packet.duration or self._frame, packet.is_keyframe, bytes(packet)
        )
