"""The codec as it ships, on `val`: python research/integers.py MODEL DATA/val ANCHORS.json [--clips 5] [--gop 32]

Real payloads of the package's encoder, PSNR 6:1:1 of what is shown, BD-rate by PCHIP beside the anchors that
`rd_pyramid.py anchors` has measured on the same frames. `--set COPY_BITS=3` sets constants of `lvc.codec.frames`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from intra_val import psnr  # noqa: E402
from rd_pyramid import CLIPS, compare, footage  # noqa: E402

from lvc.codec import frames as codec_frames  # noqa: E402
from lvc.codec import payload as layout  # noqa: E402
from lvc.codec.frames import Coded, FrameEncoder  # noqa: E402
from lvc.codec.gop import GopEncoder  # noqa: E402
from lvc.codec.pyramid import OLDER, PYRAMID, steps  # noqa: E402
from lvc.codec.settings import Effort  # noqa: E402
from lvc.codec.shown import padded, shown  # noqa: E402
from lvc.codec.video import ANCHOR_RAISE, FALL  # noqa: E402
from lvc.models import Model, load_model  # noqa: E402


def point(model: Model, y: np.ndarray, uv: np.ndarray, base: float, a: argparse.Namespace) -> tuple[float, float]:
    """Bits a pixel and dB of one clip at one level."""
    h, w = y.shape[1:]
    encoder = GopEncoder(FrameEncoder(model, h + -h % 16, w + -w % 16), Effort(a.effort))
    sources = [padded(y[i], uv[i, 0], uv[i, 1], 8) for i in range(len(y))]
    payload, key = encoder.key(sources[0], layout.quality_of(base + a.key))
    sizes, made, at = [len(payload)], {0: key.planes}, 0
    while at < len(y) - 1:
        n = min(a.gop, len(y) - 1 - at)
        structure = OLDER if encoder.older else PYRAMID
        first = layout.quality_of(base + ANCHOR_RAISE)
        qualities = tuple(layout.falling(first, FALL, s.place) for s in steps(structure, n, encoder.older))

        def done(number: int, coded: Coded, at: int = at) -> None:
            made[at + 1 + number] = coded.planes

        rest = encoder.anchors(sources[at + 1 : at + 1 + n], layout.ClipHead(structure, qualities), done)
        sizes.append(len(rest(done)))
        at += n
    scores = []
    for i in range(len(y)):
        luma, *chroma = shown(made[i], h, w, 8)
        scores.append(psnr((y[i], uv[i]), (luma, np.stack(chroma))))
    return sum(sizes) * 8 / y.size, float(np.mean(scores))


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("model", type=Path)
    p.add_argument("root", type=Path)
    p.add_argument("anchors", type=Path)
    p.add_argument("--clips", type=int, default=10)
    p.add_argument("--frames", type=int, default=65)
    p.add_argument("--rows", type=int, default=288)
    p.add_argument("--gop", type=int, default=32)
    p.add_argument("--key", type=float, default=1.6)
    p.add_argument("--effort", type=int, default=1)
    p.add_argument("--bases", type=float, nargs="+", default=(7.0, 9.0, 11.0, 13.0))
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    a = p.parse_args()
    for text in a.set:
        name, value = text.split("=")
        setattr(codec_frames, name, type(getattr(codec_frames, name))(float(value)))
    model, table = load_model(a.model), {}
    for clip in CLIPS[: a.clips]:
        y, uv = footage(a.root, clip, a.frames, a.rows)
        began = time.process_time()
        table[clip] = [point(model, y, uv, base, a) for base in a.bases]
        spent = (time.process_time() - began) / len(a.bases) / len(y)
        print(f"{clip:14}", *(f"{r:.4f} bpp {q:.2f} dB " for r, q in table[clip]), f" {spent * 1e3:.0f} ms", flush=True)
    compare(table, a.anchors)


if __name__ == "__main__":
    main()
