"""The reference for every layer of a program, in numpy: slow, exact and readable. Other engines are tested against it.

>> is an arithmetic shift; half(s) is 2^(s-1), or 0 for s = 0. Sums are int64 here, although program.py has checked that
they fit into fewer bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import program as p
from . import rans_reference

IntArray = npt.NDArray[np.int64]
SQUARE = ((0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2), (2, 3, 0, 1))
"""Four-step coding: the quarter of the channels coded at positions of class 2·(y & 1) + (x & 1), by step. It extends
the checkerboard of He et al. 2021 (https://arxiv.org/abs/2103.15306) as in DCVC-DC (https://arxiv.org/abs/2302.14402).
"""
MEAN_BITS = 4
"""Means and values are in sixteenths of a quantisation step."""


class Symbols(Protocol):
    """Codes symbols: `table` writes `value` and returns it, or returns the value it reads."""

    def table(self, index: int, value: int) -> int: ...


def half(shift: int) -> int:
    return 1 << (shift - 1) if shift else 0


def shifted(x: IntArray, shift: npt.NDArray[np.uint8]) -> IntArray:
    """Shift right by channel, with rounding."""
    s = shift.astype(np.int64)
    return np.asarray((x + np.where(s > 0, 1 << np.maximum(s - 1, 0), 0)) >> s)


def saturate(x: IntArray) -> IntArray:
    return np.asarray(np.clip(x, -32768, 32767))


def leaky(x: IntArray) -> IntArray:
    return np.asarray(np.where(x < 0, x >> 3, x))


def read(x: IntArray, kind: str, source: p.Source, layer: p.Layer) -> IntArray:
    """Return a tensor as a layer reads it."""
    if kind == p.U7:
        return x
    moved = (x + half(source.shift)) >> source.shift
    if layer.wide:
        return np.asarray(np.clip(moved, -layer.limit, layer.limit))
    return np.asarray(np.clip(moved + source.zero, 0, 127))


def size_at(at8: int, scale: int) -> int:
    return -(-at8 // (1 << (scale - p.BASE_SCALE)))


def product(x: IntArray, w: p.Weights, level: int) -> IntArray:
    """Multiply […, inputs] → […, outputs], shift, and saturate to int16. Sums are below 2^31, so float64 is exact in
    any order; it is used because its matrix products are fast."""
    bias = w.bias[level % len(w.bias)].astype(np.int64)
    sums = (x.astype(np.float64) @ w.weight.astype(np.float64).T).astype(np.int64)
    return saturate(shifted(sums + bias, w.shift))


def taps(x: IntArray, mode: str, rows: int, columns: int) -> IntArray:
    """Gather the taps of a convolution: [h,w,c] → [rows,columns,taps·c]. Edge samples are repeated."""
    if mode in (p.POINT, p.UP2):
        return x
    side, before = (2, 0) if mode == p.DOWN2 else (3, 1)
    parts = []
    for dy in range(side):
        for dx in range(side):
            ys = np.clip(2 * np.arange(rows) + dy - before, 0, x.shape[0] - 1)
            xs = np.clip(2 * np.arange(columns) + dx - before, 0, x.shape[1] - 1)
            parts.append(x[ys][:, xs])
    return np.concatenate(parts, -1)


def depthwise(x: IntArray, w: p.Weights, zero: int) -> IntArray:
    """Apply a 3x3 filter to each channel, padded with the zero point."""
    rows, columns, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=zero)
    total = np.broadcast_to(w.bias[0].astype(np.int64), x.shape)
    for tap in range(9):
        dy, dx = divmod(tap, 3)
        total = total + padded[dy : dy + rows, dx : dx + columns] * w.weight[tap].astype(np.int64)
    return saturate(shifted(total, w.shift))


def activation(v: IntArray, zero: int, high: int = 127) -> IntArray:
    return np.clip(v + zero, 0, high)


def conv(layer: p.Layer, tensors: list[p.Tensor], values: Sequence[IntArray | None], level: int, size: tuple[int, int]) -> IntArray:  # fmt: skip  # noqa: E501
    """Run a convolution. `size`: rows and columns of the output."""
    inputs = []
    for s in layer.sources:
        x = values[s.tensor]
        assert x is not None
        inputs.append(taps(read(x, tensors[s.tensor].kind, s, layer), layer.mode, *size))
    x = np.concatenate(inputs, -1)
    out = product(x, layer.parts[0], level)
    if layer.mode == p.UP2:
        rows, columns = x.shape[:2]
        out = out.reshape(rows, columns, 2, 2, layer.outputs).transpose(0, 2, 1, 3, 4)
        out = out.reshape(2 * rows, 2 * columns, layer.outputs)[: size[0], : size[1]]
    if layer.step >= 0:
        quarter = layer.outputs // 4
        out = np.take_along_axis(
            out.reshape(*size, 4, quarter), quarters(layer.step, *size)[:, :, None, None], 2
        )[:, :, 0]  # fmt: skip
    return output(out, layer, tensors, values)


def output(v: IntArray, layer: p.Layer, tensors: list[p.Tensor], values: Sequence[IntArray | None]) -> IntArray:
    """Apply a convolution's activation and addend."""
    if layer.leaky:
        v = leaky(v)
    if tensors[layer.out].kind == p.U7:
        return activation(v, layer.zero, layer.high)
    if layer.add >= 0:
        addend = values[layer.add]
        assert addend is not None
        v = saturate(v + addend)
    return v


def quarters(step: int, rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Return the quarter of the channels that each position codes in a step, [rows,columns]."""
    kind = 2 * (np.arange(rows)[:, None] & 1) + (np.arange(columns)[None] & 1)
    return np.array(SQUARE[step])[kind]


def block(layer: p.Layer, t: IntArray) -> IntArray:
    a, d, b, f, g = layer.parts
    first, second = layer.sources
    x = activation(leaky(product(read(t, p.S16, first, layer), a, 0)), layer.zeros[0])
    x = activation(depthwise(x, d, layer.zeros[0]), layer.zeros[1])
    t = saturate(t + product(x, b, 0))
    uv = product(read(t, p.S16, second, layer), f, 0)
    u, v = np.clip(leaky(uv[..., : layer.outputs]), -128, 127), np.clip(uv[..., layer.outputs :], -128, 127)
    x = activation((u * v + half(layer.gate_shift)) >> layer.gate_shift, layer.zeros[2])
    return saturate(t + product(x, g, 0))


class TableSymbols:
    """Codes symbols by a model's tables: -reach … reach, or an escape, a sign and the excess as a Golomb code."""

    def __init__(self, coder: rans_reference.Coder, tables: p.Tables) -> None:
        self._coder, self._reach = coder, tables.reach.tolist()
        self._starts = [[0, *itertools.accumulate(row)] for row in tables.rows()]

    def table(self, index: int, value: int) -> int:
        reach, size = self._reach[index], abs(value)
        symbol = self._coder.piece(self._starts[index], 2 * reach + 1 if size > reach else value + reach)
        if symbol <= 2 * reach:
            return int(symbol - reach)
        negative = self._coder.raw(1, value < 0)
        size = min(reach + 1 + self._coder.golomb(2, max(size - reach - 1, 0)), p.SYMBOL_MAX)
        return int(-size if negative else size)


def quantised(y: int, mean: int, rounding: int) -> int:
    d = y - mean
    size = min((abs(d) + rounding) >> MEAN_BITS, p.SYMBOL_MAX)
    return -size if d < 0 else size


class Run:
    """One run of a program. `symbols` codes the symbols. `coded` [rows/2, columns/2]: blocks with symbols. To write:
    latents `y` in sixteenths of a step, hyper-latents `z`, and `rounding` [64] by table (8 rounds to the nearest).
    `given` is filled with the latents' symbols; without `symbols`, `given` and `z` supply them. `tables` is filled with
    the latents' tables."""

    def __init__(
        self,
        model: p.Model,
        name: str,
        inputs: Sequence[npt.NDArray[np.generic]],
        size: tuple[int, int],
        level: int,
        symbols: Symbols | None = None,
        coded: npt.NDArray[np.generic] | None = None,
        y: npt.NDArray[np.int16] | None = None,
        z: npt.NDArray[np.int16] | None = None,
        rounding: npt.NDArray[np.uint8] | None = None,
        given: npt.NDArray[np.int16] | None = None,
        tables: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._tables = tables
        self._program, self._size, self._level, self._symbols = model.programs[name], size, level, symbols
        self._coded = np.ones((size[0] // 2, size[1] // 2), bool) if coded is None else coded.astype(bool)
        self._y, self._z, self._rounding, self._given = y, z, rounding, given
        self.values: list[IntArray | None] = [None] * len(self._program.tensors)
        for i, x in zip(self._program.inputs, inputs, strict=True):
            self.values[i] = x.astype(np.int64)

    def run(self) -> list[IntArray]:
        layers: dict[str, Callable[[p.Layer], IntArray]] = {
            p.CONV: self._conv, p.DEPTHWISE: self._depthwise, p.BLOCK: self._block, p.GAIN: self._gain,
            p.HYPER: self._hyper, p.CODE: self._code,
        }  # fmt: skip
        for layer in self._program.layers:
            self.values[layer.out] = layers[layer.op](layer)
        return [self._value(i) for i in self._program.outputs]

    def _value(self, tensor: int) -> IntArray:
        x = self.values[tensor]
        assert x is not None
        return x

    def _size_of(self, tensor: int) -> tuple[int, int]:
        scale = self._program.tensors[tensor].scale
        return size_at(self._size[0], scale), size_at(self._size[1], scale)

    def _conv(self, layer: p.Layer) -> IntArray:
        return conv(layer, self._program.tensors, self.values, self._level, self._size_of(layer.out))

    def _depthwise(self, layer: p.Layer) -> IntArray:
        source = layer.sources[0]
        out = depthwise(self._value(source.tensor), layer.parts[0], source.zero)
        return output(out, layer, self._program.tensors, self.values)

    def _block(self, layer: p.Layer) -> IntArray:
        return block(layer, self._value(layer.sources[0].tensor))

    def _gain(self, layer: p.Layer) -> IntArray:
        assert layer.gain is not None and layer.gain_shift is not None
        row = self._level % len(layer.gain)
        shift = int(layer.gain_shift[row])
        x = self._value(layer.sources[0].tensor) * layer.gain[row].astype(np.int64)
        v = (x + half(shift)) >> shift
        return saturate(v if layer.add < 0 else v + self._value(layer.add))

    def _hyper(self, layer: p.Layer) -> IntArray:
        """Code hyper-latents (Ballé et al. 2018, https://arxiv.org/abs/1802.01436) at every position that covers a
        coded block, channel by channel; 0 elsewhere."""
        assert layer.tables is not None
        rows, columns = self._size_of(layer.out)
        by = 1 << (self._program.tensors[layer.out].scale - p.BASE_SCALE - 1)
        tables = layer.tables[self._level % len(layer.tables)]
        out = np.zeros((rows, columns, layer.outputs), np.int64)
        for y in range(rows):
            for x in range(columns):
                if not self._coded[y * by : (y + 1) * by, x * by : (x + 1) * by].any():
                    continue
                for c, table in enumerate(tables.tolist()):
                    given = 0 if self._z is None else int(np.clip(self._z[y, x, c], -p.SYMBOL_MAX, p.SYMBOL_MAX))
                    if table:
                        out[y, x, c] = given if self._symbols is None else self._symbols.table(table, given)
                    if self._z is not None:
                        self._z[y, x, c] = out[y, x, c]
        return out

    def _code(self, layer: p.Layer) -> IntArray:
        """Code one step: a quarter of the channels at every coded position, value = 16·symbol + mean, with means and
        tables from the hyperprior and earlier steps (Minnen et al. 2018, https://arxiv.org/abs/1809.02736)."""
        rows, columns = self._size_of(layer.out)
        mean, index = (self._value(s.tensor) for s in layer.sources)
        quarter = layer.outputs // 4
        before = self.values[layer.out]
        out = np.zeros((rows, columns, layer.outputs), np.int64) if before is None else before.copy()
        which = quarters(layer.step, rows, columns)
        for y, x in zip(*np.nonzero(self._coded), strict=True):
            first = int(which[y, x]) * quarter
            for c in range(quarter):
                table, m, q = int(index[y, x, c]), int(mean[y, x, c]), 0
                if table and self._symbols is None:
                    assert self._given is not None
                    q = min(max(int(self._given[y, x, first + c]), -p.SYMBOL_MAX), p.SYMBOL_MAX)
                elif table and self._symbols is not None:
                    if self._y is not None:
                        rounding = 8 if self._rounding is None else int(self._rounding[table])
                        q = quantised(int(self._y[y, x, first + c]), m, rounding)
                    q = self._symbols.table(table, q)
                if self._given is not None:
                    self._given[y, x, first + c] = q
                if self._tables is not None:
                    self._tables[y, x, first + c] = table
                out[y, x, first + c] = min(max((q << MEAN_BITS) + m, -32768), 32767)
        return out
