"""What the process beside a recording does (`beside`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..codec import EncodeSettings, encode
from ..entropy.model_file import model_chunk
from ..media import Frame, VideoFormat
from ..models.load import model_of_bytes
from .beside import Excerpt, Learnt
from .learner import Learner
from .samples import Collector, Sample, Samples
from .tuning import coded_cost

STEPS, MOST = 60, 144
"""Of tuning with each excerpt, and samples of the last ones that are kept for it."""


class Pupil:
    """Learns from one excerpt after another."""

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
