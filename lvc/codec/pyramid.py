"""The order of a clip's frames and what each is predicted from (formats/decoder.md).

A clip of n frames follows the anchor a; frames are numbered from it, 1 … n.
"""

from __future__ import annotations

from dataclasses import dataclass

PYRAMID, CHAIN, OLDER, INTRA, LONG_TERM = range(5)
"""Structures: the last frame first, then the middles of ever smaller intervals; every frame from the one before; a
pyramid whose last frame is also predicted from the anchor before a; one whose last frame has no references and is coded
like a key frame; one whose last frame is also predicted from the group's key frame."""
KEY = -2
"""The group's key frame as a reference."""
LONG_REACH = 960
"""How many frames after the key frame an anchor may still be predicted from it."""
LONGEST = 32
"""Most frames of a clip."""
PLACES = 6
"""Places in a pyramid: the anchor, its middle, the quarters … of 32 frames."""


@dataclass(frozen=True)
class Step:
    """A frame: `first` and `second` are its references (0 is a, −1 the anchor before a, `KEY`; None: it has none, or
    one)."""

    frame: int
    first: int | None
    second: int | None
    place: int


def steps(structure: int, frames: int, older: bool) -> list[Step]:
    """Return the steps in coding order. `older`: there is an anchor before a."""
    if structure == CHAIN:
        return [Step(k + 1, k, None, 0) for k in range(frames)]
    first, second = None if structure == INTRA else 0, {OLDER: -1, LONG_TERM: KEY}.get(structure) if older else None
    out = [Step(frames, first, second, 0)]
    spans, place = [(0, frames)], 1
    while spans:
        halves = []
        for low, high in spans:
            if high - low > 1:
                middle = (low + high) // 2
                out.append(Step(middle, low, high, place))
                halves += [(low, middle), (middle, high)]
        spans, place = halves, place + 1
    return out


def last_place(structure: int, frames: int) -> int:
    """Return the largest place among a clip's frames."""
    return 0 if structure == CHAIN else (frames - 1).bit_length()


def last_use(order: list[Step]) -> dict[int, int]:
    """Return by frame the index in `order` of the last step that is predicted from it; frames without such a step are
    left out."""
    out: dict[int, int] = {}
    for i, step in enumerate(order):
        for reference in (step.first, step.second):
            if reference is not None:
                out[reference] = i
    return out
