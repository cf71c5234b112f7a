"""Where a sound is heard: vectors of signs, compared by the share that agrees."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from lvc.features.sound import SIZE

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

QUERY_SPACING = Fraction(1, 16)
"""Seconds between the vectors of a query. Stored ones are a second apart, but sound changes faster."""
FASTEST = 6
"""Percent by which the speed may differ from 1."""
SPEED_COST = 0.1
"""The penalty on the score, in hundredths, for each percent by which the speed differs from 1, the likeliest."""
STEP = float(QUERY_SPACING)
LONGEST = 30.0
"""Seconds of a query that are compared: of a longer one, its middle."""
LEAST_SHARE = 0.6
"""The least overlap, as a share of the possible one. With less, the score counts the rest as disagreeing."""
_VOTING = 16
"""Seconds of a query, evenly spaced, whose vectors vote for files."""
_BITS = 8 * SIZE
_SHORT = 8.0  # seconds over which an error of 1 % in speed shifts little


@dataclass(frozen=True)
class Sounds:
    """Vectors uint8 [N, 32] at `times` float64 [N], seconds from the first frame; `seconds`: the duration."""

    times: Floats
    vectors: npt.NDArray[np.uint8]
    seconds: float

    @property
    def words(self) -> Words:
        """The vectors as uint64 [N,4]."""
        return np.ascontiguousarray(self.vectors).view(np.uint64)

    def heard(self) -> Sounds:
        """Drop silence."""
        kept = self.vectors.any(1)
        return Sounds(self.times[kept], self.vectors[kept], self.seconds)

    def middle(self, most: float = LONGEST) -> Sounds:
        """The middle `most` seconds."""
        if self.seconds <= most:
            return self
        start = (self.seconds - most) / 2
        inside = (self.times >= start) & (self.times < start + most)
        return Sounds(self.times[inside], self.vectors[inside], most)


@dataclass(frozen=True)
class Place:
    """The query is heard from `start` to `end` (seconds), `speed` times as fast. `score` is 1 if all signs agree, and
    about 0 for unrelated sound."""

    score: float
    start: float
    end: float
    speed: float


def agreement(one: Words, other: Words) -> npt.NDArray[np.float32]:
    """uint64 [Q, 4], [N, 4] → float32 [Q, N]: 1 if all signs agree, 0 if half of them do."""
    differing = np.zeros((len(one), len(other)), np.uint16)
    for a, b in zip(one.T, other.T, strict=True):
        differing += np.bitwise_count(a[:, None] ^ b[None])
    result: npt.NDArray[np.float32] = 1 - differing.astype(np.float32) * (2 / _BITS)
    return result


def voters(asked: Sounds) -> Words:
    """The vectors of a query that vote for files, in runs of whole seconds: one of 16 lies close to a stored one."""
    words, seconds = asked.words, np.floor(asked.times)
    different = np.unique(seconds)
    if len(different) > _VOTING:
        chosen = different[np.linspace(0, len(different) - 1, _VOTING).round().astype(int)]
        words = words[np.isin(seconds, chosen)]
    return words


def best_of_files(asked: Sounds, words: Words, begins: npt.NDArray[np.int64]) -> Floats:
    """Votes for each of F files, whose vectors are rows `begins[i]` to `begins[i + 1]` of `words`: the sum over the
    seconds of the query of the best agreement of any of its vectors with any of the file's."""
    votes = np.zeros(len(begins) - 1)
    filled = np.flatnonzero(np.diff(begins))
    if not len(filled) or not len(asked.times):
        return votes
    given = voters(asked)
    for first in range(0, len(given), 16):
        best = np.full(len(filled), -1.0)
        for vector in given[first : first + 16]:
            row = agreement(vector[None], words)[0]
            np.maximum(best, np.maximum.reduceat(row, begins[filled]), out=best)
        votes[filled] += best.clip(0)
    return votes


def speeds_of(seconds: float) -> list[float]:
    """Candidate speeds for a query, 1 first; the longer the query, the finer the steps."""
    step = 2 if seconds <= _SHORT else 1
    return [1 + percent / 100 for percent in sorted(range(-FASTEST, FASTEST + 1, step), key=abs)]


def place_in(asked: Sounds, file: Sounds) -> Place | None:
    """Find the best place of a query in a file, both without silence. `None` if either has no sound."""
    if not len(asked.times) or not len(file.times):
        return None
    same = agreement(asked.words, file.words)
    possible = min(len(file.times), asked.times[-1] - asked.times[0] + 1)
    best, most = None, -np.inf
    rows = np.arange(len(file.times))[None]
    for speed in speeds_of(asked.seconds):
        first, last = file.times[0] - speed * asked.times[-1], file.times[-1] - speed * asked.times[0]
        shifts = np.arange(np.floor(first / STEP), np.ceil(last / STEP) + 1) * STEP
        at = (file.times[None] - shifts[:, None]) / speed  # the query's times at the file's vectors
        nearest = np.searchsorted(asked.times, at - STEP / 2).clip(0, len(asked.times) - 1)
        inside = np.abs(asked.times[nearest] - at) <= STEP
        scores = (same[nearest, rows] * inside).sum(1) / np.maximum(inside.sum(1), LEAST_SHARE * possible)
        chosen = int(scores.argmax())
        worth = float(scores[chosen]) - SPEED_COST * abs(speed - 1)
        if worth > most:
            start = float(shifts[chosen] + speed * asked.times[0])
            end = min(start + speed * (asked.seconds - float(asked.times[0])), max(file.seconds, start))
            best, most = Place(float(scores[chosen]), max(0.0, start), end, speed), worth
    return best
