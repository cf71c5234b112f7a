"""`lvc train`: makes a model from video and photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lvc.cli import inputs
from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.kinds import SAFETENSORS
from lvc.output import check_output

HELP = """
Train a model on video and photographs.

\b
Examples:
  lvc train footage/ photos/ mine.safetensors --minutes 240
  lvc train camera7/ camera7.safetensors --init default.safetensors --minutes 20
  lvc train footage/ tiny.safetensors --max-steps 20 --batch 2 --crop 128
  torchrun --nproc-per-node 4 -m lvc train footage/ mine.safetensors

Killed or interrupted, the same command goes on where it was; --restart begins anew. With torchrun every process
trains on --batch streams of its own; docs/training.md.
"""


def train(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA… OUT", help="Folders or files, video and photographs; then the .safetensors to write."
        ),
    ],
    named: Annotated[
        str | None, typer.Option("--output", "--out", "-o", metavar="OUT", help="Another way to name OUT.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Frames, log and state. Default: OUT with .work.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, metavar="N", help="Time to train; earlier runs count.")] = 120,
    max_steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many steps.")] = None,
    init: Annotated[Path | None, typer.Option(metavar="FILE", help="Start from this model.")] = None,
    part: Annotated[
        Literal["both", "intra", "inter"],
        typer.Option(metavar="both|intra|inter", help="Train key frames' codec alone, or the predicted frames'."),
    ] = "both",
    tune: Annotated[
        Literal["psnr", "ssim"],
        typer.Option(metavar="psnr|ssim", help="What the model is to be good at; ssim: MS-SSIM."),
    ] = "psnr",
    restart: Annotated[bool, typer.Option("--restart", help="Do not go on from what FOLDER holds.")] = False,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Streams in one step.")] = 5,
    crop: Annotated[int, typer.Option(min=64, metavar="SIDE", help="A multiple of 64.")] = 256,
    chain: Annotated[int, typer.Option(min=1, metavar="N", help="Longest run of predicted frames.")] = 32,
    max_height: Annotated[int, typer.Option(min=64, metavar="ROWS", help="Larger footage is scaled down.")] = 432,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("train", as_json, quiet, no_progress, verbose)
    with report.job(named or words[-1]):
        names, output = inputs.split_required(words, named, [SAFETENSORS])
        data, out = [Path(name) for name in names], Path(output)
        work = work or out.with_suffix(".work")
        going_on = (work / "state.safetensors").exists()  # then it has written OUT itself
        read = names if init is None else [*names, str(init)]
        check_output(read, output, force=force or going_on, writes=[SAFETENSORS])
        from lvc.training.loop import train as run
        from lvc.training.settings import TrainSettings

        settings = TrainSettings(
            data=tuple(data),
            out=out,
            work=work,
            minutes=minutes,
            max_steps=max_steps,
            init=init,
            part=part,
            tune=tune,
            resume=not restart,
            batch=batch,
            crop=crop,
            chain=chain,
            max_height=max_height,
            seed=seed,
            threads=threads,
        )
        try:
            run(settings, report.event)
        except KeyboardInterrupt:
            report.notice("stopped: the same command goes on from what was saved")
            raise
