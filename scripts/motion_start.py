#!/usr/bin/env python3
"""Counts on clips how likely the flags of motion fields are, and writes lvc/engine/motion_start.h.

    python scripts/motion_start.py VIDEO …

Every clip is searched as a pyramid of 8 frames from references coded by x264, at two qualities. Contexts that no field
used, and those of the skip and copy flags, which a codec's decisions would be needed for, keep what they have."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lvc.engine import motion, motion_reference

TARGET = Path(motion_reference.__file__).with_name("motion_start.h")
ROWS, FRAMES, GOP, CRF = 288, 17, 8, 27


def luma(path: Path) -> np.ndarray:
    """Of its first frames, uint8 [T,H,W]."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            scale = min(1.0, ROWS / frame.height)
            width, height = (int(n * scale) // 16 * 16 for n in (frame.width, frame.height))
            found.append(frame.reformat(width, height, "gray").to_ndarray())
            if len(found) == FRAMES:
                break
    return np.stack(found)


def coded(frames: np.ndarray) -> np.ndarray:
    """The same after x264."""
    _, height, width = frames.shape
    encoder, decoder = av.CodecContext.create("libx264", "w"), av.CodecContext.create("h264", "r")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", Fraction(1, 30)
    encoder.options = {"crf": str(CRF)}
    packets = []
    for t, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, "gray").reformat(format="yuv420p")
        picture.pts = t
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    shown = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.stack([frame.reformat(format="gray").to_ndarray() for frame in shown])


def pyramid(first: int, last: int) -> list[tuple[int, int, int | None, int]]:
    """Frames in coding order: when they are shown, when their references are, their levels."""
    found: list[tuple[int, int, int | None, int]] = [(last, first, None, 0)]
    spans, level = [(first, last)], 1
    while spans := [(a, b) for a, b in spans if b - a > 1]:
        found += [((a + b) // 2, a, b, level) for a, b in spans]
        spans, level = [half for a, b in spans for half in ((a, (a + b) // 2), ((a + b) // 2, b))], level + 1
    return found


def counted(path: Path, quality: float) -> np.ndarray:
    frames = luma(path)
    seen = [motion.Picture(f.astype(np.int16) << 4) for f in coded(frames)]
    fields: dict[int, motion.Field] = {}
    stream = motion.Stream()
    for start in range(0, len(frames) - GOP, GOP):
        for time, first, second, level in pyramid(start, start + GOP):
            near = fields.get(first), None if second is None else fields.get(second)
            refs = seen[first], None if second is None else seen[second]
            now = motion.Picture(frames[time].astype(np.int16) << 4, False)
            weight = motion.weight_of(quality)
            mode, mv, _ = motion.search(now, refs, time, (first, second), weight, near, level=level, stream=stream)
            fields[time] = motion.Field(mode, mv, time, (first, second))
            stream.field(mode.shape, time, (first, second), near, level, (mode, mv))
    counts = stream.counts()
    stream.finish()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of motion's starting probabilities.")
    parser.add_argument("clips", nargs="+", type=Path)
    counts = sum(counted(path, quality) for path in parser.parse_args().clips for quality in (10.5, 12.5))
    before = np.array([context.quick for context in motion_reference.start()])
    likely = (counts[:, 1] + 8 * before / 65536) / (counts.sum(1) + 8)
    table = np.clip(np.round(likely * 65536), 256, 65280).astype(int).tolist()
    lines = "".join("    " + " ".join(f"{p}," for p in table[i : i + 16]) + "\n" for i in range(0, len(table), 16))
    TARGET.write_text(
        "/* Written by scripts/motion_start.py: how likely the flags of motion.h are 1 at first, in 1/65536. */\n"
        "#ifndef LVC_MOTION_START_H\n#define LVC_MOTION_START_H\n\n"
        f"static const uint16_t LVC_MOTION_START[LVC_CONTEXTS] = {{\n{lines}}};\n\n#endif\n",
        encoding="ascii",
    )


if __name__ == "__main__":
    main()
