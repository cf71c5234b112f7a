"""Feature vectors of frames, for finding copies, neighbours and classes. numpy only; no codec, no torch.

    frame ─▶ thumbnail 64x64 ─▶ network of its own ─▶ int8 [64], about once a second

The network does not share weights with the codec (docs/decisions/003-features.md): a new codec leaves old vectors
valid. Vectors of different `Extractor.id` must not be compared.
"""

from __future__ import annotations

from lvc.features.network import DIMENSIONS, Extractor, default_extractor, quantise, unit
from lvc.features.sampling import SPACING, FeatureSampler
from lvc.features.thumbnail import shrink, thumbnail, upright

__all__ = [
    "DIMENSIONS",
    "SPACING",
    "Extractor",
    "FeatureSampler",
    "default_extractor",
    "quantise",
    "shrink",
    "thumbnail",
    "unit",
    "upright",
]
