"""Models: their files and programs. Names load lazily, so that finding a model does not load the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .store import base_of, contents, default_model_path, find_model, folders, inspect, resolve, tuned

if TYPE_CHECKING:
    from .inside import model_of_file
    from .load import Model, load_model

__all__ = [
    "Model", "base_of", "contents", "default_model_path", "find_model", "folders", "inspect", "load_model",
    "model_of_file", "resolve", "tuned",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("Model", "load_model"):
        from . import load

        return getattr(load, name)
    if name == "model_of_file":
        from .inside import model_of_file

        return model_of_file
    raise AttributeError(name)
