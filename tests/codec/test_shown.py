"""Between what is shown and 12-bit samples, and the checksum of it."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from lvc.codec.shown import checksum, padded, shown


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 31), (30, 18)])
def test_there_and_back(depth: int, size: tuple[int, int]) -> None:
    rng, (h, w) = np.random.default_rng(depth), size
    kind, half = (np.uint8 if depth == 8 else np.uint16), (-(-h // 2), -(-w // 2))
    y, u, v = (rng.integers(0, 1 << depth, s).astype(kind) for s in (size, half, half))
    luma, chroma = padded(y, u, v, depth)
    assert luma.shape == (h + -h % 16, w + -w % 16) and chroma.shape == (2, *(n // 2 for n in luma.shape))
    assert luma.dtype == chroma.dtype == np.int16 and luma.max() <= 4095
    assert (luma[h:, :w] == luma[h - 1, :w]).all() and (
        chroma[:, :, half[1] :] == chroma[:, :, half[1] - 1, None]
    ).all()
    for back, plane in zip(shown((luma, chroma), h, w, depth), (y, u, v), strict=True):
        assert back.dtype == kind and np.array_equal(back, plane)


def test_rounding_by_numbers() -> None:
    luma = np.array([[0, 7, 8, 2039, 2040, 4087, 4088, 4095] * 2] * 16, np.int16)
    chroma = np.zeros((2, 8, 8), np.int16)
    assert shown((luma, chroma), 1, 8, 8)[0].tolist() == [[0, 0, 1, 127, 128, 255, 255, 255]]
    assert shown((luma, chroma), 1, 8, 10)[0].tolist() == [[0, 2, 2, 510, 510, 1022, 1022, 1023]]


def test_checksums_by_numbers() -> None:
    planes = np.array([[1, 2]], np.uint8), np.array([[3]], np.uint8), np.array([[4]], np.uint8)
    assert checksum(planes) == zlib.crc32(bytes([1, 2, 3, 4]))
    wide = tuple(p.astype(np.uint16) * 3 for p in planes)
    assert checksum(wide) == zlib.crc32(bytes([3, 0, 6, 0, 9, 0, 12, 0]))
