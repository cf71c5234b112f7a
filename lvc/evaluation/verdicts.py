"""BD figures of every metric: lvc against the anchors, and a second model against the first.

SSIM and MS-SSIM are compared as -10·log10(1 - x), in dB: near 1 they are too flat to interpolate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvc.evaluation.bd import Delta, bd_quality, bd_rate
from lvc.evaluation.metrics import IDENTICAL, FrameQuality
from lvc.evaluation.point import SAME_SIZE, Point

METRICS = {
    "psnr_y": "PSNR-Y",
    "vmaf": "VMAF",
    "vmaf_neg": "VMAF-NEG",
    "ssim_y": "SSIM-Y",
    "ms_ssim_y": "MS-SSIM",
    "st_lpips": "ST-LPIPS ↓",
    "psnr_yuv": "PSNR-YUV",
    "psnr_611": "PSNR 6:1:1",
}
"""Metrics in the order of reports. 6:1:1 comes last: for black-and-white film, almost no error in chroma moves it by
decibels."""
STRUCTURAL = ("ssim_y", "ms_ssim_y")
DISTANCES = ("st_lpips",)
"""Metrics for which less is better: compared as -10·log10, like SSIM's difference to 1."""


@dataclass(frozen=True)
class Verdict:
    """`codec` against `anchor` on a clip: BD-rate in % (negative: fewer bits), BD-quality in dB or points of VMAF.

    `gap`: how much better `codec` is at equal size, as a mean over the qualities at which both have files of equal
    size; `None` if there are none.
    """

    clip: str
    codec: str
    anchor: str
    metric: str
    rate: Delta
    quality: Delta
    gap: float | None = None


@dataclass(frozen=True)
class Mean:
    """Over the `count` of `clips` clips that have a BD-rate, `gap` over those that have one; None where none has."""

    codec: str
    anchor: str
    metric: str
    rate: float | None
    quality: float | None
    count: int
    clips: int
    gap: float | None = None


def value(quality: FrameQuality, metric: str) -> float | None:
    """A metric on the scale on which curves are compared."""
    plain: float | None = getattr(quality, metric)
    if plain is None or metric not in STRUCTURAL + DISTANCES:
        return plain
    lack = plain if metric in DISTANCES else 1 - plain
    return min(IDENTICAL, -10 * math.log10(lack)) if lack > 0 else IDENTICAL


def verdicts(points: Sequence[Point]) -> list[Verdict]:
    """For all clips and metrics in `points`: every lvc against every anchor and against the first lvc."""
    found = []
    for clip in dict.fromkeys(p.clip for p in points):
        mine = [p for p in points if p.clip == clip and p.quality is not None]
        models = list(dict.fromkeys(p.codec for p in mine if p.is_lvc))
        others = list(dict.fromkeys(p.codec for p in mine if not p.is_lvc))
        for metric in METRICS:
            curves = {codec: _curve(mine, codec, metric) for codec in (*models, *others)}
            for anchor, codec in [(o, m) for o in others for m in models] + [(models[0], m) for m in models[1:]]:
                a, b = curves[anchor], curves[codec]
                if a and b:
                    gap = _gap(mine, codec, anchor, metric)
                    found.append(Verdict(clip, codec, anchor, metric, bd_rate(a, b), bd_quality(a, b), gap))
    return found


def _curve(points: Iterable[Point], codec: str, metric: str) -> list[tuple[float, float]]:
    """(bpp, quality) of a codec; empty where the metric was not measured."""
    figures = [(p.bpp, value(p.quality, metric)) for p in points if p.codec == codec and p.quality is not None]
    return [(bpp, quality) for bpp, quality in figures if quality is not None]


def _gap(points: Sequence[Point], codec: str, anchor: str, metric: str) -> float | None:
    own = {p.at: p for p in points if p.codec == codec and p.at is not None}
    pairs = [(own[p.at], p) for p in points if p.codec == anchor and p.at in own]
    alike = [(a, b) for a, b in pairs if abs(b.bytes / max(1, a.bytes) - 1) <= SAME_SIZE]
    figures = [[value(p.quality, metric) for p in pair if p.quality] for pair in alike]
    return _average([a - b for a, b in figures if a is not None and b is not None])


def _average(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def means(verdicts: Sequence[Verdict]) -> list[Mean]:
    """One for each pair and metric, in the order in which they were met; plain means of the clips' figures."""
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for v in verdicts:
        groups.setdefault((v.codec, v.anchor, v.metric), []).append(v)
    found = []
    for (codec, anchor, metric), mine in groups.items():
        rates = [v.rate.value for v in mine if v.rate.value is not None]
        gains = [v.quality.value for v in mine if v.quality.value is not None]
        gaps = [v.gap for v in mine if v.gap is not None]
        rate, gain, gap = map(_average, (rates, gains, gaps))
        found.append(Mean(codec, anchor, metric, rate, gain, len(rates), len(mine), gap))
    return found


def dataset_means(points: Sequence[Point]) -> list[dict[str, float | str | None]]:
    """Means over the clips for each codec at each of lvc's qualities and of its own CRFs: bpp, quality and speeds.

    Only clips with all of the run's points count, so that all rows cover the same clips; `clips` is their number.
    Steady speeds are means over those of them on which all codecs have one. `crf` is `None` for a row of a quality of
    lvc, `at` for the others.
    """
    groups: dict[tuple[str, float | None, float | None], dict[str, Point]] = {}
    for p in (p for p in points if p.quality):
        groups.setdefault((p.codec, p.at, p.setting if p.at is None else None), {})[p.clip] = p
    clips = [c for c in dict.fromkeys(p.clip for p in points) if all(c in group for group in groups.values())]
    steady = {job: _steady(job, clips, list(groups.values())) for job in ("encode", "decode")}
    rows = []
    for (codec, at, crf), group in groups.items() if clips else ():
        mine = [group[clip] for clip in clips]
        row: dict[str, float | str | None] = {"codec": codec, "at": at, "crf": crf, "clips": len(clips)}
        row["bpp"] = sum(p.bpp for p in mine) / len(mine)
        for metric in METRICS:
            row[metric] = _mean([getattr(p.quality, metric) for p in mine])
        for job in ("encode", "decode"):
            measured = [getattr(p, job) for p in mine]
            row[f"{job}_fps"] = _mean([getattr(group[clip], job).fps for clip in steady[job]])
            row[f"{job}_fps_process"] = _mean([m and m.fps_process for m in measured])
            row[f"{job}_starved"] = float(any(m and m.starved for m in measured))
        rows.append(row)
    return rows


def _steady(job: str, clips: list[str], groups: Sequence[dict[str, Point]]) -> list[str]:
    """The clips for which all codecs have a steady speed."""
    measured = {clip: [getattr(group[clip], job) for group in groups] for clip in clips}
    return [clip for clip, all_of in measured.items() if all(m is not None and m.fps is not None for m in all_of)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
