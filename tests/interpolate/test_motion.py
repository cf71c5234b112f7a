"""Vectors through a moment, where the motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.interpolate.between import Between, pad_planes
from lvc.interpolate.compensate import compensate
from lvc.interpolate.motion import Middle, PairSearch, split
from lvc.interpolate.network import Interpolation
from lvc.interpolate.stream import is_cut
from tests.helpers.scenes import psnr, scene


def searched(first, last):  # type: ignore[no-untyped-def]
    a, b = pad_planes(first), pad_planes(last)
    search = PairSearch(*a[0].shape)
    assert search.push(*a) is None
    fields = search.push(*b)
    assert fields is not None
    return a, b, fields


@pytest.mark.parametrize("speed", [(0, 0), (8, 0), (-4, 12), (24, -8)])
@pytest.mark.parametrize("moment", [0.25, 0.5, 0.75])
def test_vectors_pass_through_the_moment(speed: tuple[int, int], moment: float) -> None:
    a, b, fields = searched(scene(0, speed), scene(1, speed))
    through = Middle(a[0], b[0], fields).through(moment)
    inside = (slice(None), slice(4, -4), slice(4, -4))
    to_a, to_b = through.to_a[inside], through.to_b[inside]
    wanted = 4 * np.array(speed)[:, None, None]
    assert np.mean(np.abs(to_b - to_a - wanted).max(0) <= 1) > 0.9
    assert np.mean(np.abs(to_a + moment * wanted).max(0) <= 1) > 0.9
    y, _ = compensate(a[0][None], a[1][None], through.to_a[None])
    assert psnr(y[0], scene(moment, speed).y, 32) > 35


def test_both_ends_differ_by_the_vector_exactly() -> None:
    v = np.arange(-50, 50).reshape(2, 5, 10)
    for moment in (0.25, 0.5, 1 / 3):
        to_a, to_b = split(v, moment)
        assert np.array_equal(to_b - to_a, v)


def test_a_moving_square_is_half_way(plain: Interpolation) -> None:
    def drawn(left: int):  # type: ignore[no-untyped-def]
        frame = scene(0, (0, 0))
        frame.y[32:64, left : left + 32] = scene(0, (0, 0)).y[:32, 64:96] // 2 + 100
        return frame

    a, b, fields = searched(drawn(32), drawn(48))
    y, _ = Between(a, b, fields).frame(0.5, plain)
    assert psnr(y[36:60, 44:68], drawn(40).y[36:60, 44:68]) > 30
    assert psnr(y, drawn(40).y) > psnr((a[0].astype(np.uint16) + b[0] + 1) // 2, drawn(40).y) + 2


def test_cuts_are_told_from_motion() -> None:
    other = scene(0, (0, 0))
    other.y[:] = np.roll(other.y[::-1, ::-1], 40, 1) // 2
    assert is_cut(*searched(scene(0, (0, 0)), other))
    assert not is_cut(*searched(scene(0, (16, 8)), scene(1, (16, 8))))
    assert not is_cut(*searched(scene(0, (0, 0)), scene(0, (0, 0))))
