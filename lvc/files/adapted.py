"""`--adapt`: encodes a video with the model as it is and with one that is adapted to the video, and keeps the better of
both, the delta's bytes counted."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lvc.entropy.model_file import model_chunk
from lvc.errors import MediaError, UsageError
from lvc.files.coding import OwnModel, loaded
from lvc.files.common import Notice, Progress
from lvc.files.encode import Trial, bytes_of, encode_once, refuse_lvz, settings_of
from lvc.kinds import LVZ
from lvc.latents.foreign import is_continuous
from lvc.lvz import Origin
from lvc.notices import each_once
from lvc.options import CodingOptions, EncodeOptions
from lvc.output import about, check_output, publish_file, workspace
from lvc.pipeline import usable_cores
from lvc.place import STREAM, Place
from lvc.results import EncodeResult

if TYPE_CHECKING:
    from lvc.models import Model

STEPS, RATE = 150, 0.05
"""Of tuning: a number and not a time, so that the same video always gives the same file. Much may be learnt by heart,
since the whole video judges it."""
SAMPLES = 100


def encode_adapted(
    source: str,
    target: str,
    options: EncodeOptions,
    *,
    force: bool = False,
    origin: Origin | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Encode, adapt the model to what was seen, and encode again. Kept is what costs less: bits of the file, and what
    errors are worth in bits.

    Raises `UsageError` for streams, targets, and models that cannot be adapted; else as `encode_file`.
    """
    refuse_adapting(options)
    if source == STREAM or not Place(target).is_local or (os.path.exists(source) and not os.path.isfile(source)):
        raise UsageError("--adapt reads the source twice, and writes a file — leave it out for pipes and URLs")
    check_output(source, target, force=force, writes=[LVZ])
    started = time.monotonic()
    with about(source):
        refuse_lvz(source)
    base, data = adaptable(options)
    say = each_once(notice)
    settings = settings_of(options)
    from lvc.adaptation.learner import Learner
    from lvc.adaptation.samples import Collector, Samples
    from lvc.adaptation.tuning import film_cost

    with workspace(target) as folder:
        best, second = folder / "best.lvz", folder / "trial.lvz"

        def encoded(path: os.PathLike[str], trial: Trial) -> tuple[EncodeResult, float]:
            result = encode_once(
                source, os.fspath(path), options, force=True, origin=origin, progress=progress, notice=say,
                trial=trial,
            )  # fmt: skip
            return result, film_cost(8 * result.bytes_out, trial.errors, settings)

        samples = Samples(SAMPLES)
        kept, before = encoded(best, Trial(OwnModel(base, encoder_of=partial(Collector, samples=samples))))
        kept = replace(kept, adapted=False)
        say("adapting the model to what was seen")
        learner = Learner(base, data, options.threads or usable_cores())
        learnt = learner.learn(samples.drawn(), STEPS, rate=RATE)
        if learnt is not None:
            model, file = learnt
            inside = model_chunk(file, data)
            result, after = encoded(second, Trial(OwnModel(model, inside)))
            if result.frames != kept.frames:
                raise MediaError(f"{source} gave a different number of frames when it was read again — copy it first")
            if after < before:
                os.replace(second, best)
                kept = replace(result, adapted=True)
            kept = replace(kept, delta_bytes=len(inside.data), gain=round(100 * (1 - after / before), 4))
        publish_file(best, target, force=force)
    return replace(kept, output=target, seconds=time.monotonic() - started)


def refuse_adapting(options: CodingOptions) -> None:
    """Raise `UsageError` for options with which nothing can be adapted."""
    if is_continuous(options.model):
        raise UsageError("--adapt is for lvc's own codec — leave it out")
    if getattr(options, "embed_model", False):
        raise UsageError("--adapt stores what it learnt over the model, if that pays — leave out --embed-model")
    for name in ("target_bitrate", "target_psnr", "target_size", "target_vmaf", "max_bitrate"):
        if getattr(options, name, None) is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--adapt compares models at one quality — leave out --{option}, and use --quality")


def adaptable(options: CodingOptions) -> tuple[Model, bytes]:
    """The model that `options` ask for, and its file's bytes. Raises `UsageError` where it cannot be adapted."""
    from lvc import models

    model = loaded(models.tuned(options.model, options.tune))
    if model.path is None:
        raise UsageError("--adapt needs the model's file, and this model came out of a video's — load it from its own")
    data, base = bytes_of(OwnModel(model))
    if base is not None:
        raise UsageError(f"--adapt begins with a whole model, and {model.path} is a delta — leave one of them out")
    return model, data
