"""Frames as they come → thumbnails of some → vectors with times."""

from __future__ import annotations

from fractions import Fraction

from lvc.features.network import DIMENSIONS, Extractor, default_extractor
from lvc.features.thumbnail import Thumbnail, thumbnail
from lvc.lvz import FeatureTrack
from lvc.lvz.features import NUMBERS, PICTURE
from lvc.media.depth import in_eight_bits
from lvc.media.types import Plane, VideoFormat

SPACING = Fraction(1)
"""Seconds from one vector to the next, in files and databases."""
_BATCH = 32


class FeatureSampler:
    """Takes all frames in order and uses the first of each `spacing` seconds, counted from the first frame.

    `hflip` and `rotation` as in `VideoFormat`. Memory: 64 bytes for each vector, and at most 32 thumbnails.
    """

    def __init__(
        self,
        extractor: Extractor,
        seconds_per_tick: Fraction,
        rotation: int = 0,
        hflip: bool = False,
        spacing: Fraction = SPACING,
    ) -> None:
        self._extractor, self._tick, self._spacing = extractor, seconds_per_tick, spacing
        self._rotation, self._hflip = rotation, hflip
        self._first: int | None = None
        self._slot = -1
        self._pts: list[int] = []
        self._waiting: list[Thumbnail] = []
        self._done: list[bytes] = []

    @classmethod
    def of(cls, video: VideoFormat, spacing: Fraction = SPACING) -> FeatureSampler:
        """A sampler with lvc's own extractor."""
        return cls(default_extractor(), video.seconds_per_tick, video.rotation, video.hflip, spacing)

    def add(self, y: Plane, u: Plane, v: Plane, pts: int) -> None:
        """Add the next frame, of 8 or 10 bits; most are skipped at no cost."""
        if self._first is None:
            self._first = pts
        slot = int((pts - self._first) * self._tick / self._spacing)
        if slot <= self._slot:
            return
        self._slot = slot
        self._pts.append(pts)
        y, u, v = (in_eight_bits(plane) for plane in (y, u, v))
        self._waiting.append(thumbnail(y, u, v, self._rotation, self._hflip))
        if len(self._waiting) == _BATCH:
            self._embed()

    def _embed(self) -> None:
        if self._waiting:
            self._done.append(self._extractor.vectors(self._waiting).tobytes())
            self._waiting.clear()

    def finish(self) -> FeatureTrack:
        """The vectors so far."""
        self._embed()
        extractor = self._extractor
        tick = self._tick.numerator, self._tick.denominator
        return FeatureTrack(
            PICTURE,
            extractor.name,
            extractor.fingerprint,
            NUMBERS,
            DIMENSIONS,
            tick,
            list(self._pts),
            b"".join(self._done),
        )
