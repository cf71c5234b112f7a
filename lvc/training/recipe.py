"""`lvc train`: from folders of video and photographs to the file of a model, in the stages of a recipe: networks in
floats, key frames on stills, then predicted frames in closed loop; both again, calibrated and with the engine's
rounding; at the end programs of integers, and tables counted on the footage.

A stage that is done has left its file in the work folder; one that was killed goes on from its last state.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import MediaError, UnsupportedError, UsageError
from ..output import about
from . import export, footage, inter, intra, quantise, stills, tables
from .board import Board, check_installed
from .loop import small, write
from .networks import Inter, Intra
from .settings import Recipe, Stage, TrainSettings, read_recipe
from .sources import find_footage
from .watch import Event, Watch, beside, draw

NETWORKS = "intra", "inter"
OWN = "intra*.*", "inter*.*", "stills.*", "clips.*", "sources.json", "part.cal"
"""Files of a work folder."""
CACHE_BYTES = 4 << 30
"""Of each of the two caches at most: beyond that files are left out, at random."""


def train(settings: TrainSettings, tell: Event) -> None:
    """Raises `UsageError`, `MediaError`, `UnsupportedError`. `tell` is given the name of an event and its fields; also
    by another thread."""
    recipe = _recipe(settings)
    work = settings.work
    if settings.tensorboard:
        check_installed()
    weights, log, curves = beside(settings.out)
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(tell))
        watch.phase("looking for footage", None)
        paths = find_footage(settings.data)
        start = None if settings.start is None else read_weights(settings.start)
        if not settings.resume:
            for pattern in OWN:
                for path in work.glob(pattern):
                    path.unlink()
        work.mkdir(parents=True, exist_ok=True)
        if settings.tensorboard:
            board = stack.enter_context(contextlib.closing(Board(work / "tensorboard")))
            watch.keep(log, board.add)
            watch.tell("notice", message=board.how_to_look)
        else:
            watch.keep(log)
        _cache(recipe, work, paths, watch)
        if start is not None:
            for name, tensors in start.items():
                if not (work / f"{name}.start.pt").exists():
                    write(small(tensors, 0), work / f"{name}.start.pt")
        begun = time.monotonic()
        for number, stage in enumerate(recipe.stages):
            done = work / f"{stage.stem}.done"
            if not done.exists():
                later = sum(s.share or 0 for s in recipe.stages[number + 1 :]) * recipe.minutes
                _run(settings, recipe, stage, later, watch)
                done.touch()
        watch.phase("exporting", 0)
        states = [work / f"{name}-q.pt" for name in NETWORKS]
        made = {**asdict(recipe), "recipe": recipe.name, "steps": [_steps(s) for s in states], "files": len(paths)}
        made.pop("name")
        said = {"name": settings.name or settings.out.stem, "tune": settings.tune, "made": made}
        export.export(states, [work / f"{name}.cal" for name in NETWORKS], settings.out, said)
        watch.phase("counting symbols", 0)
        groups = min(tables.GROUPS, settings.max_steps or tables.GROUPS)
        tables.count_into(settings.out, work / "clips", groups, recipe.crop)
        save_weights(states, weights)
        for path in (settings.out, weights):  # safetensors keeps them from others
            path.chmod(0o666 & ~_umask())
        try:
            draw(log, curves)
        except ImportError:
            watch.tell("notice", message=f"{curves.name} needs matplotlib — pip install 'lvc[plot]'")
        watch.tell("done", output=str(settings.out), seconds=round(time.monotonic() - begun, 1))


def _recipe(settings: TrainSettings) -> Recipe:
    """As the settings change it."""
    recipe = read_recipe(settings.recipe)
    crop = settings.crop or recipe.crop
    if crop < 64 or crop % 64:
        raise UsageError("the crop has to be a multiple of 64")
    minutes = recipe.minutes if settings.minutes is None else settings.minutes
    stages = []
    for stage in recipe.stages:
        values = asdict(stage)
        if settings.max_steps is not None:
            values |= {"steps": settings.max_steps, "share": None}
        if settings.batch is not None:
            values["batch"] = settings.batch
        stages.append(Stage(**values))
    return Recipe(recipe.name, minutes, crop, tuple(stages))


def _cache(recipe: Recipe, work: Path, paths: list[Path], watch: Watch) -> None:
    """Caches of what is trained on, unless they are there. Raises `UsageError` where nothing is large enough."""
    said = json.dumps([[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths] + [recipe.crop])
    known = work / "sources.json"
    if known.exists() and known.read_text(encoding="utf-8") == said:
        return
    paths = sorted(paths, key=lambda p: zlib.crc32(os.fsencode(p.name)))
    counts = {}
    for name, module in (("stills", stills), ("clips", footage)):
        watch.phase("reading data", None, stage=name)
        counts[name] = module.build(
            paths, work / name, recipe.crop, lambda text: watch.tell("notice", message=text), CACHE_BYTES
        )  # fmt: skip
    for name, count in counts.items():
        if not count:
            what = "picture" if name == "stills" else "clip of 9 frames or more"
            raise UsageError(
                f"no {what} is at least {recipe.crop} samples wide and high — give larger ones, or a smaller --crop"
            )
    watch.tell("data", **counts)
    known.write_text(said, encoding="utf-8")


def _run(settings: TrainSettings, recipe: Recipe, stage: Stage, later: float, watch: Watch) -> None:
    """`later`: minutes of the stages after this one."""
    work, module = settings.work, intra if stage.network == "intra" else inter
    words = [str(work / "stills")] if stage.network == "intra" else [str(work / "clips"), str(_intra(work, stage))]
    words += [str(work / f"{stage.stem}.pt"), "--tune", settings.tune, "--report", "8", "--repeatable"]
    words += [f"--{k.replace('_', '-')}={getattr(stage, k)}" for k in ("decay_from", "muon", "adam", "batch")]
    words += ["--crop", str(recipe.crop), "--seed", str(settings.seed)]
    words += ["--threads", str(settings.threads or torch.get_num_threads())]
    own = None
    if stage.steps is not None:
        words += ["--max-steps", str(stage.steps)]
    else:
        own = (stage.share or 0) * recipe.minutes
        words += ["--minutes", str(own)]
    left = None if own is None else own + later
    started = work / f"{stage.network}.start.pt"
    if stage.quantised:
        calibration = work / f"{stage.network}.cal"
        if not calibration.exists():
            watch.phase("calibrating", left, stage=stage.name)
            torch.save(_calibrated(recipe, work, stage), work / "part.cal")
            os.replace(work / "part.cal", calibration)
        words += ["--start", str(work / f"{stage.network}.pt"), "--quantised", str(calibration)]
    elif started.exists():
        words += ["--start", str(started)]
    options: argparse.Namespace = module.parser().parse_args(words)

    def line(figures: dict[str, Any]) -> None:
        of_stage = figures.pop("minutes_left", None)
        watch.step(left if of_stage is None else of_stage + later, **figures)

    options.tell = line
    watch.phase("training", left, stage=stage.name)
    with _threads():
        module.run(options)


def _intra(work: Path, stage: Stage) -> Path:
    return work / ("intra-q.pt" if stage.quantised else "intra.pt")


def _calibrated(recipe: Recipe, work: Path, stage: Stage) -> quantise.Calibration:
    few = stage.steps or 8  # a trial of a few steps is not to wait for its calibration
    if stage.network == "intra":
        return quantise.calibrate_intra(work / "stills", work / "intra.pt", batches=min(8, few), crop=recipe.crop)
    return quantise.calibrate_inter(
        work / "clips", work / "intra-q.pt", work / "inter.pt", groups=min(4, few), crop=recipe.crop
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class _threads:
    """A training sets torch's threads: they are put back."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)


def _steps(state: Path) -> int:
    return int(torch.load(state, weights_only=True)["step"])


def save_weights(states: list[Path], out: Path) -> None:
    """Averaged weights in half precision, to go on from: `intra.…`, `inter.…`."""
    tensors: dict[str, torch.Tensor] = {}
    for name, path in zip(NETWORKS, states, strict=True):
        state = torch.load(path, weights_only=True)
        tensors |= {f"{name}.{k}": v.half().contiguous() for k, v in (state["ema"] or state["model"]).items()}
    part = out.with_name(out.name + ".part")
    save_file(tensors, part)
    os.replace(part, out)


def read_weights(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """What `save_weights` wrote. Raises `MediaError`, `UnsupportedError`."""
    with about(str(path)):
        if not path.is_file():
            raise MediaError("no such file — give weights that lvc train wrote")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as e:
        raise UnsupportedError(
            f"{path.name} contains no weights ({str(e)[:80]}) — give weights that lvc train wrote"
        ) from e
    out = {n: {k.removeprefix(f"{n}."): v for k, v in tensors.items() if k.startswith(f"{n}.")} for n in NETWORKS}
    shapes = {"intra": Intra().state_dict(), "inter": Inter().state_dict()}
    for name, weights in out.items():
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in shapes[name].items()}:
            raise UnsupportedError(
                f"{path.name} does not contain weights of lvc's networks — give weights that lvc train wrote"
            )
        if not all(bool(torch.isfinite(v.float()).all()) for v in weights.values()):
            raise UnsupportedError(f"{path.name} has weights that are not finite — use another file")
    return {n: {k: v.float() for k, v in w.items()} for n, w in out.items()}
