"""`lvc train`: from folders of video and photographs to the file of a model, in stages.

| stage | share of the time | what |
|---|---|---|
| intra, inter | 30 % each | networks in floats: key frames on stills, then predicted frames in closed loop |
| calibrate | | units of every tensor that the engine rounds |
| intra, inter again | 20 % each | the same with the engine's rounding |
| export | | programs of integers |

A stage that is done has left its file in the work folder; one that was killed goes on from its last state.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import MediaError, UnsupportedError, UsageError
from ..output import about
from . import export, footage, inter, intra, quantise, stills
from .loop import small, write
from .networks import Inter, Intra
from .settings import TrainSettings
from .sources import find_footage

Event = Callable[..., object]


@dataclass(frozen=True)
class Stage:
    """`share` of the minutes; `quantised`: with the engine's rounding."""

    name: str
    share: float
    quantised: bool
    decay_from: float


STAGES = (
    Stage("intra", 0.3, False, 0.65),
    Stage("inter", 0.3, False, 0.5),
    Stage("intra", 0.2, True, 0.5),
    Stage("inter", 0.2, True, 0.5),
)
NETWORKS = "intra", "inter"


def train(settings: TrainSettings, tell: Event) -> None:
    """Raises `UsageError`, `MediaError`, `UnsupportedError`. `tell` is given the name of an event and its fields."""
    if settings.crop < 64 or settings.crop % 64:
        raise UsageError("a crop is a multiple of 64")
    work = settings.work
    if not settings.resume and work.exists():
        shutil.rmtree(work)
    paths = find_footage(settings.data)
    start = None if settings.start is None else read_weights(settings.start)
    work.mkdir(parents=True, exist_ok=True)
    _cache(settings, paths, tell)
    if start is not None:
        for name, weights in start.items():
            if not (work / f"{name}.start.pt").exists():
                write(small(weights, 0), work / f"{name}.start.pt")
    begun = time.monotonic()
    for number, stage in enumerate(STAGES):
        done = work / f"{stage.name}{'-q' if stage.quantised else ''}.done"
        if not done.exists():
            left = sum(s.share for s in STAGES[number:]) * settings.minutes
            tell("stage", stage=stage.name, quantised=stage.quantised, minutes_left=round(left, 1))
            _run(settings, stage, tell)
            done.touch()
    tell("stage", stage="export")
    states = [work / f"{name}-q.pt" for name in NETWORKS]
    about = {
        "name": settings.name or settings.out.stem, "tune": settings.tune,
        "made": {"minutes": settings.minutes, "steps": [_steps(s) for s in states], "files": len(paths)},
    }  # fmt: skip
    export.export(states, [work / f"{name}.cal" for name in NETWORKS], settings.out, about)
    kept = settings.out.with_suffix(".weights.safetensors")
    save_weights(states, kept)
    for path in (settings.out, kept):  # safetensors keeps them from others
        path.chmod(0o666 & ~_umask())
    tell("done", output=str(settings.out), seconds=round(time.monotonic() - begun, 1))


def _cache(settings: TrainSettings, paths: list[Path], tell: Event) -> None:
    """Caches of what is trained on, unless they are there. Raises `UsageError` where nothing is large enough."""
    said = json.dumps([[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths] + [settings.crop])
    known = settings.work / "sources.json"
    if known.exists() and known.read_text(encoding="utf-8") == said:
        return
    counts = {}
    for name, module in (("stills", stills), ("clips", footage)):
        tell("stage", stage=f"reading {name}")
        counts[name] = module.build(
            paths, settings.work / name, settings.crop, lambda text: tell("notice", message=text)
        )  # fmt: skip
    for name, count in counts.items():
        if not count:
            what = "picture" if name == "stills" else "clip of 9 frames or more"
            raise UsageError(
                f"no {what} is {settings.crop} samples wide and high — give larger ones, or a smaller --crop"
            )
    tell("data", **counts)
    known.write_text(said, encoding="utf-8")


def _run(settings: TrainSettings, stage: Stage, tell: Event) -> None:
    work, module = settings.work, intra if stage.name == "intra" else inter
    out = work / f"{stage.name}{'-q' if stage.quantised else ''}.pt"
    words = [str(work / "stills")] if stage.name == "intra" else [str(work / "clips"), str(_intra(work, stage))]
    words += [str(out), "--minutes", str(stage.share * settings.minutes), "--decay-from", str(stage.decay_from)]
    words += ["--crop", str(settings.crop), "--seed", str(settings.seed), "--tune", settings.tune, "--report", "8"]
    words += ["--threads", str(settings.threads or torch.get_num_threads())]
    if settings.batch is not None:
        words += ["--batch", str(settings.batch)]
    if settings.max_steps is not None:
        words += ["--max-steps", str(settings.max_steps)]
    started = work / f"{stage.name}.start.pt"
    if stage.quantised:
        calibration = work / f"{stage.name}.cal"
        if not calibration.exists():
            tell("stage", stage=f"calibrating {stage.name}")
            torch.save(_calibrated(settings, stage.name), work / "part.cal")
            os.replace(work / "part.cal", calibration)
        words += ["--start", str(work / f"{stage.name}.pt"), "--quantised", str(calibration)]
    elif started.exists():
        words += ["--start", str(started)]
    options: argparse.Namespace = module.parser().parse_args(words)
    options.tell = lambda line: tell("step", stage=stage.name, quantised=stage.quantised, **line)
    with _threads():
        module.run(options)


def _intra(work: Path, stage: Stage) -> Path:
    return work / ("intra-q.pt" if stage.quantised else "intra.pt")


def _calibrated(settings: TrainSettings, name: str) -> quantise.Calibration:
    work = settings.work
    if name == "intra":
        return quantise.calibrate_intra(
            work / "stills", work / "intra.pt", batches=min(8, settings.max_steps or 8), crop=settings.crop
        )
    groups = min(4, settings.max_steps or 4)
    return quantise.calibrate_inter(
        work / "clips", work / "intra-q.pt", work / "inter.pt", groups=groups, crop=settings.crop
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
            raise MediaError("no such file — name weights that lvc train has left")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as e:
        raise UnsupportedError(f"{path.name} holds no weights ({str(e)[:80]}) — use those of lvc train") from e
    out = {n: {k.removeprefix(f"{n}."): v for k, v in tensors.items() if k.startswith(f"{n}.")} for n in NETWORKS}
    shapes = {"intra": Intra().state_dict(), "inter": Inter().state_dict()}
    for name, weights in out.items():
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in shapes[name].items()}:
            raise UnsupportedError(f"{path.name} holds no weights of this lvc's networks — use those of lvc train")
        if not all(bool(torch.isfinite(v.float()).all()) for v in weights.values()):
            raise UnsupportedError(f"{path.name} has weights that are not finite — use another file")
    return {n: {k: v.float() for k, v in w.items()} for n, w in out.items()}


def rows_of(log: Path) -> Iterator[dict[str, Any]]:
    """Lines of a stage's log."""
    for line in log.read_text(encoding="ascii").splitlines():
        yield json.loads(line)
