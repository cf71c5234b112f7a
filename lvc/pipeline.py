"""Two ends of a pipeline on threads of their own, so that PyAV's work overlaps the network's.

    with ReadAhead(source, depth) as items, WriteBehind(write, depth) as sink:
        for result in work(items):
            sink.put(result)

Queues are bounded: memory does not grow. An exception on either thread is raised in the caller, at its next step; an
exception in the caller (Ctrl-C too) stops both threads before the `with` block is left. A thread that is blocked in a
read from a pipe cannot be stopped; it is a daemon, and its source is closed by nobody else.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_POLL = 0.1  # seconds between two looks at the stop flag while a queue is full or empty
_PATIENCE = 10.0  # seconds to wait for a thread that was told to stop


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


class _Stopped(Exception):
    """The other side of a queue went away."""


class _Worker(Generic[T]):
    """A thread, a bounded queue and a flag that ends both."""

    def __init__(self, depth: int, name: str) -> None:
        self._queue: queue.Queue[T | _End | _Failure] = queue.Queue(max(1, depth))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        raise NotImplementedError

    def _put(self, item: T | _End | _Failure) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue
        raise _Stopped

    def _get(self) -> T | _End | _Failure:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=_POLL)
            except queue.Empty:
                continue
        raise _Stopped

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _end(self) -> None:
        self._stop.set()
        self._thread.join(_PATIENCE)


class ReadAhead(_Worker[T]):
    """Iterates over `source` on a thread, at most `depth` items ahead; `close` is called there when it is over."""

    def __init__(self, source: Iterable[T], depth: int, close: Callable[[], object] | None = None) -> None:
        super().__init__(depth, "lvc-read")
        self._source = source
        self._close = close
        self._over = False

    def _run(self) -> None:
        try:
            try:
                for item in self._source:
                    self._put(item)
            finally:
                if self._close is not None:
                    self._close()
            self._put(_End())
        except _Stopped:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        try:
            self._put(_Failure(error))
        except _Stopped:
            pass

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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()


class WriteBehind(_Worker[T]):
    """Hands items to `write` on a thread, in order, at most `depth` behind; leaving the block waits for it."""

    def __init__(self, write: Callable[[T], object], depth: int) -> None:
        super().__init__(depth, "lvc-write")
        self._write = write
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            while True:
                item = self._get()
                if isinstance(item, _End):
                    return
                if not isinstance(item, _Failure):
                    self._write(item)
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
            self._stop.set()

    def put(self, item: T) -> None:
        """Queue one item. Raises what `write` raised for an earlier one."""
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
                while self._thread.is_alive():
                    self._thread.join(_POLL)
        except _Stopped:
            pass
        finally:
            self._end()
        if self._error is not None and kind is None:
            raise self._error
