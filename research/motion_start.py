"""What flags of motion start from: closed loops of the float networks on training footage → lvc/engine/motion_start.h.

    python research/motion_start.py CACHE INTRA.pt INTER.pt [--clips 126]

CACHE is that of `lvc.training.footage`. Of every part of an entropy-coded stream (a GOP's anchors, what is between two
of them) it counts how often each flag was 0 and 1. A context's start is the mean of the beta prior that makes these
counts likeliest. Writes the same numbers into formats/decoder.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lvc.engine import motion
from lvc.engine.motion_reference import EXPOSURE
from lvc.training.footage import Clips
from lvc.training.inter import BETWEEN, patches12, planes12, pyramid
from lvc.training.networks import Inter, Intra, from_patches, lapped, to_patches

ROOT = Path(__file__).parents[1]
BASES = (7.0, 9.5, 8.0, 11.0, 6.5, 12.5)
GOP, SPREAD, KEY, WEIGHT = 16, 1.6, 1.6, 0.6
FRAMES, ROWS, COLS = 33, 256, 320
RARE = 1024
"""How likely a frame is to have another exposure than expected, in 1/65536."""
LOG_ODDS = np.linspace(-6.2, 6.2, 45)
STRENGTHS = np.array([0, 1, 2, 4, 8, 16, 32, 64]) + 1


def footage(clips: Clips, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    _, t, h, w, at = clips.index[int(rng.choice(len(clips.index), p=clips.weight))]
    n, height, width = min(FRAMES, t), min(ROWS, h // 16 * 16), min(COLS, w // 16 * 16)
    first = int(rng.integers(0, t - n + 1))
    top, left = (16 * int(rng.integers(0, (whole - part) // 16 + 1)) for whole, part in ((h, height), (w, width)))
    y = clips.raw[at : at + t * h * w].reshape(t, h, w)
    uv = clips.raw[at + t * h * w : at + t * h * w * 3 // 2].reshape(t, 2, h // 2, w // 2)
    y, uv = y[first : first + n, top : top + height, left : left + width], uv[first : first + n]
    uv = uv[:, :, top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
    return np.ascontiguousarray(y), np.ascontiguousarray(uv)


def counted(intra: Intra, inter: Inter, y: np.ndarray, uv: np.ndarray, base: float) -> Iterator[np.ndarray]:
    """How often flags of each part were 0 and 1: [contexts,2]."""

    def patches(luma: np.ndarray, chroma: np.ndarray, scale: int, middle: float) -> torch.Tensor:
        return to_patches(
            *(torch.from_numpy(a).float() / scale - middle for a in (luma.reshape(1, 1, *luma.shape), chroma[None]))
        )

    key = torch.tensor([base + KEY])
    first = (torch.from_numpy(a).float() / 255 - 0.5 for a in (y[:1, None], uv[:1]))
    r, _, _ = intra(to_patches(*lapped(*first)), key, noisy=False)
    ry, ruv = planes12(to_patches(*lapped(*from_patches(r.float()), back=True)))
    recon: dict[int, tuple[np.ndarray, np.ndarray]] = {0: (ry[0], ruv[0])}
    fields: dict[int | None, motion.Field | None] = {0: None, None: None}
    flags: dict[int | None, tuple[np.ndarray, np.ndarray] | None] = {0: None, None: None}
    pictures = {0: motion.Picture(ry[0])}
    anchors = motion.Stream()
    for start in range(0, len(y) - 1, GOP):
        order, between = pyramid(start, min(start + GOP, len(y) - 1)), motion.Stream()
        if start:
            order[0] = order[0][0], start, max(start - GOP, 0), 0
        for t, a, b, place in order:
            level = base + BETWEEN[place] * SPREAD
            known, refs = (fields[a], fields[b]), (pictures[a], None if b is None else pictures[b])
            now = motion.Picture(y[t].astype(np.int16) << 4, reference=False)
            weight = motion.weight_of(level) * WEIGHT
            mode, mv, _ = motion.search(now, refs, t, (a, b), weight, known)
            p, d = motion.compensate(recon[a], None if b is None else recon[b], mode, mv)
            w = patches12(p[0][None], p[1][None])
            kind = torch.tensor([min(place, 5)])
            s = inter.symbols(patches(y[t], uv[t], 255, 0.5), w, patches(*d, 4080, 0), torch.tensor([level]), kind)
            change = (1 - s["copy"]).repeat_interleave(2, 2).repeat_interleave(2, 3)
            ry, ruv = planes12((w + s["r"] * change).float())
            recon[t], pictures[t] = (ry[0], ruv[0]), motion.Picture(ry[0])
            fields[t] = motion.Field(mode, mv, t, (a, b))
            skip, copy = (f[0, 0].numpy().astype(np.uint8) for f in (1 - s["keep"], s["copy"]))
            flags[t] = skip, copy
            stream = between if place else anchors
            stream.field(mode.shape, t, (a, b), known, place, (mode, mv))
            stream.flags(place, (skip, copy), (flags[a], flags[b]))
        yield between.counts()
    yield anchors.counts()


def starts(parts: np.ndarray) -> list[int]:
    """Of counts [parts,contexts,2] → for each context its probability in 1/65536. A little is taken from what is far
    from a half and sure, so that contexts that no part used are a half."""
    likely = np.round(65536 / (1 + np.exp(-LOG_ODDS))).astype(int)
    a, b = (torch.from_numpy(p[:, None] / 65536 * STRENGTHS) for p in (likely, 65536 - likely))
    out = []
    for context in parts.transpose(1, 0, 2):
        cost = torch.from_numpy(0.3 * abs(LOG_ODDS)[:, None] + 0.05 * np.arange(len(STRENGTHS)))
        seen, times = np.unique(context[context.any(1)], axis=0, return_counts=True)
        for (zeros, ones), n in zip(seen.tolist(), times.tolist(), strict=True):
            gain = torch.lgamma(a + ones) + torch.lgamma(b + zeros) - torch.lgamma(a + b + zeros + ones)
            cost -= n * (gain - torch.lgamma(a) - torch.lgamma(b) + torch.lgamma(a + b)) / np.log(2)
        best = int(cost.argmin())
        out.append(int(likely[best // len(STRENGTHS)]))
    return out


def rows(table: list[int], width: int, comma: str, indent: str) -> str:
    words = [f"{n}{comma}" for n in table]
    lines, line = [], ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ""
        line += f" {word}" if line else indent + word
    return "\n".join([*lines, line])


def write(table: list[int]) -> None:
    (ROOT / "lvc" / "engine" / "motion_start.h").write_text(
        "/* Written by research/motion_start.py: how likely the flags of motion.h are 1 at first, in 1/65536. */\n"
        "#ifndef LVC_MOTION_START_H\n#define LVC_MOTION_START_H\n\n"
        f"static const uint16_t LVC_MOTION_START[LVC_CONTEXTS] = {{\n{rows(table, 115, ',', '    ')}\n}};\n\n#endif\n",
        encoding="ascii",
    )
    text = ROOT / "formats" / "decoder.md"
    said = re.sub(r"(?s)(```text\n).*?(\n```)", rf"\g<1>{rows(table, 118, '', '')}\2", text.read_text("utf-8"), count=1)
    text.write_text(said, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of contexts' starts.")
    parser.add_argument("cache", type=Path)
    parser.add_argument("intra", type=Path)
    parser.add_argument("inter", type=Path)
    parser.add_argument("--clips", type=int, default=126)
    args = parser.parse_args()
    intra, inter = Intra(), Inter()
    for net, path in ((intra, args.intra), (inter, args.inter)):
        net.load_state_dict(torch.load(path, weights_only=True)["ema"])
        net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    clips, rng, parts = Clips(args.cache), np.random.default_rng(5), []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for k in range(args.clips):
            parts += counted(intra, inter, *footage(clips, rng), BASES[k % len(BASES)])
    table = starts(np.stack(parts))
    table[EXPOSURE] = RARE  # the float networks' loop knows no exposures
    write(table)


if __name__ == "__main__":
    main()
