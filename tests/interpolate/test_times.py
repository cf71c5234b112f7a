"""Times of new frames are exact."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from lvc.interpolate.times import Constant, Multiplied


def test_a_factor_divides_what_lies_between() -> None:
    times = Multiplied(F(1, 25), 4)
    assert times.out == F(1, 100)
    assert [(m.pts, m.share) for m in times.between(3, 5)] == [(12, 0), (14, F(1, 4)), (16, F(1, 2)), (18, F(3, 4))]
    assert times.last(5, 6) == [20, 21, 22, 23]
    assert times.finish(6) == 24


@pytest.mark.parametrize("factor", [2, 4])
def test_old_frames_keep_their_times_at_a_variable_rate(factor: int) -> None:
    tick, old = F(1001, 30000), [0, 1, 4, 5, 9]
    times = Multiplied(tick, factor)
    for a, b in zip(old, old[1:], strict=False):
        moments = times.between(a, b)
        assert len(moments) == factor
        for k, moment in enumerate(moments):
            assert moment.pts * times.out == (a + F(k, factor) * (b - a)) * tick
            assert moment.share == F(k, factor)


def test_a_time_base_that_cannot_be_divided_is_kept() -> None:
    times = Multiplied(F(1, 2**30), 4)
    assert times.out == F(1, 2**30)
    assert [m.pts for m in times.between(100, 202)] == [100, 126, 151, 177]
    assert [m.pts for m in times.between(7, 9)] == [7, 8]  # no two at one time, none at the next frame's


def test_a_rate_is_a_grid() -> None:
    times = Constant(F(1, 25), F(60))
    found = [m for a in range(5) for m in times.between(a, a + 1)]
    assert [m.pts for m in found] == list(range(12))
    for moment in found:
        place = moment.pts * F(25, 60)
        assert moment.share == place - int(place)
    assert times.last(5, 6) == [12, 13, 14]
    assert times.finish(6) == 15


def test_a_rate_over_a_variable_one() -> None:
    times = Constant(F(1, 1000), F(50))
    found = [m for a, b in ((0, 100), (100, 110), (110, 200)) for m in times.between(a, b)]
    assert [m.pts for m in found] == list(range(10))
    assert [m.share for m in found[:5]] == [F(k, 5) for k in range(5)]
    assert found[6].share == F(1, 9)  # 120 ms lies between 110 and 200


def test_a_grid_that_meets_old_frames_shows_them() -> None:
    times = Constant(F(1, 1000), F(60))  # 30 frames a second, rounded to milliseconds
    old = [0, 33, 67, 100, 133]
    shares = [m.share for a, b in zip(old, old[1:], strict=False) for m in times.between(a, b)]
    assert all(share in (0, 1) or F(2, 5) < share < F(3, 5) for share in shares)
    assert sum(share in (0, 1) for share in shares) == 4


def test_fewer_frames_than_before_and_a_late_start() -> None:
    times = Constant(F(1, 50), F(10))
    found = [m.pts for a in range(52, 70) for m in times.between(a, a + 1)]
    assert found == [10, 11, 12, 13]
    assert Constant(F(1, 50), F(1)).last(0, 1) == [0]  # one frame is shown at least
    assert Constant(F(1, 50), F(1)).last(40, 41) == [1]
