"""`lvc adapt`: adapt a model to a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvc.cli import inputs
from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.kinds import SAFETENSORS
from lvc.output import check_output

HELP = """
Adapt a model to a camera's footage.

\b
Examples:
  lvc adapt monday.mp4 tuesday.mp4 camera7.safetensors --minutes 10
  lvc adapt night.mkv --out night.safetensors --name camera7-night
  lvc adapt clip.mp4 mine2.safetensors --model mine.safetensors

Writes a delta of a few kilobytes that builds on the model, which stays necessary. lvc encode --model OUT uses it.
Videos encoded with a delta need it for decoding: keep it, or put it into each video with --embed-model
(docs/adaptation.md).
"""


def adapt(
    words: Annotated[
        list[str], typer.Argument(metavar="VIDEO… OUT", help="Videos of the camera; last the .safetensors to write.")
    ],
    named: Annotated[
        str | None, typer.Option("--output", "--out", "-o", metavar="OUT", help="The output, instead of OUT.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, metavar="N", help="How long to adapt, in minutes.")] = 10.0,
    max_steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Take this many excerpts and steps, instead of minutes.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="The model to adapt. Default: the default model.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The adapted model's name. Default: that of OUT.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random numbers.")] = 0,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("adapt", as_json, quiet, no_progress, verbose)
    with report.job(named or words[-1]):
        names, output = inputs.split_required(words, named, [SAFETENSORS])
        check_output(names, output, force=force, writes=[SAFETENSORS])
        report.event({"event": "stage", "phase": "starting"})  # torch takes its time
        from lvc.training.adapt import adapt as run
        from lvc.training.settings import AdaptSettings

        settings = AdaptSettings(
            tuple(Path(name) for name in names), Path(output), model, minutes, max_steps, name, seed, threads
        )
        run(settings, lambda event, **fields: report.event({"event": event, **fields}))
