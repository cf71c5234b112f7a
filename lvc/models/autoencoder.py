"""The auto-encoders of `lvc train --family ae|vae|gan`: small convolutional networks from pictures to continuous
latents and back, and their files.

    pictures ─▶ luma and chroma ─▶ patches ─▶ linear path + blocks ─▶ latents ─▶ linear path + blocks ─▶ pictures

The linear path starts as the principal components of patches, so an untrained network is already a transform codec.
A file is safetensors: weights in half precision, and in its metadata (`lvc.model`) the family and the sizes of the
network, which are checked against the tensors before anything is built.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CorruptError, UnsupportedError
from .store import FAMILIES, about_model

PATCH = 8
"""Side of a patch in samples, unless the stride is smaller."""
STRIDES = 4, 8, 16, 32, 64, 128
RANGES = {"channels": (1, 256), "frames": (1, 8), "width": (8, 512), "blocks": (0, 8)}
LUMA, CHROMA = math.sqrt(6 * 3 / 8), math.sqrt(3 / 8)
"""Factors of luma and chroma that make squared error weighted 6:1:1, like PSNR 6:1:1."""
LEAST_SPREAD, MOST_SPREAD = -12.0, 4.0
"""Range of the logarithm of a VAE's variances."""
_PRIOR = "prior.mean", "prior.factor", "prior.correlation"


@dataclass(frozen=True)
class Architecture:
    """`channels` of latents, one position per `stride` by `stride` samples and `frames` frames. `width`: channels of
    the blocks. `blocks`: their number at each resolution."""

    channels: int = 32
    stride: int = 8
    frames: int = 1
    width: int = 64
    blocks: int = 2

    @property
    def patch(self) -> int:
        return min(PATCH, self.stride)

    @property
    def values(self) -> int:
        """Values of a patch, over all frames and colours."""
        return 3 * self.frames * self.patch**2

    @property
    def halvings(self) -> int:
        """Downsampling factor between patches and latents."""
        return (self.stride // self.patch).bit_length() - 1


def checked(said: Any) -> Architecture:
    """Parse the architecture that a file or a user names. Raises `ValueError` with the reason."""
    if not isinstance(said, dict) or said.keys() != {f.name for f in fields(Architecture)}:
        raise ValueError("it does not describe its network")
    for name, value in said.items():
        if type(value) is not int:
            raise ValueError(f"{name} is not an integer")
        low, high = RANGES.get(name, (STRIDES[0], STRIDES[-1]))
        if not low <= value <= high or (name == "stride" and value not in STRIDES):
            wanted = f"one of {', '.join(map(str, STRIDES))}" if name == "stride" else f"from {low} to {high}"
            raise ValueError(f"{name} is {value} and has to be {wanted}")
    return Architecture(**said)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))  # type: ignore[no-any-return]


class AutoEncoder(nn.Module):
    """Groups of `frames` RGB pictures in 0..1 `[n, 3 · frames, rows, columns]` ↔ latents `[n, channels, rows / stride,
    columns / stride]`; sides are multiples of the stride. `variational`: the encoder also returns variances."""

    def __init__(self, architecture: Architecture, variational: bool) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.variational = variational
        blocks = [_Block(a.width) for _ in range(a.blocks)]
        body: list[nn.Module] = [nn.Conv2d(a.values, a.width, 1), *blocks]
        for _ in range(a.halvings):
            body += [nn.Conv2d(a.width, a.width, 2, stride=2), *(_Block(a.width) for _ in range(a.blocks))]
        self.encoder = nn.Sequential(*body)
        self.encoder_out = nn.Conv2d(a.width, a.channels, 1)
        self.encoder_spread = nn.Conv2d(a.width, a.channels, 1) if variational else None
        body = [nn.Conv2d(a.channels, a.width, 3, padding=1), *(_Block(a.width) for _ in range(a.blocks))]
        for _ in range(a.halvings):
            up = [nn.Conv2d(a.width, 4 * a.width, 1), nn.PixelShuffle(2)]
            body += [*up, *(_Block(a.width) for _ in range(a.blocks))]
        self.decoder = nn.Sequential(*body)
        self.decoder_out = nn.Conv2d(a.width, a.values, 3, padding=1)
        self.encoder_linear = self.decoder_linear = None
        if not a.halvings:
            self.encoder_linear = nn.Conv2d(a.values, a.channels, 1)
            self.decoder_linear = nn.Conv2d(a.channels, a.values, 1)

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """Means of the latents, and the logarithms of their variances if the network is variational."""
        patches = F.pixel_unshuffle(to_planes(pictures), self.architecture.patch)
        body = F.silu(self.encoder(patches))
        mean = self.encoder_out(body)
        if self.encoder_linear is not None:
            mean = mean + self.encoder_linear(patches)
        if self.encoder_spread is None:
            return mean, None
        return mean, self.encoder_spread(body).float().clamp(LEAST_SPREAD, MOST_SPREAD)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pictures, not clamped."""
        patches = self.decoder_out(F.silu(self.decoder(latents)))
        if self.decoder_linear is not None:
            patches = patches + self.decoder_linear(latents)
        return from_planes(F.pixel_shuffle(patches.float(), self.architecture.patch))

    @torch.no_grad()
    def start_linear(self, rows: Tensor) -> None:
        """Set the linear path to the principal components of `rows` `[n, values]`, patches of planes, each scaled to a
        variance of 1, and the other path to almost nothing."""
        if self.encoder_linear is None or self.decoder_linear is None:
            return
        mean, count = rows.mean(0), min(self.architecture.channels, rows.shape[1])
        values, vectors = torch.linalg.eigh(((rows - mean).double().T @ (rows - mean).double()) / len(rows))
        size = values.flip(0)[:count].clamp_min(1e-8).sqrt().float()
        parts = vectors.flip(1)[:, :count].float()
        for layer in (self.encoder_linear, self.decoder_linear):
            layer.weight.zero_()
        self.encoder_linear.weight[:count, :, 0, 0] = (parts / size).T
        self.encoder_linear.bias.zero_()  # type: ignore[union-attr]
        self.encoder_linear.bias[:count] = -(parts / size).T @ mean  # type: ignore[index]
        self.decoder_linear.weight[:, :count, 0, 0] = parts * size
        self.decoder_linear.bias.copy_(mean)  # type: ignore[union-attr]
        for out in (self.encoder_out, self.decoder_out):
            out.weight.mul_(0.1)
            out.bias.zero_()  # type: ignore[union-attr]


def _weights() -> Tensor:
    """`[3, 3]`: RGB → luma and colour differences (BT.601), weighted."""
    red, blue = 0.299, 0.114
    luma = torch.tensor([red, 1 - red - blue, blue])
    b = (torch.tensor([0.0, 0.0, 1.0]) - luma) / (2 * (1 - blue))
    r = (torch.tensor([1.0, 0.0, 0.0]) - luma) / (2 * (1 - red))
    return torch.stack([LUMA * luma, CHROMA * b, CHROMA * r])


def to_planes(pictures: Tensor) -> Tensor:
    """RGB in 0..1 `[n, 3 · frames, H, W]` → weighted luma and chroma around 0 of the same shape."""
    return _turned(pictures - 0.5, _weights())


def from_planes(planes: Tensor) -> Tensor:
    """The inverse of `to_planes`."""
    return _turned(planes, torch.linalg.inv(_weights())) + 0.5


def _turned(x: Tensor, matrix: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    with torch.autocast(x.device.type, enabled=False):
        grouped = x.float().reshape(n, channels // 3, 3, height, width)
        return torch.einsum("ij,nfjhw->nfihw", matrix.to(x.device), grouped).reshape(x.shape)


@dataclass(frozen=True)
class Prior:
    """The distribution of a VAE's latents: `mean` `[channels]` plus `factor` `[channels, channels]` times uncorrelated
    components of variance 1, each with `correlation` `[channels]` between neighbours."""

    mean: Tensor
    factor: Tensor
    correlation: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return dict(zip(_PRIOR, (self.mean, self.factor, self.correlation), strict=True))


@dataclass(frozen=True)
class Trained:
    """The content of a model's file."""

    name: str
    family: str
    net: AutoEncoder
    prior: Prior | None


def is_variational(family: str, said: dict[str, Any]) -> bool:
    """For a GAN: whether it started as a VAE."""
    return family == "vae" or (family == "gan" and said.get("of") == "vae")


def about(name: str, family: str, of: str | None, architecture: Architecture, made: dict[str, Any]) -> dict[str, str]:
    """The metadata of a model's file. `of`: the family that a GAN started as."""
    said = {"name": name, "family": family, "architecture": asdict(architecture), "made": made}
    return {"lvc.model": json.dumps(said if of is None else {**said, "of": of})}


def read(data: bytes, called: str) -> Trained:
    """Read a model from the bytes of a file. Nothing is built before the names and sizes of all tensors match the
    described network. Raises `CorruptError`, `UnsupportedError`."""
    said, entries = about_model(data, called)
    family = said.get("family", FAMILIES[0])
    if family not in FAMILIES[1:]:
        raise UnsupportedError(f"{called} is a model of the family {family!s:.20}, not of {', '.join(FAMILIES[1:])}")
    try:
        architecture = checked(said.get("architecture"))
        with torch.device("meta"):
            net = AutoEncoder(architecture, is_variational(family, said))
        wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        if net.variational:
            c = architecture.channels
            wanted |= dict(zip(_PRIOR, ((c,), (c, c), (c,)), strict=True))
        _check_entries(entries, wanted)
        tensors = {name: tensor.float() for name, tensor in load(data).items()}
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("its weights are not finite")
    except (ValueError, SafetensorError) as error:
        raise CorruptError(f"{called} is damaged: {error}") from error
    prior = Prior(*(tensors.pop(name) for name in _PRIOR)) if net.variational else None
    net.load_state_dict(tensors, assign=True)
    return Trained(said["name"], family, net.eval().requires_grad_(False), prior)


def _check_entries(entries: dict[str, Any], wanted: dict[str, tuple[int, ...]]) -> None:
    if entries.keys() != wanted.keys():
        odd = min(entries.keys() ^ wanted.keys())
        raise ValueError(f"its network has {'a' if odd in wanted else 'no'} tensor {odd!s:.60}")
    for name, shape in wanted.items():
        entry = entries[name]
        if not isinstance(entry, dict) or entry.get("dtype") != "F16" or entry.get("shape") != list(shape):
            raise ValueError(f"the tensor {name} has another shape or type than its network's")
