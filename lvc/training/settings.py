"""What `lvc train` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..models.config import ModelConfig


@dataclass(frozen=True)
class TrainSettings:
    """`data`: folders or files of video and photographs; `out`: the checkpoint written at the end and at every save.

    `minutes` of wall time in training itself (a resumed run counts what it did before); `batch`: streams of each
    process; `crop` in luma samples (a multiple of 64); `chain` is the longest run of predicted frames; `work` holds the
    frame cache and the resumable state. `part`: train `both` codecs, or only `intra` or `inter` while the other stays
    as `init` has it (two processes can train the two at once; `inter` still runs on the intra codec's key frames).
    `tune`: squared error, or mostly MS-SSIM (`loss.structural`).
    """

    data: tuple[Path, ...]
    out: Path
    work: Path
    minutes: float = 120.0
    init: Path | None = None
    part: Literal["both", "intra", "inter"] = "both"
    tune: Literal["psnr", "ssim"] = "psnr"
    resume: bool = True
    batch: int = 5
    crop: int = 256
    groups: int = 4
    chain: int = 32
    max_height: int = 432
    max_frames: int = 120
    muon_lr: float = 5e-3
    adam_lr: float = 5e-4
    decay_from: float = 0.4
    seed: int = 0
    threads: int | None = None
    save_every: float = 240.0
    log_every: int = 50
    max_steps: int | None = None
    config: ModelConfig = field(default_factory=lambda: ModelConfig(inter_latent=128))
