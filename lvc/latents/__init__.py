"""Latents as data: packs other projects' tensors into `.lvz`, unpacks them, and feeds them to training. Names load
lazily."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Bound": "budget",
    "LatentDataset": "dataset",
    "LatentFile": "file",
    "LatentStream": "dataset",
    "pack_latents": "pack",
    "unpack_latents": "unpack",
}

__all__ = [*_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lvc.latents' has no attribute {name!r}")
    return getattr(import_module(f"lvc.latents.{_PUBLIC[name]}"), name)
