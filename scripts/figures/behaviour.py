#!/usr/bin/env python3
"""How the codec behaves over time and over its dial, on the validation clips.

    scripts/figures/behaviour.py dial|chains|drift|still [--model FILE] [--clips a,b] [--rows 240] [--frames N]

dial    --quality 0, 10 … 100: are rate and PSNR monotone, and what range of rates is spanned?
chains  one key frame, then 299 predicted ones (the clip forwards and backwards again and again): PSNR of the same
        pictures the first and the last time they are shown.
drift   a GOP of 10 s written with bf16, decoded with bf16 and with float32: PSNR of both against the source.
still   the first frame, shown 200 times after it was coded: bits per pixel and frame, and whether anything changes.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lvc.codec import EncodeSettings, decode, encode
from lvc.evaluation.metrics import ClipQuality, compare
from lvc.evaluation.planes import Picture
from lvc.evaluation.source import Source
from lvc.lvz import PACKING_RANS, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.models import load_model
from lvc.models.load import Model

ROOT = Path(__file__).resolve().parents[2]


def coded(
    model: Model, pictures: Sequence[Picture], settings: EncodeSettings, readers: Sequence[Model] = ()
) -> tuple[float, list[list[Frame]]]:
    """Bits per pixel of payloads, and what each reader (the writer, if none is named) decodes."""
    height, width = pictures[0].y.shape
    video = VideoFormat(width, height, (1, 25))
    frames = (Frame(p.y, p.u, p.v, n, 1) for n, p in enumerate(pictures))
    clips = list(encode(frames, video, model, settings))
    described = VideoDescriptor(**vars(video), planes=model.planes, packing=PACKING_RANS, gop_seconds=settings.gop)
    decoded = [list(decode(iter(clips), described, reader, settings.threads)) for reader in readers or [model]]  # type: ignore[arg-type]
    return 8 * sum(len(c.payload) for c in clips) / (len(pictures) * height * width), decoded


def psnr(pictures: Sequence[Picture], frames: Sequence[Frame]) -> float:
    return compare(pictures, frames, ClipQuality(ssim=False)).clip().psnr_611


def dial(model: Model, clip: list[Picture]) -> str:
    points = []
    for quality in range(0, 101, 10):
        bpp, (frames,) = coded(model, clip, EncodeSettings(quality, threads=1))
        points.append((bpp, psnr(clip, frames)))
    wrong = [
        f"{10 * i}→{10 * i + 10}" for i, (a, b) in enumerate(itertools.pairwise(points)) if b[0] <= a[0] or b[1] <= a[1]
    ]
    shown = " ".join(f"{bpp:.4f}/{db:.2f}" for bpp, db in points)
    verdict = f"NOT MONOTONE at {', '.join(wrong)}" if wrong else "monotone"
    return f"{shown} | {points[-1][0] / points[0][0]:.1f}x | {verdict}"


def chains(model: Model, clip: list[Picture]) -> str:
    there_and_back = clip + clip[-2:0:-1]
    order = [there_and_back[n % len(there_and_back)] for n in range(300)]
    place = [min(n % len(there_and_back), -n % len(there_and_back)) for n in range(300)]
    parts = []
    for quality in (10, 50):
        _, (frames,) = coded(model, order, EncodeSettings(quality, gop=1e6, threads=1))
        shown: dict[int, list[float]] = {}
        for n, frame in enumerate(frames):
            shown.setdefault(place[n], []).append(psnr([order[n]], [frame]))
        # the key frame is better than the others by intention: what is left of it after a second is the usual
        change = [values[-1] - values[0] for at, values in shown.items() if at >= 8 and len(values) > 1]
        worst = min(psnr([p], [f]) for p, f in zip(order, frames, strict=True))
        parts.append(f"q{quality}: {np.mean(change):+.2f} dB (worst picture {min(change):+.2f}), lowest {worst:.2f} dB")
    return " | ".join(parts)


def drift(model: Model, clip: list[Picture], exact: Model) -> str:
    parts = []
    for quality in (10, 50, 80):
        settings = EncodeSettings(quality, gop=1e6, threads=1)
        _, (usual, other) = coded(model, clip, settings, [model, exact])
        a, b = psnr(clip, usual), psnr(clip, other)
        last = psnr(clip[-10:], usual[-10:]) - psnr(clip[-10:], other[-10:])
        parts.append(f"q{quality}: {a:.3f} {b:.3f} dB ({a - b:+.4f}, last ten frames {last:+.4f})")
    return f"{len(clip)} frames, {str(model.dtype)[6:]} and float32 | " + " | ".join(parts)


def still(model: Model, clip: list[Picture]) -> str:
    parts = []
    height, width = clip[0].y.shape
    for quality in (10, 50, 80):
        settings = EncodeSettings(quality, gop=1e6, threads=1)
        one, _ = coded(model, clip[:1] * 2, settings)
        many, (frames,) = coded(model, clip[:1] * 202, settings)
        rate = (many * 202 - one * 2) / 200
        same = all(np.array_equal(f.y, frames[20].y) for f in frames[20:])
        parts.append(f"q{quality}: {rate:.6f} bpp a frame, {'unchanged' if same else 'CHANGES'} from the 20th on")
    return f"{width}x{height} | " + " | ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("dial", "chains", "drift", "still"))
    parser.add_argument("--model")
    parser.add_argument("--clips", default="")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--frames", type=int)
    args = parser.parse_args()
    model = load_model(args.model)
    exact = load_model(args.model, dtype=torch.float32)
    data = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data")) / "val"
    count = args.frames or {"dial": 24, "chains": 60, "drift": 250, "still": 1}[args.what]
    for path in sorted(data.iterdir()):
        if path.suffix.lower() in (".md", ".txt", ".json") or not any(c in path.name for c in args.clips.split(",")):
            continue
        clip = list(Source(path, frames=count, max_height=args.rows))
        found = drift(model, clip, exact) if args.what == "drift" else globals()[args.what](model, clip)
        print(f"{path.name[:26]:26} | {found}", flush=True)


if __name__ == "__main__":
    main()
