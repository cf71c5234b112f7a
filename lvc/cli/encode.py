"""`lvc encode`: compress a video to a `.lvz` file."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, Literal

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
from lvc.kinds import LVZ
from lvc.live import is_live
from lvc.options import EncodeOptions, RecordOptions
from lvc.output import check_output
from lvc.place import STREAM

HELP = """
Compress a video to .lvz.

\b
Examples:
  lvc encode holiday.mp4 mail.lvz --target-size 20M --effort 7
  lvc encode *.mp4 --quality 60 --jobs 2
  lvc encode videos/ --output-dir coded/ --jobs 4 --resume
  lvc encode rtsp://camera/1 camera.lvz --segment 10m --keep 7d --max-latency 5s
"""


class BitDepth(StrEnum):
    eight = "8"
    ten = "10"


class Packing(StrEnum):
    rans = "rans"
    zstd = "zstd"


def encode(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IN… [OUT]",
            help="IN: videos, or one folder, a URL that FFmpeg opens, or - (stdin). OUT, if there is one IN: a .lvz, "
            "a URL, or - (stdout). Default: IN with the ending .lvz.",
        ),
    ],
    named: Output = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "--quality", "-q", min=0, max=100, metavar="0-100", help="Higher means better and larger. Default: 50."
        ),
    ] = None,
    effort: Annotated[
        int, typer.Option("--effort", "-e", min=0, max=9, metavar="0-9", help="Higher means slower and smaller.")
    ] = 4,
    tune: Annotated[
        Literal["psnr", "ssim"],
        typer.Option(metavar="psnr|ssim", help="The metric to optimise for: PSNR or MS-SSIM."),
    ] = "psnr",
    target_bitrate: Annotated[
        Any,
        typer.Option(
            metavar="RATE", parser=values.amount, help="Aim at this video bit rate (bits a second): 800k, 2.5M."
        ),
    ] = None,
    target_size: Annotated[
        Any,
        typer.Option(
            metavar="BYTES", parser=values.amount, help="Aim just below this file size, in several passes: 700k, 25M."
        ),
    ] = None,
    target_psnr: Annotated[
        float | None, typer.Option(min=20, max=60, metavar="DB", help="Aim at this mean PSNR (6:1:1): 38.")
    ] = None,
    target_vmaf: Annotated[
        float | None,
        typer.Option(
            min=10, max=99, metavar="SCORE", help="Aim at this mean VMAF, in several passes: 92. Needs lvc[eval]."
        ),
    ] = None,
    max_bitrate: Annotated[
        Any,
        typer.Option(
            metavar="RATE",
            parser=values.amount,
            help="Largest video bit rate, for a buffer of --buffer seconds (VBV): 2M.",
        ),
    ] = None,
    buffer: Annotated[
        float | None,
        typer.Option(min=0.1, max=600, metavar="SECONDS", help="The buffer of --max-bitrate. Default: 2."),
    ] = None,
    gop: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=3600,
            metavar="SECONDS",
            help="Longest distance between key frames. Default: 10; for streams 120.",
        ),
    ] = None,
    bit_depth: Annotated[
        BitDepth | None,
        typer.Option(help="Bits a sample. Default: those of IN, 10 where it has more than 8."),
    ] = None,
    packing: Annotated[Packing, typer.Option(help="The entropy coder; rans is the smaller one.")] = Packing.rans,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|ID", help="The model. Default: lvc's own. VAEs of others: taesd:PATH, diffusers:FOLDER."
        ),
    ] = None,
    embed_model: Annotated[
        bool,
        typer.Option("--embed-model", help="Store the model in the output, which then decodes without it."),
    ] = False,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Adapt the model to IN, if that saves more than it costs: slower than effort 9, and seldom smaller. "
            "Streams: adapt it meanwhile, for the next --segment.",
        ),
    ] = False,
    audio: Annotated[
        str,
        typer.Option(
            metavar="copy|none|opus:RATE", help="Copy the sound bit for bit, drop it, or re-encode it: opus:48k, flac."
        ),
    ] = "copy",
    resolution: Annotated[
        str | None, typer.Option(metavar="WxH", help="Scale the video: 1280x720, 720p, x480.")
    ] = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="Change the frame rate: 25, 30000/1001.")] = None,
    start: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.seconds, help="Start at this time: 90, 1:30 or 0:01:30.5.")
    ] = None,
    duration: Annotated[Any, typer.Option(metavar="TIME", parser=values.seconds, help="Encode only this much.")] = None,
    close_gaps: Annotated[
        bool,
        typer.Option("--close-gaps", help="Remove jumps in time of more than 5 s, as in recordings that were joined."),
    ] = False,
    allow_playlists: Annotated[
        bool,
        typer.Option(
            "--allow-playlists", help="Allow IN to be a playlist (HLS, DASH, concat) that refers to other files."
        ),
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Decode and check the result before publishing it.")] = False,
    features: Annotated[
        bool, typer.Option("--features/--no-features", help="Store feature vectors for lvc search, under 1 kbit/s.")
    ] = True,
    max_memory: MaxMemory = None,
    live: Annotated[bool, typer.Option("--live", help="Treat IN as a live stream and record it.")] = False,
    segment: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.span, help="Streams: start a new file this often: 60s, 10m.")
    ] = None,
    keep: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.span, help="Streams: delete files older than this: 24h, 7d.")
    ] = None,
    max_latency: Annotated[
        Any,
        typer.Option(
            metavar="TIME", parser=values.span, help="Streams: drop frames rather than fall further behind: 5s."
        ),
    ] = None,
    reconnect: Annotated[
        Any,
        typer.Option(
            metavar="TIME", parser=values.seconds, help="Streams: how long to try to reconnect. Default: for ever."
        ),
    ] = None,
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
    options = EncodeOptions(
        model=model, quality=50.0 if quality is None else quality, gop=10.0 if gop is None else gop,
        packing=packing.value, effort=effort, tune=tune, features=features, threads=threads, device=device,
        target_bitrate=target_bitrate, target_psnr=target_psnr, target_size=target_size, target_vmaf=target_vmaf,
        max_bitrate=max_bitrate, buffer=EncodeOptions.buffer if buffer is None else buffer,
        audio=audio, resolution=resolution, fps=fps, start=start, duration=duration, close_gaps=close_gaps,
        allow_playlists=allow_playlists, verify=verify, embed_model=embed_model, adapt=adapt,
        strict=strict, max_memory=max_memory, bit_depth=None if bit_depth is None else int(bit_depth),
    )  # fmt: skip
    targets = {
        "--target-bitrate": target_bitrate, "--target-size": target_size, "--target-psnr": target_psnr,
        "--target-vmaf": target_vmaf,
    }  # fmt: skip
    how = HowToRun(jobs, threads, resume, force, dry_run, watch, engine, address)
    sources, output = inputs.split(words, named, [LVZ])
    source = sources[0]
    of_streams = {"segment": segment, "keep": keep, "max_latency": max_latency, "reconnect": reconnect}
    given = {name: value for name, value in of_streams.items() if value is not None}
    if buffer is not None and max_bitrate is None:
        raise typer.BadParameter("--buffer is for --max-bitrate — give that too")
    if folders.is_folder(source, output_dir or named) and len(sources) == 1:
        report = Report("encode", as_json, quiet, no_progress, verbose)
        with report.job(source):
            _refuse_playlists(allow_playlists)
            _check_targets(quality, targets)
            _check_adapting(options)
            folders.run_folder(
                report, source, options, how, output=None if output == named else output,
                output_dir=output_dir or named, suffix=".lvz",
            )  # fmt: skip
        return
    if len(sources) > 1 or output_dir is not None:
        report = Report("encode", as_json, quiet, no_progress, verbose)
        with report.job(source):
            if live or given or any(is_live(name) for name in sources):
                raise UsageError("only one stream can be recorded at a time — give one, and its output with -o")
            _refuse_playlists(allow_playlists)
            _check_targets(quality, targets)
            _check_adapting(options)
            inputs.check(sources, [LVZ], "-q")
            outputs = inputs.outputs(sources, ".lvz", [LVZ], output=output, output_dir=output_dir)
            folders.run_files(report, sources, outputs, options, how)
        return
    target = output or default_output(source, ".lvz")
    report = Report("encode", as_json, quiet, no_progress, verbose, to_stdout=target == STREAM)
    if live or is_live(source) or (given and source == STREAM):
        with report.job(source, show=True):
            how.refuse_for_a_file()
            if start is not None or verify:
                raise UsageError("a stream cannot be read twice or from a later place — leave out --start and --verify")
            from lvc.live.record import record

            if any(t is not None for t in targets.values()):
                raise UsageError("a stream cannot have a target — use --quality")
            if embed_model:
                raise UsageError("every segment of a stream would contain the model — leave out --embed-model")
            if close_gaps:
                raise UsageError("a stream is timed by its arrival and has no gaps to close — leave out --close-gaps")
            if strict:
                raise UsageError("a recording does not stop if something is lost — leave out --strict")
            report.done(
                record(
                    source, target, _of_a_stream(options, gop, segment, keep, max_latency, reconnect), force=force,
                    progress=report.progress, status=report.recording, notice=report.notice,
                )
            )  # fmt: skip
        return
    with report.job(source, show=True):
        inputs.check(sources, [LVZ], "-q")
        if given:
            raise UsageError(
                f"--{next(iter(given)).replace('_', '-')} is for streams — add --live to record IN as a stream"
            )
        how.refuse_for_a_file(dry_run=True)
        _check_targets(quality, targets)
        check_output(source, target, force=force, writes=[LVZ])
        if dry_run:
            from lvc.files.forecast import forecast

            report.done(forecast(source, target, options, force=force, notice=report.notice))
            return
        from lvc.files import encode_video

        report.done(
            encode_video(source, target, options, force=force, progress=report.progress, notice=report.notice)
        )  # fmt: skip


def _of_a_stream(
    options: EncodeOptions,
    gop: float | None,
    segment: float | None,
    keep: float | None,
    max_latency: float | None,
    reconnect: float | None,
) -> RecordOptions:
    shared: dict[str, Any] = {
        field.name: getattr(options, field.name) for field in fields(RecordOptions) if hasattr(options, field.name)
    }
    shared["gop"] = RecordOptions.gop if gop is None else gop
    return RecordOptions(
        **shared,
        segment=segment,
        keep=keep,
        max_latency=max_latency,
        reconnect=RecordOptions.reconnect if reconnect is None else reconnect,
    )


def _refuse_playlists(allowed: bool) -> None:
    if allowed:
        raise UsageError("--allow-playlists is for a single file that you trust — give that file alone")


def _check_adapting(options: EncodeOptions) -> None:
    """Raises `UsageError` for what no file of a job could be adapted with."""
    if options.adapt:
        from lvc.files.adapted import refuse_adapting

        refuse_adapting(options)


def _check_targets(quality: float | None, targets: dict[str, float | None]) -> None:
    """Raises `UsageError` if more than one target is given."""
    given = [name for name, value in targets.items() if value is not None]
    if quality is not None:
        given.insert(0, "--quality")
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} all set the quality — give only one of them")
