"""What a model is made of, as it stands in the metadata of its weights. No torch here: `lvc info` reads this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..errors import UnsupportedError

LEVEL_MIN, LEVEL_MAX = 6.0, 16.0
"""Range of a frame's *level*: log2 of the λ in λ·MSE + bits per pixel, MSE of samples in [0, 1]."""

ARCHITECTURE = "lvc-motion-1"


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the networks. Channels unless said otherwise; blocks are counts."""

    name: str = "default"
    architecture: str = ARCHITECTURE
    latent: int = 256
    inter_latent: int | None = None
    """Latent channels of predicted frames if fewer than `latent`: the file's others are 0 there."""
    hyper: int = 16
    inter_width: int = 96
    inter_encoder_blocks: int = 3
    inter_decoder_blocks: int = 4
    intra_width: int = 128
    intra_encoder_blocks: int = 3
    intra_decoder_blocks: int = 4
    side: int = 64
    scale_hidden: int = 64

    def latents(self, intra: bool) -> int:
        """Latent channels of key frames or of predicted ones."""
        return self.latent if intra or self.inter_latent is None else self.inter_latent

    def to_json(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        """Raises `UnsupportedError` for an architecture this lvc does not know."""
        try:
            fields = json.loads(text)
            config = ModelConfig(**fields)
            if not 0 < config.latents(intra=False) <= config.latent:
                raise ValueError("latent channels")
        except (ValueError, TypeError) as e:
            raise UnsupportedError(
                f"the model's configuration cannot be read ({e}) — it was made by another lvc"
            ) from e
        if config.architecture != ARCHITECTURE:
            raise UnsupportedError(f"model architecture {config.architecture!r} is unknown — update lvc")
        return config


def level_to_code(level: float) -> int:
    """Level → the u16 `quality` of a frame (0..10000)."""
    return round(min(max((level - LEVEL_MIN) / (LEVEL_MAX - LEVEL_MIN), 0.0), 1.0) * 10000)


def code_to_level(code: int) -> float:
    return LEVEL_MIN + (LEVEL_MAX - LEVEL_MIN) * code / 10000
