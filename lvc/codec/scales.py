"""The model's integer networks as entropy coding wants them: numpy integers in, table indices out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..entropy.coder import IntArray
from ..entropy.rans import Past
from ..models.load import Model
from .sparse import Coded


class Scales:
    """Implements `lvc.entropy.rans.ScaleModel`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def _tensor(self, a: IntArray) -> torch.Tensor:
        return torch.from_numpy(a.astype(np.float32)).to(self._model.device)

    @torch.inference_mode()
    def indices1(self, kind: int, quality: int, hyper: IntArray, past: Past, skip: IntArray) -> tuple[IntArray, Any]:
        net = self._model.codec.of(kind)
        before = self._tensor(past.latent[: net.latent])
        coded = Coded(net, self._tensor(hyper), before, self._tensor(skip), self._tensor(past.skip), quality)
        return _bytes(coded.indices1()), coded

    @torch.inference_mode()
    def indices2(self, kind: int, hold: Any, first: IntArray) -> IntArray:
        coded: Coded = hold
        return _bytes(coded.indices2(self._tensor(first)))


def _bytes(index: torch.Tensor) -> IntArray:
    out: IntArray = index.t().to(torch.uint8).contiguous().cpu().numpy()
    return out
