#!/usr/bin/env python3
"""The picture of docs/latents.md: latents of two clips taken out by `lvc unpack`, edited, and shown by `lvc decode`.

    scripts/figures/latents.py CLIP OTHER [--size 352x288] [--frames 17] [--picture docs/latents.jpg] [--json OUT]

CLIP gets noise (σ = 10 of 255), so that there is something to take away and a clean picture to compare with. PSNR of
luma against the clean clip, over the frames named.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

import lvc
from lvc.latents import unpack_latents
from lvc.media import Frame, MediaReader, Y4mWriter
from lvc.media.pictures import PictureMaker

Arrays = dict[str, np.ndarray]
SIGMA, QUALITY = 10.0, 60
SHRINK = 20
"""Sixteenths of a step that a latent loses."""


def frames_of(path: Path, size: str | None = None, count: int | None = None) -> tuple[list[Frame], MediaReader]:
    with MediaReader(path, resolution=size) as video:
        frames = []
        for item in video:
            if isinstance(item, Frame):
                frames.append(item)
                if len(frames) == count:
                    break
        return frames, video


def noisy(frame: Frame, rng: np.random.Generator) -> Frame:
    planes = [
        np.clip(np.rint(p + rng.normal(0, SIGMA, p.shape)), 0, 255).astype(np.uint8)
        for p in (frame.y, frame.u, frame.v)
    ]
    return Frame(*planes, frame.pts, frame.duration)


def encoded(frames: list[Frame], video: MediaReader, folder: Path, name: str) -> Path:
    with (folder / f"{name}.y4m").open("wb") as file, Y4mWriter(file, video.video) as writer:
        for frame in frames:
            writer.write(frame)
    target = folder / f"{name}.lvz"
    lvc.encode_file(folder / f"{name}.y4m", target, quality=QUALITY)
    return target


def denoised(arrays: Arrays) -> Arrays:
    """In the right half latents shrink towards 0, those of key frames and residuals."""
    out = {name: arrays[name].copy() for name in ("key_frame", "key_value", "residual_frame", "residual_value")}
    half = arrays["key_value"].shape[-1] // 2
    for name in ("key_value", "residual_value"):
        value = out[name][..., half:].astype(np.int32)
        out[name][..., half:] = np.sign(value) * np.maximum(np.abs(value) - SHRINK, 0)
    return out


def mixed(arrays: Arrays, other: Arrays) -> Arrays:
    """The key frame half way to the other clip's, in units that do not depend on quality."""
    scale, from_scale = (a["key_scale"][:1, :, None, None] for a in (arrays, other))
    value = (arrays["key_value"][:1] + other["key_value"][:1] * from_scale / np.maximum(scale, 1e-6)) / 2
    hyper = np.rint((arrays["key_hyper"][:1] + other["key_hyper"][:1]) / 2).astype(np.int16)
    return {"key_frame": arrays["key_frame"][:1], "key_value": value.astype(np.float32), "key_hyper": hyper}


def without_level(arrays: Arrays) -> tuple[Arrays, list[int]]:
    """Frames of the lowest level say nothing but how their references move."""
    lowest = int(arrays["level"].max())
    numbers = arrays["frame"][arrays["level"] == lowest].tolist()
    rows = np.isin(arrays["residual_frame"], numbers)
    out = {name: arrays[name].copy() for name in ("residual_frame", "residual_skip", "residual_copy")}
    out["residual_skip"][rows] = out["residual_copy"][rows] = 1
    return out, numbers


def shown(source: Path, folder: Path, arrays: Arrays | None) -> list[Frame]:
    latents = None
    if arrays is not None:
        latents = folder / "edited.safetensors"
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, latents)
    lvc.decode_file(source, folder / "out.mkv", codec="ffv1", latents=latents, force=True)
    return frames_of(folder / "out.mkv")[0]


def psnr(frames: list[Frame], clean: list[Frame], which: list[int], columns: slice = slice(None)) -> float:
    errors = [
        (frames[i].y[:, columns].astype(float) - clean[i].y[:, columns].astype(float)) ** 2 for i in which
    ]  # fmt: skip
    return round(10 * float(np.log10(255**2 / np.mean(errors))), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--size", default="352x288")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--picture", type=Path, default=Path("docs/latents.jpg"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean, video = frames_of(args.clip, args.size, args.frames)
        second, _ = frames_of(args.other, args.size, 1)
        a = encoded([noisy(f, rng) for f in clean], video, folder, "a")
        b = encoded(second, video, folder, "b")
        for path in (a, b):
            unpack_latents(path, path.with_suffix(".safetensors"))
        arrays, other = (load_file(path.with_suffix(".safetensors")) for path in (a, b))
        plain = shown(a, folder, None)
        calm = shown(a, folder, denoised(arrays))
        mix = shown(a, folder, mixed(arrays, other))
        fewer, numbers = without_level(arrays)
        less = shown(a, folder, fewer)
    last, right = len(clean) - 1, slice(clean[0].y.shape[1] // 2, None)
    figures = {
        f"right half denoised, frame {i}": {
            "before": psnr(plain, clean, [i], right),
            "after": psnr(calm, clean, [i], right),
        }
        for i in (0, last)
    } | {
        "without the lowest level": {
            "frames": len(numbers),
            "before": psnr(plain, clean, numbers),
            "after": psnr(less, clean, numbers),
        },
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    maker = PictureMaker(video.video)
    rows = [
        [plain[last], calm[last]],
        [mix[0], second[0]],
        [plain[numbers[0]], less[numbers[0]]],
    ]  # fmt: skip
    picture = np.concatenate([np.concatenate([maker.rgb(f) for f in row], 1) for row in rows])
    Image.fromarray(picture).save(args.picture, quality=85)


if __name__ == "__main__":
    main()
