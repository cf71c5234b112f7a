"""Colour tags of decoded pictures, and the matrix for pictures that come as RGB."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lvc.media.types import RANGE_FULL, RANGE_LIMITED, RANGE_UNSPECIFIED, UNSPECIFIED

BT709 = 1
SRGB_TRANSFER = 13
MATRIX_RGB = 0
HDR_TRANSFERS = (16, 18)
"""PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)."""


@dataclass(frozen=True)
class ColourTags:
    """H.273 code points as FFmpeg numbers them; `color_range` is FFmpeg's (0 unknown, 1 limited, 2 full)."""

    primaries: int
    transfer: int
    matrix: int
    color_range: int


def _known(value: Any) -> int:
    """Treat 0, which is reserved for primaries and transfer, as unspecified."""
    return int(value) or UNSPECIFIED


# code points known to H.273 and FFmpeg; encoders refuse others
_PRIMARIES = frozenset({1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22})
_TRANSFERS = frozenset({1, *range(4, 19)})
_MATRICES = frozenset({1, *range(4, 15)})


def known_tags(tags: ColourTags) -> ColourTags:
    """The same tags, with "unspecified" for unknown code points (and for an RGB matrix)."""
    return ColourTags(
        primaries=tags.primaries if tags.primaries in _PRIMARIES else UNSPECIFIED,
        transfer=tags.transfer if tags.transfer in _TRANSFERS else UNSPECIFIED,
        matrix=tags.matrix if tags.matrix in _MATRICES else UNSPECIFIED,
        color_range=tags.color_range if tags.color_range in (RANGE_LIMITED, RANGE_FULL) else RANGE_UNSPECIFIED,
    )


def tags_of(frame: Any) -> ColourTags:
    """The tags of a decoded `av.VideoFrame`, before any conversion."""
    full = frame.format.name.startswith("yuvj")
    return ColourTags(
        primaries=_known(frame.color_primaries),
        transfer=_known(frame.color_trc),
        matrix=int(frame.colorspace),
        color_range=RANGE_FULL if full else int(frame.color_range),
    )


def tags_after(tags: ColourTags, pix_fmt: Any) -> ColourTags:
    """The tags of the 4:2:0 planes that are made from pictures of format `pix_fmt` (an `av.VideoFormat`)."""
    name = pix_fmt.name
    if name.startswith(("gray", "ya", "mono")):
        return replace(tags, color_range=tags.color_range or RANGE_FULL)
    if pix_fmt.is_rgb or name == "pal8":
        return ColourTags(
            primaries=BT709 if tags.primaries == UNSPECIFIED else tags.primaries,
            transfer=SRGB_TRANSFER if tags.transfer == UNSPECIFIED else tags.transfer,
            matrix=BT709,
            color_range=RANGE_LIMITED,
        )
    if tags.matrix == MATRIX_RGB:  # YUV that claims to be RGB
        return replace(tags, matrix=UNSPECIFIED)
    if tags.color_range not in (RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL):
        return replace(tags, color_range=RANGE_UNSPECIFIED)
    return tags
