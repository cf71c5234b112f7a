"""A training in TensorBoard (extra `tensorboard`): the figures of every step line, by stage, and now and then pictures
and histograms."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

EVERY = 30.0
"""The least seconds between pictures."""
SHOWN = 4
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

    def pane(self, stage: str) -> Pane:
        """For pictures and histograms of a stage."""
        return Pane(self._writer, stage)

    def close(self) -> None:
        self._writer.close()


class Pane:
    """Pictures and histograms of one stage. Nothing is computed if some were written a
    moment ago."""

    def __init__(self, writer: Any, stage: str) -> None:
        self._writer, self._stage = writer, stage
        self._last: float | None = None

    def due(self) -> bool:
        now = time.monotonic()
        if self._last is not None and now - self._last < EVERY:
            return False
        self._last = now
        return True

    def pictures(self, step: int, real: Tensor, made: Tensor) -> None:
        """`[n, 1 or 3, rows, columns]` in 0..1: some originals above their reconstructions."""
        import torch

        rows = [torch.cat(list(p[:SHOWN].detach().float().clamp(0, 1).cpu()), 2) for p in (real, made)]
        self._writer.add_image(f"{self._stage}/pictures", torch.cat(rows, 1), step)

    def symbols(self, step: int, values: Tensor) -> None:
        """Histogram of integers as they would be coded."""
        self._writer.add_histogram(f"{self._stage}/symbols", values.detach().float().cpu().flatten(), step)

    def gradients(self, step: int, net: nn.Module) -> None:
        """Histograms of the last step's gradients, for each part of a network."""
        import torch

        parts: dict[str, list[Tensor]] = {}
        for name, parameter in net.named_parameters():
            if parameter.grad is not None:
                part = ".".join(name.split(".")[:2] if name.startswith(("net.", "critic.")) else name.split(".")[:1])
                parts.setdefault(part, []).append(parameter.grad.detach().float().flatten().cpu())
        for part, grads in parts.items():
            values = torch.cat(grads)
            if bool(values.isfinite().all()):
                self._writer.add_histogram(f"{self._stage}/gradients/{part}", values, step)
