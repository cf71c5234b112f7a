"""Runs a folder job on an engine: what is waiting, what another run is at, what arrives while we watch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from lvc.jobs.task import Event, Outcome, Status, Task

_ASK_AGAIN = 1.0  # seconds until a file that another run is at is looked at again
_STEP = 0.25


class Engine(Protocol):
    """Where files are worked on. A context manager: leaving it ends what runs."""

    @property
    def free(self) -> int: ...

    @property
    def running(self) -> int: ...

    def start(self, task: Task) -> None: ...

    def wait(self, seconds: float) -> list[Event]: ...


def run(tasks: Iterable[Task], engine: Engine, arrivals: Callable[[], list[Task]] | None = None) -> Iterator[Event]:
    """Every task ends in one `Outcome`; progress comes between. With `arrivals`, which is asked for more, for ever.

    What another run is at waits until all else is done: it is finished by that run, or, should that die, by this one.
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
