"""The live table of a folder job: current files with speed and time left, and a total."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from lvc.cli.progress import clock
from lvc.jobs.task import Outcome, Progress, Task
from lvc.results import counted

if TYPE_CHECKING:
    from rich.table import Table


class Board:
    """State of the table. `total`: number of files; None while watching."""

    def __init__(self, root: str, total: int | None) -> None:
        self._root, self._total = root, total
        self._started = time.monotonic()
        self._running: dict[Task, tuple[float, Progress]] = {}
        self._done = self._frames = 0

    def progress(self, event: Progress) -> None:
        begun = self._running[event.task][0] if event.task in self._running else time.monotonic()
        self._running[event.task] = begun, event

    def outcome(self, event: Outcome) -> None:
        self._running.pop(event.task, None)
        self._done += 1
        self._frames += int(event.fields.get("frames") or 0)

    def table(self) -> Table:
        """The current table: a line for every file in progress, and a total."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        for _ in range(5):
            table.add_column(justify="right", no_wrap=True)
        table.columns[0].justify = "left"
        table.columns[0].overflow = "ellipsis"
        now = time.monotonic()
        for begun, event in self._running.values():
            fps = event.frames / max(0.1, now - begun)
            left = f"{clock((event.total - event.frames) / fps)} left" if event.total and fps else ""
            share = f"{100 * event.frames / event.total:.0f} %" if event.total else ""
            name = os.path.relpath(event.task.source, self._root)
            name = "".join(c if c.isprintable() else "?" for c in name)
            table.add_row(Text(name), f"{event.frames} frames", share, f"{fps:.1f} fps", left)
        frames = self._frames + sum(event.frames for _, event in self._running.values())
        seconds = now - self._started
        files = (
            counted(self._done, "file") if self._total is None else f"{self._done} of {counted(self._total, 'file')}"
        )
        left = ""
        if self._total is not None and self._done:
            left = f"{clock((self._total - self._done) * seconds / self._done)} left"
        table.add_row(Text(files, style="bold"), f"{frames} frames", "", f"{frames / max(0.1, seconds):.1f} fps", left)
        return table
