"""torch's number of threads is one for the whole process, which may be somebody's training: lvc sets it only while it
works, and gives the caller's back. torch is not loaded here: call this when it is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def own_threads() -> Iterator[None]:
    """Whatever number is set inside is the caller's again afterwards."""
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
    """The same items; what `items` sets holds while it works on the next one, and not while the caller has one."""
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
