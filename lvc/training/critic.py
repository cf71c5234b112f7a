"""The patch discriminator of `lvc train --family gan`, and what it adds to a loss.

A generator that is trained against it makes texture that looks real, and errs more by every measure of difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Pictures `[n, channels, rows, columns]` → how real each patch of 38 by 38 samples looks, `[n, 1, rows / 8,
    columns / 8]`. Spectral normalisation keeps it from running ahead of the decoder."""

    def __init__(self, channels: int, width: int = 48) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
            layers.append(spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(spectral_norm(nn.Conv2d(4 * width, 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)  # type: ignore[no-any-return]


def hinge(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """What the critic is trained with; nothing reaches the decoder."""
    seen = critic(torch.cat([real, made.detach()])).float()
    of_real, of_made = seen.chunk(2)
    loss: Tensor = (F.relu(1 - of_real) + F.relu(1 + of_made)).mean()
    return loss


def realism(critic: Critic, made: Tensor) -> Tensor:
    """What the decoder is trained with; nothing reaches the critic."""
    for parameter in critic.parameters():
        parameter.requires_grad_(False)
    try:
        return -critic(made).float().mean()
    finally:
        for parameter in critic.parameters():
            parameter.requires_grad_(True)


def balance(loss: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """By what to multiply `adversarial`, so that it moves the weights `last` as much as `loss` does (Esser, Rombach and
    Ommer 2021)."""
    (one,) = torch.autograd.grad(loss, last, retain_graph=True)
    (other,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    factor: Tensor = one.norm() / (other.norm() + 1e-6)
    return factor.clamp(max=1e4).detach()
