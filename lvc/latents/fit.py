"""Finds a `FieldModel` for given integers: least squares on the features, then scales by their cost.

Floating point is allowed here, because only the resulting integer weights are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.latents import field as f
from lvc.latents.tables import ESCAPE, REACH, SCALES, bits, scale_of

IntArray = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

FULL = tuple(range(f.PASSES))
LEAN = (0, 1, 2, 1, 2, 1, 2)
"""Which passes share weights: none, or all of a kind, for files too small to carry more weights."""

GROUP = 4
_RIDGE = 1e-3
_ONE = 256.0  # weights are integers in this unit
_MOST = 32767
_FACTORS = (0.7, 0.85, 1.0, 1.15, 1.35)


def fit(
    clips: list[IntArray], temporal: bool, shared: tuple[int, ...] = FULL, group: int = GROUP
) -> tuple[f.FieldModel, float]:
    """Return a model for `clips`, each int `[frames, channels, rows, columns]`, and its estimated bits for all of
    them."""
    channels = clips[0].shape[1]
    model = zero_model(channels, temporal, channels)
    model = _with_means(model, clips, shared)
    model = _with_cross(replace(model, group=min(group, channels)), clips)
    return _with_sizes(model, clips, shared)


def zero_model(channels: int, temporal: bool, group: int) -> f.FieldModel:
    """Return a model that predicts 0 everywhere, with certainty."""
    mean, size = (np.zeros((rows, channels), np.int64) for rows in (f.MEAN_FEATURES, f.SIZE_FEATURES))
    sets = tuple((f.PassWeights(mean, size),) * f.PASSES for _ in range(1 + temporal))
    return f.FieldModel(temporal, group, sets, np.zeros((channels, channels), np.int64), np.zeros(channels, np.int64))


@dataclass
class _Run:
    """Observations of one pass over some frames, a list entry for each group of channels; the last axis of arrays is
    `n`."""

    values: list[Floats] = field(default_factory=list)
    features: list[Floats] = field(default_factory=list)
    own: list[Floats] = field(default_factory=list)
    predicted: list[Floats] = field(default_factory=list)


class _Watch:
    """Visit a clip with its true values and keep the observations, by situation and class of passes."""

    def __init__(self, model: f.FieldModel, clip: IntArray, shared: tuple[int, ...], sizes: bool) -> None:
        self.model, self.shared, self.sizes = model, shared, sizes
        self.flat = clip.astype(np.float64).swapaxes(0, 1).reshape(model.channels, len(clip), -1)
        self.runs: dict[tuple[int, int, int], _Run] = {}

    def __call__(self, step: f.Step) -> tuple[IntArray, Floats]:
        got = self.flat[step.start : step.stop, step.frames][..., step.places.at].reshape(step.own.shape)
        run = self.runs.setdefault((step.situation, step.number, step.frames.start), _Run())
        predicted = f.predicted(self.model, step)[0].astype(np.float64)
        run.values.append(got)
        run.features.append(np.array(step.size) if self.sizes else step.mean)
        run.own.append(step.own)
        run.predicted.append(predicted)
        return got, f.UNIT * got - predicted


def _watched(
    model: f.FieldModel, clips: list[IntArray], shared: tuple[int, ...], *, sizes: bool = False
) -> dict[tuple[int, int], list[_Run]]:
    """Return runs by (situation, class of passes)."""
    found: dict[tuple[int, int], list[_Run]] = {}
    for clip in clips:
        watch = _Watch(model, clip, shared, sizes)
        f.walk(model, len(clip), clip.shape[2], clip.shape[3], watch)
        for (situation, number, _), run in watch.runs.items():
            found.setdefault((situation, shared[number]), []).append(run)
    return found


def _joined(runs: list[_Run], name: str) -> Floats:
    """Join one array of all runs: channels on the last axis but one, places on the last."""
    return np.concatenate([np.concatenate(getattr(run, name), axis=-2) for run in runs], axis=-1)


def _with_means(model: f.FieldModel, clips: list[IntArray], shared: tuple[int, ...]) -> f.FieldModel:
    sets = [list(passes) for passes in model.sets]
    for (situation, kind), runs in _watched(model, clips, shared).items():
        features, values = _joined(runs, "features"), f.UNIT * _joined(runs, "values")
        square = np.einsum("icn,jcn->cij", features, features)
        found = _solve(square, np.einsum("icn,cn->ci", features, values), features.shape[2] * 0.25)
        mean = np.clip(np.round(found * _ONE), -_MOST, _MOST).astype(np.int64).T
        for number in (n for n in range(f.PASSES) if shared[n] == kind):
            sets[situation][number] = replace(sets[situation][number], mean=mean)
    return replace(model, sets=tuple(map(tuple, sets)))


def _solve(square: Floats, right: Floats, noise: float) -> Floats:
    """Ridge regression `[channels, features]`; features that never occur get weight 0."""
    diagonal = np.einsum("cii->ci", square)
    regular = square + (_RIDGE * diagonal + 1e-9 + noise)[:, :, None] * np.eye(square.shape[1])
    found: Floats = np.linalg.solve(regular, right[..., None])[..., 0]
    return np.where(diagonal > 0, found, 0.0)


def _with_cross(model: f.FieldModel, clips: list[IntArray]) -> f.FieldModel:
    """Return weights of the misses of earlier groups, the same for all passes."""
    channels = model.channels
    covariance, n = np.zeros((channels, channels)), 0
    for runs in _watched(replace(model, group=channels), clips, FULL).values():
        missed = f.UNIT * _joined(runs, "values") - _joined(runs, "own")
        covariance += missed @ missed.T
        n += missed.shape[1]
    cross = np.zeros((channels, channels), np.int64)
    for start in range(model.group, channels, model.group):
        stop = min(start + model.group, channels)
        inner = covariance[:start, :start]
        ridge = np.diag(_RIDGE * np.diag(inner) + 1e-9 + n * 0.25)
        found = np.linalg.solve(inner + ridge, covariance[:start, start:stop]).T
        cross[start:stop, :start] = np.clip(np.round(found * _ONE), -_MOST, _MOST)
    sizes = np.sqrt(np.diag(covariance) / max(n, 1))
    norm = np.clip(np.round(1024.0 / np.maximum(sizes, 0.25)), 1, 4096).astype(np.int64)
    return replace(model, cross=cross, norm=norm)


def _with_sizes(model: f.FieldModel, clips: list[IntArray], shared: tuple[int, ...]) -> tuple[f.FieldModel, float]:
    """Return weights of the expected size, and the bits that all values then cost."""
    sets = [list(passes) for passes in model.sets]
    total = 0.0
    for (situation, kind), runs in _watched(model, clips, shared, sizes=True).items():
        features, values, predicted = (_joined(runs, name) for name in ("features", "values", "predicted"))
        features[2] /= _ONE
        weights = _positive(features, 16.0 * np.abs(f.UNIT * values - predicted))
        best, chosen = np.full(model.channels, np.inf), np.zeros_like(weights)
        for factor in _FACTORS:
            scaled = np.clip(np.round(weights * factor * _ONE), 0, _MOST)
            cost = _cost(values, predicted, f.floored(np.einsum("kcn,ck->cn", features, scaled), 8))
            better = cost < best
            best = np.where(better, cost, best)
            chosen[better] = scaled[better]
        total += float(best.sum())
        size = chosen.astype(np.int64).T
        for number in (n for n in range(f.PASSES) if shared[n] == kind):
            sets[situation][number] = replace(sets[situation][number], size=size)
    return replace(model, sets=tuple(map(tuple, sets))), total


def _positive(features: Floats, target: Floats) -> Floats:
    """Least squares with weights that are not negative, `[channels, features]`: drop the worst, solve again."""
    square = np.einsum("icn,jcn->cij", features, features)
    right = np.einsum("icn,cn->ci", features, target)
    allowed = np.ones(right.shape, bool)
    found = np.zeros_like(right)
    for _ in range(right.shape[1]):
        found = _solve(square * allowed[:, :, None] * allowed[:, None, :], right * allowed, 0.0)
        below = np.flatnonzero(found.min(1) < 0)
        if not below.size:
            break
        allowed[below, found.argmin(1)[below]] = False
    weights: Floats = np.maximum(found, 0)
    return weights


def _cost(values: Floats, predicted: Floats, expected: Floats) -> Floats:
    """Bits of each channel, `[channels]`, at expected sizes in 128ths."""
    scale = scale_of(expected.astype(np.int64))
    centre, eighth, low = f.split(predicted.astype(np.int64), scale)
    offset = (values.astype(np.int64) >> low) - centre
    escaped = np.abs(offset) > REACH
    symbol = np.where(escaped, ESCAPE, offset + REACH)
    cost = bits()[np.minimum(scale - 4 * low, SCALES - 1), eighth + 4, symbol] + np.where(escaped, 16, low)
    total: Floats = cost.sum(1)
    return total
