"""What a training run leaves on the disk, and reads again: weights and the state of its optimisers."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..errors import UnsupportedError, UsageError
from ..models.config import ModelConfig
from ..models.load import TABLE_PREFIX

Tensors = dict[str, torch.Tensor]


def atomic_save(tensors: Tensors, path: Path, metadata: dict[str, str]) -> None:
    """Through a rename: `path` is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata)
    os.replace(part, path)


def read_weights(path: Path) -> Tensors:
    """The weights in a checkpoint, without its tables. Raises `UnsupportedError`."""
    try:
        return {k: v for k, v in load_file(path).items() if not k.startswith(TABLE_PREFIX)}
    except (SafetensorError, OSError) as e:
        raise UnsupportedError(f"{path.name} is no checkpoint ({str(e)[:80]}) — use one of this lvc") from e


def read_state(path: Path, config: ModelConfig) -> tuple[Tensors, dict[str, str]] | None:
    """Tensors and metadata of a saved state; None if there is none. Raises `UsageError`."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as f:
            meta = f.metadata() or {}
        tensors = load_file(path)
    except SafetensorError as e:
        raise UsageError(f"the saved state {path.name} is damaged — use another --work or --restart") from e
    if meta.get("config") != config.to_json():
        raise UsageError("the saved state is of another model configuration — use another --work or --restart")
    return tensors, meta


def optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> Tensors:
    """Everything that optimisers remember, named `optimizer.NUMBER.PARAMETER.SLOT`."""
    return {
        f"optimizer.{i}.{j}.{key}": torch.as_tensor(value).detach().cpu().contiguous().clone()
        for i, optimizer in enumerate(optimizers)
        for j, slots in optimizer.state_dict()["state"].items()
        for key, value in slots.items()
    }


def restore_optimizers(optimizers: Sequence[torch.optim.Optimizer], tensors: Tensors) -> None:
    """`optimizer_tensors` backwards."""
    for i, optimizer in enumerate(optimizers):
        template = optimizer.state_dict()
        slots: dict[int, Tensors] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{i}."):
                _, _, j, key = name.split(".", 3)
                slots.setdefault(int(j), {})[key] = value
        template["state"] = slots
        optimizer.load_state_dict(template)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is done: where one process of several dies, `torchrun` ends the others
    while they save."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
