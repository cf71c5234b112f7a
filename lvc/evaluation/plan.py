"""The plan of a run, validated before it starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvc.errors import UsageError
from lvc.evaluation import perceptual
from lvc.evaluation.anchors import Anchor
from lvc.evaluation.judge import METRICS, SLOW
from lvc.latents.foreign import is_foreign, load_continuous
from lvc.media import ffmpeg
from lvc.models import store as models


@dataclass(frozen=True)
class Plan:
    """`settings` are passed to `lvc.files.encode_file` (packing, gop …). `threads` are those of one job.

    `qualities`: lvc's; none for the anchors alone. `models`: as for `--model`; `None` is the default. `pictures`:
    keep two decoded frames of every point. `side_by_side`: anchors at CRFs of their own also meet lvc's size once.
    `whole_files`: count every byte of the files, and write anchors into MP4; or else only those of the video.
    """

    qualities: Sequence[float] = (20, 40, 60, 80)
    anchors: Sequence[Anchor] = ()
    models: Sequence[str | None] = (None,)
    frames: int | None = None
    max_height: int | None = None
    metrics: Sequence[str] = ("psnr", "ssim")
    threads: int = 2
    jobs: int = 1
    pictures: bool = False
    side_by_side: bool = False
    whole_files: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def points_per_clip(self) -> int:
        matched = sum(len(self.matched(quality)) for quality in self.qualities)
        return len(self.qualities) * len(self.models) + matched + sum(len(a.crfs) for a in self.anchors)

    @property
    def counted(self) -> str:
        """What counts as a codec's size, as text."""
        if self.whole_files:
            return "whole files: .lvz, and the anchors' MP4"
        return "video bytes: lvc's clips and their description, the anchors' bare streams"

    @property
    def shown(self) -> float | None:
        """The quality whose pictures are shown: the lower of the middle ones, where codecs differ visibly."""
        return sorted(self.qualities)[(len(self.qualities) - 1) // 2] if self.qualities else None

    def matched(self, quality: float) -> list[Anchor]:
        """The anchors that have to meet lvc's size at this quality."""
        return [a for a in self.anchors if not a.crfs or (self.side_by_side and quality == self.shown)]


@dataclass(frozen=True)
class Codec:
    """One of lvc's models. `label`: its name in tables. `id`: its own name and the start of its hash. `name`: as
    requested."""

    label: str
    id: str
    name: str | None
    sha256: str


def codecs(names: Sequence[str | None]) -> list[Codec]:
    """Raises `UsageError` for a model that does not exist or is given twice, and the errors of `lvc.models`."""
    files = [_model_file(name) for name in names]
    hashes = [file.sha256.hex() for file in files]
    if len(set(hashes)) < len(hashes):
        raise UsageError("the same model is given twice — give every --model once")
    stems = [file.path.stem for file in files]
    found = []
    for name, file, sha256, stem in zip(names, files, hashes, stems, strict=True):
        label = stem if stems.count(stem) == 1 else f"{stem}-{sha256[:6]}"
        found.append(Codec("lvc" if len(files) == 1 else f"lvc:{label}", f"{file.name} {sha256[:12]}", name, sha256))
    return found


def _model_file(name: str | None) -> models.ModelFile:
    """Name and hash of an external VAE, such as `taesd:PATH`."""
    if not is_foreign(name):
        return models.resolve(name)
    adapter = load_continuous(name, None)
    return models.ModelFile(Path(adapter.id), adapter.sha256, adapter.id)


def labels(clips: Sequence[Path]) -> dict[Path, str]:
    """A name for each clip: its file's, or its path where two files have the same name."""
    names = [clip.name for clip in clips]
    return {clip: clip.name if names.count(clip.name) == 1 else str(clip) for clip in clips}


def parse_qualities(text: str) -> list[float]:
    """`20,40,60,80`, or `none`. Raises UsageError."""
    if text == "none":
        return []
    try:
        values = [float(x) for x in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= v <= 100 for v in values):
        raise UsageError(f"--qualities {text!r} is not a list of numbers from 0 to 100 — write it as 20,40,60,80")
    return list(dict.fromkeys(values))


def parse_anchors(text: str, threads: int) -> list[Anchor]:
    """`x264:medium,svtav1:6@25/35/45`, or `none`. Raises UsageError."""
    anchors = list(dict.fromkeys(Anchor.parse(a, threads) for a in text.split(",") if a and a != "none"))
    if len({str(a) for a in anchors}) < len(anchors):
        raise UsageError(
            f"--anchors {text!r} names an encoder twice — give all its CRFs together, as in x264:medium@22/27/32"
        )
    return anchors


def parse_metrics(text: str) -> tuple[list[str], str]:
    """Parse `psnr,ssim`, or `all`: what this machine can measure. Also returns what is missing from `all`.

    Raises `UsageError`."""
    missing = ffmpeg.why_not("filter", "libvmaf")
    if text == "all":
        return [
            m for m in METRICS if m != SLOW and not (missing and _by_libvmaf(m))
        ], f"no VMAF: {missing}" if missing else ""
    wanted = list(dict.fromkeys(["psnr", *text.split(",")]))
    if unknown := [m for m in wanted if m not in METRICS]:
        raise UsageError(f"--metrics {text!r}: unknown metric {unknown[0]!r} — use all, or any of {', '.join(METRICS)}")
    if missing and any(map(_by_libvmaf, wanted)):
        raise UsageError(f"--metrics {text!r}: {missing}")
    if SLOW in wanted and (lacking := perceptual.why_not()):
        raise UsageError(f"--metrics {text!r}: {lacking}")
    return wanted, ""


def _by_libvmaf(metric: str) -> bool:
    return metric.startswith("vmaf")


def threads_of_a_job(threads: int | None, jobs: int, cores: int) -> int:
    """The requested number; by default the cores divided by the jobs."""
    return threads or max(1, cores // jobs)


def default_store() -> Path:
    """The default folder of `--resume`."""
    return Path(os.curdir) / "lvc-eval.work"
