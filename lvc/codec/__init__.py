"""The codec: clips of frames ↔ quantised latents. The one place where tensors meet integers."""

from __future__ import annotations

from .frames import Given
from .settings import EncodeSettings
from .video import EncodedClip, LatentFrame, decode, decode_changed, encode, latents

__all__ = ["EncodeSettings", "EncodedClip", "Given", "LatentFrame", "decode", "decode_changed", "encode", "latents"]
