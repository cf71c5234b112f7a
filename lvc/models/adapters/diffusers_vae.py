"""VAEs of the package diffusers, from a folder on this machine. Needs the extra `lvc[diffusers]`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...engine.devices import pick_device
from ...errors import UnsupportedError, UsageError
from .base import Adapter, file_hash

# What is loaded by name: nothing a folder says is run.
CLASSES = (
    "AutoencoderTiny", "AutoencoderKL", "AutoencoderKLWan", "AutoencoderKLLTXVideo", "AutoencoderKLHunyuanVideo",
    "AutoencoderKLCogVideoX", "AutoencoderDC",
)  # fmt: skip
_PROBE_SIDE, _PROBE_FRAMES = 64, 17
_MAX_LAYERS, _MAX_NUMBER = 64, 16384


class DiffusersVae(Adapter):
    """One of `CLASSES`. What it wants and gives is found by showing it a small grey picture or video."""

    def __init__(self, vae: Any, device: torch.device) -> None:
        self.device = device
        self._vae = vae.to(device).eval().requires_grad_(False)
        self._video = _has_time(vae)
        self.alone = not self._video
        grey = torch.full((_PROBE_FRAMES if self._video else 1, 3, _PROBE_SIDE, _PROBE_SIDE), 0.5)
        latents = self.encode(grey)
        self.channels, self.stride = latents.shape[1], _PROBE_SIDE // latents.shape[2]
        if self._video:
            frames = len(self.decode(latents[:2]))
            one = len(self.decode(latents[:1]))
            self.temporal_lead, self.temporal_stride = one, frames - one

    def encode(self, frames: Tensor) -> Tensor:
        signed = (2 * frames - 1).to(self.device)
        with torch.no_grad():
            if self._video:
                return _latents(self._vae.encode(signed.transpose(0, 1)[None]))[0].transpose(0, 1).float().cpu()
            return torch.cat([_latents(self._vae.encode(f[None])).float().cpu() for f in signed])

    def decode(self, latents: Tensor) -> Tensor:
        moved = latents.to(self.device)
        decoded: Tensor
        if self._video:
            decoded = self._vae.decode(moved.transpose(0, 1)[None]).sample[0].transpose(0, 1)
        else:
            decoded = torch.cat([self._vae.decode(x[None]).sample for x in moved])
        return (decoded.float().cpu() + 1) / 2


def _latents(output: Any) -> Tensor:
    """Of what `encode` gave: the mode where there is a distribution."""
    found: Tensor = output.latent_dist.mode() if hasattr(output, "latent_dist") else _plain(output)
    return found


def _plain(output: Any) -> Any:
    return output.latents if hasattr(output, "latents") else output.latent


def _has_time(vae: Any) -> bool:
    return any(isinstance(module, torch.nn.Conv3d) for module in vae.modules())


def _is_modest(config: Any) -> bool:
    """Whether layers and widths of a configuration are within reason, so that its modules can be listed at all."""
    if isinstance(config, dict):
        layers = all(type(v) is not int or abs(v) <= _MAX_LAYERS for k, v in config.items() if "layers" in k)
        return layers and all(map(_is_modest, config.values()))
    if isinstance(config, list):
        return len(config) <= _MAX_LAYERS and all(map(_is_modest, config))
    return type(config) is not int or abs(config) <= _MAX_NUMBER


def _check_size(kind: Any, config: dict[str, Any], size: int) -> None:
    """Raises `ValueError` if the configuration asks for more numbers than the files of weights have bytes."""
    try:
        with torch.device("meta"):  # nothing is allocated
            numbers = sum(parameter.numel() for parameter in kind.from_config(config).parameters())
    except NotImplementedError:  # a class that computes with its buffers
        return
    if numbers > size:
        raise ValueError(f"{numbers} numbers do not come from {size} bytes")


def load_diffusers(path: str, device: str | None) -> DiffusersVae:
    """Raises `UsageError` (no such folder), `UnsupportedError` (diffusers is missing, or knows no such VAE)."""
    folder = Path(path)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        name = config["_class_name"]
        if not _is_modest(config):
            raise ValueError("a number is out of range")
    except OSError as error:
        raise UsageError(f"{folder} contains no config.json ({error.strerror}) — give the folder of a VAE") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnsupportedError(f"{folder / 'config.json'} does not describe a diffusers model") from error
    if name not in CLASSES:
        raise UnsupportedError(f"{folder} contains {name!s:.60}, not one of {', '.join(CLASSES)}")
    try:
        import diffusers
    except ImportError as error:
        raise UnsupportedError("diffusers is not installed — pip install 'lvc[diffusers]'") from error
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UsageError(f"{folder} contains no .safetensors weights")
    try:
        _check_size(getattr(diffusers, name), config, sum(path.stat().st_size for path in weights))
        vae = getattr(diffusers, name).from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
        )
        adapter = DiffusersVae(vae, pick_device(device))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UnsupportedError(f"diffusers cannot load the {name} in {folder} ({type(error).__name__})") from error
    adapter.id = f"diffusers:{name}"
    adapter.sha256 = file_hash([folder / "config.json", *weights])
    return adapter
