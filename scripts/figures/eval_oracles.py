#!/usr/bin/env python3
"""Each metric of lvc eval beside FFmpeg's or libvmaf's own figure: the largest difference over frames and qualities.

    scripts/figures/eval_oracles.py CLIP... [--frames 8] [--crf 20,30,40]

The clip goes through x264; its decoded frames are judged as `lvc eval` judges them, and once more by the static FFmpeg
of lvc[eval] reading two files. libvmaf's PSNR ends at 60 dB, and lvc's is compared up to there. libvmaf's MS-SSIM is
another one than Wang's: it halves by a 9/7 wavelet's low pass where Wang takes the mean of 2x2, and multiplies the
means of contrast and structure where Wang averages their product. `MS-SSIM 9/7` is lvc's with the first of the two
swapped. ST-LPIPS has no oracle here: tests compare it with its authors' package.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lvc.evaluation import anchors, metrics
from lvc.evaluation.judge import METRICS, SLOW, judge
from lvc.evaluation.rawfile import read_pictures
from lvc.evaluation.reference import make_reference
from lvc.media import ffmpeg
from lvc.media.ffmpeg import write_picture

LOW_PASS = (0.026727, -0.016828, -0.078201, 0.266846, 0.602914, 0.266846, -0.078201, -0.016828, 0.026727)


def compared(clip: Path, crf: float, frames: int, folder: Path) -> dict[str, float]:
    """The largest difference of each metric over the frames, each frame for itself."""
    source = make_reference(clip, folder, frames=frames, max_height=480)
    video, pictures = source.format, list(source)
    anchor = anchors.Anchor("x264", "medium", 1)
    encoded = anchors.encode(pictures, video, anchor, crf, folder / "a.h264")
    for name, items in (("mine.raw", pictures), ("decoded.raw", anchors.decode(encoded.path, anchor, video))):
        with (folder / name).open("wb") as file:
            for item in items:
                write_picture(file, item)
    order: dict[str, Any] = {"codec": "x264", "src": str(folder / "decoded.raw"), "reference": str(source.path)}
    order |= {"size": (video.width, video.height), "metrics": [m for m in METRICS if m != SLOW], "threads": 1}
    ours = judge(order | {"pictures": "", "originals": ""})["per_frame"]
    decoded = list(read_pictures(folder / "decoded.raw", video.width, video.height))
    wavelet = [_ms_ssim_by_wavelet(a.y, b.y) for a, b in zip(pictures, decoded, strict=True)]
    theirs = _by_ffmpeg(folder, video.width, video.height)
    seen: dict[str, float] = {}
    for mine, wave, their in zip(ours, wavelet, theirs, strict=True):
        for name, value, oracle in (
            ("PSNR-Y", min(60, mine["psnr_y"]), their["psnr_y"]),
            ("PSNR-U", min(60, mine["psnr_u"]), their["psnr_cb"]),
            ("PSNR-V", min(60, mine["psnr_v"]), their["psnr_cr"]),
            ("SSIM-Y", mine["ssim_y"], their["ssim_y"]),
            ("SSIM", mine["ssim_all"], their["ssim_all"]),
            ("MS-SSIM", mine["ms_ssim_y"], their["float_ms_ssim"]),
            ("MS-SSIM 9/7", wave, their["float_ms_ssim"]),
            ("VMAF", mine["vmaf"], their["vmaf"]),
            ("VMAF-NEG", mine["vmaf_neg"], their["neg"]["vmaf"]),
        ):
            seen[name] = max(seen.get(name, 0.0), abs(value - oracle))
    return seen


def _by_ffmpeg(folder: Path, width: int, height: int) -> list[dict[str, Any]]:
    """libvmaf's log, with FFmpeg's SSIM of the same frames."""
    inputs = [part for name in ("decoded.raw", "mine.raw") for part in ffmpeg.raw_input(width, height, "25", name)]
    features = "feature=name=psnr|name=float_ms_ssim"
    for graph in (
        f"libvmaf=log_fmt=json:log_path=log.json:{features}",
        "libvmaf=log_fmt=json:log_path=neg.json:model=version=vmaf_v0.6.1neg",
        "ssim=stats_file=ssim.log",
    ):
        command = [
            str(ffmpeg.executable()),
            "-nostdin",
            "-loglevel",
            "error",
            *inputs,
            "-lavfi",
            graph,
            "-f",
            "null",
            "-",
        ]
        subprocess.run(command, cwd=folder, check=True)
    found, neg = (
        [frame["metrics"] for frame in json.loads((folder / name).read_text())["frames"]]
        for name in ("log.json", "neg.json")
    )
    for frame, other, line in zip(found, neg, (folder / "ssim.log").read_text().splitlines(), strict=True):
        parts = dict(part.split(":") for part in line.split() if ":" in part)
        frame |= {"ssim_y": float(parts["Y"]), "ssim_all": float(parts["All"]), "neg": other}
    return found


def _ms_ssim_by_wavelet(a: metrics.Plane, b: metrics.Plane) -> float:
    def halve(x: metrics.F32) -> metrics.F32:
        for axis in (0, 1):
            padded = np.pad(x, [(4, 4) if i == axis else (0, 0) for i in (0, 1)], mode="symmetric")
            n = x.shape[axis]
            x = sum(w * (padded[i : i + n] if axis == 0 else padded[:, i : i + n]) for i, w in enumerate(LOW_PASS))
        return x[::2, ::2].astype(np.float32)

    kept, metrics._halve = metrics._halve, halve
    try:
        return metrics.ms_ssim(a, b) or 0.0
    finally:
        metrics._halve = kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--crf", default="20,30,40")
    args = parser.parse_args()
    if missing := ffmpeg.why_not("filter", "libvmaf"):
        sys.exit(missing)
    for clip in args.clips:
        for crf in args.crf.split(","):
            with tempfile.TemporaryDirectory() as folder:
                seen = compared(clip, float(crf), args.frames, Path(folder))
            figures = ", ".join(f"{name} {value:.2g}" for name, value in seen.items())
            print(f"{clip.name} CRF {crf}: {figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
