"""Threads of the pipeline: order, bounds, and an end to every error and interrupt."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from lvc.pipeline import ReadAhead, WriteBehind

pytestmark = pytest.mark.timeout(20)


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
        time.sleep(0.3)
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
        camera.wait(15)

    def second(items: ReadAhead[int]) -> Iterator[int]:
        yield from items

    began = time.monotonic()
    with ReadAhead(first(), 2) as reader:
        with pytest.raises(KeyboardInterrupt):
            with ReadAhead(second(reader), 2) as middle, ReadAhead(iter(middle), 2) as last:
                assert next(iter(last)) == 1
                raise KeyboardInterrupt
        assert time.monotonic() - began < 5
        camera.set()
