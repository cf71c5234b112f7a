"""The device and number format for everything that runs in torch: its engine, foreign VAEs, frame interpolation."""

from __future__ import annotations

import os

import torch

from ..errors import UsageError


def pick_device(name: str | None) -> torch.device:
    """Return the torch device `name`, else `LVC_DEVICE`, else the CPU. Raises `UsageError` if torch cannot use it."""
    wanted = name or os.environ.get("LVC_DEVICE") or "cpu"
    origin = "" if name else "LVC_DEVICE: "
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"{origin}torch has no device {wanted!r} here — leave it out to use the CPU") from e
    return device


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where it is fast (a GPU, or a CPU with AVX-512 bf16 or AMX), else float32."""
    if device.type != "cpu":
        return torch.bfloat16
    try:
        supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # wheels for macOS have no oneDNN
        return torch.float32
    return torch.bfloat16 if supported and "AVX512" in torch.backends.cpu.get_cpu_capability() else torch.float32
