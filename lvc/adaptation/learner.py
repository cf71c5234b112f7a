"""A model that learns from samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import CorruptError
from ..models.delta import changed
from ..models.load import Model, model_of_bytes
from ..threads import own_threads
from .samples import Sample
from .synthesis import Synthesis
from .tuning import BATCH, judged, tune


class Learner:
    """Adapts a model to samples, and goes on from there with the next ones. `file`: the bytes of the model's file."""

    def __init__(self, model: Model, file: bytes, threads: int) -> None:
        self._synthesis = Synthesis(model.programs.programs["predicted"])
        self._name, self._file, self._threads = model.id, file, threads

    def learn(
        self, samples: Sequence[Sample], steps: int, seed: int = 0, rate: float | None = None
    ) -> tuple[Model, bytes] | None:
        """The adapted model, and its file. None: nothing is gained on the samples themselves. `rate` as of `tune`."""
        if len(samples) < BATCH:
            return None
        with own_threads():
            torch.set_num_threads(self._threads)
            before = judged(self._synthesis, samples)
            tune(self._synthesis, samples, seed, lambda done: done / steps, rate=rate)
            changes = self._synthesis.changes()
            if judged(self._synthesis, samples) >= before:
                return None
        made = changed(self._file, changes, self._name)
        try:
            return model_of_bytes(made, self._name), made
        except CorruptError:  # a sum could overflow
            return None
