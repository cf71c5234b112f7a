"""Feature vectors of frames and sound, for finding copies, neighbours and classes. numpy only; no codec, no torch.

    frame ─▶ thumbnail 64x64 ─▶ network of its own ─▶ int8 [64], about once a second
    two seconds of sound ─▶ loudness of bands ─▶ cosine transform ─▶ 256 signs, about once a second

The network does not share weights with the codec (docs/decisions/003-features.md): a new codec leaves old vectors
valid. Vectors of different `Extractor.id` must not be compared.
"""

from __future__ import annotations

from lvc.features.network import DIMENSIONS, Extractor, default_extractor, quantise, unit
from lvc.features.sampling import SPACING, FeatureSampler
from lvc.features.sound import SoundSampler, heard
from lvc.features.thumbnail import shrink, thumbnail, upright
from lvc.features.watching import Watcher

__all__ = [
    "DIMENSIONS",
    "SPACING",
    "Extractor",
    "FeatureSampler",
    "SoundSampler",
    "Watcher",
    "default_extractor",
    "heard",
    "quantise",
    "shrink",
    "thumbnail",
    "unit",
    "upright",
]
