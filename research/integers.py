"""The codec as it ships, on `val`: python research/integers.py MODEL DATA/val ANCHORS.json [--clips 5] [--effort 4]

Clips' payloads by the package's encoder, cuts and lengths as it decides them, PSNR 6:1:1 of what is shown, BD-rate by
PCHIP beside the anchors that `rd_pyramid.py anchors` has measured on the same frames. `--set frames.COPY_BITS=3` sets
constants of `lvc.codec`'s modules.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import time
from pathlib import Path

import numpy as np

from lvc.codec import decode, encode
from lvc.codec.settings import EncodeSettings
from lvc.lvz import Clip, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.models import Model, load_model
from research.intra_val import psnr
from research.rd_pyramid import CLIPS, compare, footage

RATE = 25


def point(model: Model, y: np.ndarray, uv: np.ndarray, settings: EncodeSettings) -> tuple[float, float]:
    """Bits a pixel and dB of one clip."""
    height, width = y.shape[1:]
    video = VideoFormat(width, height, time_base=(1, RATE), frame_rate=(RATE, 1))
    frames = (Frame(a, b[0].copy(), b[1].copy(), i, 1) for i, (a, b) in enumerate(zip(y, uv, strict=True)))
    clips, first = [], 0
    for c in encode(frames, video, model, settings):
        clips.append(Clip(first, c.key, c.pts, c.durations, None, c.payload))
        first += len(c.pts)
    made = VideoDescriptor(width, height, model.planes, 5, time_base=(1, RATE), frame_rate=(RATE, 1))
    shown = decode(clips, made, model, settings.threads)
    scores = [psnr((a, b), (f.y, np.stack([f.u, f.v]))) for a, b, f in zip(y, uv, shown, strict=True)]
    return sum(len(c.payload) for c in clips) * 8 / y.size, float(np.mean(scores))


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("model", type=Path)
    p.add_argument("root", type=Path)
    p.add_argument("anchors", type=Path)
    p.add_argument("--clips", nargs="+", default=["10"], help="how many, or which")
    p.add_argument("--frames", type=int, default=65)
    p.add_argument("--rows", type=int, default=288)
    p.add_argument("--clip-frames", type=int, default=32)
    p.add_argument("--effort", type=int, default=4)
    p.add_argument("--qualities", type=float, nargs="+", default=(15.0, 35.0, 55.0, 75.0))
    p.add_argument("--set", nargs="*", default=[], metavar="MODULE.NAME=VALUE")
    p.add_argument("--points", type=Path, help="write the points there")
    a = p.parse_args()
    for text in a.set:
        name, value = text.split("=")
        module, name = name.split(".")
        where = importlib.import_module(f"lvc.codec.{module}")
        setattr(where, name, type(getattr(where, name))(json.loads(value)))
    settings = EncodeSettings(clip_frames=a.clip_frames, effort=a.effort, threads=1)
    model, table = load_model(a.model), {}
    for clip in CLIPS[: int(a.clips[0])] if a.clips[0].isdigit() else a.clips:
        y, uv = footage(a.root, clip, a.frames, a.rows)
        began = time.process_time()
        table[clip] = [
            point(model, y, uv, dataclasses.replace(settings, quality=q, seconds=len(y) / RATE)) for q in a.qualities
        ]
        spent = (time.process_time() - began) / len(a.qualities) / len(y)
        print(f"{clip:14}", *(f"{r:.4f} bpp {q:.2f} dB " for r, q in table[clip]), f" {spent * 1e3:.0f} ms", flush=True)
        if a.points:
            a.points.write_text(json.dumps(table))
    compare(table, a.anchors)


if __name__ == "__main__":
    main()
