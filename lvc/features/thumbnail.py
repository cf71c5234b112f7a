"""Frames → small pictures of one size, the way they are shown, squeezed to a square by averaging areas."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Float: TypeAlias = npt.NDArray[np.float32]
Byte: TypeAlias = npt.NDArray[np.uint8]
Thumbnail: TypeAlias = tuple[Float, Float]
"""Luma float32 [S,S] and chroma float32 [2,C,C], 0..255."""

LUMA, CHROMA = 64, 16


@functools.lru_cache(maxsize=16)
def _shares(source: int, target: int) -> Float:
    """[target, source]: the share of every source sample in every target sample; rows sum to 1."""
    edges = np.arange(target + 1) * (source / target)
    samples = np.arange(source)
    overlap = np.minimum(edges[1:, None], samples + 1) - np.maximum(edges[:-1, None], samples)
    weights = np.clip(overlap, 0, None).astype(np.float32)
    shares: Float = weights / weights.sum(1, keepdims=True)
    return shares


def shrink(plane: Byte, height: int, width: int) -> Float:
    """uint8 [H,W] → float32 [height,width], the mean of each area; larger planes than the source repeat samples."""
    rows = _shares(plane.shape[0], height) @ plane.astype(np.float32)
    return np.ascontiguousarray(rows @ _shares(plane.shape[1], width).T)


def upright(plane: Float, rotation: int, hflip: bool) -> Float:
    """[H,W] as coded → as shown: mirrored if `hflip`, then turned clockwise by `rotation` degrees."""
    return np.ascontiguousarray(np.rot90(plane[:, ::-1] if hflip else plane, -round(rotation / 90) % 4))


def thumbnail(
    y: Byte, u: Byte, v: Byte, rotation: int = 0, hflip: bool = False, size: int = LUMA, chroma: int = CHROMA
) -> Thumbnail:
    """Planes as coded → the picture as shown, squeezed to a square."""
    luma = upright(shrink(y, size, size), rotation, hflip)
    return luma, np.stack([upright(shrink(plane, chroma, chroma), rotation, hflip) for plane in (u, v)])
