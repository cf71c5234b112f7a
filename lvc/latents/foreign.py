"""Names of foreign models: `taesd:PATH`, `diffusers:FOLDER`. No torch until one is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from lvc.models.adapters import Adapter

_KINDS = ("taesd", "diffusers")


def is_foreign(name: object) -> TypeGuard[str]:
    """Whether a model's name, or the `model_id` of a file, means one of these."""
    return isinstance(name, str) and ":" in name and name.partition(":")[0] in _KINDS


def load_foreign(name: str, device: str | None) -> Adapter:
    """Raises `UsageError` (not there), `UnsupportedError` (not such a model)."""
    from lvc.models.adapters import load_adapter

    return load_adapter(name, device)
