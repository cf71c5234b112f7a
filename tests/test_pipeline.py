"""Threads of the pipeline: order, bounds, and an end to every error and interrupt."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator

import pytest

from lvc import pipeline
from lvc.pipeline import ReadAhead, WriteBehind, side_by_side
from tests.helpers.waiting import PATIENCE, wait_for


def counting(n: int, made: list[int]) -> Iterator[int]:
    for i in range(n):
        made.append(i)
        yield i


def test_order_and_close() -> None:
    closed: list[str] = []
    out: list[int] = []

    def source() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    with ReadAhead(source(), 4) as items:
        with WriteBehind(out.append, 4) as sink:
            for item in items:
                sink.put(item)
    assert out == list(range(100)) and closed == ["lvc-read"]


def test_reading_is_bounded() -> None:
    made: list[int] = []
    with ReadAhead(counting(1000, made), 3) as items:
        next(iter(items))
        time.sleep(0.1)
        assert len(made) <= 6
    assert len(made) <= 7


def test_reader_error_arrives_in_order() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("reader")

    with pytest.raises(ValueError, match="reader"), ReadAhead(broken(), 4) as items:
        got = []
        for item in items:
            got.append(item)
    assert got == [1]


def test_writer_error_reaches_put_and_exit() -> None:
    def broken(item: int) -> None:
        raise ValueError("writer")

    with pytest.raises(ValueError, match="writer"), WriteBehind(broken, 1) as sink:
        sink.put(1)
    with pytest.raises(ValueError, match="writer"), WriteBehind(broken, 1) as sink:
        for i in range(1000):
            sink.put(i)


@pytest.mark.parametrize("begins", [True, False])
def test_an_interrupt_while_a_thread_is_started_ends_it(monkeypatch: pytest.MonkeyPatch, begins: bool) -> None:
    """Then `__exit__` is not called."""
    closed: list[str] = []
    reached = threading.Event()

    def source() -> Iterator[int]:
        try:
            reached.set()
            yield from iter(int, 1)
        finally:
            closed.append(threading.current_thread().name)

    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begins:
            start(thread)
            assert reached.wait(PATIENCE)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), ReadAhead(source(), 1):
        pass
    assert closed == (["lvc-read"] if begins else [])


def test_a_thread_that_begins_after_its_end_takes_nothing() -> None:
    made: list[int] = []
    items = ReadAhead(counting(10, made), 1)
    items.close()
    with items:
        pass
    assert made == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal interrupts a thread that waits")
@pytest.mark.parametrize("kind", [ReadAhead, WriteBehind])
def test_an_interrupt_of_waiting_for_a_thread_does_not_leave_it_running(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would use a file that is closed next."""
    leaving = threading.Event()
    ended: list[bool] = []

    def work(item: int) -> int:
        leaving.wait(PATIENCE)
        time.sleep(0.1)  # until it is waited for
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.1)
        ended.append(True)
        return item

    monkeypatch.setattr(pipeline, "_READER_PATIENCE", PATIENCE)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            if kind is ReadAhead:
                with ReadAhead(map(work, [1]), 1):
                    leaving.set()
            else:
                with WriteBehind(work, 1) as sink:
                    sink.put(1)
                    leaving.set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_caller_error_ends_both_threads(error: type[BaseException]) -> None:
    slow = threading.Event()
    with pytest.raises(error):
        with ReadAhead(iter(int, 1), 2) as items, WriteBehind(lambda _: slow.wait(0.05), 2) as sink:
            for n, item in enumerate(items):
                sink.put(item)
                if n == 3:
                    raise error
    assert not [t for t in threading.enumerate() if t.name.startswith("lvc-")]


def test_chained_stages_end_while_the_first_one_waits() -> None:
    """As with a camera that sends nothing: Ctrl-C must not wait for its next frame."""
    camera = threading.Event()

    def first() -> Iterator[int]:
        yield 1
        waited.append(camera.wait(PATIENCE))

    def second(items: ReadAhead[int]) -> Iterator[int]:
        yield from items

    waited: list[bool] = []
    with ReadAhead(first(), 2) as reader:
        with pytest.raises(KeyboardInterrupt):
            with ReadAhead(second(reader), 2) as middle, ReadAhead(iter(middle), 2) as last:
                assert next(iter(last)) == 1
                raise KeyboardInterrupt
        assert not waited
        camera.set()


def by_tens(made: list[int], room: int, work: Callable[[Iterator[int]], Iterator[int]]) -> Iterator[int]:
    return side_by_side(counting(95, made), lambda i: i % 10 == 0, work, 3, room)


@pytest.mark.parametrize("room", [1, 4, 1000])
def test_groups_come_in_order_whoever_is_ready_first(room: int) -> None:
    lengths: list[int] = []

    def work(group: Iterator[int]) -> Iterator[int]:
        first = next(group)
        time.sleep(0.002 * (first % 30))
        rest = [first, *group]
        lengths.append(len(rest))
        yield from rest

    assert list(by_tens([], room, work)) == list(range(95))
    assert sorted(lengths) == [5] + [10] * 9


def test_groups_are_not_read_far_ahead() -> None:
    made: list[int] = []
    go_on = threading.Event()

    def work(group: Iterator[int]) -> Iterator[int]:
        for item in group:
            yield item
            go_on.wait(PATIENCE)

    results = by_tens(made, 6, work)
    assert next(results) == 0
    wait_for(lambda: len(made) >= 8)  # one in work, six that wait, and one for which there is no room
    time.sleep(0.1)
    assert len(made) == 8
    go_on.set()
    results.close()
    assert len(made) < 50 and not [t for t in threading.enumerate() if t.name == "lvc-read"]


@pytest.mark.parametrize("where", ["source", "work"])
def test_an_error_in_a_group_ends_all(where: str) -> None:
    def source() -> Iterator[int]:
        yield from range(25)
        if where == "source":
            raise ValueError("here")
        yield from range(25, 200)

    def work(group: Iterator[int]) -> Iterator[int]:
        for i in group:
            if where == "work" and i == 25:
                raise ValueError("here")
            yield i

    got: list[int] = []
    with pytest.raises(ValueError, match="here"):
        for i in side_by_side(source(), lambda i: i % 10 == 0, work, 3, 8):
            got.append(i)
    assert got == list(range(25))[: len(got)] and len(got) >= 20
    assert not [t for t in threading.enumerate() if t.name == "lvc-read"]


@pytest.mark.slow
def test_groups_that_have_ended_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = weakref.WeakSet[ReadAhead[int]]()

    class Watched(ReadAhead[int]):
        def __init__(self, source: Iterable[int], depth: int) -> None:
            super().__init__(source, depth)
            alive.add(self)

    monkeypatch.setattr(pipeline, "ReadAhead", Watched)
    most = 0
    for item in pipeline.side_by_side(iter(range(400)), lambda n: n % 4 == 0, lambda items: items, 2, 8):
        if item % 40 == 39:  # a collection takes long where much is imported
            gc.collect()
            most = max(most, len(alive))
    assert most <= 12  # of a hundred groups
