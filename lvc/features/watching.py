"""What passes while a video is encoded → vectors of what is seen and heard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from lvc.errors import LvcError
from lvc.features.sampling import FeatureSampler
from lvc.features.sound import SoundSampler
from lvc.lvz import FeatureTrack
from lvc.media.types import CopiedPacket, CopiedStreamInfo, Frame, VideoFormat

if TYPE_CHECKING:
    from lvc.media.listen import PacketListener

T = TypeVar("T")


class Watcher:
    """Describes frames and the first audio stream among `streams`. Sound that no decoder here knows is left out."""

    def __init__(self, video: VideoFormat, streams: Iterable[CopiedStreamInfo]) -> None:
        self._frames = FeatureSampler.of(video)
        self._sound = SoundSampler()
        from lvc.media.listen import PacketListener

        self._listener: PacketListener | None = None
        with contextlib.suppress(LvcError):
            self._listener = PacketListener(streams)

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; frames and packets among them are looked at."""
        for item in items:
            if isinstance(item, Frame):
                self._frames.add(item.y, item.u, item.v, item.pts)
            elif isinstance(item, CopiedPacket) and self._listener is not None:
                for sound in self._listener.take(item):
                    self._sound.add(sound)
            yield item

    def finish(self) -> tuple[FeatureTrack, ...]:
        """The tracks so far; ends the sound."""
        if self._listener is not None:
            for sound in self._listener.finish():
                self._sound.add(sound)
            self._listener.close()
            self._listener = None
        return self._frames.finish(), self._sound.finish()
