"""Points and verdicts for people: rich tables. For machines: CSV with the fields of `Point.record`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import IO

from rich.table import Table

from lvc.evaluation.measure import Measured
from lvc.evaluation.point import FIELDS, Point
from lvc.evaluation.run import Verdict


def point_table(points: Iterable[Point]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("clip", "codec", "q/crf"):
        table.add_column(name, no_wrap=True, justify="right" if name == "q/crf" else "left")
    for name in ("bpp", "PSNR-Y", "U", "V", "6:1:1", "SSIM-Y", "enc fps", "dec fps", "peak MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for p in points:
        style = "bold" if p.codec == "lvc" else ""
        clip, before = "" if p.clip == before else p.clip, p.clip
        head = (_short(clip), p.codec, f"{p.setting:g}")
        if p.error or p.quality is None:
            table.add_row(*head, "error", style="red")
            continue
        q = p.quality
        far = "≠" if p.size_match is not None and abs(p.size_match) > 0.02 else ""
        table.add_row(
            *head,
            f"{far}{p.bpp:.4f}",
            *(f"{x:.2f}" for x in (q.psnr_y, q.psnr_u, q.psnr_v, q.psnr_611)),
            "" if q.ssim_y is None else f"{q.ssim_y:.4f}",
            _fps(p.encode),
            _fps(p.decode),
            f"{max(m.rss for m in (p.encode, p.decode) if m) / 2**20:.0f}" if p.encode and p.decode else "",
            style=style,
        )
    return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row per clip and anchor, and means over clips for those with a figure."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("lvc against", "clip", "BD-rate %", "BD-PSNR dB"):
        table.add_column(name, justify="right" if "BD" in name else "left", no_wrap=True)
    for anchor in dict.fromkeys(v.anchor for v in verdicts):
        mine = [v for v in verdicts if v.anchor == anchor]
        for v in mine:
            table.add_row(v.anchor, _short(v.clip), str(v.rate), str(v.quality))
        rates = [v.rate.value for v in mine if v.rate.value is not None]
        gains = [v.quality.value for v in mine if v.quality.value is not None]
        counts = " and ".join(str(n) for n in dict.fromkeys((len(rates), len(gains))))
        means = (f"{sum(x) / len(x):+.2f}" if x else "–" for x in (rates, gains))
        table.add_row(anchor, f"mean of {counts} of {len(mine)}", *means, style="bold")
    return table


def write_csv(file: IO[str], points: Iterable[Point]) -> None:
    writer = csv.DictWriter(file, FIELDS)
    writer.writeheader()
    writer.writerows(p.record() for p in points)


def _fps(measured: Measured | None) -> str:
    """Steady and, in brackets, over the whole process."""
    if measured is None:
        return ""
    steady = "–" if measured.fps is None else f"{measured.fps:.1f}"
    return f"{steady} ({measured.fps_process:.1f})"


def _short(name: str, width: int = 24) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
