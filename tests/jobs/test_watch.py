"""A folder is watched: files become work once they have stopped growing, by a clock of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvc.jobs import watch
from lvc.jobs.task import Task
from lvc.jobs.watch import Watcher
from tests.helpers.clips import Clip


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(watch, "time", found)
    return found


def test_a_file_is_work_when_it_has_stopped_growing(tmp_path: Path, clock: Clock) -> None:
    def plan(paths: list[str]) -> list[Task]:
        return [Task(path, f"{path}.lvz") for path in paths]

    def due() -> list[str]:
        clock.now += 1
        return [os.path.basename(task.source) for task in look()]

    look = Watcher(str(tmp_path), str(tmp_path / "out"), "encode", plan, settle=2.0, every=1.0)
    Clip().write(tmp_path / "clip.mp4")
    data = (tmp_path / "clip.mp4").read_bytes()
    assert [due(), due(), due(), due()] == [[], [], ["clip.mp4"], []]
    with (tmp_path / "late.mp4").open("wb", buffering=0) as file:
        for part in range(4):
            file.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
            assert [due(), due()] == [[], []]  # as it is for a second
    assert [due(), due()] == [["late.mp4"], []]
    (tmp_path / "clip.mp4").write_bytes(data + b"\0\0\0\x08free")  # written again
    (tmp_path / "late.mp4").unlink()
    assert [due(), due(), due()] == [[], [], ["clip.mp4"]]
    clock.now += 0.5
    (tmp_path / "new.mp4").write_bytes(data)
    assert look() == []  # it looks once a second
