"""torch's thread count is global to the process, which may be training: lvc sets it only while it works, and restores
it afterwards. torch is not loaded here; it has to be before these are called."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def own_threads() -> Iterator[None]:
    """Context that restores torch's thread count."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    callers = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(callers)


def with_own_threads(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items; the thread count that `items` sets is in effect only while it works on the next one."""
    ours: int | None = None
    try:
        while True:
            with own_threads():
                torch = sys.modules.get("torch")
                if torch is not None and ours is not None:
                    torch.set_num_threads(ours)
                try:
                    item = next(items)
                except StopIteration:
                    return
                ours = None if torch is None else torch.get_num_threads()
            yield item
    finally:
        if hasattr(items, "close"):
            items.close()
