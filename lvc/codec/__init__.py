"""The codec: frames ↔ clips of entropy-coded symbols."""

from __future__ import annotations

from .frames import Given
from .settings import EncodeSettings, lower_efforts
from .video import (
    Change,
    EncodedClip,
    FrameIntegers,
    LatentFrame,
    decode,
    decode_changed,
    encode,
    integers_of,
    keys_in,
    latents,
)

__all__ = [
    "Change", "EncodeSettings", "EncodedClip", "FrameIntegers", "Given", "LatentFrame", "decode", "decode_changed",
    "encode", "integers_of", "keys_in", "latents", "lower_efforts",
]  # fmt: skip
