"""The integer latents of a clip as numpy arrays, their checksum, and the packing `zstd`.

Nothing here depends on a model: a `zstd`-packed file gives its integers to anybody (`formats/lvz.md`, section 8).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from lvc.errors import CorruptError, LimitError, UsageError
from lvc.limits import DEFAULT, Limits
from lvc.lvz.geometry import DTYPE_RANGES, KIND_KEY, KIND_PREDICTED, SKIP_PLANE, Geometry, PlaneSpec

__all__ = [
    "KIND_KEY",
    "KIND_PREDICTED",
    "FrameLatents",
    "Geometry",
    "PlaneSpec",
    "check_frames",
    "latents_crc",
    "pack_zstd",
    "unpack_stacked",
    "unpack_structured",
    "unpack_verified",
    "unpack_zstd",
    "verify_latents",
]

IntArray = npt.NDArray[Any]

MAX_QUALITY = 10000
ESCAPE = -128
DEFAULT_LEVEL = 12
_HEADER = struct.Struct("<BBH")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass
class FrameLatents:
    """The latents of one frame. `kind`: 0 key, 1 predicted; `quality`: 0..10000, as the codec defines it.

    `planes` maps names to arrays `[channels, rows, columns]` of each plane's dtype: exactly the planes that frames of
    this kind carry. Masked positions (where `skip` is 1) are zero.
    """

    kind: int
    quality: int
    planes: dict[str, IntArray] = field(default_factory=dict)


def check_frames(frames: Sequence[FrameLatents], geometry: Geometry) -> None:
    """Raise `UsageError` unless the frames match `geometry` in planes, shapes, dtypes, ranges and masks."""
    for number, frame in enumerate(frames):
        if frame.kind not in (KIND_KEY, KIND_PREDICTED) or not 0 <= frame.quality <= MAX_QUALITY:
            raise UsageError(f"frame {number}: kind {frame.kind} or quality {frame.quality} is out of range")
        expected = {p.name for p in geometry.planes if p.present(frame.kind)}
        if set(frame.planes) != expected:
            raise UsageError(f"frame {number} has planes {sorted(frame.planes)}, expected {sorted(expected)}")
        for spec in geometry.planes:
            if spec.present(frame.kind):
                _check_plane(number, frame, spec, geometry)


def _check_plane(number: int, frame: FrameLatents, spec: PlaneSpec, geometry: Geometry) -> None:
    values = frame.planes[spec.name]
    if values.shape != geometry.plane_shape(spec) or values.dtype != np.dtype(spec.dtype):
        raise UsageError(
            f"frame {number}, plane {spec.name!r}: {values.dtype}{list(values.shape)}, "
            f"expected {spec.dtype}{list(geometry.plane_shape(spec))}"
        )
    if spec.name == SKIP_PLANE and bool((values > 1).any()):
        raise UsageError(f"frame {number}: plane 'skip' holds values other than 0 and 1")
    keep = _kept(frame, spec)
    if keep is not None and bool(values[:, ~keep].any()):
        raise UsageError(f"frame {number}, plane {spec.name!r}: a masked value is not zero")


def _kept(frame: FrameLatents, spec: PlaneSpec) -> npt.NDArray[np.bool_] | None:
    """Return a mask `[rows, columns]` of the positions that are packed, or None for all."""
    if not spec.masked or frame.kind == KIND_KEY:
        return None
    keep: npt.NDArray[np.bool_] = frame.planes[SKIP_PLANE][0] == 0
    return keep


def latents_crc(frames: Iterable[FrameLatents], geometry: Geometry) -> int:
    """Return the CRC-32 of the canonical form: per frame `kind u8, 0 u8, quality u16`, then each plane as int16 LE."""
    crc = 0
    for frame in frames:
        crc = zlib.crc32(_HEADER.pack(frame.kind, 0, frame.quality), crc)
        for spec in geometry.planes:
            if spec.present(frame.kind):
                crc = zlib.crc32(np.ascontiguousarray(frame.planes[spec.name], dtype="<i2").data.cast("B"), crc)
    return crc


def pack_zstd(
    frames: Sequence[FrameLatents], geometry: Geometry, level: int = DEFAULT_LEVEL, structure: int = 0
) -> bytes:
    """Pack integer latents into one zstd frame that declares its content size.

    Args:
        frames: The clip's frames.
        geometry: The planes that they must have.
        level: zstd's compression level.
        structure: How the default codec's frames refer to each other; 0 for other latents.

    Raises:
        UsageError: The frames do not match `geometry`.
    """
    check_frames(frames, geometry)
    parts = [bytes((structure,)), *(_HEADER.pack(f.kind, 0, f.quality) for f in frames)]
    for spec in geometry.planes:
        escapes: list[bytes] = []
        for frame in frames:
            if not spec.present(frame.kind):
                continue
            values, keep = frame.planes[spec.name], _kept(frame, spec)
            wide = (values if keep is None else values[:, keep]).astype("<i2").ravel()
            large = (wide > 127) | (wide <= ESCAPE)
            parts.append(np.where(large, ESCAPE, wide).astype(np.int8).tobytes())
            escapes.append(wide[large].tobytes())
        parts += escapes
    compressor = zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False)
    content = b"".join(parts)
    packed: bytes = compressor.compress(content)
    DEFAULT.check_content(len(content), len(packed))
    return packed


def unpack_zstd(data: bytes, geometry: Geometry, n_frames: int, limits: Limits = DEFAULT) -> list[FrameLatents]:
    """Unpack one zstd frame into the latents of `n_frames` frames. Raises `CorruptError`, `LimitError`."""
    return unpack_structured(data, geometry, n_frames, limits)[1]


def unpack_structured(
    data: bytes, geometry: Geometry, n_frames: int, limits: Limits = DEFAULT
) -> tuple[int, list[FrameLatents]]:
    """As `unpack_zstd`, but returns the clip's `structure` and the frames."""
    raw = _decompress(data, geometry, n_frames, limits)
    frames = [_frame_header(raw, 1 + 4 * i) for i in range(n_frames)]
    position = 1 + 4 * n_frames
    for spec in geometry.planes:
        carriers = [f for f in frames if spec.present(f.kind)]
        masks = [_kept(f, spec) for f in carriers]
        channels, rows, columns = shape = geometry.plane_shape(spec)
        counts = [channels * (rows * columns if m is None else int(np.count_nonzero(m))) for m in masks]
        values, position = _plane_values(raw, position, sum(counts), spec)
        start = 0
        for frame, mask, count in zip(carriers, masks, counts, strict=True):
            part = values[start : start + count]
            start += count
            if mask is None:
                frame.planes[spec.name] = part.reshape(shape).astype(spec.dtype)
            else:
                plane = np.zeros(shape, spec.dtype)
                plane[:, mask] = part.reshape(channels, -1)
                frame.planes[spec.name] = plane
    if position != len(raw):
        raise CorruptError(f"clip holds {len(raw) - position} bytes after its last plane")
    return raw[0], frames


def unpack_stacked(
    data: bytes, geometry: Geometry, n_frames: int, limits: Limits = DEFAULT
) -> dict[str, npt.NDArray[np.int16]]:
    """As `unpack_zstd`, for clips that hold only key frames of quality 0. Returns planes `[frames, channels, rows,
    columns]`. Raises `CorruptError`, also for other frames, and `LimitError`."""
    raw = _decompress(data, geometry, n_frames, limits)
    if any(raw[: 1 + 4 * n_frames]):
        raise CorruptError("a frame of latents is marked as one of a video")
    planes, position = {}, 1 + 4 * n_frames
    for spec in (p for p in geometry.planes if p.present(KIND_KEY)):
        shape = (n_frames, *geometry.plane_shape(spec))
        values, position = _plane_values(raw, position, math.prod(shape), spec)
        planes[spec.name] = values.reshape(shape)
    if position != len(raw):
        raise CorruptError(f"clip holds {len(raw) - position} bytes after its last plane")
    return planes


def unpack_verified(
    data: bytes, geometry: Geometry, n_frames: int, crc: int | None, key: bool, limits: Limits = DEFAULT
) -> list[FrameLatents]:
    """As `unpack_zstd`, followed by `verify_latents`."""
    frames = unpack_zstd(data, geometry, n_frames, limits)
    verify_latents(frames, geometry, crc, key)
    return frames


def verify_latents(frames: Sequence[FrameLatents], geometry: Geometry, crc: int | None, key: bool) -> None:
    """Raise `CorruptError` if a clip's latents do not match the checksum `crc` (None: not checked), or if a `key` clip
    does not start with a key frame."""
    if key and frames and frames[0].kind != KIND_KEY:
        raise CorruptError("a key clip starts with a predicted frame")
    if crc is not None and (found := latents_crc(frames, geometry)) != crc:
        raise CorruptError(f"latents checksum is {found:08x}, the file says {crc:08x}")


def _decompress(data: bytes, geometry: Geometry, n_frames: int, limits: Limits) -> bytes:
    """Decompress a clip. Checks the declared content size and window first, because zstandard does not enforce its own
    `max_output_size`."""
    if n_frames < 1:
        raise CorruptError("a clip without frames")
    if n_frames > limits.max_clip_frames:
        raise LimitError(f"{n_frames} frames in a clip, limit {limits.max_clip_frames}")
    geometry.check_clip(n_frames, limits)
    least = 1 + 4 * n_frames
    largest = least + 3 * geometry.max_clip_symbols(n_frames)
    if data[:4] != _ZSTD_MAGIC:
        raise CorruptError("clip is not a zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(data)
        size = parameters.content_size
        if size > largest or size < least:
            raise CorruptError(f"zstd frame declares {size} bytes, expected {least} to {largest}")
        limits.check_content(size, len(data))
        if parameters.window_size > max(1024, 2 * size) or parameters.dict_id:
            raise CorruptError(f"zstd frame asks for a window of {parameters.window_size} bytes or a dictionary")
        decompressor = zstandard.ZstdDecompressor(max_window_size=max(1024, 2 * size))
        raw: bytes = decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"zstd frame is damaged ({error})") from error
    if len(raw) != size:
        raise CorruptError(f"zstd frame gave {len(raw)} bytes, declared {size}")
    return raw


def _frame_header(raw: bytes, position: int) -> FrameLatents:
    kind, reserved, quality = _HEADER.unpack_from(raw, position)
    if kind not in (KIND_KEY, KIND_PREDICTED) or reserved or quality > MAX_QUALITY:
        raise CorruptError(f"frame header says kind {kind}, reserved {reserved}, quality {quality}")
    return FrameLatents(kind, quality)


def _plane_values(raw: bytes, position: int, count: int, spec: PlaneSpec) -> tuple[npt.NDArray[np.int16], int]:
    """Read `count` values of one plane of all frames: int8, followed by the escaped values as int16 LE."""
    if count > len(raw) - position:
        raise CorruptError(f"clip ends inside plane {spec.name!r}")
    small = np.frombuffer(raw, np.int8, count, position)
    values = small.astype(np.int16)
    position += count
    escaped = np.flatnonzero(small == ESCAPE)
    n_escapes = len(escaped)
    if 2 * n_escapes > len(raw) - position:
        raise CorruptError(f"clip ends inside the escapes of plane {spec.name!r}")
    large = np.frombuffer(raw, "<i2", n_escapes, position)
    if bool(((large > ESCAPE) & (large < 128)).any()):
        raise CorruptError(f"plane {spec.name!r}: a small value is escaped")
    values[escaped] = large
    lowest, highest = (0, 1) if spec.name == SKIP_PLANE else DTYPE_RANGES[spec.dtype]
    bounded = (lowest, highest) != DTYPE_RANGES["int16"]
    if bounded and count and (int(values.min()) < lowest or int(values.max()) > highest):
        raise CorruptError(f"plane {spec.name!r}: a value is outside {lowest}..{highest}")
    return values, position + 2 * n_escapes
