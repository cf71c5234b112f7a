"""What `lvc train` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class TrainSettings:
    """`data`: folders or files of video and photographs; `out`: the model's file, written at the end; `work` holds
    caches of the data and what a killed run goes on from. `minutes` of wall time, caches not counted; `max_steps` of
    each stage instead. `start`: weights (`OUT.weights.safetensors`) to go on from. `crop` in luma samples, a multiple
    of 64. `tune`: squared error, or mostly MS-SSIM."""

    data: tuple[Path, ...]
    out: Path
    work: Path
    minutes: float = 120.0
    max_steps: int | None = None
    start: Path | None = None
    tune: Literal["psnr", "ssim"] = "psnr"
    name: str | None = None
    resume: bool = True
    batch: int | None = None
    crop: int = 256
    seed: int = 0
    threads: int | None = None
