"""From a file of weights to networks that are ready to run."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from ..entropy.rans import CompiledTables, Tables
from ..errors import CorruptError, UnsupportedError
from ..lvz.geometry import PlaneSpec
from .config import ModelConfig
from .fused import available
from .integer import IntegerConv, ScaleNet
from .network import Codec, Gains
from .store import resolve

TABLE_PREFIX = "tables."
GAIN_TABLE = "_gain.table"
MAX_WEIGHT, MAX_GAIN = 1e4, 20.0
"""Far above what training gives (5.1 and 2.7 in lvc's own models). A gain is an exponent of e."""


def planes_of(config: ModelConfig) -> tuple[PlaneSpec, ...]:
    """The planes of integers that this model's frames have (formats/lvz.md)."""
    return (
        PlaneSpec("skip", "uint8", 1, 16, in_key=False),
        PlaneSpec("copy", "uint8", 1, 16, in_key=False),
        PlaneSpec("motion", "int16", 2, 8, in_key=False),
        PlaneSpec("hyper", "int16", config.hyper, 64),
        PlaneSpec("latent", "int16", config.latent, 16, masked=True),
    )


@dataclass
class Model:
    """A loaded model. `codec` runs in `dtype` on `device`, its scale networks in float32 holding integers."""

    id: str
    sha256: bytes
    config: ModelConfig
    codec: Codec
    tables: CompiledTables
    device: torch.device
    dtype: torch.dtype

    @property
    def planes(self) -> tuple[PlaneSpec, ...]:
        return planes_of(self.config)


def pick_device(name: str | None) -> torch.device:
    """`name`, else `LVC_DEVICE`, else the CPU. Raises `UnsupportedError` for a device that is not here."""
    wanted = name or os.environ.get("LVC_DEVICE") or "cpu"
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UnsupportedError(f"device {wanted!r} is not available — leave it out to use the CPU") from e
    return device


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 where it is fast (a GPU, or a CPU with AVX-512 bf16 or AMX), else float32."""
    if device.type != "cpu":
        return torch.bfloat16
    try:
        supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # wheels for macOS have no oneDNN
        return torch.float32
    return torch.bfloat16 if supported and "AVX512" in torch.backends.cpu.get_cpu_capability() else torch.float32


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: it hands blocks of more than 128 KiB back to the system and asks for them again at
    the next layer, and faulting their pages in takes a sixth of the codec's time. Elsewhere nothing happens."""
    trim_threshold, mmap_threshold, size = -1, -3, 32 << 20  # malloc.h; 32 MiB is the most that glibc takes
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(mmap_threshold, size)
    mallopt(trim_threshold, 8 * size)


def load_model(
    name: str | os.PathLike[str] | None = None, device: str | None = None, dtype: torch.dtype | None = None
) -> Model:
    """Load a model by path or name (None: the default). Raises `UsageError`, `CorruptError`, `UnsupportedError`."""
    file = resolve(name)
    keep_freed_memory()
    try:
        tensors = load_tensors(file.path.read_bytes())
        tables = {k[len(TABLE_PREFIX) :]: tensors.pop(k) for k in list(tensors) if k.startswith(TABLE_PREFIX)}
        codec = _built(file.config, tensors)
        compiled = _compile(tables)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise CorruptError(f"{file.path.name} does not hold the weights its configuration describes") from e
    target = pick_device(device)
    kind = dtype or fast_dtype(target)
    ready(codec, target, kind)
    return Model(file.config.name, file.sha256, file.config, codec, compiled, target, kind)


def _built(config: ModelConfig, tensors: dict[str, torch.Tensor]) -> Codec:
    """The networks with these weights. Nothing is allocated before every tensor has the shape that `config` asks for.
    Raises `ValueError` for other shapes, and for weights that no training gives."""
    with torch.device("meta"):
        codec = Codec(config)
    wanted = {name: value.shape for name, value in codec.state_dict().items()}
    if wanted != {name: value.shape for name, value in tensors.items()}:
        raise ValueError("the tensors do not have the shapes of the configuration")
    weights = {name: value.float() for name, value in tensors.items()}
    for name, value in weights.items():
        most = MAX_GAIN if name.endswith(GAIN_TABLE) else MAX_WEIGHT
        if not bool((value.abs() <= most).all()):  # NaN is not
            raise ValueError(f"{name} has a weight that is not finite, or beyond {most:g}")
    codec.to_empty(device="cpu")
    codec.load_state_dict(weights)
    return codec


def wrap(codec: Codec, tables: dict[str, torch.Tensor], dtype: torch.dtype | None = None) -> Model:
    """A model in memory that has no file: a copy of `codec` on the CPU, with `tables` as in a checkpoint."""
    copy = Codec(codec.config)
    copy.load_state_dict({k: v.detach().float().cpu() for k, v in codec.state_dict().items()})
    device = torch.device("cpu")
    kind = dtype or fast_dtype(device)
    ready(copy, device, kind)
    compiled = _compile({k.removeprefix(TABLE_PREFIX): v for k, v in tables.items()})
    return Model(codec.config.name, bytes(32), codec.config, copy, compiled, device, kind)


def _compile(tables: dict[str, torch.Tensor]) -> CompiledTables:
    if any(v.dtype not in (torch.int32, torch.int64) for v in tables.values()):
        raise ValueError("tables are integers")
    return Tables(**{k: v.numpy().astype(np.int64) for k, v in tables.items()}).compile()


def ready(codec: Codec, device: torch.device, dtype: torch.dtype) -> None:
    """Make networks fit to run: integer layers frozen, the rest in `dtype`, channels last."""
    for module in codec.modules():
        if isinstance(module, IntegerConv):
            module.freeze()
    codec.to(device)
    codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu" and available():
        codec.intra.fuse(dtype)
        codec.inter.fuse(dtype)

    def convert(module: torch.nn.Module) -> None:
        for child in module.children():
            if isinstance(child, (ScaleNet, Gains)):
                continue
            if isinstance(child, torch.nn.Conv2d):
                child.to(dtype)
            convert(child)

    convert(codec)
    codec.eval().requires_grad_(False)
