"""`lvc eval` as a command, over points that are made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lvc.cli import eval as command
from lvc.errors import CorruptError, MediaError
from lvc.evaluation import run
from lvc.evaluation.measure import Measured
from lvc.evaluation.metrics import FrameQuality
from lvc.evaluation.point import Point

app = typer.Typer()
app.command("eval", help=command.HELP)(command.evaluate)


def fake(clip: Path, plan: run.Plan) -> Iterator[Point]:
    if clip.name == "absent.mp4":
        yield Point(
            clip.name, "lvc", 0, error="cannot be opened — a video file is needed", exit_code=MediaError.exit_code
        )
        return
    if clip.name == "broken.mp4":
        raise CorruptError("broken — take another")
    for quality in plan.qualities:
        for codec, gain in (("lvc", 0.0), *((str(a), 2.0) for a in plan.anchors)):
            psnr = 25 + quality / 5 + gain
            yield Point(
                clip.name,
                codec,
                quality,
                64,
                48,
                10,
                int(200 * 1.03**quality),
                quality=FrameQuality(psnr, psnr, psnr, psnr, 0.9, 0.9),
                encode=Measured(10, 31.5, 4.0, 2**28),
                decode=Measured(10, None, 5.0, 2**27),
            )


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "evaluate", fake)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_table_and_verdict() -> None:
    result = invoke("a.mp4", "b.mp4", "--threads", "2")
    assert result.exit_code == 0, result.output
    for text in ("x264:medium", "31.5 (4.0)", "– (5.0)", "256", "BD-rate", "mean of 2 of 2", "2 threads"):
        assert text in result.stdout


def test_json_lines() -> None:
    result = invoke("a.mp4", "--json", "--quality", "30,50", "--anchors", "none")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["point", "point", "done"]
    assert lines[0]["clip"] == "a.mp4" and lines[0]["encode_fps"] == 31.5 and lines[0]["decode_fps"] is None
    assert lines[-1] == {"event": "done", "command": "eval", "points": 2, "failed": 0, "threads": lines[-1]["threads"]}


def test_a_failing_clip_does_not_stop_the_rest_and_decides_the_exit_code(tmp_path: Path) -> None:
    csv = tmp_path / "points.csv"
    result = invoke("absent.mp4", "broken.mp4", "a.mp4", "--quality", "50", "--csv", str(csv))
    assert result.exit_code == MediaError.exit_code
    assert "absent.mp4: cannot be opened" in result.output and "broken.mp4: broken" in result.output
    assert "x264:medium" in result.stdout
    assert len(csv.read_text().splitlines()) == 4
    assert invoke("broken.mp4", "absent.mp4").exit_code == CorruptError.exit_code


@pytest.mark.parametrize("wrong", ["--anchors vp8", "--quality 10,x", "--quality 101", "--frames 0"])
def test_wrong_options_are_usage_errors(wrong: str) -> None:
    assert invoke("a.mp4", *wrong.split()).exit_code == 2
