"""`lvc decode`: turn a `.lvz` file into a video that every player opens."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from lvc.cli import folders, inputs, values
from lvc.cli.folders import Address, DryRun, Engine, HowToRun, Jobs, OutputDir, Resume, Watch
from lvc.cli.report import (
    Device,
    Force,
    Json,
    NoProgress,
    Output,
    Quiet,
    Report,
    Strict,
    Threads,
    Verbose,
    default_output,
)
from lvc.cli.values import MaxMemory
from lvc.errors import UsageError
from lvc.kinds import VIDEOS
from lvc.options import DecodeOptions
from lvc.output import check_output
from lvc.place import STREAM

HELP = """
Decompress a .lvz to a video.

\b
Examples:
  lvc decode holiday.lvz part.mkv --start 1:30 --end 1:45 --codec ffv1
  lvc decode https://example.org/film.lvz part.mp4 --start 12:00 --duration 10
  lvc decode holiday.lvz fast.mp4 --every 4
  lvc decode coded/ --output-dir videos/ --container mkv
"""


class VideoCodec(StrEnum):
    h264 = "h264"
    hevc = "hevc"
    av1 = "av1"
    ffv1 = "ffv1"


class Container(StrEnum):
    mp4 = "mp4"
    mkv = "mkv"
    mov = "mov"
    webm = "webm"
    y4m = "y4m"


# How a video is written, and which part of IN; shared with `lvc interpolate`.
Start = Annotated[
    Any, typer.Option(metavar="TIME", parser=values.seconds, help="Start at this time: 90, 1:30 or 0:01:30.5.")
]
End = Annotated[Any, typer.Option(metavar="TIME", parser=values.seconds, help="Stop before this time.")]
Codec = Annotated[
    VideoCodec | None,
    typer.Option(help="The codec of OUT; ffv1 is lossless. Default: h264, for 10 bits hevc, in .webm av1."),
]
Crf = Annotated[
    float | None,
    typer.Option(min=0, max=63, metavar="0-63", help="The quality of that codec; lower means better and larger."),
]
Kind = Annotated[Container | None, typer.Option(help="The container, if OUT's ending does not tell.")]


def decode(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IN… [OUT]",
            help="IN: .lvz files, or a URL, one folder, or - (stdin). OUT, if there is one IN: a .mp4, .mkv, .mov, "
            ".webm, .y4m, or - (stdout, y4m). Default: IN with the ending .mp4.",
        ),
    ],
    named: Output = None,
    start: Start = None,
    end: End = None,
    duration: Annotated[Any, typer.Option(metavar="TIME", parser=values.seconds, help="Stop after this much.")] = None,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Decode only frames 0, N, 2N, …; fast where N is a power of 2.")
    ] = 1,
    codec: Codec = None,
    crf: Crf = None,
    container: Kind = None,
    audio: Annotated[
        str,
        typer.Option(metavar="copy|none|CODEC", help="Copy the sound, drop it, or re-encode it: flac, opus:96k, aac."),
    ] = "copy",
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Skip what is damaged, write the rest, report what is missing, exit with 4."),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Follow a file that is still being recorded.")] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The model that IN was made with, if lvc does not find it."),
    ] = None,
    latents: Annotated[
        str | None,
        typer.Option("--latents", metavar="FILE", help="Decode edited latents: an output of lvc unpack."),
    ] = None,
    max_memory: MaxMemory = None,
    output_dir: OutputDir = None,
    jobs: Jobs = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    engine: Engine = "local",
    address: Address = None,
    force: Force = False,
    strict: Strict = False,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    if duration is not None:
        if end is not None:
            raise typer.BadParameter("give --end or --duration, not both")
        end = (start or 0) + duration
    if strict and salvage:
        raise typer.BadParameter("--salvage skips what is damaged and --strict forbids losses: give only one of them")
    options = DecodeOptions(
        start=start, end=end, every=every, codec=codec and codec.value, crf=crf,
        container=container and container.value, audio=audio, salvage=salvage, follow=follow, model=model,
        latents=latents, threads=threads, device=device, strict=strict, max_memory=max_memory,
    )  # fmt: skip
    suffix = f".{container.value if container else 'mp4'}"
    how = HowToRun(jobs, threads, resume, force, dry_run, watch, engine, address)
    sources, output = inputs.split(words, named, VIDEOS)
    source = sources[0]
    if folders.is_folder(source, output_dir or named) and len(sources) == 1:
        report = Report("decode", as_json, quiet, no_progress, verbose)
        with report.job(source):
            _refuse_for_many(follow, latents)
            folders.run_folder(
                report, source, options, how, output=None if output == named else output,
                output_dir=output_dir or named, suffix=suffix,
            )  # fmt: skip
        return
    if len(sources) > 1 or output_dir is not None:
        report = Report("decode", as_json, quiet, no_progress, verbose)
        with report.job(source):
            _refuse_for_many(follow, latents)
            inputs.check(sources, VIDEOS, "--crf")
            outputs = inputs.outputs(sources, suffix, VIDEOS, output=output, output_dir=output_dir)
            folders.run_files(report, sources, outputs, options, how)
        return
    target = output or default_output(source, suffix)
    report = Report("decode", as_json, quiet, no_progress, verbose, to_stdout=target == STREAM)
    with report.job(source, show=True):
        inputs.check(sources, VIDEOS, "--crf")
        how.refuse_for_a_file()
        if output is None:
            inputs.check_unnamed(source, target, force)
        check_output(source, target, force=force, writes=VIDEOS)
        from lvc.files import decode_video

        result = decode_video(source, target, options, force=force, progress=report.progress, notice=report.notice)
        report.done(result)
        result.raise_for_damage()


def _refuse_for_many(follow: bool, latents: str | None) -> None:
    if follow:
        raise UsageError("--follow reads a single file that is being recorded — give that file alone")
    if latents is not None:
        raise UsageError("--latents belongs to one file — give that file alone")
