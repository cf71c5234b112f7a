"""Two ends of a pipeline on threads of their own, so that PyAV's work overlaps the network's.

    with ReadAhead(source, depth) as items, WriteBehind(write, depth) as sink:
        for result in work(items):
            sink.put(result)

Queues are bounded, so memory does not grow. An exception on either thread is raised in the caller at its next step; an
exception in the caller (also Ctrl-C) stops both threads before the `with` block is left. Stages can be chained: a
thread that waits for the stage before it wakes up when told to stop. A thread that is blocked outside Python (by a
camera or a URL) cannot be stopped; it is a daemon, and nothing else closes its source.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_RESULTS = 64
"""Results of a group that may wait for earlier groups."""

_IMPORTING = "<frozen importlib._bootstrap>"
_POLL = 0.03
"""Seconds between checks of the flag that stops a thread, and of Ctrl-C on Windows, while a queue is full or empty."""
# seconds to wait for a thread that was told to stop: a reader may be blocked for ever, a writer's file closes next
_READER_PATIENCE, _WRITER_PATIENCE = 3.0, 30.0


def end_with_parent() -> None:
    """Wait for the end of the process that started this one, and end at once. For a thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def end_process(process: BaseProcess, patience: float) -> None:
    """Tell a process to end, wait up to `patience` seconds, and kill it if it has not."""
    process.terminate()
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stop_signals() -> list[int]:
    """Return the signals that end a job properly, including SIGHUP unless it is ignored (`nohup`)."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, as a handler of signals. An import ends first: in torch's it would end the process by
    an abort, or be lost."""
    if hasattr(signal, "setitimer") and _is_importing(frame):
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, _POLL)
        return
    raise KeyboardInterrupt


def forget_interrupt() -> None:
    """Raise no interrupt any more that waits for the end of an import."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


class _Stopped(Exception):
    """Raised in a thread that has been told to stop."""


# the worker whose thread runs, if it is one of a pipeline
_current = threading.local()


def told_to_stop() -> bool:
    """Return whether this thread belongs to a pipeline that has ended. For reads that may block for long."""
    worker: _Worker[Any] | None = getattr(_current, "worker", None)
    return worker is not None and worker.told_to_stop


class _Worker(Generic[T]):
    """A thread with a bounded queue and a flag that stops it.

    No lock in here is Python code, in the midst of which an interrupt could leave it locked. `Thread.join` is no way to
    wait: if it is interrupted, the thread counts as ended (Python 3.11 and 3.12).
    """

    def __init__(self, depth: int, name: str) -> None:
        self.told_to_stop = self._ended = False
        self._queue = queue.SimpleQueue[T | _End | _Failure]()
        self._room, self._end_of_thread = queue.SimpleQueue[None](), queue.SimpleQueue[None]()
        for _ in range(max(1, depth)):
            self._room.put(None)
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def _main(self) -> None:
        _current.worker = self
        try:
            with contextlib.suppress(_Stopped):
                if not self._stopped():
                    self._run()
        finally:
            self._ended = True
            self._end_of_thread.put(None)

    def _run(self) -> None:
        raise NotImplementedError

    def _stopped(self) -> bool:
        return self.told_to_stop or told_to_stop()

    def _take(self, items: queue.SimpleQueue[R]) -> R:
        while not self._stopped():
            try:
                return items.get(timeout=_POLL)
            except queue.Empty:
                continue
        raise _Stopped

    def _put(self, item: T | _End | _Failure) -> None:
        self._take(self._room)
        self._queue.put(item)

    def _get(self) -> T | _End | _Failure:
        item = self._take(self._queue)
        self._room.put(None)
        return item

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C: the thread may run already
            self._end(_READER_PATIENCE)
            raise
        return self

    def _wait(self, patience: float) -> None:
        end = time.monotonic() + patience
        while not self._ended and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._end_of_thread.get(timeout=min(left, _POLL))
        if self._ended:
            self._thread.join()  # at once: its work is done

    def _end(self, patience: float) -> None:
        self.told_to_stop = True
        if self._thread.ident is None:  # it has not begun, and will see that it need not
            return
        try:
            self._wait(patience)
        except BaseException:  # Ctrl-C; what the thread works with is closed next
            self._wait(patience)
            raise


class ReadAhead(_Worker[T]):
    """Iterates over `source` on a thread, up to `depth` items ahead, and closes it there if it has `close`."""

    def __init__(self, source: Iterable[T], depth: int) -> None:
        super().__init__(depth, "lvc-read")
        self._source = source
        self._over = False

    def _run(self) -> None:
        end: _End | _Failure = _End()
        try:
            try:
                for item in self._source:
                    self._put(item)
            finally:
                close = getattr(self._source, "close", None)
                if close is not None:
                    close()
        except _Stopped:
            raise
        except BaseException as error:
            end = _Failure(error)
        self._put(end)

    def __iter__(self) -> Iterator[T]:
        while not self._over:
            item = self._get()
            if isinstance(item, _Failure):
                self._over = True
                raise item.error
            if isinstance(item, _End):
                self._over = True
                return
            yield item

    def close(self) -> None:
        """Stop the thread, if it still runs."""
        self._end(_READER_PATIENCE)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Consumer(_Worker[T]):
    """Runs `work` on a thread over the items that are put; up to `depth` of them wait. Leaving the block waits until
    all are taken; leaving it with an exception stops the thread."""

    def __init__(self, work: Callable[[Iterator[T]], object], depth: int, name: str) -> None:
        super().__init__(depth, name)
        self._work = work
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._work(self._items())
        except _Stopped:
            raise
        except BaseException as error:
            self._error = error
            self.told_to_stop = True

    def _items(self) -> Iterator[T]:
        while True:
            item = self._get()
            if isinstance(item, _End):
                return
            if not isinstance(item, _Failure):
                yield item

    def put(self, item: T) -> None:
        """Queue one item. Raises what `work` raised."""
        try:
            self._put(item)
        except _Stopped:
            if self._error is not None:
                raise self._error from None
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self._put(_End())
                self._wait(math.inf)
        except _Stopped:
            pass
        finally:
            self._end(_WRITER_PATIENCE)
        if self._error is not None and kind is None:
            raise self._error


class WriteBehind(Consumer[T]):
    """Calls `write` for items on a thread, in order, up to `depth` behind. Leaving the block waits for it."""

    def __init__(self, write: Callable[[T], object], depth: int) -> None:
        def each(items: Iterator[T]) -> None:
            for item in items:
                write(item)

        super().__init__(each, depth, "lvc-write")


def side_by_side(
    items: Iterable[T], starts: Callable[[T], bool], work: Callable[[Iterator[T]], Iterator[R]], workers: int, room: int
) -> Iterator[R]:
    """Yield the results of `work` on groups of items, in order. Up to `workers` groups run at a time, each on its own
    thread. An item for which `starts` is true begins a new group; up to `room` items wait for their workers."""
    free, space = threading.Semaphore(workers), threading.Semaphore(room)
    begun: list[ReadAhead[R]] = []

    def taken(group: queue.SimpleQueue[T | _End]) -> Iterator[T]:
        while not told_to_stop():
            try:
                item = group.get(timeout=_POLL)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            space.release()
            yield item

    def worked(group: queue.SimpleQueue[T | _End]) -> Iterator[R]:
        try:
            yield from work(taken(group))
        finally:
            free.release()

    def dealt() -> Iterator[ReadAhead[R]]:
        group: queue.SimpleQueue[T | _End] | None = None
        try:
            for item in items:
                if group is None or starts(item):
                    if group is not None:
                        group.put(_End())
                    acquire(free)
                    group = queue.SimpleQueue()
                    begun.append(ReadAhead(worked(group), _RESULTS).__enter__())
                    yield begun[-1]
                acquire(space)
                group.put(item)
        finally:
            if group is not None:
                group.put(_End())

    try:
        with ReadAhead(dealt(), workers) as groups:
            for group in groups:
                yield from group
                begun.remove(group)  # ended; a long video has many groups
    finally:
        for group in list(begun):
            group.close()


def acquire(semaphore: threading.Semaphore) -> None:
    """Acquire a semaphore, on a thread that may be told to stop meanwhile."""
    while not semaphore.acquire(timeout=_POLL):
        if told_to_stop():
            raise _Stopped


@contextlib.contextmanager
def thread_pool(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads; work that has not begun when the caller leaves is not begun."""
    pool = ThreadPoolExecutor(count, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_background(function: Callable[[], T]) -> T:
    """Run `function` on a thread and return its result, so that Ctrl-C works while native code waits for input."""
    with ReadAhead((function() for _ in range(1)), 1) as results:
        return next(iter(results))
