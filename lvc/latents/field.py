"""Packing `field`: a plane of integers predicted from its neighbours, the frame before and the channels before.

All arithmetic is on integers (kept in doubles below 2^53 where that is faster), so any machine can read what another
one wrote. `formats/lvz.md`, section 8.4, defines it; names are those of its tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.entropy.coder import Coding, uniform
from lvc.latents.tables import ESCAPE, REACH, SCALES, low_bits, scale_of, table

IntArray = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

PASSES = 7
UNIT = 8  # predictions are in eighths of a symbol
_LARGEST = 1 << 19  # the largest prediction, in eighths
_MOST_ACROSS = float(1 << 32)


@dataclass(frozen=True)
class PassWeights:
    """Weights of one pass in one situation. All int64 `[channels]`; `mean` and `size` have one row per feature.

    `mean`: first pair of neighbours, second pair, frame before, its neighbours, constant. `size`: constant, misses of
    the neighbours, misses of the channels before, miss of the frame before.
    """

    mean: IntArray
    size: IntArray


MEAN_FEATURES = 5
SIZE_FEATURES = 4


@dataclass(frozen=True)
class FieldModel:
    """All parameters of packing `field` for a plane.

    `temporal`: frames are predicted from the one before in their clip. `group`: channels coded together.
    `sets[situation][pass]` with situation 0 for a frame without a frame before, 1 for others (only if `temporal`).
    `cross` `[channels, channels]`: weights of the misses of earlier groups, 0 elsewhere. `norm` `[channels]`: weights
    in the activity.
    """

    temporal: bool
    group: int
    sets: tuple[tuple[PassWeights, ...], ...]
    cross: IntArray
    norm: IntArray

    @property
    def channels(self) -> int:
        return len(self.norm)


@dataclass(frozen=True)
class Places:
    """One pass: flat places `[n]` and, but for the first pass, the flat places `[4, n]` of their neighbours.

    A missing neighbour is the place after the last, which holds 0.
    """

    at: IntArray
    near: IntArray | None


@lru_cache(maxsize=64)
def passes(rows: int, columns: int) -> tuple[Places, ...]:
    """Return the seven passes over a plane of this size, coarse to fine, without empty ones."""
    row, column = (a.ravel() for a in np.mgrid[0:rows, 0:columns])
    found = [Places(np.flatnonzero((row % 8 == 0) & (column % 8 == 0)), None)]
    for step in (4, 2, 1):
        on = (row % step == 0) & (column % step == 0)
        odd_row, odd_column = row // step % 2 == 1, column // step % 2 == 1
        diagonal = ((-step, -step), (step, step), (-step, step), (step, -step))
        straight = ((-step, 0), (step, 0), (0, -step), (0, step))
        for chosen, offsets in ((odd_row & odd_column, diagonal), (odd_row ^ odd_column, straight)):
            at = np.flatnonzero(on & chosen)
            near = [_moved(row[at], dy, rows) * columns + _moved(column[at], dx, columns) for dy, dx in offsets]
            gone = [(_moved(row[at], dy, rows) < 0) | (_moved(column[at], dx, columns) < 0) for dy, dx in offsets]
            found.append(Places(at, np.where(np.array(gone), rows * columns, np.array(near))))
    return tuple(found)


def _moved(place: IntArray, by: int, size: int) -> IntArray:
    """`place` + `by`, or the opposite if that is outside, or −1 if both are."""
    there, back = place + by, place - by
    inside = (there >= 0) & (there < size)
    return np.where(inside, there, np.where((back >= 0) & (back < size), back, -1))


Visit = Callable[["Step"], tuple[IntArray, Floats]]
"""Codes one group of channels in one pass: the values and the misses, both `[channels of the group, n]`."""


@dataclass
class Step:
    """The data available when a group of channels is coded in a pass; shapes `[…, n]`, in eighths of a symbol."""

    situation: int
    number: int  # of the pass
    start: int  # of the group's channels
    stop: int
    frames: slice
    places: Places
    own: Floats  # prediction from the channel's own past and surroundings, [stop - start, n]
    before: Floats  # values minus own predictions of the earlier channels, [start, n]
    size: Floats  # features of the expected size, [4, stop - start, n]
    mean: Floats  # features of `own`, [5, stop - start, n]


def walk(model: FieldModel, frames: int, rows: int, columns: int, visit: Visit) -> IntArray:
    """Return values `[frames, channels, rows, columns]` (int64) from `visit`, in the order of the format."""
    channels = model.channels
    values = np.zeros((channels, frames, rows * columns + 1), np.float64)
    misses = np.zeros_like(values)
    jobs = [(1 if i else 0, slice(i, i + 1)) for i in range(frames)] if model.temporal else [(0, slice(0, frames))]
    for situation, chosen in jobs:
        for number, places in enumerate(passes(rows, columns)):
            if not places.at.size:
                continue
            mean, size = _features(values, misses, chosen, situation, places)
            w = model.sets[situation][number]
            own = floored(np.einsum("kcn,kc->cn", mean, w.mean.astype(np.float64)), 8)
            known = np.zeros_like(own)
            across = np.zeros(own.shape[1])
            for start in range(0, channels, model.group):
                stop = min(start + model.group, channels)
                size[2, start:stop] = across
                step = Step(
                    situation, number, start, stop, chosen, places, own[start:stop], known[:start],
                    size[:, start:stop], mean[:, start:stop],
                )  # fmt: skip
                got, missed = visit(step)
                known[start:stop] = UNIT * got - own[start:stop]
                across = np.minimum(across + model.norm[start:stop].astype(np.float64) @ np.abs(missed), _MOST_ACROSS)
                shape = (stop - start, chosen.stop - chosen.start, len(places.at))
                values[start:stop, chosen, places.at] = got.reshape(shape)
                misses[start:stop, chosen, places.at] = missed.reshape(shape)
    result: IntArray = values[..., :-1].reshape(channels, frames, rows, columns).swapaxes(0, 1).astype(np.int64)
    return result


def floored(sums: Floats, shift: int) -> Floats:
    """⌊(sum + half) / 2^shift⌋: exact on doubles that hold integers."""
    return np.floor((sums + (1 << (shift - 1))) * (1.0 / (1 << shift)))


def _features(values: Floats, misses: Floats, chosen: slice, situation: int, places: Places) -> tuple[Floats, Floats]:
    """Return features of mean `[5, channels, n]` and expected size `[4, channels, n]`; n counts frame after frame."""
    channels, n = len(values), (chosen.stop - chosen.start) * len(places.at)
    mean = np.zeros((MEAN_FEATURES, channels, n))
    size = np.zeros((SIZE_FEATURES, channels, n))
    now = values[:, chosen]
    if places.near is not None:
        near = [now[..., where] for where in places.near]
        mean[0] = UNIT * (near[0] + near[1]).reshape(channels, n)
        mean[1] = UNIT * (near[2] + near[3]).reshape(channels, n)
        size[1] = np.abs(misses[:, chosen][..., places.near]).sum(axis=-2).reshape(channels, n)
    if situation:
        last = values[:, chosen.start - 1 : chosen.start]
        mean[2] = UNIT * last[..., places.at].reshape(channels, n)
        if places.near is not None:
            mean[3] = UNIT * last[..., places.near].sum(axis=-2).reshape(channels, n)
        size[3] = np.abs(misses[:, chosen.start - 1 : chosen.start][..., places.at]).reshape(channels, n)
    mean[4] = 256.0
    size[0] = 256.0
    return mean, size


def predicted(model: FieldModel, step: Step) -> tuple[IntArray, IntArray]:
    """Return predictions in eighths and scales of one group, int64 `[channels, n]`."""
    w = model.sets[step.situation][step.number]
    cross = model.cross[step.start : step.stop, : step.start].astype(np.float64)
    mean = step.own + floored(cross @ step.before, 8) if step.start else step.own
    size = w.size[:, step.start : step.stop].astype(np.float64)
    expected = floored(np.einsum("kcn,kc->cn", step.size[[0, 1, 3]], size[[0, 1, 3]]), 8)
    expected += floored(step.size[2] * size[2][:, None], 16)
    return np.clip(mean, -_LARGEST, _LARGEST).astype(np.int64), scale_of(np.clip(expected, 0, 1 << 40))


def code(coding: Coding, model: FieldModel, shape: tuple[int, int, int, int], values: IntArray | None) -> IntArray:
    """Write `values` int `[frames, channels, rows, columns]`, or read them (None). int16 range."""
    frames, _, rows, columns = shape
    flat = None if values is None else values.astype(np.int64).swapaxes(0, 1).reshape(model.channels, frames, -1)

    def visit(step: Step) -> tuple[IntArray, Floats]:
        mean, scale = predicted(model, step)
        wanted = None
        if flat is not None:
            wanted = flat[step.start : step.stop, step.frames][..., step.places.at].reshape(mean.shape)
        got = _code_run(coding, mean.ravel(), scale.ravel(), None if wanted is None else wanted.ravel())
        got = got.reshape(mean.shape)
        return got, (UNIT * got - mean).astype(np.float64)

    return walk(model, frames, rows, columns, visit)


def split(mean: IntArray, scale: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return centre, eighth (−4..3) and number of low bits for predictions and scales."""
    low = low_bits(scale)
    moved = mean - 4 * ((1 << low) - 1)
    centre = (moved + (4 << low)) >> (3 + low)
    return centre, (moved >> low) - UNIT * centre, low


def _code_run(coding: Coding, mean: IntArray, scale: IntArray, wanted: IntArray | None) -> IntArray:
    """One run of values: symbols by ascending table, then the escaped values, then the low bits."""
    centre, eighth, low = split(mean, scale)
    tables = 8 * np.minimum(scale - 4 * low, SCALES - 1) + eighth + 4
    order = np.argsort(tables, kind="stable")
    ids, starts = np.unique(tables[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    symbols = np.zeros(len(mean), np.int64)
    if wanted is not None:
        offset = (wanted >> low) - centre
        symbols = np.where(np.abs(offset) > REACH, ESCAPE, offset + REACH)
    for number, start, end in zip(ids.tolist(), starts.tolist(), ends, strict=True):
        at = order[start:end]
        given = None if wanted is None else symbols[at]
        symbols[at] = coding.code(given, end - start, table(number // 8, number % 8 - 4))
    escaped = symbols == ESCAPE
    values: IntArray = (centre + symbols - REACH) << low
    for count in np.unique(low[~escaped]).tolist():
        if count:
            at = np.flatnonzero((low == count) & ~escaped)
            given = None if wanted is None else wanted[at] & ((1 << count) - 1)
            values[at] += coding.code(given, len(at), uniform(1 << count))
    if escaped.any():
        given = None if wanted is None else wanted[escaped] + 32768
        values[escaped] = coding.code(given, int(escaped.sum()), uniform(1 << 16)).astype(np.int64) - 32768
    return np.clip(values, -32768, 32767)
