"""Codes a video with a model that has continuous latents: frames → latents → clips, and back, in constant memory.

Takes the place of lvc's own codec if the model is an `Adapter`. Every clip can be decoded alone. The content of `LTNT`
(rotation, step, parameters of packing) is fitted to the first clips before anything is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lvc.codec import EncodedClip, EncodeSettings
from lvc.errors import CorruptError, MediaError, UnsupportedError
from lvc.latents.budget import Bound, first_plan
from lvc.latents.clips import pack_clip, unpack_clip
from lvc.latents.colour import to_frame, to_rgb
from lvc.latents.field import FieldModel
from lvc.latents.file import Dequantiser
from lvc.latents.parameters import unpack_model
from lvc.latents.quantise import Quantiser, Statistics, rotation
from lvc.latents.sensitivity import channel_weights
from lvc.lvz import PACKING_FIELD, PACKING_ZSTD, Clip, Geometry, PlaneSpec, TensorSet, VideoDescriptor
from lvc.media import Frame, VideoFormat

if TYPE_CHECKING:
    from lvc.models.adapters import Adapter

IntArray = npt.NDArray[Any]

ELEMENT = "bfloat16"
_LATENT_FRAMES = 16  # of a clip, which a decoder holds at once
_MOST_FRAMES = 64
_CLIP_VALUES = 1 << 23  # a clip of large pictures has fewer frames
_FIT_VALUES = 1 << 20
_ERROR_AT_50, _OCTAVE = 0.14, 12.5  # RMS error over RMS of the latents at quality 50; `_OCTAVE` more quality halves it


@dataclass(frozen=True)
class ContinuousModel:
    """An adapter with a file's parameters of its latents: a `VideoModel` (`lvc.files.coding`)."""

    adapter: Adapter
    tensors: TensorSet
    planes: tuple[PlaneSpec, ...]
    packing: int
    quantiser: Quantiser | None = None
    field: FieldModel | None = None

    @property
    def id(self) -> str:
        return self.adapter.id

    @property
    def sha256(self) -> bytes:
        return self.adapter.sha256

    @property
    def path(self) -> Path | None:
        return self.adapter.path

    def described(self, video: VideoFormat, settings: EncodeSettings) -> VideoDescriptor:
        a = self.adapter
        return VideoDescriptor(
            **vars(video), planes=self.planes, packing=self.packing, align=a.stride, gop_seconds=settings.gop,
            temporal_stride=a.temporal_stride, temporal_lead=a.temporal_lead,
        )  # fmt: skip

    def encode(self, frames: Iterable[Frame], video: VideoFormat, settings: EncodeSettings) -> Iterator[EncodedClip]:
        """Yield clips of the format, each a key clip."""
        if self.quantiser is None:
            raise TypeError("the model was not prepared")
        described = self.described(video, settings)
        source = iter(frames)
        while batch := list(itertools.islice(source, _clip_frames(self.adapter, video, settings))):
            latents = _encoded(self.adapter, batch, video)
            payload, crc = pack_clip([self.quantiser(latents.numpy())], described, self.tensors, self.field)
            yield EncodedClip(True, [f.pts for f in batch], [f.duration for f in batch], crc, payload)

    def decode(
        self,
        clips: Iterable[Clip],
        video: VideoDescriptor,
        threads: int | None = None,
        wanted: Callable[[int, int], bool] | None = None,
    ) -> Iterator[Frame]:
        """Yield frames of clips, with one clip in memory at a time; only those that `wanted` selects by number and pts.
        Raises `CorruptError`."""
        if threads:
            torch.set_num_threads(threads)
        adapter, spec = self.adapter, video.planes[0]
        _, rows, columns = video.geometry.plane_shape(spec)
        # the decoder gets latents as they were quantised, without another rounding to the element type
        dequantise = Dequantiser(spec, replace(self.tensors, element="float32"))
        for clip in clips:
            latents = dequantise(unpack_clip(clip, video, self.tensors, self.field, (rows, columns)))
            times = zip(itertools.count(clip.first_frame), clip.pts, clip.durations, strict=False)
            for part in torch.split(latents, 1) if adapter.alone else [latents]:
                with torch.inference_mode():
                    pictures = adapter.decode(part)[..., : video.height, : video.width]
                if not adapter.alone and len(pictures) < clip.n_frames:
                    raise CorruptError(f"{self.id} gives {len(pictures)} frames where the clip has {clip.n_frames}")
                for rgb, (number, pts, duration) in zip(pictures, times, strict=False):
                    if wanted is None or wanted(number, pts):
                        yield to_frame(rgb, video.matrix, video.color_range, pts, duration)


def opened_model(adapter: Adapter, video: VideoDescriptor, tensors: TensorSet | None) -> ContinuousModel:
    """Return the model of a file to decode. Raises `CorruptError`, `UnsupportedError`."""
    if tensors is None or tensors.exponent is not None or tensors.samples:
        raise UnsupportedError("holds tensors, no video — lvc unpack gives them back")
    plane = video.planes[0]
    shape = (plane.channels, plane.stride, video.temporal_stride, video.temporal_lead)
    if shape != (adapter.channels, adapter.stride, adapter.temporal_stride, adapter.temporal_lead):
        raise CorruptError(f"its latents are not those of {adapter.id}")
    if video.align % adapter.stride:
        raise CorruptError("the picture is not padded to what the model needs")
    if video.bit_depth != 8:
        raise UnsupportedError(f"has pictures of {video.bit_depth} bits with another project's VAE — update lvc")
    field = unpack_model(tensors.coding, plane.channels) if video.packing == PACKING_FIELD else None
    return ContinuousModel(adapter, tensors, video.planes, video.packing, field=field)


def fitted(adapter: Adapter, frames: Iterator[Frame], video: VideoFormat, settings: EncodeSettings) -> ContinuousModel:
    """Return a model fitted to the first clip of `frames`, which it consumes. Raises `MediaError` if there is no
    frame."""
    first = list(itertools.islice(frames, _clip_frames(adapter, video, settings)))
    if not first:
        raise MediaError("no frame could be decoded — it may be damaged, or the range starts after its end")
    latents = _encoded(adapter, first, video)
    part = latents[: max(1, _FIT_VALUES // latents[0].numel())]
    statistics = Statistics.empty(adapter.channels)
    statistics.add(part.numpy())
    forward = rotation(
        statistics, channel_weights(adapter, list(torch.split(part, 1 if adapter.temporal_stride == 1 else 3)))
    )
    packing = PACKING_ZSTD if settings.packing == "zstd" else PACKING_FIELD
    # with a rotation that weights directions differently, the error of the latents means little, so the step counts
    error = _ERROR_AT_50 * 2.0 ** ((50 - settings.quality) / _OCTAVE)
    step = statistics.rms * error * float(np.sqrt(12))
    name = "zstd" if packing == PACKING_ZSTD else "field"
    plan = first_plan(Bound("step", step), statistics, forward, [part], ELEMENT, name, 1 << 24)
    plane = PlaneSpec(
        "latent", "int16", adapter.channels, adapter.stride, in_predicted=False,
        scale=(plan.step,) * adapter.channels, zero=tuple(plan.mean.tolist()),
    )  # fmt: skip
    tensors = TensorSet(ELEMENT, plan.quantiser.matrix, None, plan.coding)
    return ContinuousModel(adapter, tensors, (plane,), packing, plan.quantiser, plan.model)


def _clip_frames(adapter: Adapter, video: VideoFormat, settings: EncodeSettings) -> int:
    """Return the frames of a clip, which fill its latent frames, at most as many as a group of clips may have."""
    wanted = max(1, round(settings.gop * float(video.rate or 25)))
    values = adapter.channels * -(-video.width // adapter.stride) * -(-video.height // adapter.stride)
    latent_frames = min(_LATENT_FRAMES, max(1, _CLIP_VALUES // values))
    while latent_frames > 1 and adapter.frames_of(latent_frames) > min(wanted, _MOST_FRAMES):
        latent_frames -= 1
    return adapter.frames_of(latent_frames)


def _encoded(adapter: Adapter, frames: list[Frame], video: VideoFormat) -> Tensor:
    """Return latents `[latent frames, channels, rows, columns]` of a clip, with its last frame repeated to fill the
    last latent frame."""
    geometry = Geometry(video.width, video.height, adapter.stride, (), adapter.temporal_stride, adapter.temporal_lead)
    pad = (0, geometry.padded_width - video.width, 0, geometry.padded_height - video.height)
    missing = adapter.frames_of(geometry.latent_frames(len(frames))) - len(frames)

    def pictures(part: list[Frame]) -> Tensor:
        rgb = torch.stack([to_rgb(frame, video.matrix, video.color_range) for frame in part])
        return F.pad(rgb, pad, mode="replicate")

    filled = frames + frames[-1:] * missing
    together = adapter.temporal_stride if adapter.alone else len(filled)
    parts = [filled[i : i + together] for i in range(0, len(filled), together)]
    latents = torch.cat([adapter.encode(pictures(part)) for part in parts])
    if latents.shape[:2] != (geometry.latent_frames(len(frames)), adapter.channels):
        raise UnsupportedError(f"{adapter.id} gives latents of {list(latents.shape)} for {len(frames)} frames")
    return latents
