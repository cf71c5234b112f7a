"""Watches a folder: a file that arrives becomes a task when it has stopped changing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lvc.jobs import tree
from lvc.jobs.task import Command, Task
from lvc.place import Place, Stamp


class Watcher:
    """Polls `root`; calling it returns tasks for the files that have not changed for `settle` seconds.

    A file that is written again becomes a task again. Polling needs no service of the operating system, and works on
    network folders.
    """

    def __init__(
        self,
        root: str,
        output_dir: str,
        command: Command,
        plan: Callable[[list[str]], list[Task]],
        settle: float = 2.0,
        every: float = 1.0,
    ) -> None:
        self._root, self._output_dir, self._command, self._plan = root, output_dir, command, plan
        self._settle, self._every = settle, every
        self._seen: dict[str, tuple[Stamp, float]] = {}
        self._handled: dict[str, Stamp] = {}
        self._wanted: dict[str, bool] = {}
        self._next = 0.0

    def __call__(self) -> list[Task]:
        now = time.monotonic()
        if now < self._next:
            return []
        self._next = now + self._every
        ready = []
        here = set()
        for path in tree.walk(self._root, self._output_dir):
            found = Place(path).stamp()
            if found is None:
                continue
            here.add(path)
            before, since = self._seen.get(path, (None, now))
            if before != found:
                self._seen[path], since = (found, now), now
            if now - since >= self._settle and self._handled.get(path) != found:
                self._handled[path] = found
                self._wanted[path] = tree.is_wanted(path, self._command)
                if self._wanted[path]:
                    ready.append(path)
        for gone in set(self._seen) - here:
            for known in (self._seen, self._handled, self._wanted):
                known.pop(gone, None)
        if not ready:
            return []
        # plan with all files of the folder, so that no two get the same output
        tasks = self._plan(sorted(path for path, wanted in self._wanted.items() if wanted))
        chosen = {os.fspath(path) for path in ready}
        return [task for task in tasks if task.source in chosen]
