"""`lvc adapt`: a delta that makes a model of lvc's own codec better at one camera's footage.

The footage is coded with the model as it is. Of what the decoder's program `predicted` then computes, samples are kept:
prediction, latents, and what the prediction misses. Biases of the layers behind the latents are tuned on them with the
engine's integers (`synthesis`). Entropy coding, motion, key frames and analysis stay as they are
(decision 011).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..codec import encode
from ..codec import frames as coding
from ..codec.payload import level_of
from ..codec.settings import EncodeSettings
from ..engine import planes
from ..errors import MediaError, UnsupportedError, UsageError
from ..files.encode import seconds_of
from ..media import Frame, MediaReader
from ..models import store
from ..models.delta import changed, write_delta
from ..models.load import Model, model_of_bytes
from ..output import about
from ..threads import own_threads
from .settings import AdaptSettings
from .synthesis import Synthesis

QUALITIES = 15.0, 30.0, 45.0, 60.0, 75.0
SECONDS = 4.0
"""Of an excerpt of footage, coded at one quality."""
READING = 0.4
"""Part of the time that footage is coded for."""
SIDE, EDGE = 24, 3
"""Rows and columns of a sample, at most, in 16x16 blocks. So many at an edge within the picture lack neighbours that
change them, and do not count."""
MOST = 300
"""Samples that are kept: 1.5 MB each."""
SHARE = 1.0, 1.0, 0.7, 0.4, 0.25, 0.2
"""Of the frames of each place in the pyramid that give a sample: others are predicted from the first ones."""
BATCH, TRIAL = 4, 8
"""Samples of a step; every eighth sample is kept for judging."""
RATE, WARM_UP = 0.006, 10
"""Learning rate, in units of a layer's outputs, and the number of warm-up steps in which it rises to that."""
FLOOR = 300.0
"""Bits below which a sample's error counts for less."""
LUMA, SOFT, REPORT = 0.75, 0.1, 8.0

Tell = Callable[..., object]


@dataclass(frozen=True)
class Sample:
    """Of a predicted frame: patches of the prediction, of the difference of both predictions and of what the prediction
    misses, int16 `[2·rows,2·columns,96]`; the latents' values, int16 `[rows,columns,channels]`; which 16x16 blocks
    count, bool; the row of the tables; the level."""

    prediction: np.ndarray
    difference: np.ndarray
    missed: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    row: int
    level: float


class Collector(coding.FrameEncoder):
    """An encoder that keeps samples of what its decoder sees, by the frame's time. Frames may be coded side by side."""

    def __init__(
        self, model: Model, height: int, width: int, kept: list[tuple[int, Sample]], seed: tuple[int, int]
    ) -> None:
        super().__init__(model, height, width)
        self._kept, self._seed = kept, seed

    def predicted(self, time: int, refs: Any, place: int, quality: int, source: Any, *more: Any) -> Any:
        self._local.now = time, place, quality, source
        return super().predicted(time, refs, place, quality, source, *more)

    def _residual(
        self, prediction: Any, difference: Any, row: int, skip: Any, wanted: Any, coder: Any, **given: Any
    ) -> Any:
        made, values = super()._residual(prediction, difference, row, skip, wanted, coder, **given)
        time, place, quality, source = self._local.now
        rng = np.random.default_rng((*self._seed, time))
        if rng.random() < SHARE[min(place, len(SHARE) - 1)]:
            luma, chroma = source
            missed = planes.to_patches(luma, chroma, coding.OFFSET) - prediction
            ys, xs = np.nonzero(wanted)
            k = int(rng.integers(len(ys)))
            rows, columns = (_around(int(at), whole // 2) for at, whole in zip((ys[k], xs[k]), self.size, strict=True))
            blocks, patches = np.s_[rows, columns], np.s_[_doubled(rows), _doubled(columns)]
            counts = wanted.copy()
            for axis, part in enumerate((rows, columns)):
                counts = np.moveaxis(counts, axis, 0)
                counts[: part.start + EDGE if part.start else 0] = False
                counts[part.stop - EDGE if part.stop < len(counts) else len(counts) :] = False
                counts = np.moveaxis(counts, 0, axis)
            sample = Sample(
                prediction[patches].copy(), difference[patches].copy(), missed[patches].copy(), values[blocks].copy(),
                counts[blocks].copy(), row, level_of(quality),
            )  # fmt: skip
            self._kept.append((time, sample))
        return made, values


def _around(at: int, whole: int) -> slice:
    """Of `whole` blocks in a row, a sample's, with the one at `at` in its middle if there is room."""
    first = min(max(at - SIDE // 2, 0), max(0, whole - SIDE))
    return slice(first, min(whole, first + SIDE))


def _doubled(part: slice) -> slice:
    return slice(2 * part.start, 2 * part.stop)


def adapt(settings: AdaptSettings, tell: Tell) -> None:
    """Tune a delta and write it. `tell` is given the name of an event and its fields.

    Raises:
        MediaError: Footage cannot be read, or nothing is gained on it.
        UnsupportedError: The model is an auto-encoder, cannot encode, or is a delta itself.
        UsageError: There is no such model, or the name is too long.
    """
    name = settings.name or settings.out.stem
    if len(name) > store.MAX_NAME:
        raise UsageError(f"the name has {len(name)} letters — give one of at most {store.MAX_NAME}")
    file = store.resolve(settings.model)
    if file.family != store.FAMILIES[0]:
        raise UnsupportedError(f"{file.path.name} is of the family {file.family} — lvc adapt is for lvc's own codec")
    if file.base is not None:
        raise UnsupportedError(f"{file.path.name} is a delta — adapt its base again, with more footage")
    base = file.path.read_bytes()
    model = model_of_bytes(base, file.name)
    if not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can only decode — give the whole model")
    began = time.monotonic()
    tell("stage", phase="coding footage", minutes_left=settings.minutes)
    samples = _collected(settings, model, lambda: time.monotonic() - began)
    trial, rest = samples[::TRIAL], [s for i, s in enumerate(samples) if i % TRIAL]
    if len(rest) < BATCH:
        raise MediaError("too little changes in this footage to adapt the model to — give more of it")
    with own_threads():
        torch.set_num_threads(settings.threads or os.cpu_count() or 1)
        synthesis = Synthesis(model.programs.programs["predicted"])
        before = _judged(synthesis, trial)
        _tune(synthesis, rest, settings, began, tell)
        changes = synthesis.changes()
        after = _judged(synthesis, trial)
    if after >= before:
        raise MediaError("adapting gains nothing on this footage — use the model as it is, or give more footage")
    model_of_bytes(changed(base, changes, name), name)  # which checks that no sum can overflow
    said = {"made": {"samples": len(samples), "error": round(after / before - 1, 4)}}
    write_delta(settings.out, name, base, changes, said)
    tell("done", output=str(settings.out), seconds=round(time.monotonic() - began, 1), samples=len(samples),
         error=round(100 * (after / before - 1), 2), bytes=settings.out.stat().st_size)  # fmt: skip


def _collected(settings: AdaptSettings, model: Model, spent: Callable[[], float]) -> list[Sample]:
    """Samples of excerpts spread over the footage, each coded at one quality, until there are enough or the time for
    reading is over; of one excerpt at least."""
    samples: list[Sample] = []
    excerpts = [(path, start) for path in settings.videos for start in _starts(path)]
    order = np.random.default_rng(settings.seed).permutation(len(excerpts) * len(QUALITIES))
    for number, at in enumerate(order.tolist()):
        path, start = excerpts[at % len(excerpts)]
        with about(str(path)), _opened(path, start, SECONDS) as reader:
            frames = (item for item in reader if isinstance(item, Frame))
            made = EncodeSettings(quality=QUALITIES[at // len(excerpts)], threads=1)
            found: list[tuple[int, Sample]] = []
            coder = lambda m, h, w, found=found, seed=(settings.seed, number): Collector(m, h, w, found, seed)  # noqa: E731
            for _ in encode(frames, reader.video, model, made, coder):
                pass
        samples += [sample for _, sample in sorted(found, key=lambda pair: pair[0])]
        over = settings.max_steps is None and spent() > READING * settings.minutes * 60
        if over or len(samples) >= MOST or number + 1 == settings.max_steps:
            break
    return samples[:MOST]


def _opened(path: Path, start: float | None = None, duration: float | None = None) -> MediaReader:
    return MediaReader(path, start=start, duration=duration, audio="none", subtitles="none", bit_depth=8)


def _starts(path: Path) -> list[float]:
    """Of a video's excerpts, in seconds. Raises `MediaError`."""
    with about(str(path)), _opened(path) as reader:
        seconds = seconds_of(reader)
    return [0.0] if seconds is None else [SECONDS * k for k in range(max(1, int(seconds / SECONDS)))]


def _tune(synthesis: Synthesis, samples: list[Sample], settings: AdaptSettings, began: float, tell: Tell) -> None:
    rng = np.random.default_rng(settings.seed)
    optimizer = torch.optim.Adam(synthesis.parameters.values(), betas=(0.9, 0.99))
    shapes = {s.counts.shape: [t for t in samples if t.counts.shape == s.counts.shape] for s in samples}
    by_shape = list(shapes.values())  # of videos of different sizes: those of a batch are alike
    share = np.array([len(alike) for alike in by_shape]) / len(samples)
    start, length = time.monotonic() - began, settings.minutes * 60
    said, steps = time.monotonic(), 0
    tell("stage", phase="adapting", minutes_left=round((length - start) / 60, 1))
    while True:
        spent = time.monotonic() - began
        done = (spent - start) / max(length - start, 1e-9) if settings.max_steps is None else steps / settings.max_steps
        if done >= 1:
            return
        factor = min(1.0, (steps + 1) / WARM_UP) * min(1.0, 2 - 1.9 * done)
        optimizer.param_groups[0]["lr"] = RATE * factor
        alike = by_shape[int(rng.choice(len(by_shape), p=share))]
        batch = [alike[k] for k in rng.choice(len(alike), min(BATCH, len(alike)), replace=False)]
        cost, alone = _costs(synthesis, batch, soft=True)
        loss = (cost / (alone + FLOOR)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        if (now := time.monotonic()) - said > REPORT:
            said = now
            left = (length - spent) / 60 if settings.max_steps is None else None
            tell("step", step=steps, loss=round(float(loss.detach()), 4), minutes_left=left and round(left, 1))


def _judged(synthesis: Synthesis, samples: list[Sample]) -> float:
    """The mean of what samples cost beside their predictions alone."""
    with torch.no_grad():
        parts = [_costs(synthesis, [sample]) for sample in samples]
    return float(torch.cat([cost / (alone + FLOOR) for cost, alone in parts]).mean())


def _costs(synthesis: Synthesis, samples: list[Sample], soft: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """What samples' errors are worth in bits, and those of their predictions alone: [batch] each. A block without
    symbols is copied where the networks save less than the flag costs: encoders choose. `soft`: with a choice that has
    gradients."""
    prediction, difference, missed, values, counts = (
        torch.from_numpy(np.stack([getattr(s, name) for s in samples]).astype(np.float32))
        for name in ("prediction", "difference", "missed", "values", "counts")
    )
    residual = synthesis.run(values, [s.row for s in samples], prediction, difference)
    worth = torch.tensor([2.0**s.level / coding.SCALE**2 for s in samples])[:, None, None]
    changed, copied = _errors(missed - residual / 8) * worth, _errors(missed) * worth
    free = changed + coding.COPY_BITS
    if soft:
        scale = SOFT * copied + 3
        chosen = -scale * torch.logsumexp(torch.stack([-free / scale, -copied / scale]), 0)
    else:
        chosen = torch.minimum(free, copied)
    coded = (values != 0).any(-1)
    cost, alone = torch.where(coded, changed, chosen) * counts, copied * counts
    return cost.sum((1, 2)), alone.sum((1, 2))


def _errors(patches: torch.Tensor) -> torch.Tensor:
    """Weighted squared errors of 16x16 blocks, [batch,rows/2,columns/2]."""
    e = patches.square()
    e = LUMA * e[..., :64].sum(-1) + e[..., 64:].sum(-1)
    b, h, w = e.shape
    return e.reshape(b, h // 2, 2, w // 2, 2).sum((2, 4))
