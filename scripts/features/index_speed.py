#!/usr/bin/env python3
"""How fast a .lvz is indexed, beside decoding it: `scripts/features/index_speed.py FILE.lvz…`, and what features cost.

Processor time, one thread each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from lvc.features import default_extractor, thumbnail
from lvc.files import decode_frames
from lvc.lvz import LvzReader
from lvc.lvz.features import PICTURE
from lvc.search import Database, index_folders


def seconds(job: Callable[[], object], times: int = 1) -> float:
    began = time.process_time()
    for _ in range(times):
        job()
    return (time.process_time() - began) / times


def decode(path: str) -> None:
    for _ in decode_frames(path, threads=1):
        pass


def index(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder, Database(folder, create=True) as database:
        index_folders([path], database)


def measure(path: str) -> str:
    with open(path, "rb") as file:
        reader = LvzReader(file)
        track = next((track for track in reader.features if track.kind == PICTURE), None)
        frames, video = reader.frame_count, reader.video
    if track is None:
        return "has no features"
    index(path)
    indexed, decoded = seconds(lambda: index(path), 20), seconds(lambda: decode(path))
    y = np.random.default_rng(0).integers(0, 256, (video.height, video.width), dtype=np.uint8)
    u, extractor = y[::2, ::2].copy(), default_extractor()
    made = seconds(lambda: extractor.vectors([thumbnail(y, u, u)]), 20)
    return (
        f"{video.width}x{video.height}, {frames} frames, {len(track.pts)} moments; indexed in {1000 * indexed:.1f} ms,"
        f" decoded in {decoded:.2f} s: {decoded / indexed:.0f} times faster; one moment is made in {1000 * made:.1f} ms"
    )


def main() -> None:
    for path in sys.argv[1:]:
        print(f"{path}: {measure(path)}")


if __name__ == "__main__":
    main()
