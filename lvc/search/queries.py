"""Queries: where something is shown or heard, what is similar, and what is the same footage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lvc.features import unit
from lvc.search.align import MOST, STEP, Alignment, align, places, sweep, thinned
from lvc.search.database import Collection
from lvc.search.hearing import Place, Sounds, best_of_files, place_in
from lvc.search.nearest import Nearest
from lvc.search.sources import Moments
from lvc.search.tagging import Tagged

Way = Literal["picture", "sound", "both"]

NEIGHBOURS = 300
"""Rows that each moment of a query votes for."""
SAME = 0.72
"""The least cosine of two moments of the same footage (docs/search.md gives the error rate)."""
STILL, LEAST_MOMENTS, SAME_STILL, SAME_PICTURE = 0.9, 3, 0.77, 0.9
"""Moments with a cosine above `STILL` show the same still. Where fewer than `LEAST_MOMENTS` different ones remain,
another video may resemble them by chance: then the mean must reach `SAME_STILL`. For a photograph, which lasts less
than `A_PICTURE` seconds, it must reach `SAME_PICTURE`."""
A_PICTURE = 0.5
LEAST_SECONDS = 3.0
"""Duplicates share at least this much, or `LEAST_SHARE` of the shorter one."""
LEAST_SHARE = 0.6
LEAST_HEARD = 0.2
"""The least score of a sound in the results: the best of 33 unrelated ones reached this (docs/search.md)."""
UNRELATED = {"picture": (0.6, 0.95), "sound": (0.2, 0.8)}
"""Scores of unrelated videos, and scores that are certain."""
SAME_PLACE = 1.5
"""The most seconds between the places at which something is seen and heard."""


@dataclass(frozen=True)
class Hit:
    """A place in a video that matches a query.

    Attributes:
        path: The video.
        start: Its start in seconds.
        end: Its end in seconds.
        score: Mean cosine, at most 1; for a match in both picture and sound, a confidence.
        speed: Its speed relative to the query.
        by: What matches: `picture`, `sound` or `both`.
    """

    path: str
    start: float
    end: float
    score: float
    speed: float = 1.0
    by: Way = "picture"

    def fields(self) -> dict[str, Any]:
        """What `lvc search query --json` prints."""
        times = {"start": round(self.start, 3), "end": round(self.end, 3)}
        return {"path": self.path, **times, "score": round(self.score, 4), "speed": self.speed, "by": self.by}


@dataclass(frozen=True)
class Pair:
    """Two files, by number, that share footage: its start in each, its duration, and the mean cosine."""

    first: int
    second: int
    first_start: float
    second_start: float
    seconds: float
    score: float


@dataclass(frozen=True)
class Common:
    """`path` from `start` and `other` from `other_start` show the same for `seconds`; `score` is at most 1."""

    path: str
    start: float
    other: str
    other_start: float
    seconds: float
    score: float


@dataclass(frozen=True)
class Group:
    """Files connected by shared footage.

    Attributes:
        paths: The files, longest first.
        pairs: Footage that two of them share, best first: `Common`.
    """

    paths: tuple[str, ...]
    pairs: tuple[Common, ...]

    def fields(self) -> dict[str, Any]:
        """What `lvc search duplicates --json` prints."""
        return asdict(self)


def query(
    collection: Collection,
    moments: Moments,
    top: int,
    nearest: Nearest | None = None,
    tagged: Mapping[str, Sequence[Tagged]] | None = None,
) -> list[Hit]:
    """Find the files that show the query, best first, each at its best place. `nearest`: an index of the collection, if
    there is one. `tagged`: by path, the times that a hit must overlap."""
    asked = thinned(moments)
    hits = []
    for file in _candidates(collection, asked, nearest or Nearest(collection.vectors), max(20, 2 * top)):
        found = align(asked, collection.moments(file))
        if found is not None and (tagged is None or _overlaps(found, tagged.get(collection.paths[file], ()))):
            hits.append(Hit(collection.paths[file], found.start, found.end, found.score, found.speed))
    return sorted(hits, key=lambda hit: -hit.score)[:top]


def query_sound(
    collection: Collection, sounds: Sounds, top: int, tagged: Mapping[str, Sequence[Tagged]] | None = None
) -> list[Hit]:
    """Find the files in which the query is heard, best first, each at its best place. `sounds` has `QUERY_SPACING`; of
    a long one, the middle is used. `tagged` as in `query`."""
    asked = sounds.middle().heard()
    votes = best_of_files(asked, collection.sound_words, collection.sound_begins)
    hits = []
    for file in np.argsort(-votes, kind="stable")[: max(20, 2 * top)]:
        found = place_in(asked, collection.sounds(int(file)).heard()) if votes[file] > 0 else None
        if found is not None and found.score >= LEAST_HEARD:
            path = collection.paths[int(file)]
            if tagged is None or _overlaps(found, tagged.get(path, ())):
                hits.append(Hit(path, found.start, found.end, found.score, found.speed, "sound"))
    return sorted(hits, key=lambda hit: -hit.score)[:top]


def query_both(seen: Sequence[Hit], heard: Sequence[Hit], top: int) -> list[Hit]:
    """Merge hits by picture and by sound, best first. A place found by both scores higher: the probability that not
    both are accidental."""
    by_path = {hit.path: hit for hit in heard if _confidence(hit) > 0}
    hits = []
    for hit in seen:
        if _confidence(hit) == 0:
            continue
        sure, other = _confidence(hit), by_path.pop(hit.path, None)
        if other is None:
            hits.append(replace(hit, score=sure))
        elif abs(other.start - hit.start) <= SAME_PLACE and other.speed != 2 * hit.speed:
            hits.append(replace(other, score=1 - (1 - sure) * (1 - _confidence(other)), by="both"))
        else:
            hits.append(max(replace(hit, score=sure), replace(other, score=_confidence(other)), key=lambda h: h.score))
    hits += [replace(hit, score=_confidence(hit)) for hit in by_path.values()]
    return sorted(hits, key=lambda hit: -hit.score)[:top]


def _confidence(hit: Hit) -> float:
    """Confidence 0 to 1, comparable between picture and sound; near 0 for unrelated videos."""
    unrelated, same = UNRELATED[hit.by]
    return min(1.0, max(0.0, (hit.score - unrelated) / (same - unrelated)))


def _overlaps(found: Alignment | Place, tagged: Sequence[Tagged]) -> bool:
    return any(t.start <= found.end and found.start <= t.end for t in tagged)


def _candidates(collection: Collection, asked: Moments, nearest: Nearest, most: int) -> list[int]:
    """Files with vectors close to the query's: each moment adds its best cosine to each file."""
    votes = np.zeros(len(collection.paths), np.float64)
    for vector in asked.vectors:
        rows, scores = nearest.search(vector, NEIGHBOURS)
        files = collection.file_of(rows)
        own = np.zeros_like(votes)
        np.maximum.at(own, files, np.maximum(scores, 0))
        votes += own
    best = np.argsort(-votes, kind="stable")[:most]
    return [int(file) for file in best if votes[file] > 0]


def similar(collection: Collection, moments: Moments, top: int, leave_out: str | None = None) -> list[Hit]:
    """Find the videos most like this one as a whole, by the cosines of mean vectors."""
    means = _means(collection)
    asked = unit(moments.vectors).mean(0)
    scores = means @ (asked / max(float(np.linalg.norm(asked)), 1e-6))
    hits = []
    for file in np.argsort(-scores, kind="stable"):
        path, seconds = collection.paths[file], float(collection.seconds[file])
        if path != leave_out:
            hits.append(Hit(path, 0.0, seconds, float(scores[file])))
    return hits[:top]


def _means(collection: Collection) -> npt.NDArray[np.float32]:
    means = np.stack(
        [unit(collection.moments(i).vectors).mean(0) for i in range(len(collection.paths))]
        or [np.zeros(collection.vectors.shape[1], np.float32)]
    )
    result: npt.NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return result


def duplicates(collection: Collection, progress: Callable[[int, int], object] | None = None) -> list[Group]:
    """Find groups of re-encodes, crops and excerpts of the same footage, largest first."""
    nearest = Nearest(collection.vectors)
    compared: set[tuple[int, int]] = set()
    parent = list(range(len(collection.paths)))
    pairs: list[Pair] = []

    def root(file: int) -> int:
        while parent[file] != file:
            parent[file] = parent[parent[file]]
            file = parent[file]
        return file

    for file in range(len(collection.paths)):
        asked = thinned(collection.moments(file))
        for other in _candidates(collection, asked, nearest, 20):
            if other == file or (min(file, other), max(file, other)) in compared:
                continue
            compared.add((min(file, other), max(file, other)))
            pair = common(collection, file, other)
            if pair is not None:
                pairs.append(pair)
                parent[root(file)] = root(other)
        if progress is not None:
            progress(file + 1, len(collection.paths))
    return _groups(collection, pairs, root)


def common(collection: Collection, first: int, second: int) -> Pair | None:
    """Find the footage that two files share, if it is long enough."""
    if collection.seconds[first] > collection.seconds[second]:
        first, second = second, first
    asked, file = thinned(collection.moments(first), 2 * MOST), collection.moments(second)
    if not len(asked.times) or not len(file.times):
        return None
    shifts = np.arange(np.floor((file.times[0] - asked.times[-1]) / STEP), np.ceil(file.times[-1] / STEP) + 1) * STEP
    there = places(asked, file, 1.0, shifts)
    cosines = sweep(unit(asked.vectors) @ unit(file.vectors).T, there)
    same = cosines >= SAME
    best = int(np.where(same, cosines, 0).sum(0).argmax())
    agreeing = same[:, best]
    count = int(agreeing.sum())
    if not count:
        return None
    spacing = float(np.median(np.diff(asked.times))) if len(asked.times) > 1 else asked.seconds
    times = asked.times[agreeing]
    enough = count * spacing >= LEAST_SECONDS or count >= LEAST_SHARE * len(asked.times)
    # most of the overlap must agree, not a moment here and there
    if not enough or count < LEAST_SHARE * int(there.inside[:, best].sum()):
        return None
    score = float(cosines[agreeing, best].mean())
    if score < (SAME_PICTURE if asked.seconds < A_PICTURE else SAME_STILL):
        if _different(unit(asked.vectors[agreeing])) < LEAST_MOMENTS:
            return None
    start = float(times[0])
    length = min(float(times[-1]) - start + spacing, asked.seconds - start)
    return Pair(first, second, start, max(0.0, start + float(shifts[best])), length, score)


def _different(vectors: npt.NDArray[np.float32]) -> int:
    """Count moments, without repetitions of a still."""
    count, last = 0, np.zeros(vectors.shape[1], np.float32)
    for vector in vectors:
        if float(last @ vector) < STILL:
            count, last = count + 1, vector
    return count


def _groups(collection: Collection, pairs: list[Pair], root: Callable[[int], int]) -> list[Group]:
    members: dict[int, set[int]] = {}
    for pair in pairs:
        members.setdefault(root(pair.first), set()).update((pair.first, pair.second))
    groups = []
    for key, files in members.items():
        longest_first = sorted(files, key=lambda file: (-collection.seconds[file], collection.paths[file]))
        connected = tuple(
            Common(
                collection.paths[pair.first], round(pair.first_start, 3), collection.paths[pair.second],
                round(pair.second_start, 3), round(pair.seconds, 3), round(pair.score, 4),
            )
            for pair in sorted((p for p in pairs if root(p.first) == key), key=lambda p: -p.score)
        )  # fmt: skip
        groups.append(Group(tuple(collection.paths[file] for file in longest_first), connected))
    return sorted(groups, key=lambda group: (-len(group.paths), group.paths))
