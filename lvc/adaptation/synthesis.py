"""The decoder's half of predicted frames in integers that gradients pass through: latents and context → the
residual."""

from __future__ import annotations

import numpy as np
import torch

from ..engine import program as p
from ..engine.gradient import Differentiable, Tensor
from ..models.delta import QUARTERS


class Synthesis(Differentiable):
    """A model's program `predicted` from its latents' values on. What a delta may change is in `parameters`, by the
    name of the array in the model's file: what is added to biases, one number for each output, in the unit of the
    layer's outputs, 0 at first."""

    def __init__(self, program: p.Program) -> None:
        super().__init__(program)
        codes = [layer for layer in program.layers if layer.op == p.CODE]
        self._fixed = self.behind([source.tensor for layer in codes for source in layer.sources])
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
