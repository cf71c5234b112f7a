"""The codec: clips of frames ↔ quantised latents. The one place where tensors meet integers."""

from __future__ import annotations

from .frames import Given
from .settings import EncodeSettings
from .video import (
    Change,
    EncodedClip,
    FrameIntegers,
    LatentFrame,
    decode,
    decode_changed,
    encode,
    integers_of,
    latents,
)

__all__ = [
    "Change", "EncodeSettings", "EncodedClip", "FrameIntegers", "Given", "LatentFrame", "decode", "decode_changed",
    "encode", "integers_of", "latents",
]  # fmt: skip
