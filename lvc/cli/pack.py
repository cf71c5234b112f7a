"""`lvc pack`: pack cached latents of any VAE into one `.lvz`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lvc.cli import inputs
from lvc.cli.report import Device, Force, Json, NoProgress, OnlyOutput, Quiet, Report, Verbose
from lvc.kinds import LVZ
from lvc.output import check_output

HELP = """
Pack latents of any VAE (safetensors, npy, pt) into one .lvz.

\b
Examples:
  lvc pack cache/ cache.lvz
  lvc pack cache/ cache.lvz --rms 0.03 --packing zstd
  lvc pack cache/ train.lvz --packing fast
  lvc pack clip.safetensors clip.lvz --lossless
  lvc pack frames/ frames.lvz --bits 2.5 --decoder taesd:taef2_decoder.pth

The error bound is checked on the written file; the default is --rms 0.01. A text file beside a clip (clip.txt) becomes
its caption. lvc unpack restores the tensors; lvc.latents.LatentDataset feeds them to PyTorch.
"""


class Packing(StrEnum):
    field = "field"
    zstd = "zstd"
    fast = "fast"


def pack(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="LATENTS… OUT", help=".safetensors, .npy and .pt files, and folders; last the .lvz to write."
        ),
    ],
    named: OnlyOutput = None,
    rms: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Largest RMS error, relative to the RMS of the values: 0.01 is 1 %."),
    ] = None,
    max_error: Annotated[float | None, typer.Option(metavar="E", help="Largest error of any value.")] = None,
    bits: Annotated[
        float | None,
        typer.Option(
            "--bits", "--target-bits", metavar="B", help="Aim at this many bits per value, over the whole file."
        ),
    ] = None,
    step: Annotated[float | None, typer.Option(metavar="S", help="The quantiser's step size; no error bound.")] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Restore every bit.")] = False,
    packing: Annotated[
        Packing, typer.Option(help="field is the smallest, zstd faster to read, fast the fastest (a byte per value).")
    ] = Packing.field,
    decoder: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Distribute errors where the decoded pictures suffer least: taesd:PATH."),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(metavar="LETTERS", help="The order of axes, such as TCHW. Default: CHW, CTHW or NCTHW."),
    ] = None,
    keys: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Pack only tensors whose names match: 'latents_*'.")
    ] = None,
    stride: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Pixels per latent, in both directions.")] = 8,
    force: Force = False,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    given = {"rms": rms, "max": max_error, "bits": bits, "step": step, "exact": 0.0 if lossless else None}
    bounds = [(kind, value) for kind, value in given.items() if value is not None]
    if len(bounds) > 1:
        raise typer.BadParameter("give only one of --rms, --max-error, --bits, --step and --lossless")
    if axes is not None and not set(axes) <= set("NCTHW"):
        raise typer.BadParameter(f"--axes {axes} may contain only the letters N, C, T, H and W")
    report = Report("pack", as_json, quiet, no_progress, verbose)
    with report.job(words[0], show=True):
        sources, output = inputs.split_required(words, named, [LVZ])
        inputs.check(sources, [LVZ], folders=True)
        check_output(sources, output, force=force, writes=[LVZ])
        from lvc.latents import Bound, pack_latents

        result = pack_latents(
            sources,
            output,
            bound=Bound(*bounds[0]) if bounds else Bound("rms", 0.01),
            packing=packing.value,
            decoder=decoder,
            axes=axes,
            keys=keys,
            stride=stride,
            force=force,
            device=device,
            progress=report.progress,
            notice=report.notice,
        )
        report.done(result)
