"""`lvc train`: from folders of video and photographs to the file of a model. lvc's own codec comes in the stages of a
recipe: networks in floats, key frames on stills, then predicted frames in closed loop; both again, calibrated and with
the engine's rounding; at the end programs of integers, and tables counted on the footage. Auto-encoders have one stage
(`auto`).

A finished stage leaves its file in the work folder; an interrupted one resumes from its last state.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import MediaError, UnsupportedError, UsageError
from ..output import about, publish
from . import auto, export, footage, inter, intra, quantise, stills, tables
from .board import Board, check_installed
from .loop import small, steps_of, write
from .networks import Inter, Intra
from .settings import Recipe, Stage, TrainSettings, read_recipe
from .sources import find_footage
from .watch import Event, Watch, beside, draw

NETWORKS = "intra", "inter"
OWN = "intra*.*", "inter*.*", "auto.*", "stills.*", "clips.*", "sources.json", "settings.json"
"""Files of a work folder."""
CACHE_BYTES = 4 << 30
"""The most bytes of each of the two caches: beyond that, files are left out at random."""


def train(settings: TrainSettings, tell: Event) -> None:
    """Raises `UsageError`, `MediaError`, `UnsupportedError`. `tell` is called with the name of an event and its fields,
    also from another thread."""
    work = settings.work
    if settings.tensorboard:
        check_installed()
    plan: _Codec | auto.Plan
    plan = _Codec(settings, _recipe(settings)) if settings.family == "codec" else auto.planned(settings)
    _, log, curves = beside(settings.out)
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(tell))
        watch.phase("looking for footage", None)
        paths = find_footage(settings.data)
        plan.check()
        if not settings.resume:
            for pattern in OWN:
                for path in work.glob(pattern):
                    path.unlink()
        _check_same(work / "settings.json", plan.said)
        new = [path for path in (work, log) if not path.exists()]
        work.mkdir(parents=True, exist_ok=True)
        (work / "settings.json").write_text(json.dumps(plan.said), encoding="utf-8")
        board = None
        if settings.tensorboard:
            board = stack.enter_context(contextlib.closing(Board(work / "tensorboard")))
            watch.keep(log, board.add)
            watch.tell("notice", message=board.how_to_look)
        else:
            watch.keep(log)
        try:
            _cache(plan.caches, plan.crop, work, paths, watch)
        except UsageError:  # nothing to train on: leave nothing behind
            for path in new:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            raise
        begun = time.monotonic()
        with _threads():
            plan.run(len(paths), watch, board)
        try:
            draw(log, curves)
        except ImportError:
            watch.tell("notice", message=f"{curves.name} needs matplotlib — pip install 'lvc[plot]'")
        watch.tell("done", output=str(settings.out), seconds=round(time.monotonic() - begun, 1))


def _check_same(known: Path, said: dict[str, Any]) -> None:
    """Raise `UsageError` if a folder holds another training."""
    if known.exists() and json.loads(known.read_text(encoding="utf-8")) != said:
        raise UsageError(f"{known.parent} holds a training with other settings — use --restart, or another --work")


class _Codec:
    """The stages of a recipe."""

    caches: tuple[str, ...] = ("stills", "clips")

    def __init__(self, settings: TrainSettings, recipe: Recipe) -> None:
        self.settings, self.recipe = settings, recipe
        self.crop = recipe.crop
        self.said = {"family": "codec"}

    def check(self) -> None:
        """Reads the weights to start from."""
        start = self.settings.start
        self._start = {} if start is None else read_weights(start)

    def run(self, files: int, watch: Watch, board: Board | None) -> None:
        """Trains, and writes the model."""
        settings, recipe, work = self.settings, self.recipe, self.settings.work
        for name, tensors in self._start.items():
            if not (work / f"{name}.start.pt").exists():
                write(small(tensors, 0), work / f"{name}.start.pt")
        for number, stage in enumerate(recipe.stages):
            done = work / f"{stage.stem}.done"
            if not done.exists():
                later = sum(s.share or 0 for s in recipe.stages[number + 1 :]) * recipe.minutes
                _run(settings, recipe, stage, later, watch, board)
                done.touch()
        watch.phase("exporting", 0)
        weights, _, _ = beside(settings.out)
        states = [work / f"{name}-q.pt" for name in NETWORKS]
        made = {**asdict(recipe), "recipe": recipe.name, "steps": [steps_of(s) for s in states], "files": files}
        made.pop("name")
        said = {"name": settings.name or settings.out.stem, "tune": settings.tune, "made": made}
        export.export(states, [work / f"{name}.cal" for name in NETWORKS], settings.out, said)
        watch.phase("counting symbols", 0)
        groups = min(tables.GROUPS, settings.max_steps or tables.GROUPS)
        tables.count_into(settings.out, work / "clips", groups, recipe.crop)
        save_weights(states, weights)


def _recipe(settings: TrainSettings) -> Recipe:
    """The recipe with the changes of the settings."""
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


def _cache(names: tuple[str, ...], crop: int, work: Path, paths: list[Path], watch: Watch) -> None:
    """Make the caches of training data unless they exist. Raises `UsageError` if nothing is large enough."""
    said = json.dumps([[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths] + [crop])
    known = work / "sources.json"
    if known.exists() and known.read_text(encoding="utf-8") == said:
        return
    paths = sorted(paths, key=lambda p: zlib.crc32(os.fsencode(p.name)))
    counts = {}
    for name in names:
        watch.phase("reading data", None, stage=name)
        build = stills.build if name == "stills" else footage.build
        counts[name] = build(paths, work / name, crop, lambda text: watch.tell("notice", message=text), CACHE_BYTES)
    for name, count in counts.items():
        if not count:
            what = "picture" if name == "stills" else "clip of 9 frames or more"
            raise UsageError(
                f"no {what} is at least {crop} samples wide and high — give larger ones, or a smaller --crop"
            )
    watch.tell("data", **counts)
    known.write_text(said, encoding="utf-8")


def _run(
    settings: TrainSettings, recipe: Recipe, stage: Stage, later: float, watch: Watch, board: Board | None
) -> None:  # fmt: skip
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
            write(_calibrated(recipe, work, stage), calibration)
        words += ["--start", str(work / f"{stage.network}.pt"), "--quantised", str(calibration)]
    elif started.exists():
        words += ["--start", str(started)]
    options: argparse.Namespace = module.parser().parse_args(words)

    def line(figures: dict[str, Any]) -> None:
        of_stage = figures.pop("minutes_left", None)
        watch.step(left if of_stage is None else of_stage + later, **figures)

    options.tell, options.pane = line, None if board is None else board.pane(stage.name)
    watch.phase("training", left, stage=stage.name)
    module.run(options)


def _intra(work: Path, stage: Stage) -> Path:
    return work / ("intra-q.pt" if stage.quantised else "intra.pt")


def _calibrated(recipe: Recipe, work: Path, stage: Stage) -> quantise.Calibration:
    few = stage.steps or 8  # a trial of a few steps should not wait for its calibration
    if stage.network == "intra":
        return quantise.calibrate_intra(work / "stills", work / "intra.pt", batches=min(8, few), crop=recipe.crop)
    return quantise.calibrate_inter(
        work / "clips", work / "intra-q.pt", work / "inter.pt", groups=min(4, few), crop=recipe.crop
    )


class _threads:
    """Restores the number of torch's threads, which training changes."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)


def save_weights(states: list[Path], out: Path) -> None:
    """Write averaged weights in half precision, to continue from: `intra.…`, `inter.…`."""
    tensors: dict[str, torch.Tensor] = {}
    for name, path in zip(NETWORKS, states, strict=True):
        state = torch.load(path, weights_only=True)
        tensors |= {f"{name}.{k}": v.half().contiguous() for k, v in (state["ema"] or state["model"]).items()}
    with publish(str(out), force=True) as path:
        path.write_bytes(safetensors.torch.save(tensors))


def read_weights(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read what `save_weights` wrote. Raises `MediaError`, `UnsupportedError`."""
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
