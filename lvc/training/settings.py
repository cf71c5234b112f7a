"""Settings of `lvc train`, and recipes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from ..errors import MediaError, UsageError
from ..output import about


@dataclass(frozen=True)
class AutoSettings:
    """Settings of an auto-encoder; `None` means the default. `loss`: weights of terms, as `mse=1,ssim=0.2`. `channels`
    of latents, of which one place stands for `stride` by `stride` samples and `frames` frames; `width` and number of
    `blocks` of the networks. `kl`: weight of a VAE's KL divergence, in nats a sample. `adversarial`: how much a GAN's
    critic counts beside the loss."""

    loss: str | None = None
    channels: int | None = None
    stride: int | None = None
    frames: int | None = None
    width: int | None = None
    blocks: int | None = None
    kl: float | None = None
    adversarial: float | None = None


@dataclass(frozen=True)
class TrainSettings:
    """`data`: folders or files of video and photographs; `out`: the model's file, written at the end; `work` holds
    caches of the data and what a killed run goes on from. `minutes` of wall time, caches not counted; `max_steps` of
    each stage instead. `start`: weights (`OUT.weights.safetensors`) to go on from. `crop` in luma samples, a multiple
    of 64. `tune`: squared error, or mostly MS-SSIM. `recipe`: a file's name, or an installed recipe's. `tensorboard`:
    figures also go there, into `work`/tensorboard. What is None is as the recipe says.

    `family`: `codec`, or one of the auto-encoders `ae`, `vae` and `gan`, which have `auto` settings and neither `tune`
    nor `recipe`. Their `start`, which `gan` needs, is a model's file."""

    data: tuple[Path, ...]
    out: Path
    work: Path
    minutes: float | None = None
    max_steps: int | None = None
    start: Path | None = None
    tune: Literal["psnr", "ssim"] = "psnr"
    name: str | None = None
    resume: bool = True
    batch: int | None = None
    crop: int | None = None
    seed: int = 0
    threads: int | None = None
    recipe: str = "default"
    tensorboard: bool = False
    family: str = "codec"
    auto: AutoSettings = AutoSettings()


@dataclass(frozen=True)
class AdaptSettings:
    """Of a delta to `model` (None: the default one): `videos` of one camera, `out` the file to write. `minutes` of wall
    time, of which some are for coding footage; `max_steps` instead, for as many excerpts and steps. `name`: the
    adapted model's; None: that of the file."""

    videos: tuple[Path, ...]
    out: Path
    model: str | Path | None = None
    minutes: float = 10.0
    max_steps: int | None = None
    name: str | None = None
    seed: int = 0
    threads: int | None = None


@dataclass(frozen=True)
class Stage:
    """One of the four; see recipes/default.toml."""

    name: str
    muon: float
    adam: float
    decay_from: float
    batch: int
    share: float | None = None
    steps: int | None = None

    @property
    def network(self) -> str:
        return self.name.removesuffix("-quantised")

    @property
    def quantised(self) -> bool:
        return self.name.endswith("-quantised")

    @property
    def stem(self) -> str:
        """Of its files in the work folder."""
        return f"{self.network}-q" if self.quantised else self.network


@dataclass(frozen=True)
class Recipe:
    name: str
    minutes: float
    crop: int
    stages: tuple[Stage, ...]


STAGES = "intra", "inter", "intra-quantised", "inter-quantised"
_RANGES = {
    "minutes": (0, 1e6), "crop": (64, 4096), "share": (0, 1), "steps": (1, 1e9), "muon": (0, 1), "adam": (0, 1),
    "decay_from": (0, 0.999), "batch": (1, 4096),
}  # fmt: skip
_WHOLE = "crop", "steps", "batch"


def read_recipe(name: str) -> Recipe:
    """By the name of an installed one, or a file's. Raises `UsageError`, `MediaError`."""
    if "/" in name or "\\" in name or name.endswith(".toml"):
        with about(name):
            try:
                text = Path(name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as e:
                raise MediaError("the recipe cannot be read — check --recipe") from e
    else:
        found = resources.files(__package__).joinpath("recipes", f"{name}.toml")
        if not found.is_file():
            raise UsageError(f"no such recipe: {name!r} — give a .toml file, or 'default'")
        text = found.read_text(encoding="utf-8")
    with about(name):
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise UsageError(f"not a recipe: {e} — see docs/training.md") from e
        return _checked(Path(name).stem, given)


def _checked(name: str, given: dict[str, Any]) -> Recipe:
    top = _values(given, {"minutes", "crop"}, set(), "", set(STAGES))
    stages = []
    for stage in STAGES:
        table = given.get(stage)
        if not isinstance(table, dict):
            raise UsageError(f"the recipe has no [{stage}] — see docs/training.md")
        one_of = {"share", "steps"}
        needed = {f.name for f in fields(Stage)} - one_of - {"name"}
        stages.append(Stage(stage, **_values(table, needed, one_of, f"[{stage}] ")))
    shares, steps = [s.share for s in stages], [s.steps for s in stages]
    if None in steps and (None in shares or any(steps) or abs(sum(s or 0 for s in shares) - 1) > 1e-6):
        raise UsageError("every stage needs either a share (together 1) or a number of steps — see docs/training.md")
    if None not in steps and any(s is not None for s in shares):
        raise UsageError("a stage can have a share or steps, not both — see docs/training.md")
    if top["crop"] % 64:
        raise UsageError("the crop has to be a multiple of 64 — change the recipe")
    return Recipe(name, top["minutes"], top["crop"], tuple(stages))


def _values(
    table: dict[str, Any],
    needed: set[str],
    optional: set[str],
    where: str,
    tables: set[str] = frozenset(),  # type: ignore[assignment]
) -> dict[str, Any]:
    if unknown := table.keys() - needed - optional - tables:
        raise UsageError(f"{where}{sorted(unknown)[0]} is not a setting of a recipe — remove it")
    if missing := needed - table.keys():
        raise UsageError(f"{where}{sorted(missing)[0]} is missing — see docs/training.md")
    out = {}
    for key in (needed | optional) & table.keys():
        value, (low, high) = table[key], _RANGES[key]
        kinds = (int,) if key in _WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise UsageError(f"{where}{key} is a {'whole ' * (key in _WHOLE)}number from {low} to {high:g} — change it")
        out[key] = value
    return out
