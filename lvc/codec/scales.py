"""The model's integer networks as entropy coding wants them: numpy integers in, table indices out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..entropy.coder import IntArray
from ..entropy.rans import Past
from ..models.load import Model


class Scales:
    """Implements `lvc.entropy.rans.ScaleModel`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def _tensor(self, a: IntArray) -> torch.Tensor:
        return torch.from_numpy(a.astype(np.float32)).to(self._model.device)

    @torch.inference_mode()
    def indices1(self, kind: int, quality: int, hyper: IntArray, past: Past, skip: IntArray) -> tuple[IntArray, Any]:
        net = self._model.codec.of(kind)
        inputs = net.scale_inputs(
            self._tensor(hyper)[None], self._tensor(past.latent)[None], self._tensor(skip)[None, None],
            self._tensor(past.skip)[None, None], torch.tensor([float(quality)], device=self._model.device),
        )  # fmt: skip
        return net.indices1(inputs)[0].to(torch.uint8).cpu().numpy(), inputs

    @torch.inference_mode()
    def indices2(self, kind: int, hold: Any, first: IntArray) -> IntArray:
        index = self._model.codec.of(kind).indices2(hold, self._tensor(first)[None])
        out: IntArray = index[0].to(torch.uint8).cpu().numpy()
        return out
