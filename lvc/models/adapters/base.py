"""What every foreign VAE looks like from here."""

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
    `id` and `sha256` go into a file's `HEAD`; a file is decoded with weights of the same hash only. `alone`: every
    latent frame is decoded without the others. `path`: of a model that lvc trained, its file.
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
        """The latents of `frames`; their number has to fill the last latent frame."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """The frames of `latents`, not clamped. Gradients pass."""

    def felt(self, pictures: Tensor) -> Tensor:
        """Numbers whose squared error is the error of `pictures`, `[frames, 3, rows, columns]`: here that of RGB."""
        return pictures

    def frames_of(self, latent_frames: int) -> int:
        """How many frames so many latent frames stand for."""
        return self.temporal_lead + (latent_frames - 1) * self.temporal_stride


def file_hash(paths: list[Path]) -> bytes:
    """SHA-256 of the contents of these files, one after the other. Raises `UsageError`."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
        except OSError as error:
            raise UsageError(f"the model {path} cannot be read ({error.strerror}) — check --model") from error
    return digest.digest()
