"""A picture or a video out of a VAE's latent space."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lvc.errors import UnsupportedError, UsageError
from lvc.files.common import Notice, PathLike, Progress, destination
from lvc.files.decode import container_of, opened_writer
from lvc.kinds import VIDEOS
from lvc.latents.colour import to_frame
from lvc.media import VideoFormat
from lvc.media.scaling import target_rate
from lvc.media.types import RANGE_LIMITED
from lvc.models import store
from lvc.models.adapters.trained import TrainedAdapter, load_trained
from lvc.models.autoencoder import Prior
from lvc.output import about, check_output, publish
from lvc.place import STREAM
from lvc.results import SynthesizeResult
from lvc.synthesize.inputs import Input, groups
from lvc.synthesize.latents import between, drawn
from lvc.threads import own_threads

PRIORS = "fitted", "normal"
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_JPEG_QUALITY = 90
_MOST_SIDE, _MOST_COUNT, _MOST_SECONDS = 4096, 64, 3600.0
_BT709, _GAP = 1, 4
_USUAL = 256, 256


def synthesize_file(
    model: PathLike,
    target: PathLike,
    sources: Sequence[PathLike] = (),
    *,
    count: int | None = None,
    size: tuple[int, int] | None = None,
    seconds: float = 4.0,
    fps: str | int | float | Fraction | None = None,
    strength: float = 0.3,
    prior: str = "fitted",
    seed: int = 0,
    codec: str = "h264",
    crf: float | None = None,
    force: bool = False,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> SynthesizeResult:
    """Make a picture or a video with a VAE; the same seed gives the same result on the same machine.

    Args:
        model: A model that `lvc train --family vae` made, or a GAN that began as one.
        target: A `.png` or `.jpg`, or a video.
        sources: None for samples: side by side in a picture, or walked through in a video. One clip or frame for
            variations of it. Two for a walk from one to the other: `holiday.mp4` plays meanwhile, `holiday.mp4@1.5` is
            a frame. Videos or `.lvz`.
        count: How many samples (16) or variations (1).
        size: Width and height. None takes those of the first source; without one 256 by 256.
        seconds: Of a walk.
        fps: Of the video. None takes the source's; without one 25.
        strength: Of variations, from 0, which is what the model makes of the clip, to 1, which is a sample.
        prior: What samples are drawn from: `fitted` to the training footage's latents, or the standard `normal`
            distribution of the KL divergence.
        seed: Of the random numbers.
        codec: What a video is coded with: `h264`, `hevc`, `av1` or `ffv1`.
        crf: Its quality, 0 to 63; lower is better, and larger.
        force: Replace an existing file.
        threads: Cores to use.
        device: Where torch runs the model, as `cuda`.
        progress: Called with frames done, 0, bytes out and the expected number of frames (None: unknown).
        notice: Called with what a container cannot hold.

    Returns:
        Frames and sizes.

    Raises:
        UsageError: An argument is out of its range, or there is no such model.
        MediaError: A source cannot be read.
        CorruptError: The model, or a source that is a `.lvz`, is damaged.
        UnsupportedError: The model is no VAE.
        OutputExistsError: The target exists, without `force`.
        OSError: The disk failed.
    """
    target, words = os.fspath(target), [os.fspath(s) for s in sources]
    _check(words, target, count, size, seconds, strength, prior)
    inputs = [Input.parse(word) for word in words]
    picture = PICTURES.get(Path(target).suffix.lower())
    for name in [item.path for item in inputs] or [""]:
        check_output(name, target, force=force, writes=None if picture else VIDEOS)
    if os.path.exists(target) and os.path.samefile(target, store.resolve(model).path):
        raise UsageError("the output is the model — write another file")
    started = time.monotonic()
    with own_threads():
        if threads:
            torch.set_num_threads(threads)
        vae, space = _opened(model, device)
        job = _Job(vae, space, inputs, count, size, seconds, fps, strength, prior == "normal", seed)
        if picture is not None:
            frames, shown = 1, job.sheet()
            with publish(target, force=force) as path:
                Image.fromarray(shown).save(path, format=picture, quality=_JPEG_QUALITY)
                written = path.stat().st_size
            height, width = shown.shape[:2]
            length = 0.0
        else:
            frames, width, height, written = _video(job, target, codec, crf, threads, force, progress, notice)
            length = float(frames / job.rate)
    return SynthesizeResult(
        target, frames, width, height, length, None, written, time.monotonic() - started, model=vae.id, seed=seed
    )


def _check(
    words: list[str], target: str, count: int | None, size: tuple[int, int] | None, seconds: float, strength: float,
    prior: str,
) -> None:  # fmt: skip
    """Raises `UsageError`."""
    if len(words) > 2:
        raise UsageError("a walk leads from one clip or frame to another — give at most two")
    if target == STREAM:
        raise UsageError("write a file: a .png, a .jpg, or a video")
    if count is not None and not 1 <= count <= _MOST_COUNT:
        raise UsageError(f"the count is {count} — give 1 to {_MOST_COUNT}")
    if size is not None and not all(16 <= side <= _MOST_SIDE for side in size):
        raise UsageError(f"the size is {size[0]}x{size[1]} — sides are 16 to {_MOST_SIDE}")
    if not 0 < seconds <= _MOST_SECONDS:
        raise UsageError(f"a walk takes up to {_MOST_SECONDS:g} seconds — change --seconds")
    if not 0 <= strength <= 1:
        raise UsageError("the strength must be from 0 to 1 — change it")
    if prior not in PRIORS:
        raise UsageError(f"no prior {prior!r} — use {' or '.join(PRIORS)}")


def _opened(model: PathLike, device: str | None) -> tuple[TrainedAdapter, Prior]:
    file = store.resolve(model)
    if file.family not in ("vae", "gan"):
        raise UnsupportedError(f"{file.path.name} is of the family {file.family} — lvc train --family vae makes models")
    vae = load_trained(file.path, device)
    if vae.prior is None:
        raise UnsupportedError(f"{file.path.name} began as a plain auto-encoder — begin with one of --family vae")
    return vae, vae.prior


class _Job:
    """Pictures `[3, rows, columns]` in order, all of one size."""

    def __init__(
        self, vae: TrainedAdapter, prior: Prior, inputs: list[Input], count: int | None, size: tuple[int, int] | None,
        seconds: float, fps: str | int | float | Fraction | None, strength: float, plain: bool, seed: int,
    ) -> None:  # fmt: skip
        self._vae, self._prior, self._inputs, self._strength, self._plain = vae, prior, inputs, strength, plain
        self._generator = torch.Generator().manual_seed(seed)
        width, height, rate = inputs[0].facts() if inputs else (*_USUAL, Fraction(25))
        self.width, self.height = size or (width, height)
        if max(self.width, self.height) > _MOST_SIDE:
            raise UsageError(f"{self.width}x{self.height} is too large — choose a size of up to {_MOST_SIDE} a side")
        self.rate = rate if fps is None else target_rate(fps)
        self.count = count or (1 if inputs else 16)
        self.steps = max(2, round(seconds * float(self.rate)))

    @property
    def expected(self) -> int | None:
        """Frames of a video, where that is known."""
        return None if len(self._inputs) == 1 else self.steps

    def sheet(self) -> np.ndarray:
        """uint8 `[H, W, 3]`: samples, the first frame and its variations, or steps of a walk."""
        if not self._inputs:
            pictures = [self._pictures(self._sample())[0] for _ in range(self.count)]
        elif len(self._inputs) == 1:
            pictures = next(self._varied())
        else:
            steps = min(self.steps, 8)
            pictures = [frames[0] for frames in itertools.islice(self._walk(steps), steps)]
        columns = min(len(pictures), 4 if len(pictures) > 9 or len(pictures) == 8 else 3)
        rows = -(-len(pictures) // columns)
        page = np.full(
            (rows * (self.height + _GAP) + _GAP, columns * (self.width + _GAP) + _GAP, 3), 255, np.uint8
        )  # fmt: skip
        for number, picture in enumerate(pictures):
            top = _GAP + number // columns * (self.height + _GAP)
            left = _GAP + number % columns * (self.width + _GAP)
            shown = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            page[top : top + self.height, left : left + self.width] = shown
        return page

    def frames(self) -> Iterator[Tensor]:
        if not self._inputs:
            yield from self._through_samples()
        elif len(self._inputs) == 1:
            for pictures in self._varied():
                yield torch.cat(pictures, 2)
        else:
            for group in self._walk(self.steps):
                yield from group

    def _latent_size(self) -> tuple[int, int]:
        stride = self._vae.stride
        return -(-self.height // stride), -(-self.width // stride)

    def _sample(self) -> Tensor:
        return drawn(self._prior, *self._latent_size(), self._generator, self._plain)

    def _pictures(self, latents: Tensor) -> list[Tensor]:
        """The frames that one place in the space shows."""
        with torch.inference_mode():
            return list(self._vae.decode(latents[None])[..., : self.height, : self.width])

    def _encoded(self, item: Input) -> Iterator[Tensor]:
        for group in groups(item.pictures(self.width, self.height), self._vae.temporal_stride, self._vae.stride):
            yield from self._vae.encode(group)

    def _through_samples(self) -> Iterator[Tensor]:
        """From one sample to the next, and from the last back to the first."""
        places = [self._sample() for _ in range(self.count)]
        shown = self._vae.temporal_stride
        for step in range(0, self.steps, shown):
            number, part = divmod(step / self.steps * len(places), 1)
            one, other = places[int(number)], places[(int(number) + 1) % len(places)]
            yield from self._pictures(between(self._prior, one, other, part))[: self.steps - step]

    def _walk(self, steps: int) -> Iterator[list[Tensor]]:
        """Clips play until they end and then stand still."""
        first, second = (_held(self._encoded(item)) for item in self._inputs)
        shown = self._vae.temporal_stride
        for step in range(0, steps, shown):
            part = step / max(1, steps - shown)
            yield self._pictures(between(self._prior, next(first), next(second), min(1.0, part)))[: steps - step]

    def _varied(self) -> Iterator[list[Tensor]]:
        """Each frame, and beside it its variations; what is varied stands still, so that nothing flickers."""
        moved = [self._sample() for _ in range(self.count)]
        left = self._inputs[0].pictures(self.width, self.height)
        # on the arc to the sample: a share of the angle that gives the sample this share of the variance
        part = float(np.arcsin(np.sqrt(self._strength)) / (np.pi / 2))
        for latents in self._encoded(self._inputs[0]):
            varied = [self._pictures(between(self._prior, latents, m, part)) for m in moved]
            for number, original in enumerate(itertools.islice(left, self._vae.temporal_stride)):
                yield [original, *(v[number] for v in varied)]


def _held(items: Iterator[Tensor]) -> Iterator[Tensor]:
    """The last one goes on for ever."""
    last = next(items)
    yield last
    for last in items:
        yield last
    yield from itertools.repeat(last)


def _video(
    job: _Job, target: str, codec: str, crf: float | None, threads: int | None, force: bool,
    progress: Progress | None, notice: Notice | None,
) -> tuple[int, int, int, int]:  # fmt: skip
    """→ frames, width, height, bytes."""
    kind, frames, tick = container_of(target, None), job.frames(), 1 / job.rate
    first = next(frames)
    height, width = first.shape[1:]
    video = VideoFormat(
        width, height, (tick.numerator, tick.denominator), (job.rate.numerator, job.rate.denominator),
        primaries=_BT709, transfer=_BT709, matrix=_BT709, color_range=RANGE_LIMITED,
    )  # fmt: skip
    done = 0
    with destination(target, force) as path:
        with opened_writer(path, kind, video, [], {}, [], codec, crf, threads) as (writer, written):
            for rgb in itertools.chain([first], frames):
                with about(target):
                    writer.write(to_frame(rgb, _BT709, RANGE_LIMITED, done, 1))
                done += 1
                if progress is not None:
                    progress(done, 0, written(), job.expected)
        size = written()
    if notice is not None:
        for text in writer.notices:
            notice(text)
    return done, width, height, size
