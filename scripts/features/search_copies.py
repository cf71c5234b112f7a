#!/usr/bin/env python3
"""Copy detection: which video is this excerpt from, and where? `python scripts/features/search_copies.py`

The haystack is all footage of `train` and `val`, one moment a second; the queries are excerpts of `val`, changed, four
moments a second. All methods see the same thumbnails and are aligned in time the same way; the last one is `lvc search`
itself, from the files on disk. Prints a table in Markdown: recall@1, and recall@1 with the time right within a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from lvc.features import Extractor
from lvc.features.thumbnail import CHROMA, LUMA
from lvc.search import Database, duplicates, index_folders, moments_of
from lvc.search import query as ask
from lvc.search.align import align, thinned
from lvc.search.database import Collection
from lvc.search.nearest import Nearest
from lvc.search.sources import QUERY_SPACING, Moments
from scripts.features.excerpts import CHANGES, Excerpt, excerpts
from scripts.features.views import STORED, stored_views, thumbnails_of

Views = tuple[np.ndarray, np.ndarray, np.ndarray]  # times [N], luma uint8 [N,128,128], chroma uint8 [N,2,64,64]
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]


def perceptual_hash(luma: np.ndarray, _: np.ndarray) -> np.ndarray:
    import imagehash
    from PIL import Image

    bits = np.stack([imagehash.phash(Image.fromarray(picture)).hash.ravel() for picture in luma])
    return bits.astype(np.int8) * 2 - 1


def small_picture(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """8x8 luma without its mean: the simplest thing that might work."""
    small = luma.reshape(-1, 8, STORED // 8, 8, STORED // 8).mean((2, 4)).reshape(len(luma), -1)
    return small - small.mean(1, keepdims=True)


def extracted(path: Path | None) -> Embed:
    from lvc.features import default_extractor

    extractor = default_extractor() if path is None else Extractor(path)

    def embed(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
        y = luma.reshape(-1, LUMA, STORED // LUMA, LUMA, STORED // LUMA).mean((2, 4))
        side = STORED // 2 // CHROMA
        c = chroma.reshape(-1, 2, CHROMA, side, CHROMA, side).mean((3, 5))
        return extractor.vectors(list(zip(y.astype(np.float32), c.astype(np.float32), strict=True)))

    return embed


def one_a_second(clip: dict[str, np.ndarray]) -> Views:
    """Times, luma, chroma; the last time is the end of the clip."""
    slots = clip["times"].astype(int)
    first = np.flatnonzero(np.diff(slots, prepend=-1))
    times = np.append(clip["times"][first], clip["times"][-1] + 0.25)
    return times, clip["plain_y"][first], clip["plain_c"][first]


def right(found: tuple[str, float] | None, excerpt: Excerpt) -> tuple[bool, bool]:
    """The right video; and the right time too."""
    name = found is not None and found[0] == excerpt.clip.name
    return name, name and found is not None and abs(found[1] - excerpt.start) <= 1


def by_method(
    embed: Embed, haystack: dict[str, Views], queries: list[tuple[Excerpt, Views]]
) -> list[tuple[bool, bool]]:
    files = {n: Moments(t[:-1], embed(y, c), float(t[-1])) for n, (t, y, c) in haystack.items()}
    results = []
    for excerpt, (times, y, c) in queries:
        asked = thinned(Moments(times, embed(y, c), float(times[-1]) + 0.25))
        aligned = {name: found for name, file in files.items() if (found := align(asked, file)) is not None}
        best = max(aligned, key=lambda name: aligned[name].score, default=None)
        results.append(right(None if best is None else (best, aligned[best].start), excerpt))
    return results


def by_search(folders: list[Path], queries: list[tuple[Excerpt, Views]]) -> tuple[list[tuple[bool, bool]], list[bool]]:
    """`lvc search query`; and whether `lvc search duplicates` puts an excerpt and its video into one group. Prints what
    else that groups."""
    results, grouped = [], []
    with tempfile.TemporaryDirectory() as folder, Database(folder, create=True) as database:
        started = time.monotonic()
        done = index_folders(folders, database)
        print(f"index: {done} in {time.monotonic() - started:.0f} s", file=sys.stderr)
        collection = database.load()
        nearest = Nearest(collection.vectors)
        wrong = [group.paths for group in duplicates(collection)]
        print(f"groups among {len(collection.paths)} different videos: {wrong}", file=sys.stderr)
        places = {Path(path).name: number for number, path in enumerate(collection.paths)}
        for excerpt, _ in queries:
            video = collection.moments(places[excerpt.clip.name])
            grouped.append(bool(duplicates(_collection({"excerpt": moments_of(excerpt.path), "video": video}))))
            hits = ask(collection, moments_of(excerpt.path, spacing=QUERY_SPACING), 1, nearest)
            results.append(right((Path(hits[0].path).name, hits[0].start) if hits else None, excerpt))
            if not all(results[-1]):
                print(excerpt.path.name, excerpt.start, hits, file=sys.stderr)
    return results, grouped


def _collection(files: dict[str, Moments]) -> Collection:
    parts = list(files.values())
    begins = np.concatenate([[0], np.cumsum([len(m.times) for m in parts])])
    times = np.concatenate([m.times for m in parts]).astype(np.float32)
    silent = np.zeros(len(parts) + 1, np.int64), np.zeros(0, np.float32), np.zeros((0, 32), np.uint8)
    vectors = np.concatenate([m.vectors for m in parts])
    return Collection(list(files), np.array([m.seconds for m in parts]), begins, times, vectors, *silent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("search.work"), help="keeps thumbnails and queries")
    parser.add_argument("--features", type=Path, help="other weights than the shipped ones")
    parser.add_argument("--codec", action="store_true", help="the intra analysis of the default codec too")
    parser.add_argument("--no-search", action="store_true", help="only methods on thumbnails")
    args = parser.parse_args()
    folders = [args.data / "train" / "video", args.data / "val"]
    names = [p.name for folder in folders for p in sorted(folder.iterdir())]
    clips = stored_views(folders, args.work / "cache", Fraction(1, 4))
    haystack = {name: one_a_second(clip) for name, clip in zip(names, clips, strict=True)}
    wanted = excerpts(sorted(folders[1].iterdir()), args.work / "queries")
    queries = [(e, thumbnails_of(e.path, Fraction(1, 4), args.work / "views")) for e in wanted]
    methods: dict[str, Embed] = {"8x8 luma": small_picture, "imagehash.phash": perceptual_hash}
    if args.codec:
        from codec_features import methods as of_codec

        methods |= of_codec(args.data / "train", args.work)
    methods["features"] = extracted(args.features)
    results = {name: by_method(embed, haystack, queries) for name, embed in methods.items()}
    grouped: list[bool] = []
    if not args.no_search:
        results["`lvc search`"], grouped = by_search(folders, queries)
    print(f"{len(haystack)} videos, {len(queries) // len(CHANGES)} excerpts each changed in {len(CHANGES) - 1} ways\n")
    print("| | " + " | ".join(CHANGES) + " |\n|---|" + "---|" * len(CHANGES))
    for name, outcome in results.items():
        cells = []
        for change in CHANGES:
            mine = [r for r, (e, _) in zip(outcome, queries, strict=True) if e.change == change]
            cells.append(f"{np.mean([a for a, _ in mine]):.3f} / {np.mean([b for _, b in mine]):.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    if grouped:
        shares = [np.mean([g for g, (e, _) in zip(grouped, queries, strict=True) if e.change == c]) for c in CHANGES]
        print("| duplicates, in one group | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
