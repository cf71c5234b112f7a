"""`LTNT`: latents that came as tensors, and how to restore them (`formats/lvz.md`, section 5.6)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from itertools import accumulate

from lvc.errors import LimitError, UnsupportedError, UsageError
from lvc.limits import Limits
from lvc.lvz import fields as f
from lvc.lvz.records import PACKING_FIELD, VideoDescriptor

ELEMENTS = ("bfloat16", "float16", "float32")
_MATRIX, _EXACT = 1, 2
MAX_CODING = 1 << 22
MAX_FIELD_CHANNELS = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One tensor: its shape follows from `axes` (of `NCTHW`, N is 1) and the sizes; `tags` hold captions and similar
    text."""

    name: str
    axes: str
    frames: int
    rows: int
    columns: int
    tags: dict[str, str] = field(default_factory=dict)

    def shape(self, channels: int) -> tuple[int, ...]:
        sizes = {"N": 1, "C": channels, "T": self.frames, "H": self.rows, "W": self.columns}
        return tuple(sizes[axis] for axis in self.axes)


@dataclass(frozen=True)
class TensorSet:
    """The description of a file of latents, beside `VSTR`.

    `element`: type of the tensors. `matrix`: `channels²` float32, row by row, or empty: latents are the matrix times
    the scaled values, plus zero. `exponent`: set if the file is exact, the binary logarithm of a step. `coding`:
    parameters of packing `field`. `samples` in the order of their frames; none if the frames are those of a video.
    """

    element: str
    matrix: tuple[float, ...] = ()
    exponent: int | None = None
    coding: bytes = b""
    samples: tuple[Sample, ...] = ()

    def starts(self) -> list[int]:
        """First frame of each sample, and the total number of frames."""
        return [0, *accumulate(s.frames for s in self.samples)]


def pack_tensors(tensors: TensorSet) -> bytes:
    """Raises `UsageError` for an element type or axes that the format does not have."""
    if tensors.element not in ELEMENTS:
        raise UsageError(
            f"tensors of {tensors.element} cannot be stored — convert them to one of {', '.join(ELEMENTS)}"
        )
    flags = _MATRIX * bool(tensors.matrix) + _EXACT * (tensors.exponent is not None)
    parts = [f.u8(ELEMENTS.index(tensors.element) + 1), f.u8(flags)]
    if tensors.exponent is not None:
        parts.append(f.svarint(tensors.exponent))
    parts += [struct.pack(f"<{len(tensors.matrix)}f", *tensors.matrix), f.blob(tensors.coding)]
    parts.append(f.uvarint(len(tensors.samples)))
    for sample in tensors.samples:
        parts += [f.text(sample.name), f.text(sample.axes)]
        parts += [f.uvarint(n) for n in (sample.frames, sample.rows, sample.columns)]
        parts.append(f.pack_tags(sample.tags))
    return b"".join(parts)


def unpack_tensors(payload: bytes, video: VideoDescriptor, limits: Limits) -> TensorSet:
    """Raises `CorruptError`, `UnsupportedError`, `LimitError`."""
    if len(payload) > limits.max_metadata:
        raise LimitError(f"LTNT has {len(payload)} bytes, limit {limits.max_metadata}")
    r = f.Fields(payload, "LTNT", limits.max_sample_tags)
    code, flags = r.u8(), r.u8()
    if not 1 <= code <= len(ELEMENTS) or flags & ~(_MATRIX | _EXACT):
        raise UnsupportedError("LTNT has an unknown element type or a reserved flag — use a newer lvc")
    exponent = r.svarint() if flags & _EXACT else None
    if exponent is not None and abs(exponent) > 160:
        raise r.bad(f"a step of 2^{exponent} is out of range")
    channels, largest_rows, largest_columns = _checked_planes(r, video, tensors_exact=exponent is not None)
    matrix = r.f32(channels * channels) if flags & _MATRIX else ()
    if not all(map(math.isfinite, matrix)):
        raise r.bad("a number of the matrix is not finite")
    coding = r.blob()
    if len(coding) > MAX_CODING:
        raise LimitError(f"the parameters of packing have {len(coding)} bytes, limit {MAX_CODING}")
    samples = []
    count = r.uvarint(1 + r.left)
    if count > limits.max_samples:
        raise LimitError(f"{count} tensors, limit {limits.max_samples}")
    for _ in range(count):
        name, axes = r.text(), r.text()
        frames, rows, columns = r.uvarint(1 << 32), r.uvarint(1 << 32), r.uvarint(1 << 32)
        if not _good_axes(axes) or min(frames, rows, columns) < 1 or ("T" not in axes and frames > 1):
            raise r.bad(f"sample {name!r}: axes {axes!r} do not fit {frames} frames of {rows}x{columns}")
        if rows > largest_rows or columns > largest_columns:
            raise r.bad(f"sample {name!r} has {rows}x{columns} values, the planes {largest_rows}x{largest_columns}")
        samples.append(Sample(name, axes, frames, rows, columns, r.tags()))
    r.end()
    return TensorSet(ELEMENTS[code - 1], matrix, exponent, coding, tuple(samples))


def _checked_planes(r: f.Fields, video: VideoDescriptor, *, tensors_exact: bool) -> tuple[int, int, int]:
    """Channels, rows and columns that all planes share."""
    shapes = {video.geometry.plane_shape(plane) for plane in video.planes}
    if len(shapes) != 1 or not all(plane.in_key for plane in video.planes):
        raise r.bad("the planes are not those of tensors: one shape, all in key frames")
    if (len(video.planes) == 1) == tensors_exact:
        raise r.bad(f"{len(video.planes)} planes do not fit")
    (channels, rows, columns) = shapes.pop()
    if video.packing == PACKING_FIELD and channels > MAX_FIELD_CHANNELS:
        raise r.bad(f"packing field has at most {MAX_FIELD_CHANNELS} channels, not {channels}")
    return channels, rows, columns


def _good_axes(axes: str) -> bool:
    rest = axes.replace("N", "").replace("T", "", 1)
    return len(axes) <= 8 and sorted(rest) == ["C", "H", "W"]
