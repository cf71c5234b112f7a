"""What a job has to say besides its result, and what of that `strict` makes an error.

All of it goes one way, so that no notice of a loss is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lvc.errors import LossError


class Loss(str):
    """A notice that something of the source does not reach the output. Anything else is a notice of another kind."""

    __slots__ = ()


class Notices:
    """Tells `tell` of every notice once. With `strict` a `Loss` raises `LossError` instead."""

    def __init__(self, tell: Callable[[str], object] | None = None, *, strict: bool = False) -> None:
        self._tell, self._strict = tell, strict
        self._told: dict[int, tuple[Sequence[str], int]] = {}  # by the list's identity; the list is kept alive

    def __call__(self, text: str) -> None:
        if self._strict and isinstance(text, Loss):
            raise LossError(f"{text} — nothing was written; without --strict this is only a notice")
        if self._tell is not None:
            self._tell(text)

    def new(self, *lists: Sequence[str]) -> None:
        """Those that were added since the last call to lists that grow while a job runs."""
        for texts in lists:
            end = len(texts)
            begin = self._told.get(id(texts), (texts, 0))[1]
            self._told[id(texts)] = texts, end
            for text in texts[begin:end]:
                self(text)


def each_once(tell: Callable[[str], object] | None) -> Callable[[str], None]:
    """For jobs that go over one source several times: the same notice is told once."""
    told: set[str] = set()

    def once(text: str) -> None:
        if tell is not None and text not in told:
            told.add(text)
            tell(text)

    return once
