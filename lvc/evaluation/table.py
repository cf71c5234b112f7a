"""Points and verdicts for people: rich tables. For machines: CSV with the fields of `Point.record`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import IO

from rich.table import Table

from lvc.evaluation.measure import Measured
from lvc.evaluation.point import FIELDS, Point
from lvc.evaluation.verdicts import METRICS, Verdict, dataset_means, means

NOTHING = "–"


def point_table(points: Sequence[Point]) -> Table:
    """One row for each point; columns of metrics that nobody measured are left out.

    ≠: the size of lvc's file is not met within 2 %.
    """
    measured = [m for m in ("ssim_y", "ms_ssim_y", "vmaf") if any(p.quality and getattr(p.quality, m) for p in points)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("clip", "codec", "q/crf"):
        table.add_column(name, no_wrap=True, justify="right" if name == "q/crf" else "left")
    speeds = ("enc fps", "dec fps", "kMAC/px", "peak MiB")
    for name in ("bpp", "PSNR-Y", "U", "V", "6:1:1", *(METRICS[m] for m in measured), *speeds):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for p in points:
        clip, before = "" if p.clip == before else p.clip, p.clip
        head = (_short(clip), p.codec, NOTHING if p.error else f"{p.setting:g}")
        if p.error or p.quality is None:
            table.add_row(*head, "error", style="red")
            continue
        q = p.quality
        far = "≠" if p.size_match is not None and abs(p.size_match) > 0.02 else ""
        table.add_row(
            *head,
            f"{far}{p.bpp:.4f}",
            *(f"{x:.2f}" for x in (q.psnr_y, q.psnr_u, q.psnr_v, q.psnr_611)),
            *(figure(getattr(q, m), m) for m in measured),
            _fps(p.encode),
            _fps(p.decode),
            _kmacs(p),
            f"{max(m.rss for m in (p.encode, p.decode) if m) / 2**20:.0f}" if p.encode and p.decode else "",
            style="bold" if p.is_lvc else "",
        )
    return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row for each clip and pair of codecs, and their means over the clips with a figure; rates and gains.

    A star: the curves share less than half of the shorter one's range.
    """
    metrics = [m for m in METRICS if any(v.metric == m for v in verdicts)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("BD-rate % (BD-quality)", no_wrap=True)
    table.add_column("clip", no_wrap=True)
    for metric in metrics:
        table.add_column(METRICS[metric], justify="right", no_wrap=True)
    overall = means(verdicts)
    for codec, anchor in dict.fromkeys((v.codec, v.anchor) for v in verdicts):
        mine = [v for v in verdicts if (v.codec, v.anchor) == (codec, anchor)]
        pair = f"{codec} to {anchor}"
        for clip in dict.fromkeys(v.clip for v in mine):
            found = {v.metric: v for v in mine if v.clip == clip}
            table.add_row(pair, _short(clip), *(_verdict(found.get(m)) for m in metrics))
            pair = ""
        total = {m.metric: m for m in overall if (m.codec, m.anchor) == (codec, anchor)}
        least, most = min(m.count for m in total.values()), max(m.count for m in total.values())
        counts = "–".join(str(n) for n in dict.fromkeys((least, most)))
        cells = [_pair(total[m].rate, total[m].quality) if m in total else NOTHING for m in metrics]
        clips = len(dict.fromkeys(v.clip for v in mine))
        table.add_row("", f"mean of {counts} of {clips}", *cells, style="bold")
    return table


def means_table(points: Sequence[Point]) -> Table:
    """Means over the clips that every codec was measured on."""
    rows = dataset_means(points)
    metrics = [m for m in METRICS if any(row[m] is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("mean", "codec", "lvc's q", "crf", "bpp", *(METRICS[m] for m in metrics), "enc fps", "dec fps"):
        table.add_column(name, justify="left" if name in ("mean", "codec") else "right", no_wrap=True)
    for number, row in enumerate(rows):
        both = ((row[f"{job}_starved"], row[f"{job}_fps"], row[f"{job}_fps_process"]) for job in ("encode", "decode"))
        speeds = (
            f"{'~' if low else ''}{figure(steady, 'fps')} ({figure(whole, 'fps')})" for low, steady, whole in both
        )
        table.add_row(
            f"of {row['clips']} clips" if not number else "",
            str(row["codec"]),
            figure(row["at"], "at"),
            figure(row["crf"], "crf"),
            figure(row["bpp"], "bpp"),
            *(figure(row[m], m) for m in metrics),
            *speeds,
            style="bold" if str(row["codec"]).startswith("lvc") else "",
        )
    return table


PLACES = {"bpp": 4, "ssim_y": 4, "ms_ssim_y": 4, "vmaf": 1, "fps": 1, "at": 0, "crf": 0}


def figure(value: float | str | None, kind: str) -> str:
    """With as many places as make sense for its kind; a dash for what was not measured."""
    return NOTHING if not isinstance(value, (int, float)) else f"{value:.{PLACES.get(kind, 2)}f}"


def write_csv(file: IO[str], points: Iterable[Point]) -> None:
    writer = csv.DictWriter(file, FIELDS)
    writer.writeheader()
    writer.writerows(p.record() for p in points)


def _verdict(v: Verdict | None) -> str:
    if v is None:
        return NOTHING
    if v.rate.value is None:
        return v.rate.note
    return _pair(v.rate.value, v.quality.value) + ("*" if v.rate.note else "")


def _pair(rate: float | None, quality: float | None) -> str:
    return f"{NOTHING if rate is None else f'{rate:+.1f}'} ({NOTHING if quality is None else f'{quality:+.2f}'})"


def _fps(measured: Measured | None) -> str:
    """Steady and, in brackets, over the whole process; ~: it had to wait for the processor."""
    if measured is None:
        return ""
    steady = NOTHING if measured.fps is None else f"{measured.fps:.1f}"
    return f"{'~' if measured.starved else ''}{steady} ({measured.fps_process:.1f})"


def _kmacs(point: Point) -> str:
    """Encoder's / decoder's."""
    both = point.kmacs_per_pixel(point.encode), point.kmacs_per_pixel(point.decode)
    return "" if None in both else "/".join(f"{x:.1f}" for x in both if x is not None)


def _short(name: str, width: int = 24) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
