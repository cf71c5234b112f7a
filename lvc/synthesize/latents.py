"""Points of a VAE's latent space `[channels, rows, columns]`: drawn, and moved between others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvc.models.autoencoder import Prior


def drawn(prior: Prior, rows: int, columns: int, generator: torch.Generator, plain: bool = False) -> Tensor:
    """A sample: of what the prior was fitted to, where neighbours are alike, or `plain`, of the standard normal
    distribution that the KL divergence of the training pulls to."""
    noise = torch.randn(len(prior.mean), rows, columns, generator=generator)
    if plain:
        return noise
    parts = _alike(_alike(noise, prior.correlation).mT, prior.correlation).mT
    return prior.mean[:, None, None] + torch.einsum("ij,jhw->ihw", prior.factor, parts)


def _alike(noise: Tensor, correlation: Tensor) -> Tensor:
    """White noise → noise of the same variance, in which each column has `correlation` with the one before."""
    columns, rest = [noise[..., 0]], (1 - correlation**2).sqrt()[:, None]
    for column in noise.unbind(-1)[1:]:
        columns.append(correlation[:, None] * columns[-1] + rest * column)
    return torch.stack(columns, -1)


def between(prior: Prior, one: Tensor, other: Tensor, part: float) -> Tensor:
    """Spherically: on the arc around the prior's mean, at `part` in 0..1 of its angle, so that what is between two
    typical points is typical too. A straight line goes through points that are too near to the mean: blurred ones."""
    mean = prior.mean[:, None, None]
    a, b = one - mean, other - mean
    cosine = float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-4:
        return mean + (1 - part) * a + part * b
    weights = math.sin((1 - part) * angle) / math.sin(angle), math.sin(part * angle) / math.sin(angle)
    return mean + weights[0] * a + weights[1] * b
