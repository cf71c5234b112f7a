"""The card of the features' weights is about the file that is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lvc.features import default_extractor

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"


def test_the_card_names_the_file() -> None:
    data = (CHECKPOINTS / "features.safetensors").read_bytes()
    card = (CHECKPOINTS / "features.md").read_text(encoding="utf-8")
    assert hashlib.sha256(data).hexdigest() in card
    extractor = default_extractor()
    assert extractor.fingerprint == hashlib.sha256(data).digest()[:8]
    assert f"`{extractor.name}`" in card
    count = sum(value.size for value in extractor._weights.values())
    assert f"{count:,}".replace(",", " ") in card
