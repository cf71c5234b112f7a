"""Motion compensation against a slow implementation written from its description, sample by sample."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from lvc.interpolate.compensate import FRACTION, compensate

LUMA = {0: {0: 64}, 1: {-2: 1, -1: -5, 0: 52, 1: 20, 2: -5, 3: 1}, 2: {-2: 2, -1: -10, 0: 40, 1: 40, 2: -10, 3: 2}}
LUMA[3] = {1 - k: v for k, v in LUMA[1].items()}
CHROMA = {0: {0: 64}, 1: {-1: -2, 0: 58, 1: 10, 2: -2}, 2: {-1: -4, 0: 54, 1: 16, 2: -2}}
CHROMA |= {3: {-1: -6, 0: 46, 1: 28, 2: -4}, 4: {-1: -4, 0: 36, 1: 36, 2: -4}}
CHROMA |= {8 - k: {1 - t: v for t, v in CHROMA[k].items()} for k in (1, 2, 3)}


def sample(plane: list[list[int]], y: int, x: int) -> int:
    """Edges go on for ever."""
    return plane[min(max(y, 0), len(plane) - 1)][min(max(x, 0), len(plane[0]) - 1)]


def moved(plane: list[list[int]], y: int, x: int, vy: int, vx: int, parts: int, top: int) -> int:
    """The sample at (y + vy/parts, x + vx/parts): rows first, rounded, then columns, rounded and clamped."""
    filters = LUMA if parts == 4 else CHROMA
    (wy, fy), (wx, fx) = divmod(vy, parts), divmod(vx, parts)
    total = 0
    for dy, b in filters[fy].items():
        row = sum(a * sample(plane, y + wy + dy, x + wx + dx) for dx, a in filters[fx].items())
        total += b * ((row + 32) >> 6)
    return min(max((total + 32) >> 6, 0), top)


def shares(at: int, size: int, block: int, ramp: int) -> list[tuple[int, int]]:
    """(block, weight) along one axis for sample `at`; weights sum to 2·ramp. Around an edge between two blocks the
    earlier one fades out over `ramp` samples while the later one fades in; the picture's own edges have no ramp."""
    own, inside = divmod(at, block)
    last, half = size // block - 1, ramp // 2
    if inside < half and own > 0:
        up = 2 * (inside + half) + 1
        return [(own - 1, 2 * ramp - up), (own, up)]
    if inside >= block - half and own < last:
        up = 2 * (inside - (block - half)) + 1
        return [(own, 2 * ramp - up), (own + 1, up)]
    return [(own, 2 * ramp)]


def slowly(plane: np.ndarray, motion: np.ndarray, block: int, ramp: int, parts: int) -> np.ndarray:
    """One plane [H,W] by `motion` [2,H/block,W/block] in 1/parts samples."""
    height, width = plane.shape
    rows, top = plane.tolist(), 255 if plane.dtype == np.uint8 else 255 << FRACTION
    get = functools.cache(lambda y, x, vy, vx: moved(rows, y, x, vy, vx, parts, top))
    out = np.zeros_like(plane)
    for y in range(height):
        for x in range(width):
            total = 0
            for by, wy in shares(y, height, block, ramp):
                for bx, wx in shares(x, width, block, ramp):
                    total += wy * wx * get(y, x, int(motion[1, by, bx]), int(motion[0, by, bx]))
            full = (2 * ramp) ** 2
            out[y, x] = (total + full // 2) // full
    return out


def pictures(rng: np.random.Generator, n: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 256, (n, height, width), dtype=np.uint8)
    y[:, : height // 2] = rng.choice([0, 255], (n, height // 2, width))  # overshoots
    return y, rng.integers(0, 256, (n, 2, height // 2, width // 2), dtype=np.uint8)


MOTIONS = {
    "small": lambda rng, shape: rng.integers(-9, 10, shape),
    "quarter": lambda rng, shape: rng.integers(-3, 4, shape),
    "outside": lambda rng, shape: rng.integers(-400, 401, shape),
    "far": lambda rng, shape: rng.choice([-32768, 32767, -2049, 2048, 5, 0], shape),
    "few": lambda rng, shape: (rng.random(shape) < 0.1) * rng.integers(-30, 31, shape),
}


@pytest.mark.parametrize("kind", MOTIONS)
@pytest.mark.parametrize("size", [(16, 16), (32, 16), (16, 48)], ids=str)
@pytest.mark.parametrize("fine", [False, True], ids=["8 bits", "references"])
def test_equals_the_slow_reference(kind: str, size: tuple[int, int], fine: bool) -> None:
    rng = np.random.default_rng([len(kind), *size])
    y, uv = pictures(rng, 1, *size)
    if fine:
        y, uv = (p.astype(np.int16) << FRACTION for p in (y, uv))
        uv = np.minimum(uv + rng.integers(0, 16, uv.shape, dtype=np.int16), 255 << FRACTION)
    motion = MOTIONS[kind](rng, (1, 2, size[0] // 8, size[1] // 8)).astype(np.int16)
    luma, chroma = compensate(y, uv, motion)
    assert luma.dtype == chroma.dtype == y.dtype
    assert np.array_equal(luma[0], slowly(y[0], motion[0], 8, 4, 4))
    for c in range(2):
        # chroma has half the samples: a quarter of a luma sample is an eighth of a chroma sample
        assert np.array_equal(chroma[0, c], slowly(uv[0, c], motion[0], 4, 2, 8))


def test_every_phase_of_both_axes() -> None:
    rng = np.random.default_rng(1)
    y, uv = pictures(rng, 1, 16, 16)
    for vx in range(8):
        for vy in range(0, 8, 3):
            motion = np.broadcast_to(np.array([vx, vy], np.int16)[None, :, None, None], (1, 2, 2, 2))
            luma, chroma = compensate(y, uv, motion)
            assert np.array_equal(luma[0], slowly(y[0], motion[0], 8, 4, 4))
            assert np.array_equal(chroma[0, 1], slowly(uv[0, 1], motion[0], 4, 2, 8))


def test_no_motion_is_the_identity_and_a_copy() -> None:
    y, uv = pictures(np.random.default_rng(2), 2, 32, 48)
    luma, chroma = compensate(y, uv, np.zeros((2, 2, 4, 6), np.int16))
    assert np.array_equal(luma, y) and np.array_equal(chroma, uv)
    assert not np.shares_memory(luma, y) and not np.shares_memory(chroma, uv)
    # blocks that do not move stay exact beside one that does, beyond its ramp
    motion = np.zeros((2, 2, 4, 6), np.int16)
    motion[:, :, 0, 0] = 7
    luma, chroma = compensate(y, uv, motion)
    assert np.array_equal(luma[:, 10:], y[:, 10:]) and np.array_equal(luma[:, :, 10:], y[:, :, 10:])
    assert np.array_equal(chroma[:, :, 5:], uv[:, :, 5:]) and not np.array_equal(luma, y)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_constant_pictures_stay_constant(value: int) -> None:
    rng = np.random.default_rng(value)
    y, uv = np.full((1, 48, 32), value, np.uint8), np.full((1, 2, 24, 16), 255 - value, np.uint8)
    motion = rng.integers(-32768, 32768, (1, 2, 6, 4)).astype(np.int16)
    luma, chroma = compensate(y, uv, motion)
    assert (luma == value).all() and (chroma == 255 - value).all()
    luma, chroma = compensate(y.astype(np.int16) << FRACTION, uv.astype(np.int16) << FRACTION, motion)
    assert (luma == value << FRACTION).all() and (chroma == 255 - value << FRACTION).all()


def test_whole_samples_are_moved_as_they_are() -> None:
    y, uv = pictures(np.random.default_rng(3), 1, 48, 64)
    motion = np.broadcast_to(np.array([8, -16], np.int16)[None, :, None, None], (1, 2, 6, 8))
    luma, chroma = compensate(y, uv, motion)
    assert np.array_equal(luma[0, 4:, :-2], y[0, :-4, 2:])
    assert np.array_equal(chroma[0, :, 2:, :-1], uv[0, :, :-2, 1:])


def test_a_batch_is_its_frames_one_by_one_and_inputs_are_left_alone() -> None:
    rng = np.random.default_rng(4)
    y, uv = pictures(rng, 4, 32, 32)
    motion = rng.integers(-60, 61, (4, 2, 4, 4)).astype(np.int16)
    kept = y.copy(), uv.copy(), motion.copy()
    luma, chroma = compensate(y, uv, motion)
    for n in range(4):
        one = compensate(y[n : n + 1], uv[n : n + 1], motion[n : n + 1])
        assert np.array_equal(one[0][0], luma[n]) and np.array_equal(one[1][0], chroma[n])
    assert all(np.array_equal(a, b) for a, b in zip(kept, (y, uv, motion), strict=True))


def test_views_that_are_not_contiguous_do_as_well() -> None:
    rng = np.random.default_rng(5)
    y, uv = pictures(rng, 1, 32, 64)
    motion = rng.integers(-20, 21, (1, 2, 4, 8)).astype(np.int16)
    plain = compensate(y[..., ::-1].copy(), uv[..., ::-1].copy(), motion[..., ::-1].copy())
    views = compensate(y[..., ::-1], uv[..., ::-1], motion[..., ::-1])
    assert all(np.array_equal(a, b) for a, b in zip(plain, views, strict=True))


def test_planes_that_do_not_fit_are_refused() -> None:
    y, uv = pictures(np.random.default_rng(6), 1, 32, 32)
    motion = np.ones((1, 2, 4, 6), np.int16)
    with pytest.raises((ValueError, IndexError)):
        compensate(y, uv, motion)
