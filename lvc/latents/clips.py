"""Integer tensors ↔ the payload of one clip, in both packings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.entropy.clip import FrameLatents, latents_crc, pack_zstd, unpack_stacked
from lvc.entropy.coder import Coding, Decoder, Encoder
from lvc.errors import CorruptError, LimitError, UnsupportedError
from lvc.latents import exact, field
from lvc.limits import DEFAULT, Limits
from lvc.lvz import KIND_KEY, PACKING_FIELD, PACKING_ZSTD, Clip, TensorSet, VideoDescriptor

IntArray = npt.NDArray[Any]

MAX_FIELD_VALUES = 1 << 26  # of a clip: unpacking needs about 40 bytes for each


def plane_names(tensors: TensorSet) -> tuple[str, ...]:
    """Return the names of such a file's planes."""
    if tensors.exponent is None:
        return ("latent",)
    return ("whole", *(f"rest{i}" for i in range(exact.REST_PLANES[tensors.element])))


def pack_clip(
    planes: list[IntArray], video: VideoDescriptor, tensors: TensorSet, model: field.FieldModel | None, level: int = 12
) -> tuple[bytes, int]:
    """Return payload and checksum of `planes`, each `[frames, channels, rows, columns]` of its plane's dtype.

    Rows and columns may be fewer than the file's planes have. `model` for packing `field`.
    """
    crc = latents_crc(_framed(planes, video), video.geometry)
    if video.packing == PACKING_ZSTD:
        return pack_zstd(list(_framed(planes, video)), video.geometry, level), crc
    if model is None:
        raise TypeError("packing field needs a model")
    encoder = Encoder()
    coding = Coding(encoder)
    count, channels, rows, columns = planes[0].shape
    field.code(coding, model, (count, channels, rows, columns), planes[0])
    if tensors.exponent is not None:
        exact.code_rest(coding, tensors.element, tensors.exponent, planes[0].ravel(), _rest(planes[1:]))
    # a stream of symbols with certainty 1 is empty, and a payload must not be
    payload = encoder.finish() or bytes(4)
    DEFAULT.check_values(planes[0].size, len(payload))
    return payload, crc


def unpack_clip(
    clip: Clip,
    video: VideoDescriptor,
    tensors: TensorSet,
    model: field.FieldModel | None,
    extent: tuple[int, int],
    *,
    check: bool = True,
    limits: Limits = DEFAULT,
) -> list[IntArray]:
    """Unpack the planes `[frames, channels, rows, columns]` of a clip whose tensor has `extent` (rows, columns).

    `check` compares the checksum of the integers. Raises `CorruptError`, `LimitError`, `UnsupportedError`.
    """
    geometry = video.geometry
    count = geometry.latent_frames(clip.n_frames)
    rows, columns = extent
    if video.packing == PACKING_ZSTD:
        stacked = unpack_stacked(clip.payload, geometry, count, limits)
        planes = [_cut(stacked[spec.name], spec.dtype, rows, columns) for spec in video.planes]
    elif video.packing == PACKING_FIELD and model is not None:
        values = count * model.channels * rows * columns
        if values > MAX_FIELD_VALUES:
            raise LimitError(f"a clip of packing field has {values} values, limit {MAX_FIELD_VALUES}")
        limits.check_values(values, len(clip.payload))
        planes = _decoded(clip.payload, video, tensors, model, (count, model.channels, rows, columns))
    else:
        raise UnsupportedError("the latents are packed for another model — lvc decode reads such files")
    if check:
        found = latents_crc(_framed(planes, video), geometry)
        if found != clip.latents_crc:
            raise CorruptError(f"latents checksum is {found:08x}, the file says {clip.latents_crc:08x}")
    return planes


def _decoded(
    payload: bytes,
    video: VideoDescriptor,
    tensors: TensorSet,
    model: field.FieldModel,
    shape: tuple[int, int, int, int],
) -> list[IntArray]:
    decoder = Decoder(b"" if payload == bytes(4) else payload)
    coding = Coding(decoder)
    first = field.code(coding, model, shape, None)
    low, high = (-128, 127) if video.planes[0].dtype == "int8" else (-32768, 32767)
    planes = [np.clip(first, low, high).astype(video.planes[0].dtype)]
    if tensors.exponent is not None:
        rest = exact.code_rest(coding, tensors.element, tensors.exponent, first.ravel(), None).reshape(shape)
        planes += [(rest >> (8 * i)).astype(np.uint8).view(np.int8) for i in range(len(video.planes) - 1)]
    decoder.finish()
    return planes


def _rest(planes: list[IntArray]) -> IntArray:
    rest = np.zeros(planes[0].size, np.int64)
    for number, plane in enumerate(planes):
        rest |= plane.view(np.uint8).astype(np.int64).ravel() << (8 * number)
    return rest


def _framed(planes: list[IntArray], video: VideoDescriptor) -> Iterator[FrameLatents]:
    """Yield latent frames of the file's planes, padded with zeros; one at a time, because planes may be far larger than
    a tensor in them."""
    shapes = [video.geometry.plane_shape(spec) for spec in video.planes]
    for number in range(len(planes[0])):
        frame = FrameLatents(KIND_KEY, 0)
        for spec, (_, rows, columns), values in zip(video.planes, shapes, planes, strict=True):
            below, beside = rows - values.shape[2], columns - values.shape[3]
            frame.planes[spec.name] = np.pad(values[number], ((0, 0), (0, below), (0, beside)))
        yield frame


def _cut(values: IntArray, dtype: str, rows: int, columns: int) -> IntArray:
    """Return the tensor's part of `values` `[frames, channels, rows, columns]`; all other values must be 0."""
    if values[:, :, rows:].any() or values[:, :, :, columns:].any():
        raise CorruptError("values outside of their tensor are not 0")
    return values[:, :, :rows, :columns].astype(dtype, copy=False)
