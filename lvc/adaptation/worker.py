"""Adapts a model beside a recording, in a process of its own that takes the time that others leave."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection

from ..codec import EncodeSettings, encode
from ..entropy.model_file import model_chunk
from ..errors import explained
from ..lvz import ModelChunk
from ..media import Frame, VideoFormat
from ..models.load import model_of_bytes
from ..pipeline import end_with_parent, stop_signals
from .learner import Learner
from .samples import Collector, Sample, Samples
from .tuning import coded_cost

STEPS, MOST = 60, 144
"""Of tuning with each excerpt, and samples of the last ones that are kept for it."""
_PATIENCE = 5.0  # seconds that the process has to end


@dataclass(frozen=True)
class Learnt:
    """An adapted model: its file, what another file carries of it, and the bits (with what errors are worth) that it
    saved for each predicted frame that was held back."""

    file: bytes
    inside: ModelChunk
    saving: float


@dataclass(frozen=True)
class Excerpt:
    """Frames in a row to learn from, and others that are held back for judging."""

    frames: Sequence[Frame]
    held_back: Sequence[Frame]


class Beside:
    """The process, by so much nicer than this one. It ends with `end`, or when this process does."""

    def __init__(self, name: str, file: bytes, video: VideoFormat, settings: EncodeSettings, nice: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_main, args=(theirs, nice, name, file, video, settings), name="lvc-adapt", daemon=True
        )
        self._process.start()
        theirs.close()

    def learn(self, excerpt: Excerpt) -> Learnt | None:
        """Blocks until it has learnt from the excerpt. None: nothing was gained. Raises `EOFError` or `OSError` if the
        process has ended, and `RuntimeError` with the reason if it cannot go on."""
        self._pipe.send(excerpt)
        answer: Learnt | str | None = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        """End the process, whatever it does; `learn` on another thread raises."""
        self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _main(
    pipe: connection.Connection, nice: int, name: str, file: bytes, video: VideoFormat, settings: EncodeSettings
) -> None:
    for number in stop_signals():  # Ctrl-C reaches all processes; the recorder ends this one
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(nice)
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            pupil = Pupil(name, file, video, settings)
            while True:
                pipe.send(pupil.learn(pipe.recv()))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            pipe.send(explained(error)[1])


class Pupil:
    """What the process does: learns from one excerpt after another."""

    def __init__(self, name: str, file: bytes, video: VideoFormat, settings: EncodeSettings) -> None:
        self._model, self._file, self._video, self._settings = model_of_bytes(file, name), file, video, settings
        self._learner = Learner(self._model, file, threads=1)
        self._samples: list[Sample] = []
        self._number = 0

    def learn(self, excerpt: Excerpt) -> Learnt | None:
        new = Samples(len(excerpt.frames), self._number)
        for _ in encode(
            _timed(excerpt.frames), self._video, self._model, self._settings, partial(Collector, samples=new)
        ):
            pass
        self._samples = [*new.drawn(), *self._samples][:MOST]
        self._number += 1
        learnt = self._learner.learn(self._samples, STEPS, self._number)
        if learnt is None:
            return None
        model, file = learnt
        held_back = _timed(excerpt.held_back)
        before, after = (coded_cost(held_back, self._video, m, self._settings) for m in (self._model, model))
        return Learnt(file, model_chunk(file, self._file), (before - after) / (len(held_back) - 1))


def _timed(frames: Sequence[Frame]) -> list[Frame]:
    return [Frame(f.y, f.u, f.v, number, 1) for number, f in enumerate(frames)]
