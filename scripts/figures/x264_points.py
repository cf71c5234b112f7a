#!/usr/bin/env python3
"""RD points of x264 medium and veryfast on the validation clips, for comparing while training.

    scripts/figures/x264_points.py [OUT.json] [--frames 96] [--max-height 480]

Reads $LVC_DATA/val (default: ../shared/data/val beside the checkout); OUT.json is by default .work/x264_val.json and
holds {clip: {preset: [[crf, bpp, psnr611, psnrY], ...]}}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from lvc.evaluation import anchors
from lvc.evaluation.metrics import ClipQuality, compare
from lvc.evaluation.source import Source

ROOT = Path(__file__).resolve().parents[2]


def points(clip: Path, preset: str, frames: int, max_height: int, work: Path) -> list[list[float]]:
    source = Source(clip, frames=frames, max_height=max_height)
    pictures = list(source)
    anchor = anchors.Anchor("x264", preset)
    found = []
    for crf in range(20, 45, 4):
        file = anchors.encode(pictures, source.format, anchor, crf, work / "anchor.h264")
        quality = compare(pictures, anchors.decode(file.path, anchor, source.format), ClipQuality(ssim=False)).clip()
        bpp = file.bytes * 8 / (file.frames * source.format.width * source.format.height)
        found.append([crf, round(bpp, 6), round(quality.psnr_611, 4), round(quality.psnr_y, 4)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / ".work" / "x264_val.json")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--max-height", type=int, default=480)
    args = parser.parse_args()
    data = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data"))
    table: dict[str, dict[str, list[list[float]]]] = {}
    with tempfile.TemporaryDirectory() as work:
        for clip in sorted((data / "val").iterdir()):
            for preset in ("medium", "veryfast"):
                table.setdefault(clip.name, {})[preset] = points(clip, preset, args.frames, args.max_height, Path(work))
            print(clip.name, table[clip.name]["medium"], file=sys.stderr, flush=True)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
