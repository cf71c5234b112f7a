"""Tunes what a delta may change, and judges what that is worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..codec import EncodeSettings, encode
from ..codec import frames as coding
from ..codec.payload import quality_of
from ..media import Frame, VideoFormat
from ..models.load import Model
from .samples import Sample
from .synthesis import Synthesis

BATCH = 4
"""Samples of a step."""
RATE, WARM_UP = 0.006, 10
"""Of learning, in units of a layer's outputs; in so many steps it rises to that. At ten times as much, more is learnt
of the samples and less of other frames."""
FLOOR = 300.0
"""Bits below which a sample's error counts for less."""
LUMA, SOFT = 0.75, 0.1


def tune(
    synthesis: Synthesis,
    samples: Sequence[Sample],
    seed: int,
    share_done: Callable[[int], float],
    told: Callable[[int, torch.Tensor], object] | None = None,
    rate: float | None = None,
) -> None:
    """Lower what the samples cost. `share_done`: of the work, after so many steps; at 1 it ends. `told` hears every
    step and its loss. `rate`: of learning (None: `RATE`)."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(synthesis.parameters.values(), betas=(0.9, 0.99))
    shapes = {s.counts.shape: [t for t in samples if t.counts.shape == s.counts.shape] for s in samples}
    by_shape = list(shapes.values())  # of videos of different sizes: those of a batch are alike
    share = np.array([len(alike) for alike in by_shape]) / len(samples)
    steps = 0
    while (done := share_done(steps)) < 1:
        factor = min(1.0, (steps + 1) / WARM_UP) * min(1.0, 2 - 1.9 * done)
        optimizer.param_groups[0]["lr"] = (RATE if rate is None else rate) * factor
        alike = by_shape[int(rng.choice(len(by_shape), p=share))]
        batch = [alike[k] for k in rng.choice(len(alike), min(BATCH, len(alike)), replace=False)]
        cost, alone = costs(synthesis, batch, soft=True)
        loss = (cost / (alone + FLOOR)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        if told is not None:
            told(steps, loss.detach())


def judged(synthesis: Synthesis, samples: Iterable[Sample]) -> float:
    """The mean of what samples cost beside their predictions alone."""
    with torch.no_grad():
        parts = [costs(synthesis, [sample]) for sample in samples]
    return float(torch.cat([cost / (alone + FLOOR) for cost, alone in parts]).mean())


def costs(synthesis: Synthesis, samples: Sequence[Sample], soft: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
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


def film_cost(bits: float, errors: Iterable[float], settings: EncodeSettings) -> float:
    """What a film costs, in bits: its own, and what its frames' errors (`EncodeSettings.told_error`) are worth at the
    level that `settings` ask for."""
    return bits + coding.worth_of(quality_of(settings.level)) * math.fsum(errors)


def coded_cost(frames: Sequence[Frame], video: VideoFormat, model: Model, settings: EncodeSettings) -> float:
    """What frames cost (`film_cost`) when they are coded with a model."""
    errors: list[float] = []
    clips = encode(iter(frames), video, model, replace(settings, told_error=errors.append))
    return film_cost(sum(8 * len(clip.payload) for clip in clips), errors, settings)
