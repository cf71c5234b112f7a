"""The file formats that `decode` can write, chosen by name or by the ending of a file name."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from fractions import Fraction

from lvc.errors import UsageError

_MAX_TIMESCALE = (1 << 31) - 1

# tags that iTunes-style MP4 metadata can hold; with others, QuickTime keys are written instead, which hold any
ILST_TAGS = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "creation_time",
}  # fmt: skip


@dataclass(frozen=True)
class ContainerFormat:
    name: str
    muxer: str
    codecs: tuple[str, ...]
    sounds: tuple[str, ...] = ("flac", "opus", "aac")
    """Codecs of sound for this container (`lvc.media.sound`)."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def any_sound(self) -> str:
        """`sounds` in words."""
        return " or ".join(filter(None, [", ".join(self.sounds[:-1]), self.sounds[-1]]))

    @property
    def is_iso(self) -> bool:
        return self.muxer in ("mp4", "mov")


CONTAINERS: dict[str, ContainerFormat] = {
    "mp4": ContainerFormat("mp4", "mp4", ("h264", "hevc", "av1")),
    "mov": ContainerFormat("mov", "mov", ("h264", "hevc"), ("aac",)),
    "mkv": ContainerFormat("mkv", "matroska", ("h264", "hevc", "av1", "ffv1", "raw")),
    "webm": ContainerFormat("webm", "webm", ("av1",), ("opus",)),
}
_ENDINGS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "qt": "mov", "mkv": "mkv", "matroska": "mkv", "webm": "webm"}


def container_for(path: object, container: str | None) -> ContainerFormat:
    """By `container` if it is given, else by the ending of `path`. Raises `UsageError`."""
    if container is not None:
        name = _ENDINGS.get(container.lower().lstrip("."))
        if name is None:
            raise UsageError(f"unknown container {container!r} — use {', '.join(CONTAINERS)}")
        return CONTAINERS[name]
    ending = os.path.splitext(os.fspath(path))[1].lower().lstrip(".") if isinstance(path, (str, os.PathLike)) else ""
    if ending not in _ENDINGS:
        raise UsageError(f"unknown container for the ending {ending!r} — use .mp4, .mov, .mkv or .webm")
    return CONTAINERS[_ENDINGS[ending]]


@dataclass(frozen=True)
class Streaming:
    """Options of a fragmented MP4, which players can read while it is written: the header first, then independent
    fragments of that many seconds. `piece`: a part of a longer video, as one fragment that keeps its times."""

    seconds: float = 0.5
    piece: bool = False


def iso_options(
    time_base: Fraction, rates: list[int], seekable: bool, tags: set[str], streaming: Streaming | None = None
) -> dict[str, str]:
    """Options of the MP4/MOV muxer that keep times exact and tags complete.

    The track counts in the source's own ticks; the movie (edit lists, chapters) in ticks that fit every track.
    """
    scale = time_base.denominator
    movie = math.lcm(scale, *[rate for rate in rates if rate > 0]) if scale else 1000
    while movie < 1000:
        movie *= 10
    if movie > _MAX_TIMESCALE:
        movie = scale
    flags = ["faststart"] if seekable else ["frag_keyframe", "delay_moov", "default_base_moof"]
    if streaming is not None:
        flags = ["empty_moov", "default_base_moof", "skip_trailer"]
        flags += ["frag_custom", "frag_discont"] if streaming.piece else ["frag_keyframe"]
    if not {tag.lower() for tag in tags} <= ILST_TAGS:
        flags.append("use_metadata_tags")
    often = streaming is not None and not streaming.piece
    return {
        **({"frag_duration": str(round(streaming.seconds * 1e6))} if streaming is not None and often else {}),
        "movflags": "+".join(flags),
        "video_track_timescale": str(min(scale, _MAX_TIMESCALE)),
        "movie_timescale": str(min(movie, _MAX_TIMESCALE)),
    }
