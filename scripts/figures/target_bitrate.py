#!/usr/bin/env python3
"""How near `--target-bitrate` comes on the validation clips, each shown forwards and backwards until it is long enough.

    scripts/figures/target_bitrate.py [--seconds 20] [--rows 288] [--rates 100,300,800] [--effort 4] [--clips a,b]

Rates in kbit/s. Printed for each: the error of the whole; the largest error of the mean from the start to any clip's
end after the first `--settle` seconds, and of any `--settle` seconds after these; the lowest and highest level. `top`,
`bottom`: the dial ends there. `--trace`: each clip's end, bits and level.
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
        settings = EncodeSettings(
            target_bitrate=target, threads=1, effort=args.effort, gop=args.gop, seconds=args.seconds
        )
        frames = to_and_fro(pictures, round(args.seconds * rate))
        sizes = [(8 * len(c.payload), float(sum(c.durations) / rate)) for c in encode(frames, video, model, settings)]
    finally:
        Bitrate.packed = packed  # type: ignore[method-assign]
    ends = [(0.0, 0.0)]
    for (bits, seconds), level in zip(sizes, levels, strict=True):
        ends.append((ends[-1][0] + seconds, ends[-1][1] + bits))
        if args.trace:
            print(f"  {ends[-1][0]:6.2f} s {bits / seconds / target:6.2f} of the rate, then level {level:5.2f}")

    def error(begin: tuple[float, float], end: tuple[float, float]) -> float:
        return 100 * ((end[1] - begin[1]) / (end[0] - begin[0]) / target - 1)

    late = [e for e in ends if e[0] >= args.settle]
    windows = [
        error(next(b for b in reversed(ends) if b[0] <= e[0] - args.settle), e) for e in late if e[0] >= 2 * args.settle
    ]
    return {
        "whole": error(ends[0], ends[-1]),
        "mean": max((error(ends[0], e) for e in late), key=abs, default=0.0),
        "window": max(windows, key=abs, default=0.0),
        "low": min(levels),
        "high": max(levels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--settle", type=float, default=10)
    parser.add_argument("--rows", type=int, default=288)
    parser.add_argument("--rates", default="100,300,800")
    parser.add_argument("--effort", type=int, default=4)
    parser.add_argument("--gop", type=float, default=10)
    parser.add_argument("--clips", default="")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--trace", action="store_true")
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
                reached.append(found["whole"])
            print(
                f"{path.name[:24]:24} {kilobits:5g} kbit/s | whole {found['whole']:+6.2f} % | from {args.settle:g} s "
                f"on {found['mean']:+6.2f} % | {args.settle:g} s anywhere {found['window']:+6.2f} % | "
                f"levels {found['low']:.1f} to "
                f"{found['high']:.1f}{end}",
                flush=True,
            )
    if reached:
        within = sum(abs(r) <= 3 for r in reached)
        mean = sum(map(abs, reached)) / len(reached)
        print(f"{within} of {len(reached)} within 3 % as a whole, {mean:.2f} % off on average")


if __name__ == "__main__":
    main()
