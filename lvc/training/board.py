"""A training in TensorBoard (extra `tensorboard`): the figures of every step line, by stage."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ..errors import UsageError

NO_FIGURES = ("event", "phase", "stage", "step")


def check_installed() -> None:
    """Raises `UsageError`."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--log tensorboard needs TensorBoard — pip install 'lvc[tensorboard]'")


class Board:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self._writer: Any = SummaryWriter(str(folder), flush_secs=10)

    @property
    def how_to_look(self) -> str:
        return f"to watch it: tensorboard --logdir {self.folder}, then http://localhost:6006"

    def add(self, line: dict[str, Any]) -> None:
        """An event of the log."""
        if line["event"] != "step" or "step" not in line:
            return
        for name, value in line.items():
            if name not in NO_FIGURES and isinstance(value, int | float):
                self._writer.add_scalar(f"{line.get('stage', 'training')}/{name}", value, line["step"])

    def close(self) -> None:
        self._writer.close()
