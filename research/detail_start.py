"""What flags of the detail start from: the encoder on training footage → lvc/engine/detail_start.h.

    python research/detail_start.py MODEL CACHE [--crops 40]

CACHE is that of `lvc.training.footage`. Of every frame with detail it counts how often each flag was 0 and 1. A
context's start is the mean of the beta prior that makes these counts likeliest. Writes the same numbers into
formats/decoder.md.
"""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from motion_start import footage, rows, starts

from lvc.codec import encode
from lvc.codec.frames import FrameEncoder, Planes
from lvc.codec.payload import DETAIL_FROM
from lvc.codec.settings import EncodeSettings
from lvc.engine import detail_reference
from lvc.engine.rans_reference import Context, Writer
from lvc.media.types import Frame, VideoFormat
from lvc.models.load import Model, load_model
from lvc.training.footage import Clips

ROOT = Path(__file__).parents[1]
QUALITIES = 55.0, 40.0, 75.0, 90.0, 65.0, 30.0, 95.0


class Counting(Context):
    def __init__(self) -> None:
        super().__init__()
        self.counts = [0, 0]

    def learn(self, bit: int) -> None:
        self.counts[bit] += 1


class Counter(FrameEncoder):
    """An encoder that keeps every frame's counts, [contexts,2], in `parts`."""

    def __init__(self, model: Model, height: int, width: int, parts: list[np.ndarray], **given: Any) -> None:
        super().__init__(model, height, width, **given)
        self.parts = parts

    def _detailed(self, source: Planes, made: Planes, quality: int, coder: Any) -> Planes:
        out = super()._detailed(source, made, quality, coder)
        if quality >= DETAIL_FROM and (levels := self.levels(source, made, quality)) is not None:
            contexts = {name: Counting() for name in detail_reference.start()}
            detail_reference.code(Writer(), quality, levels, made[0].copy(), made[1].copy(), contexts)
            self.parts.append(np.array([c.counts for c in contexts.values()]))
        return out


def write(table: list[int]) -> None:
    engine, text = ROOT / "lvc" / "engine", ROOT / "formats" / "decoder.md"
    said = "Written by research/detail_start.py: how likely the flags of the detail are 1 at first, in 1/65536."
    (engine / "detail_start.h").write_text(
        f"/* {said} */\n#ifndef LVC_DETAIL_START_H\n#define LVC_DETAIL_START_H\n\n#include <stdint.h>\n\n"
        f"static const uint16_t LVC_DETAIL_START[{len(table)}] = {{\n{rows(table, 115, ',', '    ')}\n}};\n\n#endif\n",
        encoding="ascii",
    )
    numbers = rows(table, 118, "", "")
    said = re.sub(r"(?s)(Of the detail.*?```text\n).*?(\n```)", rf"\g<1>{numbers}\2", text.read_text("utf-8"))
    text.write_text(said, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of the detail's starts.")
    parser.add_argument("model", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--crops", type=int, default=40)
    args = parser.parse_args()
    model, clips, rng = load_model(args.model), Clips(args.cache), np.random.default_rng(5)
    parts: list[np.ndarray] = []
    for k in range(args.crops):
        y, uv = footage(clips, rng)
        y, uv = y[:17, :160, :192], uv[:17, :, :80, :96]
        video = VideoFormat(y.shape[2], y.shape[1], time_base=(1, 25), frame_rate=(25, 1))
        frames = (Frame(a.copy(), b[0].copy(), b[1].copy(), i, 1) for i, (a, b) in enumerate(zip(y, uv, strict=True)))
        settings = EncodeSettings(quality=QUALITIES[k % len(QUALITIES)], gop=1e6, threads=1)
        list(encode(frames, video, model, settings, partial(Counter, parts=parts)))
        print(k, len(parts), flush=True)
    write(starts(np.stack(parts)))


if __name__ == "__main__":
    main()
