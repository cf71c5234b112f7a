"""Queries by picture, by sound, or by both."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvc.errors import MediaError, UsageError
from lvc.features.sound import SECONDS
from lvc.output import about
from lvc.search.database import Collection
from lvc.search.hearing import Sounds
from lvc.search.nearest import Nearest
from lvc.search.queries import Hit, Way, query, query_both, query_sound
from lvc.search.sources import QUERY_SPACING, Moments, moments_of, only_sounds, sounds_of
from lvc.search.tagging import Tagged


@dataclass(frozen=True)
class Asked:
    """A query: its picture, its sound, or both."""

    moments: Moments | None
    sounds: Sounds | None

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str],
        start: float | None = None,
        end: float | None = None,
        by: Way | None = None,
        threads: int | None = None,
    ) -> Asked:
        """Read the picture of a file, its sound, or both. `by` `None` means by picture, or by sound where there is no
        picture. With `both`, one of them may be missing.

        Raises `MediaError` for a file that cannot be read or lacks picture or sound, and `UsageError` for the sound of
        a single moment.
        """
        name = os.fspath(path)
        if by is None:
            by = "sound" if only_sounds(name) else "picture"
        if by == "sound" and start is not None and end is None:
            raise UsageError("a single moment has no sound — give a range, such as FILE@12-16")
        moments = sounds = None
        if by != "sound" and not (by == "both" and only_sounds(name)):
            moments = moments_of(name, start, end, QUERY_SPACING, threads)
        if by != "picture" and not (start is not None and end is None):
            sounds = sounds_of(name, start, end)
            if not len(sounds.times):
                with about(name):
                    if by == "sound":
                        raise MediaError(f"has no sound of {SECONDS:.1f} seconds — use --by picture")
                sounds = None
        if moments is None and sounds is None:
            with about(name):
                raise MediaError(f"has no picture, and no sound of {SECONDS:.1f} seconds — give a longer part")
        return cls(moments, sounds)

    @property
    def seconds(self) -> float:
        """Duration; 0 for a picture."""
        return max((part.seconds for part in (self.moments, self.sounds) if part is not None), default=0.0)


def find(
    collection: Collection,
    asked: Asked,
    top: int,
    nearest: Nearest | None = None,
    tagged: Mapping[str, Sequence[Tagged]] | None = None,
) -> list[Hit]:
    """Find the files in which the query is seen or heard, best first. `nearest` and `tagged` as in `query`.

    Raises `UsageError` for sound, where no file of the collection has any.
    """
    if asked.moments is None and not len(collection.sound_vectors):
        raise UsageError("no video in the database has sound — index videos with sound, or use --by picture")
    seen = [] if asked.moments is None else query(collection, asked.moments, top, nearest, tagged)
    heard = [] if asked.sounds is None else query_sound(collection, asked.sounds, top, tagged)
    if asked.moments is None or asked.sounds is None:
        return seen or heard
    return query_both(seen, heard, top)
