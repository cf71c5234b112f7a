"""The codec: frames ↔ clips of entropy-coded symbols."""

from __future__ import annotations

from .frames import Given
from .settings import EncodeSettings, lower_efforts
from .video import Change, EncodedClip, LatentFrame, decode, decode_changed, encode, latents

__all__ = [
    "Change", "EncodeSettings", "EncodedClip", "Given", "LatentFrame", "decode", "decode_changed", "encode", "latents",
    "lower_efforts",
]  # fmt: skip
