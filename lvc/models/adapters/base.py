"""The interface to external VAEs."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UsageError

_PIECE = 1 << 20


class Adapter(ABC):
    """A VAE. Frames are RGB in 0..1, `[frames, 3, rows, columns]`, sides multiples of `stride`; latents are
    `[latent frames, channels, rows / stride, columns / stride]`; both float32 on the CPU.

    `temporal_stride` and `temporal_lead` as in `Geometry`: n frames have `1 + ⌈(n − lead) / stride⌉` latent frames.
    `id` and `sha256` go into a file's `HEAD`; a file is decoded only with weights of the same hash. `alone`: latent
    frames are decoded independently. `path`: the file of a model that lvc trained.
    """

    id: str
    sha256: bytes
    channels: int
    stride: int
    temporal_stride: int = 1
    temporal_lead: int = 1
    alone: bool = False
    path: Path | None = None
    device: torch.device

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Encode `frames`, whose number must fill the last latent frame."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Decode `latents` to frames, not clamped. Differentiable."""

    def felt(self, pictures: Tensor) -> Tensor:
        """Map `pictures`, `[frames, 3, rows, columns]`, to the space in which squared error is measured: here RGB."""
        return pictures

    def frames_of(self, latent_frames: int) -> int:
        """Number of frames of that many latent frames."""
        return self.temporal_lead + (latent_frames - 1) * self.temporal_stride


def file_hash(paths: list[Path]) -> bytes:
    """SHA-256 of the contents of these files, concatenated. Raises `UsageError`."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
        except OSError as error:
            raise UsageError(f"the model {path} cannot be read ({error.strerror}) — check --model") from error
    return digest.digest()
