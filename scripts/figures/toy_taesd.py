#!/usr/bin/env python3
"""The toy that lvc must beat: an image VAE's latents, 5 bits each, zstd. "2.1 bpp at 32.4 dB" on foreman.

    scripts/figures/toy_taesd.py [CLIP] [--frames 32] [--bits 5] [--level 19]

TAESD for FLUX.2 (taef2, MIT; weights in $LVC_DATA/pretrained) encodes each frame by itself to 32 channels at 1/8.
Each latent becomes one of 2^bits uniform steps between its channel's extremes over the clip (two float32 per channel,
counted); the indices, one byte each, frame by frame and channel by channel, are one zstd stream. Frames go to RGB and
back through swscale, since the VAE knows nothing else. PSNR is that of the YUV 4:2:0 planes, as everywhere in lvc, and
that of the VAE's own RGB, which is what the quoted figure is.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import av
import numpy as np
import torch
import zstandard
from torch import Tensor
from torch.nn import functional as F

from lvc.evaluation.metrics import ClipQuality, psnr
from lvc.evaluation.planes import Picture, from_frame, to_frame
from lvc.evaluation.source import Source

DATA = Path(os.environ.get("LVC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
Weights = dict[str, Tensor]


def convolve(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w.get(f"{name}.bias"), stride, padding=weight.shape[-1] // 2)


def block(w: Weights, name: str, x: Tensor) -> Tensor:
    """Three 3×3 convolutions and a residual; in the middle of the network a pooled path before them."""
    if f"{name}.pool.0.weight" in w:
        pooled = convolve(w, f"{name}.pool.0", x)
        pooled = F.relu(F.group_norm(pooled, 4, w[f"{name}.pool.1.weight"], w[f"{name}.pool.1.bias"]))
        x = x + convolve(w, f"{name}.pool.3", pooled)
    y = x
    for i in (0, 2, 4):
        y = convolve(w, f"{name}.conv.{i}", y if i == 0 else F.relu(y))
    return F.relu(x + y)


def network(w: Weights, x: Tensor, up: bool) -> Tensor:
    """The layers in the order of their numbers; a convolution without bias changes the resolution by 2."""
    for layer in sorted({int(name.split(".")[0]) for name in w}):
        if f"{layer}.conv.0.weight" in w:
            x = block(w, str(layer), x)
        elif f"{layer}.bias" in w:
            x = convolve(w, str(layer), x)
            if up and layer == 1:
                x = F.relu(x)
        else:
            x = convolve(w, str(layer), F.interpolate(x, scale_factor=2) if up else x, 1 if up else 2)
    return x


def load(part: str) -> Weights:
    weights = torch.load(DATA / "pretrained" / f"taef2_{part}.pth", map_location="cpu", weights_only=True)
    return {name: tensor.float() for name, tensor in weights.items()}


def to_rgb(picture: Picture) -> Tensor:
    rgb = to_frame(picture).reformat(format="rgb24", src_colorspace="ITU601", interpolation="BICUBIC").to_ndarray()
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def to_yuv(rgb: Tensor) -> Picture:
    values = (rgb[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    frame = av.VideoFrame.from_ndarray(values, "rgb24")
    return from_frame(frame.reformat(format="yuv420p", dst_colorspace="ITU601", interpolation="BICUBIC"), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, default=DATA / "val" / "foreman_cif_ns3.mp4")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--bits", type=int, default=5)
    parser.add_argument("--level", type=int, default=19)
    args = parser.parse_args()
    source = Source(args.clip, frames=args.frames)
    pictures = list(source)
    width, height = source.format.width, source.format.height
    pad = (0, -width % 8, 0, -height % 8)

    with torch.inference_mode():
        encoder, decoder = load("encoder"), load("decoder")
        start = time.perf_counter()
        latents = torch.cat([network(encoder, F.pad(to_rgb(p), pad, mode="replicate"), up=False) for p in pictures])
        encode_fps = len(pictures) / (time.perf_counter() - start)

        low, high = (latents.amin((0, 2, 3), keepdim=True), latents.amax((0, 2, 3), keepdim=True))
        step = (high - low) / (2**args.bits - 1)
        indices = ((latents - low) / step).round().to(torch.uint8)
        packed = zstandard.ZstdCompressor(level=args.level).compress(np.ascontiguousarray(indices.numpy()).tobytes())
        size = len(packed) + 4 * (low.numel() + high.numel())

        quality, errors, start = ClipQuality(), 0.0, time.perf_counter()
        for picture, index in zip(pictures, indices, strict=True):
            values = 3 * torch.tanh((low + index[None] * step) / 3)
            decoded = network(decoder, values, up=True)[..., :height, :width]
            errors += float(F.mse_loss((decoded.clamp(0, 1) * 255).round(), to_rgb(picture) * 255))
            quality.add(picture, to_yuv(decoded))
        decode_fps = len(pictures) / (time.perf_counter() - start)

    clip, bits_raw = quality.clip(), args.bits * math.prod(latents.shape) / (len(pictures) * width * height)
    print(f"{args.clip.name}: {len(pictures)} frames {width}x{height}, latents {tuple(latents.shape[1:])}")
    print(f"{8 * size / (len(pictures) * width * height):.3f} bpp ({bits_raw:.3f} before zstd)")
    print(f"PSNR-Y {clip.psnr_y:.2f} U {clip.psnr_u:.2f} V {clip.psnr_v:.2f}, 6:1:1 {clip.psnr_611:.2f} dB", end="")
    print(f", SSIM-Y {clip.ssim_y:.4f}; PSNR of RGB {psnr(errors / len(pictures)):.2f} dB")
    print(f"encode {encode_fps:.2f} fps, decode {decode_fps:.2f} fps on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
