"""Tables fit their width, and show every figure at every width."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from lvc.evaluation.measure import Measured
from lvc.evaluation.metrics import FrameQuality
from lvc.evaluation.point import Point
from lvc.evaluation.table import Grid, gap_table, means_table, point_table, verdict_table
from lvc.evaluation.verdicts import verdicts

CODECS = {"lvc": 0.0, "x264:medium": 1.0, "x264:medium:psnr": 1.7, "svtav1:6": 3.0}


@pytest.fixture
def points() -> list[Point]:
    found = []
    for clip in ("a.mp4", "introduction to linear algebra, lecture 7.mp4"):
        for at in (20, 40, 60, 80):
            for codec, gain in CODECS.items():
                y = 30 + at / 5 + gain
                speed = Measured(96, 1234.56, 321.09, 2**30, macs=1e8, cpu_seconds=0.01)
                found.append(
                    Point(
                        clip,
                        codec,
                        at,
                        at,
                        640,
                        480,
                        25,
                        96,
                        int(9000 * 1.03**at),
                        quality=FrameQuality(
                            y, y, y, y, 0.9 + at / 1000, 0.9, 0.91 + at / 1000, 60 + at / 3, 59 + at / 3
                        ),
                        encode=speed,
                        decode=speed,
                    )  # fmt: skip
                )
    return found


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_every_figure_is_there_and_nothing_is_wider(points: list[Point], width: int) -> None:
    found = verdicts(points)
    grids = [point_table(points), means_table(points), verdict_table(found), gap_table(found)]
    for grid in filter(None, grids):
        text = grid.text(width).plain
        assert max(cell_len(line) for line in text.splitlines()) <= width
        for cells, _ in grid.rows:
            assert all(cell in text for cell in cells[grid.keys :])
        assert not re.search(r"\d…", text)


def test_what_does_not_fit_beside_follows_below_with_its_keys() -> None:
    grid = Grid(("codec", "first", "second"), 1)
    grid.add("a.mp4")
    grid.add("lvc", "12345", "67890")
    assert grid.text(40).plain == "codec  first  second\na.mp4\nlvc    12345   67890\n"
    assert grid.text(12).plain == "codec  first\na.mp4\nlvc    12345\n\ncodec  second\na.mp4\nlvc     67890\n"


def test_what_nobody_measured_has_no_column(points: list[Point]) -> None:
    bare = [Point("a.mp4", "lvc", 20, 20, 64, 48, 25, 9, 900, quality=FrameQuality(40, 41, 42, 40.5))]
    text = point_table([*bare, Point("b.mp4", "lvc", 20, 20, error="broken")]).text(80).plain
    assert "VMAF" not in text and "fps" not in text and "error" in text and "40.50" in text


def test_wide_letters_count_twice() -> None:
    grid = Grid(("codec", "x"), 1)
    grid.add("東京の夜景の長い名前の動画", "1")
    assert max(cell_len(line) for line in grid.text(20).plain.splitlines()) <= 20
