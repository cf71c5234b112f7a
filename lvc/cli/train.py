"""`lvc train`: train a model on video and photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lvc.cli import inputs
from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.errors import UnsupportedError, UsageError
from lvc.kinds import SAFETENSORS
from lvc.output import check_output

HELP = """
Train a model on video and photographs.

\b
Examples:
  lvc train footage/ photos/ mine.safetensors --minutes 240
  lvc train camera7/ camera7.safetensors --start mine.weights.safetensors --minutes 30
  lvc train footage/ vae.safetensors --family vae --minutes 20 --loss mse=1,ms-ssim=0.02
  lvc train mine.safetensors --plot

The codec's networks for key frames and predicted frames are trained in floating point, then with integer rounding, and
written to one file. The other families are auto-encoders with continuous latents (docs/families.md).
After an interruption the same command continues; --restart starts over. Keep OUT: files encoded with it
cannot be decoded without it.
"""


def train(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA… OUT", help="Folders and files with video and photographs; last the .safetensors to write."
        ),
    ],
    named: Annotated[
        str | None, typer.Option("--output", "--out", "-o", metavar="OUT", help="The output, instead of OUT.")
    ] = None,
    family: Annotated[
        Literal["codec", "ae", "vae", "gan"],
        typer.Option(
            metavar="codec|ae|vae|gan",
            help="What to train: lvc's codec, or an auto-encoder: plain, variational, or against a discriminator.",
        ),
    ] = "codec",
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for caches, logs and checkpoints. Default: OUT with the ending .work."
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="The stages and their settings: a name or a .toml file (docs/training.md)."
        ),
    ] = "default",
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="N", help="Training time, including earlier runs. Default: set by the recipe, 120; else 60."
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Train this many steps in each stage, instead of minutes."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start",
            "--init",
            metavar="FILE",
            help="Start from these weights: OUT.weights.safetensors of an earlier training, for the other families a "
            "model. A gan needs an ae or vae.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name. Default: that of OUT.")] = None,
    tune: Annotated[
        Literal["psnr", "ssim"],
        typer.Option(metavar="psnr|ssim", help="The metric to optimise for: PSNR or MS-SSIM."),
    ] = "psnr",
    loss: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="ae, vae, gan: weights of mse, l1, ssim, ms-ssim. Default: mse=1."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="ae, vae: channels of the latents. Default: 32.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(metavar="4|8|…|128", help="ae, vae: side of the square that a latent stands for. Default: 8."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, max=8, metavar="N", help="ae, vae: frames that share a latent. Default: 1.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=8, max=512, metavar="N", help="ae, vae: channels of the network. Default: 64.")
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(min=0, max=8, metavar="N", help="ae, vae: residual blocks at each size. Default: 2."),
    ] = None,
    kl: Annotated[
        float | None,
        typer.Option(min=0, metavar="WEIGHT", help="vae: weight of the KL divergence, in nats a sample."),
    ] = None,
    adversarial: Annotated[
        float | None,
        typer.Option(min=0, metavar="WEIGHT", help="gan: weight of the discriminator, relative to the loss."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of continuing from --work.")] = False,
    batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Crops per step. Default: set by the recipe, 8 or 5; else 16."),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            min=64, metavar="SIDE", help="Side of a crop, a multiple of 64. Default: set by the recipe, 256; else 128."
        ),
    ] = None,
    log: Annotated[
        Literal["tensorboard"] | None,
        typer.Option(metavar="tensorboard", help="Log for TensorBoard too, in --work. Needs lvc[tensorboard]."),
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Only draw the curves of OUT's training so far, as OUT.png.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random numbers.")] = 0,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("train", as_json, quiet, no_progress, verbose)
    with report.job(named or words[-1]):
        if plot:
            _plot(report, [*words, *([named] if named else [])])
            return
        names, output = inputs.split_required(words, named, [SAFETENSORS])
        data, out = [Path(name) for name in names], Path(output)
        work = work or out.with_suffix(".work")
        read = names if start is None else [*names, str(start)]
        going_on = (work / "sources.json").exists()  # then the files beside OUT are from this training
        check_output(read, output, force=force or going_on, writes=[SAFETENSORS])
        from lvc.training.watch import beside

        if not going_on:
            for path in beside(out):
                check_output(read, str(path), force=force)
        report.event({"event": "stage", "phase": "starting"})  # torch takes its time
        from lvc.training.recipe import train as run
        from lvc.training.settings import AutoSettings, TrainSettings

        settings = TrainSettings(
            tuple(data), out, work, minutes, max_steps, start, tune, name, not restart, batch, crop, seed, threads,
            recipe, log == "tensorboard", family,
            AutoSettings(loss, channels, stride, frames, width, blocks, kl, adversarial),
        )  # fmt: skip
        try:
            run(settings, lambda event, **fields: report.event({"event": event, **fields}))
        except KeyboardInterrupt:
            report.notice("stopped — run the same command to continue")
            raise


def _plot(report: Report, words: list[str]) -> None:
    from lvc.training.watch import beside, draw

    if len(words) != 1:
        raise UsageError("--plot takes only the model's name: lvc train mine.safetensors --plot")
    _, kept, curves = beside(Path(words[0]))
    if not kept.is_file():
        raise UsageError(f"{kept} does not exist — --plot draws the log that training {words[0]} writes")
    try:
        draw(kept, curves)
    except ImportError as error:
        raise UnsupportedError("curves need matplotlib — pip install 'lvc[plot]'") from error
    report.event({"event": "done", "output": str(curves)})
