"""`lvc verify`: check every checksum of a `.lvz`; `--full` decodes it too."""

from __future__ import annotations

from typing import Annotated

import typer

from lvc.cli import folders
from lvc.cli.folders import HowToRun, Jobs
from lvc.cli.report import Device, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.options import VerifyOptions

HELP = """
Check that .lvz files are intact.

\b
Examples:
  lvc verify holiday.lvz
  lvc verify --full holiday.lvz
  lvc verify archive/ --jobs 4 --json
"""


def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help=".lvz files, folders, or - (stdin).")],
    full: Annotated[bool, typer.Option("--full", help="Also decode every frame and check its pixels.")] = False,
    jobs: Jobs = None,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    options = VerifyOptions(full=full, threads=threads, device=device)
    report = Report("verify", as_json, quiet, no_progress, verbose)
    for file in files:
        with report.job(file, go_on=True):
            if folders.is_folder(file):
                folders.run_folder(report, file, options, HowToRun(jobs, threads))
                continue
            from lvc.facts import verified

            report.show(verified(file, options))
    report.finish()
