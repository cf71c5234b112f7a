#!/usr/bin/env python3
"""Clips with bars: how many unrelated ones `lvc search duplicates` takes for copies, and how many copies it finds.

    scripts/features/bars.py [--data ../shared/data] [--work bars.work]

Six seconds of all of `val` and every sixth clip of `train`, 180 rows, are coded by x264 (CRF 30) as they are and as a
part of them in black of 320x180: a pillarbox of 100 columns, one of 240, a letterbox of 136 rows.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from lvc.media import Frame, MediaReader, MediaWriter
from lvc.search import Database, index_folders
from lvc.search.queries import common

ROWS, COLUMNS = 180, 320
KINDS = {"plain": None, "pillar": (180, 100), "pillar 4:3": (180, 240), "letter": (136, 320)}
RELATED = [("plain", "pillar"), ("plain", "pillar 4:3"), ("plain", "letter"), ("pillar 4:3", "letter")]


def make(source: Path, part: tuple[int, int] | None, path: Path) -> None:
    with MediaReader(source, duration=6, audio="none", subtitles="none", resolution=f"x{ROWS}") as reader:
        frames, video = [item for item in reader if isinstance(item, Frame)], reader.video
    if part is not None:
        part = min(part[0], video.height), min(part[1], video.width)
        video = replace(video, height=ROWS, width=COLUMNS)
    with MediaWriter(path, video, crf=30) as writer:
        for frame in frames:
            if part is not None:
                y = boxed(frame.y, part, (ROWS, COLUMNS), 16)
                half = part[0] // 2, part[1] // 2
                u, v = (boxed(p, half, (ROWS // 2, COLUMNS // 2), 128) for p in (frame.u, frame.v))
                frame = replace(frame, y=y, u=u, v=v)
            writer.write(frame)


def boxed(plane: np.ndarray, part: tuple[int, int], size: tuple[int, int], black: int) -> np.ndarray:
    """The middle of a plane in the middle of black."""
    page = np.full(size, black, np.uint8)
    ours, theirs = (
        tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(shape, part, strict=True))
        for shape in (size, plane.shape)
    )
    page[ours] = plane[theirs]
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("bars.work"), help="keeps the clips")
    args = parser.parse_args()
    sources = [p for p in sorted((args.data / "val").iterdir()) if p.is_file()]
    sources += sorted((args.data / "train" / "video").iterdir())[::6]
    for kind, part in KINDS.items():
        for source in sources:
            path = args.work / kind / f"{source.name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                make(source, part, path)
    with Database(args.work / "db", create=True) as database:
        index_folders([args.work / kind for kind in KINDS], database)
        collection = database.load()
    number = {(Path(p).parent.name, Path(p).name): n for n, p in enumerate(collection.paths)}
    names = [f"{source.name}.mp4" for source in sources]
    print("| pairs | taken for copies |\n|---|---|")
    for first, second in itertools.combinations_with_replacement(KINDS, 2):
        pairs = [(number[first, a], number[second, b]) for a, b in itertools.combinations(names, 2)]
        found = [pair for a, b in pairs if (pair := common(collection, a, b))]
        worst = max((pair.score for pair in found), default=0.0)
        print(f"| unrelated, {first} and {second} | {len(found)} of {len(pairs)}{f', {worst:.3f}' if found else ''} |")
    for first, second in RELATED:
        found = [common(collection, number[first, name], number[second, name]) for name in names]
        print(f"| copies, {first} and {second} | {sum(map(bool, found))} of {len(found)} |")


if __name__ == "__main__":
    main()
