"""Order and references of a clip's frames, and how a payload says them."""

from __future__ import annotations

import pytest

from lvc.codec import payload as layout
from lvc.codec.pyramid import CHAIN, LONGEST, OLDER, PLACES, PYRAMID, last_place, last_use, steps
from lvc.errors import CorruptError, UnsupportedError


@pytest.mark.parametrize("structure", [PYRAMID, CHAIN, OLDER])
@pytest.mark.parametrize("frames", range(1, LONGEST + 1))
def test_every_frame_comes_once_and_after_its_references(structure: int, frames: int) -> None:
    order = steps(structure, frames, older=True)
    known = {0, -1}
    for step in order:
        assert {step.first, *({step.second} - {None})} <= known
        assert step.frame not in known
        assert step.place <= last_place(structure, frames) < PLACES
        known.add(step.frame)
    assert known == {-1, *range(frames + 1)}
    places = [step.place for step in order]
    assert places == sorted(places), "a reader that wants upper levels reads a prefix"
    assert last_place(structure, frames) == max(places)
    for frame, i in last_use(order).items():
        assert frame in (order[i].first, order[i].second)
        assert all(frame not in (s.first, s.second) for s in order[i + 1 :])


def test_a_pyramid_by_numbers() -> None:
    order = [(s.frame, s.first, s.second, s.place) for s in steps(OLDER, 6, older=True)]
    assert order == [(6, 0, -1, 0), (3, 0, 6, 1), (1, 0, 3, 2), (4, 3, 6, 2), (2, 1, 3, 3), (5, 4, 6, 3)]
    assert steps(OLDER, 6, older=False) == steps(PYRAMID, 6, older=True)
    assert [(s.first, s.second) for s in steps(CHAIN, 3, older=True)] == [(0, None), (1, None), (2, None)]


def head(structure: int, *qualities: int) -> layout.ClipHead:
    return layout.ClipHead(structure, qualities)


@pytest.mark.parametrize(
    ("given", "parts", "begin"),
    [
        (head(PYRAMID, 40), [b"abcd"], b"\0\x28\0abcd"),
        (head(OLDER, 40, 35, 30, 30), [b"abcd", b"efgh"], b"\2\x28\x26\4abcdefgh"),
        (head(OLDER, 40, 39, 20, 20), [b"abcd", b"efgh"], b"\2\x28\x80\x27\x14\4abcdefgh"),
        (head(PYRAMID, 40, 39, 20, 21), [b"abcd", b"efgh"], b"\0\x28\x81\x27\x14\x15\4abcdefgh"),
        (head(CHAIN, 9, 9, 9), [b"abcd"], b"\1\x09\0abcd"),
    ],
)
def test_payloads_by_numbers(given: layout.ClipHead, parts: list[bytes], begin: bytes) -> None:
    packed = layout.pack(given, parts)
    assert packed == begin
    assert layout.unpack(packed, len(given.qualities)) == (given, parts)


def test_long_parts_have_long_sizes() -> None:
    given = head(PYRAMID, 3, 3)
    parts = [bytes(300), b"x"]
    assert layout.pack(given, parts)[3:5] == b"\xac\2"
    assert layout.unpack(layout.pack(given, parts), 2) == (given, parts)


@pytest.mark.parametrize(
    ("payload", "frames", "error"),
    [
        (b"", 1, CorruptError),
        (b"\0\x28", 1, CorruptError),
        (b"\5\x28\0abcd", 1, UnsupportedError),
        (b"\0\x80\0abcd", 1, CorruptError),
        (b"\0\x28\x82abcd", 1, UnsupportedError),
        (b"\0\x28\x80", 4, CorruptError),
        (b"\0\x28\x81\1", 4, CorruptError),
        (b"\0\x28\0\x7fabcd", 4, CorruptError),
        (b"\0\x28\0\x84\0abcd", 4, CorruptError),
        (b"\0\x28\0\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd", 4, CorruptError),
        (b"\0\x28\0abcd", 0, CorruptError),
        (b"\0\x28\0\4abcd", 33, CorruptError),
    ],
)
def test_bad_payloads(payload: bytes, frames: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        layout.unpack(payload, frames)


def test_qualities_and_levels() -> None:
    assert [layout.quality_of(layout.level_of(q)) for q in range(128)] == list(range(128))
    assert layout.quality_of(-3.0) == 0 and layout.quality_of(99.0) == 127
    assert [layout.falling(50, 41, place) for place in range(6)] == [50, 45, 40, 35, 29, 29]
    assert layout.falling(2, 127, 4) == 0
