"""The video encoders that `decode` can write with, and their settings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import av

from lvc.errors import UnsupportedError, UsageError


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


ENCODERS: dict[str, Encoder] = {
    "h264": Encoder("libx264", crf=17, max_crf=51, preset="veryfast", even=True),
    "hevc": Encoder(
        "libx265",
        crf=18,
        max_crf=51,
        preset="ultrafast",
        even=True,
        tag="hvc1",
        options={"x265-params": "log-level=none"},
    ),
    "av1": Encoder("libsvtav1", crf=23, max_crf=63, preset="10", even=True, max_rate=240),
    "ffv1": Encoder("ffv1", crf=None, max_crf=0, preset=None, even=False, options={"level": "3", "slicecrc": "1"}),
}


def encoder_for(codec: str) -> Encoder:
    """Raises `UsageError` for an unknown name, `UnsupportedError` for one that this FFmpeg was built without."""
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints to stderr by itself: errors only
    if codec not in ENCODERS:
        raise UsageError(f"codec {codec!r} is not known — use {', '.join(ENCODERS)}")
    encoder = ENCODERS[codec]
    if encoder.library not in av.codecs_available:
        raise UnsupportedError(f"this FFmpeg was built without {encoder.library} — choose another --codec")
    return encoder


def encoder_options(encoder: Encoder, crf: float | None, preset: str | None, chroma_location: int) -> dict[str, str]:
    """What FFmpeg is told."""
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
    return options
