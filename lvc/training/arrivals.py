"""Footage in which something arrives that no earlier frame shows: an object that moves in, or content that changes.

Most crops of videos have little of it, and networks that have only seen small residuals code it two to three times as
dearly as a key frame would (decision 009).
"""

from __future__ import annotations

import numpy as np

Planes = tuple[np.ndarray, np.ndarray]
SMALLEST, LARGEST = 3, 10
"""Sides of objects, in sixteenths of the crop's."""


def arrive(rng: np.random.Generator, scene: Planes, other: Planes) -> Planes:
    """`scene` with an ellipse or a rectangle of `other` in it: y uint8 [T,S,S], uv uint8 [T,2,S/2,S/2], both alike.

    It moves in a straight line by even numbers of samples, or stands still from some frame on; it is there in the last
    frame at the latest, and not in the first."""
    y, uv = scene[0].copy(), scene[1].copy()
    frames, side = y.shape[:2]
    height, width = (2 * (side * int(rng.integers(SMALLEST, LARGEST)) // 32) for _ in range(2))
    oval = rng.random() < 0.5
    row, column = np.mgrid[:height, :width]
    shape = (
        ((row * 2 + 1) / height - 1) ** 2 + ((column * 2 + 1) / width - 1) ** 2 < 1
        if oval
        else np.full((height, width), True)
    )
    top, left = (2 * int(rng.integers(0, (side - n) // 2 + 1)) for n in (height, width))
    begin = int(rng.integers(1, frames))
    moving = rng.random() < 0.7
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(1, 14) if moving else 0.0
    for t in range(begin, frames):
        back = speed * (frames - 1 - t)  # where it is in the last frame is inside
        at = [2 * round((n + v * back) / 2) for n, v in ((top, np.sin(angle)), (left, np.cos(angle)))]
        first = [max(0, -n) for n in at]
        last = [min(n, side - m) for n, m in zip((height, width), at, strict=True)]
        if any(a >= b for a, b in zip(first, last, strict=True)):
            continue
        inside = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        seen = tuple(slice(m + a, m + b) for m, a, b in zip(at, first, last, strict=True))
        source = tuple(slice(m + a, m + b) for m, a, b in zip((top, left), first, last, strict=True))
        mask = shape[inside]
        y[t][seen] = np.where(mask, other[0][t][source], y[t][seen])
        half = [tuple(slice(s.start // 2, s.stop // 2) for s in part) for part in (seen, source)]
        small = shape[::2, ::2][tuple(slice(s.start // 2, s.stop // 2) for s in inside)]
        for c in range(2):
            uv[t, c][half[0]] = np.where(small, other[1][t, c][half[1]], uv[t, c][half[0]])
    return y, uv
