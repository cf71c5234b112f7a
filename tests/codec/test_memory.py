"""How much of a video is alive at a time: counted, since a process's memory depends on the machine."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from lvc.codec import decode, decoder, encoder, settings
from lvc.codec.frames import FrameDecoder
from lvc.codec.gop import TOGETHER
from lvc.engine import motion
from lvc.errors import CorruptError
from tests.helpers.small_models import clips_of, descriptor, frame, model, written

HEIGHT, WIDTH, CLIP = 96, 128, 16
FRAMES = [frame(n, HEIGHT, WIDTH, shift=n / 4) for n in range(2 * CLIP + 1)]


class Alive:
    """Counts the objects of a kind, and remembers the most."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def made(self, thing: Any) -> None:
        weakref.finalize(thing, self._gone)
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def _gone(self) -> None:
        with self._lock:
            self._now -= 1


def references(monkeypatch: pytest.MonkeyPatch, large: bool, threads: int) -> tuple[int, list[bytes]]:
    """The most pictures of references that are alive while a clip is encoded, and what the clips are."""
    alive = Alive()

    class Picture(motion.Picture):
        def __init__(self, *planes: np.ndarray, **options: Any) -> None:
            super().__init__(*planes, **options)
            if self.reference:
                alive.made(self)

    with monkeypatch.context() as patch:
        patch.setattr(motion, "Picture", Picture)
        patch.setattr(encoder, "REACH", (0, 0, 0))
        patch.setattr(settings, "LARGE", HEIGHT * WIDTH if large else 1 << 40)
        clips = clips_of(FRAMES, clip_frames=2 * CLIP if large else CLIP, threads=threads)
    return alive.most, [clip.payload for clip in clips]


def test_large_pictures_keep_few_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clip those of the frames that are coded side by side and the next, and the anchors'."""
    many, payloads = references(monkeypatch, False, 1)
    few, same = references(monkeypatch, True, 1)
    side_by_side, again = references(monkeypatch, True, 2)
    assert same == again == payloads, "memory does not show"
    # with two threads, how many there are hangs on which is quicker; the limit holds all the same
    assert few < many and side_by_side <= TOGETHER + 1 + 3


@pytest.mark.parametrize("large", [False, True])
def test_decoded_pictures_are_given_up_one_by_one(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LARGE", HEIGHT * WIDTH if large else 1 << 40)
    clips = written(clips_of(FRAMES, clip_frames=2 * CLIP if large else CLIP))
    last: weakref.ref[Any] | None = None
    for shown in decode(iter(clips), descriptor(HEIGHT, WIDTH, model()), model(), threads=2):
        assert last is None or last() is None, "the picture before is still there"
        last = weakref.ref(shown.y)
        del shown


def test_a_picture_as_shown_takes_the_place_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clip that is decoded, frames that others need are not shown before: both would be in memory."""
    events: list[tuple[str, int]] = []
    shown, predicted = decoder.shown, FrameDecoder.predicted

    def noted(planes: Any, *arguments: Any) -> Any:
        events.append(("shown", id(planes[0])))
        return shown(planes, *arguments)

    def referring(self: FrameDecoder, time: int, refs: Any, *arguments: Any) -> Any:
        events.extend(("used", id(ref.planes[0])) for ref in refs if ref is not None)
        kept.extend(ref.planes[0] for ref in refs if ref is not None)  # so that no other array gets its number
        return predicted(self, time, refs, *arguments)

    kept: list[np.ndarray] = []
    monkeypatch.setattr(decoder, "shown", noted)
    monkeypatch.setattr(FrameDecoder, "predicted", referring)
    clips = written(clips_of(FRAMES[: CLIP + 1], clip_frames=CLIP))
    events.clear()
    assert len(list(decode(iter(clips), descriptor(HEIGHT, WIDTH, model()), model(), threads=1))) == CLIP + 1
    between = [number for what, number in events if what == "shown"][2:]  # the key frame and the anchor come first
    for number in between:
        assert ("used", number) not in events[events.index(("shown", number)) :]
    assert any(("used", number) in events for number in between)


def test_frames_are_handed_over_while_their_clip_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more clips are begun than there is room for."""
    begun, shown = [], decoder.shown
    go_on = threading.Event()
    started = decoder.begin_clip

    def noted(group: Any, clip: Any, *arguments: Any) -> Any:
        begun.append(clip.first_frame)
        return started(group, clip, *arguments)

    def slow(planes: Any, *arguments: Any) -> Any:
        if len(calls) == 4:  # the key frame, the anchor, frame 1 and another
            assert go_on.wait(60)
        calls.append(0)
        return shown(planes, *arguments)

    calls: list[int] = []
    monkeypatch.setattr(settings, "LARGE", HEIGHT * WIDTH)
    clips = written(clips_of(FRAMES, clip_frames=2 * CLIP))
    monkeypatch.setattr(decoder, "begin_clip", noted)
    monkeypatch.setattr(decoder, "shown", slow)
    assert [clip.first_frame for clip in clips] == [0, 1, 1 + CLIP]
    frames = decode(iter(clips), descriptor(HEIGHT, WIDTH, model()), model(), threads=1)
    assert [next(frames).pts for _ in range(2)] == [0, 1], "the first of a clip that is not yet decoded"
    assert begun == [0, 1]
    go_on.set()
    assert [frame.pts for frame in frames] == list(range(2, len(FRAMES)))
    assert begun == [0, 1, 1 + CLIP]


def test_damage_that_only_the_end_of_a_clip_tells_gives_none_of_its_frames() -> None:
    """Without checksums of frames."""
    clips = written(clips_of(FRAMES, clip_frames=CLIP))
    clips = [dataclasses.replace(clip, checks=None) for clip in clips]
    clips[1] = dataclasses.replace(clips[1], payload=clips[1].payload[:-2] + bytes(2))
    frames = decode(iter(clips), descriptor(HEIGHT, WIDTH, model()), model(), threads=1)
    assert next(frames).pts == 0
    with pytest.raises(CorruptError):
        next(frames)
