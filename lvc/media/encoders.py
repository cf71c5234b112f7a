"""The video encoders that `decode` can write with, and their settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av

from lvc.errors import UnsupportedError, UsageError
from lvc.media.containers import container_for
from lvc.media.planes import PIX_FMT
from lvc.media.side import FIELDS, LIGHT, MASTERING, STEREO


@dataclass(frozen=True)
class Encoder:
    """One FFmpeg encoder. `even`: it can only code even sizes. `crf`: the default and the largest value it takes.

    `max_rate` is in frames per second.
    """

    library: str
    crf: int | None
    max_crf: int
    preset: str | None
    even: bool
    max_rate: int = 1000
    tag: str | None = None  # in MP4 and MOV
    options: dict[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()  # picture properties that it stores in its stream
    params: str = ""  # the option that takes `key=value:key=value`


REPRODUCIBLE = "cpu-independent=1"
"""x264's macroblock tree in plain C. With AVX-512 it reads memory that nobody wrote (x264 165): the same pictures
become other files from time to time."""

ENCODERS: dict[str, Encoder] = {
    "h264": Encoder(
        "libx264",
        crf=17,
        max_crf=51,
        preset="veryfast",
        even=True,
        options={"x264-params": REPRODUCIBLE},
        says=(FIELDS, MASTERING, LIGHT, STEREO),
        params="x264-params",
    ),
    "hevc": Encoder(
        "libx265",
        crf=18,
        max_crf=51,
        preset="ultrafast",
        even=True,
        tag="hvc1",
        options={"x265-params": "log-level=none"},
        says=(FIELDS, MASTERING, LIGHT),
        params="x265-params",
    ),
    "av1": Encoder(
        "libsvtav1",
        crf=23,
        max_crf=63,
        preset="10",
        even=True,
        max_rate=240,
        says=(FIELDS, MASTERING, LIGHT),
        params="svtav1-params",
    ),
    "ffv1": Encoder(
        "ffv1",
        crf=None,
        max_crf=0,
        preset=None,
        even=False,
        options={"level": "3", "slicecrc": "1"},
        says=(FIELDS,),
    ),
    "raw": Encoder("rawvideo", crf=None, max_crf=0, preset=None, even=False, says=(FIELDS,)),
}
_REORDERED = 3
"""Frames from which on x265 knows how late it decodes."""
_USUAL = {8: ("h264",), 10: ("hevc", "av1")}
_PROPERTIES = {
    MASTERING: "how the mastering display was",
    LIGHT: "how bright it gets",
    STEREO: "how it is stereoscopic",
}
FIELD_ROWS = 4
"""x264 codes fields of pictures whose height is a multiple of this."""
_FRAME_PACKING = {
    "checkerboard": 0, "interleaved_columns": 1, "interleaved_lines": 2, "side_by_side": 3, "top_and_bottom": 4,
    "frame_alternate": 5,
}  # fmt: skip
_NUMBERS = re.compile(r"G\((\d+),(\d+)\)B\((\d+),(\d+)\)R\((\d+),(\d+)\)WP\((\d+),(\d+)\)L\((\d+),(\d+)\)", re.ASCII)
_LIGHT = re.compile(r"\d{1,5},\d{1,5}", re.ASCII)


def coded_packets(stream: Any, frame: Any | None, sent: int) -> list[Any]:
    """What `stream.encode(frame)` gives, `sent` frames after its start; `None` ends the stream.

    x265 gives packets of one or two frames decoding times that nobody set (x265 4.1: `m_bframeDelayTime`), and muxers
    refuse one that is after the packet's presentation. So few frames are coded in the order in which they are shown.
    """
    packets: list[Any] = stream.encode(frame)
    if frame is None and sent < _REORDERED:
        for packet in packets:
            packet.dts = packet.pts
    return packets


def encoder_for(codec: str) -> Encoder:
    """Raises `UsageError` for an unknown name, `UnsupportedError` for one that this FFmpeg was built without."""
    if codec not in ENCODERS:
        raise UsageError(f"unknown codec {codec!r} — use {', '.join(ENCODERS)}")
    encoder = ENCODERS[codec]
    if encoder.library not in av.codecs_available:
        raise UnsupportedError(f"this FFmpeg was built without {encoder.library} — choose another --codec")
    return encoder


def usual_codec(container: str, depth: int) -> str:
    """The default codec: the one that most players of the container support. Few play H.264 with 10 bits."""
    fitting = container_for("", container).codecs
    return next((codec for codec in _USUAL[depth] if codec in fitting), fitting[0])


def takes(encoder: Encoder, pix_fmt: str) -> bool:
    """Whether the encoder of this FFmpeg accepts such pictures; some builds support only 8 bits."""
    formats = av.Codec(encoder.library, "w").video_formats
    return formats is None or pix_fmt in {form.name for form in formats}


def encoder_options(
    encoder: Encoder,
    crf: float | None,
    preset: str | None,
    chroma_location: int,
    properties: Mapping[str, str] | None = None,
    height: int = 0,
) -> dict[str, str]:
    """The options for FFmpeg. `properties` are those of `lvc.media.side`; others are ignored."""
    options = dict(encoder.options)
    if encoder.crf is not None:
        value = encoder.crf if crf is None else crf
        if not 0 <= value <= encoder.max_crf:
            raise UsageError(f"crf {value} is out of range — {encoder.library} takes 0 to {encoder.max_crf}")
        options["crf"] = f"{value:g}"
    chosen = preset or encoder.preset
    if chosen is not None and encoder.preset is not None:
        options["preset"] = chosen
    if 1 <= chroma_location <= 6:
        options["chroma_sample_location"] = str(chroma_location)
    said = _said(encoder, properties or {}, height)
    if said:
        options[encoder.params] = ":".join([*filter(None, [options.get(encoder.params)]), *said])
    order = (properties or {}).get(FIELDS)
    if order in ("tt", "bb", "tb", "bt"):
        options["field_order"] = order
    return options


def unsaid(encoder: Encoder, properties: Mapping[str, str]) -> dict[str, str]:
    """The picture properties that this encoder cannot store in its stream, with descriptions."""
    said = {key for key in _PROPERTIES if key in encoder.says}
    if properties.get(STEREO) not in _FRAME_PACKING:
        said.discard(STEREO)
    return {key: what for key, what in _PROPERTIES.items() if key in properties and key not in said}


def _said(encoder: Encoder, properties: Mapping[str, str], height: int) -> list[str]:
    """`key=value` for each property stored in the bitstream. They come from files, so only numbers are passed on."""
    result = []
    mastering = _NUMBERS.fullmatch(properties.get(MASTERING, ""))
    light = _LIGHT.fullmatch(properties.get(LIGHT, ""))
    names = {"libx264": ("mastering-display", "cll"), "libx265": ("master-display", "max-cll")}
    display_key, light_key = names.get(encoder.library, ("mastering-display", "content-light"))
    if mastering is not None and MASTERING in encoder.says and all(len(n) < 10 for n in mastering.groups()):
        text = mastering[0]
        if encoder.library == "libsvtav1":  # it takes fractions
            x = [int(n) for n in mastering.groups()]
            pairs = [f"({x[i] / 50000:g},{x[i + 1] / 50000:g})" for i in (0, 2, 4, 6)]
            text = "G{}B{}R{}WP{}".format(*pairs) + f"L({x[8] / 10000:g},{x[9] / 10000:g})"
        result.append(f"{display_key}={text}")
    if light is not None and LIGHT in encoder.says:
        result.append(f"{light_key}={light[0]}")
    if encoder.library == "libx264":
        stereo = _FRAME_PACKING.get(properties.get(STEREO, ""))
        if stereo is not None:
            result.append(f"frame-packing={stereo}")
        first = top_first(encoder, properties, height)
        if first is not None:
            result.append("tff=1" if first else "bff=1")
    return result


def top_first(encoder: Encoder, properties: Mapping[str, str], height: int) -> bool | None:
    """Whether pictures are coded as fields, and the top one comes first; None: as frames."""
    if encoder.library != "libx264" or height % FIELD_ROWS:
        return None
    return {"tt": True, "tb": True, "bb": False, "bt": False}.get(properties.get(FIELDS, ""))


class FieldFlag:
    """Marks frames with the field that comes first. x264 reads the mark of each frame, not an option, and PyAV can set
    it only with a filter."""

    def __init__(self, width: int, height: int, depth: int, tick: Fraction, top_first: bool) -> None:
        self._graph = av.filter.Graph()
        form = av.VideoFormat(PIX_FMT[depth])
        source = self._graph.add_buffer(width=width, height=height, format=form, time_base=tick)
        mark = self._graph.add("setfield", "tff" if top_first else "bff")
        self._graph.link_nodes(source, mark, self._graph.add("buffersink")).configure()

    def __call__(self, frame: Any) -> Any:
        self._graph.push(frame)
        return self._graph.pull()
