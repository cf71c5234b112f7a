"""How a frame's error changes with its latents: the gradient of a program's layers behind them, by the engine.

What the layers compute is the program's, in integers; gradients pass through rounding as if there were none (Bengio et
al. 2013, https://arxiv.org/abs/1308.3432), and end where values are clamped. Products with the transposed weights are
the engine's own, of gradients of 7 bits, so that a gradient takes about twice the time of decoding and is the same on
every machine (gradient.c).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import program as p
from .library import ISAS, address, instructions
from .motion import LUMA_WEIGHT
from .nets import Workspace, _functions, _Run, compile_program
from .planes import LUMA_PATCH, PATCH

Array = npt.NDArray[Any]
STRIP, ROWS, MARGIN = 3072, 16, 4
"""Blocks of 16x16 that are worked on at a time, which bounds the memory, at least so many rows of them, and rows beyond
them that are computed too: as many as the layers of the default model reach. Only twice as many would give the gradient
of the whole picture; what these miss of it is half a per cent."""
PROBE, LEAST = 16, 0.1
"""Rows and columns, in blocks, of what the curvature is found with, and the least share of the mean over channels that
is believed."""


class Gradient:
    """How a frame's squared error changes with its latents, luma's weighted as in `motion.LUMA_WEIGHT`."""

    def __init__(self, model: p.Model, name: str, isa: str | None = None) -> None:
        whole = model.programs[name]
        self._values, layers = p.behind_latents(whole)
        read = {s.tensor for i in layers for s in whole.layers[i].sources}
        self._inputs = [t for t in whole.inputs if t in read]
        self._program = p.Program(
            whole.tensors, [whole.layers[i] for i in layers], [self._values, *self._inputs], whole.outputs[:1]
        )  # fmt: skip
        self._weights = np.ones(PATCH, np.float32)
        self._weights[:LUMA_PATCH] = LUMA_WEIGHT
        self._curvatures: dict[int, Array] = {}
        self._c = _functions()
        isa = isa or ISAS[instructions()]
        program, c_layers, kept = compile_program(model, self._program, isa)
        self._pointer = ctypes.c_void_p(self._c.lvc_gradient_new(ISAS.index(isa), program, c_layers, self._values))
        if not self._pointer.value:
            raise MemoryError("no memory for a model's gradient")
        del kept  # C copied what it needs

    def __del__(self) -> None:
        if hasattr(self, "_pointer"):
            self._c.lvc_gradient_free(self._pointer)

    def at(
        self,
        values: Array,
        target: Array,
        row: int,
        *inputs: Array,
        counted: Array | None = None,
        workspace: Workspace | None = None,
    ) -> Array:
        """The gradient of Σ weight · (patches − target)².

        Args:
            values: The latents' values, int16 [rows,columns,channels].
            target: What the patches should be, int16 [h,w,96].
            row: The row of tables.
            inputs: The program's first inputs, of the patches' size.
            counted: bool [rows,columns], blocks whose error counts. `None`: all.
            workspace: Scratch memory; without it, some is allocated for this call.

        Returns:
            float32, shaped as `values`.
        """
        rows, columns = values.shape[:2]
        by, most = target.shape[0] // rows, max(ROWS, STRIP // columns - 2 * MARGIN)
        space = workspace or Workspace()
        out = np.empty(values.shape, np.float32)
        for top in range(0, rows, most):
            end = min(rows, top + most)
            first, last = max(0, top - MARGIN), min(rows, end + MARGIN)
            at = slice(by * first, by * last)
            found = self._strip(
                values[first:last], target[at], row, [i[at] for i in inputs],
                None if counted is None else counted[first:last], space,
            )  # fmt: skip
            out[top:end] = found[top - first : end - first]
        return out

    def _strip(
        self,
        values: Array,
        target: Array,
        row: int,
        inputs: Sequence[Array],
        counted: Array | None,
        workspace: Workspace,
    ) -> Array:
        given = [np.ascontiguousarray(a, np.int16) for a in (values, *inputs, target)]
        wanted = None if counted is None else np.ascontiguousarray(counted, np.uint8)
        patches, out = np.empty_like(given[-1]), np.empty(values.shape, np.float32)
        pointers = [(ctypes.c_void_p * len(of))(*(a.ctypes.data for a in of)) for of in (given[:-1], [patches])]
        run = _Run(2 * values.shape[0], 2 * values.shape[1], row, *(ctypes.addressof(a) for a in pointers))
        run.wanted = None if wanted is None else address(wanted)
        arrays = [address(a) for a in (given[-1], self._weights, out)]
        if self._c.lvc_gradient_run(self._pointer, workspace.pointer, ctypes.byref(run), *arrays):
            raise MemoryError("no memory for a gradient")
        return out

    def curvature(self, row: int) -> Array:
        """The second derivative by a latent of each channel, float32: the diagonal of the Hessian as Hutchinson
        estimates a trace (https://doi.org/10.1080/03610919008812866), of a picture of nothing. It hardly depends on
        the picture (decision 009)."""
        if row not in self._curvatures:
            tensors = self._program.tensors
            signs = np.random.default_rng(0).choice((-8, 8), (PROBE, PROBE, tensors[self._values].channels))
            by = 1 << (tensors[self._values].scale - tensors[self._program.outputs[0]].scale)
            nothing = np.zeros((by * PROBE, by * PROBE, PATCH), np.int16)
            one, other = (self.at(s, nothing, row, *[nothing] * len(self._inputs)) for s in (signs, -signs))
            found: Array = ((one - other) * signs).mean((0, 1)) / 128
            self._curvatures[row] = np.maximum(found, LEAST * found.mean()).astype(np.float32)
        return self._curvatures[row]
