"""What the encoder chooses: which blocks get symbols, the symbols themselves, and which of the other blocks are copied.
Training makes the same choices (`lvc.training.forward`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..entropy.rans import LATENT_LIMIT
from ..models.integer import clamp_ste, round_ste
from ..models.network import Context, FrameCodec
from .sparse import Coded, rows

CODED_BITS = 6.0
"""What a block with symbols costs beside those that are not 0."""
COPY_BITS = 2.5
"""A block without symbols is filtered if that is worth more than this many bits, else copied."""
LINEAR_GAIN = 1.4
"""What symbols gain, for every unit that the linear path gains by them."""
HARM_BITS = 12.0
"""A block whose symbols make it worse than the prediction by this much loses them."""
LUMA_WEIGHT, CHROMA_WEIGHT = 0.75, 1.0
"""Of squared errors per luma and per chroma sample. 0.5 for chroma would be MSE 6:1:1; the mean of PSNRs 6:1:1, by
which codecs are compared, feels chroma's smaller errors about twice as much."""


@dataclass
class Plan:
    """What is settled before the symbols: rounded hyper-latents z, features and means of the first pass, skip flags
    float32 0/1 [B,1,h16,w16]. z is 0 where all 16 blocks below it are skipped: it is not written there."""

    z_raw: torch.Tensor
    z: torch.Tensor
    p: torch.Tensor
    mu1: torch.Tensor
    skip: torch.Tensor


def plan_symbols(
    net: FrameCodec,
    x: torch.Tensor,
    w: torch.Tensor | None,
    y: torch.Tensor,
    context: Context,
    level: torch.Tensor,
    quick: bool = False,
    weight: torch.Tensor | None = None,
) -> Plan:
    """Choose the blocks that get symbols: everything is coded once to see what each gains over the prediction; its bits
    are estimated by a fixed curve, 3.5 + 2·log2 |q| for each symbol that is not 0. `quick`: the linear path alone says
    what is gained, a fifth of the encoder's time less for 1.5 % more bits. `weight` as of `block_gain`."""
    size = (y.shape[2], y.shape[3])
    z_raw = net.hyper_analysis(y, context)
    z = round_ste(z_raw)
    p, mu1 = net.means1(z, context, size)
    skip = torch.zeros_like(y[:, :1])
    if w is not None:
        with torch.no_grad():
            q = round_ste(y - mu1)
            r = net.linear_synthesis(q, level) if quick else net.synthesis(q + mu1, context, level)
            gain = block_gain(x, w, r, level, weight)
            if quick:
                gain = gain * LINEAR_GAIN
            size_q = q.abs()
            bits = torch.where(size_q > 0, 3.5 + 2 * torch.log2(size_q.clamp_min(1)), 0.0).sum(1, keepdim=True)
            skip = (gain <= bits + CODED_BITS).float()
        return _with_skips(net, z_raw, z, skip, context)
    return Plan(z_raw, z, p, mu1, skip)


def _with_skips(net: FrameCodec, z_raw: torch.Tensor, z: torch.Tensor, skip: torch.Tensor, context: Context) -> Plan:
    height, width = skip.shape[2:]
    with torch.no_grad():
        alive = F.max_pool2d(F.pad(1 - skip, (0, -width % 4, 0, -height % 4)), 4)
    z_raw, z = z_raw * alive, z * alive
    p, mu1 = net.means1(z, context, (height, width))
    return Plan(z_raw, z, p, mu1, skip)


def without_harm(net: FrameCodec, gain: torch.Tensor, plan: Plan, context: Context) -> Plan | None:
    """The plan without symbols in blocks that these made worse than the prediction, by more than `HARM_BITS` (`gain` of
    `block_gain`); None: there are none. Where the quick judgement errs it errs again in every frame after, and the
    block gets ever worse."""
    harmed = (1 - plan.skip) * (gain < -HARM_BITS).float()
    if not bool(harmed.any()):
        return None
    return _with_skips(net, plan.z_raw, plan.z, plan.skip + harmed, context)


def quantise(
    net: FrameCodec,
    y: torch.Tensor,
    plan: Plan,
    past: torch.Tensor,
    past_skip: torch.Tensor,
    code: torch.Tensor,
    first: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Symbols, means and table indices [B,M,h16,w16]. Symbols are 0 in skipped blocks and where the index is 0, as the
    decoder will assume. Rounding passes gradients."""
    inputs = net.scale_inputs(plan.z, past, plan.skip, past_skip, code)
    free1 = first & (plan.skip == 0)
    index1 = net.indices1(inputs)
    q1 = torch.where(free1 & (index1 > 0), clamp_ste(round_ste(y - plan.mu1), -LATENT_LIMIT, LATENT_LIMIT), 0.0)
    mu2 = net.means2(plan.p, (q1 + plan.mu1) * first)
    free2 = ~first & (plan.skip == 0)
    index2 = net.indices2(inputs, q1.detach())
    q2 = torch.where(free2 & (index2 > 0), clamp_ste(round_ste(y - mu2), -LATENT_LIMIT, LATENT_LIMIT), 0.0)
    return q1 + q2, torch.where(first, plan.mu1, mu2), torch.where(first, index1, index2)


@dataclass
class Symbols:
    """Symbols `q` and means `mu`, float32 [1,M,h16,w16], q 0 in skipped blocks; `index` float32 [N,M]: the tables of
    the blocks with symbols."""

    q: torch.Tensor
    mu: torch.Tensor
    index: torch.Tensor


def code_symbols(net: FrameCodec, y: torch.Tensor, plan: Plan, coded: Coded, first: torch.Tensor) -> Symbols:
    """What `quantise` gives, for one frame without gradients, with indices only where there are symbols."""
    at = coded.at

    def rounded(mean: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        q = torch.floor(wanted - rows(mean)[at] + 0.5).clamp_(-LATENT_LIMIT, LATENT_LIMIT)
        return q.mul_(where)

    one, wanted = rows(first)[at], rows(y)[at]
    index1 = coded.indices1()
    q1 = rounded(plan.mu1, one & (index1 > 0))
    held = wanted.new_zeros(y.shape[2] * y.shape[3], y.shape[1])
    held[at] = q1
    q = held.view(*y.shape[2:], -1).permute(2, 0, 1)[None]
    mu2 = net.means2(plan.p, (q + plan.mu1) * first)
    index2 = coded.indices2(q[0])
    held[at] = q1 + rounded(mu2, ~one & (index2 > 0))
    return Symbols(q, torch.where(first, plan.mu1, mu2), torch.where(one, index1, index2))


def choose_copy(gain: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Of the skipped blocks those that the networks' filter does not improve by more than it is worth (`gain` of
    `block_gain`): float32 0/1."""
    return skip * (gain <= COPY_BITS).float()


def block_gain(
    x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, level: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """How much better than the prediction each block is with residual `r`, in bits: λ times squared error, times
    `weight` if there is one (`perceptual.block_weights`), [B,1,h16,w16]."""
    gain = (block_error(x - w) - block_error(x - w - r)) * torch.exp2(level)[:, None, None, None]
    return gain if weight is None else gain * weight


def block_error(patches: torch.Tensor) -> torch.Tensor:
    """Squared error of difference patches [B,96,h8,w8] (samples in [0,1]), weighted so that their sum over
    luma samples counts, summed over 16x16 blocks: [B,1,h16,w16]."""
    e = patches.float().square()
    return F.avg_pool2d((e.permute(0, 2, 3, 1) @ _weights(e))[:, None], 2) * 4


def error_gradient(patches: torch.Tensor, of_blocks: torch.Tensor) -> torch.Tensor:
    """The gradient of `(block_error(patches) * of_blocks).sum()`, float32 [B,96,h8,w8]; overwrites `patches`."""
    shares = of_blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return patches.mul_(2 * _weights(patches)[:, None, None]).mul_(shares)


def _weights(patches: torch.Tensor) -> torch.Tensor:
    """Of the 96 channels, float32."""
    both = patches.new_tensor([LUMA_WEIGHT, CHROMA_WEIGHT])
    return both.repeat_interleave(patches.new_tensor([64, 32], dtype=torch.long))
