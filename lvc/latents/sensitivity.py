"""Sensitivity of a decoder's pictures to errors in its latents, by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lvc.errors import UsageError
from lvc.latents.foreign import is_foreign, load_continuous

if TYPE_CHECKING:
    from lvc.models.adapters import Adapter

_SIDE = 24  # rows and columns of latents that are examined
_LOOKS, _PROBES = 8, 2


def channel_weights(adapter: Adapter, latents: list[torch.Tensor]) -> npt.NDArray[np.float64]:
    """Return `[channels, channels]` G, the mean over places of JᵀJ, where J is the decoder's derivative: white noise e
    on all latents changes the pictures by about E[eᵀGe] (Hutchinson's estimate: gradients of random sums of the
    pixels).

    `latents`: some tensors `[frames, channels, rows, columns]`. Raises `UsageError` if their shape does not fit the
    decoder.
    """
    total, count = np.zeros((adapter.channels, adapter.channels)), 0
    generator = torch.Generator().manual_seed(0)
    every = max(1, len(latents) // _LOOKS)
    for frames in latents[::every][:_LOOKS]:
        if frames.shape[1] != adapter.channels:
            raise UsageError(f"the latents have {frames.shape[1]} channels, {adapter.id} has {adapter.channels}")
        row, column = (max(0, (n - _SIDE) // 2) for n in frames.shape[2:])
        look = frames[: 1 if adapter.temporal_stride == 1 else 3, :, row : row + _SIDE, column : column + _SIDE]
        place = look.detach().float().clone().requires_grad_()
        with torch.enable_grad():
            pixels = adapter.felt(adapter.decode(place))
            for probe in range(_PROBES):
                noise = torch.randn(pixels.shape, generator=generator)
                (gradient,) = torch.autograd.grad(pixels, place, noise, retain_graph=probe + 1 < _PROBES)
                flat = gradient.transpose(0, 1).flatten(1).double().numpy()
                total += flat @ flat.T
                count += flat.shape[1]
    return total / max(1, count)


def decoder_weights(name: str, latents: list[torch.Tensor], device: str | None) -> npt.NDArray[np.float64]:
    """The same for a model given by name."""
    if not is_foreign(name):
        raise UsageError(f"{name} is not another project's VAE — give taesd:PATH or diffusers:FOLDER")
    return channel_weights(load_continuous(name, device), latents)
