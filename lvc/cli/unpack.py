"""`lvc unpack`: restore the latents in a `.lvz` as safetensors."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lvc.cli import inputs
from lvc.cli.report import Force, Json, NoProgress, OnlyOutput, Quiet, Report, Verbose
from lvc.errors import UsageError
from lvc.kinds import LVZ, kind_by_name, kind_of_file

HELP = """
Restore the tensors in a .lvz as safetensors.

\b
Examples:
  lvc unpack cache.lvz
  lvc unpack cache.lvz back/ --name clip_0001
  lvc unpack clip.lvz clip.safetensors
"""


def unpack(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IN… [OUT]",
            help="IN: .lvz files written by lvc pack. OUT, if there is one IN: a folder or a .safetensors. "
            "Default: IN without its ending.",
        ),
    ],
    named: OnlyOutput = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Restore only this tensor; may be given several times."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("unpack", as_json, quiet, no_progress, verbose)
    sources, output = words, named
    if named is None and len(words) == 2 and not _is_lvz(words[1]):
        sources, output = words[:1], words[1]
    with report.job(sources[0]):
        inputs.check(sources, [], "--name")
        if output is not None and len(sources) > 1:
            raise UsageError(f"{output} cannot be the output of {len(sources)} inputs — leave it out")
    for source in sources:
        with report.job(source, go_on=True, show=True):
            from lvc.latents import unpack_latents

            target = output or os.path.splitext(source)[0]
            if target == source:
                raise UsageError("has no ending to remove — name OUT")
            report.done(unpack_latents(source, target, names=names, force=force, progress=report.progress))
    report.finish()


def _is_lvz(name: str) -> bool:
    return kind_by_name(name) == LVZ or kind_of_file(name) == LVZ
