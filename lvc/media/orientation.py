"""The display matrix: how a picture is rotated and mirrored for display.

FFmpeg stores it as nine int32, row by row `(a b u) (c d v) (tx ty w)`, the last column in 2.30 and the rest in
16.16 fixed point. A point `(x, y)` of the coded picture, y down, is shown at `(a*x + c*y + tx, b*x + d*y + ty)`.
"""

from __future__ import annotations

import math

_ONE = 1 << 16
_W = 1 << 30

# clockwise turn -> (a, b, c, d)
_TURNS: dict[int, tuple[int, int, int, int]] = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def matrix_of(rotation: int, hflip: bool, width: int, height: int) -> list[int] | None:
    """The matrix of "mirror left to right if `hflip`, then turn clockwise"; None if there is nothing to do.

    The offsets move the result to positive coordinates, as QuickTime expects.
    """
    if rotation % 360 == 0 and not hflip:
        return None
    a, b, c, d = _TURNS[rotation % 360]
    if hflip:
        a, b = -a, -b
    shift_x = -(min(a, 0) * width + min(c, 0) * height)
    shift_y = -(min(b, 0) * width + min(d, 0) * height)
    return [a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, shift_x * _ONE, shift_y * _ONE, _W]


def orientation_of(matrix: list[int]) -> tuple[int, bool, bool]:
    """(clockwise rotation, hflip, exact) of nine int32; the nearest quarter turn where it is none exactly."""
    a, b, c, d = (float(matrix[i]) for i in (0, 1, 3, 4))
    if a * d - b * c == 0:
        return 0, False, False
    hflip = a * d - b * c < 0
    if hflip:
        a, b = -a, -b
    angle = math.degrees(math.atan2(b - c, a + d))
    rotation = round(angle / 90) % 4 * 90
    scale = max(abs(a), abs(b), abs(c), abs(d))
    want = _TURNS[rotation]
    exact = all(abs(got / scale - one) < 1e-3 for got, one in zip((a, b, c, d), want, strict=True))
    return rotation, hflip, exact
