"""Latents made by a formula, and the way to what tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

Make = Callable[..., torch.Tensor]


@pytest.fixture(autouse=True)
def every_test_on_one_thread(one_thread: None) -> None:
    """As `tests/conftest.py` says."""


@pytest.fixture
def make() -> Make:
    return smooth


def smooth(frames: int, channels: int, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """`[channels, frames, rows, columns]`: waves that move, channels that have to do with each other, and noise."""
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[0:frames, 0:rows, 0:columns]
    waves = np.stack([np.sin(0.3 * x + k * 0.21 * y + 0.2 * t + seed) for k in range(channels)])
    mixed = np.einsum("ij,jtyx->ityx", rng.normal(size=(channels, channels)), waves)
    return torch.from_numpy(mixed + 0.1 * rng.normal(size=mixed.shape)).float()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips as safetensors, one of them smaller; a caption beside each."""
    from safetensors.torch import save_file

    inside = tmp_path / "cache" / "a"
    inside.mkdir(parents=True)
    for number, (frames, rows, columns) in enumerate(((5, 9, 12), (3, 9, 12), (2, 7, 8))):
        clip = smooth(frames, 6, rows, columns, number).bfloat16()
        save_file({"latents": clip}, inside / f"clip{number}.safetensors", {"source": f"video{number}"})
        (inside / f"clip{number}.txt").write_text(f"a caption, {number}\n")
    return tmp_path / "cache"
