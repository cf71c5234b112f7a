"""`lvc eval`: quality, size and speed beside classical encoders."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer

from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.errors import LvcError, RegressionError, UsageError
from lvc.output import check_output, publish
from lvc.results import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from lvc.evaluation.plan import Plan
    from lvc.evaluation.point import Point
    from lvc.evaluation.table import Grid

DEFAULT_ANCHORS = "x264:medium,x264:medium:psnr"

HELP = """
Measure quality, size and speed on real files, beside classical encoders.

\b
Examples:
  lvc eval holiday.mp4
  lvc eval clips/*.mp4 --frames 96 --anchors x264:medium:psnr,x265:medium:psnr --report report.html --resume
  lvc eval clips/*.mp4 --qualities none --anchors x264:medium@20/26/32/38,svtav1:6@25/35/45/55 --resume
  lvc eval clips/*.mp4 --baseline regression.json

Metrics are computed on 4:2:0 planes at the size of the source. bpp counts the video's bytes: lvc's clips and their
description, the anchors' elementary streams; with --whole-files every byte of the .lvz (container, index, search
vectors) and of an MP4. Anchors have the encoder's default GOP, at the CRF that meets lvc's size within 2 % (≠ where
none does) or at the CRFs given. With --resume the latter are reused for the next model. By default x264 and x265
optimise for the eye: compare PSNR with x264:medium:psnr. Speeds are frames per second in the steady state and, in
brackets, of the whole process; ~ marks a machine that was busy with other work.
"""


def evaluate(
    clips: Annotated[
        list[str], typer.Argument(metavar="CLIP...", help="Videos; raw .yuv files are named like name_352x288_30.yuv.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|ID", help="The model; may be given several times. Default: lvc's own."),
    ] = None,
    qualities: Annotated[
        str,
        typer.Option(
            "--qualities",
            "--quality",
            "-Q",
            metavar="LIST",
            help="The qualities to measure lvc at; none: measure the anchors alone.",
        ),
    ] = "20,40,60,80",
    anchors: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Encoders to compare with, as CODEC:PRESET[:TUNE] of x264, x265, svtav1 and vvc, at lvc's sizes or "
            f"at CRFs as in x264:medium@22/27/32; none: lvc alone, as with --baseline. [default: {DEFAULT_ANCHORS}]",
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Any of psnr, ssim, ms-ssim, vmaf, vmaf-neg, st-lpips; all: those that are installed, but st-lpips, "
            "which is slow.",
        ),
    ] = "all",
    frames: Annotated[int | None, typer.Option(min=1, metavar="N", help="Measure only the first N frames.")] = None,
    max_height: Annotated[
        int | None, typer.Option(min=16, metavar="ROWS", help="Scale larger videos down to this height.")
    ] = None,
    gop: Annotated[float | None, typer.Option(min=0.01, metavar="SECONDS", help="lvc's GOP.")] = None,
    tune: Annotated[
        Literal["psnr", "ssim"], typer.Option(metavar="psnr|ssim", help="The metric that lvc optimises for.")
    ] = "psnr",
    packing: Annotated[str | None, typer.Option(metavar="rans|zstd", help="lvc's packing.")] = None,
    whole_files: Annotated[
        bool,
        typer.Option("--whole-files", help="Count whole files, and write the anchors into MP4. Default: video bytes."),
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="How many points at the same time; lowers measured speeds.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Keep finished points, and reuse them.")] = False,
    work: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where --resume keeps points. Default: lvc-eval.work.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write curves and pictures as one HTML page.")
    ] = None,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write every point as CSV.")] = None,
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="With --json: include the quality of every frame.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fail with exit code 8 if size or quality is worse than in FILE."),
    ] = None,
    tolerance_bpp: Annotated[str, typer.Option(metavar="SHARE", help="How many more bits to accept.")] = "1%",
    tolerance_psnr: Annotated[
        float, typer.Option(min=0, metavar="DB", help="How much less PSNR-Y and PSNR-YUV to accept.")
    ] = 0.05,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write the baseline instead of comparing with it.")
    ] = False,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    voice = Report("eval", as_json, quiet, no_progress, verbose)
    with voice.job("eval"), contextlib.ExitStack() as stack:
        for target in (report, csv):
            if target is not None:
                check_output("", target, force=force)
        if update_baseline and baseline is None:
            raise UsageError("--update-baseline needs --baseline FILE")
        from lvc import models
        from lvc.evaluation import baseline as gate
        from lvc.evaluation import plan as planning
        from lvc.evaluation import run
        from lvc.evaluation.store import Store
        from lvc.pipeline import usable_cores

        cores = planning.threads_of_a_job(threads, jobs, usable_cores())
        names = ("none" if baseline else DEFAULT_ANCHORS) if anchors is None else anchors
        wanted, left_out = planning.parse_metrics(metrics)
        plan = planning.Plan(
            qualities=planning.parse_qualities(qualities),
            anchors=planning.parse_anchors(names, cores),
            models=model or [models.tuned(None, tune)],
            frames=frames,
            max_height=max_height,
            metrics=wanted,
            threads=cores,
            jobs=jobs,
            pictures=bool(report or resume or work),
            side_by_side=report is not None,
            whole_files=whole_files,
            settings={
                k: v
                for k, v in {"gop": gop, "packing": packing, "tune": None if tune == "psnr" else tune}.items()
                if v is not None
            },
        )
        tolerance = gate.Tolerance(gate.parse_tolerance(tolerance_bpp), tolerance_psnr)
        before = gate.read(baseline, plan) if baseline and not update_baseline else None
        if baseline and (len(plan.models) > 1 or not plan.qualities):
            raise UsageError("a baseline is for a single model — give one --model, and --qualities")
        if not (plan.qualities or (plan.anchors and all(anchor.crfs for anchor in plan.anchors))):
            raise UsageError("anchors need CRFs if lvc is not measured — give them as in x264:medium@22/27/32/37")
        paths = planning.labels([Path(clip) for clip in clips])
        if left_out:
            voice.notice(left_out)
        if resume or work:
            folder = work or planning.default_store()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lvc-eval-store-")))
        store, points = Store(folder), []
        bar = not (quiet or no_progress or as_json) and sys.stderr.isatty()
        with contextlib.ExitStack() as running:
            show = running.enter_context(_Progress(plan.points_per_clip, len(paths), bar))
            measuring = running.enter_context(contextlib.closing(run.evaluate(paths, plan, store, show.begun)))
            for point in measuring:
                points.append(point)
                show.done(point)
                if point.error:
                    _failed(voice, point)
                elif as_json:
                    _line("point", **point.record(per_frame))
                elif verbose:
                    voice.notice(f"{point.clip}: {point.codec} {point.setting:g}: {point.bpp:.4f} bpp")
        points = run.in_order(points, paths, plan)
        with voice.job("eval", go_on=True):
            _write(points, plan, store, csv, report, force)
            if baseline and update_baseline:
                gate.write(baseline, points, plan)
            worse = gate.complaints(points, before, tolerance) if before else []
        if as_json or not quiet:
            _results(points, plan, as_json)
        for clip, text in worse:
            with voice.job(clip, go_on=True):
                raise RegressionError(f"{text} — if this is intended, {gate.RENEW}")
        if before and not voice.exit_code:
            voice.notice(f"{counted(len(points), 'point')}, none worse than {baseline}")
    voice.finish()


def _failed(voice: Report, point: Point) -> None:
    where = f"{point.told}: " if point.width else ""
    with voice.job(point.clip, go_on=True):
        voice.failed(LvcError(point.error), point.exit_code, where + point.error)


def _write(points: list[Point], plan: Plan, store: Any, csv: str | None, report: str | None, force: bool) -> None:
    if csv is not None:
        from lvc.evaluation.table import write_csv

        with publish(csv, force=force) as path, path.open("w", newline="", encoding="utf-8") as file:
            write_csv(file, points)
    if report is not None:
        from lvc.evaluation.report import page

        with publish(report, force=force) as path:
            path.write_text(page(points, plan, store), encoding="utf-8")


def _results(points: list[Point], plan: Plan, as_json: bool) -> None:
    from lvc.evaluation.verdicts import verdicts
    from lvc.evaluation.versions import versions

    found = verdicts(points)
    by = versions(list(plan.anchors))
    if as_json:
        for v in found:
            pair = {"clip": v.clip, "codec": v.codec, "anchor": v.anchor, "metric": v.metric}
            _line("verdict", **pair, bd_rate=v.rate.value, bd_quality=v.quality.value, gap=v.gap, note=v.rate.note)
        failed = sum(bool(p.error) for p in points)
        settings = {"frames": plan.frames, "max_height": plan.max_height, "metrics": plan.metrics}
        settings |= {"whole_files": plan.whole_files, **plan.settings}
        told = {"threads": plan.threads, "jobs": plan.jobs, "settings": settings, "versions": by}
        _line("done", points=len(points), failed=failed, **told)
        return
    from rich.console import Console

    from lvc.evaluation.bd import MIN_POINTS, TOO_FEW
    from lvc.evaluation.table import gap_table, means_table, point_table, verdict_table

    console = Console(width=None if sys.stdout.isatty() else 180)

    def show(grid: Grid) -> None:
        console.print(grid.text(console.width), crop=False, soft_wrap=True)

    show(point_table(points))
    if len({p.clip for p in points}) > 1:
        show(means_table(points))
    note = "PSNR pooled over the clip's squared error, (MS-)SSIM in dB"
    if any(v.rate.note != TOO_FEW for v in found):
        show(verdict_table(found))
        note = f"BD by PCHIP over log rate; {note}; *: little overlap"
    elif found:
        if gaps := gap_table(found):
            show(gaps)
        console.print(f"BD-rates need {MIN_POINTS} points of a codec: --qualities 20,40,60,80")
    console.print(f"bpp counts {plan.counted}")
    console.print(f"{counted(plan.threads, 'thread')}, {plan.jobs} at a time; {note}")
    console.print(", ".join(f"{name} {version}" for name, version in by.items()), highlight=False)


def _line(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "command": "eval", **fields}, ensure_ascii=False), flush=True)


class _Progress:
    """On a terminal: the current step, a bar over all points, and the time left."""

    def __init__(self, points_per_clip: int, clips: int, shown: bool) -> None:
        self._points_per_clip, self._clips, self._shown = points_per_clip, clips, shown
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.table import Column

            text = TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            )
            columns = BarColumn(bar_width=10), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
            self._bar = Progress(
                text, *columns, console=Console(stderr=True), transient=True, expand=True,
                speed_estimate_period=float("inf"),  # rich forgets after 30 s, and a point can take longer
            )  # fmt: skip
            self._bar.start()
            self._bar.add_task("starting", total=self._points_per_clip * self._clips)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begun(self, clip: str, what: str) -> None:
        if self._bar is not None:
            room = max(8, self._bar.console.width - 48 - len(what))
            name = clip if len(clip) <= room else clip[: room - 1] + "…"
            self._bar.update(self._bar.task_ids[0], description=f"{name}: {what}")

    def done(self, point: Point) -> None:
        if self._bar is not None:
            # a clip that cannot be opened gives one point, which stands for all of its points
            self._bar.advance(self._bar.task_ids[0], 1 if point.width else self._points_per_clip)
