"""Codec parameters of a copied stream as bytes, from which the stream can be recreated.

The bytes are a complete tiny media file with one stream and no content (FFmpeg's header of it), after four bytes that
name its format: the first one that preserves codec, rate, channels and codec data. Some sound codecs describe
themselves only in packets; the tiny file then holds the first packet. Bytes from an `.lvz` file are not trusted: their
size is bounded, the list of formats fixed, and they cannot open other files.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import av

from lvc.errors import CorruptError, MediaError
from lvc.media.errors import AV_ERRORS, reason
from lvc.media.open import NOTHING, open_input, open_output

MAX_PARAMS = 1 << 20

# tag -> (muxer, demuxer, options, whether the file needs a packet to be readable)
_FORMATS: dict[bytes, tuple[str, str, dict[str, str], bool]] = {
    b"MOV ": ("mov", "mov", {"movflags": "empty_moov", "strict": "-2"}, False),
    b"MP4 ": ("mp4", "mov", {"movflags": "empty_moov", "strict": "-2"}, False),
    b"MKV ": ("matroska", "matroska", {"strict": "-2"}, True),
    b"NUT ": ("nut", "nut", {"strict": "-2"}, True),
    b"AVI ": ("avi", "avi", {"strict": "-2"}, True),
    b"TS  ": ("mpegts", "mpegts", {"strict": "-2"}, True),
    b"M2TS": ("mpegts", "mpegts", {"strict": "-2", "mpegts_m2ts_mode": "1"}, True),
    b"VOB ": ("vob", "mpeg", {"strict": "-2"}, True),
}


def codec_name(stream: Any) -> str:
    """FFmpeg's name of the codec, the same for every decoder of it; empty if there is none."""
    context = stream.codec_context
    if context is None:
        return str(getattr(stream, "name", None) or "")
    return str(context.codec.canonical_name)


def _identity(stream: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """(What must be equal, what should be equal) between a stream and its copy."""
    context = stream.codec_context
    must: tuple[Any, ...] = (stream.type, codec_name(stream))
    if context is None:
        return must, ()
    should: tuple[Any, ...] = (bytes(context.extradata or b""),)
    if stream.type == "audio":
        must += (context.sample_rate, context.layout.nb_channels)
        layout, form = context.layout.name, context.format  # no sample format: only decoding would show it
        should += (layout if "channels" not in layout else "", "" if form is None else str(form.name))
    return must, should


def _write(stream: Any, tag: bytes, data: bytes) -> bytes:
    name, _, options, needs_packet = _FORMATS[tag]
    buffer = io.BytesIO()
    with open_output(buffer, name, options) as container:
        copy = container.add_stream_from_template(stream)
        container.start_encoding()
        if needs_packet:
            packet = av.Packet(data)
            packet.stream, packet.time_base = copy, copy.time_base
            packet.pts = packet.dts = 0
            packet.duration = 1
            packet.is_keyframe = True
            container.mux(packet)
    return tag + buffer.getvalue()


def pack_params(stream: Any, packet: bytes = b"") -> bytes | None:
    """The bytes for an audio, subtitle or data stream of an open container, or None if no format can hold it; `packet`
    is the first of the stream, if known."""
    if stream.codec_context is None and (stream.type != "data" or not codec_name(stream)):
        return None
    must, should = _identity(stream)
    fallback: bytes | None = None
    for tag in _FORMATS:
        try:
            blob = _write(stream, tag, packet or bytes(4))
            if len(blob) > MAX_PARAMS:
                continue
            with open_params(blob) as copy:
                got_must, got_should = _identity(copy)
        except (CorruptError, OSError, *AV_ERRORS):
            continue
        if got_must == must:
            if got_should == should:
                return blob
            fallback = fallback or blob
    return fallback


@contextlib.contextmanager
def open_params(blob: bytes) -> Iterator[Any]:
    """The stream that `pack_params` described, as a template while the context is open.

    Raises `CorruptError` for bytes that are not such a description.
    """
    tag = bytes(blob[:4])
    if tag not in _FORMATS or len(blob) > MAX_PARAMS:
        raise CorruptError("the description of a copied stream is damaged — use another copy of the file")
    try:
        container = open_input(
            io.BytesIO(blob[4:]), NOTHING, form=_FORMATS[tag][1],
            options={"probesize": str(MAX_PARAMS), "analyzeduration": "0"},
        )  # fmt: skip
    except (OSError, MediaError, *AV_ERRORS) as error:
        raise CorruptError(
            f"the description of a copied stream is damaged ({reason(error)}) — use another copy of the file"
        ) from error
    with container:
        streams = [
            s
            for s in container.streams
            if s.type == "data" or (s.type in ("audio", "subtitle") and s.codec_context is not None)
        ]
        if len(streams) != 1:
            raise CorruptError("the description of a copied stream is damaged — use another copy of the file")
        yield streams[0]
