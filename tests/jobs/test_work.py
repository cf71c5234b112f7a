"""A worker keeps nothing of a file that changed under it, and names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lvc.jobs.task import Job, Progress, Status, Task
from lvc.jobs.work import Worker
from lvc.options import DecodeOptions, EncodeOptions
from lvc.place import Place
from tests.helpers import fakecodec
from tests.helpers.small_footage import film


@pytest.fixture(autouse=True)
def codec_of_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    fakecodec.install_for_a_test(monkeypatch)


def encoding(**kinds: Any) -> Job:
    return Job(EncodeOptions(packing="zstd", features=False), **kinds)


def test_a_source_that_changes_while_it_is_encoded_gives_no_output(tmp_path: Path) -> None:
    """Otherwise `--resume` would take the output for that of the new file."""
    source, target = film(tmp_path / "a.mkv", frames=6), tmp_path / "out" / "a.lvz"
    task = Task(str(source), str(target))

    def grows(progress: Progress) -> None:
        with source.open("ab") as file:
            file.write(b"\0")

    outcome = Worker(encoding(), 1).do(task, grows)
    assert (outcome.status, outcome.exit_code) == (Status.failed, 3)
    assert "changed while it was read" in outcome.text and not target.exists()
    assert Worker(encoding(), 1).do(task).status is Status.done and target.exists()


def test_an_output_that_must_stay_stays(tmp_path: Path) -> None:
    source, folder = film(tmp_path / "a.mkv", frames=2), tmp_path / "out"
    folder.mkdir()
    target = folder / "a.lvz"
    (tmp_path / "link.mkv").symlink_to(source)
    before = source.read_bytes()
    for task, text in (
        (Task(str(source), str(tmp_path / "link.mkv")), "overwrite itself"),
        (Task(str(source), str(target)), "exists already"),
    ):
        target.write_bytes(b"a diary")
        outcome = Worker(encoding(), 1).do(task)
        assert outcome.exit_code == 6 and text in outcome.text
        assert target.read_bytes() == b"a diary" and source.read_bytes() == before
    outcome = Worker(encoding(force=True), 1).do(Task(str(source), str(target)))  # of another kind
    assert outcome.exit_code == 6 and target.read_bytes() == b"a diary"
    assert Worker(encoding(), 1).do(Task(str(source), str(folder / "b.lvz"))).status is Status.done
    # decoded beside the .lvz, the output may be the very video that it was made from
    (folder / "b.mkv").write_bytes(before)
    video = str(folder / "b.mkv")
    outcome = Worker(Job(DecodeOptions(), force=True), 1).do(Task(str(folder / "b.lvz"), video, Place(video).stamp()))
    assert outcome.exit_code == 6 and "may be the video that it was made from" in outcome.text
    assert (folder / "b.mkv").read_bytes() == before
