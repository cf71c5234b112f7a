"""Compares decoded pictures with the source: the requested metrics, and the pictures of the report."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lvc.errors import MediaError
from lvc.evaluation import pictures
from lvc.evaluation.metrics import ClipQuality
from lvc.evaluation.perceptual import EVERY, MIN_SIDE, StLpips
from lvc.evaluation.rawfile import picture_bytes, read_pictures
from lvc.evaluation.source import Source
from lvc.media.ffmpeg import VMAF_MIN_SIDE, VMAF_MODELS, Vmaf

SLOW = "st-lpips"
"""Metrics that `all` leaves out."""
METRICS = ("psnr", "ssim", "ms-ssim", *(name.replace("_", "-") for name in VMAF_MODELS), SLOW)


def judge(job: dict[str, Any]) -> dict[str, Any]:
    """`src`: raw pictures of `codec`, of `size`; `reference`: the source. Raises MediaError where they do not match.

    `metrics` of `METRICS`; `pictures`: a prefix under which two frames are written, and the source's two under
    `originals`, or empty. Returns `clip` and `per_frame` figures (`FrameQuality`), and with the frames whose
    `pictures` were written.
    """
    source, raw, metrics = Source(job["reference"]), Path(job["src"]), job["metrics"]
    video = source.format
    width, height = job["size"] or (0, 0)
    if (width, height) != (video.width, video.height):
        raise MediaError(
            f"{job['codec']} gave back {width}x{height} instead of {video.width}x{video.height} — a bug, report it"
        )
    shown = (
        pictures.shown_frames(raw.stat().st_size // picture_bytes(width, height, video.bit_depth))
        if job["pictures"]
        else []
    )
    written: list[int] = []
    perceptual = None
    if SLOW in metrics and min(width, height) >= MIN_SIDE:
        perceptual = StLpips(video.full_range, job["threads"])
    quality = ClipQuality(
        ssim="ssim" in metrics, multi_scale="ms-ssim" in metrics, perceptual=perceptual, perceptual_every=EVERY
    )
    with contextlib.ExitStack() as stack:
        vmaf = None
        figures = [name for name in VMAF_MODELS if name.replace("_", "-") in metrics]
        if figures and min(width, height) >= VMAF_MIN_SIDE:
            vmaf = stack.enter_context(Vmaf(raw, width, height, raw.parent, job["threads"], figures, video.bit_depth))
        decoded = read_pictures(raw, width, height, video.bit_depth)
        for index, (mine, other) in enumerate(zip_longest(source, decoded)):
            if mine is None or other is None:
                what = f"only {index} frames" if other is None else f"more than {index} frames"
                raise MediaError(f"{job['codec']} gave back {what} — a bug, report it")
            quality.add(mine, other)
            if vmaf:
                vmaf.write(mine)
            if index in shown:
                for prefix, picture in ((job["pictures"], other), (job["originals"], mine)):
                    path = Path(pictures.name_of(prefix, index))
                    if not path.exists():
                        pictures.write(picture, video, path)
                written.append(index)
    if vmaf:
        quality.add_vmaf(vmaf.scores())
    return {
        "frames": len(quality.frames),
        "fps": None,
        "clip": asdict(quality.clip()),
        "per_frame": [asdict(frame) for frame in quality.frames],
        "pictures": written,
    }
