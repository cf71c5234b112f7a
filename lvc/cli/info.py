"""`lvc info`: the contents of a `.lvz`, from its header and index, without loading torch or PyAV."""

from __future__ import annotations

from typing import Annotated

import typer

from lvc.cli.report import Json, Report, Verbose

HELP = """
Show what .lvz files contain.

\b
Examples:
  lvc info holiday.lvz
  lvc info *.lvz https://example.org/film.lvz
  lvc info --json holiday.lvz | jq .bpp
"""


def info(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help=".lvz files, URLs, or - (stdin).")],
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("info", as_json, verbose=verbose)
    for file in files:
        with report.job(file, go_on=True):
            from lvc.facts import info_file

            report.show(info_file(file, detailed=verbose > 0, notice=report.notice))
    report.finish()
