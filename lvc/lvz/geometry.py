"""The integer latents of a clip: planes, their shapes, and the number of values they hold.

Pure Python integers, so that sizes can be compared with the limits before anything is allocated. The table of planes is
part of a file's `VSTR` chunk and describes the default codec and a foreign VAE alike (`formats/lvz.md`, section 5.2).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from lvc.errors import CorruptError, LimitError, UsageError
from lvc.limits import Limits

KIND_KEY = 0
KIND_PREDICTED = 1
SKIP_PLANE = "skip"
MAX_PLANES = 64
MAX_CHANNELS = 65535
MAX_STRIDE = 65535

DTYPE_RANGES: dict[str, tuple[int, int]] = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}


def _float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


@dataclass(frozen=True)
class PlaneSpec:
    """One plane of integers per frame, shape `[channels, ceil(padH/stride), ceil(padW/stride)]`.

    `dtype` is `int8`, `int16` or `uint8`; `stride` is in luma samples. `in_key`/`in_predicted` say which kinds of
    frames carry the plane. `masked`: in predicted frames the values where the plane named `skip` is 1 are zero and are
    not packed. `scale`/`zero` (one per channel, or empty) map a value back: `latent = scale[c] * value + zero[c]`.
    `error_bound` is the largest absolute quantisation error of a latent, or 0 if none is guaranteed. The constructor
    rounds the three to float32, so that they survive a round trip unchanged.
    """

    name: str
    dtype: str
    channels: int
    stride: int
    in_key: bool = True
    in_predicted: bool = True
    masked: bool = False
    scale: tuple[float, ...] = ()
    zero: tuple[float, ...] = ()
    error_bound: float = 0.0

    def __post_init__(self) -> None:
        try:
            rounded = [_float32(v) for v in (*self.scale, *self.zero, self.error_bound)]
        except OverflowError as error:
            raise UsageError(f"plane {self.name!r}: a scale, zero or error bound does not fit a float32") from error
        object.__setattr__(self, "scale", tuple(rounded[: len(self.scale)]))
        object.__setattr__(self, "zero", tuple(rounded[len(self.scale) : -1]))
        object.__setattr__(self, "error_bound", rounded[-1])

    def present(self, kind: int) -> bool:
        return self.in_key if kind == KIND_KEY else self.in_predicted


def codec_planes(key_latent: int, key_hyper: int, latent: int, hyper: int) -> tuple[PlaneSpec, ...]:
    """The planes of packing `rans`. The model determines the channels of latents and hyper-latents in key and in
    predicted frames. The values of latents are the coded symbols."""
    return (
        PlaneSpec("key_hyper", "int16", key_hyper, 64, in_predicted=False),
        PlaneSpec("key_latent", "int16", key_latent, 16, in_predicted=False),
        PlaneSpec(SKIP_PLANE, "uint8", 1, 16, in_key=False),
        PlaneSpec("copy", "uint8", 1, 16, in_key=False),
        PlaneSpec("mode", "uint8", 1, 8, in_key=False),
        PlaneSpec("vectors", "int16", 4, 8, in_key=False),
        PlaneSpec("hyper", "int16", hyper, 64, in_key=False),
        PlaneSpec("latent", "int16", latent, 16, in_key=False, masked=True),
    )


@dataclass(frozen=True)
class Geometry:
    """Picture size (luma samples) and planes of one video stream.

    The picture is padded to multiples of `align` by repeating its last column and row. `temporal_stride` frames share
    one *latent frame*, except that the first latent frame of a clip stands for `temporal_lead` frames (1 for causal
    video VAEs, equal to the stride otherwise); the default codec has 1 and 1. Raises `UsageError` for an
    invalid table (the reader turns that into `CorruptError`).
    """

    width: int
    height: int
    align: int = 16
    planes: tuple[PlaneSpec, ...] = ()
    temporal_stride: int = 1
    temporal_lead: int = 1

    def __post_init__(self) -> None:
        try:
            check_geometry(self)
        except CorruptError as error:
            raise UsageError(str(error)) from error

    @property
    def padded_width(self) -> int:
        return -(-self.width // self.align) * self.align

    @property
    def padded_height(self) -> int:
        return -(-self.height // self.align) * self.align

    def plane_shape(self, spec: PlaneSpec) -> tuple[int, int, int]:
        """`(channels, rows, columns)` of a plane."""
        return spec.channels, -(-self.padded_height // spec.stride), -(-self.padded_width // spec.stride)

    def plane_symbols(self, spec: PlaneSpec) -> int:
        channels, rows, columns = self.plane_shape(spec)
        return channels * rows * columns

    def symbols_per_frame(self, kind: int) -> int:
        """Values in all planes of one latent frame of this kind, masked ones counted."""
        return sum(self.plane_symbols(p) for p in self.planes if p.present(kind))

    def latent_frames(self, n_frames: int) -> int:
        """Number of latent frames (`FrameLatents`) of a clip of `n_frames` video frames."""
        if n_frames <= 0:
            return 0
        return 1 + -(-max(0, n_frames - self.temporal_lead) // self.temporal_stride)

    def max_clip_symbols(self, latent_frames: int) -> int:
        return latent_frames * max(self.symbols_per_frame(KIND_KEY), self.symbols_per_frame(KIND_PREDICTED))

    def check_clip(self, latent_frames: int, limits: Limits) -> None:
        """Raise `LimitError` if a clip of that many latent frames may exceed the limit on values."""
        symbols = self.max_clip_symbols(latent_frames)
        if symbols > limits.max_clip_symbols:
            raise LimitError(f"a clip's {latent_frames} frames have {symbols} values, limit {limits.max_clip_symbols}")


def check_geometry(geometry: Geometry) -> None:
    """Raise `CorruptError` for values that the format forbids (limits are checked elsewhere)."""
    g = geometry
    if not (1 <= g.width < 1 << 32 and 1 <= g.height < 1 << 32 and 1 <= g.align <= 65535):
        raise CorruptError(f"picture size {g.width}x{g.height}, align {g.align} is out of range")
    if not 1 <= g.temporal_stride <= 65535 or not 1 <= g.temporal_lead <= g.temporal_stride:
        raise CorruptError(f"temporal stride {g.temporal_stride} and lead {g.temporal_lead} do not fit")
    if len(g.planes) > MAX_PLANES:
        raise CorruptError(f"{len(g.planes)} planes, at most {MAX_PLANES} are allowed")
    seen: dict[str, PlaneSpec] = {}
    for plane in g.planes:
        _check_plane(plane)
        if plane.name in seen:
            raise CorruptError(f"two planes are named {plane.name!r}")
        if plane.masked:
            skip = seen.get(SKIP_PLANE)
            if skip is None or not skip.in_predicted or skip.stride != plane.stride:
                raise CorruptError(f"plane {plane.name!r} is masked, but no plane 'skip' of its size comes before it")
        seen[plane.name] = plane


def _check_plane(plane: PlaneSpec) -> None:
    if not plane.name or len(plane.name.encode()) > 255:
        raise CorruptError("a plane's name is empty or longer than 255 bytes")
    if plane.dtype not in DTYPE_RANGES:
        raise CorruptError(f"plane {plane.name!r} has the unknown type {plane.dtype!r}")
    if not 1 <= plane.channels <= MAX_CHANNELS or not 1 <= plane.stride <= MAX_STRIDE:
        raise CorruptError(f"plane {plane.name!r}: {plane.channels} channels, stride {plane.stride} is out of range")
    if plane.name == SKIP_PLANE and (plane.dtype != "uint8" or plane.channels != 1 or plane.masked or plane.in_key):
        raise CorruptError("plane 'skip' must be one unmasked uint8 channel of predicted frames only")
    if not all(math.isfinite(v) for v in (*plane.scale, *plane.zero, plane.error_bound)) or plane.error_bound < 0:
        raise CorruptError(f"plane {plane.name!r}: scale, zero and error bound must be finite, the bound not negative")
    if len(plane.scale) not in (0, plane.channels) or len(plane.zero) != len(plane.scale):
        raise CorruptError(f"plane {plane.name!r}: scale and zero need one value per channel or none")
