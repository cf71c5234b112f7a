"""Runs programs of integer layers in torch, on any device: the engine for GPUs, and a reference for training.

8-bit layers are float32 matrix products. All sums stay below 2^24, so float32 is exact in any order of summation;
16-bit layers use float64. There are no convolution calls, because libraries may use Winograd or TF32 for those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from . import program as p
from .reference import MEAN_BITS, SQUARE, half

Code = Callable[[int, list[torch.Tensor]], torch.Tensor]


def shifted(x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Shift right by channel, with rounding. int32."""
    s = shift.to(torch.int32)
    return (x + torch.where(s > 0, torch.ones_like(s) << (s - 1).clamp_min(0), torch.zeros_like(s))) >> s


def saturate(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(-32768, 32767)


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, x >> 3, x)


class TorchNetwork:
    """A program with its weights on a device. Tensors are int32 [rows,columns,channels]. `code` computes a layer with
    symbols from its number and sources. Without it, latents are `y`, quantised to the nearest, and hyper-latents are
    `z`."""

    def __init__(self, model: p.Model, name: str, device: torch.device | str = "cpu") -> None:
        self._program, self._device = model.programs[name], torch.device(device)
        self._parts = [[self._weights(w, layer) for w in layer.parts] for layer in self._program.layers]

    def _weights(self, w: p.Weights, layer: p.Layer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        exact = torch.float64 if layer.wide else torch.float32
        return (
            torch.from_numpy(w.weight).to(self._device, exact).t().contiguous(),
            torch.from_numpy(w.bias).to(self._device, exact),
            torch.from_numpy(w.shift).to(self._device),
        )

    def run(
        self,
        inputs: Sequence[torch.Tensor],
        size: tuple[int, int],
        level: int = 0,
        y: torch.Tensor | None = None,
        z: torch.Tensor | None = None,
        code: Code | None = None,
    ) -> list[torch.Tensor]:
        values: dict[int, torch.Tensor] = {}
        for i, x in zip(self._program.inputs, inputs, strict=True):
            values[i] = x.to(self._device, torch.int32)
        with torch.no_grad():
            for number, (layer, parts) in enumerate(zip(self._program.layers, self._parts, strict=True)):
                if code is not None and layer.op in (p.HYPER, p.CODE):
                    made = code(number, [values[s.tensor] for s in layer.sources]).to(self._device, torch.int32)
                    if layer.op == p.CODE and (before := values.get(layer.out)) is not None:
                        made = torch.where(self._quarter(layer, made), made, before)
                    values[layer.out] = made
                else:
                    values[layer.out] = self._layer(layer, parts, values, size, level, y, z)
        return [values[i] for i in self._program.outputs]

    def _layer(
        self,
        layer: p.Layer,
        parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
        values: dict[int, torch.Tensor],
        size: tuple[int, int],
        level: int,
        y: torch.Tensor | None,
        z: torch.Tensor | None,
    ) -> torch.Tensor:
        tensors = self._program.tensors
        by = 1 << (tensors[layer.out].scale - p.BASE_SCALE)
        shape = -(-size[0] // by), -(-size[1] // by)
        if layer.op == p.BLOCK:
            return self._block(layer, parts, values[layer.sources[0].tensor])
        if layer.op == p.GAIN:
            assert layer.gain is not None and layer.gain_shift is not None
            gain = torch.from_numpy(layer.gain[level % len(layer.gain)]).to(self._device, torch.int32)
            shift = int(layer.gain_shift[level % len(layer.gain)])
            v = (values[layer.sources[0].tensor] * gain + half(shift)) >> shift
            return saturate(v + values[layer.add] if layer.add >= 0 else v)
        if layer.op == p.HYPER:
            assert z is not None
            return z.to(self._device, torch.int32)
        if layer.op == p.CODE:
            return self._code(layer, values, y)
        if layer.op == p.DEPTHWISE:
            source = layer.sources[0]
            v = self._depthwise(values[source.tensor], parts[0], source.zero)
        else:
            v = self._conv(layer, parts[0], values, shape, level)
        if layer.leaky:
            v = leaky(v)
        if tensors[layer.out].kind == p.U7:
            return (v + layer.zero).clamp(0, layer.high)
        return saturate(v + values[layer.add]) if layer.add >= 0 else v

    def _read(self, x: torch.Tensor, kind: str, source: p.Source, layer: p.Layer) -> torch.Tensor:
        if kind == p.U7:
            return x
        moved = (x + half(source.shift)) >> source.shift
        return moved.clamp(-layer.limit, layer.limit) if layer.wide else (moved + source.zero).clamp(0, 127)

    def _product(
        self, x: torch.Tensor, part: tuple[torch.Tensor, torch.Tensor, torch.Tensor], level: int
    ) -> torch.Tensor:
        weight, bias, shift = part
        sums = torch.addmm(bias[level % len(bias)], x.reshape(-1, x.shape[-1]).to(weight.dtype), weight)
        return saturate(shifted(sums.to(torch.int32), shift)).reshape(*x.shape[:-1], -1)

    def _conv(
        self,
        layer: p.Layer,
        part: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        values: dict[int, torch.Tensor],
        shape: tuple[int, int],
        level: int,
    ) -> torch.Tensor:
        inputs = [
            self._taps(self._read(values[s.tensor], self._program.tensors[s.tensor].kind, s, layer), layer.mode, shape)
            for s in layer.sources
        ]
        out = self._product(torch.cat(inputs, -1), part, level)
        if layer.mode == p.UP2:
            rows, columns = out.shape[:2]
            out = out.reshape(rows, columns, 2, 2, layer.outputs).permute(0, 2, 1, 3, 4)
            out = out.reshape(2 * rows, 2 * columns, layer.outputs)[: shape[0], : shape[1]]
        if layer.step >= 0:
            which = self._quarters(layer.step, shape)[:, :, None, None].expand(-1, -1, 1, layer.outputs // 4)
            out = out.reshape(*shape, 4, -1).gather(2, which)[:, :, 0]
        return out

    def _quarters(self, step: int, shape: tuple[int, int]) -> torch.Tensor:
        rows, columns = (torch.arange(n, device=self._device) & 1 for n in shape)
        return torch.tensor(SQUARE[step], device=self._device)[2 * rows[:, None] + columns[None]]

    def _quarter(self, layer: p.Layer, x: torch.Tensor) -> torch.Tensor:
        """Return a mask of the channels of `x` that belong to the layer's step."""
        which = self._quarters(layer.step, (x.shape[0], x.shape[1]))[:, :, None]
        return (torch.arange(4, device=self._device) == which).repeat_interleave(x.shape[2] // 4, 2)

    def _taps(self, x: torch.Tensor, mode: str, shape: tuple[int, int]) -> torch.Tensor:
        if mode in (p.POINT, p.UP2):
            return x
        side, before = (2, 0) if mode == p.DOWN2 else (3, 1)
        at = [
            [(2 * torch.arange(n, device=self._device) + d - before).clamp(0, x.shape[axis] - 1) for d in range(side)]
            for axis, n in enumerate(shape)
        ]
        return torch.cat([x[ys][:, xs] for ys in at[0] for xs in at[1]], -1)

    def _depthwise(
        self, x: torch.Tensor, part: tuple[torch.Tensor, torch.Tensor, torch.Tensor], zero: int
    ) -> torch.Tensor:
        weight, bias, shift = part
        rows, columns, _ = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1), value=zero)
        total = bias[0].to(torch.int32)
        for tap in range(9):
            dy, dx = divmod(tap, 3)
            total = total + padded[dy : dy + rows, dx : dx + columns] * weight[:, tap].to(torch.int32)
        return saturate(shifted(total, shift))

    def _block(
        self, layer: p.Layer, parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], t: torch.Tensor
    ) -> torch.Tensor:
        first, second = layer.sources
        x = (leaky(self._product(self._read(t, p.S16, first, layer), parts[0], 0)) + layer.zeros[0]).clamp(0, 127)
        x = (self._depthwise(x, parts[1], layer.zeros[0]) + layer.zeros[1]).clamp(0, 127)
        t = saturate(t + self._product(x, parts[2], 0))
        u, v = self._product(self._read(t, p.S16, second, layer), parts[3], 0).chunk(2, -1)
        gated = leaky(u).clamp(-128, 127) * v.clamp(-128, 127)
        x = (((gated + half(layer.gate_shift)) >> layer.gate_shift) + layer.zeros[2]).clamp(0, 127)
        return saturate(t + self._product(x, parts[4], 0))

    def _code(self, layer: p.Layer, values: dict[int, torch.Tensor], y: torch.Tensor | None) -> torch.Tensor:
        assert y is not None
        mean, index = (values[s.tensor] for s in layer.sources)
        before = values.get(layer.out)
        out = torch.zeros(y.shape, dtype=torch.int32, device=self._device) if before is None else before
        mine = self._quarter(layer, out)
        d = y.to(self._device, torch.int32) - mean.repeat(1, 1, 4)
        size = ((d.abs() + 8) >> MEAN_BITS).clamp_max(p.SYMBOL_MAX)
        q = torch.where(index.repeat(1, 1, 4) > 0, torch.where(d < 0, -size, size), 0)
        return torch.where(mine, saturate((q << MEAN_BITS) + mean.repeat(1, 1, 4)), out)
