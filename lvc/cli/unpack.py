"""`lvc unpack`: latents in a `.lvz` become safetensors again."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Verbose

HELP = """
Give the tensors in a .lvz back as safetensors.

\b
Examples:
  lvc unpack cache.lvz
  lvc unpack cache.lvz back/ --name clip_0001
  lvc unpack clip.lvz clip.safetensors
"""


def unpack(
    source: Annotated[str, typer.Argument(metavar="IN", help="A .lvz that lvc pack wrote.")],
    output: Annotated[
        str | None, typer.Argument(metavar="OUT", help="A folder, or a .safetensors. Default: IN without its ending.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="Only this tensor; may be given several times.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("unpack", as_json, quiet, no_progress, verbose)
    with report.job(source):
        from lvc.latents import unpack_latents

        target = output or os.path.splitext(source)[0]
        report.done(unpack_latents(source, target, names=names, force=force, progress=report.progress))
