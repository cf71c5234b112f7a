"""PCA start: the linear path of a frame codec is set to the principal components of what it will code, and the tables'
first guess to their variances, so that training begins at a working transform codec."""

from __future__ import annotations

import math

import torch

from ..models.config import LEVEL_MIN
from ..models.integer import TABLES
from ..models.network import PATCH, SIGMA_MIN, SIGMA_RATE, FrameCodec

MIDDLE_LEVEL = 11.0
REFERENCE_NOISE = 2e-4
"""Variance added to the inter codec's components for the coding noise of the reference, samples in [0, 1]."""


def blocks(patches: torch.Tensor) -> torch.Tensor:
    """[B,96,h8,w8] → the 16x16 blocks as rows [N,384], in the order of a 2x2 stride-2 convolution's weights."""
    b, c, h, w = patches.shape
    return patches.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 4 * c)


def _set_bias(layer: torch.nn.Module, values: torch.Tensor) -> None:
    layer.get_parameter("bias").copy_(values)


@torch.no_grad()
def pca_start(net: FrameCodec, rows: torch.Tensor) -> float:
    """`rows` [N,384]: frames (intra) or prediction residuals (inter). Returns the share of variance kept."""
    m = net.latent
    mean = rows.mean(0) if net.intra else torch.zeros(rows.shape[1])
    centred = (rows - mean).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    values, vectors = values.flip(0).float(), vectors.flip(1)[:, :m].float()
    net.encoder_linear.weight.copy_(vectors.T.reshape(m, PATCH, 2, 2))
    _set_bias(net.encoder_linear, -(vectors.T @ mean))
    net.decoder_linear.weight.copy_(vectors.reshape(PATCH, 2, 2, m).reshape(4 * PATCH, m, 1, 1))
    _set_bias(net.decoder_linear, mean.reshape(4 * PATCH))
    last = net.hyper_encoder[2]
    for layer in (net.encoder_out, net.decoder_out, net.mean_out, net.mean2_out, last):
        layer.get_parameter("weight").mul_(0.02)
        layer.get_parameter("bias").zero_()
    variance = values[:m] + (0.0 if net.intra else REFERENCE_NOISE)
    delta = math.sqrt(11.5 / 2**MIDDLE_LEVEL)
    index = ((variance.sqrt() / delta).log() - math.log(SIGMA_MIN)) / SIGMA_RATE
    per_octave = 0.5 * math.log(2) / SIGMA_RATE
    unit = 10000 / 79 / 10  # of the level input, per octave
    for scale in (net.scale1, net.scale2):
        level_input = m + net.hyper + 2  # hidden unit 0 carries the level to the output
        scale.first.weight[0].zero_()
        scale.first.weight[0, level_input] = 1.0
        scale.second.weight[0].zero_()
        scale.second.weight[:, 0::9].mul_(0.1)
        scale.last.weight[:, 0] = per_octave / unit
        scale.last.bias.copy_((index - (MIDDLE_LEVEL - LEVEL_MIN) * per_octave).clamp(-TABLES, TABLES) / 16)
    return float(values[:m].sum() / values.sum())
