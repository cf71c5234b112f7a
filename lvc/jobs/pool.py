"""Folder jobs in worker processes on this machine. Each loads the model once and gets its share of the cores.

If a worker dies (killed, out of memory, a crash in a codec), only its current file fails; a new worker replaces it. If
this process dies, its workers end at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection
from types import FrameType, TracebackType
from typing import Any, Self

from lvc.files.memory import share_one_heap
from lvc.jobs.task import Event, Job, Outcome, Progress, Status, Task
from lvc.jobs.work import Worker
from lvc.output import discard_unfinished
from lvc.pipeline import end_process, end_with_parent, interrupt, stop_signals

_PATIENCE = 10.0  # seconds that a worker has to shut down


class _Process:
    """A worker process, the pipe to it, and its current task."""

    def __init__(self, job: Job, threads: int) -> None:
        # spawn, not fork: PyAV and torch have threads, which a fork does not copy
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_main, args=(theirs, job, threads), name="lvc-worker", daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task | None = None

    def end(self) -> None:
        end_process(self.process, _PATIENCE)
        self.pipe.close()


class Pool:
    """Up to `jobs` workers, started on demand. A context manager; leaving it ends them."""

    def __init__(self, job: Job, jobs: int, threads: int) -> None:
        """`threads`: cores shared by all workers."""
        self._job = job
        self._jobs = jobs
        self._threads = max(1, threads // jobs)
        self._workers: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.process.terminate()  # all first, then wait for each
        for worker in self._workers:
            worker.end()

    @property
    def free(self) -> int:
        return self._jobs - self.running

    @property
    def running(self) -> int:
        return sum(worker.task is not None for worker in self._workers)

    def start(self, task: Task) -> None:
        """Hand a file to a free worker."""
        for dead in [w for w in self._workers if w.task is None and not w.process.is_alive()]:
            dead.end()
            self._workers.remove(dead)
        idle = next((worker for worker in self._workers if worker.task is None), None)
        if idle is None:
            idle = _Process(self._job, self._threads)
            self._workers.append(idle)
        idle.task = task
        # if the worker dies now, `wait` notices
        with contextlib.suppress(OSError):
            idle.pipe.send(task)

    def wait(self, seconds: float) -> list[Event]:
        """Wait up to `seconds` for events, and return them."""
        sources: list[Any] = [worker.pipe for worker in self._workers if worker.task is not None]
        events: list[Event] = []
        for pipe in connection.wait(sources, seconds):
            worker = next(w for w in self._workers if w.pipe is pipe)
            try:
                event: Event = worker.pipe.recv()
            except (EOFError, OSError):
                event = self._died(worker)
            if isinstance(event, Outcome):
                worker.task = None
            events.append(event)
        return events

    def _died(self, worker: _Process) -> Outcome:
        worker.end()
        self._workers.remove(worker)
        code = worker.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if worker.task is None:
            raise RuntimeError("a worker without a task sent something")
        return Outcome(
            worker.task,
            Status.failed,
            f"its worker {how} — is there enough memory? Fewer --jobs need less",
            {},
            3,
            "WorkerDied",
        )


def _main(pipe: connection.Connection, job: Job, threads: int) -> None:
    """Run a worker: receive tasks, send progress and outcomes, until the pipe closes or SIGTERM arrives."""
    for number in stop_signals():  # Ctrl-C and a closed terminal reach all processes; the parent handles them
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=end_with_parent, daemon=True).start()
    share_one_heap()
    worker = Worker(job, threads)

    def report(progress: Progress) -> None:
        pipe.send(progress)

    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            pipe.send(worker.do(pipe.recv(), report))
    discard_unfinished()
    os._exit(0)  # threads blocked in native code would keep the process alive


def _end(number: int, frame: FrameType | None) -> None:
    """Only once: the pool says it twice, and the second time must not end the removal of what is half-written."""
    signal.signal(number, signal.SIG_IGN)
    interrupt(number, frame)
