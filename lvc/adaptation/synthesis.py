"""The decoder's half of predicted frames in integers that gradients pass through: latents and context → the
residual.

Tensors are float32 [batch, rows, columns, channels] that hold the engine's integers. Rounding, shifts and clamping are
the engine's; gradients go through the rounding (Bengio et al. 2013, https://arxiv.org/abs/1308.3432), and end where
values are clamped. Sums of 16-bit layers are rounded to 24 bits on the way, so that a last bit may differ from the
engine's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..engine import program as p
from ..models.delta import QUARTERS

Tensor = torch.Tensor


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
        self.values, found = p.behind_latents(program)
        self.layers = [(i, program.layers[i]) for i in found]
        self._arrays = {
            (i, j): (torch.from_numpy(w.weight.astype(np.float32)), torch.from_numpy(w.bias.astype(np.float32)),
                     torch.from_numpy(w.shift.astype(np.float32)))
            for i, layer in self.layers for j, w in enumerate(layer.parts)
        }  # fmt: skip

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


class Synthesis(Differentiable):
    """A model's program `predicted` from its latents' values on. What a delta may change is in `parameters`, by the
    name of the array in the model's file: what is added to biases, one number for each output, in the unit of the
    layer's outputs, 0 at first."""

    def __init__(self, program: p.Program) -> None:
        super().__init__(program)
        codes = [layer for layer in program.layers if layer.op == p.CODE]
        self._fixed = p.made_of(program, [source.tensor for layer in codes for source in layer.sources], self.values)
        """Tensors that entropy coding sees, too."""
        self.parameters: dict[str, Tensor] = {}
        for i, layer in self.layers:
            for j, part in enumerate(layer.parts if layer.out not in self._fixed else []):
                self.parameters[f"predicted/{i}/{j}/bias"] = torch.zeros(part.bias.shape[1], requires_grad=True)

    def changes(self) -> dict[str, np.ndarray]:
        """What a delta says (`lvc.models.delta`), rounded. The parameters become what that stands for."""
        out = {}
        with torch.no_grad():
            for name, q in self.parameters.items():
                _, layer, part, _ = name.split("/")
                shift = self._arrays[int(layer), int(part)][2]
                unit = 2 ** ((shift - QUARTERS).clamp_min(0) - shift)
                whole = (q / unit).round().clamp(-32767, 32767)
                q.copy_(whole * unit)
                out[name] = whole.numpy().astype(np.int16)
        return out

    def _layer(self, i: int, layer: p.Layer, known: dict[int, Tensor], rows: list[int]) -> Tensor:
        """Without a gradient where nothing may change."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and layer.out not in self._fixed):
            return super()._layer(i, layer, known, rows)

    def _moved(self, sums: Tensor, i: int, j: int) -> Tensor:
        """By what is added to the part's biases."""
        by = self.parameters.get(f"predicted/{i}/{j}/bias")
        return sums if by is None else sums + by * 2.0 ** self._arrays[i, j][2]
