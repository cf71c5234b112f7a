"""Frames → small pictures of one size, as they are shown, without bars, squeezed to a square by averaging areas."""

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
BAR_NOISE = 4.0
"""Mean difference from its colour, in levels of luma, up to which a line belongs to a bar: coding leaves some."""
LEAST_BARS = 0.03
"""So much of a side must the bars at its two ends take to be cut off: less hardly changes what is compared."""
LEAST_PICTURE = 0.125


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


def without_bars(y: Byte) -> tuple[slice, slice]:
    """Rows and columns of a luma plane inside its letterbox, pillarbox, or both: all of them where it has none.

    A bar is of one colour, and has one of the same colour opposite. Unrelated videos would else resemble each other by
    their bars, and a copy with bars would not resemble its original.
    """
    rows = _inside(y[:, :: max(1, y.shape[1] // 256)])
    columns = _inside(y[rows][:: max(1, y.shape[0] // 256)].T)
    return rows, columns


def _inside(lines: Byte) -> slice:
    """The range of lines between bars at both ends."""
    size = len(lines)
    colours = [float(np.median(line)) for line in (lines[0], lines[-1])]
    if abs(colours[0] - colours[1]) > BAR_NOISE:
        return slice(0, size)
    first, last = (_run(ordered, colour) for ordered, colour in zip((lines, lines[::-1]), colours, strict=True))
    if abs(first - last) > 0.04 * size:  # one of them goes on into a picture of the same colour
        first = last = min(first, last)
    bars = first + last
    if min(first, last) == 0 or bars < LEAST_BARS * size or size - bars < LEAST_PICTURE * size:
        return slice(0, size)
    return slice(first, size - last)


def _run(lines: Byte, colour: float) -> int:
    """How many lines from the first on are of one colour."""
    if np.abs(lines[0] - np.float32(colour)).mean() > BAR_NOISE:  # most pictures: nothing else is looked at
        return 0
    other = np.abs(lines - np.float32(colour)).mean(1) > BAR_NOISE
    return int(other.argmax()) if other.any() else len(lines)


def thumbnail(
    y: Byte, u: Byte, v: Byte, rotation: int = 0, hflip: bool = False, size: int = LUMA, chroma: int = CHROMA
) -> Thumbnail:
    """Planes as coded → the picture as shown, without bars, squeezed to a square."""
    rows, columns = without_bars(y)
    luma = upright(shrink(y[rows, columns], size, size), rotation, hflip)
    planes = [plane[_of_chroma(rows, y, plane, 0), _of_chroma(columns, y, plane, 1)] for plane in (u, v)]
    return luma, np.stack([upright(shrink(plane, chroma, chroma), rotation, hflip) for plane in planes])


def _of_chroma(kept: slice, luma: Byte, plane: Byte, axis: int) -> slice:
    share = plane.shape[axis] / luma.shape[axis]
    return slice(round(kept.start * share), max(round(kept.stop * share), round(kept.start * share) + 1))
