"""An open `.lvz` of latents: reads tensors by number, without the others."""

from __future__ import annotations

import os
import weakref
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from lvc.errors import CorruptError, UnsupportedError
from lvc.latents import exact
from lvc.latents.clips import plane_names, unpack_clip
from lvc.latents.elements import NUMPY, Tensor, narrowed, packed_from
from lvc.latents.parameters import unpack_model
from lvc.limits import DEFAULT, Limits
from lvc.lvz import PACKING_FIELD, Clip, LvzReader, PlaneSpec, Sample, TensorSet, VideoDescriptor
from lvc.output import about

if TYPE_CHECKING:
    import torch

IntArray = npt.NDArray[Any]

KEY = "key"
"""Tag with a tensor's name in its original file."""
DTYPE = "dtype"
"""Tag with a tensor's original type, if the `.lvz` holds it as another."""
CARRIED = ("float64", "float8_e4m3fn", "float8_e5m2")
BLOCK = 1 << 18  # values converted at a time, so that their floats stay in the cache


class Dequantiser:
    """Integers of one file → tensors of its element type, with torch."""

    def __init__(self, spec: PlaneSpec, tensors: TensorSet) -> None:
        import torch

        channels = spec.channels
        self.element: torch.dtype = getattr(torch, tensors.element)
        self._tensors = tensors
        scale = torch.tensor(spec.scale or [1.0] * channels, dtype=torch.float32)
        self._zero = torch.tensor(spec.zero or [0.0] * channels, dtype=torch.float32)
        self._matrix = torch.tensor(tensors.matrix, dtype=torch.float32).reshape(channels, channels) * scale \
            if tensors.matrix else None  # fmt: skip
        self._scale = scale

    def __call__(self, planes: list[IntArray]) -> torch.Tensor:
        """Planes `[frames, channels, rows, columns]` → a tensor of that shape, of the file's element type."""
        import torch

        if self._tensors.exponent is not None:
            patterns = exact.join(planes, self._tensors.element, self._tensors.exponent)
            signed = patterns.view(np.int16 if patterns.itemsize == 2 else np.int32)
            return torch.from_numpy(signed).view(self.element)
        values = torch.from_numpy(planes[0])
        frames, channels, rows, columns = values.shape
        flat = values.reshape(frames, channels, rows * columns)
        latents = torch.empty(flat.shape, dtype=self.element)
        step = max(1, BLOCK // max(1, channels * rows * columns))
        for start in range(0, frames, step):
            part, out = flat[start : start + step], latents[start : start + step]
            if self._matrix is None:
                out.copy_(part.float().mul_(self._scale[:, None]).add_(self._zero[:, None]))  # addcmul is slower
            else:
                out.copy_(torch.baddbmm(self._zero[:, None], self._matrix.expand(len(part), -1, -1), part.float()))
        return latents.reshape(frames, channels, rows, columns)


class LatentFile:
    """Opening reads descriptors and index; a tensor is read, unpacked and dequantised on request.

    `samples` describes the tensors. A file that `lvc encode` wrote with a foreign model has none of its own: its groups
    of clips count as tensors `CTHW`. Not safe for use by several threads at once. Raises `CorruptError`,
    `UnsupportedError`, `LimitError`, `OSError`.
    """

    def __init__(self, path: str | os.PathLike[str], *, limits: Limits = DEFAULT, check: bool = True) -> None:
        self.path = os.fspath(path)
        self.limits, self.check = limits, check
        self._file = open(self.path, "rb")
        weakref.finalize(self, self._file.close)  # data sets are dropped without being closed
        try:
            with about(self.path):
                self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        self.reader = LvzReader(self._file, self.limits)
        if self.reader.tensors is None:
            raise UnsupportedError("holds a video of lvc's own codec, no tensors — lvc decode reads it")
        self.video: VideoDescriptor = self.reader.video
        self.tensors: TensorSet = self.reader.tensors
        self.metadata = self.reader.metadata
        index, tail = self.reader.index, self.reader.tail
        if index is None or tail is None:
            raise CorruptError("has no valid index: it was cut off — get another copy")
        exact_file = self.tensors.exponent is not None
        named = [(spec.name, spec.dtype) for spec in self.video.planes]
        wanted = [(name, "int8" if name.startswith("rest") else "int16") for name in plane_names(self.tensors)]
        if (named != wanted) if exact_file else len(named) != 1:
            raise CorruptError(f"the planes do not fit tensors of {self.tensors.element}")
        if self.tensors.samples and self.video.temporal_stride != 1:
            raise CorruptError("tensors have a frame for each of theirs, the file says otherwise")
        self._starts = [gop.first_frame for gop in index.gops] + [tail.frame_count]
        if self.tensors.samples and self.tensors.starts() != self._starts:
            raise CorruptError("the tensors do not have the frames that the file has")
        self.samples: tuple[Sample, ...] = self.tensors.samples or self._groups()
        channels = self.video.planes[0].channels
        field = self.video.packing == PACKING_FIELD
        self._model = unpack_model(self.tensors.coding, channels) if field else None

    @cached_property
    def dequantise(self) -> Dequantiser:
        return Dequantiser(self.video.planes[0], self.tensors)

    def _groups(self) -> tuple[Sample, ...]:
        _, rows, columns = self.video.geometry.plane_shape(self.video.planes[0])
        stem = Path(self.path).stem
        spans = zip(self._starts, self._starts[1:], strict=False)
        return tuple(Sample(f"{stem}-{a}", "CTHW", b - a, rows, columns) for a, b in spans)

    def __len__(self) -> int:
        return len(self.samples)

    def integers(self, number: int) -> list[IntArray]:
        """Return the planes of tensor `number`, each `[frames, channels, rows, columns]`."""
        sample = self.samples[number]
        with about(self.path):
            clips: list[Clip] = self.reader.gop(number)
            if clips[0].first_frame != self._starts[number] or sum(c.n_frames for c in clips) != sample.frames:
                raise CorruptError(f"tensor {sample.name!r} does not have the frames that the file says")
            parts = [
                unpack_clip(
                    clip, self.video, self.tensors, self._model, (sample.rows, sample.columns),
                    check=self.check, limits=self.limits,
                )
                for clip in clips
            ]  # fmt: skip
        return parts[0] if len(parts) == 1 else [np.concatenate(planes) for planes in zip(*parts, strict=True)]

    def read(self, number: int) -> torch.Tensor:
        """Return tensor `number` in its original shape and element type."""
        sample = self.samples[number]
        values = self.dequantise(self.integers(number))
        if not self.tensors.samples:
            return values.transpose(0, 1)
        from lvc.latents.sources import restored

        values = restored(values, sample.tags, exact=self.tensors.exponent is not None)
        order = [sample.axes.replace("N", "").index(axis) for axis in "TCHW" if axis in sample.axes]
        if "T" not in sample.axes:
            values = values[0]
        placed = values.permute(*np.argsort(order).tolist())
        return placed.reshape(sample.shape(values.shape[0] if "T" not in sample.axes else values.shape[1]))

    def tensor(self, number: int) -> Tensor:
        """Return the same as an array, without torch."""
        sample, exponent = self.samples[number], self.tensors.exponent
        planes, spec = self.integers(number), self.video.planes[0]
        if exponent is not None:
            patterns = exact.join(planes, self.tensors.element, exponent)
            found = Tensor(self.tensors.element, patterns.view(NUMPY.get(self.tensors.element, patterns.dtype)))
        else:
            found = Tensor(self.tensors.element, _dequantised(planes[0], spec, self.tensors))
        if not self.tensors.samples:
            return Tensor(found.element, found.array.swapaxes(0, 1))
        before = sample.tags.get(DTYPE, found.element)
        if before in CARRIED and before != found.element:
            found = packed_from(found, before, exact=exponent is not None)
        return Tensor(found.element, _placed(found.array, sample))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _dequantised(values: IntArray, spec: PlaneSpec, tensors: TensorSet) -> IntArray:
    """The same as `Dequantiser`, in numpy."""
    frames, channels, rows, columns = values.shape
    scale = np.array(spec.scale or [1.0] * channels, np.float32)[:, None]
    zero = np.array(spec.zero or [0.0] * channels, np.float32)[:, None]
    matrix = np.array(tensors.matrix, np.float32).reshape(channels, channels) * scale.T if tensors.matrix else None
    flat = values.reshape(frames, channels, rows * columns)
    parts = []
    step = max(1, BLOCK // max(1, channels * rows * columns))
    for start in range(0, frames, step):
        part = flat[start : start + step].astype(np.float32)
        parts.append(narrowed((part * scale if matrix is None else matrix @ part) + zero, tensors.element))
    return np.concatenate(parts).reshape(values.shape)


def _placed(values: IntArray, sample: Sample) -> IntArray:
    """Return `[frames, channels, rows, columns]` with the original axes."""
    order = [sample.axes.replace("N", "").index(axis) for axis in "TCHW" if axis in sample.axes]
    channels = values.shape[1]
    if "T" not in sample.axes:
        values = values[0]
    return values.transpose(np.argsort(order).tolist()).reshape(sample.shape(channels))
