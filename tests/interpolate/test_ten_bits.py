"""New frames have the depth of those between which they lie."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from lvc.interpolate.network import default_interpolation
from lvc.interpolate.stream import interpolated
from lvc.interpolate.times import Multiplied
from lvc.media.types import Frame, VideoFormat

WIDTH, HEIGHT = 64, 48


def ramp(number: int, scale: int) -> Frame:
    """A ramp that gets brighter by 3 of 10 bits a frame, and fine texture."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    luma = 300 + 2 * x + y + 3 * number
    planes = luma, np.full((HEIGHT // 2, WIDTH // 2), 515), np.full((HEIGHT // 2, WIDTH // 2), 501)
    if scale == 4:
        return Frame(*((p + 2 >> 2).astype(np.uint8) for p in planes), number, 1)
    return Frame(*(p.astype(np.uint16) for p in planes), number, 1)


def made(scale: int) -> list[Frame]:
    threads = torch.get_num_threads()
    depth = 8 if scale == 4 else 10
    video = VideoFormat(WIDTH, HEIGHT, (1, 25), (25, 1), bit_depth=depth)
    times = Multiplied(Fraction(1, 25), 2)
    try:
        given = [ramp(n, scale) for n in range(3)]
        frames = list(interpolated(given, video, times, default_interpolation("cpu"), threads=1))
    finally:
        torch.set_num_threads(threads)
    return [f for f in frames if isinstance(f, Frame)]


def test_frames_between_have_ten_bits() -> None:
    deep, eight = made(1), made(4)
    assert [f.y.dtype for f in deep] == [np.uint16] * len(deep)
    for number in range(3):  # old frames are handed on as they are
        assert np.array_equal(deep[2 * number].y, ramp(number, 1).y)
    for number in range(2):
        middle = (ramp(number, 1).y.astype(float) + ramp(number + 1, 1).y) / 2
        assert np.abs(deep[2 * number + 1].y - middle).mean() < 2
        assert np.abs(deep[2 * number + 1].y / 4 - eight[2 * number + 1].y).mean() < 1
        assert len(np.unique(deep[2 * number + 1].y)) > 1.5 * len(np.unique(eight[2 * number + 1].y))
