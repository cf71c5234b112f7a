"""The codec: clips of frames ↔ quantised latents. The one place where tensors meet integers."""

from __future__ import annotations

from .settings import EncodeSettings, lower_efforts
from .video import EncodedClip, decode, encode

__all__ = ["EncodeSettings", "EncodedClip", "decode", "encode", "lower_efforts"]
