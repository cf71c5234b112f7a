"""Folder jobs on a Ray cluster: each `Worker` runs in a process that Ray places on a node with free resources.

A worker process keeps its model from file to file. If a node dies, Ray repeats its file elsewhere; since outputs appear
atomically, nothing else is needed. Every node needs lvc, and access to sources and outputs under the same names: a
shared file system, or URLs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from types import TracebackType
from typing import Any, Self

from lvc.errors import UnsupportedError, UsageError
from lvc.jobs.task import Event, Job, Outcome, Status, Task
from lvc.jobs.work import Worker

RETRIES = 5
CPUS_OF_A_TASK = 2
_AHEAD = 2  # files submitted per slot, so that no worker waits for this process

# a process may run tasks of several jobs, one after the other
_worker: tuple[Job, int, Worker] | None = None


def do(job: Job, task: Task, threads: int, environment: dict[str, str]) -> Outcome:
    """Process one file in a Ray task, with this process's worker."""
    global _worker
    os.environ.update(environment)
    if _worker is None or _worker[:2] != (job, threads):
        _worker = job, threads, Worker(job, threads)
    return _worker[2].do(task)


class Cluster:
    """The Ray cluster at `address`; None finds one, or starts one on this machine. A context manager.

    A file takes `threads` of a node's CPUs, and a GPU if the job's device is one. `jobs` limits how many files run at a
    time; None runs as many as fit.
    """

    def __init__(self, job: Job, jobs: int | None, threads: int, address: str | None = None) -> None:
        self._job, self._jobs, self._threads, self._address = job, jobs, threads, address
        self._gpus = 1 if (job.options.device or "").startswith("cuda") else 0
        self._environment = {k: v for k, v in os.environ.items() if k in ("LVC_MODELS", "LVC_DEVICE")}
        self._tasks: dict[Any, Task] = {}
        self._quiet = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            import ray
        except ImportError as error:
            raise UnsupportedError("--engine ray needs Ray — pip install 'lvc[ray]'") from error
        self._ray: Any = ray
        # Ray prints the cluster's events, but stdout is for results
        self._quiet.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"no Ray cluster could be reached ({reason}) — check --address") from error
        self._remote = ray.remote(do).options(
            num_cpus=self._threads, num_gpus=self._gpus, max_retries=RETRIES, retry_exceptions=False, name="lvc"
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()
        self._quiet.close()

    @property
    def free(self) -> int:
        if self._jobs is not None:
            return self._jobs - self.running
        room = self._ray.cluster_resources()
        slots = int(room.get("CPU", 0) // self._threads)
        if self._gpus:
            slots = min(slots, int(room.get("GPU", 0)))
        return _AHEAD * max(1, slots) - self.running

    @property
    def running(self) -> int:
        return len(self._tasks)

    def start(self, task: Task) -> None:
        self._tasks[self._remote.remote(self._job, task, self._threads, self._environment)] = task

    def wait(self, seconds: float) -> list[Event]:
        """Wait up to `seconds` for files to end, and return their outcomes."""
        if not self._tasks:
            return []
        references = list(self._tasks)
        ready, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        return [self._ended(reference) for reference in ready]

    def _ended(self, reference: Any) -> Outcome:
        task = self._tasks.pop(reference)
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().split("\n")[0][:200]
            kind = type(error).__name__
            text = f"its worker was lost {RETRIES + 1} times ({kind}: {reason}) — is there enough memory?"
            return Outcome(task, Status.failed, text, {}, 3, kind)
