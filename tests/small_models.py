"""Small models with random weights, and synthetic pictures for them: nothing here needs data or training.

`sane` starts like a training run (principal components of synthetic pictures), so that it codes as a codec should;
`wild` has random integer networks, so that every probability table is in use.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lvc.media.types import Frame, VideoFormat
from lvc.models import Model, load_model
from lvc.models.config import ModelConfig
from lvc.models.network import Codec, to_patches
from lvc.training.start import blocks, pca_start
from lvc.training.tables import build_tables

SMALL = ModelConfig(
    name="small", latent=32, inter_latent=24, hyper=4, inter_width=32, inter_encoder_blocks=1, inter_decoder_blocks=1,
    intra_width=32, intra_encoder_blocks=1, intra_decoder_blocks=1, side=16, scale_hidden=16,
)  # fmt: skip


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lvc-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def planes(height: int, width: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A textured picture, moved by `shift` luma samples down and half as many to the right: y uint8 [H,W], uv uint8
    [2,⌈H/2⌉,⌈W/2⌉]."""
    rng = np.random.default_rng(seed)
    waves = [(rng.uniform(-0.5, 0.5, 2), rng.uniform(0, 6.28), rng.uniform(4, 16)) for _ in range(12)]

    def draw(h: int, w: int, step: float, scale: float) -> np.ndarray:
        y, x = np.mgrid[0:h, 0:w] * step
        value = sum(a * np.sin(f[0] * (y - shift) + f[1] * (x - shift / 2) + p) for f, p, a in waves)
        return np.clip(np.round(128 + scale * value), 0, 255).astype(np.uint8)

    h2, w2 = -(-height // 2), -(-width // 2)
    return draw(height, width, 1.0, 1.0), np.stack([draw(h2, w2, 2.0, 0.4), draw(h2, w2, 2.0, -0.3)])


def frame(number: int, height: int, width: int, shift: float = 0.0, seed: int = 0) -> Frame:
    y, uv = planes(height, width, shift, seed)
    return Frame(y, uv[0].copy(), uv[1].copy(), number, 1)


def video(height: int, width: int) -> VideoFormat:
    return VideoFormat(width, height, (1, 25), (25, 1))


def _samples(y: np.ndarray, uv: np.ndarray) -> torch.Tensor:
    return to_patches(torch.from_numpy(y)[None, None] / 255 - 0.5, torch.from_numpy(uv)[None] / 255 - 0.5)


def codec(kind: str = "sane", config: ModelConfig = SMALL, seed: int = 1) -> Codec:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Codec(config)
        shown = [_samples(*planes(128, 128, 0.0, s)) for s in range(8)]
        moved = [_samples(*planes(128, 128, 0.3, s)) for s in range(8)]
        pca_start(net.intra, torch.cat([blocks(p) for p in shown]))
        pca_start(net.inter, torch.cat([blocks(a - b) for a, b in zip(shown, moved, strict=True)]))
        if kind == "wild":
            for one in (net.intra, net.inter):
                for scale in (one.scale1, one.scale2):
                    for layer in (scale.first, scale.second, scale.last):
                        torch.nn.init.normal_(layer.weight, std=3.0 * layer.weight.shape[1] ** -0.5)
                    torch.nn.init.normal_(scale.last.bias, std=1.0)
    return net


def save(net: Codec, path: Path) -> Path:
    save_file({**net.state_dict(), **build_tables(net)}, path, {"config": net.config.to_json()})
    return path


@functools.cache
def model_file(kind: str = "sane") -> Path:
    return save(codec(kind), _folder() / f"{kind}.safetensors")


@functools.cache
def model(kind: str = "sane", dtype: torch.dtype = torch.float32) -> Model:
    return load_model(model_file(kind), dtype=dtype)
