"""Other people's VAEs: `taesd:PATH` and `diffusers:FOLDER`. Naming one needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from lvc.errors import UsageError

if TYPE_CHECKING:
    from .base import Adapter

KINDS = ("taesd", "diffusers")

__all__ = ["Adapter", "is_foreign", "load_adapter"]


def is_foreign(name: object) -> TypeGuard[str]:
    """Whether a model's name or id (`HEAD`) means one of these."""
    return isinstance(name, str) and name.partition(":")[0] in KINDS and ":" in name


def load_adapter(name: str, device: str | None = None) -> Adapter:
    """`taesd:` a folder, a file, or the common beginning of `…_encoder` and `…_decoder`; `diffusers:` a folder with
    `config.json`. Raises `UsageError` (not there), `UnsupportedError` (not such a model), `CorruptError`."""
    kind, _, path = name.partition(":")
    if not path or kind not in KINDS:
        raise UsageError(f"{name} names no model — write taesd:PATH or diffusers:FOLDER")
    if kind == "taesd":
        from .taesd import load_taesd

        return load_taesd(path, device)
    from .diffusers_vae import load_diffusers

    return load_diffusers(path, device)


def __getattr__(name: str) -> Any:
    if name == "Adapter":
        from .base import Adapter

        return Adapter
    raise AttributeError(name)
