"""Bjøntegaard deltas by PCHIP, the piecewise cubic Hermite interpolation of JCT-VC's and JVET's spreadsheets.

A curve is a list of (rate, quality) points, rate in any linear unit. BD-rate interpolates log10(rate) over quality and
says how many per cent more bits `test` needs than `anchor` at equal quality (negative: fewer). BD-quality interpolates
quality over log10(rate) and says how much better `test` is at equal rate. Both average over the range that the two
curves share, never outside; where they share nothing the answer is None with the reason, not a number. Tangents are
Fritsch's and Carlson's (1980) in the weighted harmonic form of Fritsch and Butland, ends by the three-point formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Curve = Sequence[tuple[float, float]]
MIN_POINTS = 3
TOO_FEW = "too few points"


@dataclass(frozen=True)
class Delta:
    """`value` in per cent or in the metric's unit. `overlap`: the shared range as a share of the shorter curve's."""

    value: float | None
    overlap: float
    note: str = ""

    def __str__(self) -> str:
        return self.note if self.value is None else f"{self.value:+.2f}"


def bd_rate(anchor: Curve, test: Curve) -> Delta:
    """Mean difference in bits at equal quality, in per cent."""
    delta = _mean_gap(*([(q, math.log10(r)) for r, q in _frontier(c)] for c in (anchor, test)))
    return delta if delta.value is None else Delta((10**delta.value - 1) * 100, delta.overlap, delta.note)


def bd_quality(anchor: Curve, test: Curve) -> Delta:
    """Mean difference in quality at equal rate, in the metric's unit."""
    return _mean_gap(*([(math.log10(r), q) for r, q in _frontier(c)] for c in (anchor, test)))


def _frontier(curve: Curve) -> list[tuple[float, float]]:
    """Sort by rate, and remove points that cost more without being better: interpolation needs strictly rising
    curves."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(curve, key=lambda p: (p[0], -p[1])):
        if not (rate > 0 and math.isfinite(rate) and math.isfinite(quality)):
            raise ValueError(f"point ({rate}, {quality}) is not a positive rate and a finite quality")
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return kept


def _mean_gap(anchor: Curve, test: Curve) -> Delta:
    if min(len(anchor), len(test)) < MIN_POINTS:
        return Delta(None, 0.0, TOO_FEW)
    low, high = max(anchor[0][0], test[0][0]), min(anchor[-1][0], test[-1][0])
    if high <= low:
        return Delta(None, 0.0, "no overlap")
    shorter = min(anchor[-1][0] - anchor[0][0], test[-1][0] - test[0][0])
    gap = (_integral(test, low, high) - _integral(anchor, low, high)) / (high - low)
    overlap = (high - low) / shorter
    return Delta(gap, overlap, "" if overlap >= 0.5 else f"only {overlap:.0%} overlap")


def _integral(points: Curve, low: float, high: float) -> float:
    """Integrate the interpolant from `low` to `high`, both inside the points' range."""
    x, y = [p[0] for p in points], [p[1] for p in points]
    h = [b - a for a, b in zip(x, x[1:], strict=False)]
    slopes = [(b - a) / w for a, b, w in zip(y, y[1:], h, strict=False)]
    tangents = _tangents(h, slopes)
    total = 0.0
    for i, width in enumerate(h):
        begin, end = max(low, x[i]) - x[i], min(high, x[i + 1]) - x[i]
        if end <= begin:
            continue
        # y + d s + c s² + b s³ on this piece, s counted from its left end
        c = (3 * slopes[i] - 2 * tangents[i] - tangents[i + 1]) / width
        b = (tangents[i] + tangents[i + 1] - 2 * slopes[i]) / width**2
        for power, k in enumerate((y[i], tangents[i], c, b), start=1):
            total += k * (end**power - begin**power) / power
    return total


def _tangents(h: list[float], slopes: list[float]) -> list[float]:
    inner = []
    for (h0, h1), (s0, s1) in zip(zip(h, h[1:], strict=False), zip(slopes, slopes[1:], strict=False), strict=True):
        if s0 * s1 <= 0:
            inner.append(0.0)
        else:
            w0, w1 = 2 * h1 + h0, h1 + 2 * h0
            inner.append((w0 + w1) / (w0 / s0 + w1 / s1))
    return [_end(h[0], h[1], slopes[0], slopes[1]), *inner, _end(h[-1], h[-2], slopes[-1], slopes[-2])]


def _end(h0: float, h1: float, s0: float, s1: float) -> float:
    """One-sided three-point tangent, limited to prevent overshoot."""
    tangent = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    if tangent * s0 <= 0:
        return 0.0
    return 3 * s0 if s0 * s1 < 0 and abs(tangent) > 3 * abs(s0) else tangent
