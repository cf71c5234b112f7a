"""`audio='opus:48k'`: one audio stream decoded and coded again as Opus."""

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
from lvc.media.streams import tags_of_stream
from lvc.media.types import CopiedPacket, CopiedStreamInfo

RATE = 48000
_FRAME = 960  # samples: 20 ms
_GAP = RATE // 10  # silence in the source that is longer is filled in; shorter is a slip of its clock
_LONGEST_GAP = RATE * 3600
# the orders of channels that Opus knows
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class OpusEncoder:
    """Takes packets of an audio stream, gives Opus packets of copied stream `number`; times in 1/48000 s."""

    def __init__(self, stream: Any, bits_per_second: int, number: int) -> None:
        if "libopus" not in av.codecs_available:
            raise UnsupportedError("this FFmpeg has no Opus encoder — use --audio copy or none")
        self._stream = stream
        self._number = number
        name = _LAYOUTS.get(stream.codec_context.layout.nb_channels, "stereo")
        with media_errors("the audio cannot be coded as Opus", "use --audio copy or none"):
            self._sink = open_output(io.BytesIO(), "matroska")
            self._out = self._sink.add_stream("libopus", rate=RATE, layout=name, bit_rate=bits_per_second)
            self._sink.start_encoding()
            self._layout, self._sample_format = name, self._out.codec_context.format.name
            self._resampler = self._new_resampler()
            params = pack_params(self._out)
        language, tags = tags_of_stream(stream.metadata)
        self.info = CopiedStreamInfo(
            kind="audio",
            codec="opus",
            time_base=(1, RATE),
            language=language,
            sample_rate=RATE,
            channels=len(av.AudioLayout(name).channels),
            disposition=int(stream.disposition),
            metadata=tags,
            params=params or b"",
        )
        self._next: int | None = None  # samples given to the encoder, as a time
        self._fifo = av.AudioFifo()

    def encode(self, packet: Any, begin: Fraction, note: Callable[[BaseException], None]) -> list[CopiedPacket]:
        """Decode `packet` and code what it holds, `begin` seconds earlier."""
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
            time = round((Fraction(frame.pts or 0) * Fraction(frame.time_base or Fraction(1, RATE)) - begin) * RATE)
            if self._next is None:
                self._next = time
            gap = time - (self._next + self._fifo.samples)
            if _GAP < gap < _LONGEST_GAP:
                self._fill(gap)
        try:
            parts = self._resampler.resample(frame)
        except ValueError:  # the sound changes its rate or layout
            self._resampler = self._new_resampler()
            parts = self._resampler.resample(frame)
        for part in parts:
            self._write(part)

    def _new_resampler(self) -> Any:
        return av.AudioResampler(format=self._sample_format, layout=self._layout, rate=RATE)

    def flush(self) -> list[CopiedPacket]:
        """The rest of the stream, after its last packet."""
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
        """Silence, so that what follows keeps its time."""
        while samples > 0:
            frame = av.AudioFrame(self._sample_format, self._layout, min(samples, RATE))
            frame.sample_rate = RATE
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            self._write(frame)
            samples -= frame.samples

    def _drain(self, final: bool) -> list[CopiedPacket]:
        if self._next is None:
            raise RuntimeError("nothing was put in")
        result: list[CopiedPacket] = []
        with media_errors("the audio cannot be coded as Opus", "use --audio copy or none"):
            while True:
                frame = self._fifo.read(_FRAME)
                if frame is None and final:
                    frame = self._fifo.read(0, partial=True)
                if frame is None:
                    break
                frame.pts, frame.time_base = self._next, Fraction(1, RATE)
                self._next += frame.samples
                result += [self._packet(p) for p in self._out.encode(frame)]
            if final:
                result += [self._packet(p) for p in self._out.encode(None)]
        return result

    def _packet(self, packet: Any) -> CopiedPacket:
        return CopiedPacket(
            self._number, packet.pts, packet.dts, packet.duration or _FRAME, packet.is_keyframe, bytes(packet)
        )
