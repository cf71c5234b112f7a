"""TAESD, the tiny autoencoders for Stable Diffusion, SDXL, SD3 and FLUX (github.com/madebyollin/taesd).

Their files hold nothing but weights; layers, widths and latent channels follow from the weights' names and shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...engine.devices import pick_device
from ...errors import UnsupportedError, UsageError
from .base import Adapter, file_hash

ENDINGS = (".safetensors", ".pth", ".pt")
_LIMIT = 3.0  # TAESD's decoders see latents through 3·tanh(x/3)
_MAX_BYTES = 256 << 20
_MAX_STRIDE = 64  # each doubling costs a file a few bytes, and a picture four times the memory


class _Block(nn.Module):
    """Three convolutions beside a shortcut; in some versions a pooled path goes first."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(_convolution(weights, f"conv.{i}") for i in (0, 2, 4))
        self.skip = _convolution(weights, "skip") if "skip.weight" in weights else None
        self.pool: nn.Module | None = None
        if "pool.0.weight" in weights:
            norm = nn.GroupNorm(4, len(weights["pool.1.weight"]))
            norm.weight, norm.bias = nn.Parameter(weights["pool.1.weight"]), nn.Parameter(weights["pool.1.bias"])
            first, last = _convolution(weights, "pool.0"), _convolution(weights, "pool.3")
            self.pool = nn.Sequential(first, norm, nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        y = x
        for number, convolution in enumerate(self.convolutions):
            y = convolution(F.relu(y) if number else y)
        return F.relu(y + (x if self.skip is None else self.skip(x)))


def _convolution(weights: dict[str, Tensor], name: str, stride: int = 1) -> nn.Conv2d:
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    outputs, inputs, side, _ = weight.shape
    # on "meta": no first weights, which would be drawn from the caller's random numbers
    layer = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


def _network(weights: dict[str, Tensor], up: bool) -> nn.Sequential:
    """Layers by number. A convolution without bias changes the resolution by a factor of 2."""
    layers: list[nn.Module] = []
    for number in sorted({int(name.split(".")[0]) for name in weights}):
        prefix = f"{number}."
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if "conv.0.weight" in own:
            layers.append(_Block(own))
        elif "bias" in own:
            layers.append(_convolution(weights, str(number)))
            if up and len(layers) == 1:
                layers.append(nn.ReLU())
        elif up:
            layers += [nn.Upsample(scale_factor=2), _convolution(weights, str(number))]
        else:
            layers.append(_convolution(weights, str(number), 2))
    return nn.Sequential(*layers)


class Taesd(Adapter):
    """Encoder and decoder of a TAESD, applied frame by frame."""

    alone = True

    def __init__(self, encoder: dict[str, Tensor], decoder: dict[str, Tensor], device: torch.device) -> None:
        self.device = device
        self._encoder = _network(encoder, up=False).to(device).eval().requires_grad_(False)
        self._decoder = _network(decoder, up=True).to(device).eval().requires_grad_(False)
        last = [layer for layer in self._encoder if isinstance(layer, nn.Conv2d)][-1]
        self.channels = last.out_channels
        self.stride = 2 ** sum(isinstance(layer, nn.Upsample) for layer in self._decoder)
        if self.stride > _MAX_STRIDE:
            raise ValueError(f"a picture is enlarged by {self.stride}")

    def encode(self, frames: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([self._encoder(f[None].to(self.device)).float().cpu() for f in frames])

    def decode(self, latents: Tensor) -> Tensor:
        limited = _LIMIT * torch.tanh(latents.to(self.device) / _LIMIT)
        return torch.cat([self._decoder(x[None]) for x in limited]).float().cpu()


def load_taesd(path: str, device: str | None) -> Taesd:
    """Load a TAESD. Raises `UsageError` (no such files), `UnsupportedError` (other weights)."""
    encoder, decoder = _halves(Path(path))
    sha256 = file_hash([decoder])
    try:
        adapter = Taesd(_weights(encoder), _weights(decoder), pick_device(device))
    except (KeyError, ValueError, IndexError, RuntimeError, AttributeError, TypeError) as error:
        raise UnsupportedError(f"{encoder.name} and {decoder.name} are not a TAESD model") from error
    adapter.id, adapter.sha256 = f"taesd:{decoder.stem}", sha256
    return adapter


def _weights(path: Path) -> dict[str, Tensor]:
    """Read tensors only; nothing in the file is executed."""
    if path.stat().st_size > _MAX_BYTES:
        raise UnsupportedError(f"{path.name} is larger than any TAESD")
    if path.suffix == ".safetensors":
        found: dict[str, Any] = load_file(path)
    else:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling can raise anything
            raise UnsupportedError(f"{path.name} is not a weights file ({type(error).__name__})") from error
    weights = {name: tensor.float() for name, tensor in found.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise UnsupportedError(f"{path.name} has weights that are not finite — get another copy")
    return weights


def _halves(path: Path) -> tuple[Path, Path]:
    """Encoder and decoder, from a folder, one of the two files, or their common prefix."""
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.stem.endswith("_decoder") and p.suffix in ENDINGS)
        if len(found) != 1:
            raise UsageError(f"{path} has {len(found)} files …_decoder — choose one with --model taesd:FILE")
        path = found[0]
    suffixes: tuple[str, ...] = ENDINGS
    base = str(path)
    if path.suffix in ENDINGS:
        suffixes = (path.suffix,)
        base = str(path.with_suffix("")).removesuffix("_decoder").removesuffix("_encoder")
    for suffix in suffixes:
        pair = Path(f"{base}_encoder{suffix}"), Path(f"{base}_decoder{suffix}")
        if all(half.is_file() for half in pair):
            return pair
    raise UsageError(f"there is no {Path(base).name}_encoder and _decoder in {path.parent} — check --model taesd:PATH")
