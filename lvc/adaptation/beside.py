"""A process that adapts a model beside a recording, in the time that others leave. Light: the recorder loads no torch,
and the process gives way before it does."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import TYPE_CHECKING

from ..errors import explained
from ..pipeline import end_process, end_with_parent, stop_signals

if TYPE_CHECKING:
    from ..codec import EncodeSettings
    from ..lvz import ModelChunk
    from ..media import Frame, VideoFormat

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
        self._process = context.Process(target=_main, args=(theirs, nice), name="lvc-adapt", daemon=True)
        self._process.start()
        theirs.close()
        self._first: tuple[object, ...] | None = (name, file, video, settings)

    def learn(self, excerpt: Excerpt) -> Learnt | None:
        """Blocks until it has learnt from the excerpt. None: nothing was gained. Raises `EOFError` or `OSError` if the
        process has ended, and `RuntimeError` with the reason if it cannot go on."""
        if self._first is not None:
            self._pipe.send(self._first)
            self._first = None
        self._pipe.send(excerpt)
        answer: Learnt | str | None = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        """End the process, whatever it does; `learn` on another thread raises."""
        end_process(self._process, _PATIENCE)


def _main(pipe: connection.Connection, nice: int) -> None:
    for number in stop_signals():  # Ctrl-C reaches all processes; the recorder ends this one
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(nice)
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            from .worker import Pupil

            pupil = Pupil(*pipe.recv())
            while True:
                pipe.send(pupil.learn(pipe.recv()))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            pipe.send(explained(error)[1])
