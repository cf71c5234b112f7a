"""Whole streams: cuts, standing pictures, packets, memory."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from lvc.interpolate.network import Interpolation
from lvc.interpolate.stream import Count, interpolated
from lvc.interpolate.times import Constant, Multiplied
from lvc.media.types import CopiedPacket, Frame, VideoFormat
from tests.helpers.scenes import psnr, scene

VIDEO = VideoFormat(128, 96, (1, 25), (25, 1))


def moving(numbers: list[int], speed: tuple[int, int] = (8, 0)) -> list[Frame]:
    frames = [scene(n, speed, pts=n) for n in numbers]
    for frame, following in zip(frames, frames[1:], strict=False):
        frame.duration = following.pts - frame.pts
    return frames


def run(frames: list[Frame], plain: Interpolation, factor: int = 2, video: VideoFormat = VIDEO):  # type: ignore[no-untyped-def]
    count = Count()
    made = list(interpolated(iter(frames), video, Multiplied(video.seconds_per_tick, factor), plain, 1, count))
    return made, count


def test_new_frames_stand_between_old_ones(plain: Interpolation) -> None:
    old = moving([0, 1, 2])
    made, count = run(old, plain)
    assert [f.pts for f in made] == [0, 1, 2, 3, 4, 5]
    assert [f.duration for f in made] == [1] * 6
    assert all(np.array_equal(made[2 * k].y, old[k].y) and np.array_equal(made[2 * k].v, old[k].v) for k in range(3))
    assert np.array_equal(made[5].y, old[2].y)
    assert (count.old, count.new, count.repeated, count.cuts) == (3, 2, 1, 0)
    for k in (1, 3):
        assert psnr(made[k].y, scene(k / 2, (8, 0)).y, 16) > 30


def test_four_times(plain: Interpolation) -> None:
    made, count = run(moving([0, 1]), plain, factor=4)
    assert [f.pts for f in made] == list(range(8))
    assert count.new == 3
    for k in (1, 2, 3):
        assert psnr(made[k].y, scene(k / 4, (8, 0)).y, 16) > 30


def test_nothing_is_blended_over_a_cut(plain: Interpolation) -> None:
    old = moving([0, 1, 2, 3])
    for frame in old[2:]:
        frame.y[:] = np.roll(frame.y[::-1, ::-1], 40, 1) // 2
    made, count = run(old, plain)
    assert np.array_equal(made[3].y, old[1].y) and np.array_equal(made[3].u, old[1].u)
    assert (count.new, count.repeated, count.cuts) == (2, 2, 1)


def test_odd_sizes_and_a_single_frame(plain: Interpolation) -> None:
    old = [Frame(f.y[:61, :83].copy(), f.u[:31, :42].copy(), f.v[:31, :42].copy(), f.pts, 1) for f in moving([0, 1])]
    made, _ = run(old, plain, video=VideoFormat(83, 61, (1, 25), (25, 1)))
    assert {(f.y.shape, f.u.shape, f.v.shape) for f in made} == {((61, 83), (31, 42), (31, 42))}
    made, count = run(moving([5]), plain)
    assert [f.pts for f in made] == [10, 11] and count.repeated == 1


def test_a_picture_that_stands_still_for_long_is_no_slow_motion(plain: Interpolation) -> None:
    old = moving([0, 1, 2, 3, 4])
    old[2].duration, old[3].pts, old[4].pts = 48, 50, 51
    count = Count()
    made = list(interpolated(iter(old), VIDEO, Constant(Fraction(1, 25), Fraction(50)), plain, 1, count))
    assert [f.pts for f in made] == list(range(104))
    assert all(np.array_equal(f.y, old[2].y) for f in made[4:100])
    assert count.new == 3


def test_packets_pass_untouched_and_in_order(plain: Interpolation) -> None:
    packets = [CopiedPacket(0, n, n, 1, True, bytes([n] * 9)) for n in range(6)]
    frames = moving([0, 1, 2])
    items = [packets[0], packets[1], frames[0], packets[2], frames[1], packets[3], packets[4], frames[2], packets[5]]
    made = list(interpolated(iter(items), VIDEO, Multiplied(Fraction(1, 25), 2), plain, 1))
    assert [item for item in made if isinstance(item, CopiedPacket)] == packets
    assert sum(isinstance(item, Frame) for item in made) == 6


def test_only_a_few_frames_are_held(plain: Interpolation) -> None:
    read = 0

    def source() -> Iterator[Frame]:
        nonlocal read
        for frame in moving(list(range(16)), (0, 0)):
            read += 1
            yield frame

    ahead = 0
    for number, _ in enumerate(interpolated(source(), VIDEO, Multiplied(Fraction(1, 25), 2), plain, 1)):
        ahead = max(ahead, read - number // 2)
    assert read == 16 and ahead <= 8
