#!/usr/bin/env python3
"""How near `--target-bitrate` comes on the validation clips, each shown forwards and backwards until it is long enough.

    scripts/figures/target_bitrate.py [--seconds 20] [--rows 288] [--rates 100,300,800] [--effort 4] [--clips a,b]

Rates in kbit/s. Printed for each: the error of the whole, of what comes after the first `--settle` seconds, the largest
error of the running mean after these, and the highest and lowest level. `top`, `bottom`: the dial ends there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from lvc.codec import EncodeSettings, encode
from lvc.codec.control import Bitrate
from lvc.evaluation.source import Source
from lvc.media.types import Frame, VideoFormat
from lvc.models import load_model

ROOT = Path(__file__).resolve().parents[2]


def to_and_fro(pictures: Sequence[Any], count: int) -> Iterator[Frame]:
    """`count` frames without a cut where the clip begins again."""
    last = max(len(pictures) - 1, 1)
    for n in range(count):
        at = n % (2 * last)
        picture = pictures[min(at, 2 * last - at, len(pictures) - 1)]
        yield Frame(picture.y, picture.u, picture.v, n, 1)


def measure(model: Any, pictures: Sequence[Any], rate: Fraction, target: float, args: Any) -> dict[str, float]:
    height, width = pictures[0].y.shape
    video = VideoFormat(width, height, (rate.denominator, rate.numerator))
    levels: list[float] = []
    packed = Bitrate.packed

    def watched(self: Bitrate, bits: int, seconds: float, key: bool) -> None:
        packed(self, bits, seconds, key)
        levels.append(self.level)

    Bitrate.packed = watched  # type: ignore[method-assign]
    try:
        settings = EncodeSettings(target_bitrate=target, threads=1, effort=args.effort, gop=args.gop)
        frames = to_and_fro(pictures, round(args.seconds * rate))
        sizes = [(8 * len(c.payload), float(sum(c.durations) / rate)) for c in encode(frames, video, model, settings)]
    finally:
        Bitrate.packed = packed  # type: ignore[method-assign]
    spent = shown = 0.0
    running, settled = [], [0.0, 0.0]
    for bits, seconds in sizes:
        if shown >= args.settle:
            settled = [settled[0] + bits, settled[1] + seconds]
        spent, shown = spent + bits, shown + seconds
        if shown >= args.settle:
            running.append(100 * (spent / shown / target - 1))
    return {
        "whole": 100 * (spent / shown / target - 1),
        "settled": 100 * (settled[0] / max(settled[1], 1e-9) / target - 1),
        "worst": max(running, key=abs, default=0.0),
        "low": min(levels),
        "high": max(levels),
        "end": levels[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--settle", type=float, default=3)
    parser.add_argument("--rows", type=int, default=288)
    parser.add_argument("--rates", default="100,300,800")
    parser.add_argument("--effort", type=int, default=4)
    parser.add_argument("--gop", type=float, default=10)
    parser.add_argument("--clips", default="")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    data = args.data or Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data")) / "val"
    wanted = [c for c in args.clips.split(",") if c]
    model = load_model(args.model)
    reached: list[float] = []
    for path in sorted(data.iterdir()):
        if wanted and not any(w in path.name for w in wanted):
            continue
        source = Source(path, frames=round(args.seconds * 60), max_height=args.rows)
        rate = source.format.rate
        pictures = [p for p, _ in zip(source, range(round(args.seconds * rate)), strict=False)]
        for kilobits in map(float, args.rates.split(",")):
            found = measure(model, pictures, rate, 1000 * kilobits, args)
            end = " bottom" if found["whole"] > 3 and found["low"] <= 6.01 else ""
            end = " top" if found["whole"] < -3 and found["high"] >= 14.99 else end
            if not end:
                reached.append(found["settled"])
            print(
                f"{path.name[:24]:24} {kilobits:5g} kbit/s | whole {found['whole']:+6.2f} % | after {args.settle:g} s "
                f"{found['settled']:+6.2f} % | worst {found['worst']:+6.2f} % | levels {found['low']:.1f} to "
                f"{found['high']:.1f}{end}",
                flush=True,
            )
    if reached:
        within = sum(abs(r) <= 3 for r in reached)
        mean = sum(map(abs, reached)) / len(reached)
        print(f"{within} of {len(reached)} within 3 % after {args.settle:g} s, {mean:.2f} % on average")


if __name__ == "__main__":
    main()
