"""Patches and lapping in C, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.engine import planes


def picture(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    luma, chroma = rng.integers(0, 4096, (8 * rows, 8 * columns)), rng.integers(0, 4096, (2, 4 * rows, 4 * columns))
    return luma.astype(np.int16), chroma.astype(np.int16)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (4, 10)])
def test_planes_become_patches_and_planes_again(rows: int, columns: int) -> None:
    luma, chroma = picture(rows, columns, 0)
    patches = planes.to_patches(luma, chroma, 2048)
    assert np.array_equal(patches, planes.to_patches_reference(luma, chroma, 2048))
    back = planes.to_planes(patches, 0, 2048)
    assert np.array_equal(back[0], luma) and np.array_equal(back[1], chroma)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_a_residual_is_added(shift: int, masked: bool) -> None:
    rng = np.random.default_rng(1)
    residual = rng.integers(-32768, 32768, (4, 6, 96)).astype(np.int16)
    wanted = rng.random((2, 3)) < 0.5 if masked else None
    prediction = picture(4, 6, 2)
    found = planes.to_planes(residual, shift, 0, prediction, wanted)
    expected = planes.to_planes_reference(residual, shift, 0, prediction, wanted)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
    over = prediction[0].copy(), prediction[1].copy()
    again = planes.to_planes(residual, shift, 0, over, wanted, overwrite=True)
    assert again[0] is over[0] and np.array_equal(over[0], found[0]) and np.array_equal(over[1], found[1])
    if wanted is not None:
        still = ~wanted.repeat(16, 0).repeat(16, 1)
        assert np.array_equal(found[0][still], prediction[0][still])


@pytest.mark.parametrize("n", [8, 16])
def test_lapping_and_back(n: int) -> None:
    rng = np.random.default_rng(n)
    orthonormal = np.linalg.qr(rng.normal(size=(n, n)))[0]
    matrix = np.rint(orthonormal * (1 << planes.LAP_BITS)).astype(np.int16)
    for rows, columns in ((n, n), (3 * n, 9 * n)):
        plane = (rng.integers(0, 4096, (rows, columns)) - 2048).astype(np.int16)
        there = planes.lap(plane, matrix)
        assert np.array_equal(there, planes.lap_reference(plane, matrix))
        back = planes.lap(there, np.ascontiguousarray(matrix.T))
        # along rows and along columns commute, but for rounding
        assert np.abs(back.astype(int) - plane).max() <= 6
        assert (rows == n) == np.array_equal(there, plane)


def test_a_matrix_that_could_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="overflow"):
        planes.lap(np.full((8, 8), 32767, np.int16), np.full((8, 8), 32767, np.int16))


@pytest.mark.parametrize("quality", [0, 20, 45, 80, 111, 127])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (5, 7)])
@pytest.mark.usefixtures("threads")
def test_deblocking_is_what_the_reference_says(quality: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(100 * rows + quality)
    for noise, contrast in ((2, 0.02), (30, 0.1), (200, 0.5), (2000, 1)):
        blocks = 2000 + contrast * rng.normal(0, 1000, (2 * rows, 2 * columns))
        luma = blocks.repeat(8, 0).repeat(8, 1) + rng.normal(0, noise, (16 * rows, 16 * columns))
        chroma = rng.normal(2000, noise, (2, 8 * rows, 8 * columns))
        samples = np.clip(luma, 0, 4095).astype(np.int16), np.clip(chroma, 0, 4095).astype(np.int16)
        skip = (rng.random((rows, columns)) < 0.4).astype(np.uint8)
        t = planes.THRESHOLDS[quality % 16] >> quality // 16
        for made, wanted in zip(
            planes.deblock(samples, skip, quality), planes.deblock_reference(samples, skip, t), strict=True
        ):
            np.testing.assert_array_equal(made, wanted)
        over = planes.deblock((samples[0].copy(), samples[1].copy()), skip, quality, overwrite=True)
        assert all((a == b).all() for a, b in zip(over, planes.deblock(samples, skip, quality), strict=True))


def test_deblocking_smooths_small_steps_and_keeps_edges() -> None:
    luma = np.full((32, 32), 2000, np.int16)
    luma[:, 16:] += 60
    luma[:, 24:] += 1500
    chroma = np.full((2, 16, 16), 2000, np.int16)
    coded, skipped = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    made, _ = planes.deblock((luma, chroma), coded, 40)
    assert np.abs(np.diff(made[0, 10:22].astype(int))).max() < 25  # 60 before
    np.testing.assert_array_equal(made[:, 23:], luma[:, 23:])
    np.testing.assert_array_equal(planes.deblock((luma, chroma), skipped, 40)[0], luma)
    beside = skipped.copy()
    beside[0, 0] = 0
    made, _ = planes.deblock((luma, chroma), beside, 40)
    assert made[0, 16] != luma[0, 16]  # a block that is skipped, at the edge of one that is not
    np.testing.assert_array_equal(made[19:], luma[19:])
