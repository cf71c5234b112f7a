"""`lvc pack`: packs tensors in files into one `.lvz` and measures the error of the written file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lvc import __version__
from lvc.errors import CorruptError, UsageError
from lvc.kinds import LVZ
from lvc.latents import exact
from lvc.latents.budget import LEVELS, Bound, Plan, first_plan, next_step
from lvc.latents.clips import pack_clip, plane_names
from lvc.latents.file import LatentFile
from lvc.latents.quantise import Statistics, rotation
from lvc.latents.sources import Source, find
from lvc.lvz import Clip, Header, LvzWriter, PlaneSpec, TensorSet, VideoDescriptor
from lvc.lvz.tensors import MAX_FIELD_CHANNELS
from lvc.output import about, check_output, publish
from lvc.place import STREAM
from lvc.results import PackResult

if TYPE_CHECKING:
    import torch

IntArray = npt.NDArray[Any]
Notice = Callable[[str], object]
Progress = Callable[[int, int, int, int | None], object]

DEFAULT_BOUND = Bound("rms", 0.01)
PACKINGS = {"zstd": 1, "fast": 1, "field": 3}
CLIP_FRAMES = 64
_CLIP_VALUES = 1 << 24  # largest clip, which a reader unpacks at once
_ATTEMPTS = 6
_REFINED = 3  # attempts to use a budget of bits fully
_WELL_USED = 0.97


def pack_latents(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    bound: Bound = DEFAULT_BOUND,
    packing: str = "field",
    decoder: str | None = None,
    axes: str | None = None,
    keys: str | None = None,
    stride: int = 8,
    force: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> PackResult:
    """Pack all tensors of `sources` (files and folders) into the `.lvz` `target`; `Bound` limits the error or the size.

    `packing`: `field` is the densest, `zstd` is read faster, `fast` costs a byte a value and is read about as fast as
    memory is copied. `decoder` names a foreign model (`taesd:PATH`): errors are then shaped to change its pictures
    least. `keys` is a pattern for the names of tensors in their file; others are left out. `stride` of the VAE
    determines the picture size that the file states. Raises every kind of `LvcError`, and `OSError`.
    """
    target = os.fspath(target)
    if target == STREAM:
        raise UsageError("the packed file is read again to check it — write to a file")
    check_output([os.fspath(source) for source in sources], target, force=force, writes=[LVZ])
    started = time.monotonic()
    found = find(sources, axes, notice or (lambda text: None), keys)
    job = _Job(found, bound, packing, stride, decoder, device, progress)
    with publish(target, force=force) as path:
        measured = job.run(path, target)
        size = path.stat().st_size
    values = job.values
    return PackResult(
        target, len(found), values, sum(s.bytes for s in found), size, time.monotonic() - started,
        packing=packing, step=job.plan.step, max_error=measured.largest, rms_error=measured.relative,
    )  # fmt: skip


@dataclass
class Measured:
    """Errors of the written values: sums of squares, and the largest."""

    squares: float = 0.0
    of_values: float = 0.0
    largest: float = 0.0
    same_bits: bool = True

    @property
    def relative(self) -> float:
        """RMS error over RMS of the values."""
        return float(np.sqrt(self.squares / self.of_values)) if self.of_values else 0.0


class _Job:
    def __init__(
        self, sources: list[Source], bound: Bound, packing: str, stride: int, decoder: str | None,
        device: str | None, progress: Progress | None,
    ) -> None:  # fmt: skip
        self.sources, self.bound, self.packing, self.stride = sources, bound, packing, stride
        self._decoder, self._device, self._progress = decoder, device, progress
        self._check_kinds()
        self.channels = sources[0].size("C")
        self.element = sources[0].carrier
        if bound.kind == "exact" and any(s.is_narrowed for s in sources):
            raise UsageError("float64 is packed as float32, which is a loss — convert it, or allow an error with --rms")
        if packing == "field" and self.channels > MAX_FIELD_CHANNELS:
            raise UsageError(f"packing field has at most {MAX_FIELD_CHANNELS} channels — use --packing zstd")
        self.values = sum(s.values for s in sources)

    def _check_kinds(self) -> None:
        """Check that all tensors have the same number of channels and element type."""
        kinds: dict[tuple[int, str], Source] = {}
        for source in self.sources:
            kinds.setdefault((source.size("C"), source.carrier), source)
        if len(kinds) == 1:
            return
        names = "; ".join(f"{channels} channels of {element}: {_named(s)}" for (channels, element), s in kinds.items())
        way = "choose one by the names of its tensors: --keys 'latents_image*'"
        if len({s.key for s in kinds.values()}) == 1:
            way = "give the files of each apart"
        raise UsageError(f"the tensors are of {len(kinds)} kinds ({names}) — pack each into a file of its own; {way}")

    def run(self, path: Path, label: str) -> Measured:
        """Write, measure, and write again with another step until the bound holds."""
        self.plan = self._planned()
        for attempt in range(_ATTEMPTS):
            with about(label):
                self._write(path)
            measured = self._measure(path)
            bits = self._bits(path)
            if self.bound.holds(measured.relative, measured.largest, measured.same_bits, bits):
                left = self.bound.kind == "bits" and bits < _WELL_USED * self.bound.value
                if not left or attempt >= _REFINED:
                    return measured
            if self.bound.kind == "exact":
                raise CorruptError("the written file does not match its source — try again, and check disk and memory")
            step = next_step(self.bound, self.plan.step, measured.relative, measured.largest, bits)
            self.plan = replace(self.plan, step=step)
        raise UsageError("that bound cannot be held — allow a larger error or more bits, or use --lossless")

    def _bits(self, path: Path) -> float:
        return 8 * path.stat().st_size / self.values

    def _planned(self) -> Plan:
        from lvc.latents.sensitivity import decoder_weights

        statistics = Statistics.empty(self.channels)
        for source in self.sources:
            with about(str(source.path)):
                statistics.add(source.frames().float().numpy())
        if self.bound.kind != "exact" and not statistics.finite:
            raise UsageError("the latents hold numbers that are not finite — mend them, or use --lossless")
        taken = list(self._taken())
        forward = None
        if self.bound.kind not in ("exact", "max"):
            weights = None if self._decoder is None else decoder_weights(self._decoder, taken, self._device)
            # a rotation saves bits where bytes are entropy-coded, or weights errors; with packing fast, undoing it
            # would take half of the time
            forward = rotation(statistics, weights) if weights is not None or self.packing != "fast" else None
        return first_plan(self.bound, statistics, forward, taken, self.element, self.packing, self.values)

    def _taken(self) -> Iterator[torch.Tensor]:
        """Take some of the tensors to fit the model to: `[frames, channels, rows, columns]`, about a million values."""
        left, want = 1 << 20, max(1, len(self.sources) // 64)
        for source in self.sources[::want]:
            frames = source.frames()
            per_frame = max(1, frames[0].numel())
            taken = frames[: max(1, left // per_frame)]
            yield taken
            left -= taken.numel()
            if left <= 0:
                return

    def _tensor_set(self) -> TensorSet:
        plan = self.plan
        matrix = plan.quantiser.matrix if plan.exponent is None else ()
        samples = tuple(s.sample() for s in self.sources)
        return TensorSet(self.element, matrix, plan.exponent, plan.coding, samples)

    def _video(self, tensors: TensorSet) -> VideoDescriptor:
        rows, columns = (max(s.size(axis) for s in self.sources) for axis in "HW")
        quantiser, planes = self.plan.quantiser, []
        bound = self.bound.value if self.bound.kind == "max" else 0.0
        for name in plane_names(tensors):
            if name == "latent":
                scale, zero = (quantiser.step,) * self.channels, tuple(quantiser.mean.tolist())
                planes.append(
                    PlaneSpec(name, "int16", self.channels, self.stride, True, False, False, scale, zero, bound)
                )
            else:
                dtype = "int16" if name == "whole" else "int8"
                planes.append(PlaneSpec(name, dtype, self.channels, self.stride, in_predicted=False))
        return VideoDescriptor(
            columns * self.stride, rows * self.stride, tuple(planes), PACKINGS[self.packing], align=1, time_base=(1, 1),
            source_pix_fmt="latents",
        )  # fmt: skip

    def _write(self, path: Path) -> None:
        tensors = self._tensor_set()
        video = self._video(tensors)
        first = done = 0
        level = LEVELS.get(self.packing, 0)
        with path.open("wb") as file:
            with LvzWriter(file, Header("latents", created_by=f"lvc {__version__}"), video, tensors=tensors) as writer:
                for number, source in enumerate(self.sources):
                    with about(str(source.path)):
                        frames = source.frames()
                    for start, part in _clips_of(frames):
                        payload, crc = pack_clip(self._integers(part), video, tensors, self.plan.model, level)
                        pts = list(range(first, first + len(part)))
                        writer.write_clip(Clip(first, start == 0, pts, [1] * len(part), crc, payload))
                        first += len(part)
                    done += source.bytes
                    if self._progress is not None:
                        self._progress(number + 1, done, writer.bytes_written, len(self.sources))

    def _integers(self, part: torch.Tensor) -> list[IntArray]:
        if self.plan.exponent is None:
            return [self.plan.quantiser(part.float().numpy())]
        return exact.split(_patterns(part), self.element, self.plan.exponent)

    def _measure(self, path: Path) -> Measured:
        measured = Measured()
        with LatentFile(path) as file:
            for number, source in enumerate(self.sources):
                before, after = source.load(), file.read(number)
                if before.shape != after.shape:
                    raise CorruptError("the written tensors have other shapes than their source — please report this")
                if self.bound.kind == "exact":
                    same = bool((_patterns(before) == _patterns(after)).all()) or _same_small(before, after)
                    measured.same_bits = measured.same_bits and same
                    continue
                error = (after.double() - before.double()).numpy()
                measured.squares += float((error * error).sum())
                measured.of_values += float((before.double() ** 2).sum())
                measured.largest = max(measured.largest, float(np.abs(error).max()))
        return measured


def _named(source: Source) -> str:
    return source.key or source.path.name


def _patterns(tensor: torch.Tensor) -> IntArray:
    """Return the bits of floats as unsigned integers."""
    import torch

    kinds = {1: (torch.int8, np.uint8), 2: (torch.int16, np.uint16), 4: (torch.int32, np.uint32)}
    signed_kind, kind = kinds[tensor.element_size()]
    signed: IntArray = tensor.contiguous().view(signed_kind).numpy()
    return signed.view(kind)


def _same_small(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Return whether two float8 tensors are equal, apart from the payload of NaNs, which the detour through float16
    changes."""
    if before.element_size() != 1:
        return False
    either = before.float().isnan()
    same = _patterns(before) == _patterns(after)
    return bool((same | either.numpy()).all()) and bool((after.float().isnan() == either).all())


def _clips_of(frames: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (first frame, frames) of clips within the size limit."""
    length = max(1, min(CLIP_FRAMES, _CLIP_VALUES // max(1, frames[0].numel())))
    for start in range(0, len(frames), length):
        yield start, frames[start : start + length]
