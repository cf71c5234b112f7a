"""`fEAT`: feature vectors of picture and sound (`formats/lvz.md`, section 5.7). This module packs them; `lvc.features`
computes them."""

from __future__ import annotations

from dataclasses import dataclass

from lvc.errors import CorruptError, UsageError
from lvc.lvz import chunks as c
from lvc.lvz import fields as f
from lvc.lvz.clips import TIME_BOUND

VERSION = 2
PICTURE, SOUND = 0, 1
NUMBERS, SIGNS = 0, 1
FINGERPRINT = 8
_MAX_TRACKS = 16
_MAX_DIMENSIONS = 4096
_MAX_COUNT = 1 << 24


@dataclass(frozen=True)
class FeatureTrack:
    """A vector for each of the times `pts`, in units of `time_base` seconds on the clock of the frames.

    `kind`: `PICTURE` or `SOUND`. `form`: `NUMBERS`, `dimensions` int8 each, or `SIGNS`, a bit each, the lowest first.
    `extractor` names the extractor, and `fingerprint` is the start of the SHA-256 of its weights. Vectors of different
    extractors must not be compared.
    """

    kind: int
    extractor: str
    fingerprint: bytes
    form: int
    dimensions: int
    time_base: tuple[int, int]
    pts: list[int]
    vectors: bytes

    @property
    def id(self) -> str:
        return f"{self.extractor}:{self.fingerprint.hex()}"


def pack_features(tracks: tuple[FeatureTrack, ...]) -> bytes:
    """Raises `UsageError` for tracks that break the format's rules."""
    if not 0 < len(tracks) <= _MAX_TRACKS or len({track.kind for track in tracks}) < len(tracks):
        raise UsageError(f"features need 1 to {_MAX_TRACKS} tracks of different kinds")
    return bytes((VERSION,)) + f.uvarint(len(tracks)) + b"".join(map(_pack_track, tracks))


def _pack_track(track: FeatureTrack) -> bytes:
    steps = [b - a for a, b in zip(track.pts, track.pts[1:], strict=False)]
    size = _size_of(track.form, track.dimensions)
    fits = size is not None and len(track.vectors) == len(track.pts) * size and len(track.fingerprint) == FINGERPRINT
    if not (0 < len(track.pts) <= _MAX_COUNT and fits and min(steps, default=1) > 0 and min(track.time_base) > 0):
        raise UsageError("features need vectors of one size, and times that increase")
    return b"".join(
        (
            f.uvarint(track.kind), f.text(track.extractor), track.fingerprint, f.u8(track.form),
            f.uvarint(track.dimensions), f.uvarint(track.time_base[0]), f.uvarint(track.time_base[1]),
            f.uvarint(len(track.pts)), f.svarint(track.pts[0]), f.ints(steps), track.vectors,
        )
    )  # fmt: skip


def _size_of(form: int, dimensions: int) -> int | None:
    """Size of a vector in bytes; `None` if there is no such form or size."""
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        return None
    if form == NUMBERS:
        return dimensions
    return dimensions // 8 if form == SIGNS and dimensions % 8 == 0 else None


def unpack_features(payload: bytes) -> tuple[FeatureTrack, ...]:
    """Raises `CorruptError`. Sizes are checked against the payload before anything is allocated."""
    fields = f.Fields(payload, "fEAT")
    version = fields.u8()
    if version != VERSION:
        raise fields.bad(f"version {version} is not known")
    tracks: dict[int, FeatureTrack] = {}
    for _ in range(fields.uvarint(_MAX_TRACKS + 1)):
        track = _unpack_track(fields)
        if track.kind in tracks:
            raise fields.bad(f"two tracks of kind {track.kind}")
        tracks[track.kind] = track
    if not tracks:
        raise fields.bad("no track")
    fields.end()
    return tuple(tracks.values())


def _unpack_track(fields: f.Fields) -> FeatureTrack:
    kind, extractor, fingerprint = fields.uvarint(), fields.text(), fields.take(FINGERPRINT)
    form, dimensions = fields.u8(), fields.uvarint(_MAX_DIMENSIONS + 1)
    time_base = fields.uvarint(1 << 32), fields.uvarint(1 << 32)
    size, count = _size_of(form, dimensions), fields.uvarint(_MAX_COUNT + 1)
    if size is None or not count or count * size > fields.left:
        raise fields.bad(f"{count} vectors of {dimensions} numbers do not fit")
    if min(time_base) == 0:
        raise fields.bad("a time base of 0")
    pts = [fields.svarint()]
    for step in fields.ints(count - 1):
        pts.append(pts[-1] + step)
        if step <= 0:
            raise fields.bad("times do not increase")
    if max(abs(pts[0]), abs(pts[-1])) >= TIME_BOUND:
        raise fields.bad("a time is out of range")
    vectors = fields.take(count * size)
    return FeatureTrack(kind, extractor, fingerprint, form, dimensions, time_base, pts, vectors)


def find_features(source: c.Source, start: int, index: int) -> tuple[FeatureTrack, ...]:
    """Read the tracks of the last `fEAT` between byte `start` and the `INDX` at byte `index`; none if it is damaged.
    Payloads of other chunks are not read."""
    found: tuple[FeatureTrack, ...] = ()
    position = start
    while position < index:
        source.seek(position)
        if source.peek_type() == c.FEAT:
            chunk = source.read_chunk()
            try:
                found = () if chunk is None else unpack_features(chunk.payload)
            except CorruptError:
                found = ()
        else:
            source.seek(position)
            source.skip_chunk()
        position = source.offset
    return found
