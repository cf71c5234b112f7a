"""Quantises float layers to integer ones: weights, biases and shifts, given the scales of inputs and outputs.

A tensor of scale s holds the real value v as the integer v / s (plus its zero point in u7). The weights absorb the
ratio of input to output scale; each output has the largest shift that its weights and sums allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import program as p

FloatArray = npt.NDArray[Any]


def matrix(
    weight: FloatArray,
    bias: FloatArray,
    read: Sequence[tuple[float, int]],
    out: float,
    *,
    wide: int = 0,
) -> p.Weights:
    """Quantise a matrix of weights.

    Args:
        weight: Real weights [outputs, inputs].
        bias: Real biases [outputs] or [levels, outputs].
        read: Scale and zero point of each input, after the layer's read shift.
        out: The output's scale.
        wide: The limit of a 16-bit layer's inputs, whose weights are int16; 0 for an 8-bit layer.

    Raises:
        ValueError: No integers fit these scales.
    """
    scale, zero = (np.array(column, np.float64) for column in zip(*read, strict=True))
    most, bound, largest = (32767, p.LIMIT_16, wide) if wide else (127, p.LIMIT_8, 127)
    ratio = weight.astype(np.float64) * scale / out
    target = np.atleast_2d(bias).astype(np.float64) / out
    peak = np.maximum(np.abs(ratio).max(1), 1e-30)
    shift = np.minimum(np.floor(np.log2(most / peak)), p.MAX_SHIFT).astype(np.int64)
    while True:
        if (shift < 0).any():
            raise ValueError("the scales of a layer leave no room for its sums")
        w = np.clip(np.rint(ratio * np.exp2(shift)[:, None]), -most, most)
        b = np.rint(target * np.exp2(shift) - (w * zero).sum(1))
        over = np.abs(w).sum(1) * largest + np.abs(b).max(0) + np.exp2(shift) >= bound
        if not over.any():
            break
        shift[over] -= 1
    kind = np.int16 if wide else np.int8
    return p.Weights(w.astype(kind), b.astype(np.int32), shift.astype(np.uint8))


def depthwise(weight: FloatArray, bias: FloatArray, read: tuple[float, int], out: float) -> p.Weights:
    """Quantise a depthwise filter, `weight` [channels, 3, 3]."""
    w = matrix(weight.reshape(len(weight), 9), bias, [read] * 9, out)
    return p.Weights(np.ascontiguousarray(w.weight.T), w.bias, w.shift)


def block(
    tensor: int,
    out: int,
    weights: Sequence[tuple[FloatArray, FloatArray]],
    trunk: float,
    shifts: tuple[int, int],
    zeros: tuple[int, int],
    inner: tuple[tuple[float, int], tuple[float, int], tuple[float, int]],
    gate: tuple[float, float],
) -> p.Layer:
    """Quantise a residual block.

    Args:
        tensor, out: Numbers of the trunk's tensors, before and after.
        weights: A, depthwise [c,3,3], B, F [2c,c] and G, each with its bias.
        trunk: The trunk's scale.
        shifts, zeros: How A and F read the trunk.
        inner: Scale and zero point after A, the depthwise filter and the gate.
        gate: Scales of u and v. Their product is shifted to about the gate's scale; F's weights absorb the rest.
    """
    a, d, b, f, g = weights
    c = len(a[0])
    first, second = ((trunk * 2.0**s, z) for s, z in zip(shifts, zeros, strict=True))
    gate_shift = int(np.clip(np.rint(np.log2(inner[2][0] / (gate[0] * gate[1]))), 0, 14))
    v = inner[2][0] / (gate[0] * 2.0**gate_shift)
    halves = [
        matrix(f[0][:c], f[1][:c], [second] * c, gate[0]), matrix(f[0][c:], f[1][c:], [second] * c, v),
    ]  # fmt: skip
    joined = p.Weights(*(np.concatenate([getattr(h, k) for h in halves], axis) for k, axis in (
        ("weight", 0), ("bias", 1), ("shift", 0))))  # fmt: skip
    parts = [
        matrix(*a, [first] * c, inner[0][0]), depthwise(*d, inner[0], inner[1][0]),
        matrix(*b, [inner[1]] * c, trunk), joined, matrix(*g, [inner[2]] * c, trunk),
    ]  # fmt: skip
    sources = [p.Source(tensor, shifts[0], zeros[0]), p.Source(tensor, shifts[1], zeros[1])]
    zeros_inside = inner[0][1], inner[1][1], inner[2][1]
    return p.Layer(p.BLOCK, out, sources, c, zeros=zeros_inside, gate_shift=gate_shift, parts=parts)
