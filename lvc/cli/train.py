"""`lvc train`: makes a model from video and photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lvc.cli.report import Json, NoProgress, Quiet, Report, Threads, Verbose

HELP = """
Train a model on video and photographs.

\b
Examples:
  lvc train footage/ photos/ --out mine.safetensors --minutes 240
  lvc train camera7/ --init default.safetensors --out camera7.safetensors --minutes 20
  lvc train footage/ --out tiny.safetensors --max-steps 20 --batch 2 --crop 128
  torchrun --nproc-per-node 4 -m lvc train footage/ --out mine.safetensors

Killed or interrupted, the same command goes on where it was; --restart begins anew. With torchrun every process
trains on --batch streams of its own; docs/training.md.
"""


def train(
    data: Annotated[list[Path], typer.Argument(metavar="DATA…", help="Folders or files: video and photographs.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The model to write: a .safetensors.")],
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
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("train", as_json, quiet, no_progress, verbose)
    with report.job(str(out)):
        from lvc.training.loop import train as run
        from lvc.training.settings import TrainSettings

        settings = TrainSettings(
            data=tuple(data),
            out=out,
            work=work or out.with_suffix(".work"),
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
        run(settings, report.event)
