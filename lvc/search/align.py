"""Align a query with a file: find the shift in time and the speed at which their vectors agree best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvc.features import unit
from lvc.search.sources import Moments

STEP = 0.25
"""Seconds between candidate shifts."""
SPEEDS = (1.0, 2.0, 0.5)
SPEED_COST = 0.03
"""The gain in mean cosine that another speed than 1 must bring."""
TIE = 0.1
"""Shifts whose cosine is this close to the best are compared by how the vectors change over time. This finds the place
in scenes with little motion, and in cropped copies, whose vectors all have the same offset."""
CHANGE_WEIGHT = 0.5
MOST = 64
"""The most moments of a query that are compared."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Places:
    """For Q moments at S shifts, all [Q,S]: the file's rows before and after that time, the weight of the later one for
    interpolation, and whether the time lies inside the file."""

    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    share: Matrix
    inside: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Alignment:
    """The query shows the file's `start` to `end` (seconds), `speed` times as fast; `score` is the mean cosine."""

    score: float
    start: float
    end: float
    speed: float


def thinned(moments: Moments, most: int = MOST) -> Moments:
    """Drop blank pictures, and keep at most `most` moments, evenly spaced."""
    kept = np.flatnonzero(moments.vectors.any(1))
    if len(kept) > most:
        kept = kept[np.linspace(0, len(kept) - 1, most).round().astype(int)]
    return Moments(moments.times[kept], moments.vectors[kept], moments.seconds, moments.stored)


def shifts_of(query: Moments, file: Moments, speed: float) -> npt.NDArray[np.float64]:
    """Candidate times in the file for the query's first moment: those that keep its middle inside the file."""
    half = speed * (query.times[-1] + query.times[0]) / 2
    first, last = file.times[0] - half, max(file.times[-1], file.seconds) - half
    return np.arange(np.floor(first / STEP), np.ceil(last / STEP) + 1) * STEP


def places(query: Moments, file: Moments, speed: float, shifts: npt.NDArray[np.float64]) -> Places:
    """Map each moment of the query to the file at each shift."""
    at = shifts[None] + speed * query.times[:, None]
    last = len(file.times) - 1
    after = np.searchsorted(file.times, at).clip(min(1, last), last)
    before = np.maximum(after - 1, 0)
    gap = np.maximum(file.times[after] - file.times[before], 1e-6)
    share = ((at - file.times[before]) / gap).clip(0, 1).astype(np.float32)
    inside = (at >= file.times[0] - STEP) & (at <= max(file.times[-1], file.seconds) + STEP)
    return Places(before, after, share, inside)


def sweep(similar: Matrix, places: Places) -> Matrix:
    """Cosines [Q,N] of query and file → cosines [Q,S] at each shift, 0 outside the file."""
    rows = np.arange(len(similar))[:, None]
    between = similar[rows, places.before] * (1 - places.share) + similar[rows, places.after] * places.share
    result: Matrix = between * places.inside
    return result


def agreement_of_change(query: Matrix, file: Matrix, places: Places, chosen: npt.NDArray[np.int64]) -> Matrix:
    """Unit vectors [Q,64] and [N,64] → for each chosen shift, the correlation of their deviations from the mean."""
    share = places.share[:, chosen, None]
    there = file[places.before[:, chosen]] * (1 - share) + file[places.after[:, chosen]] * share
    there = there - there.mean(0)
    here = (query - query.mean(0))[:, None]
    size = np.sqrt((there**2).sum((0, 2)) * (here**2).sum() + 1e-4)
    result: Matrix = (there * here).sum((0, 2)) / size
    return result


def align(query: Moments, file: Moments) -> Alignment | None:
    """Find the best alignment; `None` if either is blank throughout. `query` comes from `thinned`."""
    if not len(query.times) or not len(file.times):
        return None
    q, d = unit(query.vectors), unit(file.vectors)
    similar = q @ d.T
    best, most = None, -np.inf
    for speed in SPEEDS:
        shifts = shifts_of(query, file, speed)
        there = places(query, file, speed, shifts)
        scores = sweep(similar, there).mean(0)
        tied = np.flatnonzero(scores >= scores.max() - TIE)
        worth = scores[tied] + CHANGE_WEIGHT * agreement_of_change(q, d, there, tied)
        chosen = int(worth.argmax())
        value = float(worth[chosen]) - SPEED_COST * (speed != 1)
        if value > most:
            start = float(shifts[tied[chosen]] + speed * query.times[0])
            end = start + speed * max(float(query.times[-1] - query.times[0]), query.seconds)
            score = float(scores[tied[chosen]])
            best, most = Alignment(score, max(0.0, start), min(end, max(file.seconds, start)), speed), value
    return best
