"""`lvc features`: feature vectors of videos, for other tools."""

from __future__ import annotations

from typing import Annotated

import typer

from lvc.cli import inputs
from lvc.cli.report import Force, Json, OnlyOutput, Quiet, Report, Threads, Verbose
from lvc.kinds import TABLES
from lvc.output import check_output, publish
from lvc.results import Facts, counted

HELP = """
Write feature vectors of videos, for classification, tagging and clustering.

\b
Examples:
  lvc features holiday.lvz holiday.npz
  lvc features archive/*.lvz archive/*.mp4 archive.parquet
  lvc features camera.mp4 --every 0.25 camera.npz

One row per moment: path, time in seconds, and a unit vector of 64 numbers. docs/search.md trains a classifier on them.
"""


def features(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE… OUT", help="Videos and pictures, .lvz or not; last the .npz or .parquet to write."
        ),
    ],
    named: OnlyOutput = None,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=3600,
            metavar="SECONDS",
            help="Distance between moments; ignores the vectors stored in a .lvz. Default: 1.",
        ),
    ] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("features", as_json, quiet, verbose=verbose)
    rows = []
    with report.job(named or words[-1]):
        from fractions import Fraction
        from pathlib import Path

        files, output = inputs.split_required(words, named, TABLES)
        inputs.check(files, TABLES)
        check_output(files, output, force=force, writes=TABLES)
        from lvc.features import SPACING
        from lvc.search.export import check_ending, table_of, write_table
        from lvc.search.sources import moments_of

        check_ending(output)
        spacing = SPACING if every is None else Fraction(every).limit_denominator(1000)
        for file in files:
            rows.append((file, moments_of(file, spacing=spacing, threads=threads, stored=every is None)))
            report.event({"event": "read", "path": file, "moments": len(rows[-1][1].times)})
        table = table_of(rows)
        with publish(output, force=force) as unfinished:
            write_table(table, unfinished, Path(output).suffix.lower())
        values = {"files": len(files), "moments": len(table.path)}
        report.done(Facts(values, text=f"{counted(len(table.path), 'moment')} of {counted(len(files), 'file')}"))
