"""Decoded pictures on disk as raw planes (y, u, v), passed from a worker to the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lvc.evaluation.planes import Picture


def picture_bytes(width: int, height: int, depth: int = 8) -> int:
    return (width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)) * (1 if depth == 8 else 2)


def read_pictures(path: Path, width: int, height: int, depth: int = 8) -> Iterator[Picture]:
    """All whole pictures of the file. Raises ValueError if it does not end with one."""
    half = (height + 1) // 2, (width + 1) // 2
    size, chroma = width * height, half[0] * half[1]
    whole = picture_bytes(width, height, depth)
    with path.open("rb") as file:
        index = 0
        while data := file.read(whole):
            if len(data) != whole:
                raise ValueError(f"{path.name} ends within picture {index}")
            samples = np.frombuffer(data, np.uint8 if depth == 8 else "<u2")
            y, u, v = np.split(samples, [size, size + chroma])
            yield Picture(y.reshape(height, width), u.reshape(half), v.reshape(half), index)
            index += 1
