"""Clips through lvc and through the anchors at lvc's sizes: real files, decoded by fresh processes, then compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvc.errors import LvcError, MediaError
from lvc.evaluation import anchors
from lvc.evaluation.anchors import Anchor
from lvc.evaluation.bd import Delta, bd_quality, bd_rate
from lvc.evaluation.measure import run_job
from lvc.evaluation.metrics import ClipQuality
from lvc.evaluation.point import Point
from lvc.evaluation.rawfile import read_pictures
from lvc.evaluation.reference import make_reference
from lvc.evaluation.source import Source
from lvc.facts import verify_file


@dataclass(frozen=True)
class Plan:
    """What to measure. `settings` go to `lvc.files.encode_file` as they are (model, packing, gop …)."""

    qualities: Sequence[float] = (20, 40, 60, 80)
    anchors: Sequence[Anchor] = ()
    frames: int | None = None
    max_height: int | None = None
    multi_scale: bool = False
    threads: int = 2
    settings: dict[str, Any] = field(default_factory=dict)


def evaluate(clip: Path, plan: Plan) -> Iterator[Point]:
    """All points of one clip: for each quality lvc's, then each anchor's at the size of lvc's file.

    A failure becomes a Point with `error` and does not stop the others. Without lvc's size there is nothing to match,
    so an anchor is skipped where lvc failed.
    """
    with tempfile.TemporaryDirectory(prefix="lvc-eval-") as folder:
        work = Path(folder)
        try:
            source = make_reference(clip, work, frames=plan.frames, max_height=plan.max_height)
        except (LvcError, OSError) as e:
            yield _failed(Point(clip.name, "lvc", plan.qualities[0] if plan.qualities else 0), e)
            return
        guess = dict.fromkeys(map(str, plan.anchors), 30.0)
        for quality in plan.qualities:
            point = _lvc_point(clip, source, quality, plan, work)
            yield point
            if point.error:
                continue
            for anchor in plan.anchors:
                point_of_anchor = _anchor_point(clip, source, anchor, point.bytes, guess[str(anchor)], plan, work)
                if not point_of_anchor.error:
                    guess[str(anchor)] = point_of_anchor.setting
                yield point_of_anchor


def _lvc_point(clip: Path, source: Source, quality: float, plan: Plan, work: Path) -> Point:
    point = Point(clip.name, "lvc", quality, source.format.width, source.format.height)
    path, raw = work / "lvc.lvz", work / "decoded.raw"
    try:
        settings = {**plan.settings, "quality": quality}
        encoded = run_job("encode", "lvc", source.path, path, threads=plan.threads, settings=settings)
        decoded = run_job("decode", "lvc", path, raw, threads=plan.threads, settings=settings)
        overhead = verify_file(str(path)).values["overhead_bytes"]
        return _judged(point, source, path, raw, plan, encode=encoded, decode=decoded, overhead_bytes=overhead)
    except (LvcError, OSError, RuntimeError, ValueError) as e:
        return _failed(point, e)
    finally:
        raw.unlink(missing_ok=True)


def _anchor_point(
    clip: Path, source: Source, anchor: Anchor, target: int, start: float, plan: Plan, work: Path
) -> Point:
    point = Point(clip.name, str(anchor), start, source.format.width, source.format.height, target_bytes=target)
    path, raw = work / f"anchor{anchor.family.suffix}", work / "decoded.raw"
    try:
        best = anchors.at_size(
            lambda crf: anchors.encode(source, source.format, anchor, crf, path), target, anchor, start=start
        )
        settings = {"crf": best.crf}
        encoded = run_job("encode", str(anchor), source.path, path, threads=plan.threads, settings=settings)
        decoded = run_job("decode", str(anchor), path, raw, threads=plan.threads, reference=source.path)
        point = Point(**{**vars(point), "setting": best.crf})
        return _judged(point, source, path, raw, plan, encode=encoded, decode=decoded)
    except (LvcError, OSError, RuntimeError, ValueError) as e:
        return _failed(point, e)
    finally:
        raw.unlink(missing_ok=True)


def _judged(point: Point, source: Source, path: Path, raw: Path, plan: Plan, **measured: Any) -> Point:
    """Adds size and quality; raises MediaError where frames are missing, extra or of another size."""
    video = source.format
    if (size := measured["decode"].size) != (video.width, video.height):
        raise MediaError(f"{point.codec} gave back {size} instead of {video.width}x{video.height} — a bug, report it")
    quality = ClipQuality(multi_scale=plan.multi_scale)
    decoded = read_pictures(raw, video.width, video.height)
    for picture in source:
        if (other := next(decoded, None)) is None:
            raise MediaError(f"{point.codec} gave back only {len(quality.frames)} frames — a bug, report it")
        quality.add(picture, other)
    if next(decoded, None) is not None:
        raise MediaError(f"{point.codec} gave back more than {len(quality.frames)} frames — a bug, report it")
    figures = {"frames": len(quality.frames), "bytes": path.stat().st_size, "quality": quality.clip()}
    return Point(**{**vars(point), **figures, "per_frame": quality.frames, **measured})


def _failed(point: Point, error: Exception) -> Point:
    code = error.exit_code if isinstance(error, LvcError) else MediaError.exit_code if isinstance(error, OSError) else 1
    return Point(**{**vars(point), "error": str(error) or type(error).__name__, "exit_code": code})


@dataclass(frozen=True)
class Verdict:
    """lvc against an anchor on a clip, PSNR 6:1:1: BD-rate in % (negative: lvc needs fewer bits), BD-PSNR in dB."""

    clip: str
    anchor: str
    rate: Delta
    quality: Delta


def verdicts(points: Sequence[Point]) -> list[Verdict]:
    """Over all clips and anchors in `points`, in the order in which they were met."""
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for p in points:
        if p.quality is not None:
            curves.setdefault((p.clip, p.codec), []).append((p.bpp, p.quality.psnr_611))
    return [
        Verdict(clip, codec, bd_rate(curve, curves[clip, "lvc"]), bd_quality(curve, curves[clip, "lvc"]))
        for (clip, codec), curve in curves.items()
        if codec != "lvc" and (clip, "lvc") in curves
    ]
