"""Stream properties that FFmpeg knows and PyAV does not expose: cropping, field order, chroma location, attachments.

Muxers write them into headers, so a header is written to memory and parsed. (The log has them too, but a log callback
in Python can deadlock with the threads of a decoder.)
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lvc.media.errors import AV_ERRORS
from lvc.media.open import open_output
from lvc.media.types import Attachment

# FFmpeg's AVChromaLocation by (ChromaSitingHorz, ChromaSitingVert): 1 is collocated with luma, 2 half way, 3 beyond
_LOCATIONS = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4, (1, 3): 5, (2, 3): 6}
# which field is coded first and which is shown first, in Matroska's and QuickTime's numbers
_ORDERS = {1: "tt", 6: "bb", 9: "tb", 14: "bt"}
INTERLACED = "interlaced"

_MASTERS = {
    0x18538067: "Segment", 0x1654AE6B: "Tracks", 0xAE: "TrackEntry", 0xE0: "Video", 0x55B0: "Colour",
    0x1941A469: "Attachments", 0x61A7: "AttachedFile",
}  # fmt: skip
_FLAG_INTERLACED, _FIELD_ORDER, _SITING_X, _SITING_Y = 0x9A, 0x9D, 0x55B7, 0x55B8
_CROP_BOTTOM, _CROP_TOP, _CROP_LEFT, _CROP_RIGHT = 0x54AA, 0x54BB, 0x54CC, 0x54DD
_FILE_NAME, _FILE_TYPE, _FILE_DATA, _FILE_TEXT = 0x466E, 0x4660, 0x465C, 0x467E


@dataclass(frozen=True)
class Crop:
    """Columns and rows that the container crops on each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))

    def size(self, width: int, height: int) -> tuple[int, int]:
        return width - self.left - self.right, height - self.top - self.bottom


@dataclass(frozen=True)
class VideoHeader:
    """`chroma_location` is an `AVChromaLocation`; `field_order` is `progressive`, `tt`, `bb`, `tb`, `bt`, `interlaced`
    (of unknown order) or empty."""

    chroma_location: int = 0
    field_order: str = ""
    crop: Crop = Crop()


def video_header(stream: Any) -> VideoHeader:
    """The header of a video stream of an open container; empty for codecs that no muxer here can hold."""
    found = _elements(stream)
    if not found:
        return VideoHeader(field_order=_order_in_mov(stream))
    number = {key: int.from_bytes(value, "big") for key, value in found.items() if len(value) <= 8}
    interlaced = number.get(_FLAG_INTERLACED, 0)
    order = {0: "", 1: _ORDERS.get(number.get(_FIELD_ORDER, 2), INTERLACED), 2: "progressive"}.get(interlaced, "")
    return VideoHeader(
        _LOCATIONS.get((number.get(_SITING_X, 0), number.get(_SITING_Y, 0)), 0),
        order,
        Crop(*(number.get(key, 0) for key in (_CROP_LEFT, _CROP_TOP, _CROP_RIGHT, _CROP_BOTTOM))),
    )


def attachment_of(stream: Any) -> Attachment | None:
    """The file in an attachment stream."""
    found = _elements(stream)
    if _FILE_DATA not in found:
        return None
    name, kind = (found.get(key, b"").decode("utf-8", "replace") for key in (_FILE_NAME, _FILE_TYPE))
    text = found.get(_FILE_TEXT, b"").decode("utf-8", "replace")
    return Attachment(name, kind, found[_FILE_DATA], tags={"title": text} if text else {})


def _elements(stream: Any) -> dict[int, bytes]:
    """The elements of a Matroska header with only this stream; empty if Matroska cannot hold it."""
    buffer = io.BytesIO()
    try:
        with open_output(buffer, "matroska", {"strict": "-2"}) as container:
            options = {"opaque": True} if stream.type == "video" else {}
            container.add_stream_from_template(stream, **options)
            container.start_encoding()
    except (OSError, *AV_ERRORS):
        return {}
    data = buffer.getvalue()
    return dict(_walk(data, 0, len(data)))


def _walk(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + 1 < end and data[at]:
        size = 9 - data[at].bit_length()
        kind = int.from_bytes(data[at : at + size], "big")
        at += size
        if at >= end or not data[at]:
            return
        size = 9 - data[at].bit_length()
        length = int.from_bytes(data[at : at + size], "big") & ((1 << 7 * size) - 1)
        at += size
        if length == (1 << 7 * size) - 1:  # unknown: up to the end
            length = end - at
        if kind in _MASTERS:
            yield from _walk(data, at, min(end, at + length))
        else:
            yield kind, data[at : at + length]
        at += length


def _order_in_mov(stream: Any) -> str:
    """For codecs that Matroska does not name, as DV."""
    buffer = io.BytesIO()
    try:
        with open_output(buffer, "mov", {"strict": "-2", "movflags": "empty_moov"}) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (OSError, *AV_ERRORS):
        return ""
    at = buffer.getvalue().find(b"fiel")
    if at < 0:
        return ""
    fields, order = buffer.getvalue()[at + 4 : at + 6]
    return "progressive" if fields == 1 else _ORDERS.get(order, INTERLACED)
