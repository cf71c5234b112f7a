"""How much better than others a key frame should be: the more, the longer later frames keep what it shows.

A block that N frames keep is worth log2 N levels more, if nothing is coded anew in it; what x264 takes of that sum is
the model here (macroblock tree, Garrett-Glaser 2009, "A novel macroblock-tree algorithm").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine import motion
from .lookahead import BY, predicted, smaller

SHARE, BASE = 0.5, -0.3
"""Levels by which a key frame is better for each doubling of the frames that keep it, and where it is one (decision
009)."""
LEAST, MOST = 0.8, 4.0
LOST = 1900.0
"""Mean squared error of a block's prediction, in 12-bit samples, at which half of what a key frame was better by is
lost."""
BLOCK = 16 // BY


def key_raise(luma: np.ndarray, later: Sequence[tuple[int, np.ndarray]], frames: int) -> float:
    """Return by how many levels a key frame should be better than other frames.

    Args:
        luma: That of the key frame, padded, int16 of 12 bits.
        later: Frames of its scene that follow, in order: the distance of each from the key frame, and its luma.
        frames: How many frames may be predicted from the key frame, itself included.
    """
    if not later:
        return LEAST
    small = smaller(luma)
    reference = small, motion.Picture(small)
    kept, area, last = np.ones(()), np.zeros(()), 0
    for distance, other in later:
        source = smaller(other)
        h, w = source.shape
        made = predicted(motion.Picture(source, reference=False), reference, time=distance)
        error = np.square(source - made, dtype=np.float32)
        error = error.reshape(h // BLOCK, BLOCK, w // BLOCK, BLOCK).mean((1, 3))
        found = 1 / (1 + error / LOST)
        kept, area, last = found, area + (distance - last) * (kept + found) / 2, distance
    # the frames beyond are thought to lose as much in as many frames
    kept = np.minimum(kept, 0.999)
    frames_kept = 1 + area * (1 - kept ** (frames / last)) / (1 - kept)
    return float(np.clip(BASE + SHARE * np.log2(frames_kept).mean(), LEAST, MOST))
