"""Layers of a program behind its latents, in integers that gradients pass through.

Tensors are float32 [batch, rows, columns, channels] that hold the engine's integers. Rounding, shifts and clamping are
the engine's; gradients go through the rounding (Bengio et al. 2013, https://arxiv.org/abs/1308.3432), and end where
values are clamped. Sums of 16-bit layers are rounded to 24 bits on the way, so that a last bit may differ from the
engine's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..errors import UnsupportedError
from . import program as p
from .motion import LUMA_WEIGHT
from .planes import LUMA_PATCH, PATCH

Tensor = torch.Tensor
Array = npt.NDArray[Any]
STRIP, MARGIN = 3072, 4
"""Blocks of 16x16 that are worked on at a time, which bounds the memory, and rows beyond them that are computed too: as
many as the layers of the default model reach. Only twice as many would give the gradient of the whole picture; what
these miss of it is half a per cent."""
PROBE, LEAST = 16, 0.1
"""Rows and columns, in blocks, of what the curvature is found with, and the least share of the mean over channels that
is believed."""


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def floor(x: Tensor) -> Tensor:
    """Rounded down, with the gradient of x."""
    return _Floor.apply(x)  # type: ignore[no-untyped-call,no-any-return]


class _Shifted(torch.autograd.Function):
    """One step for what would be five, each with a tensor of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor, zero: float, low: float, high: float) -> Tensor:
        scale = torch.exp2(-shift)
        out = (x * scale).add_((shift > 0) / 2).floor_().add_(zero)
        ctx.save_for_backward((out >= low) & (out <= high), scale)
        return out.clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        inside, scale = ctx.saved_tensors
        return (grad * inside).mul_(scale), None, None, None, None


def _shifted(x: Tensor, shift: Tensor | float, zero: float = 0, low: float = -32768, high: float = 32767) -> Tensor:
    """clamp(((x + half) >> shift) + zero, low, high)."""
    return _Shifted.apply(x, torch.as_tensor(shift, dtype=torch.float32), zero, low, high)  # type: ignore[no-untyped-call,no-any-return]


def _leaky(x: Tensor) -> Tensor:
    return torch.where(x < 0, floor(x / 8), x)


def _saturated(x: Tensor) -> Tensor:
    return x.clamp(-32768, 32767)


class Differentiable:
    """What a program computes from its latents' values on. `values`: their tensor. Raises `UnsupportedError` for a
    program with other layers than those of lvc's own models."""

    def __init__(self, program: p.Program) -> None:
        self.program = program
        self.values = next(layer.out for layer in program.layers if layer.op == p.CODE)
        needed = self.behind([program.outputs[0]])
        self.layers = [(i, la) for i, la in enumerate(program.layers) if la.out in needed - {self.values}]
        for _, layer in self.layers:
            if layer.op not in (p.CONV, p.GAIN, p.BLOCK) or layer.mode not in (p.POINT, p.UP2):
                raise UnsupportedError(
                    f"the model has a layer {layer.op} {layer.mode} behind latents — choose another one"
                )
        self._arrays = {
            (i, j): (torch.from_numpy(w.weight.astype(np.float32)), torch.from_numpy(w.bias.astype(np.float32)),
                     torch.from_numpy(w.shift.astype(np.float32)))
            for i, layer in self.layers for j, w in enumerate(layer.parts)
        }  # fmt: skip

    def behind(self, tensors: list[int]) -> set[int]:
        """Tensors that these are made of, up to the latents' values."""
        found, queue = set(), list(tensors)
        while queue:
            t = queue.pop()
            if t in found or t == self.values:
                continue
            found.add(t)
            for layer in self.program.layers:
                if layer.out == t:
                    queue += [s.tensor for s in layer.sources] + ([layer.add] if layer.add >= 0 else [])
        return found

    def run(self, values: Tensor, rows: list[int], *inputs: Tensor) -> Tensor:
        """→ the first output. `rows`: each picture's row of tables. `inputs`: the program's first ones."""
        known = {self.values: values} | dict(zip(self.program.inputs, inputs, strict=False))
        for i, layer in self.layers:
            known[layer.out] = self._layer(i, layer, known, rows)
        return known[self.program.outputs[0]]

    def _layer(self, i: int, layer: p.Layer, known: dict[int, Tensor], rows: list[int]) -> Tensor:
        if layer.op == p.BLOCK:
            return self._block(i, layer, known[layer.sources[0].tensor])
        if layer.op == p.GAIN:
            assert layer.gain is not None and layer.gain_shift is not None
            at = [r % len(layer.gain) for r in rows]
            gain = torch.from_numpy(layer.gain[at].astype(np.float32))[:, None, None]
            shift = torch.from_numpy(layer.gain_shift[at].astype(np.float32))[:, None, None, None]
            v = _shifted(known[layer.sources[0].tensor] * gain, shift)
        else:
            v = self._conv(i, layer, known, rows)
            if layer.leaky:
                v = _leaky(v)
            if self.program.tensors[layer.out].kind == p.U7:
                return (v + layer.zero).clamp(0, layer.high)
        return _saturated(v + known[layer.add]) if layer.add >= 0 else _saturated(v)

    def _read(self, x: Tensor, tensor: int, source: p.Source, layer: p.Layer) -> Tensor:
        if self.program.tensors[tensor].kind == p.U7:
            return x
        if layer.wide:
            return _shifted(x, source.shift, 0, -layer.limit, layer.limit)
        return _shifted(x, source.shift, source.zero, 0, 127)

    def _product(self, x: Tensor, i: int, j: int, rows: list[int]) -> Tensor:
        weight, bias, shift = self._arrays[i, j]
        at = [r % len(bias) for r in rows]
        alike = len(set(at)) == 1
        sums = F.linear(x, weight, bias[at[0]]) if alike else F.linear(x, weight) + bias[at][:, None, None]
        return _shifted(self._moved(sums, i, j), shift)

    def _moved(self, sums: Tensor, i: int, j: int) -> Tensor:
        """What training adds to the sums of a layer's part."""
        return sums

    def _conv(self, i: int, layer: p.Layer, known: dict[int, Tensor], rows: list[int]) -> Tensor:
        x = torch.cat([self._read(known[s.tensor], s.tensor, s, layer) for s in layer.sources], -1)
        out = self._product(x, i, 0, rows)
        if layer.mode == p.UP2:
            b, h, w, _ = out.shape
            out = out.reshape(b, h, w, 2, 2, layer.outputs).permute(0, 1, 3, 2, 4, 5)
            out = out.reshape(b, 2 * h, 2 * w, layer.outputs)
        return out

    def _block(self, i: int, layer: p.Layer, t: Tensor) -> Tensor:
        first, second = layer.sources
        every = [0] * len(t)
        x = _leaky(self._product(self._read(t, first.tensor, first, layer), i, 0, every))
        x = (x + layer.zeros[0]).clamp(0, 127)
        weight, bias, shift = self._arrays[i, 1]
        padded = F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), value=float(layer.zeros[0]))
        sums = F.conv2d(padded, weight.t().reshape(-1, 1, 3, 3), bias[0], groups=layer.outputs).permute(0, 2, 3, 1)
        x = _shifted(self._moved(sums, i, 1), shift, layer.zeros[1], 0, 127)
        t = _saturated(t + self._product(x, i, 2, every))
        u, v = self._product(self._read(t, second.tensor, second, layer), i, 3, every).chunk(2, -1)
        gated = _leaky(u).clamp(-128, 127) * v.clamp(-128, 127)
        x = _shifted(gated, layer.gate_shift, layer.zeros[2], 0, 127)
        return _saturated(t + self._product(x, i, 4, every))


def _tensor(a: Array) -> Tensor:
    return torch.from_numpy(a[None].astype(np.float32))


class Gradient:
    """How a frame's squared error changes with its latents, luma's weighted as in `motion.LUMA_WEIGHT`."""

    def __init__(self, program: p.Program) -> None:
        self._layers, self._weights = Differentiable(program), torch.ones(PATCH)
        self._weights[:LUMA_PATCH] = LUMA_WEIGHT
        self._curvatures: dict[int, Array] = {}
        self._one = threading.Lock()

    def at(self, values: Array, target: Array, row: int, *inputs: Array, counted: Array | None = None) -> Array:
        """The gradient of Σ weight · (patches − target)².

        Args:
            values: The latents' values, int16 [rows,columns,channels].
            target: What the patches should be, int16 [h,w,96].
            row: The row of tables.
            inputs: The program's first inputs, of the patches' size.
            counted: bool [rows,columns], blocks whose error counts. `None`: all.

        Returns:
            float32, shaped as `values`.
        """
        rows, columns = values.shape[:2]
        by, most = target.shape[0] // rows, max(1, STRIP // columns - 2 * MARGIN)
        weights = np.ones((rows, columns), bool) if counted is None else counted
        weights = weights.repeat(by, 0).repeat(by, 1)
        out = np.empty(values.shape, np.float32)
        for top in range(0, rows, most):
            end = min(rows, top + most)
            first, last = max(0, top - MARGIN), min(rows, end + MARGIN)
            at = slice(by * first, by * last)
            found = self._alone(values[first:last], target[at], row, [i[at] for i in inputs], weights[at])
            out[top:end] = found[top - first : end - first]
        return out

    def _alone(self, values: Array, target: Array, row: int, inputs: Sequence[Array], counted: Array) -> Array:
        with self._one:  # torch has threads of its own, and a strip takes memory
            return self._computed(values, target, row, inputs, counted)

    def _computed(self, values: Array, target: Array, row: int, inputs: Sequence[Array], counted: Array) -> Array:
        x = _tensor(values).requires_grad_()
        missed = self._layers.run(x, [row], *map(_tensor, inputs)) - _tensor(target)
        weights = self._weights * torch.from_numpy(counted.astype(np.float32))[..., None]
        (found,) = torch.autograd.grad((missed.square() * weights).sum(), x)
        return found[0].numpy()

    def curvature(self, row: int) -> Array:
        """The second derivative by a latent of each channel, float32: the diagonal of the Hessian as Hutchinson
        estimates a trace (https://doi.org/10.1080/03610919008812866), of a picture of nothing. It hardly depends on
        the picture (decision 009)."""
        if row not in self._curvatures:
            program = self._layers.program
            channels = program.tensors[self._layers.values].channels
            signs = np.random.default_rng(0).choice(np.array([-8.0, 8.0]), (PROBE, PROBE, channels))
            by = 1 << (program.tensors[self._layers.values].scale - program.tensors[program.outputs[0]].scale)
            nothing = np.zeros((by * PROBE, by * PROBE, PATCH))
            inputs, counted = [nothing] * (len(program.inputs) and 2), np.ones(nothing.shape[:2])
            one, other = (self._alone(s, nothing, row, inputs, counted) for s in (signs, -signs))
            found: Array = ((one - other) * signs).mean((0, 1)) / 128
            self._curvatures[row] = np.maximum(found, LEAST * found.mean())
        return self._curvatures[row]
