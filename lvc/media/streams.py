"""The choice of streams of a file, and of the tags that are worth keeping."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from av.stream import Discard, Disposition

from lvc.media.params import codec_name, pack_params
from lvc.media.types import Chapter, CopiedPacket, CopiedStreamInfo, Ratio
from lvc.notices import Loss

# These describe the source's container, not the video.
_CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "duration", "vendor_id", "bps"}
_CONTAINER_TAGS |= {"number_of_frames", "number_of_bytes"}
_PLUMBING = re.compile(r"hint|scene|\bOD\b|bifs|object desc", re.IGNORECASE)
# generic names that muxers give to every track
_USUAL_NAMES = re.compile(
    r"(\W|core media|gopro met|apple|gpac|iso media|google|bento4|l-smash|vimeo|alias|sound|audio|video|media|data|"
    r"time|code|subtitle|text|closed|caption|handler|track|stream|file|produced|by|inc|imported|with|on|at|using|\d|\x1f)*",
    re.IGNORECASE,
)


def ratio(value: Fraction | None) -> Ratio:
    """(0, 0) for nothing; PyAV 19 gives falsy objects where 18 gives None."""
    return (value.numerator, value.denominator) if value else (0, 0)


def useful_tags(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if _plain(key) not in _CONTAINER_TAGS
        and not key.lower().startswith(("_statistics", "encoder"))
        and value != ""
        and not (key.lower() == "handler_name" and _USUAL_NAMES.fullmatch(value))
    }


def _plain(key: str) -> str:
    """Remove the language that some programs append, as in `BPS-eng`."""
    return key.lower().removesuffix("-eng")


def tags_of_stream(metadata: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Language and useful tags of a stream. Its name becomes `title`, wherever the container stores it."""
    tags = useful_tags(metadata)
    language = tags.pop("language", "")
    names = [tags.pop(key, "") for key in ("title", "name", "handler_name")]
    name = next((name for name in names if name), "")
    if name:
        tags["title"] = name
    return "" if language == "und" else language, tags


def choose_video(container: Any, notices: list[str]) -> Any | None:
    """The default video stream, or the first; never cover art or thumbnails. `None` if there is no video."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [s for s in container.streams.video if not s.disposition & pictures and s.codec_context is not None]
    if not videos:
        return None
    chosen = next((s for s in videos if s.disposition & Disposition.default), videos[0])
    if len(videos) > 1:
        notices.append(Loss(f"{len(videos)} video streams: only stream {chosen.index} is used"))
    return chosen


def pictures_of(container: Any) -> list[Any]:
    """The streams that are cover art."""
    return [s for s in container.streams.video if s.disposition & Disposition.attached_pic]


def is_plumbing(stream: Any) -> bool:
    """Data streams that only serve a container: text of chapters, which FFmpeg discards, hints and descriptions of MP4,
    and time code, which is a tag as well."""
    if stream.type != "data":
        return False
    plumbing = codec_name(stream) == "" and _PLUMBING.search(stream.metadata.get("handler_name", ""))
    return stream.discard == Discard.all or "timecode" in stream.metadata or bool(plumbing)


def describe(stream: Any, packet: bytes = b"") -> CopiedStreamInfo | None:
    """The description of a stream to copy; `None` if it cannot be copied. `packet` is its first one, if known."""
    params = pack_params(stream, packet)
    if params is None:
        return None
    language, tags = tags_of_stream(stream.metadata)
    audio = stream.type == "audio"
    return CopiedStreamInfo(
        kind=stream.type,
        codec=codec_name(stream),
        time_base=ratio(stream.time_base),
        language=language,
        sample_rate=stream.codec_context.sample_rate if audio else 0,
        channels=stream.codec_context.layout.nb_channels if audio else 0,
        disposition=int(stream.disposition),
        metadata=tags,
        params=params,
    )


def chapters_of(container: Any) -> list[Chapter]:
    return [
        Chapter(int(c["start"]), int(c["end"]), ratio(c["time_base"]), dict(c["metadata"]))
        for c in container.chapters()
        if c["time_base"]
    ]


class PacketClock:
    """Keeps decoding times of a copied stream increasing, as every container demands.

    Where they jump back (joined recordings), what follows is shifted after what came before.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._out: int | None = None
        self._next = 0
        self._shift = 0
        self.jumps = 0

    def packet(
        self, number: int, packet: Any, off: int = 0, closed: Callable[[int], int] = lambda _: 0
    ) -> CopiedPacket:
        """The packet `packet` (an `av.Packet`) of copied stream `number`, `off` ticks earlier, and less the gaps
        removed before it (`closed`)."""
        pts, dts, duration = packet.pts, packet.dts, packet.duration or 0
        time = dts if dts is not None else pts
        if time is not None:
            if self._last is not None and time + self._shift < self._last:
                self._shift += self._next - (time + self._shift)
                self.jumps += 1
            self._last = time + self._shift
            self._next = self._last + max(1, duration)
        move = self._shift - off
        if self._last is not None and (gaps := closed(self._last)):
            move -= gaps
            if time is not None and self._out is not None:  # streams do not start and end at exactly the same time
                move += max(0, self._out + 1 - (time + move))
        if time is not None:
            self._out = time + move
        return CopiedPacket(
            stream=number,
            pts=None if pts is None else pts + move,
            dts=None if dts is None else dts + move,
            duration=duration,
            is_key=packet.is_keyframe,
            data=bytes(packet),
        )
