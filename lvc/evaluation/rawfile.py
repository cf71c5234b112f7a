"""Decoded pictures on disk as raw planes (y, u, v), passed from a worker to the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lvc.evaluation.planes import Picture


def picture_bytes(width: int, height: int) -> int:
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


def read_pictures(path: Path, width: int, height: int) -> Iterator[Picture]:
    """All whole pictures of the file. Raises ValueError if it does not end with one."""
    half = (height + 1) // 2, (width + 1) // 2
    size, chroma = width * height, half[0] * half[1]
    with path.open("rb") as file:
        index = 0
        while data := file.read(picture_bytes(width, height)):
            if len(data) != picture_bytes(width, height):
                raise ValueError(f"{path.name} ends within picture {index}")
            y = np.frombuffer(data, np.uint8, size).reshape(height, width)
            u = np.frombuffer(data, np.uint8, chroma, size).reshape(half)
            v = np.frombuffer(data, np.uint8, chroma, size + chroma).reshape(half)
            yield Picture(y, u, v, index)
            index += 1
