"""What a squared error is worth to an eye that looks at structure (`--tune ssim`).

SSIM divides an error by the variance around it: what is seen in a flat wall is lost in grass. A 16x16 block's squared
error is weighted likewise, so that all choices of the encoder, which compare λ times squared error with bits, spend
where MS-SSIM gains (Yeo, Tan and Tan 2013; x264's adaptive quantisation does it by steps of the quantiser).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

FLOOR = 3e-3
"""Added to a block's variance (samples in [0,1]): below, errors are seen as in a flat block."""
POWER = 0.35
"""1 would be SSIM's own; MS-SSIM, over five scales, sees the coarse errors of a texture too."""
LARGEST = 8.0
"""Bounds of a weight, up and down."""


def block_weights(x: torch.Tensor) -> torch.Tensor:
    """Weights of squared errors by 16x16 block, [B,1,h16,w16] from the source's patches [B,96,h8,w8]; their geometric
    mean over each picture is 1."""
    luma = x[:, :64].float()
    mean = F.avg_pool2d(luma.mean(1, keepdim=True), 2)
    square = F.avg_pool2d(luma.square().mean(1, keepdim=True), 2)
    variance = (square - mean.square()).clamp_min(0)
    weight = -POWER * torch.log(variance + FLOOR)
    weight = weight - weight.mean((2, 3), keepdim=True)
    return torch.exp(weight).clamp(1 / LARGEST, LARGEST)
