"""`lvc eval`: quality, size and speed beside classical encoders."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lvc.cli.report import Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.errors import LvcError, UsageError

if TYPE_CHECKING:
    from lvc.evaluation.point import Point
    from lvc.evaluation.run import Plan, Verdict

HELP = """
Encode and decode real files; measure quality, size and speed beside classical encoders.

\b
Examples:
  lvc eval holiday.mp4
  lvc eval clips/*.mp4 --frames 96 --max-height 480 --anchors x264:medium,svtav1:6
  lvc eval holiday.mp4 --model mine.safetensors --quality 30,50,70,90 --csv points.csv

PSNR and SSIM are those of the 4:2:0 planes at the source's size. bpp counts every byte of the file on disk, audio
left out. Anchors are bare elementary streams at the encoder's own GOP, at the CRF that meets lvc's size within 2 %
(≠: none does). Speeds are frames per second in the steady state and, in brackets, of the whole process with its start.
"""


def evaluate(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Videos; bare .yuv as name_352x288_30.yuv.")],
    model: Annotated[
        str | None, typer.Option(metavar="FILE|ID", help="A model; the one that comes with lvc by default.")
    ] = None,
    quality: Annotated[str, typer.Option("--quality", "-Q", metavar="LIST", help="lvc's points.")] = "20,40,60,80",
    anchors: Annotated[
        str, typer.Option(metavar="LIST", help="CODEC:PRESET of x264, x265, svtav1; none for lvc alone.")
    ] = "x264:medium",
    frames: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N frames.")] = None,
    max_height: Annotated[int | None, typer.Option(min=16, metavar="ROWS", help="Scale down to this first.")] = None,
    gop: Annotated[float | None, typer.Option(min=0.01, metavar="SECONDS", help="lvc's GOP.")] = None,
    packing: Annotated[str | None, typer.Option(metavar="rans|zstd", help="lvc's packing.")] = None,
    ms_ssim: Annotated[bool, typer.Option("--ms-ssim", help="Measure MS-SSIM too (slow).")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every point as CSV.")] = None,
    per_frame: Annotated[bool, typer.Option("--per-frame", help="With --json: every frame's quality.")] = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("eval", as_json, quiet, no_progress, verbose)
    with report.job("eval"):
        from lvc.evaluation import run
        from lvc.evaluation.anchors import Anchor
        from lvc.pipeline import usable_cores

        count = threads or usable_cores()
        given = {"model": model, "gop": gop, "packing": packing}
        plan = run.Plan(
            qualities=_numbers(quality),
            anchors=[Anchor.parse(a, count) for a in anchors.split(",") if a and a != "none"],
            frames=frames,
            max_height=max_height,
            multi_scale=ms_ssim,
            threads=count,
            settings={k: v for k, v in given.items() if v is not None},
        )
    points: list[Point] = []
    for clip in clips:
        with report.job(clip, go_on=True), _status(clip, quiet or no_progress or as_json) as show:
            for point in run.evaluate(Path(clip), plan):
                points.append(point)
                show(point)
                if point.error:
                    where = f"{point.codec} at {point.setting:g}: " if point.width else ""
                    report.failed(LvcError(point.error), point.exit_code, where + point.error)
                elif as_json:
                    _line("point", **point.record(per_frame))
    with report.job("eval", go_on=True):
        if csv is not None:
            from lvc.evaluation.table import write_csv

            with csv.open("w", newline="") as file:
                write_csv(file, points)
        _results(points, run.verdicts(points), plan, as_json)
    report.finish()


def _results(points: list[Point], verdicts: list[Verdict], plan: Plan, as_json: bool) -> None:
    if as_json:
        for v in verdicts:
            rate, gain = v.rate, v.quality
            _line("verdict", clip=v.clip, anchor=v.anchor, bd_rate=rate.value, bd_psnr=gain.value, note=rate.note)
        _line("done", points=len(points), failed=sum(bool(p.error) for p in points), threads=plan.threads)
        return
    from rich.console import Console

    from lvc.evaluation.bd import MIN_POINTS
    from lvc.evaluation.table import point_table, verdict_table

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(point_table(points))
    if len(plan.qualities) < MIN_POINTS:
        console.print(f"\nno BD figures: they need {MIN_POINTS} qualities")
    elif verdicts:
        console.print()
        console.print(verdict_table(verdicts))
    console.print(f"\n{plan.threads} threads; BD by PCHIP over log rate, PSNR 6:1:1; PSNR pooled over the clip's MSE")


def _numbers(text: str) -> list[float]:
    try:
        values = [float(x) for x in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= v <= 100 for v in values):
        raise UsageError(f"--quality {text!r} is no list of numbers from 0 to 100 — write it as 20,40,60,80")
    return values


def _line(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "command": "eval", **fields}, ensure_ascii=False), flush=True)


@contextlib.contextmanager
def _status(clip: str, silent: bool) -> Any:
    """On a terminal: which clip is at work, and the last point that came of it."""
    if silent or not sys.stderr.isatty():
        yield lambda point: None
        return
    from rich.console import Console

    name = os.path.basename(clip)
    with Console(stderr=True).status(f"{name} …") as status:
        yield lambda p: status.update(f"{name}: {p.codec} {p.setting:g} {p.error or f'{p.bpp:.4f} bpp'} …")
