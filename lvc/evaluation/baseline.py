"""The gate: lvc's size and quality, point by point, against a baseline file.

The file is JSON, meant to be committed: settings, model, and bpp, PSNR-Y and PSNR-YUV of every clip and quality. Sizes
and PSNR do not depend on the machine's speed, so the gate works anywhere. PSNR-YUV is sensitive to colour;
PSNR 6:1:1 would also vary where black-and-white film has almost no error in chroma.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvc import __version__
from lvc.errors import MediaError, UsageError
from lvc.evaluation.plan import Plan
from lvc.evaluation.point import Point
from lvc.output import publish

RENEW = "renew it with --update-baseline"
PSNRS = {"psnr_y": "PSNR-Y", "psnr_yuv": "PSNR-YUV"}


@dataclass(frozen=True)
class Tolerance:
    """`bpp`: as a share of the baseline's. `psnr`: in dB."""

    bpp: float = 0.01
    psnr: float = 0.05


@dataclass(frozen=True)
class Baseline:
    settings: dict[str, Any]
    figures: dict[tuple[str, float], dict[str, float]]  # (clip, quality) → bpp and `PSNRS`


def settings_of(plan: Plan) -> dict[str, Any]:
    """The settings that must be equal for a comparison. The model may differ: the gate tests it."""
    return {
        "frames": plan.frames,
        "max_height": plan.max_height,
        "whole_files": plan.whole_files,
        **{k: plan.settings.get(k) for k in ("gop", "packing")},
    }


def read(path: Path, plan: Plan) -> Baseline:
    """Raises `MediaError` if it is not a baseline, `UsageError` if it was measured with other settings."""
    try:
        values = json.loads(path.read_text())
        rows = values["points"]
        figures = {(r["clip"], float(r["quality"])): {k: float(r[k]) for k in ("bpp", *PSNRS)} for r in rows}
        settings = dict(values["settings"])
    except FileNotFoundError as e:
        raise UsageError(f"no such baseline: {path} — make it with --update-baseline") from e
    except (ValueError, KeyError, TypeError, OSError) as e:
        raise MediaError(f"{path} is not a baseline of lvc eval — make one with --update-baseline") from e
    for name, value in settings_of(plan).items():
        if name not in settings:
            raise UsageError(f"the baseline is an older lvc's — {RENEW}")
        if (was := settings[name]) != value:
            option = f"--{name.replace('_', '-')}"
            how = f"without {option}" if was in (None, False) else f"with {option}{'' if was is True else f' {was}'}"
            raise UsageError(f"the baseline was measured {how} — do the same, or {RENEW}")
    return Baseline(settings, figures)


def write(path: Path, points: Sequence[Point], plan: Plan) -> None:
    """Write all of lvc's points. Raises `MediaError` if a point failed."""
    mine = [p for p in points if p.is_lvc]
    if not mine or any(p.error or p.quality is None for p in points):
        raise MediaError(f"{path} was not written, because some points could not be measured — fix that first")
    rows = [
        {"clip": p.clip, "quality": p.setting, "frames": p.frames, "bytes": p.bytes, "bpp": round(p.bpp, 6),
         **{name: round(getattr(p.quality, name), 4) for name in PSNRS}}
        for p in mine if p.quality
    ]  # fmt: skip
    head = {"lvc": __version__, "model": mine[0].model, "settings": settings_of(plan)}
    with publish(str(path), force=True) as temporary:
        lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
        temporary.write_text(json.dumps(head, indent=2)[:-2] + f',\n  "points": [\n{lines}\n  ]\n}}\n')


def complaints(points: Sequence[Point], baseline: Baseline, tolerance: Tolerance) -> list[tuple[str, str]]:
    """(clip, what is worse and by how much) for every point that is worse.

    Raises `UsageError` for points that are not in the baseline."""
    found = []
    for p in (p for p in points if p.is_lvc and p.quality):
        if (p.clip, p.setting) not in baseline.figures:
            raise UsageError(f"{p.clip} at quality {p.setting:g} is not in the baseline — {RENEW}")
        before = baseline.figures[p.clip, p.setting]
        bpp = before["bpp"]
        gained, worse = p.bpp / bpp - 1, []
        if gained > tolerance.bpp:
            worse.append(f"{gained:.2%} more bits ({p.bpp:.5f} instead of {bpp:.5f} bpp, {tolerance.bpp:.2%} allowed)")
        for name, title in PSNRS.items():
            was, now = before[name], getattr(p.quality, name)
            if was - now > tolerance.psnr:
                what = f"{was - now:.3f} dB less {title}"
                worse.append(f"{what} ({now:.3f} instead of {was:.3f} dB, {tolerance.psnr:g} allowed)")
        if worse:
            found.append((p.clip, f"got worse at quality {p.setting:g}: {', '.join(worse)}"))
    return found


def parse_tolerance(text: str) -> float:
    """`1%` or `0.01` as a share. Raises UsageError."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:
        raise UsageError(f"--tolerance-bpp {text!r} is not a share — write it as 1% or 0.01")
    return value
