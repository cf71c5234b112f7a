"""`lvc unpack`: the latents of a `.lvz` as arrays."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lvc.cli import inputs, values
from lvc.cli.report import Force, Json, NoProgress, OnlyOutput, Quiet, Report, Threads, Verbose
from lvc.errors import UsageError
from lvc.kinds import LVZ, kind_by_name, kind_of_file

HELP = """
Unpack the latents in a .lvz as arrays: safetensors or .npz.

\b
Examples:
  lvc unpack holiday.lvz holiday.safetensors --start 0:30 --end 0:40
  lvc unpack holiday.lvz holiday.npz --intra
  lvc unpack cache.lvz back/ --name clip_0001
"""


def unpack(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IN… [OUT]",
            help="IN: .lvz files. OUT, if there is one IN: a .safetensors, a .npz, or for packed tensors a folder. "
            "Default: IN as .safetensors, or without its ending.",
        ),
    ],
    named: OnlyOutput = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Restore only this packed tensor; may be given several times."),
    ] = None,
    start: Annotated[
        Any,
        typer.Option(
            metavar="TIME", parser=values.seconds, help="Start at the key frame before this time (videos only)."
        ),
    ] = None,
    end: Annotated[
        Any,
        typer.Option(
            metavar="TIME", parser=values.seconds, help="Stop at the key frame after this time (videos only)."
        ),
    ] = None,
    intra: Annotated[
        bool, typer.Option("--intra", help="Add the latents of each frame as a key frame (videos only).")
    ] = False,
    threads: Threads = None,
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

            result = unpack_latents(
                source, output, names=names, start=start, end=end, intra=intra, threads=threads, force=force,
                progress=report.progress, notice=report.notice,
            )  # fmt: skip
            report.done(result)
    report.finish()


def _is_lvz(name: str) -> bool:
    return kind_by_name(name) == LVZ or kind_of_file(name) == LVZ
