"""Points and verdicts as text of a given width. For machines: CSV with the fields of `Point.record`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from lvc.evaluation.measure import Measured
from lvc.evaluation.point import FIELDS, Point
from lvc.evaluation.verdicts import METRICS, Verdict, dataset_means, means
from lvc.results import counted

NOTHING = "–"
_BETWEEN = 2  # spaces between columns


@dataclass
class Grid:
    """Rows of cells under names. The first `keys` columns identify a row, the others hold measurements.

    `text` prints as many columns as fit; the others follow below, with the keys repeated. Only keys longer than a third
    of the width are shortened. A row of one cell is a heading across all columns;
    columns in which nothing was measured are not shown.
    """

    names: Sequence[str]
    keys: int
    rows: list[tuple[Sequence[str], str]] = field(default_factory=list)

    def add(self, *cells: str, style: str = "") -> None:
        self.rows.append((cells, style))

    def text(self, width: int) -> Text:
        wide = [cells for cells, _ in self.rows if len(cells) > 1]
        columns = [i for i in range(len(self.names)) if i < self.keys or any(row[i] for row in wide)]
        widths = {i: max(cell_len(row[i]) for row in (self.names, *wide)) for i in columns}
        for i in range(self.keys):
            widths[i] = min(widths[i], max(8, width // 3))
        taken = sum(widths[i] + _BETWEEN for i in range(self.keys))
        blocks: list[list[int]] = []
        room = 0
        for i in columns[self.keys :]:
            if not blocks or room < widths[i]:
                blocks.append([])
                room = width - taken
            blocks[-1].append(i)
            room -= widths[i] + _BETWEEN
        keys = list(range(self.keys))
        return Text("\n").join([self._block(keys + block, widths, width) for block in blocks or [[]]])

    def _block(self, columns: list[int], widths: dict[int, int], width: int) -> Text:
        text = Text(no_wrap=True)
        for cells, style in ((self.names, "bold"), *self.rows):
            if len(cells) == 1:
                line = _fitted(cells[0], width)
            else:
                line = (" " * _BETWEEN).join(self._cell(cells[i], i, widths[i]) for i in columns).rstrip()
            text.append(f"{line}\n", style)
        return text

    def _cell(self, text: str, column: int, width: int) -> str:
        fitted = _fitted(text, width)
        blanks = " " * (width - cell_len(fitted))
        return fitted + blanks if column < self.keys else blanks + fitted


def point_table(points: Sequence[Point]) -> Grid:
    """A heading for each clip, below it one row for each point. ≠: lvc's size is not met within 2 %."""
    metrics = (*(METRICS[m] for m in _FIRST), "U", "V", "6:1:1")
    figures = (*_FIRST, "psnr_u", "psnr_v", "psnr_611")
    grid = Grid(("codec", "q/crf", "bpp", *metrics, "enc fps", "dec fps", "kMAC/px", "MiB"), 2)
    before = None
    for p in points:
        if p.clip != before:
            before = p.clip
            grid.add(p.clip if p.bit_depth == 8 else f"{p.clip} ({p.bit_depth} bits)", style="underline")
        q = p.quality
        if p.error or q is None:
            grid.add(p.codec, NOTHING, "error", *[""] * (len(grid.names) - 3), style="red")
            continue
        memory = f"{max(m.rss for m in (p.encode, p.decode) if m) / 2**20:.0f}" if p.encode and p.decode else ""
        grid.add(
            p.codec,
            f"{p.setting:g}",
            f"{'≠' if p.misses_size else ''}{p.bpp:.4f}",
            *("" if getattr(q, m) is None else figure(getattr(q, m), m) for m in figures),
            _fps(p.encode),
            _fps(p.decode),
            _kmacs(p),
            memory,
            style="bold" if p.is_lvc else "",
        )
    return grid


_FIRST = [m for m in METRICS if m not in ("psnr_yuv", "psnr_611")]


def verdict_table(verdicts: Sequence[Verdict]) -> Grid:
    """A heading for each pair of codecs, below it a row for each clip, and their means; rates and, in brackets, gains.

    A star: the curves share less than half of the shorter one's range.
    """
    metrics = [m for m in METRICS if any(v.metric == m for v in verdicts)]
    grid = Grid(("BD-rate % (BD-quality)", *(METRICS[m] for m in metrics)), 1)
    overall = means(verdicts)
    for codec, anchor in dict.fromkeys((v.codec, v.anchor) for v in verdicts):
        mine = [v for v in verdicts if (v.codec, v.anchor) == (codec, anchor)]
        grid.add(f"{codec} to {anchor}", style="underline")
        clips = list(dict.fromkeys(v.clip for v in mine))
        for clip in clips:
            found = {v.metric: v for v in mine if v.clip == clip}
            grid.add(clip, *(_verdict(found.get(m)) for m in metrics))
        if len(clips) > 1:
            total = {m.metric: m for m in overall if (m.codec, m.anchor) == (codec, anchor)}
            least, most = min(m.count for m in total.values()), max(m.count for m in total.values())
            counts = "–".join(str(n) for n in dict.fromkeys((least, most)))
            cells = [_pair(total[m].rate, total[m].quality) if m in total else NOTHING for m in metrics]
            grid.add(f"mean of {counts} of {len(clips)}", *cells, style="bold")
    return grid


def gap_table(verdicts: Sequence[Verdict]) -> Grid | None:
    """How much better lvc is at equal size, where there are too few points for a curve; `None` if unknown."""
    found = [m for m in means(verdicts) if m.gap is not None]
    metrics = [m for m in METRICS if any(mean.metric == m for mean in found)]
    if not found:
        return None
    grid = Grid(("at equal size", *(METRICS[m] for m in metrics)), 1)
    for codec, anchor in dict.fromkeys((m.codec, m.anchor) for m in found):
        gaps = {m.metric: m.gap for m in found if (m.codec, m.anchor) == (codec, anchor)}
        grid.add(f"{codec} to {anchor}", *(NOTHING if (gap := gaps.get(m)) is None else f"{gap:+.2f}" for m in metrics))
    return grid


def means_table(points: Sequence[Point]) -> Grid:
    """Means over the clips that every codec was measured on."""
    rows = dataset_means(points)
    grid = Grid(("codec", "lvc's q", "crf", "bpp", *METRICS.values(), "enc fps", "dec fps"), 2)
    for row in rows:
        both = ((row[f"{job}_starved"], row[f"{job}_fps"], row[f"{job}_fps_process"]) for job in ("encode", "decode"))
        speeds = (
            f"{'~' if low else ''}{figure(steady, 'fps')} ({figure(whole, 'fps')})" for low, steady, whole in both
        )
        grid.add(
            str(row["codec"]),
            figure(row["at"], "at"),
            "" if row["crf"] is None else figure(row["crf"], "crf"),
            figure(row["bpp"], "bpp"),
            *("" if row[m] is None else figure(row[m], m) for m in METRICS),
            *speeds,
            style="bold" if str(row["codec"]).startswith("lvc") else "",
        )
    if rows:
        clips = int(rows[0]["clips"] or 0)
        grid.rows.insert(0, ((f"mean of {counted(clips, 'clip')}",), "underline"))
    return grid


PLACES = {"bpp": 4, "ssim_y": 4, "ms_ssim_y": 4, "st_lpips": 4, "vmaf": 1, "vmaf_neg": 1, "fps": 1, "at": 0, "crf": 0}


def figure(value: float | str | None, kind: str) -> str:
    """Format a figure with the digits that suit its kind, or a dash if it was not measured."""
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
    """Steady speed and, in brackets, over the whole process; ~: the process had to wait for a processor."""
    if measured is None:
        return ""
    steady = NOTHING if measured.fps is None else f"{measured.fps:.1f}"
    return f"{'~' if measured.starved else ''}{steady} ({measured.fps_process:.1f})"


def _kmacs(point: Point) -> str:
    """Encoder's / decoder's."""
    both = point.kmacs_per_pixel(point.encode), point.kmacs_per_pixel(point.decode)
    return "" if None in both else "/".join(f"{x:.1f}" for x in both if x is not None)


def _fitted(name: str, width: int) -> str:
    if cell_len(name) <= width:
        return name
    return set_cell_size(name, width - 1) + "…"
