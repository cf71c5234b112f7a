"""Which streams of a file are used and how, and what is worth keeping of its tags."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.stream import Disposition

from lvc.media.params import codec_name, pack_params
from lvc.media.types import Chapter, CopiedPacket, CopiedStreamInfo, Ratio
from lvc.notices import Loss

# They describe the container that the video came in, not the video.
_CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "duration", "handler_name", "vendor_id"}


def ratio(value: Fraction | None) -> Ratio:
    """(0, 0) for nothing; PyAV 19 gives falsy objects where 18 gives None."""
    return (value.numerator, value.denominator) if value else (0, 0)


def useful_tags(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _CONTAINER_TAGS and not key.lower().startswith(("_statistics", "encoder")) and value != ""
    }


def choose_video(container: Any, notices: list[str]) -> Any | None:
    """The default video stream, or the first; never cover art or thumbnails. None if there is no video."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [s for s in container.streams.video if not s.disposition & pictures and s.codec_context is not None]
    if not videos:
        return None
    chosen = next((s for s in videos if s.disposition & Disposition.default), videos[0])
    if len(videos) > 1:
        notices.append(Loss(f"{len(videos)} video streams: only stream {chosen.index} is used"))
    return chosen


def describe(stream: Any, notices: list[str]) -> CopiedStreamInfo | None:
    """A stream that will be copied; None (and a notice) if it cannot be."""
    codec = codec_name(stream)
    params = pack_params(stream)
    if params is None:
        notices.append(
            Loss(f"{stream.type} stream {stream.index} ({codec or 'unknown codec'}) cannot be copied: left out")
        )
        return None
    tags = useful_tags(stream.metadata)
    language = tags.pop("language", "")
    audio = stream.type == "audio"
    return CopiedStreamInfo(
        kind=stream.type,
        codec=codec,
        time_base=ratio(stream.time_base),
        language="" if language == "und" else language,
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
    """Keeps the decoding times of one copied stream growing, as every container demands it.

    Where they jump back (joined recordings) what follows is shifted behind what came before.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._next = 0
        self._shift = 0
        self.jumps = 0

    def packet(self, number: int, packet: Any, off: int = 0) -> CopiedPacket:
        """The packet `packet` (an `av.Packet`) of copied stream `number`, `off` ticks earlier."""
        pts, dts, duration = packet.pts, packet.dts, packet.duration or 0
        time = dts if dts is not None else pts
        if time is not None:
            if self._last is not None and time + self._shift < self._last:
                self._shift += self._next - (time + self._shift)
                self.jumps += 1
            self._last = time + self._shift
            self._next = self._last + max(1, duration)
        move = self._shift - off
        return CopiedPacket(
            stream=number,
            pts=None if pts is None else pts + move,
            dts=None if dts is None else dts + move,
            duration=duration,
            is_key=packet.is_keyframe,
            data=bytes(packet),
        )
