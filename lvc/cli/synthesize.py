"""`lvc synthesize`: pictures and videos out of a VAE's latent space."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from lvc.cli.decode import Codec, Crf, VideoCodec
from lvc.cli.report import Device, Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.errors import UsageError

HELP = """
Generate pictures and videos with a VAE.

\b
Examples:
  lvc synthesize vae.safetensors samples.png --count 12 --seed 7
  lvc synthesize vae.safetensors a.mp4@1.5 b.mp4@3 walk.mp4 --seconds 4
  lvc synthesize vae.safetensors a.mp4 b.mp4 from-clip-to-clip.mp4
  lvc synthesize vae.safetensors a.mp4 varied.mp4 --count 2 --strength 0.2

With no source: samples. With one: variations of it. With two: a walk from one to the other. NAME@SECONDS is a frame,
NAME alone a clip, which keeps playing during a walk. MODEL comes from lvc train --family vae, or is a gan that started
from one. The same seed gives the same result (docs/families.md).
"""


def synthesize(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL [IN [IN]] OUT",
            help="The model, up to two videos or .lvz, and the .png, .jpg or video to write.",
        ),
    ],
    count: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Samples or variations. Default: 16 or 1.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Size of the output. Default: the first source's, or 256x256.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, metavar="N", help="Length of a walk.")] = 4.0,
    fps: Annotated[
        str | None, typer.Option(metavar="RATE", help="Frame rate. Default: the first source's, or 25.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, metavar="0-1", help="Variations: 0 is the clip itself, 1 a sample.")
    ] = 0.3,
    prior: Annotated[
        Literal["fitted", "normal"],
        typer.Option(
            metavar="fitted|normal",
            help="Sample the distribution fitted to the training footage, or the standard normal one.",
        ),
    ] = "fitted",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the random numbers.")] = 0,
    codec: Codec = None,
    crf: Crf = None,
    force: Force = False,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    if not 2 <= len(words) <= 4:
        raise typer.BadParameter("give the model, up to two sources, and the output")
    model, *sources, target = words
    report = Report("synthesize", as_json, quiet, no_progress, verbose)
    with report.job(target):
        from lvc.synthesize import synthesize_file

        report.done(
            synthesize_file(
                model, target, sources, count=count, size=_size(size), seconds=seconds, fps=fps, strength=strength,
                prior=prior, seed=seed, codec=(codec or VideoCodec.h264).value, crf=crf,
                force=force, threads=threads, device=device, progress=report.progress, notice=report.notice,
            )
        )  # fmt: skip


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise UsageError(f"--size {text!r} — write it as 256x256")
    return int(found[1]), int(found[2])
