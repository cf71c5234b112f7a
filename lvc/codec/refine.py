"""Rate-distortion optimised quantisation through the decoder's network.

Rounding takes for granted that a symbol's error costs the same everywhere, and that one bit more or less does not
matter. Here the gradient of the distortion with respect to the symbols' values, through the networks that will decode
them, says what a step of one up or down is worth, the tables say what it costs, and the steps that pay are taken; a
few rounds, since steps change each other's worth. Only the encoder knows; the decoder decodes what it gets.
"""

from __future__ import annotations

import torch

from ..models.network import Context, FrameCodec
from .choice import LUMA_WEIGHT, Plan, Symbols, block_error, code_symbols, error_gradient
from .sparse import Coded, rows

MARGIN = 0.2
"""Bits that a step must be worth: steps are judged one by one and disturb each other."""
_AT_ONCE = 1024
"""Blocks whose symbols are judged at a time: what that takes stays in the cache, and is little."""


def refine(
    net: FrameCodec,
    residual: torch.Tensor,
    y: torch.Tensor,
    plan: Plan,
    context: Context,
    level: torch.Tensor,
    coded: Coded,
    first: torch.Tensor,
    bits: torch.Tensor,
    rounds: int,
    weight: torch.Tensor | None = None,
) -> Symbols:
    """Better symbols than `code_symbols` gives for `y` [1,M,h16,w16]. `residual`: what the synthesis should give,
    patches [1,96,h8,w8]; `bits` float32 [64,K]: cost of a symbol by table and absolute value; `rounds` ≥ 1;
    `weight` of squared errors by block, [1,1,h16,w16]."""
    m, _, width = y.shape[1:]
    keep = (plan.skip == 0).float() if weight is None else weight * (plan.skip == 0)
    scale = torch.exp2(level)
    curvature = 2 * LUMA_WEIGHT * 11.5 * net.inverse_gain(level)[0, :, 0, 0] ** 2  # of the linear path: λ·Δ² is 11.5
    channel = torch.arange(m, device=y.device)
    if weight is not None:
        curvature = curvature * rows(weight)[coded.at]
    turns = (channel + (coded.at // width + coded.at % width)[:, None]) % 2
    best, lowest = None, float("inf")
    for number in range(rounds + 1):
        symbols = code_symbols(net, y, plan, coded, first)
        n = symbols.q + symbols.mu
        r, back = net.synthesis_and_back(n, context, level)
        missed = residual - r
        error = (block_error(missed) * keep).sum() * scale
        q = rows(symbols.q)[coded.at]
        parts = [slice(at, at + _AT_ONCE) for at in range(0, len(q), _AT_ONCE)]
        here = [_bits(bits, symbols.index[part], q[part]) for part in parts]
        cost = float(error + sum(h.sum() for h in here))
        if cost < lowest:
            best, lowest = symbols, cost
        if number == rounds:
            break
        slope = rows(back(error_gradient(missed, -scale * keep)))[coded.at]
        y = n  # nobody else's, and channels last
        for part, now in zip(parts, here, strict=True):
            index = symbols.index[part]
            allowed = (index > 0) & (turns[part] == number % 2)
            gain, step = torch.full_like(now, -MARGIN), torch.zeros_like(now)
            half = 0.5 * (curvature if weight is None else curvature[part])
            for sign in (-1.0, 1.0):
                change = sign * slope[part] + half + _bits(bits, index, q[part] + sign) - now
                better = allowed & (change < gain)
                gain, step = torch.where(better, change, gain), torch.where(better, sign, step)
            rows(y).index_add_(0, coded.at[part], step)
    if best is None:
        raise ValueError("distortion is not finite")
    return best


def _bits(bits: torch.Tensor, index: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """What symbols cost by their tables; all [N,M]."""
    last = bits.shape[1] - 1
    return bits.take(index.long().mul_(last + 1).add_(q.abs().long().clamp_max_(last)))
