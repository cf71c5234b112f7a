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
    scale, last = torch.exp2(level), bits.shape[1] - 1
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
        row = symbols.index.long() * (last + 1)
        here = bits.take(row + q.abs().long().clamp_max_(last))
        cost = float(error + here.sum())
        if cost < lowest:
            best, lowest = symbols, cost
        if number == rounds:
            break
        slope = rows(back(error_gradient(missed, -scale * keep)))[coded.at]
        gain, step = torch.full_like(q, -MARGIN), torch.zeros_like(q)
        allowed = (symbols.index > 0) & (turns == number % 2)
        for sign in (-1.0, 1.0):
            there = bits.take(row + (q + sign).abs().long().clamp_max_(last))
            change = sign * slope + 0.5 * curvature + there - here
            better = allowed & (change < gain)
            gain, step = torch.where(better, change, gain), torch.where(better, sign, step)
        y = n  # nobody else's, and channels last
        rows(y).index_add_(0, coded.at, step)
    if best is None:
        raise ValueError("distortion is not finite")
    return best
