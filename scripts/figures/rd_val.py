#!/usr/bin/env python3
"""RD points of a model on the validation clips and their BD-rate against x264's points: quick, for choosing a model.

    scripts/figures/rd_val.py [MODEL] [--frames 96] [--qualities 10,30,50,75] [--effort 4] [--clips a,b] [--json OUT]

Bytes are the clips' payloads (`lvc eval` also counts framing, times and checksums; files add 0.3 to 2 %). x264's points
come from scripts/figures/x264_points.py, BD-rate is PCHIP over PSNR 6:1:1.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from lvc.codec import EncodeSettings, decode, encode
from lvc.evaluation import bd
from lvc.evaluation.metrics import ClipQuality, compare
from lvc.evaluation.source import Source
from lvc.lvz import PACKING_RANS, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.models import load_model

ROOT = Path(__file__).resolve().parents[2]


def measure(model: Any, pictures: list[Any], settings: EncodeSettings) -> tuple[float, float, float, float]:
    """Bits per pixel, PSNR 6:1:1, encode and decode frames per second."""
    height, width = pictures[0].y.shape
    video = VideoFormat(width, height, (1, 25))
    frames = [Frame(p.y, p.u, p.v, n, 1) for n, p in enumerate(pictures)]
    start = time.monotonic()
    clips = list(encode(iter(frames), video, model, settings))
    middle = time.monotonic()
    described = VideoDescriptor(**vars(video), planes=model.planes, packing=PACKING_RANS, gop_seconds=settings.gop)
    decoded = list(decode(iter(clips), described, model, settings.threads))  # type: ignore[arg-type]
    end = time.monotonic()
    bits = 8 * sum(len(c.payload) for c in clips)
    quality = compare(pictures, decoded, ClipQuality(ssim=False)).clip()
    n = len(frames)
    return bits / (n * height * width), quality.psnr_611, n / (middle - start), n / (end - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--qualities", default="10,30,50,75")
    parser.add_argument("--effort", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clips", default="")
    parser.add_argument("--anchor", type=Path, default=ROOT / ".work" / "x264_val.json")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    data = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data")) / "val"
    anchor = json.loads(args.anchor.read_text())
    wanted = [c for c in args.clips.split(",") if c]
    model = load_model(args.model)
    results: dict[str, Any] = {}
    for name in (n for n in anchor if not wanted or any(w in n for w in wanted)):
        pictures = list(Source(data / name, frames=args.frames, max_height=480))
        points = []
        for quality in map(float, args.qualities.split(",")):
            settings = EncodeSettings(quality, effort=args.effort, threads=args.threads)
            points.append((quality, *measure(model, pictures, settings)))
        rates = {}
        for preset, reference in anchor[name].items():
            curve = [(bpp, psnr) for _, bpp, psnr, _ in reference]
            value = bd.bd_rate(curve, [(p[1], p[2]) for p in points]).value
            rates[preset] = None if value is None else round(value, 1)
        results[name] = {"points": points, "bd_rate": rates}
        shown = " | ".join(f"q{q:g} {bpp:.4f} {psnr:.2f} ({e:.0f}/{d:.0f} fps)" for q, bpp, psnr, e, d in points)
        print(f"{name[:26]:26} | {shown} | {rates}", flush=True)
        if args.json:
            args.json.write_text(json.dumps(results))
    for preset in next(iter(anchor.values())):
        values = [r["bd_rate"][preset] for r in results.values() if r["bd_rate"][preset] is not None]
        print(f"{preset}: mean {sum(values) / len(values):+.1f} % over {len(values)} clips")


if __name__ == "__main__":
    main()
