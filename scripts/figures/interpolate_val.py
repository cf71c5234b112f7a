#!/usr/bin/env python3
"""How well `lvc interpolate` restores what was left out: every second frame of the validation clips, at most 480 rows.

    scripts/figures/interpolate_val.py [--frames 33] [--clips a,b] [--weights FILE] [--json OUT] [--pictures FOLDER]

Beside it: the frame before repeated, both neighbours blended, FFmpeg's minterpolate (in PyAV's filter graph) and the
mean of both compensated frames, which is what the network starts from. PSNR is pooled over a clip's restored frames,
SSIM of luma is their mean. minterpolate gives nothing behind its last but one frame: the same frames count for all.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.filter import Graph

from lvc.evaluation.metrics import ClipQuality, FrameQuality
from lvc.evaluation.source import Source
from lvc.interpolate.between import Between, Planes, pad_planes
from lvc.interpolate.motion import PairSearch
from lvc.interpolate.network import Interpolation, default_interpolation, load_interpolation
from lvc.interpolate.stream import is_cut
from lvc.media.pictures import PictureMaker
from lvc.media.planes import frame_from_planes
from lvc.media.types import Frame, VideoFormat
from lvc.search.sheet import write_png

ROOT = Path(__file__).resolve().parents[2]
MINTERPOLATE = "fps=50:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1"
Found = dict[int, Frame]


def blended(a: Frame, b: Frame) -> Frame:
    def mean(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return ((p.astype(np.uint16) + q + 1) // 2).astype(np.uint8)

    return Frame(mean(a.y, b.y), mean(a.u, b.u), mean(a.v, b.v), 0, 0)


def cropped(planes: Planes, like: Frame) -> Frame:
    (h, w), (ch, cw) = like.y.shape, like.u.shape
    return Frame(planes[0][:h, :w], planes[1][0, :ch, :cw], planes[1][1, :ch, :cw], 0, 0)


def minterpolated(kept: list[Frame]) -> Found:
    """FFmpeg's frames by their place: 1 lies between the first two kept."""
    height, width = kept[0].y.shape
    graph = Graph()
    source: Any = graph.add_buffer(width=width, height=height, format="yuv420p", time_base=Fraction(1, 25))
    between, sink = graph.add("minterpolate", MINTERPOLATE), graph.add("buffersink")
    source.link_to(between)
    between.link_to(sink)
    graph.configure()

    def ready() -> Iterator[Any]:
        while True:
            try:
                yield graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def pushed() -> Iterator[Any]:
        for number, frame in enumerate(kept):
            picture = frame_from_planes(frame.y, frame.u, frame.v, width, height)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            graph.push(picture)
            yield from ready()
        graph.push(None)
        yield from ready()

    found = {}
    for picture in pushed():
        planes = [
            np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width].copy() for p in picture.planes
        ]
        found[round(picture.pts * picture.time_base * 50)] = Frame(*planes, 0, 0)
    return {number: frame for number, frame in found.items() if number % 2}


def restored(kept: list[Frame], interpolation: Interpolation) -> tuple[Found, Found]:
    """What lvc makes, and the mean of what its motion gives."""
    search: PairSearch | None = None
    made, means, steady = {}, {}, None
    for number, frame in enumerate(kept):
        planes = pad_planes(frame)
        search = search or PairSearch(*planes[0].shape)
        fields = search.push(*planes)
        if fields is not None:
            before = pad_planes(kept[number - 1])
            if is_cut(before, planes, fields):
                made[2 * number - 1] = means[2 * number - 1] = kept[number - 1]
                steady = None
                continue
            pair = Between(before, planes, fields, steady)
            steady = -fields.onward.astype(np.float32)
            made[2 * number - 1] = cropped(pair.frame(0.5, interpolation), frame)
            found = pair.ingredients(0.5)
            means[2 * number - 1] = blended(cropped(found.a, frame), cropped(found.b, frame))
    return made, means


def quality(truth: list[Frame], found: Found, numbers: Iterable[int]) -> FrameQuality:
    result = ClipQuality()
    for number in numbers:
        result.add(truth[number], found[number])  # type: ignore[arg-type]
    return result.clip()


def picture_of(frames: list[Frame], crop: list[int] | None) -> np.ndarray:
    """Side by side, uint8 [rows,columns,3]; of each frame the part `crop` (width, height, left, top)."""
    height, width = frames[0].y.shape
    maker = PictureMaker(VideoFormat(width, height, (1, 25)))
    w, h, x, y = crop or (width, height, 0, 0)
    return np.concatenate([maker.rgb(frame)[y : y + h, x : x + w] for frame in frames], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--clips", default="")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--pictures", type=Path, help="of each clip, the middle one: source, blended, minterpolate, lvc"
    )
    parser.add_argument("--crop", type=int, nargs=4, metavar=("WIDTH", "HEIGHT", "LEFT", "TOP"), help="of the pictures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    interpolation = load_interpolation(args.weights) if args.weights else default_interpolation()
    data = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data")) / "val"
    wanted = [c for c in args.clips.split(",") if c]
    rows: dict[str, dict[str, tuple[float, float, float]]] = {}
    seconds = 0.0
    for path in sorted(p for p in data.iterdir() if not wanted or any(w in p.name for w in wanted)):
        # two more than are measured, for minterpolate's sake
        truth = [Frame(p.y, p.u, p.v, 0, 1) for p in Source(path, frames=args.frames + 2, max_height=480)]
        kept = truth[: len(truth) - 1 + len(truth) % 2 : 2]
        started = time.process_time()
        made, means = restored(kept, interpolation)
        seconds += time.process_time() - started
        ffmpeg = minterpolated(kept)
        numbers = [n for n in sorted(made) if n in ffmpeg and n < args.frames]
        methods: dict[str, Found] = {
            "repeat": {n: truth[n - 1] for n in numbers},
            "blend": {n: blended(truth[n - 1], truth[n + 1]) for n in numbers},
            "minterpolate": ffmpeg,
            "compensated": means,
            "lvc": made,
        }
        rows[path.name] = {}
        for name, found in methods.items():
            q = quality(truth, found, numbers)
            rows[path.name][name] = (q.psnr_611, q.psnr_y, q.ssim_y or 0.0)
        cells = " | ".join(f"{p:.2f} / {y:.2f} / {s:.4f}" for p, y, s in rows[path.name].values())
        print(f"| {path.name} ({len(numbers)}) | {cells} |", flush=True)
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            n = numbers[len(numbers) // 2]
            shown = [truth[n], *(methods[m][n] for m in ("blend", "minterpolate", "lvc"))]
            write_png(args.pictures / f"{path.stem}.png", picture_of(shown, args.crop))
    mean = {m: np.mean([row[m] for row in rows.values()], 0) for m in next(iter(rows.values()))}
    print("| mean | " + " | ".join(f"{p:.2f} / {y:.2f} / {s:.4f}" for p, y, s in mean.values()) + " |")
    print("columns:", ", ".join(mean), f"— PSNR 6:1:1, PSNR of Y, SSIM of Y; {seconds:.0f} s of one core")
    for rival in ("blend", "minterpolate"):
        worse = [name for name, row in rows.items() if row["lvc"][0] <= row[rival][0]]
        print(f"not above {rival}: {', '.join(worse) or 'none'}")
    if args.json:
        args.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
