"""What a model is made of, as it stands in the metadata of its weights. No torch here: `lvc info` reads this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..errors import UnsupportedError

LEVEL_MIN, LEVEL_MAX = 6.0, 16.0
"""Range of a frame's *level*: log2 of the λ in λ·MSE + bits per pixel, MSE of samples in [0, 1]."""

ARCHITECTURE = "lvc-motion-1"
MAX_CHANNELS, MAX_BLOCKS, MAX_NAME = 4096, 64, 255
"""Bounds on what a configuration from a stranger may say: its tensors are compared with it before anything is built."""


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

    def _check(self) -> None:
        """Raises `ValueError`."""
        if not isinstance(self.name, str) or len(self.name) > MAX_NAME or not isinstance(self.architecture, str):
            raise ValueError("its name or architecture is no name")
        for name, value in vars(self).items():
            least, most = (0, MAX_BLOCKS) if name.endswith("blocks") else (1, MAX_CHANNELS)
            if name not in ("name", "architecture") and (name != "inter_latent" or value is not None):
                if type(value) is not int or not least <= value <= most:
                    raise ValueError(f"{name} is not a number from {least} to {most}")
        if self.latents(intra=False) > self.latent:
            raise ValueError("inter_latent is more than latent")

    def to_json(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        """Raises `UnsupportedError` for an architecture this lvc does not know."""
        try:
            fields = json.loads(text)
            config = ModelConfig(**fields)
            config._check()
        except (ValueError, TypeError, RecursionError) as e:
            raise UnsupportedError(
                f"the model's configuration cannot be read ({str(e)[:100]}) — it was made by another lvc"
            ) from e
        if config.architecture != ARCHITECTURE:
            raise UnsupportedError(f"model architecture {config.architecture[:100]!r} is unknown — update lvc")
        return config


def level_to_code(level: float) -> int:
    """Level → the u16 `quality` of a frame (0..10000)."""
    return round(min(max((level - LEVEL_MIN) / (LEVEL_MAX - LEVEL_MIN), 0.0), 1.0) * 10000)


def code_to_level(code: int) -> float:
    return LEVEL_MIN + (LEVEL_MAX - LEVEL_MIN) * code / 10000
