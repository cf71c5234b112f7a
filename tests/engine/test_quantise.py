"""Integer layers made from float ones come near them."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.engine import program as p
from lvc.engine import quantise, reference


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Of the deviation's size."""
    return float(np.sqrt(((found - expected) ** 2).mean()) / expected.std())


def test_a_matrix_in_8_and_16_bits() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(0, 0.1, (24, 40)), rng.normal(0, 1, 24)
    x = rng.normal(0, 1, (100, 40))
    expected = x @ weight.T + bias
    seen = np.clip(np.rint(x / 0.06) + 64, 0, 127).astype(np.int64)
    w = quantise.matrix(weight, bias, [(0.06, 64)] * 40, 0.001)
    assert error(reference.product(seen, w, 0) * 0.001, expected) < 0.03
    wide = quantise.matrix(weight, bias, [(0.001, 0)] * 40, 0.001, wide=8191)
    seen = np.clip(np.rint(x / 0.001), -8191, 8191).astype(np.int64)
    assert error(reference.product(seen, wide, 0) * 0.001, expected) < 0.001


def test_sums_stay_in_bounds_whatever_the_scales() -> None:
    rng = np.random.default_rng(1)
    for scale in (1e-6, 1e-3, 1e-1):
        weight, bias = rng.normal(0, scale, (8, 1000)), rng.normal(0, 100 * scale, (3, 8))
        for wide in (0, 32767):
            w = quantise.matrix(weight, bias, [(1.0, 0 if wide else 64)] * 1000, 0.5, wide=wide)
            p._check_sums(w, 8, 1000, 3, wide or 127, p.LIMIT_16 if wide else p.LIMIT_8)
    with pytest.raises(ValueError, match="no room"):
        quantise.matrix(weight * 1e5, bias, [(1.0, 64)] * 1000, 0.5)


def test_a_block_comes_near_its_float_self() -> None:
    rng = np.random.default_rng(2)
    c = 32
    shapes = (c, c), (c, 3, 3), (c, c), (2 * c, c), (c, c)
    weights = [(rng.normal(0, np.prod(s[1:]) ** -0.5, s), rng.normal(0, 0.1, s[0])) for s in shapes]
    t = rng.normal(0, 1, (12, 16, c))

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, x / 8, x)

    (a, ab), (d, db), (b, bb), (f, fb), (g, gb) = weights
    x = np.pad(leaky(t @ a.T + ab), ((1, 1), (1, 1), (0, 0)))
    x = sum(x[i : i + 12, j : j + 16] * d[:, i, j] for i in range(3) for j in range(3)) + db
    expected = t + x @ b.T + bb
    u, v = np.split(expected @ f.T + fb, 2, -1)
    expected = expected + (leaky(u) * v) @ g.T + gb
    layer = quantise.block(
        0, 1, weights, 1 / 512, (5, 5), (64, 64), ((1 / 28, 16), (1 / 20, 64), (1 / 6, 60)), (1 / 22, 1 / 22)
    )
    found = reference.block(layer, np.rint(t * 512).astype(np.int64)) / 512
    assert error(found - t, expected - t) < 0.1
