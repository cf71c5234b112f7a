"""BD figures against the package `bjontegaard` 1.3.0 (method pchip), whose answers are also written down here."""

from __future__ import annotations

import random

import pytest

from lvc.evaluation.bd import bd_quality, bd_rate

ANCHOR = [(100.0, 30.0), (210.0, 33.1), (390.0, 35.9), (800.0, 38.2)]
TEST = [(90.0, 30.4), (180.0, 33.0), (330.0, 36.3), (700.0, 38.8)]


def test_known_values() -> None:
    assert bd_rate(ANCHOR, TEST).value == pytest.approx(-18.801200378726392, abs=1e-9)
    assert bd_quality(ANCHOR, TEST).value == pytest.approx(0.8577967152927262, abs=1e-9)


def test_half_the_rate_at_every_quality_is_minus_50_percent() -> None:
    half = [(r / 2, q) for r, q in ANCHOR]
    assert bd_rate(ANCHOR, half).value == pytest.approx(-50)
    assert bd_rate(ANCHOR, ANCHOR).value == pytest.approx(0)
    assert bd_quality(ANCHOR, [(r, q + 1.5) for r, q in ANCHOR]).value == pytest.approx(1.5)


def test_order_does_not_matter_and_dearer_points_that_are_no_better_are_left_out() -> None:
    assert bd_rate(ANCHOR[::-1], [*TEST[::-1], (500.0, 36.0)]) == bd_rate(ANCHOR, TEST)


def test_no_overlap_is_said_and_not_guessed() -> None:
    far = [(r, q + 20) for r, q in ANCHOR]
    delta = bd_rate(ANCHOR, far)
    assert delta.value is None
    assert str(delta) == "no overlap"
    assert bd_quality(ANCHOR, far).value == pytest.approx(20)
    assert bd_quality(ANCHOR, [(r * 1000, q) for r, q in ANCHOR]).note == "no overlap"
    assert "too few points" == bd_rate(ANCHOR[:2], TEST).note


def test_little_overlap_is_said() -> None:
    assert "overlap" in bd_quality(ANCHOR, [(r * 6, q) for r, q in ANCHOR]).note


def test_points_without_a_logarithm_are_refused() -> None:
    with pytest.raises(ValueError, match="positive rate"):
        bd_rate([(0.0, 30.0), *ANCHOR], TEST)


@pytest.mark.slow
def test_random_curves_agree_with_the_package() -> None:
    package = pytest.importorskip("bjontegaard", reason="pip install bjontegaard for this one")
    rng = random.Random(1)

    def curve() -> list[tuple[float, float]]:
        rate, quality, points = rng.uniform(50, 150), rng.uniform(28, 31), []
        for _ in range(5):
            points.append((rate, quality))
            rate, quality = rate * rng.uniform(1.3, 2.2), quality + rng.uniform(0.8, 3)
        return points

    for _ in range(20):
        a, t = curve(), curve()
        columns = [[p[i] for p in c] for c in (a, t) for i in (0, 1)]
        rate = package.bd_rate(*columns, method="pchip", min_overlap=0)
        quality = package.bd_psnr(*columns, method="pchip", min_overlap=0)
        assert bd_rate(a, t).value == pytest.approx(rate, abs=1e-6)
        assert bd_quality(a, t).value == pytest.approx(quality, abs=1e-6)
