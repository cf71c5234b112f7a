#!/usr/bin/env python3
"""How the codec behaves over its dial, over long groups of pictures and at their borders, on the validation clips.

    scripts/figures/behaviour.py dial|chains|borders [--model FILE] [--clips a,b] [--rows 288] [--frames N]

dial     --quality 0, 10 … 100: are rate and PSNR monotone, and what range of rates is spanned?
chains   one group of 300 frames, the clip forwards and backwards again and again: PSNR of its pictures the last time
         they are shown less that of the first time.
borders  key frames every 10 frames of clips from a fixed camera: by how much what never moves changes at a border and
         elsewhere (mean of absolute differences of luma, of 255), and by how much PSNR does.

Reads $LVC_DATA/val (default: ../shared/data/val beside the checkout).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import lvc
from research.rd_pyramid import footage

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data"))
CLIPS = {
    "dial": "foreman,akiyo,flower,carphone,bikes,portrait",
    "chains": "foreman,akiyo,carphone,flower",
    "borders": "akiyo,car-detection",
}
RATE = 25


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(np.float64) - b) ** 2), 1e-6)))


def coded(y: np.ndarray, uv: np.ndarray, a: argparse.Namespace, **options: float) -> tuple[int, list[np.ndarray]]:
    """Bytes of the file, and luma of every frame."""
    frames = ((luma, *np.ascontiguousarray(chroma)) for luma, chroma in zip(y, uv, strict=True))
    data = lvc.encode(frames, fps=RATE, model=a.model, features=False, **options)
    return len(data), [frame.y for frame in lvc.decode(data)]


def dial(y: np.ndarray, uv: np.ndarray, a: argparse.Namespace) -> str:
    points = []
    for quality in range(0, 101, 10):
        size, shown = coded(y, uv, a, quality=quality, gop=1e4)
        points.append((size, np.mean([psnr(s, luma) for s, luma in zip(shown, y, strict=True)])))
    steps = list(zip(points, points[1:], strict=False))
    rising = all(b[0] > c[0] and b[1] > c[1] for c, b in steps)
    text = " ".join(f"{size * 8 / y.size:.4f}/{score:.1f}" for size, score in points)
    return f"{'monotone' if rising else 'NOT monotone'}, {points[-1][0] / points[0][0]:.0f} x in rate: {text} (bpp/dB)"


def chains(y: np.ndarray, uv: np.ndarray, a: argparse.Namespace) -> str:
    n = len(y)
    order = [i if i < n else 2 * n - 1 - i for i in (k % (2 * n) for k in range(300))]
    _, shown = coded(y[order], uv[order], a, quality=50, gop=1e4)
    first = {i: psnr(shown[k], y[i]) for k, i in reversed(list(enumerate(order)))}
    last = {i: psnr(shown[k], y[i]) for k, i in enumerate(order)}
    gain = [last[i] - first[i] for i in first]
    return f"last showing less first {np.mean(gain):+.2f} dB (worst picture {min(gain):+.2f})"


def borders(y: np.ndarray, uv: np.ndarray, a: argparse.Namespace) -> str:
    still = np.abs(y.astype(np.int16) - y[0]).max(0) < 6
    out = []
    for quality in (20, 50, 80):
        _, shown = coded(y, uv, a, quality=quality, gop=10 / RATE)
        change = [np.abs(b.astype(np.int16) - c)[still].mean() for c, b in zip(shown, shown[1:], strict=False)]
        scores = [psnr(s, luma) for s, luma in zip(shown, y, strict=True)]
        at = range(10, len(y), 10)
        inner = [c for i, c in enumerate(change, 1) if i % 10]
        jump = np.mean([abs(scores[i] - scores[i - 1]) for i in at])
        out.append(f"q{quality} {np.mean([change[i - 1] for i in at]):.2f} ({np.mean(inner):.2f}), {jump:.2f} dB")
    source = np.mean([np.abs(y[i].astype(np.int16) - y[i - 1])[still].mean() for i in range(10, len(y), 10)])
    return f"change at borders (elsewhere): {'; '.join(out)}; the source's own {source:.2f}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=tuple(CLIPS))
    p.add_argument("--model")
    p.add_argument("--clips")
    p.add_argument("--rows", type=int, default=288)
    p.add_argument("--frames", type=int, default=61)
    a = p.parse_args()
    run = {"dial": dial, "chains": chains, "borders": borders}[a.what]
    for clip in (a.clips or CLIPS[a.what]).split(","):
        print(f"{clip:14} {run(*footage(DATA / 'val', clip, a.frames, a.rows), a)}", flush=True)


if __name__ == "__main__":
    main()
