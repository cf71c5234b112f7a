"""`fEAT`: vectors that say what frames show (`formats/lvz.md`, section 5.6). Bytes here; `lvc.features` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from lvc.errors import CorruptError, UsageError
from lvc.lvz import chunks as c
from lvc.lvz import fields as f
from lvc.lvz.clips import TIME_BOUND

FINGERPRINT = 8
_MAX_DIMENSIONS = 4096


@dataclass(frozen=True)
class FeatureTrack:
    """`vectors` holds `dimensions` int8 for each of the ticks `pts`. `extractor` names what made them, `fingerprint`
    is the beginning of the SHA-256 of its weights: vectors of different ones must not be compared."""

    extractor: str
    fingerprint: bytes
    dimensions: int
    pts: list[int]
    vectors: bytes

    @property
    def id(self) -> str:
        return f"{self.extractor}:{self.fingerprint.hex()}"


def pack_features(track: FeatureTrack) -> bytes:
    """Raises `UsageError` for a track that breaks the format's rules."""
    steps = [b - a for a, b in zip(track.pts, track.pts[1:], strict=False)]
    sizes_fit = len(track.vectors) == len(track.pts) * track.dimensions and len(track.fingerprint) == FINGERPRINT
    if not (track.pts and sizes_fit and 0 < track.dimensions <= _MAX_DIMENSIONS and min(steps, default=1) > 0):
        raise UsageError("features need vectors of one size, and times that increase")
    head = f.text(track.extractor) + track.fingerprint + f.uvarint(track.dimensions) + f.uvarint(len(track.pts))
    return head + f.svarint(track.pts[0]) + f.ints(steps) + track.vectors


def unpack_features(payload: bytes) -> FeatureTrack:
    """Raises `CorruptError`. The sizes are compared with the bytes there are before anything is allocated."""
    fields = f.Fields(payload, "fEAT")
    extractor, fingerprint = fields.text(), fields.take(FINGERPRINT)
    dimensions, count = fields.uvarint(_MAX_DIMENSIONS + 1), fields.uvarint()
    if not dimensions or not count or count * dimensions > fields.left:
        raise fields.bad(f"{count} vectors of {dimensions} numbers do not fit")
    pts = [fields.svarint()]
    for step in fields.ints(count - 1):
        pts.append(pts[-1] + step)
        if step <= 0:
            raise fields.bad("times do not increase")
    if max(abs(pts[0]), abs(pts[-1])) >= TIME_BOUND:
        raise fields.bad("a time is out of range")
    vectors = fields.take(count * dimensions)
    fields.end()
    return FeatureTrack(extractor, fingerprint, dimensions, pts, vectors)


def find_features(source: c.Source, start: int, index: int) -> FeatureTrack | None:
    """The last `fEAT` among the chunks from byte `start` to the `INDX` at byte `index`; whatever is wrong with it,
    there is none. Payloads of other chunks are not read."""
    found = None
    position = start
    while position < index:
        source.seek(position)
        if source.peek_type() == c.FEAT:
            chunk = source.read_chunk()
            try:
                found = None if chunk is None else unpack_features(chunk.payload)
            except CorruptError:
                found = None
        else:
            source.seek(position)
            source.skip_chunk()
        position = source.offset
    return found
