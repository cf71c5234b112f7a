"""Runs a folder job on an engine: queued files, files that another run holds, and files that arrive."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from lvc.jobs.task import Event, Outcome, Status, Task

_ASK_AGAIN = 1.0  # seconds before a file that another run holds is tried again
_STEP = 0.25


class Engine(Protocol):
    """Runs tasks. A context manager; leaving it ends those that run."""

    @property
    def free(self) -> int: ...

    @property
    def running(self) -> int: ...

    def start(self, task: Task) -> None: ...

    def wait(self, seconds: float) -> list[Event]: ...


def run(tasks: Iterable[Task], engine: Engine, arrivals: Callable[[], list[Task]] | None = None) -> Iterator[Event]:
    """Run tasks, and yield progress and one `Outcome` for each. With `arrivals`, poll it for more tasks, for ever.

    Files that another run holds are tried again when all others are done. By then that run has finished them; if it
    has died, this one does.
    """
    waiting = deque(tasks)
    busy: deque[Task] = deque()
    asked = 0.0
    while waiting or busy or engine.running or arrivals is not None:
        now = time.monotonic()
        if arrivals is not None:
            waiting.extend(arrivals())
        if busy and not waiting and now - asked >= _ASK_AGAIN:
            asked = now
            waiting.extend(busy)
            busy.clear()
        while waiting and engine.free:
            engine.start(waiting.popleft())
        if not engine.running:
            time.sleep(_STEP)
        for event in engine.wait(_STEP):
            if isinstance(event, Outcome) and event.status is Status.busy:
                busy.append(event.task)
            else:
                yield event
