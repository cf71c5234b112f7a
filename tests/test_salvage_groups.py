"""Salvage hands each group of clips to the decoder as a list of its own."""

from __future__ import annotations

from lvc.files.decode import _gops
from lvc.lvz import Clip


def clip(first: int, key: bool) -> Clip:
    return Clip(first, key, [first], [1], 0, b"\0")


def test_a_decoder_that_failed_cannot_take_clips_of_the_next_group() -> None:
    """Its thread may still read when the next group is asked for: with one iterator for all it took from that."""
    clips = [clip(n, n in (0, 3, 4)) for n in range(7)]
    groups = _gops(iter(clips))
    first = iter(next(groups))
    next(first)
    second = next(groups)
    assert [c.first_frame for c in first] == [1, 2]
    assert [c.first_frame for c in second] == [3]
    assert [[c.first_frame for c in group] for group in groups] == [[4, 5, 6]]
    assert list(_gops(iter([]))) == []
