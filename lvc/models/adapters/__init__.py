"""Models with continuous latents: external VAEs, `taesd:PATH` and `diffusers:FOLDER`, and the auto-encoders that lvc
trains. Resolving a name does not need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvc.errors import UsageError

if TYPE_CHECKING:
    from .base import Adapter

__all__ = ["Adapter", "load_adapter"]


def load_adapter(name: str, device: str | None = None) -> Adapter:
    """`taesd:` a folder, a file, or the common prefix of `…_encoder` and `…_decoder`; `diffusers:` a folder with
    `config.json`. Raises `UsageError` (not found), `UnsupportedError` (another kind of model), `CorruptError`."""
    kind, _, path = name.partition(":")
    if not path or kind not in ("taesd", "diffusers"):
        raise UsageError(f"{name} is not a model — use taesd:PATH or diffusers:FOLDER")
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
