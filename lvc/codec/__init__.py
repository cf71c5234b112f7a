"""The codec: frames ↔ clips of entropy-coded symbols."""

from __future__ import annotations

from .decoder import decode
from .encoder import EncodedClip, encode
from .frames import Given
from .latent_frames import Change, FrameIntegers, LatentFrame, decode_changed, integers_of, intra_coded_in, latents
from .settings import EncodeSettings, lower_efforts

__all__ = [
    "Change", "EncodeSettings", "EncodedClip", "FrameIntegers", "Given", "LatentFrame", "decode", "decode_changed",
    "encode", "integers_of", "intra_coded_in", "latents", "lower_efforts",
]  # fmt: skip
