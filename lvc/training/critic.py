"""The patch discriminator of `lvc train --family gan`, and its term of the loss.

A generator that is trained against it makes texture that looks real, and errs more by every measure of difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.autoencoder import AutoEncoder, to_planes

GAIN = 16.0
"""Gain of the texture that the critic sees, to bring it to about 1."""
FINEST, COARSEST = 0.03, 0.15
"""Errors of the linear path's values that latents get while a decoder is tuned: those of fine and coarse rounding."""


class Critic(nn.Module):
    """RGB pictures `[n, channels, rows, columns]` → how real each patch of 38 by 38 samples looks, `[n, 1, rows / 8,
    columns / 8]`. It sees only detail finer than five samples, since the rest is right already."""

    def __init__(self, channels: int, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        planes = to_planes(pictures)
        with torch.autocast(planes.device.type, enabled=False):  # bfloat16 is too coarse for the differences
            texture = planes - F.avg_pool2d(planes, 5, 1, 2, count_include_pad=False)
            return self.layers(GAIN * texture)  # type: ignore[no-any-return]


def roughened(net: AutoEncoder, latents: Tensor) -> Tensor:
    """`latents` with errors like those of rounding to a random step: on what they change in the picture, all of one
    size; never more than a standard deviation of 1, by which a channel is lost."""
    size = latents.new_full((latents.shape[1],), 1.0)
    if net.decoder_linear is not None:
        size = net.decoder_linear.weight.detach().flatten(1).norm(dim=0).clamp_min(1e-6)
    step = FINEST * (COARSEST / FINEST) ** torch.rand(len(latents), 1, 1, 1, device=latents.device)
    return latents + torch.randn_like(latents) * (step / size[:, None, None]).clamp(max=1)


def against(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """The critic's loss: every real patch is to look more real than the decoder's at the same place, so that the
    content does not matter (Jolicoeur-Martineau 2019). No gradient reaches the decoder. log 2 for a critic that cannot
    tell them apart."""
    of_real, of_made = critic(torch.cat([real, made.detach()])).float().chunk(2)
    return F.softplus(of_made - of_real).mean()


def realism(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """The decoder's loss: the opposite. No gradient reaches the critic."""
    for parameter in critic.parameters():
        parameter.requires_grad_(False)
    try:
        of_real, of_made = critic(torch.cat([real, made])).float().chunk(2)
        return F.softplus(of_real - of_made).mean()
    finally:
        for parameter in critic.parameters():
            parameter.requires_grad_(True)


def balance(loss: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """The factor for `adversarial` that gives it the same gradient on the weights `last` as `loss` (Esser, Rombach and
    Ommer 2021)."""
    (one,) = torch.autograd.grad(loss, last, retain_graph=True)
    (other,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    factor: Tensor = one.norm() / (other.norm() + 1e-6)
    return factor.clamp(max=1e4).detach()
