"""Videos and photographs to train on in tests, drawn here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.helpers.small_models import frame


def film(path: Path, frames: int = 18, side: int = 96, scene: int = 1000) -> Path:
    """`scene`: frames until another picture moves."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(25))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            f = frame(n, side, side, shift=n, seed=n // scene)
            planes = np.concatenate([f.y.ravel(), f.u.ravel(), f.v.ravel()]).reshape(-1, side)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        out.mux(stream.encode(None))
    return path


def photo(path: Path, side: int = 128) -> Path:
    f = frame(0, side, side, seed=3)
    av.VideoFrame.from_ndarray(np.repeat(f.y[:, :, None], 3, 2), "rgb24").to_image().save(path)
    return path
