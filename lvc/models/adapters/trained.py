"""An auto-encoder that `lvc train --family ae|vae|gan` made, as an adapter."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from ...engine.devices import pick_device
from ...errors import UsageError
from ..autoencoder import Prior, Trained, read, to_planes
from .base import Adapter


class TrainedAdapter(Adapter):
    """`prior`: that of a variational network. `path`: the model's file, unless a video's file carried it."""

    alone = True

    def __init__(self, model: Trained, sha256: bytes, device: torch.device) -> None:
        a = model.net.architecture
        self.id, self.sha256, self.device = f"{model.family}:{model.name}", sha256, device
        self.channels, self.stride = a.channels, a.stride
        self.temporal_stride = self.temporal_lead = a.frames
        self.family = model.family
        self.prior: Prior | None = model.prior
        self._net = model.net.to(device)

    def encode(self, frames: Tensor) -> Tensor:
        return self.encode_spread(frames)[0]

    def encode_spread(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encode to latents, and their standard deviations if the network is variational."""
        rows, columns = frames.shape[2:]
        means, spreads = [], []
        with torch.inference_mode():
            for group in frames.reshape(-1, 3 * self.temporal_stride, rows, columns):
                mean, spread = self._net.encode(group[None].to(self.device))
                means.append(mean.float().cpu())
                if spread is not None:
                    spreads.append((0.5 * spread).exp().cpu())
        return torch.cat(means), torch.cat(spreads) if spreads else None

    def decode(self, latents: Tensor) -> Tensor:
        decoded = torch.cat([self._net.decode(x[None].to(self.device)) for x in latents]).float().cpu()
        return decoded.reshape(-1, 3, *decoded.shape[2:])

    def felt(self, pictures: Tensor) -> Tensor:
        return to_planes(pictures)


def load_trained(path: Path, device: str | None = None) -> TrainedAdapter:
    """Load a model. Raises `UsageError` (not found), `CorruptError`, `UnsupportedError` (another family)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the model {path} cannot be read ({error.strerror}) — check --model") from error
    adapter = trained_of_bytes(data, path.name, device)
    adapter.path = path
    return adapter


def trained_of_bytes(data: bytes, called: str, device: str | None = None) -> TrainedAdapter:
    """Load a model from bytes. Raises as `load_trained`."""
    return TrainedAdapter(read(data, called), hashlib.sha256(data).digest(), pick_device(device))
