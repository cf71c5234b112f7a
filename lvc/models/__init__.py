"""Models: their files, and their programs. Names load lazily: finding a model loads no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .store import default_model_path, find_model, folders, inspect, resolve, tuned

if TYPE_CHECKING:
    from .load import Model, load_model

__all__ = [
    "Model", "default_model_path", "find_model", "folders", "inspect", "load_model", "resolve", "tuned",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("Model", "load_model"):
        from . import load

        return getattr(load, name)
    raise AttributeError(name)
