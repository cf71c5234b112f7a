"""`lvc adapt`: a delta that makes a model of lvc's own codec better at one camera's footage.

Excerpts of the footage are coded with the model as it is, and give samples to tune it on (`lvc.adaptation`)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..adaptation.samples import Collector, Sample, Samples
from ..adaptation.synthesis import Synthesis
from ..adaptation.tuning import BATCH, judged, tune
from ..codec import encode
from ..codec.settings import EncodeSettings
from ..errors import MediaError, UnsupportedError, UsageError
from ..files.encode import seconds_of
from ..media import Frame, MediaReader
from ..models import store
from ..models.delta import changed, write_delta
from ..models.load import Model, model_of_bytes
from ..output import about
from ..threads import own_threads
from .settings import AdaptSettings

QUALITIES = 15.0, 30.0, 45.0, 60.0, 75.0
SECONDS = 4.0
"""Of an excerpt of footage, coded at one quality."""
READING = 0.4
"""Part of the time that footage is coded for."""
MOST = 300
"""Samples that are kept: 1.5 MB each."""
TRIAL = 8
"""Every eighth sample is kept for judging."""
REPORT = 8.0
"""Seconds between two reports of steps."""

Tell = Callable[..., object]


def adapt(settings: AdaptSettings, tell: Tell) -> None:
    """Tune a delta and write it. `tell` is given the name of an event and its fields.

    Raises:
        MediaError: Footage cannot be read, or nothing is gained on it.
        UnsupportedError: The model is an auto-encoder, cannot encode, or is a delta itself.
        UsageError: There is no such model, or the name is too long.
    """
    name = settings.name or settings.out.stem
    if len(name) > store.MAX_NAME:
        raise UsageError(f"the name has {len(name)} letters — give one of at most {store.MAX_NAME}")
    file = store.resolve(settings.model)
    if file.family != store.FAMILIES[0]:
        raise UnsupportedError(f"{file.path.name} is of the family {file.family} — lvc adapt is for lvc's own codec")
    if file.base is not None:
        raise UnsupportedError(f"{file.path.name} is a delta — adapt its base again, with more footage")
    base = file.path.read_bytes()
    model = model_of_bytes(base, file.name)
    if not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can only decode — give the whole model")
    began = time.monotonic()
    tell("stage", phase="coding footage", minutes_left=settings.minutes)
    samples = _collected(settings, model, lambda: time.monotonic() - began)
    trial, rest = samples[::TRIAL], [s for i, s in enumerate(samples) if i % TRIAL]
    if len(rest) < BATCH:
        raise MediaError("too little changes in this footage to adapt the model to — give more of it")
    with own_threads():
        torch.set_num_threads(settings.threads or os.cpu_count() or 1)
        synthesis = Synthesis(model.programs.programs["predicted"])
        before = judged(synthesis, trial)
        _tune(synthesis, rest, settings, began, tell)
        changes = synthesis.changes()
        after = judged(synthesis, trial)
    if after >= before:
        raise MediaError("adapting gains nothing on this footage — use the model as it is, or give more footage")
    model_of_bytes(changed(base, changes, name), name)  # which checks that no sum can overflow
    said = {"made": {"samples": len(samples), "error": round(after / before - 1, 4)}}
    write_delta(settings.out, name, base, changes, said)
    tell("done", output=str(settings.out), seconds=round(time.monotonic() - began, 1), samples=len(samples),
         error=round(100 * (after / before - 1), 2), bytes=settings.out.stat().st_size)  # fmt: skip


def _collected(settings: AdaptSettings, model: Model, spent: Callable[[], float]) -> list[Sample]:
    """Samples of excerpts spread over the footage, each coded at one quality, until there are enough or the time for
    reading is over; of one excerpt at least."""
    samples = Samples(MOST, settings.seed)
    excerpts = [(path, start) for path in settings.videos for start in _starts(path)]
    order = np.random.default_rng(settings.seed).permutation(len(excerpts) * len(QUALITIES))
    for number, at in enumerate(order.tolist()):
        path, start = excerpts[at % len(excerpts)]
        with about(str(path)), _opened(path, start, SECONDS) as reader:
            frames = (item for item in reader if isinstance(item, Frame))
            made = EncodeSettings(quality=QUALITIES[at // len(excerpts)], threads=1)
            for _ in encode(frames, reader.video, model, made, partial(Collector, samples=samples)):
                pass
        over = settings.max_steps is None and spent() > READING * settings.minutes * 60
        if over or len(samples) >= MOST or number + 1 == settings.max_steps:
            break
    return samples.drawn()


def _opened(path: Path, start: float | None = None, duration: float | None = None) -> MediaReader:
    return MediaReader(path, start=start, duration=duration, audio="none", subtitles="none", bit_depth=8)


def _starts(path: Path) -> list[float]:
    """Of a video's excerpts, in seconds. Raises `MediaError`."""
    with about(str(path)), _opened(path) as reader:
        seconds = seconds_of(reader)
    return [0.0] if seconds is None else [SECONDS * k for k in range(max(1, int(seconds / SECONDS)))]


def _tune(synthesis: Synthesis, samples: list[Sample], settings: AdaptSettings, began: float, tell: Tell) -> None:
    start, length = time.monotonic() - began, settings.minutes * 60
    said = time.monotonic()

    def spent() -> float:
        return time.monotonic() - began

    def share_done(steps: int) -> float:
        if settings.max_steps is not None:
            return steps / settings.max_steps
        return (spent() - start) / max(length - start, 1e-9)

    def told(steps: int, loss: torch.Tensor) -> None:
        nonlocal said
        if time.monotonic() - said > REPORT:
            said = time.monotonic()
            left = None if settings.max_steps is not None else round((length - spent()) / 60, 1)
            tell("step", step=steps, loss=round(float(loss), 4), minutes_left=left)

    tell("stage", phase="adapting", minutes_left=round((length - start) / 60, 1))
    tune(synthesis, samples, settings.seed, share_done, told)
