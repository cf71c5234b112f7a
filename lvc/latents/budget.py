"""The allowed error, and the step and the model that make the most of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zstandard

from lvc.errors import UsageError
from lvc.latents import exact
from lvc.latents.field import FieldModel
from lvc.latents.fit import FULL, LEAN, fit
from lvc.latents.parameters import pack_model
from lvc.latents.quantise import Quantiser, Statistics

if TYPE_CHECKING:
    import torch

IntArray = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

KINDS = ("step", "max", "rms", "bits", "exact")
LEVELS = {"zstd": 19, "fast": -1}  # of zstd; below 0 it finds what repeats and codes no bytes: reading is copying
_SLACK = 1e-6  # of a bound, for sums of floats
_OCTAVES = 6  # the most by which a step grows at once
_FINE = 6  # an exact file's step is this many octaves below the values' size


@dataclass(frozen=True)
class Bound:
    """`step` (of the quantiser; nothing is promised), `max` (largest absolute error), `rms` (RMS error over RMS of the
    values), `bits` (a value, all bytes of the file counted) or `exact` (every bit comes back; `value` has no meaning).
    """

    kind: str
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind != "exact" and not (np.isfinite(self.value) and self.value > 0)):
            raise UsageError(f"an error bound of {self.value} makes no sense — it has to be above 0")

    def holds(self, relative: float, largest: float, same_bits: bool, bits: float) -> bool:
        if self.kind == "exact":
            return same_bits
        found = {"max": largest, "rms": relative, "bits": bits, "step": 0.0}[self.kind]
        return found <= self.value * (1 + _SLACK)


@dataclass(frozen=True)
class Plan:
    """`exponent`: the file is exact; otherwise `step` with `quantiser`. `taken`: latents that models are fitted to.

    `quick`: fewer models are tried, which is enough to estimate.
    """

    mean: Floats
    forward: Floats | None
    step: float
    exponent: int | None
    element: str
    packing: str
    whole: float  # how many times `taken` all latents are
    taken: tuple[torch.Tensor, ...]
    quick: bool = False

    @property
    def quantiser(self) -> Quantiser:
        return Quantiser(self.mean, self.forward, self.step)

    def integers(self) -> list[IntArray]:
        """Return the first plane of the sampled latents."""
        if self.exponent is None:
            return [self.quantiser(frames.float().numpy()) for frames in self.taken]
        return [planes[0] for planes in self._planes(self.exponent)]

    def _planes(self, exponent: int) -> Iterator[list[IntArray]]:
        import torch

        kind = (torch.int16, np.uint16) if exact.WIDTH[self.element] == 16 else (torch.int32, np.uint32)
        for frames in self.taken:
            patterns = frames.contiguous().view(kind[0]).numpy().view(kind[1])
            yield exact.split(patterns, self.element, exponent)

    def packed_bytes(self) -> int:
        """Estimate the cost of an exact file's planes with packing zstd."""
        total = 0
        for plane in (plane for planes in self._planes(self.exponent or 0) for plane in planes):
            total += len(zstandard.ZstdCompressor(level=3).compress(_as_packed(plane)))
            total += 2 * int(np.count_nonzero(np.abs(plane.astype(np.int32)) > 127))
        return total

    @cached_property
    def _fitted(self) -> tuple[FieldModel | None, bytes, float]:
        """Return the model, its bytes, and the bits of a value without them."""
        clips = self.integers()
        count = sum(clip.size for clip in clips)
        if self.packing != "field":
            compressor = zstandard.ZstdCompressor(level=LEVELS[self.packing])
            packed = sum(len(compressor.compress(_as_packed(clip))) for clip in clips)
            return None, b"", 8 * packed / count
        found = []
        lasting = max(map(len, clips)) > 1
        variants = [(temporal, shared) for temporal in (lasting, False) for shared in (FULL, LEAN)]
        if self.quick or self.whole * count > 4e6:
            variants = variants[:1] if self.quick else variants[::2]
        for temporal, shared in dict.fromkeys(variants):
            model, bits = fit(clips, temporal, shared)
            data = pack_model(model)
            found.append((bits * self.whole + 8 * len(data), model, data, bits / count))
        _, model, data, bits = min(found, key=lambda entry: entry[0])
        return model, data, bits

    @property
    def model(self) -> FieldModel | None:
        return self._fitted[0]

    @property
    def coding(self) -> bytes:
        return self._fitted[1]

    def bits(self, values: int) -> float:
        """Return the estimated bits a value, for `values` values in total."""
        return self._fitted[2] + 8 * (len(self.coding) + 400) / values


def _as_packed(clip: IntArray) -> bytes:
    return np.clip(clip, -128, 127).astype(np.int8).tobytes()


def first_plan(
    bound: Bound,
    statistics: Statistics,
    forward: Floats | None,
    taken: list[torch.Tensor],
    element: str,
    packing: str,
    values: int,
) -> Plan:
    """Return a plan that is expected to hold `bound`; that is measured later."""
    share = values / max(1, sum(frames.numel() for frames in taken))
    size = statistics.rms if statistics.finite and statistics.rms > 0 else 1.0
    plan = Plan(statistics.mean, forward, 1.0, None, element, packing, share, tuple(taken))
    if bound.kind == "exact":
        exponent = int(np.clip(np.round(np.log2(size)) - _FINE, -140, 100))
        # without prediction a coarse step of about an exponent is often better
        steps = range(exponent, exponent + _FINE + 3) if packing != "field" else (exponent,)
        return min((_with(plan, 1.0, e) for e in steps), key=lambda p: p.packed_bytes() if len(steps) > 1 else 0)
    if bound.kind == "step":
        return _with(plan, bound.value)
    if bound.kind == "max":
        return _with(plan, _found(lambda step: _errors(_with(plan, step))[1] - bound.value, 2 * bound.value))
    if bound.kind == "rms":
        wanted = bound.value
        return _with(plan, _found(lambda step: _errors(_with(plan, step))[0] - wanted, size * wanted * np.sqrt(12)))
    quick = replace(plan, taken=tuple(_a_part(plan.taken)), quick=True)
    step = size * 2.0 ** (2 - min(bound.value, 14))
    for _ in range(5):  # an octave of the step is about a bit
        step *= 2.0 ** min(_with(quick, step).bits(values) - bound.value, _OCTAVES)
    return _with(plan, step)


def _with(plan: Plan, step: float, exponent: int | None = None) -> Plan:
    return replace(plan, step=float(step), exponent=exponent)


def _a_part(taken: tuple[torch.Tensor, ...]) -> Iterator[torch.Tensor]:
    """Take about a quarter of a million values, enough to estimate the cost of a value."""
    left = 1 << 18
    for frames in taken:
        part = frames[: max(8, left // frames[0].numel())]
        yield part
        left -= part.numel()
        if left <= 0:
            return


def _found(excess: Callable[[float], float], guess: float, steps: int = 12) -> float:
    """Return approximately the largest step for which `excess` is not positive, by bisection of its octave."""
    low = high = guess
    for _ in range(40):
        if excess(low) <= 0:
            break
        low, high = low / 2, low
    else:
        raise UsageError("that bound cannot be held — allow a larger error or more bits, or use --lossless")
    while high <= low and high < guess * 2**20:
        high = 2 * low
        if excess(high) <= 0:
            low = high
    for _ in range(steps):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
    return low


def _errors(plan: Plan) -> tuple[float, float]:
    """Return RMS error over RMS of the values, and the largest error, on the sampled latents; both include rounding to
    the element type."""
    import torch

    element = getattr(torch, plan.element)
    inverse = None if plan.forward is None else np.linalg.inv(plan.forward)
    squares = energy = largest = 0.0
    for frames, values in zip(plan.taken, plan.integers(), strict=True):
        flat = values.reshape(*values.shape[:2], -1) * plan.step
        back = (flat if inverse is None else inverse @ flat) + plan.mean[:, None]
        rounded = torch.from_numpy(back.reshape(values.shape)).to(element).double()
        error = rounded - frames.double()
        squares += float((error**2).sum())
        largest = max(largest, float(error.abs().max()))
        energy += float((frames.double() ** 2).sum())
    return float(np.sqrt(squares / energy)) if energy else 0.0, largest


def next_step(bound: Bound, step: float, relative: float, largest: float, bits: float) -> float:
    """Return a step with a smaller error, or fewer bits, than `step` gave."""
    if bound.kind == "bits":
        return step * float(2 ** min(bits - bound.value + 0.01, _OCTAVES))
    found = relative if bound.kind == "rms" else largest
    return step * max(0.5, min(0.99, 0.998 * bound.value / found))
