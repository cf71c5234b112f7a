#!/usr/bin/env python3
"""Every clip of a folder there and back: what must be equal is compared, what may differ is measured.

    scripts/roundtrip_val.py DATA_DIR [--quality 50] [--container mp4] [--frames N] [--model M]

Each clip is encoded with its audio, decoded to a video file by `lvc.files.decode_file`, and compared with the source
through PyAV alone: number of frames, every pts, rotation, sample aspect ratio, colour tags, SHA-256 of audio packets.
PSNR is that of `decode_frames` against the source's planes, before any re-encoding. bpp counts the .lvz without the
bytes of the audio packets, and x264 medium (bare .h264) is given that size. Prints a markdown table; exits 1 if
anything that must be equal is not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from lvc.evaluation import anchors
from lvc.evaluation.metrics import ClipQuality, compare
from lvc.evaluation.reference import make_reference
from lvc.evaluation.source import Source
from lvc.evaluation.timing import timed
from lvc.files import decode_file, decode_frames, encode_file

UNSPECIFIED = {0, 2, 3}  # H.273's "reserved" and "unspecified": nothing was said


@dataclass
class Seen:
    """What must survive, as FFmpeg sees it. Times in seconds, exact."""

    times: list[Fraction] = field(default_factory=list)
    rotation: int = 0
    sar: Fraction = Fraction(1)
    colour: tuple[int, ...] = ()
    audio: list[str] = field(default_factory=list)


def look(path: Path) -> Seen:
    seen = Seen()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            if not seen.times:
                seen.rotation = int(frame.rotation) % 360
            seen.times.append((frame.pts or 0) * Fraction(frame.time_base))
        context = stream.codec_context
        seen.sar = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        full = 2 if (stream.pix_fmt or "").startswith("yuvj") or context.color_range == 2 else 1
        tags = (context.color_primaries, context.color_trc, context.colorspace)
        seen.colour = (*(2 if int(t) in UNSPECIFIED else int(t) for t in tags), full)
    with av.open(str(path)) as container:
        digests = [hashlib.sha256() for _ in container.streams.audio]
        numbers = {stream.index: i for i, stream in enumerate(container.streams.audio)}
        for packet in container.demux(list(container.streams.audio)) if digests else ():
            if packet.size:
                digests[numbers[packet.stream.index]].update(bytes(packet))
        seen.audio = [d.hexdigest() for d in digests]
    return seen


def audio_bytes(path: Path) -> int:
    with av.open(str(path)) as container:
        streams = list(container.streams.audio) + list(container.streams.subtitles)
        return sum(packet.size for packet in container.demux(streams)) if streams else 0


def equal_times(a: list[Fraction], b: list[Fraction], container: str) -> str:
    if len(a) != len(b):
        return "**no**"
    if a == b:
        return "yes"
    if len({x - y for x, y in zip(a, b, strict=True)}) == 1:
        return f"all {float(b[0] - a[0]):+.3f} s"
    worst = max(abs(x - y) for x, y in zip(a, b, strict=True))
    if worst <= Fraction(1, 2000) and container == "mkv":  # Matroska counts in milliseconds
        return "to 1 ms"
    return f"**{float(worst) * 1000:.2f} ms**"


def x264_psnr(source: Source, size: int, work: Path) -> tuple[float, float]:
    """PSNR 6:1:1 of x264 medium at `size` bytes, and how far its file is from that."""
    anchor, path = anchors.Anchor("x264", "medium"), work / "x264.h264"

    def write(crf: float) -> anchors.Encoded:
        return anchors.encode(source, source.format, anchor, crf, path)

    best = write(anchors.at_size(lambda crf: write(crf).bytes, size, anchor.family))
    quality = compare(source, anchors.decode(path, anchor, source.format), ClipQuality(ssim=False))
    return quality.clip().psnr_611, best.bytes / size - 1


def row(clip: Path, args: argparse.Namespace, work: Path) -> tuple[list[str], bool]:
    source = make_reference(clip, work, frames=args.frames)
    lvz, video = work / "clip.lvz", work / f"clip.{args.container}"
    start = time.perf_counter()
    encode_file(source.path, lvz, model=args.model, quality=args.quality, force=True)
    encode_seconds = time.perf_counter() - start
    spent = [0.0]
    quality = compare(source, timed(decode_frames(lvz, model=args.model), spent), ClipQuality()).clip()
    decode_file(lvz, video, codec="ffv1" if args.container == "mkv" else "h264", model=args.model, force=True)
    before, after = look(source.path), look(video)
    samples = source.format.width * source.format.height * len(before.times)
    size = lvz.stat().st_size - audio_bytes(source.path)
    theirs, miss = x264_psnr(source, size, work)
    times = equal_times(before.times, after.times, args.container)
    checks = [before.rotation == after.rotation, before.sar == after.sar, before.colour == after.colour]
    audio = "–" if not before.audio else "yes" if before.audio == after.audio else "**no**"
    same = len(before.times) == len(after.times)
    cells = [
        clip.name,
        f"{source.format.width}×{source.format.height}",
        f"{len(before.times)}" + ("" if same else f" **→ {len(after.times)}**"),
        times,
        *("yes" if ok else "**no**" for ok in checks),
        audio,
        f"{8 * size / samples:.4f}",
        f"{quality.psnr_611:.2f}",
        f"{quality.ssim_y:.4f}",
        f"{theirs:.2f}" + (f" (size {miss:+.0%})" if abs(miss) > 0.02 else ""),
        f"{quality.psnr_611 - theirs:+.2f}",
        f"{len(before.times) / encode_seconds:.0f} / {len(before.times) / spent[0]:.0f}",
    ]
    return cells, same and all(checks) and "**" not in times + audio


HEADS = (
    "clip, size, frames, pts, rotation, SAR, colour, audio, bpp, PSNR 6:1:1, SSIM-Y, x264 medium, Δ dB, fps enc / dec"
).split(", ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--model")
    parser.add_argument("--container", choices=("mp4", "mkv"), default="mp4", help="mkv: decoded losslessly with FFV1")
    parser.add_argument("--frames", type=int, help="only the first N, without audio then")
    args = parser.parse_args()
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    failed = 0
    for clip in sorted(p for p in args.folder.iterdir() if p.is_file()):
        with tempfile.TemporaryDirectory(prefix="lvc-val-") as work:
            try:
                cells, good = row(clip, args, Path(work))
            except Exception as e:  # the other clips still count
                cells, good = [clip.name, f"**{type(e).__name__}: {e}**"], False
                if os.environ.get("LVC_TRACEBACK"):
                    raise
        failed += not good
        print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\n{failed} with a difference" if failed else "\nall equal where they must be", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
