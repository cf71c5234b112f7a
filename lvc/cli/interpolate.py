"""`lvc interpolate`: new frames between those of a video."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Any

import typer

from lvc.cli import inputs, values
from lvc.cli.decode import Codec, Crf, End, Kind, Start
from lvc.cli.report import Device, Force, Json, NoProgress, OnlyOutput, Quiet, Report, Strict, Threads, Verbose
from lvc.errors import OutputExistsError
from lvc.kinds import VIDEOS
from lvc.output import about, check_output
from lvc.place import STREAM

HELP = """
Raise the frame rate of a video with new frames.

\b
Examples:
  lvc interpolate holiday.lvz smooth.mp4
  lvc interpolate holiday.mp4 sixty.mp4 --fps 60
  lvc interpolate holiday.mp4 part.mkv --factor 4 --start 0.5 --end 1 --codec ffv1

Times are kept, sound and subtitles are copied bit for bit, and cuts are never blended.
"""


class Factor(StrEnum):
    two = "2"
    four = "4"


def interpolate(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A .lvz or another video, a URL, or - (stdin, not a .lvz).")
    ],
    output: Annotated[
        str | None, typer.Argument(metavar="OUT", help="A .mp4, .mkv, .mov, .webm, .y4m, or - (stdout, y4m).")
    ] = None,
    named: OnlyOutput = None,
    factor: Annotated[
        Factor | None, typer.Option(metavar="2|4", help="Multiply the frame rate. Default: 2, unless --fps is given.")
    ] = None,
    fps: Annotated[
        str | None, typer.Option(metavar="RATE", help="Convert to this constant frame rate: 60, 60000/1001.")
    ] = None,
    start: Start = None,
    end: End = None,
    codec: Codec = None,
    crf: Crf = None,
    container: Kind = None,
    allow_playlists: Annotated[
        bool,
        typer.Option(
            "--allow-playlists", help="Allow IN to be a playlist (HLS, DASH, concat) that refers to other files."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    force: Force = False,
    strict: Strict = False,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    target = values.either(output, named)
    if target is None:
        raise typer.BadParameter("name the output, as OUT or with --output")
    report = Report("interpolate", as_json, quiet, no_progress, verbose, to_stdout=target == STREAM)
    with report.job(source, show=not dry_run):
        inputs.check([source], VIDEOS, "--factor")
        check_output(source, target, force=force, writes=VIDEOS)
        if output is not None and force and os.path.isfile(output):
            with about(output):  # a shell pattern may have expanded to a source
                raise OutputExistsError("exists already — to overwrite it, give it with --output")
        from lvc.interpolate import interpolate_file, plan_file

        settings: dict[str, Any] = {
            "factor": None if factor is None else int(factor.value),
            "fps": fps,
            "start": start,
            "end": end,
            "codec": codec and codec.value,
            "container": container and container.value,
            "force": force,
            "threads": threads,
            "allow_playlists": allow_playlists,
        }
        if dry_run:
            report.done(plan_file(source, target, **settings))
            return
        result = interpolate_file(
            source,
            target,
            **settings,
            crf=crf,
            strict=strict,
            device=device,
            progress=report.progress,
            notice=report.notice,
        )
        report.done(result)
