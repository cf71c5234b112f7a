"""Waiting for other processes and threads, as long as it takes: a machine that is busy must not fail a test.

What hangs is ended by pytest's own time limit for a test (pyproject.toml), a little after `PATIENCE`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 500.0
"""Seconds after which whatever is waited for will not come any more."""


def wait_for(condition: Callable[[], object], *running: subprocess.Popen[Any]) -> None:
    """Returns when `condition` holds. Fails if one of the `running` processes ends before, or after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        for process in running:
            assert process.poll() is None or condition(), f"ended with {process.poll()}: {process.args!r}"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Turns:
    """Lets the codec of `fakecodec.py` go on step by step: each encoding or decoding takes one turn after its first
    clip, and waits until there is one. So whoever starts such processes decides how far they are."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._given = folder, 0
        self.env = {"FAKE_TURNS": str(folder)}

    def reached(self) -> bool:
        """Whether a process has come to its turn."""
        return self._folder.with_name(self._folder.name + ".reached").exists()

    def give(self, count: int) -> None:
        for _ in range(count):
            (self._folder / str(self._given)).touch()
            self._given += 1
