"""A run as one self-contained page: curves, tables and pictures, readable from disk without a network.

The page is `page/page.html` with its style, scripts and data embedded. It shows only figures that are in the points.
Its content security policy forbids loading anything else.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lvc.evaluation.bd import TOO_FEW
from lvc.evaluation.measure import Measured
from lvc.evaluation.pictures import MIME, name_of
from lvc.evaluation.plan import Plan
from lvc.evaluation.point import Point
from lvc.evaluation.store import Store
from lvc.evaluation.verdicts import METRICS, dataset_means, means, verdicts
from lvc.evaluation.versions import versions

ASSETS = Path(__file__).parent / "page"
SCRIPTS = ("charts.js", "viewer.js", "page.js")
PLACES = {
    "psnr_y": 2,
    "vmaf": 1,
    "vmaf_neg": 1,
    "ssim_y": 4,
    "ms_ssim_y": 4,
    "st_lpips": 4,
    "psnr_yuv": 2,
    "psnr_611": 2,
}


def page(points: Sequence[Point], plan: Plan, store: Store) -> str:
    """The HTML of these points; their pictures come from `store`."""
    text = (ASSETS / "page.html").read_text(encoding="utf-8")
    data = report_data(points, plan, store)
    parts = {
        "title": html.escape("lvc eval: " + ", ".join(clip["name"] for clip in data["clips"])[:80]),
        "style": (ASSETS / "page.css").read_text(encoding="utf-8"),
        "script": "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
        # `<` is escaped, so that a clip's name cannot end the element
        "data": json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    }
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part, 1)
    return text


def report_data(points: Sequence[Point], plan: Plan, store: Store) -> dict[str, Any]:
    good = [p for p in points if p.quality is not None]
    found = verdicts(good)
    measured = {m: name for m, name in METRICS.items() if any(getattr(p.quality, m) is not None for p in good)}
    return {
        "metrics": measured,
        "places": PLACES,
        "codecs": sorted(dict.fromkeys(p.codec for p in good), key=lambda c: not c.startswith("lvc")),
        "qualities": list(plan.qualities),
        "curves": any(v.rate.note != TOO_FEW for v in found),
        "clips": [_clip(name, [p for p in good if p.clip == name], plan, store) for name in _names(good)],
        "failed": [{"clip": p.clip, "point": p.told, "error": p.error} for p in points if p.error],
        "averages": dataset_means(good),
        "means": [asdict(m) for m in means(found) if m.metric in measured],
        "verdicts": [
            {"clip": v.clip, "codec": v.codec, "anchor": v.anchor, "metric": v.metric, "rate": v.rate.value,
             "quality": v.quality.value, "note": v.rate.note, "gap": v.gap}
            for v in found if v.metric in measured
        ],
        "versions": versions(list(plan.anchors)),
        "settings": _settings(plan, good),
    }  # fmt: skip


def _names(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(p.clip for p in points))


def _settings(plan: Plan, points: Sequence[Point]) -> dict[str, str]:
    models = ", ".join(dict.fromkeys(p.model for p in points if p.model))
    told: dict[str, Any] = {
        "models": models,
        "frames": plan.frames or "all",
        "largest height": plan.max_height or "any",
    }
    told |= {"bpp counts": plan.counted, "threads": plan.threads, "points at a time": plan.jobs, **plan.settings}
    return {name: str(value) for name, value in told.items()}


def _clip(name: str, points: Sequence[Point], plan: Plan, store: Store) -> dict[str, Any]:
    first = points[0]
    return {
        "name": name,
        "width": first.width,
        "height": first.height,
        "bit_depth": first.bit_depth,
        "frames": first.frames,
        "rate": first.rate,
        "points": [_point(p) for p in points],
        **_pictures(points, plan, store),
    }


def _point(p: Point) -> dict[str, Any]:
    series = {
        m: [_rounded(getattr(f, m), m) for f in p.per_frame] for m in METRICS if p.quality and getattr(p.quality, m)
    }
    return {
        "codec": p.codec,
        "setting": p.setting,
        "at": p.at,
        "bytes": p.bytes,
        "bpp": p.bpp,
        "kbps": p.bytes * 8 / 1000 / (p.frames / p.rate) if p.rate else None,
        "far": p.misses_size,
        "quality": {m: _rounded(getattr(p.quality, m), m, 2) for m in METRICS},
        "series": series,
        "speed": {job: _speed(p, m) for job, m in (("encode", p.encode), ("decode", p.decode))},
        "key_frames": p.decode and p.decode.key_frames,
    }


def _speed(p: Point, m: Measured | None) -> dict[str, Any] | None:
    if m is None:
        return None
    return {
        "fps": m.fps, "process": m.fps_process, "starved": m.starved, "mib": round(m.rss / 2**20),
        "kmacs": p.kmacs_per_pixel(m),
    }  # fmt: skip


def _rounded(value: float | None, metric: str, more: int = 0) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, PLACES[metric] + more)


def _pictures(points: Sequence[Point], plan: Plan, store: Store) -> dict[str, Any]:
    """Of every codec at one size: lvc's at the quality that is shown. Without lvc there is none."""
    at = plan.shown
    here = [p for p in points if at is not None and p.at == at and p.pictures]
    pictures: dict[str, dict[str, str]] = {}
    for frame in here[0].pictures if here else ():
        pictures[frame] = {"original": _uri(store.picture(name_of(here[0].original, frame)))}
        pictures[frame] |= {p.codec: _uri(store.picture(p.pictures[frame])) for p in here if frame in p.pictures}
    return {"pictures": pictures, "pictures_at": at}


def _uri(path: Path) -> str:
    return f"data:{MIME};base64,{base64.b64encode(path.read_bytes()).decode()}"
