"""Varints, text and packed integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvc.errors import CorruptError, UsageError
from lvc.lvz import fields as f

I64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.integers(0, (1 << 64) - 1), I64)
def test_varints_come_back(unsigned: int, signed: int) -> None:
    r = f.Fields(f.uvarint(unsigned) + f.svarint(signed), "x")
    assert (r.uvarint(), r.svarint()) == (unsigned, signed)
    r.end()


@given(st.lists(I64, max_size=40))
def test_packed_integers_come_back(values: list[int]) -> None:
    r = f.Fields(f.ints(values), "x")
    assert r.ints(len(values)) == values
    r.end()


def test_equal_integers_cost_nothing_each() -> None:
    assert len(f.ints([1001] * 1000)) == 3
    assert len(f.ints([33, 34, 33, 33, 34] * 8)) == 2 + 5


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01"],
    ids=["empty", "cut", "not shortest", "over 64 bits", "too long"],
)
def test_bad_varints(data: bytes) -> None:
    with pytest.raises(CorruptError):
        f.Fields(data, "x").uvarint()


@pytest.mark.parametrize(
    "data",
    [b"\x00\x41", b"\x00\x08\x01", b"\x00\x01\xf8", f.svarint((1 << 63) - 1) + b"\x01\x02"],
    ids=["too wide", "cut", "padding", "over int64"],
)
def test_bad_packed_integers(data: bytes) -> None:
    with pytest.raises(CorruptError):
        f.Fields(data, "x").ints(3)


def test_numbers_out_of_range_are_a_wrong_call() -> None:
    for wrong in (lambda: f.uvarint(-1), lambda: f.uvarint(1 << 64), lambda: f.svarint(1 << 63), lambda: f.u8(256)):
        with pytest.raises(UsageError):
            wrong()


def test_undecodable_tags_are_written_with_replacements() -> None:
    assert f.Fields(f.text("a\udcffb"), "x").text() == "a?b"
    with pytest.raises(CorruptError):
        f.Fields(b"\x02\xff\xfe", "x").text()
