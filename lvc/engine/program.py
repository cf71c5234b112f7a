"""Programs of integer layers: the content of a model file, and every check that it must pass before it runs.

A program is a list of layers in the order of execution. Each reads inputs or the outputs of earlier layers and writes
a tensor of its own, so there are no loops. Tensors are `u7` (0 … 127) or `s16`, channels last. A tensor at scale s has
ceil(h / 2^(s-3)) rows, where h is the number of rows at 1/8. reference.py defines what each layer computes. Integers
make all machines agree (Ballé, Johnston, Minnen 2019, https://openreview.net/forum?id=S1zz2i0cY7).

The file is a safetensors file: arrays, and in its metadata under `lvc.programs` a JSON object (see `save`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import CorruptError, LimitError, UnsupportedError
from . import safetensors_file

U7, S16 = "u7", "s16"
KINDS = U7, S16
CONV, DEPTHWISE, BLOCK, GAIN, HYPER, CODE = OPS = "conv", "depthwise", "block", "gain", "hyper", "code"
POINT, DOWN2, UP2, DOWN3 = MODES = "point", "down2", "up2", "down3"
TAPS = {POINT: 1, DOWN2: 4, UP2: 1, DOWN3: 9}
BASE_SCALE, MAX_SCALE = 3, 7
VERSION = 1
TABLES = 64
SYMBOL_MAX = 2047

MAX_FILE = 64 << 20
MAX_LAYERS, MAX_TENSORS, MAX_SOURCES, MAX_CHANNELS, MAX_LEVELS, MAX_PROGRAMS = 256, 512, 8, 1024, 1024, 16
MAX_MACS = 4_000_000
"""The most multiplications of a program per pixel at 1/8: 62 per luma sample."""
MAX_BYTES = 16384
"""The most bytes of live tensors per pixel at 1/8: half a gigabyte at 1920x1080."""
LIMIT_8, LIMIT_16 = 1 << 24, 1 << 31
"""Bounds of sums: those of 8-bit layers are exact in float32, those of 16-bit layers in int32."""
MAX_READ_SHIFT = 8
LAP_BITS = 14
MAX_SHIFT = 24


@dataclass(frozen=True)
class Tensor:
    name: str
    kind: str
    scale: int
    channels: int


@dataclass(frozen=True)
class Source:
    """How a layer reads a tensor: int16 as clamp(((t + half) >> shift) + zero, 0, 127), or in a wide layer as
    clamp((t + half) >> shift, -limit, limit); u7 unchanged. A block reads its trunk twice, with two sources."""

    tensor: int
    shift: int = 0
    zero: int = 0


@dataclass
class Weights:
    """`weight` int8 [outputs, inputs] (wide: int16; depthwise: [9, channels]), `bias` int32 [rows, outputs] (see
    `Layer.level_rows`), `shift` uint8 [outputs]."""

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray


@dataclass
class Layer:
    """One layer. `outputs`: channels per pixel (with `up2`, of each of the four pixels; with `step`, of all quarters).

    conv: rows of weights are outputs (`up2`: of pixel (0,0), (0,1), (1,0), (1,1), in this order); columns are inputs by
    source, then tap (row by row), then channel.
    block: `parts` A, depthwise, B, F, G; `zeros` after A, depthwise and the gate; `sources` are the trunk twice.
    gain: `gain` int16 [rows, channels], `gain_shift` uint8 [rows].
    hyper: `tables` uint8 [rows, channels]. code: sources are means (s16) and table indices (u7) of a quarter of the
    channels; `out` is the tensor of values, the same for steps 0 … 3.
    """

    op: str
    out: int
    sources: list[Source]
    outputs: int
    mode: str = POINT
    wide: bool = False
    limit: int = 32767
    step: int = -1
    leaky: bool = False
    zero: int = 0
    high: int = 127
    add: int = -1
    zeros: tuple[int, int, int] = (0, 0, 0)
    gate_shift: int = 0
    parts: list[Weights] = field(default_factory=list)
    gain: np.ndarray | None = None
    gain_shift: np.ndarray | None = None
    tables: np.ndarray | None = None

    def level_rows(self) -> int:
        """Return the number of rows of biases, gains or hyper-latents' tables: level l uses row l modulo this."""
        for table in (self.gain, self.tables, *(w.bias for w in self.parts[:1])):
            if table is not None:
                return len(table)
        return 1

    def walk(self, tensors: list[Tensor]) -> int:
        """Return the scale of the pixels that the layer iterates over."""
        return tensors[self.out].scale + (self.op == CONV and self.mode == UP2)


@dataclass
class Program:
    tensors: list[Tensor]
    layers: list[Layer]
    inputs: list[int]
    outputs: list[int]

    def macs(self) -> float:
        """Return the multiplications per pixel at 1/8."""
        return sum(_layer_macs(layer, self.tensors) for layer in self.layers)


@dataclass
class Tables:
    """Probability tables: `reach` uint16 [64]; `frequencies` uint32, for each of the tables 1 … 63 its 2·reach + 2
    frequencies, which sum to 65536."""

    reach: np.ndarray
    frequencies: np.ndarray

    def rows(self) -> list[list[int]]:
        out, at = [[65536]], 0
        for reach in self.reach[1:].tolist():
            out.append(self.frequencies[at : at + 2 * reach + 2].tolist())
            at += 2 * reach + 2
        return out

    def bits(self) -> np.ndarray:
        """What the symbols −2047 … 2047 cost by each table: float32 [64, 4095]. By table 0 all but 0 costs too much."""
        bits = np.full((TABLES, 2 * SYMBOL_MAX + 1), np.float32(1e6))
        bits[0, SYMBOL_MAX] = 0
        sizes = np.abs(np.arange(-SYMBOL_MAX, SYMBOL_MAX + 1))
        for row, of in zip(bits[1:], self.rows()[1:], strict=True):
            costs, reach = 16 - np.log2(np.asarray(of, np.float64)), len(of) // 2 - 1
            # after the escape a sign and an Exp-Golomb code of order 2
            row[:] = costs[-1] + 4 + 2 * np.floor(np.log2(np.maximum(sizes - reach - 1, 0) / 4 + 1))
            row[SYMBOL_MAX - reach : SYMBOL_MAX + reach + 1] = costs[:-1]
        return bits


@dataclass
class Model:
    levels: int
    programs: dict[str, Program]
    tables: Tables | None = None
    laps: tuple[np.ndarray, np.ndarray] | None = None
    """Matrices of the inverse lapping filter, int16 in 1/16384: luma [16,16], chroma [8,8] (`planes.lap`)."""


def _layer_macs(layer: Layer, tensors: list[Tensor]) -> float:
    area = 4.0 ** (BASE_SCALE - layer.walk(tensors))
    c = layer.outputs
    if layer.op == BLOCK:
        return area * (5 * c * c + 9 * c)
    if layer.op == DEPTHWISE:
        return area * 9 * c
    if layer.op != CONV:
        return area * c
    inputs = TAPS[layer.mode] * sum(tensors[s.tensor].channels for s in layer.sources)
    return area * inputs * c * (4 if layer.mode == UP2 else 0.25 if layer.step >= 0 else 1)


def made_of(program: Program, tensors: Sequence[int], end: int) -> set[int]:
    """Return `tensors` and all that they are made of, except the tensor `end` and what only that is made of."""
    found, queue = set(), list(tensors)
    while queue:
        t = queue.pop()
        if t in found or t == end:
            continue
        found.add(t)
        for layer in program.layers:
            if layer.out == t:
                queue += [s.tensor for s in layer.sources] + ([layer.add] if layer.add >= 0 else [])
    return found


def behind_latents(program: Program) -> tuple[int, list[int]]:
    """Return the tensor of the latents' values, and the numbers of the layers that make the first output of it. Raises
    `UnsupportedError` for layers that lvc's own models do not have there."""
    values = next(layer.out for layer in program.layers if layer.op == CODE)
    needed = made_of(program, program.outputs[:1], values)
    found = [i for i, layer in enumerate(program.layers) if layer.out in needed]
    for layer in (program.layers[i] for i in found):
        if layer.op not in (CONV, GAIN, BLOCK) or layer.mode not in (POINT, UP2):
            raise UnsupportedError(f"the model has a layer {layer.op} {layer.mode} behind latents — choose another one")
    return values, found


# Checks


def _damaged(what: str) -> CorruptError:
    return CorruptError(f"a model's program is damaged: {what}")


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise _damaged(what)


def _within(value: int, low: int, high: int, what: str) -> None:
    _need(low <= value <= high, f"{what} is {value}, not {low} … {high}")


def check(model: Model) -> None:
    """Check a model. One that passes stays within the limits above, cannot overflow and cannot access memory outside
    its arrays.

    Raises:
        CorruptError: The model is inconsistent or could overflow.
        LimitError: It exceeds a limit.
    """
    _within(model.levels, 1, MAX_LEVELS, "the number of levels")
    if len(model.programs) > MAX_PROGRAMS:
        raise LimitError(f"a model has {len(model.programs)} programs — the limit is {MAX_PROGRAMS}")
    if model.tables is not None:
        _check_tables(model.tables)
    if model.laps is not None:
        for lap, n in zip(model.laps, (16, 8), strict=True):
            _need(lap.dtype == np.int16 and lap.shape == (n, n), "a lapping matrix does not fit")
            sums = np.abs(lap.astype(np.int64)).sum(0).max() * 32768 + (1 << (LAP_BITS - 1))
            _need(int(sums) < LIMIT_16, "a lapping matrix could overflow")
    for program in model.programs.values():
        _check_program(program, model)


def _check_tables(tables: Tables) -> None:
    reach, frequencies = tables.reach, tables.frequencies
    _need(reach.dtype == np.uint16 and reach.shape == (TABLES,), "the tables' reach is not uint16 [64]")
    _need(frequencies.dtype == np.uint32 and frequencies.ndim == 1, "frequencies are not a list of uint32")
    _need(bool((reach[1:] >= 1).all() and (reach[1:] < SYMBOL_MAX).all()), "a table's reach is out of bounds")
    sizes = 2 * reach[1:].astype(np.int64) + 2
    _need(len(frequencies) == int(sizes.sum()), "tables have the wrong length")
    _need(bool((frequencies >= 1).all() and (frequencies <= 65536).all()), "a frequency is out of bounds")
    for row in tables.rows():
        _need(sum(row) == 65536, "a table's frequencies do not add up to 65536")


def _check_program(program: Program, model: Model) -> None:
    tensors, layers = program.tensors, program.layers
    for count, limit, what in ((len(tensors), MAX_TENSORS, "tensors"), (len(layers), MAX_LAYERS, "layers")):
        if count > limit:
            raise LimitError(f"a model's program has {count} {what} — the limit is {limit}")
    for t in tensors:
        _need(t.kind in KINDS, f"a tensor is of kind {t.kind!r}")
        _within(t.scale, BASE_SCALE, MAX_SCALE, "a tensor's scale")
        _within(t.channels, 1, MAX_CHANNELS, "a tensor's number of channels")
    for i in [*program.inputs, *program.outputs]:
        _within(i, 0, len(tensors) - 1, "an input's or output's number")
    written = set(program.inputs)
    _need(len(written) == len(program.inputs), "an input is named twice")
    for layer in layers:
        _check_layer(layer, program, model, written)
        written.add(layer.out)
    _need(set(program.outputs) <= written, "an output is never written")
    if program.macs() > MAX_MACS:
        raise LimitError(f"a model's program needs {program.macs():.0f} multiplications a block — limit {MAX_MACS}")
    if (peak := _peak(program)) > MAX_BYTES:
        raise LimitError(f"a model's program needs {peak:.0f} bytes a block — the limit is {MAX_BYTES}")


def _check_layer(layer: Layer, program: Program, model: Model, written: set[int]) -> None:
    tensors = program.tensors
    _need(layer.op in OPS, f"there is no layer {layer.op!r}")
    _need(layer.op == CONV or (layer.mode == POINT and not layer.wide), "a convolution's mode in another layer")
    _within(layer.out, 0, len(tensors) - 1, "an output's number")
    _within(len(layer.sources), 0 if layer.op == HYPER else 1, MAX_SOURCES, "the number of sources")
    for s in layer.sources:
        _need(s.tensor in written, "a layer reads a tensor that no earlier layer writes")
        _within(s.shift, 0, MAX_READ_SHIFT, "a read shift")
        _within(s.zero, 0, 127, "a zero point")
    out = tensors[layer.out]
    _within(layer.outputs, 1, MAX_CHANNELS, "the number of outputs")
    _within(layer.zero, 0, 127, "a zero point")
    _within(layer.high, 0, 127, "an upper bound")
    _within(layer.add, -1, len(tensors) - 1, "an addend's number")
    if layer.op == CODE:
        _need(layer.add < 0, "a code layer has an addend")
        _check_code(layer, program, model, written)
        return
    _need(layer.out not in written, "a tensor is written twice")
    _within(layer.step, -1, 3, "a step")
    _need(layer.step < 0 or (layer.op == CONV and layer.mode == POINT), "a layer that takes no step has one")
    _need(layer.step < 0 or layer.outputs % 4 == 0, "outputs in quarters are not a multiple of 4")
    _need(out.channels == (layer.outputs // 4 if layer.step >= 0 else layer.outputs), "outputs do not fit their tensor")
    if layer.add >= 0:
        _need(layer.op in (CONV, DEPTHWISE, GAIN) and layer.add in written, "an addend is missing or not allowed")
        addend = tensors[layer.add]
        same = (addend.kind, addend.scale, addend.channels) == (out.kind, out.scale, out.channels)
        _need(out.kind == S16 and same, "an addend has the wrong shape")
    {CONV: _check_conv, DEPTHWISE: _check_depthwise, BLOCK: _check_block, GAIN: _check_gain, HYPER: _check_hyper}[
        layer.op
    ](layer, program, model)


def _rows_fit(rows: int, levels: int) -> bool:
    return rows > 0 and levels % rows == 0


def _check_sums(w: Weights, outputs: int, inputs: int, levels: int, largest: int, bound: int) -> None:
    """Check the shapes of weights [outputs, inputs], and that no sum can reach `bound`."""
    kind = np.int8 if bound == LIMIT_8 else np.int16
    _need(w.weight.dtype == kind and w.weight.shape == (outputs, inputs), "weights have the wrong shape")
    _need(w.bias.dtype == np.int32 and w.bias.ndim == 2 and w.bias.shape[1] == outputs, "biases have the wrong shape")
    _need(_rows_fit(w.bias.shape[0], levels), "biases do not fit the number of levels")
    _need(w.shift.dtype == np.uint8 and w.shift.shape == (outputs,), "shifts have the wrong shape")
    _need(int(w.shift.max()) <= MAX_SHIFT, "a shift is too large")
    wider = np.int16 if kind is np.int8 else np.int32  # the least numbers have no positive ones of their own type
    sums = np.abs(w.weight.astype(wider)).sum(1, dtype=np.int64) * largest + np.abs(w.bias.astype(np.int64)).max(0)
    half = np.where(w.shift > 0, 1 << np.maximum(w.shift.astype(np.int64) - 1, 0), 0)
    _need(bool((sums + half < bound).all()), "a sum could overflow")


def _check_conv(layer: Layer, program: Program, model: Model) -> None:
    tensors, out = program.tensors, program.tensors[layer.out]
    _need(layer.mode in MODES and len(layer.parts) == 1, "a convolution has an unknown mode")
    shift = {POINT: 0, DOWN2: 1, UP2: -1, DOWN3: 1}[layer.mode]
    for s in layer.sources:
        t = tensors[s.tensor]
        _need(t.scale + shift == out.scale, "a convolution's scales do not fit")
        _need(t.kind == S16 or not layer.wide, "a 16-bit layer reads 7-bit activations")
    _need(out.kind == S16 or not layer.wide, "a 16-bit layer writes 7-bit activations")
    _within(layer.limit, 1, 32767, "a 16-bit layer's limit")
    inputs = TAPS[layer.mode] * sum(tensors[s.tensor].channels for s in layer.sources)
    outputs = layer.outputs * (4 if layer.mode == UP2 else 1)
    largest, bound = (layer.limit, LIMIT_16) if layer.wide else (127, LIMIT_8)
    _check_sums(layer.parts[0], outputs, inputs, model.levels, largest, bound)


def _depthwise_sums(w: Weights, channels: int) -> None:
    _need(w.weight.dtype == np.int8 and w.weight.shape == (9, channels), "a depthwise filter has the wrong shape")
    _check_sums(Weights(w.weight.T, w.bias, w.shift), channels, 9, 1, 127, LIMIT_8)


def _check_depthwise(layer: Layer, program: Program, model: Model) -> None:
    out, source = program.tensors[layer.out], program.tensors[layer.sources[0].tensor]
    _need(len(layer.sources) == 1 and len(layer.parts) == 1, "a depthwise layer has more than one source")
    fits = (source.kind, source.scale, source.channels) == (U7, out.scale, out.channels)
    _need(fits, "a depthwise layer's source does not fit")
    _depthwise_sums(layer.parts[0], out.channels)


def _check_block(layer: Layer, program: Program, model: Model) -> None:
    out, c = program.tensors[layer.out], layer.outputs
    _need(len(layer.sources) == 2 and len(layer.parts) == 5 and len(layer.zeros) == 3, "a block has the wrong parts")
    _need(layer.sources[0].tensor == layer.sources[1].tensor, "a block has two trunks")
    trunk = program.tensors[layer.sources[0].tensor]
    fits = (trunk.kind, trunk.scale, trunk.channels, out.kind) == (S16, out.scale, c, S16)
    _need(fits, "a block's trunk does not fit")
    for z in layer.zeros:
        _within(z, 0, 127, "a zero point")
    _within(layer.gate_shift, 0, 14, "a gate's shift")
    for w, outputs in zip(layer.parts, (c, 0, c, 2 * c, c), strict=True):
        if outputs:
            _check_sums(w, outputs, c, 1, 127, LIMIT_8)
        else:
            _depthwise_sums(w, c)


def _check_gain(layer: Layer, program: Program, model: Model) -> None:
    out, source = program.tensors[layer.out], program.tensors[layer.sources[0].tensor]
    fits = (source.kind, source.scale, source.channels, out.kind) == (S16, out.scale, out.channels, S16)
    _need(len(layer.sources) == 1 and fits, "a gain's source does not fit")
    gain, shift = layer.gain, layer.gain_shift
    if gain is None or shift is None:
        raise _damaged("a gain without a table")
    _need(gain.dtype == np.int16 and gain.ndim == 2 and gain.shape[1] == out.channels, "a gain's table does not fit")
    _need(_rows_fit(len(gain), model.levels), "a gain's table does not fit")
    _need(shift.dtype == np.uint8 and shift.shape == (len(gain),), "a gain's shifts do not fit")
    _need(int(shift.max()) <= MAX_SHIFT, "a shift is too large")


def _check_hyper(layer: Layer, program: Program, model: Model) -> None:
    out, tables = program.tensors[layer.out], layer.tables
    _need(model.tables is not None and not layer.sources, "symbols without tables")
    _need(out.kind == S16 and out.scale > BASE_SCALE, "the tensor of hyper-latents does not fit")
    if tables is None:
        raise _damaged("tables do not fit")
    _need(tables.dtype == np.uint8 and tables.ndim == 2, "tables do not fit")
    _need(tables.shape[1] == out.channels and _rows_fit(len(tables), model.levels), "tables do not fit")
    _need(int(tables.max()) < TABLES, "a table's number is out of range")


def _check_code(layer: Layer, program: Program, model: Model, written: set[int]) -> None:
    out = program.tensors[layer.out]
    _need(model.tables is not None and len(layer.sources) == 2, "symbols without means, indices and tables")
    means, indices = (program.tensors[s.tensor] for s in layer.sources)
    shape = out.scale, out.channels // 4
    _need(out.kind == S16 and out.scale == BASE_SCALE + 1 and out.channels % 4 == 0, "the latents' tensor does not fit")
    _need((means.kind, means.scale, means.channels) == (S16, *shape), "the means' tensor does not fit")
    _need((indices.kind, indices.scale, indices.channels) == (U7, *shape), "the table indices' tensor does not fit")
    _need(layer.outputs == out.channels and layer.out not in program.inputs, "the tensor of values does not fit")
    before = [other for other in program.layers if other.out == layer.out]
    _need([o.op for o in before] == [CODE] * 4 and [o.step for o in before] == [0, 1, 2, 3], "steps out of order")
    index = next(o for o in program.layers if o.out == layer.sources[1].tensor) if layer.sources[1].tensor not in (
        program.inputs
    ) else None  # fmt: skip
    _need(index is not None and index.op == CONV and index.high < TABLES, "a table index could be out of range")


def _peak(program: Program) -> float:
    """Return the peak of live tensors, in bytes per pixel at 1/8."""
    first: dict[int, int] = dict.fromkeys(program.inputs, 0)
    last: dict[int, int] = dict.fromkeys(program.outputs, len(program.layers))
    for i, layer in enumerate(program.layers):
        first.setdefault(layer.out, i)
        for t in [layer.out, *([layer.add] if layer.add >= 0 else []), *(s.tensor for s in layer.sources)]:
            last[t] = max(last.get(t, 0), i)
    sizes = [
        (t.channels + 31) // 32 * 32 * (2 if t.kind == S16 else 1) * 4.0 ** (BASE_SCALE - t.scale)
        for t in program.tensors
    ]
    return max(
        (
            sum(sizes[t] for t in first if first[t] <= i <= last.get(t, 0))
            for i in range(len(program.layers) + 1)
        ),
        default=0.0,
    )  # fmt: skip


# Files

_LAYER_FIELDS = (
    "op", "out", "outputs", "mode", "wide", "limit", "step", "leaky", "zero", "high", "add", "zeros", "gate_shift",
)  # fmt: skip


def save(model: Model, path: str | Path, about: Mapping[str, str] | None = None) -> None:
    """Write a model to a file, with `about` as further metadata.

    Metadata `lvc.programs`: {"version": 1, "levels": n, "programs": {name: {"tensors": [[name, kind, scale,
    channels], …], "inputs": […], "outputs": […], "layers": [{field: value, "sources": [[tensor, shift, zero],
    …]}, …]}}}. Arrays: `NAME/LAYER/PART/weight`, `bias`, `shift`; `NAME/LAYER/gain`, `gain_shift`, `tables`;
    `tables/reach`, `tables/frequencies`, `laps/luma`, `laps/chroma`."""
    check(model)
    arrays: dict[str, np.ndarray] = {}
    programs: dict[str, Any] = {}
    for name, program in model.programs.items():
        layers = []
        for i, layer in enumerate(program.layers):
            for j, part in enumerate(layer.parts):
                for key in ("weight", "bias", "shift"):
                    arrays[f"{name}/{i}/{j}/{key}"] = np.ascontiguousarray(getattr(part, key))
            for key in ("gain", "gain_shift", "tables"):
                if (array := getattr(layer, key)) is not None:
                    arrays[f"{name}/{i}/{key}"] = np.ascontiguousarray(array)
            stored = {key: getattr(layer, key) for key in _LAYER_FIELDS}
            layers.append(stored | {"sources": [[s.tensor, s.shift, s.zero] for s in layer.sources]})
        tensors = [[t.name, t.kind, t.scale, t.channels] for t in program.tensors]
        programs[name] = {
            "tensors": tensors, "inputs": program.inputs, "outputs": program.outputs, "layers": layers,
        }  # fmt: skip
    if model.tables is not None:
        arrays |= {"tables/reach": model.tables.reach, "tables/frequencies": model.tables.frequencies}
    if model.laps is not None:
        arrays |= {f"laps/{name}": lap for name, lap in zip(("luma", "chroma"), model.laps, strict=True)}
    head = {"version": VERSION, "levels": model.levels, "programs": programs}
    metadata = {**(about or {}), "lvc.programs": json.dumps(head, separators=(",", ":"))}
    safetensors_file.save(path, {name: (a.dtype.name, a) for name, a in arrays.items()}, metadata)


def load(path: str | Path) -> Model:
    """Read a model and check it. Raises `CorruptError`, `LimitError`, `UnsupportedError` or `OSError`."""
    if (size := Path(path).stat().st_size) > MAX_FILE:
        raise LimitError(f"a model's file has {size} bytes — the limit is {MAX_FILE}")
    return loads(Path(path).read_bytes())


def loads(data: bytes) -> Model:
    """As `load`, for a file in memory."""
    if len(data) > MAX_FILE:
        raise LimitError(f"a model's file has {len(data)} bytes — the limit is {MAX_FILE}")
    try:
        arrays = safetensors.numpy.load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError, KeyError, RecursionError) as e:
        raise CorruptError("a model's file is damaged") from e
    try:
        head = json.loads(metadata["lvc.programs"])
        if head["version"] != VERSION:
            raise UnsupportedError(f"a model is of version {head['version']!r} — update lvc")
        programs = {
            str(name): _program_of(str(name), stored, arrays) for name, stored in head["programs"].items()
        }  # fmt: skip
        tables = None
        if "tables/reach" in arrays:
            tables = Tables(arrays["tables/reach"], arrays["tables/frequencies"])
        laps = None
        if "laps/luma" in arrays:
            laps = arrays["laps/luma"], arrays["laps/chroma"]
        model = Model(_integer(head["levels"]), programs, tables, laps)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise CorruptError(f"a model's program is damaged: {type(e).__name__}: {e}") from e
    check(model)
    return model


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer")
    return value


def _program_of(name: str, stored: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Program:
    tensors = [Tensor(str(n), str(kind), _integer(scale), _integer(c)) for n, kind, scale, c in stored["tensors"]]
    if len(stored["layers"]) > MAX_LAYERS:
        raise LimitError(f"a model's program has {len(stored['layers'])} layers — the limit is {MAX_LAYERS}")
    layers = [_layer_of(f"{name}/{i}", layer, arrays) for i, layer in enumerate(stored["layers"])]
    return Program(tensors, layers, [_integer(i) for i in stored["inputs"]], [_integer(i) for i in stored["outputs"]])


def _layer_of(prefix: str, stored: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Layer:
    fields: dict[str, Any] = {}
    for key in _LAYER_FIELDS:
        value = stored[key]
        if key in ("op", "mode"):
            fields[key] = str(value)
        elif key in ("wide", "leaky"):
            fields[key] = bool(value)
        elif key == "zeros":
            fields[key] = tuple(_integer(v) for v in value)
        elif key == "add":
            fields[key] = max(-1, _integer(value))  # any negative number means none
        else:
            fields[key] = _integer(value)
    parts: list[Weights] = []
    while f"{prefix}/{len(parts)}/weight" in arrays and len(parts) < 5:
        at = f"{prefix}/{len(parts)}"
        parts.append(Weights(arrays[f"{at}/weight"], arrays[f"{at}/bias"], arrays[f"{at}/shift"]))
    extra: dict[str, Any] = {key: arrays.get(f"{prefix}/{key}") for key in ("gain", "gain_shift", "tables")}
    sources = [Source(_integer(t), _integer(shift), _integer(zero)) for t, shift, zero in stored["sources"]]
    return Layer(sources=sources, parts=parts, **fields, **extra)
