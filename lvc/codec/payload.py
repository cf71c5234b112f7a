"""A clip's payload with packing `rans`: its structure, the quality of its frames, and one or two entropy-coded parts
(formats/decoder.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CorruptError, UnsupportedError
from .pyramid import CHAIN, LONG_TERM, LONGEST, Step, last_place, steps

QUALITIES = 128
LEVEL_MIN, PER_OCTAVE = 5.0, 8
"""A frame's quality q stands for log2 λ = 5 + q/8."""
DETAIL_FROM = 32
"""The lowest quality at which a frame may have detail."""
NETWORKS_BEST = 96
"""The networks' best quality: above it only the detail becomes finer."""
_BY_PLACE, _BY_FRAME = 128, 129


def level_of(quality: int) -> float:
    return LEVEL_MIN + quality / PER_OCTAVE


def quality_of(level: float) -> int:
    return min(max(round((level - LEVEL_MIN) * PER_OCTAVE), 0), QUALITIES - 1)


@dataclass(frozen=True)
class ClipHead:
    """`qualities` of the frames in coding order."""

    structure: int
    qualities: tuple[int, ...]


def falling(quality: int, fall: int, place: int) -> int:
    """The quality of a place in the pyramid, `fall` eighths below the place before it."""
    return max(0, quality - ((fall * min(place, 4) + 4) >> 3))


def pack_key(quality: int, part: bytes) -> bytes:
    return bytes([quality]) + part


def unpack_key(payload: bytes) -> tuple[int, bytes]:
    """Raises `CorruptError`."""
    if not payload:
        raise CorruptError("a clip's payload ends too early")
    return checked_quality(payload[0]), payload[1:]


def pack(head: ClipHead, parts: Sequence[bytes]) -> bytes:
    """Return the payload of a clip that is not a key clip; `parts`: the anchor and the frames between, or a single part
    if there are none between."""
    order = steps(head.structure, len(head.qualities), older=True)
    by_place: dict[int, set[int]] = {}
    for step, q in zip(order, head.qualities, strict=True):
        by_place.setdefault(step.place, set()).add(q)
    first = head.qualities[0]
    out = bytes([head.structure, first])
    fall = next((f for f in range(128) if all(s == {falling(first, f, p)} for p, s in by_place.items())), None)
    if fall is not None:
        out += bytes([fall])
    elif all(len(s) == 1 for s in by_place.values()):
        out += bytes([_BY_PLACE, *(min(by_place[p]) for p in range(1, len(by_place)))])
    else:
        out += bytes([_BY_FRAME, *head.qualities[1:]])
    if len(parts) == 2:
        out += _uvarint(len(parts[0]))
    return out + b"".join(parts)


def unpack(payload: bytes, frames: int) -> tuple[ClipHead, list[bytes]]:
    """Raises `CorruptError`, `UnsupportedError`."""
    if not 1 <= frames <= LONGEST:
        raise CorruptError(f"a clip has {frames} frames, not 1 … {LONGEST}")
    if len(payload) < 3:
        raise CorruptError("a clip's payload ends too early")
    structure, first, fall = payload[:3]
    order, at = steps(_checked_structure(structure), frames, older=True), 3
    if fall < 128:
        qualities = [falling(first, fall, step.place) for step in order]
    elif fall == _BY_PLACE:
        places = last_place(structure, frames)
        said, at = [first, *payload[at : at + places]], at + places
        qualities = [said[s.place] for s in order if s.place < len(said)]
    elif fall == _BY_FRAME:
        qualities, at = [first, *payload[at : at + frames - 1]], at + frames - 1
    else:
        raise UnsupportedError(f"a clip codes its qualities by the unknown method {fall} — update lvc")
    if len(qualities) != frames or at > len(payload):
        raise CorruptError("a clip's payload ends too early")
    head = ClipHead(structure, tuple(map(checked_quality, qualities)))
    if structure == CHAIN or frames == 1:
        return head, [payload[at:]]
    size, at = _read_uvarint(payload, at)
    if size > len(payload) - at:
        raise CorruptError("a clip's first part is longer than its payload")
    return head, [payload[at : at + size], payload[at + size :]]


def order_of(head: ClipHead, older: bool) -> list[Step]:
    """Raises `CorruptError`, `UnsupportedError`."""
    if not 1 <= len(head.qualities) <= LONGEST:
        raise CorruptError(f"a clip has {len(head.qualities)} frames, not 1 … {LONGEST}")
    return steps(_checked_structure(head.structure), len(head.qualities), older)


def _checked_structure(value: int) -> int:
    """Raises `UnsupportedError`."""
    if value > LONG_TERM:
        raise UnsupportedError(f"a clip has the unknown structure {value} — update lvc")
    return value


def checked_quality(value: int) -> int:
    """Raises `CorruptError`."""
    if value >= QUALITIES:
        raise CorruptError(f"a frame has the quality {value}")
    return value


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 28:
            raise CorruptError("a clip's payload ends too early")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            if byte == 0 and shift > 7:
                raise CorruptError("a size is not in its shortest form")
            return value, at
