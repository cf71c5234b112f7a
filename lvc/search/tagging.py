"""Labelled vectors → a classifier for each tag → times at which other videos show it.

    linear  p(tag) = 1 / (1 + exp(-(weights · (vector - mean) + bias)))
    knn     p(tag) = a / (a + b) over the nearest moment of each of the nearest `NEAREST` videos: `a` sums those with
            the tag, `b` those without it, weighted by their nearness and by the rarity of their class

Tags are independent, so a moment can have several or none. The file is a safetensors file: for linear
`weights` float32 [T,64], `bias` [T], `mean` [64]; for knn `vectors` int8 [N,64], `truth` uint8 [N,T] and `file` int32
[N]; and metadata under `lvc.tags`: the names of the tags, the kind of classifier, and the extractor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from lvc.engine import safetensors_file
from lvc.errors import CorruptError, LimitError, MediaError, UnsupportedError, UsageError
from lvc.features import DIMENSIONS, default_extractor, quantise, unit
from lvc.search.labels import MOST_TAGS, Label, is_tag
from lvc.search.sources import Moments

Float = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]

THRESHOLD = 0.5
STRENGTH = 1.0
"""Inverse regularisation strength, scikit-learn's C. 10 is worse on unseen videos (docs/tagging.md): moments of one
video resemble each other, so there are fewer independent examples than moments."""
NEAREST = 5
"""Videos that vote in `knn`."""
NEARNESS = 0.2
"""The decrease in cosine that lowers a video's vote by a factor of e. Both were chosen by the figures in
docs/tagging.md."""
MOST_BYTES = 64 << 20
MOST_EXAMPLES = 1 << 18
"""The most moments that `knn` stores: three days, 16 MiB."""
VERSION = 2
CLASSIFIERS = ("linear", "knn")
Classifier = Literal["linear", "knn"]
_STEPS = 100
_BATCH = 256
_METADATA = "lvc.tags"


@dataclass(frozen=True)
class Tagged:
    """A video shows `tag` from `start` to `end`, in seconds. `score` is the mean probability, 0 to 1."""

    tag: str
    start: float
    end: float
    score: float

    def fields(self) -> dict[str, Any]:
        """What `lvc tag --json` prints."""
        return {
            "tag": self.tag, "start": round(self.start, 3), "end": round(self.end, 3), "score": round(self.score, 4)
        }  # fmt: skip


@dataclass(frozen=True)
class Examples:
    """Moments of F labelled videos: `vectors` float [N,D]; `truth` [N,T], which tags they have; `file` [N], 0 to F - 1.
    Moments that show nothing are left out."""

    tags: tuple[str, ...]
    vectors: Float
    truth: Bits
    file: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TagModel:
    """What `LinearTags` and `NearestTags` share. `tags`: T names. `extractor`: the id of the vectors' extractor."""

    tags: tuple[str, ...]
    extractor: str
    classifier: ClassVar[str]

    def scores(self, vectors: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Vectors int8 [N,64] → probabilities [N,T]; 0 for moments that show nothing."""
        shown = vectors.any(axis=1, keepdims=True)
        result: npt.NDArray[np.float32] = np.where(shown, self._probabilities(unit(vectors)), 0).astype(np.float32)
        return result

    def _probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        raise NotImplementedError

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        raise NotImplementedError

    def tag(self, moments: Moments, threshold: float = THRESHOLD) -> list[Tagged]:
        """Find the times at which a video shows the tags: runs of moments whose probability is at least `threshold`
        (0 to 1), in the order of the tags. A moment lasts until the next one."""
        scores = self.scores(moments.vectors)
        last = moments.times[-1] if len(moments.times) else 0.0
        ends = np.append(moments.times[1:], max(moments.seconds, last))
        found = []
        for number, tag in enumerate(self.tags):
            for first, behind in _runs(scores[:, number] >= threshold):
                score = float(scores[first:behind, number].mean())
                found.append(Tagged(tag, float(moments.times[first]), float(ends[behind - 1]), score))
        return found

    def save(self, path: Path) -> None:
        """Write the file. The same model gives the same bytes."""
        said = {"version": VERSION, "classifier": self.classifier, "extractor": self.extractor, "tags": self.tags}
        arrays = {name: (array.dtype.name, array) for name, array in self._arrays().items()}
        safetensors_file.save(path, arrays, {_METADATA: json.dumps(said, ensure_ascii=False)})


@dataclass(frozen=True)
class LinearTags(TagModel):
    """`weights` float32 [T,64], `bias` [T], `mean` [64]."""

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    classifier: ClassVar[str] = "linear"

    def _probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = (vectors - self.mean) @ self.weights.T + self.bias
        result: npt.NDArray[np.float32] = 1 / (1 + np.exp(-logits.clip(-80, 80)))
        return result

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"weights": self.weights, "bias": self.bias, "mean": self.mean}


@dataclass(frozen=True)
class NearestTags(TagModel):
    """Moments of labelled videos: `vectors` int8 [N,64]; `truth` uint8 [N,T], 1 for those that have the tag; `file`
    int32 [N], the video, ascending from 0 without gaps."""

    vectors: npt.NDArray[np.int8]
    truth: npt.NDArray[np.uint8]
    file: npt.NDArray[np.int32]
    classifier: ClassVar[str] = "knn"

    def _probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return nearest_probabilities(vectors, unit(self.vectors), self.truth, self.file)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"vectors": self.vectors, "truth": self.truth, "file": self.file}


def nearest_probabilities(
    asked: npt.NDArray[np.float32],
    known: npt.NDArray[np.float32],
    truth: npt.NDArray[np.uint8],
    file: npt.NDArray[np.int32],
) -> npt.NDArray[np.float32]:
    """Unit vectors asked for [M,D] and known [N,D], `truth` [N,T] and `file` [N] as in `NearestTags` → probabilities
    [M,T]."""
    begins = np.flatnonzero(np.diff(file, prepend=-1))
    ends = np.append(begins[1:], len(file))
    each = (1 / np.bincount(file))[file]  # each video sums to 1
    share = (each @ truth / each.sum()).clip(1e-6, 1 - 1e-6)
    found = np.zeros((len(asked), truth.shape[1]), np.float32)
    for first in range(0, len(asked), _BATCH):
        cosines = asked[first : first + _BATCH] @ known.T
        rows = np.stack([b + cosines[:, b:e].argmax(1) for b, e in zip(begins, ends, strict=True)], 1)
        near = np.take_along_axis(cosines, rows, 1)
        best = np.argsort(-near, axis=1, kind="stable")[:, :NEAREST]
        say = np.exp((np.take_along_axis(near, best, 1) - 1) / NEARNESS)
        tagged = truth[np.take_along_axis(rows, best, 1)].astype(np.float32)
        yes = np.einsum("nk,nkt->nt", say, tagged) / share
        no = np.einsum("nk,nkt->nt", say, 1 - tagged) / (1 - share)
        found[first : first + _BATCH] = yes / (yes + no)
    return found


def load_tags(path: str | os.PathLike[str]) -> TagModel:
    """Read a model of tags. Raises `MediaError` if there is no such file, `LimitError` if it is too large,
    `CorruptError` if it is damaged or something else, and `UnsupportedError` for another version or other vectors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not Path(path).is_file():
        raise MediaError("no such file — make one with lvc tag fit")
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise LimitError(f"has more than {MOST_BYTES} bytes, the limit for tags — give a file that lvc tag fit made")
    try:
        arrays = load(data)
        said = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        head = json.loads(said[_METADATA])
        version, extractor, tags = head["version"], head["extractor"], head["tags"]
        classifier = head.get("classifier")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptError("is damaged, or does not contain tags — make it again with lvc tag fit") from error
    if version != VERSION:
        raise UnsupportedError(f"is of version {str(version)[:20]} — make it again with lvc tag fit, or update lvc")
    if classifier not in CLASSIFIERS:
        raise UnsupportedError(f"has an unknown classifier, {str(classifier)[:20]!r} — update lvc")
    if not isinstance(tags, list) or not 0 < len(tags) <= MOST_TAGS or len(set(map(str, tags))) < len(tags):
        raise CorruptError(f"does not name 1 to {MOST_TAGS} different tags — make it again with lvc tag fit")
    if not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
        raise CorruptError("has a tag whose name is too long or cannot be printed — make it again with lvc tag fit")
    model = _linear(arrays, tags) if classifier == "linear" else _nearest(arrays, tags)
    if extractor != default_extractor().id:
        raise UnsupportedError(
            f"was made of feature vectors of another version ({str(extractor)[:60]!r}) — make it again with lvc tag fit"
        )
    return replace(model, extractor=extractor)


def _linear(arrays: dict[str, npt.NDArray[Any]], tags: list[str]) -> TagModel:
    shapes = {"weights": (len(tags), DIMENSIONS), "bias": (len(tags),), "mean": (DIMENSIONS,)}
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
            raise CorruptError(f"its {name} are not {shape} finite numbers — make it again with lvc tag fit")
    return LinearTags(tuple(tags), "", arrays["weights"], arrays["bias"], arrays["mean"])


def _nearest(arrays: dict[str, npt.NDArray[Any]], tags: list[str]) -> TagModel:
    count = len(arrays.get("file", ()))
    shapes = {
        "vectors": (np.int8, (count, DIMENSIONS)),
        "truth": (np.uint8, (count, len(tags))),
        "file": (np.int32, (count,)),
    }
    for name, (kind, shape) in shapes.items():
        array = arrays.get(name)
        if array is None or array.dtype != kind or array.shape != shape:
            raise CorruptError(f"its {name} are not {shape} integers — make it again with lvc tag fit")
    steps = np.diff(arrays["file"].astype(np.int64), prepend=-1)
    if (
        not 0 < count <= MOST_EXAMPLES
        or steps[0] != 1
        or steps.min() < 0
        or steps.max() > 1
        or arrays["truth"].max() > 1
    ):
        raise CorruptError("its examples are damaged — make it again with lvc tag fit")
    return NearestTags(tuple(tags), "", arrays["vectors"], arrays["truth"], arrays["file"])


def examples(labels: Sequence[Label], moments_of: Callable[[str], Moments]) -> Examples:
    """Collect the moments of all labelled videos. A moment is an example of each tag whose row covers it, and a
    counterexample of all others. `moments_of`: path → its moments.

    Raises `UsageError`, with the line of the CSV file, for a range outside its video or one without a moment.
    """
    tags = tuple(sorted({label.tag for label in labels} - {""}))
    column = {tag: number for number, tag in enumerate(tags)}
    by_path: dict[str, list[Label]] = {}
    for label in labels:
        by_path.setdefault(label.path, []).append(label)
    vectors, truths, files = [np.zeros((0, DIMENSIONS))], [np.zeros((0, len(tags)), bool)], []
    for number, (path, rows) in enumerate(by_path.items()):
        moments = moments_of(path)
        truth = np.zeros((len(moments.times), len(tags)), bool)
        for label in rows:
            covered = _covered(label, moments)
            if label.tag:
                truth[covered, column[label.tag]] = True
        shown = moments.vectors.any(1)
        vectors.append(unit(moments.vectors)[shown].astype(np.float64))
        truths.append(truth[shown])
        files += [number] * int(shown.sum())
    return Examples(tags, np.concatenate(vectors), np.concatenate(truths), np.array(files, np.int64))


def _covered(label: Label, moments: Moments) -> Bits:
    end = np.inf if label.end is None else label.end
    covered: Bits = (moments.times >= label.start) & (moments.times < end)
    if not covered.any():
        span = f"from {label.start:g} s to {'its end' if label.end is None else f'{label.end:g} s'}"
        raise UsageError(
            f"line {label.line}: {label.path} ({moments.seconds:.1f} s) has no moment {span} — "
            "there is about one a second; choose a longer range"
        )
    return covered


def fit_tags(found: Examples, classifier: Classifier = "linear") -> TagModel:
    """Train a classifier for each tag. All videos have the same weight, whatever their length; so have the examples and
    the counterexamples of a tag, however rare it is.

    Raises `UsageError` for a tag without examples or without counterexamples, `LimitError` for more examples than
    `knn` keeps.
    """
    count = found.truth.sum(0)
    for tag, positive in zip(found.tags, count, strict=True):
        if positive == 0:
            raise UsageError(f"no video shows anything with the tag {tag!r} — label other videos")
        if positive == len(found.truth):
            raise UsageError(
                f"everything has the tag {tag!r} — add videos that show something else; an empty label will do"
            )
    if classifier == "knn":
        if len(found.vectors) > MOST_EXAMPLES:
            raise LimitError(f"{len(found.vectors)} moments, and knn keeps {MOST_EXAMPLES} at most — fit a linear one")
        file = np.unique(found.file, return_inverse=True)[1].astype(np.int32)
        vectors = quantise(found.vectors.astype(np.float32))
        return NearestTags(found.tags, default_extractor().id, vectors, found.truth.astype(np.uint8), file)
    each = (1 / np.bincount(found.file))[found.file]  # each video sums to 1
    mean = (found.vectors * each[:, None]).sum(0) / each.sum()
    centred = found.vectors - mean
    fitted = [regression(centred, truth, balanced(truth, each)) for truth in found.truth.T]
    return LinearTags(
        found.tags,
        default_extractor().id,
        np.stack([weights for weights, _ in fitted]).astype(np.float32),
        np.array([bias for _, bias in fitted], np.float32),
        mean.astype(np.float32),
    )


def balanced(truth: Bits, each: Float) -> Float:
    """Weights [N] with the proportions of `each` among examples and among counterexamples, half of N for either."""
    half = len(truth) / 2
    result: Float = np.where(truth, each * half / each[truth].sum(), each * half / each[~truth].sum())
    return result


def regression(x: Float, truth: Bits, each: Float, strength: float = STRENGTH) -> tuple[Float, float]:
    """Vectors [N,D], bool [N], weights of the N → weights [D] and bias that minimise the logistic loss plus
    |weights|² / (2 strength), by Newton's method. Convex: there is one answer."""
    ones = np.concatenate([x, np.ones((len(x), 1))], 1)
    ridge = np.append(np.full(x.shape[1], 1 / strength), 1e-9)
    signs = np.where(truth, 1.0, -1.0)

    def loss(w: Float) -> float:
        return float((each * np.logaddexp(0, -signs * (ones @ w))).sum() + (ridge * w * w).sum() / 2)

    w = np.zeros(ones.shape[1])
    now = loss(w)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(ones @ w).clip(-80, 80)))
        gradient = ones.T @ (each * (p - truth)) + ridge * w
        curvature = (ones * (each * p * (1 - p))[:, None]).T @ ones + np.diag(ridge)
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > 1e-6 and loss(w - size * step) > now:
            size /= 2
        w = w - size * step
        now, before = loss(w), now
        if before - now < 1e-9 * max(1.0, before):
            break
    return w[:-1], float(w[-1])


def _runs(chosen: Bits) -> Iterator[tuple[int, int]]:
    """First index, and one past the last, of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    for first, behind in edges.reshape(-1, 2):
        yield int(first), int(behind)
