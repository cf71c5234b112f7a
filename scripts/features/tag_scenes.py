#!/usr/bin/env python3
"""Tags on videos never seen: `python scripts/features/tag_scenes.py scripts/features/scenes.csv`

Every video of the CSV file is left out once: `lvc.search.tagging` learns tags from the others and scores its moments,
one a second. Beside lvc's vectors the same is done with 8x8 luma and `imagehash.phash` of the same thumbnails. Prints a
table in Markdown: average precision of each tag, their mean, and the share of moments whose most probable tag is one of
theirs, with 95 % intervals by bootstrap over videos. `--sources` leaves out all videos of one source at a time.
`--halves`: which video is it? Every video is a tag of its own, learnt from its first half and asked of its second, as
it is, mirrored, and without 15 % of its sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from lvc.search.labels import read_labels
from lvc.search.tagging import STRENGTH, balanced, nearest_probabilities, regression
from scripts.features.search_copies import Embed, extracted, perceptual_hash, small_picture
from scripts.features.views import thumbnails_of

RESAMPLES = 2000


def of_length_one(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)


def left_out(
    x: np.ndarray,
    truth: np.ndarray,
    file: np.ndarray,
    group: np.ndarray,
    strength: float = STRENGTH,
    knn: bool = False,
) -> np.ndarray:
    """Scores [N,T] of moments whose group the classifier has not seen: log-odds, or with `knn` probabilities.
    `group` [F], of each video."""
    scores = np.zeros(truth.shape)
    for out in np.unique(group):
        tested = (group == out)[file]
        if knn:
            known = np.unique(file[~tested], return_inverse=True)[1].astype(np.int32)
            vectors = x.astype(np.float32)
            scores[tested] = nearest_probabilities(
                vectors[tested], vectors[~tested], truth[~tested].astype(np.uint8), known
            )
            continue
        each = (1 / np.bincount(file[~tested], minlength=len(group)).clip(1))[file[~tested]]
        mean = (x[~tested] * each[:, None]).sum(0) / each.sum()
        for column, known in enumerate(truth[~tested].T):
            if known.any():  # else only this group has the tag, and nothing can be learnt
                weights, bias = regression(x[~tested] - mean, known, balanced(known, each), strength)
                scores[tested, column] = (x[tested] - mean) @ weights + bias
            else:
                scores[tested, column] = -np.inf
    return scores


def cropped(planes: np.ndarray) -> np.ndarray:
    """The middle 85 % of rows and columns, stretched."""
    size = planes.shape[-1]
    kept = np.linspace(0.075 * size, 0.925 * size - 1, size).round().astype(int)
    return planes[..., kept, :][..., kept]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda planes: planes, "mirrored": lambda planes: planes[..., ::-1], "cropped": cropped
}  # fmt: skip


def second_halves(x: np.ndarray, asked: np.ndarray, file: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Vectors as they are and changed, both [N,D] → whether a moment of a second half gets its own video's tag."""
    each = (1 / np.bincount(file[early]))[file[early]]
    mean = (x[early] * each[:, None]).sum(0) / each.sum()
    scores = np.zeros((int((~early).sum()), file.max() + 1))
    for number in range(file.max() + 1):
        known = file[early] == number
        weights, bias = regression(x[early] - mean, known, balanced(known, each))
        scores[:, number] = (asked[~early] - mean) @ weights + bias
    right: np.ndarray = scores.argmax(1) == file[~early]
    return right


def print_halves(
    methods: dict[str, Embed], luma: np.ndarray, chroma: np.ndarray, file: np.ndarray, time: np.ndarray,
    drawn: np.ndarray,
) -> None:  # fmt: skip
    end = np.array([time[file == number].max() for number in range(file.max() + 1)])
    early = time <= end[file] / 2
    counts = np.bincount(file[~early], minlength=len(end))
    asked = drawn * (counts > 0)
    shares = {}
    print("| | " + " | ".join(CHANGES) + " |\n|---|" + "---|" * len(CHANGES))
    for name, embed in methods.items():
        x, cells = of_length_one(embed(luma, chroma)), []
        for what, change in CHANGES.items():
            changed = of_length_one(embed(np.ascontiguousarray(change(luma)), np.ascontiguousarray(change(chroma))))
            right = second_halves(x, changed, file, early)
            share = np.bincount(file[~early], right, len(end)) / counts.clip(1)
            shares[name, what] = asked @ share / asked.sum(1)
            low, high = np.percentile(shares[name, what], [2.5, 97.5])
            cells.append(f"{share[counts > 0].mean():.3f} ({low:.3f}–{high:.3f})")
        print(f"| {name} | " + " | ".join(cells) + " |")
    for name in ("8x8 luma", "imagehash.phash"):
        both = [np.percentile(shares["**lvc**", what] - shares[name, what], [2.5, 97.5]) for what in CHANGES]
        print(f"\nlvc over {name}: " + ", ".join(f"{low:+.3f} to {high:+.3f}" for low, high in both))


def average_precision(scores: np.ndarray, truth: np.ndarray, each: np.ndarray) -> float:
    """Area under precision over recall, of weighted moments; those with one score are counted together."""
    order = np.argsort(-scores, kind="stable")
    hit, seen = (each * truth)[order].cumsum(), each[order].cumsum()
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return float((np.diff(hit[last], prepend=0) * hit[last] / seen[last]).sum() / hit[-1])


def figures(scores: np.ndarray, truth: np.ndarray, file: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Average precision of each tag, their mean, and accuracy. All videos count the same, `copies` [F] times."""
    each = (copies / np.bincount(file, minlength=len(copies)).clip(1))[file]
    kept = each > 0
    scores, truth, each = scores[kept], truth[kept], each[kept]
    precision = [average_precision(s, t, each) if t.any() else np.nan for s, t in zip(scores.T, truth.T, strict=True)]
    right = truth[np.arange(len(truth)), scores.argmax(1)]
    tagged = truth.any(1)
    return np.array([*precision, np.nanmean(precision), np.average(right[tagged], weights=each[tagged])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="what the paths are relative to")
    parser.add_argument("--work", type=Path, default=Path("search.work"), help="keeps thumbnails")
    parser.add_argument("--sources", action="store_true", help="leave out videos by what their names begin with")
    parser.add_argument("--halves", action="store_true", help="tell videos apart, instead of tags")
    parser.add_argument("--knn", action="store_true", help="k-nearest instead of linear")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="other than that of lvc tag")
    args = parser.parse_args()
    rows = read_labels(args.labels)
    names = list(dict.fromkeys(Path(row.path).relative_to(args.labels.parent) for row in rows))
    tags = sorted({row.tag for row in rows} - {""})
    views = [thumbnails_of(args.data / name, Fraction(1), args.work / "views") for name in names]
    file = np.repeat(np.arange(len(names)), [len(times) for times, _, _ in views])
    time = np.concatenate([times for times, _, _ in views])
    truth = np.zeros((len(file), len(tags)), bool)
    for row in (row for row in rows if row.tag):
        there = file == names.index(Path(row.path).relative_to(args.labels.parent))
        truth[there & (time >= row.start) & (time < (row.end or np.inf)), tags.index(row.tag)] = True
    luma, chroma = np.concatenate([y for _, y, _ in views]), np.concatenate([c for _, _, c in views])
    sources = [name.name.split("_")[0] if args.sources else str(name) for name in names]
    group = np.unique(sources, return_inverse=True)[1]
    methods: dict[str, Embed] = {
        "8x8 luma": small_picture, "imagehash.phash": perceptual_hash, "**lvc**": extracted(None)
    }  # fmt: skip
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    if args.halves:
        print(f"{len(names)} videos, {len(truth)} moments\n")
        return print_halves(methods, luma, chroma, file, time, drawn)
    scores = {
        name: left_out(of_length_one(embed(luma, chroma)), truth, file, group, args.strength, args.knn)
        for name, embed in methods.items()
    }
    always = np.tile(np.bincount(truth.argmax(1)[truth.any(1)], minlength=len(tags)), (len(truth), 1)).astype(float)
    scores = {"the same for all": always} | scores
    once = np.ones(len(names))
    print(f"{len(names)} videos, {len(truth)} moments, {len(np.unique(group))} parts left out in turn\n")
    counts = [len(np.unique(file[known])) for known in truth.T]
    print("| | " + " | ".join(f"{tag} ({n})" for tag, n in zip(tags, counts, strict=True)) + " | mean | right |")
    print("|---|" + "---|" * (len(tags) + 2))
    resampled = {name: np.array([figures(s, truth, file, d) for d in drawn]) for name, s in scores.items()}
    for name, s in scores.items():
        value = figures(s, truth, file, once)
        low, high = np.nanpercentile(resampled[name], [2.5, 97.5], axis=0)
        cells = [f"{v:.2f}" for v in value[:-2]]
        cells += [f"{v:.3f} ({a:.3f}–{b:.3f})" for v, a, b in zip(value[-2:], low[-2:], high[-2:], strict=True)]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for name in ("8x8 luma", "imagehash.phash"):
        more = resampled["**lvc**"][:, -2:] - resampled[name][:, -2:]
        low, high = np.nanpercentile(more, [2.5, 97.5], axis=0)
        said = [f"{what} {a:+.3f} to {b:+.3f}" for what, a, b in zip(("mean", "right"), low, high, strict=True)]
        print(f"\nlvc over {name}: " + ", ".join(said))


if __name__ == "__main__":
    main()
