"""`lvc eval` as a command, over points that are made up."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lvc.cli import eval as command
from lvc.errors import CorruptError, MediaError, OutputExistsError, RegressionError
from lvc.evaluation import run
from lvc.evaluation.measure import Measured
from lvc.evaluation.metrics import FrameQuality
from lvc.evaluation.plan import Plan
from lvc.evaluation.point import Point
from lvc.evaluation.store import Store

app = typer.Typer()
app.command("eval", help=command.HELP)(command.evaluate)


def fake(clips: Mapping[Path, str], plan: Plan, store: Store, begun: object = None) -> Generator[Point]:
    for name in clips.values():
        yield from fake_clip(name, plan)


def fake_clip(name: str, plan: Plan) -> Generator[Point]:
    if name in ("absent.mp4", "broken.mp4"):
        error = MediaError("cannot be opened — give a video file") if name[0] == "a" else CorruptError("broken")
        yield Point(name, "lvc", plan.qualities[0], plan.qualities[0], error=str(error), exit_code=error.exit_code)
        return
    for quality in plan.qualities:
        for codec, gain in (("lvc", 0.0), *((str(a), 2.0) for a in plan.anchors if not a.crfs)):
            psnr = 25 + quality / 5 + gain + WORSE["psnr"]
            yield Point(
                name,
                codec,
                quality,
                quality,
                64,
                48,
                25,
                10,
                int(20000 * 1.03**quality * WORSE["bytes"]),
                quality=FrameQuality(psnr, psnr, psnr, psnr, 0.9 + quality / 1000, 0.9),
                encode=Measured(10, 31.5, 4.0, 2**28, macs=6.4e6, cpu_seconds=2.4 if codec == "lvc" else 0.9),
                decode=Measured(10, None, 5.0, 2**27, macs=3.2e6),
            )

    for anchor in plan.anchors:
        for crf in anchor.crfs:
            quality = FrameQuality(*[50 - crf / 2] * 4)
            speed = Measured(10, 31.5, 4.0, 2**28, cpu_seconds=0.9)
            yield Point(
                name, str(anchor), crf, None, 64, 48, 25, 10, 20000, quality=quality, encode=speed, decode=speed
            )


WORSE = {"psnr": 0.0, "bytes": 1.0}


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "evaluate", fake)
    monkeypatch.setitem(WORSE, "psnr", 0.0)
    monkeypatch.setitem(WORSE, "bytes", 1.0)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_table_and_verdict() -> None:
    result = invoke("a.mp4", "b.mp4", "--threads", "2")
    assert result.exit_code == 0, result.output
    for text in ("31.5 (4.0)", "– (5.0)", "256", "2.1/1.0", "BD-rate", "mean of 2 clips", "mean of 2 of 2"):
        assert text in result.stdout
    assert "lvc to x264:medium\n" in result.stdout and "lvc to x264:medium:psnr\n" in result.stdout
    busy = [line for line in result.stdout.splitlines() if "~31.5 (4.0)" in line]
    assert busy and all("x264:medium" in line for line in busy)  # it waited for the processor, lvc did not


@pytest.mark.slow
def test_one_quality_is_judged_at_equal_size() -> None:
    result = invoke("a.mp4", "--quality", "50", "--anchors", "x264:medium")
    assert result.exit_code == 0 and "at equal size" in result.stdout and "too few" not in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("lvc to x264:medium")]
    assert line.split()[3:] == ["-2.00", "+0.00", "-2.00", "-2.00"]  # PSNR-Y, SSIM-Y, PSNR-YUV, 6:1:1
    result = invoke("a.mp4", "--quality", "50", "--anchors", "x264:medium", "--json")
    verdicts = [json.loads(line) for line in result.stdout.splitlines() if '"verdict"' in line]
    assert verdicts[0]["bd_rate"] is None and verdicts[0]["gap"] == pytest.approx(-2)


@pytest.mark.slow
def test_the_anchors_alone_at_crfs() -> None:
    result = invoke("a.mp4", "--qualities", "none", "--anchors", "x264:medium@22/30.5", "--json")
    *points, done = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and [(p["codec"], p["setting"], p["at"]) for p in points] == [
        ("x264:medium", 22, None), ("x264:medium", 30.5, None)
    ]  # fmt: skip
    assert done["points"] == 2 and points[0]["encode_cpu_seconds"] == 0.9
    result = invoke("a.mp4", "--qualities", "none", "--anchors", "x264:medium@22/30.5")
    assert result.exit_code == 0 and "30.5" in result.stdout and "BD" not in result.stdout.split("threads")[0]


@pytest.mark.slow
def test_json_lines() -> None:
    result = invoke("a.mp4", "--json", "--quality", "30,50", "--anchors", "none")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["point", "point", "done"]
    assert lines[0]["clip"] == "a.mp4" and lines[0]["encode_fps"] == 31.5 and lines[0]["decode_fps"] is None
    assert lines[0]["encode_gmac_per_frame"] == 0.0064 and lines[0]["decode_kmac_per_pixel"] == 1.042
    assert lines[-1]["points"] == 2 and lines[-1]["failed"] == 0 and "PyAV" in lines[-1]["versions"]
    assert lines[-1]["settings"]["frames"] is None and "psnr" in lines[-1]["settings"]["metrics"]
    assert lines[-1]["settings"]["whole_files"] is False and "file_bytes" in lines[0]
    lines = [json.loads(line) for line in invoke("a.mp4", "--json").stdout.splitlines()]
    verdicts = [line for line in lines if line["event"] == "verdict"]
    assert [v["metric"] for v in verdicts[::2]] == ["psnr_y", "ssim_y", "psnr_yuv", "psnr_611"]
    assert [v["anchor"] for v in verdicts[:2]] == ["x264:medium", "x264:medium:psnr"]
    assert verdicts[0]["bd_rate"] > 0
    assert "libx264" in lines[-1]["versions"]["x264:medium"]


@pytest.mark.slow
def test_a_failing_clip_does_not_stop_the_rest_and_decides_the_exit_code(tmp_path: Path) -> None:
    csv = tmp_path / "points.csv"
    result = invoke("absent.mp4", "broken.mp4", "a.mp4", "--quality", "50", "--csv", str(csv))
    assert result.exit_code == MediaError.exit_code
    assert "absent.mp4: cannot be opened" in result.output and "broken.mp4: broken" in result.output
    assert "x264:medium" in result.stdout
    assert len(csv.read_text().splitlines()) == 6
    assert invoke("broken.mp4", "absent.mp4").exit_code == CorruptError.exit_code


@pytest.mark.slow
def test_outputs_are_not_overwritten_without_force(tmp_path: Path) -> None:
    csv = tmp_path / "points.csv"
    csv.write_text("mine")
    result = invoke("a.mp4", "--quality", "50", "--csv", str(csv))
    assert result.exit_code == OutputExistsError.exit_code and csv.read_text() == "mine"
    assert invoke("a.mp4", "--quality", "50", "--csv", str(csv), "--force").exit_code == 0
    assert csv.read_text().startswith("clip,codec")
    assert invoke("a.mp4", "--report", str(tmp_path / "no" / "report.html")).exit_code == 2


@pytest.mark.slow
def test_the_gate(tmp_path: Path) -> None:
    path = tmp_path / "regression.json"
    gate = ["a.mp4", "b.mp4", "--quality", "30,50", "--baseline", str(path)]
    assert invoke(*gate).exit_code == 2 and not path.exists()
    assert invoke(*gate, "--update-baseline").exit_code == 0
    before = path.read_text()
    for _ in range(2):
        result = invoke(*gate)
        assert result.exit_code == 0 and "x264" not in result.stdout
        assert f"4 points, none worse than {path}" in result.output
    assert invoke(*gate, "--quiet").output == ""
    WORSE["psnr"] = -0.04
    assert invoke(*gate).exit_code == 0
    WORSE["psnr"] = -0.2
    result = invoke(*gate)
    assert result.exit_code == RegressionError.exit_code
    assert (
        "a.mp4: got worse at quality 30: 0.200 dB less PSNR-Y (30.800 instead of 31.000 dB, 0.05 allowed)"
        in result.output
    )
    assert result.output.count("got worse") == 4
    assert invoke(*gate, "--tolerance-psnr", "0.3").exit_code == 0
    WORSE.update(psnr=1.0, bytes=1.02)
    result = invoke(*gate)
    assert result.exit_code == RegressionError.exit_code
    assert "2.00% more bits" in result.output and "dB less" not in result.output
    assert invoke(*gate, "--tolerance-bpp", "3%").exit_code == 0
    assert path.read_text() == before
    assert invoke(*gate, "--update-baseline").exit_code == 0 and invoke(*gate).exit_code == 0
    assert len(json.loads(path.read_text())["points"]) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["c.mp4"], "c.mp4 at quality 30 is not in the baseline"),
        (["--frames", "5"], "measured without --frames"),
        (["--whole-files"], "measured without --whole-files"),
        (["--tolerance-bpp", "much"], "not a share"),
        (["--model", "a", "--model", "b"], "one --model"),
        (["--qualities", "none", "--anchors", "x264@30"], "one --model, and --qualities"),
    ],
)
def test_what_a_baseline_cannot_judge(more: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "regression.json"
    gate = ["a.mp4", "--quality", "30", "--baseline", str(path)]
    assert invoke(*gate, "--update-baseline").exit_code == 0
    result = invoke(*gate, *more)
    assert result.exit_code == 2 and message in result.output


@pytest.mark.slow
def test_what_counts_is_said_and_part_of_a_baseline(tmp_path: Path) -> None:
    assert "bpp counts video bytes: lvc's clips and their description" in invoke("a.mp4").stdout
    files = invoke("a.mp4", "--whole-files")
    assert "bpp counts whole files: .lvz, and the anchors' MP4" in files.stdout
    path = tmp_path / "regression.json"
    gate = ["a.mp4", "--quality", "30", "--baseline", str(path)]
    assert invoke(*gate, "--whole-files", "--update-baseline").exit_code == 0
    assert json.loads(path.read_text())["settings"]["whole_files"] is True
    assert invoke(*gate, "--whole-files").exit_code == 0
    assert "measured with --whole-files — do the same" in invoke(*gate).output
    path.write_text(path.read_text().replace('"whole_files"', '"forgotten"'))
    assert "an older lvc's — renew it" in invoke(*gate).output


@pytest.mark.slow
def test_a_baseline_is_written_of_whole_runs_only(tmp_path: Path) -> None:
    path = tmp_path / "regression.json"
    gate = ["absent.mp4", "a.mp4", "--quality", "30", "--baseline", str(path)]
    result = invoke(*gate, "--update-baseline")
    assert result.exit_code == MediaError.exit_code and "was not written" in result.output and not path.exists()
    path.write_text("[]")
    result = invoke(*gate[1:])
    assert result.exit_code == MediaError.exit_code and "not a baseline" in result.output


@pytest.mark.parametrize(
    "wrong",
    [
        "--anchors vp8",
        "--anchors x264:medium@",
        "--anchors x264:medium@20/52",
        "--anchors x264:medium@20,x264:medium@30",
        "--anchors x264:medium:film",
        "--anchors svtav1:6:psnr",
        "--qualities none",
        "--qualities none --anchors x264:medium",
        "--qualities none --anchors none",
        "--quality 10,x",
        "--quality 101",
        "--frames 0",
        "--metrics lpips",
        "--update-baseline",
        "--jobs 0",
    ],
)
def test_wrong_options_are_usage_errors(wrong: str) -> None:
    assert invoke("a.mp4", *wrong.split()).exit_code == 2


def test_the_time_left_is_known_where_points_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("rich.console.monotonic", lambda: now)
    with command._Progress(points_per_clip=6, clips=1, shown=True) as show:
        for now in (100.0, 200.0, 300.0):  # noqa: B007 - the clock reads it
            show.done(Point("a.mp4", "lvc", 50, 50, 96, 64, 25))
        assert show._bar is not None and show._bar.tasks[0].time_remaining == 300
