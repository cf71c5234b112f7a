"""The card of the weights is about the file that is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lvc.interpolate.network import InterpolationNet, default_interpolation

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"


def test_the_card_names_the_file() -> None:
    data = (CHECKPOINTS / "interpolate.safetensors").read_bytes()
    card = (CHECKPOINTS / "interpolate.md").read_text(encoding="utf-8")
    assert hashlib.sha256(data).hexdigest() in card
    assert default_interpolation().sha256 == hashlib.sha256(data).hexdigest()
    count = sum(p.numel() for p in InterpolationNet().parameters())
    assert f"{count:,}".replace(",", " ") in card
