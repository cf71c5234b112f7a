"""`lvc encode`: a video becomes a `.lvz` file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from lvc.cli import folders, values
from lvc.cli.folders import Address, DryRun, Engine, Jobs, OutputDir, Resume, Watch
from lvc.cli.report import Device, Force, Json, NoProgress, Output, Quiet, Report, Threads, Verbose, default_output
from lvc.cli.values import MaxMemory
from lvc.errors import UsageError
from lvc.live import is_live
from lvc.output import STREAM, check_output

HELP = """
Compress a video to .lvz.

\b
Examples:
  lvc encode holiday.mp4 mail.lvz --target-size 20M --effort 7
  lvc encode videos/ --output-dir coded/ --jobs 4 --resume
  lvc encode rtsp://camera/1 camera.lvz --segment 10m --keep 7d --max-latency 5s
"""


class Packing(StrEnum):
    rans = "rans"
    zstd = "zstd"


def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="A video, a folder, an address of FFmpeg, or - (stdin).")],
    output: Annotated[
        str | None, typer.Argument(metavar="OUT", help="The .lvz to write: a file, an address, or - (stdout).")
    ] = None,
    named: Output = None,
    quality: Annotated[
        float, typer.Option("--quality", "-Q", min=0, max=100, metavar="0-100", help="Higher is better, and larger.")
    ] = 50,
    effort: Annotated[
        int, typer.Option("--effort", "-e", min=0, max=9, metavar="0-9", help="More searches longer for fewer bits.")
    ] = 4,
    tune: Annotated[
        Literal["psnr", "ssim"],
        typer.Option(metavar="psnr|ssim", help="What bits are spent on: squared error, or MS-SSIM."),
    ] = "psnr",
    target_bitrate: Annotated[
        Any, typer.Option(metavar="RATE", parser=values.amount, help="Bits of video a second instead: 800k, 2.5M.")
    ] = None,
    target_size: Annotated[
        Any, typer.Option(metavar="BYTES", parser=values.amount, help="Just below this size, by trying: 700k, 25M.")
    ] = None,
    target_psnr: Annotated[
        float | None, typer.Option(min=20, max=60, metavar="DB", help="This mean PSNR (6:1:1) instead: 38.")
    ] = None,
    target_vmaf: Annotated[
        float | None,
        typer.Option(min=10, max=99, metavar="SCORE", help="This mean VMAF, by trying: 92. Needs lvc[eval]."),
    ] = None,
    gop: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=3600, metavar="SECONDS", help="A decoder can start this often: 10; of streams, 120."
        ),
    ] = None,
    packing: Annotated[Packing, typer.Option(help="How integers become bytes; rans is denser.")] = Packing.rans,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE|ID", help="A model; lvc's own by default. Others': taesd:PATH, diffusers:FOLDER."),
    ] = None,
    audio: Annotated[
        str, typer.Option(metavar="copy|none|opus:RATE", help="Copy sound bit for bit, drop it, or code it: opus:48k.")
    ] = "copy",
    resolution: Annotated[
        str | None, typer.Option(metavar="WxH", help="Scale the video first: 1280x720, 720p, x480.")
    ] = None,
    fps: Annotated[
        str | None, typer.Option(metavar="RATE", help="Change the frame rate first: 25, 30000/1001.")
    ] = None,
    start: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.seconds, help="Begin here: 90, 1:30 or 0:01:30.5.")
    ] = None,
    duration: Annotated[Any, typer.Option(metavar="TIME", parser=values.seconds, help="Take only so much.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Decode what was written before publishing it.")] = False,
    features: Annotated[
        bool, typer.Option("--features/--no-features", help="Keep what lvc search wants to know, under 1 kbit/s.")
    ] = True,
    max_memory: MaxMemory = None,
    live: Annotated[bool, typer.Option("--live", help="IN is a stream: record it as it comes.")] = False,
    segment: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.span, help="Of a stream: a new file so often, as 60s, 10m.")
    ] = None,
    keep: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.span, help="Of a stream: delete older files, as 24h, 7d.")
    ] = None,
    max_latency: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.span, help="Of a stream: rather drop frames than be later.")
    ] = None,
    reconnect: Annotated[
        Any, typer.Option(metavar="TIME", parser=values.seconds, help="Of a stream: try so long; always by default.")
    ] = None,
    output_dir: OutputDir = None,
    jobs: Jobs = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    engine: Engine = "local",
    address: Address = None,
    force: Force = False,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    settings: dict[str, Any] = {
        "model": model,
        "quality": quality,
        "gop": 10.0 if gop is None else gop,
        "packing": packing.value,
        "effort": effort,
        "target_bitrate": target_bitrate,
        "target_psnr": target_psnr,
        "audio": audio,
        "resolution": resolution,
        "fps": fps,
        "start": start,
        "duration": duration,
        "verify": verify,
        "features": features,
        "device": device,
    }
    if max_memory is not None:
        settings["max_memory"] = max_memory
    if tune != "psnr":  # what was made before there was a choice is not stale
        settings["tune"] = tune
    if target_vmaf is not None:
        settings["target_vmaf"] = target_vmaf
    targets = [target_bitrate, target_size, target_psnr, target_vmaf]
    if folders.is_folder(source, output_dir or named):
        output_dir = output_dir or named
        report = Report("encode", as_json, quiet, no_progress, verbose)
        with report.job(source):
            if target_size is not None:
                raise UsageError("--target-size is for one file — use --target-bitrate for a folder")
            _one_target(targets)
            folders.run_folder(
                report, source, "encode", settings, output=output, output_dir=output_dir, suffix=".lvz", jobs=jobs,
                threads=threads, resume=resume, force=force, dry_run=dry_run, watch=watch,
                engine=engine, address=address,
            )  # fmt: skip
        return
    target = values.either(output, named) or default_output(source, ".lvz")
    report = Report("encode", as_json, quiet, no_progress, verbose, to_stdout=target == STREAM)
    of_streams = {"segment": segment, "keep": keep, "max_latency": max_latency, "reconnect": reconnect}
    given = {name: value for name, value in of_streams.items() if value is not None}
    if live or is_live(source) or (given and source == STREAM):
        with report.job(source):
            folders.refuse_for_a_file(output_dir=output_dir, jobs=jobs, resume=resume, dry_run=dry_run, watch=watch)
            if start is not None or verify:
                raise UsageError("a stream can be neither sought nor read again — leave out --start and --verify")
            from lvc.live.record import record

            if any(t is not None for t in targets):
                raise UsageError("a stream has a quality, no target — use --quality")
            for name in ("start", "verify", "target_bitrate", "target_psnr", "max_memory"):
                settings.pop(name, None)
            if gop is None:
                del settings["gop"]
            report.done(
                record(
                    source, target, **settings, **given, force=force, threads=threads, progress=report.progress,
                    notice=report.notice,
                )
            )  # fmt: skip
        return
    with report.job(source):
        if given:
            raise UsageError(f"--{next(iter(given)).replace('_', '-')} is for streams — add --live to record IN as one")
        folders.refuse_for_a_file(output_dir=output_dir, jobs=jobs, resume=resume, dry_run=dry_run, watch=watch)
        _one_target(targets)
        check_output(source, target, force=force)
        from lvc.files import encode_file, encode_to_size, encode_to_vmaf

        common: dict[str, Any] = {
            "force": force,
            "threads": threads,
            "progress": report.progress,
            "notice": report.notice,
        }
        if target_vmaf is not None:
            del settings["target_vmaf"]
            report.done(encode_to_vmaf(source, target, target_vmaf, **settings, **common))
            return
        if target_size is None:
            report.done(encode_file(source, target, **settings, **common))
            return
        for name in ("quality", "target_bitrate", "target_psnr"):
            del settings[name]
        report.done(encode_to_size(source, target, int(target_size), **settings, **common))


def _one_target(targets: list[float | None]) -> None:
    if sum(target is not None for target in targets) > 1:
        raise UsageError("only one of --target-bitrate, --target-size, --target-psnr and --target-vmaf can be hit")
