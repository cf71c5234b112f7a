"""Payloads of `HEAD`, `VSTR`, `CSTR`, `mETa`, `oRIG`, `sIDe`, `aTTa` and `MODL` (`formats/lvz.md`, section 5)."""

from __future__ import annotations

import hashlib
import math
import struct

from lvc.errors import LimitError, UnsupportedError, UsageError
from lvc.limits import Limits
from lvc.lvz import fields as f
from lvc.lvz.chunks import VERSION
from lvc.lvz.geometry import Geometry, PlaneSpec
from lvc.lvz.records import (
    CHROMAS,
    MODEL_DELTA,
    MODEL_WHOLE,
    PACKING_NAMES,
    PACKING_RANS,
    RETIRED_RANS,
    STREAM_KINDS,
    Attachment,
    Chapter,
    CopiedStream,
    Header,
    Metadata,
    ModelChunk,
    Origin,
    Side,
    VideoDescriptor,
)

KNOWN_FEATURES = 0
DTYPE_CODES = {1: "int8", 2: "int16", 3: "uint8"}
_DTYPES = {name: code for code, name in DTYPE_CODES.items()}
_KEY, _PREDICTED, _MASKED, _QUANTISER, _BOUND = 1, 2, 4, 8, 16
_HFLIP, _CHECKS = 1, 2
_COVER = 1
CODED_DEPTHS = (8, 10)
U32 = 1 << 32


def pack_head(header: Header) -> bytes:
    if len(header.model_sha256) != 32:
        raise UsageError("model_sha256 must be 32 bytes")
    if not (0 <= header.required_features < U32 and 0 <= header.optional_features < U32):
        raise UsageError("feature flags must fit 32 bits")
    return b"".join(
        (
            f.u16(header.version),
            f.u32(header.required_features),
            f.u32(header.optional_features),
            header.model_sha256,
            f.text(header.model_id),
            f.text(header.created_by),
        )
    )


def unpack_head(payload: bytes) -> Header:
    """Raises `UnsupportedError` for a newer version or an unknown required feature, before the rest is read."""
    r = f.Fields(payload, "HEAD")
    version = r.u16()
    if version != VERSION:
        raise UnsupportedError(f"file is .lvz version {version}, this lvc reads {VERSION} — use a newer lvc")
    required, optional = r.u32(), r.u32()
    if required & ~KNOWN_FEATURES:
        raise UnsupportedError(f"file needs the unknown features {required & ~KNOWN_FEATURES:#x} — use a newer lvc")
    sha256, model_id, created_by = r.take(32), r.text(), r.text()
    r.end()
    return Header(model_id, sha256, created_by, required, optional, version)


def pack_video(video: VideoDescriptor) -> bytes:
    if not math.isfinite(video.gop_seconds) or video.gop_seconds < 0:
        raise UsageError(f"gop_seconds {video.gop_seconds} must be finite and not negative")
    colour = (video.primaries, video.transfer, video.matrix, video.color_range, video.chroma_location, video.bit_depth)
    if not all(0 <= c <= 255 for c in colour):
        raise UsageError(f"colour numbers {colour} do not fit a byte")
    numbers = [video.width, video.height, video.align, *video.time_base, *video.frame_rate, *video.sar, video.rotation]
    payload = b"".join(
        (
            f.u8(video.packing),
            b"".join(map(f.uvarint, numbers)),
            f.u8(_HFLIP * video.hflip + _CHECKS * video.checks),
            bytes(colour),
            f.uvarint(video.chroma),
            f.text(video.source_pix_fmt),
            struct.pack("<d", video.gop_seconds),
            f.uvarint(video.temporal_stride),
            f.uvarint(video.temporal_lead),
            f.uvarint(len(video.planes)),
            *map(_pack_plane, video.planes),
        )
    )
    return payload


def _pack_plane(plane: PlaneSpec) -> bytes:
    flags = _KEY * plane.in_key + _PREDICTED * plane.in_predicted + _MASKED * plane.masked
    flags += _QUANTISER * bool(plane.scale) + _BOUND * bool(plane.error_bound)
    if plane.dtype not in _DTYPES:
        raise UsageError(f"plane {plane.name!r} has the unknown type {plane.dtype!r}")
    floats = [*plane.scale, *plane.zero, *([plane.error_bound] if plane.error_bound else [])]
    return b"".join(
        (
            f.text(plane.name),
            f.u8(_DTYPES[plane.dtype]),
            f.u8(flags),
            f.uvarint(plane.channels),
            f.uvarint(plane.stride),
            struct.pack(f"<{len(floats)}f", *floats),
        )
    )


def unpack_video(payload: bytes, limits: Limits) -> VideoDescriptor:
    """Raises `CorruptError`, `UnsupportedError` (packing, dtype, reserved flag), `LimitError` (sides, pixels)."""
    r = f.Fields(payload, "VSTR")
    packing = r.u8()
    if packing in RETIRED_RANS:
        raise UnsupportedError(f"packing {packing} is from an earlier lvc — encode the source again")
    if packing not in PACKING_NAMES:
        raise UnsupportedError(f"latents are packed by the unknown method {packing} — use a newer lvc")
    width, height, align = r.uvarint(U32), r.uvarint(U32), r.uvarint(1 << 16)
    time_base, frame_rate, sar = _ratio(r), _ratio(r), _ratio(r)
    rotation = r.uvarint(360)
    flags = r.u8()
    if flags & ~(_HFLIP | _CHECKS):
        raise UnsupportedError("VSTR uses a reserved flag — use a newer lvc")
    colour = r.take(6)
    chroma = r.uvarint()
    pix_fmt = r.text()
    gop_seconds = r.f64()
    temporal_stride, temporal_lead = r.uvarint(1 << 16), r.uvarint(1 << 16)
    planes = tuple(_unpack_plane(r) for _ in range(r.uvarint(65)))
    r.end()
    if min(time_base) < 1 or (frame_rate != (0, 0) and min(frame_rate) < 1) or sar[1] < 1:
        raise r.bad(f"time base {time_base}, frame rate {frame_rate} or pixel aspect {sar} is not a ratio")
    if not 1 <= colour[5] <= 16 or chroma not in CHROMAS or not (math.isfinite(gop_seconds) and gop_seconds >= 0):
        raise r.bad(f"bit depth {colour[5]}, chroma {chroma} or GOP length {gop_seconds} is out of range")
    try:
        geometry = Geometry(width, height, align, planes, temporal_stride, temporal_lead)
    except UsageError as error:
        raise r.bad(str(error)) from error
    if packing == PACKING_RANS:
        _check_coded(geometry, colour[5], chroma)
    check_picture(geometry, limits)
    primaries, transfer, matrix, color_range, chroma_location, bit_depth = colour
    return VideoDescriptor(
        width, height, planes, packing, align, time_base, frame_rate, sar, rotation, bool(flags & _HFLIP),
        primaries, transfer, matrix, color_range, chroma_location, bit_depth, chroma, pix_fmt, gop_seconds,
        temporal_stride, temporal_lead, bool(flags & _CHECKS),
    )  # fmt: skip


def _check_coded(geometry: Geometry, bit_depth: int, chroma: int) -> None:
    if bit_depth not in CODED_DEPTHS or chroma != 420 or geometry.align != 16 or geometry.temporal_stride != 1:
        raise UnsupportedError(
            f"packing rans with {bit_depth} bits, chroma {chroma}, align {geometry.align} and temporal stride "
            f"{geometry.temporal_stride} — use a newer lvc"
        )


def check_picture(geometry: Geometry, limits: Limits) -> None:
    """Raise `LimitError` for a padded picture above the limits, or a frame with too many latent values."""
    width, height = geometry.padded_width, geometry.padded_height
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise LimitError(
            f"picture of {width}x{height} is over the limit ({limits.max_side} a side, {limits.max_pixels} pixels)"
        )
    geometry.check_clip(1, limits)


def _unpack_plane(r: f.Fields) -> PlaneSpec:
    name, code, flags = r.text(), r.u8(), r.u8()
    if code not in DTYPE_CODES or flags & ~(_KEY | _PREDICTED | _MASKED | _QUANTISER | _BOUND):
        raise UnsupportedError(f"plane {name!r} has an unknown type or a reserved flag — use a newer lvc")
    channels, stride = r.uvarint(1 << 16), r.uvarint(1 << 16)
    n_scales = channels if flags & _QUANTISER else 0
    scale, zero = r.f32(n_scales), r.f32(n_scales)
    (bound,) = r.f32(1) if flags & _BOUND else (0.0,)
    return PlaneSpec(
        name, DTYPE_CODES[code], channels, stride,
        bool(flags & _KEY), bool(flags & _PREDICTED), bool(flags & _MASKED), scale, zero, bound,
    )  # fmt: skip


def _ratio(r: f.Fields) -> tuple[int, int]:
    return r.uvarint(U32), r.uvarint(U32)


def pack_copied(number: int, stream: CopiedStream) -> bytes:
    if stream.kind not in STREAM_KINDS:
        raise UsageError(f"a copied stream's kind is one of {STREAM_KINDS}, not {stream.kind!r}")
    return b"".join(
        (
            f.uvarint(number),
            f.u8(STREAM_KINDS.index(stream.kind) + 1),
            f.text(stream.codec),
            f.uvarint(stream.time_base[0]),
            f.uvarint(stream.time_base[1]),
            f.text(stream.language),
            f.uvarint(stream.sample_rate),
            f.uvarint(stream.channels),
            f.uvarint(stream.disposition),
            f.pack_tags(stream.metadata),
            f.blob(stream.params),
        )
    )


def unpack_copied(payload: bytes, limits: Limits) -> tuple[int, CopiedStream]:
    """Read a stream's number and description."""
    _check_metadata_size("CSTR", payload, limits)
    r = f.Fields(payload, "CSTR", limits.max_tags)
    number, kind = r.uvarint(), r.u8()
    if number >= limits.max_streams:
        raise LimitError(f"copied stream number {number}, limit {limits.max_streams}")
    if not 1 <= kind <= len(STREAM_KINDS):
        raise UnsupportedError(f"copied stream of the unknown kind {kind} — use a newer lvc")
    codec, time_base, language = r.text(), _ratio(r), r.text()
    sample_rate, channels, disposition = r.uvarint(U32), r.uvarint(U32), r.uvarint(U32)
    metadata, params = r.tags(), r.blob()
    r.end()
    if min(time_base) < 1:
        raise r.bad(f"time base {time_base} is not a ratio")
    return number, CopiedStream(
        STREAM_KINDS[kind - 1], codec, time_base, language, sample_rate, channels, disposition, metadata, params
    )


def pack_metadata(metadata: Metadata) -> bytes:
    parts = [f.pack_tags(metadata.tags), f.uvarint(len(metadata.chapters))]
    for chapter in metadata.chapters:
        parts += [f.svarint(chapter.start), f.svarint(chapter.end), *map(f.uvarint, chapter.time_base)]
        parts.append(f.pack_tags(chapter.tags))
    return b"".join(parts)


def unpack_metadata(payload: bytes, limits: Limits) -> Metadata:
    _check_metadata_size("mETa", payload, limits)
    r = f.Fields(payload, "mETa", limits.max_tags)
    tags = r.tags()
    chapters = []
    count = r.uvarint(1 + r.left)
    if count > limits.max_chapters:
        raise LimitError(f"{count} chapters, limit {limits.max_chapters}")
    for _ in range(count):
        start, end, time_base = r.svarint(), r.svarint(), _ratio(r)
        if min(time_base) < 1:
            raise r.bad(f"a chapter's time base {time_base} is not a ratio")
        chapters.append(Chapter(start, end, time_base, r.tags()))
    r.end()
    return Metadata(tags, tuple(chapters))


def pack_origin(origin: Origin) -> bytes:
    if len(origin.source_sha256) != 32:
        raise UsageError("a SHA-256 has 32 bytes")
    return f.uvarint(origin.source_bytes) + origin.source_sha256 + f.pack_tags(origin.settings)


def unpack_origin(payload: bytes, limits: Limits) -> Origin:
    _check_metadata_size("oRIG", payload, limits)
    r = f.Fields(payload, "oRIG", limits.max_tags)
    origin = Origin(r.uvarint(), r.take(32), r.tags())
    r.end()
    return origin


def pack_side(side: Side) -> bytes:
    parts = (f.text(side.language), f.uvarint(side.disposition), f.pack_tags(side.tags), f.pack_tags(side.properties))
    return b"".join(parts)


def unpack_side(payload: bytes, limits: Limits) -> Side:
    _check_metadata_size("sIDe", payload, limits)
    r = f.Fields(payload, "sIDe")
    side = Side(r.text(), r.uvarint(U32), r.tags(), r.tags())
    r.end()
    return side


def pack_attachment(attachment: Attachment) -> bytes:
    kind = f.uvarint(_COVER if attachment.cover else 0)
    named = f.text(attachment.name) + f.text(attachment.mime) + f.pack_tags(attachment.tags)
    return kind + named + f.blob(attachment.data)


def unpack_attachment(payload: bytes, limits: Limits) -> Attachment:
    _check_metadata_size("aTTa", payload, limits)
    r = f.Fields(payload, "aTTa")
    kind = r.uvarint()
    name, mime, tags, data = r.text(), r.text(), r.tags(), r.blob()
    r.end()
    return Attachment(name, mime, data, kind == _COVER, tags)


def pack_model_chunk(chunk: ModelChunk) -> bytes:
    return f.u8(chunk.kind) + chunk.base_sha256 + chunk.data


def unpack_model_chunk(payload: bytes, model_sha256: bytes, limits: Limits) -> ModelChunk:
    """`model_sha256` comes from `HEAD`. A whole model is compared with it here; the result of a delta, once it is
    made."""
    if len(payload) > limits.max_model:
        raise LimitError(f"MODL has {len(payload)} bytes, limit {limits.max_model}")
    r = f.Fields(payload, "MODL")
    kind = r.u8()
    if kind not in (MODEL_WHOLE, MODEL_DELTA):
        raise UnsupportedError(f"MODL stores a model by the unknown method {kind} — use a newer lvc")
    base = r.take(32) if kind == MODEL_DELTA else b""
    data = r.take(r.left)
    if kind == MODEL_WHOLE and hashlib.sha256(data).digest() != model_sha256:
        raise r.bad("the model is not the one that HEAD names")
    return ModelChunk(kind, data, base)


def _check_metadata_size(name: str, payload: bytes, limits: Limits) -> None:
    if len(payload) > limits.max_metadata:
        raise LimitError(f"{name} has {len(payload)} bytes, limit {limits.max_metadata}")
