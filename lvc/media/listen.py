"""Sound as samples: packets of a copied stream, or a whole file, decoded to mono at 16 kHz."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from lvc.media.errors import AV_ERRORS
from lvc.media.params import open_params
from lvc.media.source import open_source
from lvc.media.streams import choose_video
from lvc.media.types import SOUND_RATE, CopiedPacket, CopiedStreamInfo, Sound

_MOST_ERRORS = 64
"""Errors in a row after which the rest of a file is given up."""


class _Mono:
    """Decoded frames of any rate and layout → `Sound`."""

    def __init__(self) -> None:
        self._resampler = self._new()
        self._next = Fraction(0)  # seconds, for sound without a time

    @staticmethod
    def _new() -> Any:
        return av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)

    def take(self, frame: Any) -> Iterator[Sound]:
        """Resample a frame; `None` drains the resampler."""
        try:
            try:
                parts = self._resampler.resample(frame)
            except ValueError:  # the sound changes rate or layout
                self._resampler = self._new()
                parts = self._resampler.resample(frame)
        except AV_ERRORS:
            return
        for part in parts:
            if part.samples:
                samples = np.nan_to_num(np.frombuffer(part.planes[0], np.float32, part.samples)).clip(-1, 1)
                start = self._next if part.pts is None else part.pts * Fraction(part.time_base)
                self._next = start + Fraction(part.samples, SOUND_RATE)
                yield Sound(samples, start)


class PacketListener:
    """Decodes the first audio stream among copied ones. Damaged packets are skipped."""

    def __init__(self, streams: Iterable[CopiedStreamInfo]) -> None:
        """Raises `CorruptError` for a stream whose description is damaged."""
        self._open = ExitStack()
        self._number = -1
        self._stream: Any = None
        for number, info in enumerate(streams):
            if info.kind == "audio" and all(info.time_base):
                self._stream = self._open.enter_context(open_params(info.params))
                self._number, self._tick = number, Fraction(*info.time_base)
                break
        self._mono = _Mono()

    def take(self, packet: CopiedPacket) -> Iterator[Sound]:
        """Decode a packet; packets of other streams give nothing."""
        if self._stream is None or packet.stream != self._number:
            return
        given = av.Packet(packet.data)
        given.time_base = self._tick
        given.pts, given.dts, given.duration = packet.pts, packet.dts, packet.duration
        yield from self._decoded(given)

    def finish(self) -> Iterator[Sound]:
        """Drain the decoder."""
        if self._stream is not None:
            yield from self._decoded(None)

    def _decoded(self, packet: Any) -> Iterator[Sound]:
        try:
            frames = self._stream.decode(packet)
            for frame in [*frames, *([None] if packet is None else [])]:
                yield from self._mono.take(frame)
        except (EOFError, *AV_ERRORS):
            return

    def close(self) -> None:
        """Close the decoder."""
        self._open.close()


def listen_to_packets(
    streams: Iterable[CopiedStreamInfo],
    packets: Iterable[CopiedPacket],
    start: float | None = None,
    end: float | None = None,
) -> Iterator[Sound]:
    """The first sound track among copied streams, from `start` to `end` seconds on their clock.

    Raises `CorruptError` for a stream whose description is damaged; damaged packets are skipped.
    """
    listener = PacketListener(streams)
    try:
        for packet in packets:
            for sound in listener.take(packet):
                if end is not None and sound.start >= end:
                    return
                yield from _cut(sound, start, end)
        for sound in listener.finish():
            yield from _cut(sound, start, end)
    finally:
        listener.close()


def listen(
    path: str | os.PathLike[str] | BinaryIO, start: float | None = None, end: float | None = None
) -> Iterator[Sound]:
    """The first sound track of a file that FFmpeg opens, from `start` to `end`. Seconds count from the first frame of
    its video, or from the first sound where it has none. Yields nothing where there is no sound.

    Raises `MediaError` for what cannot be opened; damage within the sound is skipped.
    """
    notices: list[str] = []
    source = open_source(path, notices)
    try:
        container = source.container
        if not container.streams.audio:
            return
        stream = container.streams.audio[0]
        video = choose_video(container, notices)
        origin = Fraction(0)
        for first in (stream, video):
            if first is not None and first.start_time is not None:
                origin = first.start_time * Fraction(first.time_base)
        if start and source.seekable:
            with contextlib.suppress(*AV_ERRORS):
                container.seek(int((origin + Fraction(start) - 1) / Fraction(stream.time_base)), stream=stream)
        mono = _Mono()
        for frame in _frames(container, stream):
            for sound in mono.take(frame):
                sound = replace(sound, start=sound.start - origin)
                if end is not None and sound.start >= end:
                    return
                yield from _cut(sound, start, end)
    finally:
        source.close()


def has_only_sound(path: str | os.PathLike[str]) -> bool:
    """Whether a file that FFmpeg opens has sound and no video, apart from cover art. Raises `MediaError`."""
    notices: list[str] = []
    source = open_source(path, notices)
    try:
        return bool(source.container.streams.audio) and choose_video(source.container, notices) is None
    finally:
        source.close()


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames, then `None`. Damage is skipped, up to a limit."""
    packets = container.demux(stream)
    errors = 0
    while errors < _MOST_ERRORS:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            yield from stream.decode(packet)
        except EOFError:
            continue
        except AV_ERRORS as error:
            if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
                raise
            errors += 1
    yield None


def _cut(sound: Sound, start: float | None, end: float | None) -> Iterator[Sound]:
    first = 0 if start is None else max(0, round((Fraction(start) - sound.start) * SOUND_RATE))
    last = len(sound.samples) if end is None else round((Fraction(end) - sound.start) * SOUND_RATE)
    samples = sound.samples[first : max(first, last)]
    if len(samples):
        yield Sound(samples, sound.start + Fraction(first, SOUND_RATE))
