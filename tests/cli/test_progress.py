"""What a progress line says, and that it fits."""

from __future__ import annotations

import pytest

from lvc.cli import progress, table
from lvc.cli.progress import Pace, clock, line_of
from lvc.jobs.task import Outcome, Progress, Status, Task


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_the_speed_is_that_of_the_steady_state(clock_of: Clock) -> None:
    pace = Pace()
    assert pace.fps is None and pace.left is None and pace.share is None
    clock_of.now += 9  # the start does not count
    for second in range(1, 61):
        clock_of.now += 1
        pace.add(10 * second, 0, 1200)
    assert pace.fps == pytest.approx(10) and pace.left == pytest.approx(60) and pace.share == 0.5
    assert pace.elapsed == pytest.approx(69)
    for second in range(1, 31):  # slower from here on: what was is forgotten
        clock_of.now += 1
        pace.add(600 + 2 * second, 0, 1200)
    assert pace.fps == pytest.approx(2)


def test_a_second_pass_begins_anew(clock_of: Clock) -> None:
    pace = Pace()
    for frames in (10, 20, 5, 15):
        clock_of.now += 1
        pace.add(frames, 0, 20)
    assert pace.number == 2 and pace.fps == pytest.approx(10) and "pass 2" in line_of("a.mp4", pace, 80)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("name", ["a.mp4", "a very long name of a film " * 5, "日本.mp4"])
@pytest.mark.parametrize("total", [None, 123456])
def test_it_fits(clock_of: Clock, width: int, name: str, total: int | None) -> None:
    pace = Pace()
    assert "starting" in line_of(name, pace, width)
    for frames in (1000, 2000):
        clock_of.now += 60
        pace.add(frames, 0, total)
    line = line_of(name, pace, width)
    assert len(line) < max(width, 50)
    assert "fps" in line and ("left" in line if total else "2:00" in line)
    if width >= 80:
        assert ("─" in line and "2 %" in line and "of 123,456 frames" in line) == (total is not None)
        assert name[:6] in line
    assert line_of("a.mp4", pace, width, plain=True).isascii()


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 59.6, 61, 3723)] == ["0:00", "1:00", "1:01", "1:02:03"]


def test_the_table_of_a_folder_job(clock_of: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "time", clock_of)
    board = table.Board("videos", 4)
    first, second = Task("videos/a.mp4", "a.lvz"), Task("videos/sub/b\x1b[2J.mp4", "b.lvz")
    board.progress(Progress(first, 0, 100, 0, 0))
    board.progress(Progress(second, 0, None, 0, 0))
    clock_of.now += 10
    board.progress(Progress(first, 50, 100, 0, 0))
    board.progress(Progress(second, 20, None, 0, 0))
    assert rows(board) == [
        ["a.mp4", "50 frames", "50 %", "5.0 fps", "0:10 left"],
        ["sub/b?[2J.mp4", "20 frames", "", "2.0 fps", ""],  # a name cannot clear the screen
        ["0 of 4 files", "70 frames", "", "7.0 fps", ""],
    ]
    board.outcome(Outcome(first, Status.done, "", {"frames": 100}))
    board.outcome(Outcome(second, Status.failed, "damaged"))
    clock_of.now += 10
    assert rows(board) == [["2 of 4 files", "100 frames", "", "5.0 fps", "0:20 left"]]
    watching = table.Board("videos", None)
    watching.outcome(Outcome(first, Status.done, "", {"frames": 1}))
    assert rows(watching)[0][0] == "1 file" and rows(watching)[0][4] == ""


def rows(board: table.Board) -> list[list[str]]:
    shown = board.table()
    return [list(row) for row in zip(*([str(cell) for cell in column.cells] for column in shown.columns), strict=True)]
