"""What a job is told: the options of the commands, as they travel from the caller to whoever does the work.

Frozen, typed, picklable, and cheap to import. Ranges are checked by whoever uses a value, once. What each means is said
by the public function that takes it: `lvc.encode_file`, `lvc.decode_file`, `lvc.verify_file`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from lvc.models import Model

ModelName: TypeAlias = "str | os.PathLike[str] | Model"
"""A name, a path, or a model that is loaded."""


@dataclass(frozen=True, kw_only=True)
class CodingOptions:
    """How frames are coded, wherever they come from."""

    model: ModelName | None = None
    quality: float = 50.0
    gop: float = 10.0
    packing: str = "rans"
    effort: int = 4
    tune: str = "psnr"
    features: bool = True
    threads: int | None = None
    device: str | None = None
    max_bitrate: float | None = None
    buffer: float = 2.0
    bit_depth: int | None = None


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(CodingOptions):
    """What becomes of a file."""

    target_bitrate: float | None = None
    target_psnr: float | None = None
    target_size: float | None = None
    target_vmaf: float | None = None
    audio: str = "copy"
    subtitles: str = "copy"
    resolution: str | None = None
    fps: str | float | Fraction | None = None
    start: float | None = None
    duration: float | None = None
    close_gaps: bool = False
    allow_playlists: bool = False
    verify: bool = False
    strict: bool = False
    embed_model: bool = False
    adapt: bool = False
    max_memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class RecordOptions(CodingOptions):
    """What becomes of a camera or a stream. Times in seconds; `gop` is long, because a key frame is most of what an
    unchanged scene costs."""

    gop: float = 120.0
    segment: float | None = None
    keep: float | None = None
    max_latency: float | None = None
    reconnect: float = float("inf")
    duration: float | None = None
    audio: str = "copy"
    subtitles: str = "copy"
    resolution: str | None = None
    fps: str | float | Fraction | None = None
    allow_playlists: bool = False
    adapt: bool = False


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """What becomes of a `.lvz`."""

    start: float | None = None
    end: float | None = None
    every: int = 1
    codec: str | None = None
    crf: float | None = None
    container: str | None = None
    audio: str = "copy"
    salvage: bool = False
    follow: bool = False
    model: ModelName | None = None
    latents: str | os.PathLike[str] | None = None
    threads: int | None = None
    device: str | None = None
    strict: bool = False
    max_memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How much of a `.lvz` is looked at."""

    full: bool = False
    model: ModelName | None = None
    threads: int | None = None
    device: str | None = None
