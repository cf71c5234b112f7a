"""Features from the intra analysis of the default codec, to compare with: docs/decisions/003-features.md.

Pictures of 128x128 become latents at 8x8; these are pooled and projected, by principal components or by what contrast
training finds on the frozen latents, with the same views and loss as `train.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from train import Moments, contrast
from views import cropped, disturbed, stored_views

from lvc.models import load_model
from lvc.models.network import Context, to_patches

LEVEL, DIMENSIONS = 10.0, 64
ROUNDS, STEPS = 50, 2500
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]


@torch.inference_mode()
def latents(net: nn.Module, luma: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """Views 0..255 → latents pooled to 4x4, float32 [N,M,4,4]."""
    pooled = []
    for y, uv in zip(luma.split(32), chroma.split(32), strict=True):
        level = torch.full((len(y),), LEVEL)
        out = net.analysis(to_patches(y / 255 - 0.5, uv / 255 - 0.5), None, Context(None, None), level)
        pooled.append(F.avg_pool2d(out, 2).clamp(-16, 16))
    return torch.cat(pooled).clone()


def whitened(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and the first principal components, each scaled to deviation 1."""
    mean = samples.mean(0)
    _, s, v = torch.linalg.svd(samples - mean, full_matrices=False)
    return mean, v[:DIMENSIONS].T / (s[:DIMENSIONS] / len(samples) ** 0.5)


def methods(train: Path, work: Path) -> dict[str, Embed]:
    net = load_model(None).codec.intra.float().eval()
    moments = Moments(stored_views([train], work / "cache", Fraction(1, 4)), 2)
    pairs = []
    for _ in range(ROUNDS):
        plain, other = moments.batch()
        a = cropped(*moments.views(plain), least=0.94)
        b = disturbed(*cropped(*moments.views(other), least=0.7, flip=0.4))
        clip = torch.tensor([c for c, _ in plain])
        moment = torch.tensor([moments.clips[c]["times"][m] for c, m in plain])
        pairs.append((latents(net, *a), latents(net, *b), clip, moment))
    known = torch.cat([a for a, *_ in pairs])
    mean1, pca1 = whitened(known.mean((2, 3)))
    mean16, pca16 = whitened(known.flatten(1))

    size = known[0].numel()
    scale = known.flatten(1).std(0) + 0.1
    linear = nn.Linear(size, DIMENSIONS)
    deep = nn.Sequential(nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, DIMENSIONS))
    for head in (linear, deep):
        _fit(head, pairs, mean16, scale)

    def embed(project: Callable[[torch.Tensor], torch.Tensor]) -> Embed:
        def run(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
            y = latents(net, torch.from_numpy(luma).float()[:, None], torch.from_numpy(chroma).float())
            with torch.inference_mode():
                return np.asarray(project(y).numpy())

        return run

    return {
        "codec, mean of latents, whitened": embed(lambda y: (y.mean((2, 3)) - mean1) @ pca1),
        "codec, 4x4 means, whitened": embed(lambda y: (y.flatten(1) - mean16) @ pca16),
        "codec, learned linear": embed(lambda y: linear((y.flatten(1) - mean16) / scale)),
        "codec, learned two layers": embed(lambda y: deep((y.flatten(1) - mean16) / scale)),
    }


def _fit(head: nn.Module, pairs: list[tuple[torch.Tensor, ...]], mean: torch.Tensor, scale: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        a, b, clip, moment = pairs[step % len(pairs)]
        x, y = (F.normalize(head((z.flatten(1) - mean) / scale)) for z in (a, b))
        loss = contrast(x, y, clip, moment)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
