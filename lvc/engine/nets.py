"""Runs programs of integer layers on the chosen engine."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import program as p
from . import reference
from .coder import Coder
from .library import ISAS, NUMPY, TORCH, address, chosen, compiled, instructions, library

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
_KINDS: dict[str, type[np.generic]] = {p.U7: np.uint8, p.S16: np.int16}


class _Tensor(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("kind", "scale", "channels")]


class _Weights(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("weight", "bias", "shift")]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("op", "out", "sources")),
        *((name, ctypes.c_int32 * p.MAX_SOURCES) for name in ("source", "shift", "zero")),
        *((name, ctypes.c_int32) for name in ("mode", "wide", "limit", "step", "outputs")),
        *((name, ctypes.c_int32) for name in ("leaky", "out_zero", "high", "add")),
        ("block_zero", ctypes.c_int32 * 3),
        *((name, ctypes.c_int32) for name in ("gate_shift", "level_rows")),
        ("part", _Weights * 5),
        *((name, ctypes.c_void_p) for name in ("gain", "gain_shift")),
    ]


class _Tables(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("frequencies", "reach")]


class _Run(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("rows", "columns", "level")),
        *((name, ctypes.c_void_p) for name in (
            "inputs", "outputs", "wanted", "coded", "rans", "y", "z", "rounding", "symbols", "tables",
        )),
    ]  # fmt: skip


def _functions() -> ctypes.CDLL:
    found = library()
    for name in ("lvc_program_new", "lvc_workspace_new", "lvc_gradient_new"):
        getattr(found, name).restype = ctypes.c_void_p
    return found


def set_threads(threads: int) -> None:
    """Set how many threads share the work of a call, for the whole process."""
    if (c := compiled()) is not None:
        c.lvc_set_threads(threads)


class Workspace:
    """Scratch memory for runs, reused from one to the next. Not for two runs at once."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}
        if compiled() is None:
            return
        self._c = _functions()
        self.pointer = ctypes.c_void_p(self._c.lvc_workspace_new())
        if not self.pointer.value:
            raise MemoryError("no memory for the engine")

    def buffer(self, name: str, size: int) -> Array:
        """Return int16 `[size]` to write to: the same array whenever it is asked for by this name."""
        if name not in self._buffers or self._buffers[name].size != size:
            self._buffers[name] = np.empty(size, np.int16)
        return self._buffers[name]

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._c.lvc_workspace_free(self.pointer)


def compile_program(model: p.Model, program: p.Program, isa: str) -> tuple[ctypes.c_void_p, Any, list[Array]]:
    """Return C's form of a program, to be freed by `lvc_program_free`, and what it was made of: C's form of the layers,
    and the arrays to which those point. Raises `MemoryError`."""
    kept: list[Array] = []

    def at(array: Array | None, kind: type[np.generic]) -> ctypes.c_void_p | None:
        if array is None:
            return None
        kept.append(np.ascontiguousarray(array, kind))
        return address(kept[-1])

    layers = (_Layer * len(program.layers))()
    for c, layer in zip(layers, program.layers, strict=True):
        _describe(c, layer, at)
    kinds = [_Tensor(p.KINDS.index(t.kind), t.scale, t.channels) for t in program.tensors]
    tables = None
    if model.tables is not None:
        tables = _Tables(at(model.tables.frequencies, np.uint32), at(model.tables.reach, np.uint16))
    ends = [np.array(i, np.int32) for i in (program.inputs, program.outputs)]
    pointer = ctypes.c_void_p(
        _functions().lvc_program_new(
            ISAS.index(isa), model.levels, (_Tensor * len(kinds))(*kinds), len(kinds), layers, len(layers),
            address(ends[0]), len(ends[0]), address(ends[1]), len(ends[1]), tables and ctypes.byref(tables),
        )
    )  # fmt: skip
    if not pointer.value:
        raise MemoryError("no memory for a model")
    return pointer, layers, kept


class Network:
    """A program with its weights prepared for one engine. `model` must have passed `program.check`."""

    def __init__(self, model: p.Model, name: str, isa: str | None = None) -> None:
        self.program, self.levels = model.programs[name], model.levels
        self.isa, self._model, self._name = chosen(isa), model, name
        if self.isa == NUMPY:
            return
        if self.isa == TORCH:
            from .devices import pick_device
            from .torch_engine import TorchNetwork

            self._torch = TorchNetwork(model, name, pick_device(None))
            self._coding = {
                i: _alone(model, self.program, layer)
                for i, layer in enumerate(self.program.layers)
                if layer.op in (p.HYPER, p.CODE)
            }
            return
        self._c, self.pointer = _functions(), compile_program(model, self.program, self.isa)[0]

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._c.lvc_program_free(self.pointer)

    def shape(self, tensor: int, size: tuple[int, int]) -> tuple[int, int, int]:
        t = self.program.tensors[tensor]
        by = 1 << (t.scale - p.BASE_SCALE)
        return -(-size[0] // by), -(-size[1] // by), t.channels

    def spare_input(self) -> int | None:
        """Return the number of an input whose array can hold the first output too, since no layer reads it once the
        output is written; `None` if there is none."""
        program, out = self.program, self.program.outputs[0]
        shape, written = _shape(program.tensors[out]), [i for i, x in enumerate(program.layers) if x.out == out]
        for number, tensor in enumerate(program.inputs):
            reads = [i for i, x in enumerate(program.layers) if tensor in (x.add, *(s.tensor for s in x.sources))]
            if written and _shape(program.tensors[tensor]) == shape and max(reads, default=0) < written[0]:
                return number
        return None

    def run(
        self,
        inputs: Sequence[Array],
        size: tuple[int, int],
        level: int = 0,
        *,
        workspace: Workspace | None = None,
        wanted: Array | None = None,
        coded: Array | None = None,
        coder: Coder | None = None,
        y: Array | None = None,
        z: Array | None = None,
        rounding: Array | None = None,
        symbols: Array | None = None,
        tables: Array | None = None,
        out: Array | None = None,
    ) -> list[Array]:
        """Run the network.

        Args:
            inputs: One array [rows,columns,channels] for each input of the program.
            size: Rows and columns at 1/8 of the frame's size, both even.
            level: The quality level.
            workspace: Scratch memory; without it, some is allocated for this run.
            wanted: bool [rows/2,columns/2], the blocks whose outputs are wanted; other outputs are undefined.
            coded: bool [rows/2,columns/2], the blocks that have symbols.
            coder: The stream to write symbols to or read them from.
            y: Latents to write, int16 in sixteenths of a quantisation step.
            z: Hyper-latents, int16. Given to write; filled with the symbols that were coded.
            rounding: uint8 [64], by table: added to sixteenths before they are cut off. Default 8, the nearest.
            symbols: int16, shaped as the latents; filled with the symbols that were coded.
                Without a coder, `symbols` and `z` supply the symbols. Both must be contiguous.
            tables: uint8, shaped as the latents and contiguous; filled with the number of each coded latent's table.
            out: An array that the first output may be written to.

        Returns:
            One array [rows,columns,channels] for each output of the program.

        Raises:
            ValueError: An argument has the wrong shape, dtype or range.
            MemoryError: There is not enough memory.
        """
        if not 0 <= level < self.levels or min(size) < 2 or size[0] % 2 or size[1] % 2:
            raise ValueError(f"a network cannot run at level {level} and size {size}")
        given = [self._array(x, i, size) for x, i in zip(inputs, self.program.inputs, strict=True)]
        blocks = size[0] // 2, size[1] // 2
        latent, hyper = self._symbol_tensors()
        if coder is None and (latent and symbols is None or hyper and z is None):
            raise ValueError("a network with symbols needs a coder, or the symbols")
        for given_back in (symbols, z):
            if given_back is not None and (given_back.dtype != np.int16 or not given_back.flags.c_contiguous):
                raise ValueError("symbols are to be contiguous int16")
        if tables is not None and (tables.dtype != np.uint8 or not tables.flags.c_contiguous):
            raise ValueError("tables are to be contiguous uint8")
        arrays = {
            "wanted": _fitted(wanted, np.uint8, blocks),
            "coded": _fitted(coded, np.uint8, blocks),
            "y": _fitted(y, np.int16, self.shape(latent[0], size)) if latent else None,
            "z": _fitted(z, np.int16, self.shape(hyper[0], size)) if hyper else None,
            "rounding": _fitted(rounding, np.uint8, (p.TABLES,)),
            "symbols": _fitted(symbols, np.int16, self.shape(latent[0], size)) if latent else None,
            "tables": _fitted(tables, np.uint8, self.shape(latent[0], size)) if latent else None,
        }
        if self.isa == NUMPY:
            return self._in_numpy(given, size, level, coder, arrays)
        if self.isa == TORCH:
            return self._in_torch(given, size, level, coder, arrays)
        outputs = [
            out if number == 0 and out is not None else np.empty(self.shape(i, size), self._kind(i))
            for number, i in enumerate(self.program.outputs)
        ]
        if out is not None and (out.shape != self.shape(self.program.outputs[0], size) or out.dtype != np.int16):
            raise ValueError(f"an output is {out.dtype} {out.shape}")
        pointers = [(ctypes.c_void_p * len(of))(*(a.ctypes.data for a in of)) for of in (given, outputs)]
        run = _Run(*size, level, *(ctypes.addressof(array) for array in pointers))
        for name, a in arrays.items():
            setattr(run, name, None if a is None else address(a))
        if coder is not None:
            run.rans = coder.pointer
        space = workspace or Workspace()
        if self._c.lvc_program_run(self.pointer, space.pointer, ctypes.byref(run)):
            raise MemoryError("no memory for a network")
        return outputs

    def _in_numpy(
        self,
        inputs: list[Array],
        size: tuple[int, int],
        level: int,
        coder: Coder | None,
        arrays: dict[str, Array | None],
    ) -> list[Array]:
        coding = None
        if coder is not None:
            if coder.python is None or self._model.tables is None:
                raise ValueError("the coder of another engine, or a network without symbols")
            coding = reference.TableSymbols(coder.python, self._model.tables)
        run = reference.Run(
            self._model, self._name, inputs, size, level, coding, arrays["coded"], arrays["y"], arrays["z"],
            arrays["rounding"], arrays["symbols"], arrays["tables"],
        )  # fmt: skip
        return [
            np.ascontiguousarray(out, self._kind(i)) for i, out in zip(self.program.outputs, run.run(), strict=True)
        ]

    def _in_torch(
        self,
        inputs: list[Array],
        size: tuple[int, int],
        level: int,
        coder: Coder | None,
        arrays: dict[str, Array | None],
    ) -> list[Array]:
        """Run on torch; the compiled engine runs each layer with symbols, as a program of its own."""
        import torch

        def code(number: int, sources: list[torch.Tensor]) -> torch.Tensor:
            network = self._coding[number]
            given = [np.ascontiguousarray(x.cpu().numpy(), network._kind(i)) for i, x in enumerate(sources)]
            out = network.run(
                given, size, level, coder=coder, coded=arrays["coded"], y=arrays["y"], z=arrays["z"],
                rounding=arrays["rounding"], symbols=arrays["symbols"], tables=arrays["tables"],
            )[0]  # fmt: skip
            if self.program.layers[number].op == p.CODE and (coded := arrays["coded"]) is not None:
                out = np.where(coded[..., None] != 0, out, 0)
            return torch.from_numpy(out)

        outputs = self._torch.run([torch.from_numpy(x) for x in inputs], size, level, code=code)
        return [
            np.ascontiguousarray(out.cpu().numpy(), self._kind(i))
            for i, out in zip(self.program.outputs, outputs, strict=True)
        ]

    def _kind(self, tensor: int) -> type[np.generic]:
        return _KINDS[self.program.tensors[tensor].kind]

    def _symbol_tensors(self) -> tuple[list[int], list[int]]:
        ops = [(layer.op, layer.out) for layer in self.program.layers]
        return [out for op, out in ops if op == p.CODE], [out for op, out in ops if op == p.HYPER]

    def _array(self, x: Array, tensor: int, size: tuple[int, int]) -> Array:
        kind, shape = self._kind(tensor), self.shape(tensor, size)
        if x.dtype != kind or x.shape != shape:
            raise ValueError(f"an input is {x.dtype} {x.shape}, not {np.dtype(kind)} {shape}")
        if kind == np.uint8 and x.max() > 127:
            raise ValueError("an input of 7 bits passes 127")
        return np.ascontiguousarray(x)


def _shape(t: p.Tensor) -> tuple[str, int, int]:
    return t.kind, t.scale, t.channels


def _fitted(a: Array | None, kind: type[np.generic], shape: tuple[int, ...]) -> Array | None:
    if a is None:
        return None
    if a.shape != shape:
        raise ValueError(f"an array is {a.shape}, not {shape}")
    return np.ascontiguousarray(a, kind)


def _alone(model: p.Model, program: p.Program, layer: p.Layer) -> Network:
    """Return a network of the single `layer`, which has symbols, for the compiled engine."""
    sources = len(layer.sources)
    tensors = [program.tensors[s.tensor] for s in layer.sources] + [program.tensors[layer.out]]
    moved = dataclasses.replace(
        layer, out=sources, sources=[dataclasses.replace(s, tensor=i) for i, s in enumerate(layer.sources)]
    )  # fmt: skip
    alone = p.Program(tensors, [moved], list(range(sources)), [sources])
    return Network(p.Model(model.levels, {"code": alone}, model.tables), "code", ISAS[instructions()])


def _describe(c: _Layer, layer: p.Layer, at: Any) -> None:
    """Fill `c`, C's form of `layer`."""
    c.op, c.out, c.sources = p.OPS.index(layer.op), layer.out, len(layer.sources)
    for i, s in enumerate(layer.sources):
        c.source[i], c.shift[i], c.zero[i] = s.tensor, s.shift, s.zero
    c.mode, c.wide, c.limit, c.step = p.MODES.index(layer.mode), layer.wide, layer.limit, layer.step
    c.outputs, c.leaky, c.out_zero, c.high, c.add = layer.outputs, layer.leaky, layer.zero, layer.high, layer.add
    if layer.op == p.BLOCK:
        c.sources = 1
        c.block_zero[:] = layer.zeros
    c.gate_shift = layer.gate_shift
    c.level_rows = layer.level_rows()
    for part, w in zip(c.part, layer.parts, strict=False):
        part.weight = at(w.weight, np.int16 if layer.wide else np.int8)
        part.bias, part.shift = at(w.bias, np.int32), at(w.shift, np.uint8)
    c.gain, c.gain_shift = at(layer.gain, np.int16), at(layer.gain_shift, np.uint8)
    if layer.tables is not None:
        c.part[0].shift = at(layer.tables, np.uint8)
