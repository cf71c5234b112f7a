"""Recognises models with continuous latents by name: another project's VAE, `taesd:PATH` or `diffusers:FOLDER`, and the
auto-encoders that lvc trains. No torch until one is loaded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from lvc.models.adapters import Adapter

_KINDS = ("taesd", "diffusers")


def is_foreign(name: object) -> TypeGuard[str]:
    """Return whether a model's name, or the `model_id` of a file, means another project's VAE."""
    return isinstance(name, str) and ":" in name and name.partition(":")[0] in _KINDS


def is_continuous(name: object) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether a model's name means a model of either kind. Raises as `lvc.models.inspect` does for files."""
    if is_foreign(name):
        return True
    if not isinstance(name, str | os.PathLike):
        return False
    from lvc.models import store

    return store.resolve(name).family != store.FAMILIES[0]


def load_continuous(name: str | os.PathLike[str], device: str | None) -> Adapter:
    """Load such a model. Raises `UsageError` (not found), `UnsupportedError` (a model of another kind),
    `CorruptError`."""
    if is_foreign(name):
        from lvc.models.adapters import load_adapter

        return load_adapter(name, device)
    from lvc.models import store
    from lvc.models.adapters.trained import load_trained

    return load_trained(store.resolve(name).path, device)
