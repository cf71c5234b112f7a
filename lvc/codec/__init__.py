"""The codec: clips of frames ↔ quantised latents. The one place where tensors meet integers."""

from __future__ import annotations

from .frames import Given
from .settings import EncodeSettings
from .video import Change, EncodedClip, LatentFrame, decode, decode_changed, encode, latents

__all__ = [
    "Change", "EncodeSettings", "EncodedClip", "Given", "LatentFrame", "decode", "decode_changed", "encode", "latents",
]  # fmt: skip
