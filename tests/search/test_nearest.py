"""The nearest of many vectors, against comparing all."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.features import DIMENSIONS, unit
from lvc.search import nearest
from lvc.search.nearest import EXACT, Nearest


def some(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (count, DIMENSIONS)).astype(np.int8)


def brute(vectors: np.ndarray, vector: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(-(unit(vectors) @ unit(vector[None])[0]), kind="stable")[:count]


def test_few_are_compared_exactly() -> None:
    vectors, vector = some(500), some(1, 1)[0]
    rows, scores = Nearest(vectors).search(vector, 10)
    assert list(rows) == list(brute(vectors, vector, 10))
    assert np.allclose(scores, unit(vectors[rows]) @ unit(vector[None])[0], atol=1e-4)
    assert len(Nearest(vectors).search(vector, 900)[0]) == 500
    assert len(Nearest(vectors[:0]).search(vector, 5)[0]) == 0


def test_many_by_their_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "SHORTLIST", 2000)
    vectors, queries = some(EXACT * 2), some(20, 1)
    index = Nearest(vectors)
    found = [len({*index.search(q, 10)[0]} & {*brute(vectors, q, 10)}) for q in queries]
    assert sum(found) >= 0.9 * 200  # of random vectors, the hardest case
    row, score = index.search(vectors[777], 1)
    assert row[0] == 777 and score[0] == pytest.approx(1, abs=1e-3)


def test_zeros_match_nothing() -> None:
    vectors = some(100)
    vectors[7] = 0
    _, scores = Nearest(vectors).search(np.zeros(DIMENSIONS, np.int8), 100)
    assert not scores.any()
