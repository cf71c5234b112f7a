#!/usr/bin/env python3
"""How small taef2 latents of `val` frames get at 0.1 dB of decoded PSNR: lvc pack beside its rivals.

    scripts/figures/pack_taef2.py [--frames 2] [--every 30] [--rows 360] [--video] [--loss 0.1]

TAESD for FLUX.2 (weights in $LVC_DATA/pretrained) encodes frames of every clip. For each way of storing them a step
is sought at which the decoded RGB pictures lose `--loss` dB of PSNR against the originals, mean over the clips; that is
then written by `lvc pack`, and all its bytes are counted. `--video` packs the frames of a clip as one tensor CTHW.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zstandard
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from lvc.latents import Bound, LatentFile, pack_latents
from lvc.latents.colour import to_rgb
from lvc.latents.quantise import Quantiser, Statistics, rotation
from lvc.latents.sensitivity import channel_weights
from lvc.media import Frame, MediaReader
from lvc.models.adapters import load_adapter

DATA = Path(os.environ.get("LVC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
MODEL = f"taesd:{DATA / 'pretrained'}"
Clips = dict[str, tuple[Tensor, Tensor]]  # pictures [n, 3, H, W] and latents [n, C, h, w]


def frames_of(path: Path, count: int, every: int, rows: int) -> Tensor:
    """RGB in 0..1, sides cut to multiples of 8."""
    with MediaReader(path) as reader:
        video = reader.video
    scaled = f"x{rows}" if video.height > rows else None
    found: list[Tensor] = []
    with MediaReader(path, resolution=scaled, audio="none") as reader:
        for number, frame in enumerate(item for item in reader if isinstance(item, Frame)):
            if number % every == 0:
                rgb = to_rgb(frame, reader.video.matrix, reader.video.color_range)
                height, width = (n // 8 * 8 for n in rgb.shape[1:])
                found.append(rgb[:, :height, :width])
            if len(found) == count:
                break
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--every", type=int, default=30)
    parser.add_argument("--rows", type=int, default=360)
    parser.add_argument("--loss", type=float, default=0.1)
    parser.add_argument("--video", action="store_true")
    args = parser.parse_args()
    adapter = load_adapter(MODEL)
    clips: Clips = {}
    for path in sorted((DATA / "val").iterdir()):
        if path.suffix == ".yuv":
            continue  # a bare file has no size; the others are enough
        pictures = frames_of(path, args.frames, args.every, args.rows)
        clips[path.stem] = pictures, adapter.encode(pictures).bfloat16().float()
    raw = sum(2 * latents.numel() for _, latents in clips.values())
    base = [F.mse_loss(decoded(adapter, latents), pictures).item() for pictures, latents in clips.values()]
    print(f"{len(clips)} clips, {sum(len(p) for p, _ in clips.values())} frames, {raw} bytes as bf16; ", end="")
    print(f"decoded PSNR {np.mean([-10 * np.log10(b) for b in base]):.2f} dB", flush=True)

    def losses(change: Callable[[Tensor], Tensor]) -> list[float]:
        now = [F.mse_loss(decoded(adapter, change(x)), p).item() for p, x in clips.values()]
        return [10 * np.log10(a / b) for a, b in zip(now, base, strict=True)]

    def line(name: str, size: int, lost: list[float]) -> None:
        print(f"| {name} | {size / raw:.3f} | {np.mean(lost):.3f} ({min(lost):.2f} to {max(lost):.2f}) |", flush=True)

    print("| stored as | of bf16 | dB lost, mean (range over clips) |\n|---|---|---|")
    everything = [x.bfloat16() for _, x in clips.values()]
    line("zstd -19 of bf16", zstd([x.view(torch.int16) for x in everything]), [0.0])
    eighths = [x.to(torch.float8_e4m3fn) for x in everything]
    line("cast to fp8 e4m3, zstd -19", zstd([x.view(torch.uint8) for x in eighths]),
         losses(lambda x: x.to(torch.float8_e4m3fn).float()))  # fmt: skip
    uniform, size = five_bits([x for _, x in clips.values()])
    line("5-bit uniform per channel and clip, zstd -19", size, losses(uniform))

    statistics = Statistics.empty(adapter.channels)
    for _, latents in clips.values():
        statistics.add(latents.numpy())
    weights = channel_weights(adapter, [x[:1] for _, x in clips.values()])
    for name, forward, decoder in (
        ("lvc, same step for all", rotation(statistics, None), None),
        ("lvc, weighted by the decoder", rotation(statistics, weights), MODEL),
    ):
        step = found_step(lambda q: losses(q), statistics, forward, args.loss)
        for packing in ("zstd", "field"):
            with tempfile.TemporaryDirectory() as folder:
                size, back = packed(Path(folder), clips, step, packing, decoder, args.video)
                lost = losses(lambda x, back=back: back[id_of(x)])
            line(f"{name}, packing {packing}", size, lost)


def id_of(latents: Tensor) -> float:
    return float(latents.double().sum())


def decoded(adapter: object, latents: Tensor) -> Tensor:
    with torch.inference_mode():
        return adapter.decode(latents).clamp(0, 1)  # type: ignore[attr-defined]


def zstd(arrays: list[Tensor]) -> int:
    compressor = zstandard.ZstdCompressor(level=19)
    return sum(len(compressor.compress(x.contiguous().numpy().tobytes())) for x in arrays)


def five_bits(latents: list[Tensor]) -> tuple[Callable[[Tensor], Tensor], int]:
    def parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        low, high = x.amin((0, 2, 3), keepdim=True), x.amax((0, 2, 3), keepdim=True)
        step = (high - low) / 31
        return ((x - low) / step).round(), low, step

    size = zstd([parts(x)[0].byte() for x in latents]) + sum(8 * x.shape[1] for x in latents)
    return lambda x: (lambda q, low, step: low + q * step)(*parts(x)), size


def found_step(
    losses: Callable[[Callable[[Tensor], Tensor]], list[float]], statistics: Statistics, forward: object, wanted: float
) -> float:
    """The step whose mean loss is `wanted`, a little less: extra error is about proportional to its square."""
    step, matrix = 0.2 if forward is None else 0.3, forward
    for _ in range(4):
        quantiser = Quantiser(statistics.mean, matrix, step)  # type: ignore[arg-type]
        inverse = np.eye(len(statistics.mean)) if matrix is None else np.linalg.inv(matrix)  # type: ignore[arg-type]

        def change(x: Tensor, q: Quantiser = quantiser, back: np.ndarray = inverse) -> Tensor:
            flat = q(x.numpy()).reshape(*x.shape[:2], -1) * q.step
            return torch.from_numpy((back @ flat + q.mean[:, None]).reshape(x.shape)).bfloat16().float()

        lost = float(np.mean(losses(change)))
        if 0.93 * wanted <= lost <= wanted:
            break
        step *= float(np.clip(np.sqrt(0.965 * wanted / max(lost, 0.1 * wanted)), 0.5, 2))
    return step


def packed(
    folder: Path, clips: Clips, step: float, packing: str, decoder: str | None, video: bool
) -> tuple[int, dict[float, Tensor]]:
    """Bytes of the file, and what comes back, by the original."""
    source, target = folder / "in", folder / "out.lvz"
    source.mkdir()
    for name, (_, latents) in clips.items():
        parts = [latents.transpose(0, 1)] if video else list(latents)
        for number, part in enumerate(parts):
            save_file({"latents": part.bfloat16().contiguous()}, source / f"{name}_{number:03d}.safetensors")
    pack_latents([source], target, bound=Bound("step", step), packing=packing, decoder=decoder)
    found: dict[str, list[Tensor]] = {}
    with LatentFile(target) as file:
        for number, sample in enumerate(file.samples):
            back = file.read(number).float()
            found.setdefault(sample.name[:-4], []).append(back.transpose(0, 1) if video else back[None])
    return target.stat().st_size, {id_of(clips[name][1]): torch.cat(parts) for name, parts in found.items()}


if __name__ == "__main__":
    main()
