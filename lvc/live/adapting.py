"""`--adapt` of a recording: the model is adapted to what was seen, in a process beside the recorder, and a segment
begins with the delta if that has been shown to save more than it takes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lvc.adaptation.beside import Beside, Excerpt, Learnt
from lvc.files.coding import OwnModel
from lvc.live.source import Item
from lvc.media import Frame, VideoFormat

if TYPE_CHECKING:
    from lvc.codec import EncodeSettings
    from lvc.files.common import Notice
    from lvc.models import Model

LEARNT, PASSED, HELD_BACK = 48, 96, 24
"""Frames of an excerpt, in order of their time: to learn from, passed over, and held back for judging."""
BYTES = 96 << 20
"""Of the frames of an excerpt, at most."""
NICE = 19
"""The process takes the time that others leave: a recording is never late for it."""
LEAST = 4
"""Frames to learn from and to judge by, however large they are."""


class Adapting:
    """Watches the frames of a recording, and says which model the next segment begins with. `file`: the bytes of the
    model's file. A context manager; leaving it ends the process. Nothing here waits for that process."""

    def __init__(self, model: Model, file: bytes, video: VideoFormat, settings: EncodeSettings, say: Notice) -> None:
        self._base, self._file, self._video, self._say = OwnModel(model), file, video, say
        self._settings = replace(settings, threads=1, pace=None)
        size = video.width * video.height * 3 // 2 * (2 if video.bit_depth > 8 else 1)
        share = min(1.0, BYTES / size / (LEARNT + HELD_BACK))
        self._learnt_frames, self._held_frames = (max(LEAST, int(n * share)) for n in (LEARNT, HELD_BACK))
        self._seen: list[Frame] = []
        self._passed = 0
        self._excerpts: queue.SimpleQueue[Excerpt | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._one = threading.Lock()
        self._over = False
        self._beside: Beside | None = None
        self._found: tuple[OwnModel, Learnt] | None = None
        self._judged = False
        self._said: str | None = None
        self._thread = threading.Thread(target=self._main, name="lvc-adapt", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._one:
            self._over = True
            if self._beside is not None:
                self._beside.end()
        self._excerpts.put(None)
        self._thread.join()

    def watch(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items."""
        for item in items:
            if isinstance(item, Frame) and self._idle.is_set():
                self._see(item)
            yield item

    def _see(self, frame: Frame) -> None:
        if len(self._seen) == self._learnt_frames and self._passed < PASSED:
            self._passed += 1
            return
        self._seen.append(frame)
        if len(self._seen) == self._learnt_frames + self._held_frames:
            self._idle.clear()
            self._excerpts.put(Excerpt(self._seen[: self._learnt_frames], self._seen[self._learnt_frames :]))
            self._seen, self._passed = [], 0

    def model(self, frames: int) -> OwnModel:
        """The model that a segment of about so many frames begins with."""
        with self._one:
            found, judged = self._found, self._judged
        if found is None:
            if judged:
                self._decided("stay", "segments stay with the model as it is: nothing was gained by adapting it")
            return self._base
        model, learnt = found
        size, saved = len(learnt.inside.data), learnt.saving * (frames - 1) / 8
        if saved > size:
            self._decided("delta", f"segments begin with a delta of {size:,} bytes, which saves about {saved:,.0f}")
            return model
        self._decided(
            "stay", f"segments stay with the model as it is: a delta of {size:,} bytes would save about {saved:,.0f}"
        )
        return self._base

    def _decided(self, what: str, text: str) -> None:
        if what != self._said:
            self._said = what
            self._say(text)

    def _main(self) -> None:
        from lvc.models.load import model_of_bytes

        try:
            while (excerpt := self._excerpts.get()) is not None:
                with self._one:
                    if self._over:
                        return
                    if self._beside is None:
                        self._beside = Beside(self._base.id, self._file, self._video, self._settings, NICE)
                learnt = self._beside.learn(excerpt)
                found = None
                if learnt is not None:
                    found = OwnModel(model_of_bytes(learnt.file, self._base.id), learnt.inside), learnt
                with self._one:
                    self._found, self._judged = found, True
                self._idle.set()
        except (EOFError, OSError, RuntimeError) as error:
            with self._one:
                self._found = None
                if not self._over:
                    ended = "its process was ended — is there enough memory?"
                    reason = str(error) if isinstance(error, RuntimeError) else ended
                    self._say(f"adapting has stopped, and the recording goes on without it: {reason}")
