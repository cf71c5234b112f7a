"""One training step's forward pass: what the encoder will do, with gradients where rounding allows.

The loss is the logarithm of distortion + bits per pixel, per sample; the distortion is λ·(weighted squared error) with
λ = 2**level, or `loss.structural`. What BD-rate compares is each clip's relative change, and in a mean a flat sample
matters a tenth as much as a textured one (decision 004). Which blocks are skipped or copied is chosen by the encoder's
own rules. Half of the rate is the additive-noise proxy, half the rounded rate with straight-through gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..codec.choice import block_gain, choose_copy, plan_symbols, quantise
from ..codec.perceptual import block_weights
from ..models.integer import TABLES
from ..models.network import SIGMA_MIN, SIGMA_RATE, FrameCodec, checkerboard, gaussian_bits
from .loss import squared, structural

NOISE_SHARE = 0.5
SMALLEST = 0.01
"""Added before the logarithm, so that samples that cost nothing do not rule."""
WORST = 20.0
"""A sample with a larger cost (a cut inside a chain, which the encoder would code as a key frame) teaches nothing."""


@dataclass
class Past:
    """What the entropy model keeps of the frame before: symbols [B,M,h16,w16], skip flags [B,1,h16,w16]; float32."""

    symbols: torch.Tensor
    skip: torch.Tensor

    @staticmethod
    def zeros(batch: int, latent: int, height: int, width: int) -> Past:
        return Past(torch.zeros(batch, latent, height, width), torch.zeros(batch, 1, height, width))


@dataclass
class StepResult:
    """`recon` patches float32; per sample [B]: loss, mse (6:1:1), bpp (rounded rate, without flags and motion), coded
    share."""

    loss: torch.Tensor
    mse: torch.Tensor
    bpp: torch.Tensor
    coded: torch.Tensor
    recon: torch.Tensor
    past: Past


def forward(
    net: FrameCodec,
    x: torch.Tensor,
    w: torch.Tensor | None,
    level: torch.Tensor,
    code: torch.Tensor,
    past: Past,
    tune: str = "psnr",
) -> StepResult:
    """x, w patches [B,96,h8,w8] float32; level, code [B]. `tune` `ssim`: the distortion is mostly 1 - MS-SSIM, the
    choices are weighted as the encoder's are then."""
    lam = torch.exp2(level)
    first = checkerboard(x.shape[2] // 2, x.shape[3] // 2, net.latent, x.device)
    context = net.context(w, level)
    y = net.analysis(x, w, context, level)
    weight = block_weights(x) if tune == "ssim" else None
    plan = plan_symbols(net, x, w, y, context, level, weight=weight)
    q, mu, index = quantise(net, y, plan, past.symbols, past.skip, code, first)
    r = net.synthesis(q + mu, context, level)
    if w is None:
        recon = r
    else:
        with torch.no_grad():
            change = 1 - choose_copy(block_gain(x, w, r, level, weight), plan.skip)
        recon = w + r * change.repeat_interleave(2, 2).repeat_interleave(2, 3)
    pixels = float(x.shape[2] * x.shape[3] * 64)
    seen = structural if tune == "ssim" else squared
    distortion = seen(x, recon, level)
    keep = 1 - plan.skip
    rounded = (gaussian_bits(q, index) * keep).sum((1, 2, 3))
    noisy = (gaussian_bits(y - mu + torch.rand_like(y) - 0.5, index) * keep).sum((1, 2, 3))
    z_index = ((net.hyper_scale - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES)[None, :, None, None]
    alive = torch.ones_like(plan.z[:, :1]) if w is None else (F.max_pool2d(keep, 4) > 0).float()
    z_rounded = (gaussian_bits(plan.z, z_index) * alive).sum((1, 2, 3))
    z_noisy = (gaussian_bits(plan.z_raw + torch.rand_like(plan.z) - 0.5, z_index) * alive).sum((1, 2, 3))
    rate = (NOISE_SHARE * (noisy + z_noisy) + (1 - NOISE_SHARE) * (rounded + z_rounded)) / pixels
    cost = ((distortion + rate) * (1024 / lam) ** 0.5).clamp(max=WORST)
    loss = 0.5 * torch.log(cost + SMALLEST)
    error = (x - recon).detach() ** 2
    mse = 0.75 * error[:, :64].mean((1, 2, 3)) + 0.25 * error[:, 64:].mean((1, 2, 3))
    return StepResult(
        loss, mse, ((rounded + z_rounded) / pixels).detach(), keep.mean((1, 2, 3)).detach(), recon.detach(),
        Past(q.detach(), plan.skip.detach()),
    )  # fmt: skip
