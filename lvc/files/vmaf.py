"""`--target-vmaf`: finds the constant quality that gives a mean VMAF.

For a long video, qualities are first tried on samples. Then the whole video is encoded, decoded and measured, and
encoded again if the samples were misleading. A short video is its own sample. VMAF is measured as in `lvc eval`.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.files.coding import loaded
from lvc.files.common import Notice, Progress
from lvc.files.decode import decode_frames
from lvc.files.encode import depth_of, encode_once, seconds_of
from lvc.kinds import LVZ
from lvc.latents.foreign import is_continuous
from lvc.lvz import Origin
from lvc.media import Frame, MediaReader, VideoFormat, ffmpeg
from lvc.notices import each_once
from lvc.options import EncodeOptions
from lvc.output import about, check_output, publish_file, workspace
from lvc.place import STREAM, Place
from lvc.results import EncodeResult

SAMPLES, SECONDS = 5, 2.0
"""Number and length of the samples of a video of more than `SHORT` seconds."""
SHORT = 12.0
NEAR, TOLERANCE = 0.25, 0.5
"""Accepted difference from the target, on samples and on the whole video."""
TRIES, PASSES = 4, 4
USUAL_SLOPE = 0.035
"""Assumed slope of log(100 - VMAF) per point of quality, until two qualities are known."""


def encode_to_vmaf(
    source: str,
    target: str,
    options: EncodeOptions,
    *,
    force: bool = False,
    origin: Origin | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Encode at the quality whose mean VMAF over all frames is `options.target_vmaf`, within half a point if possible;
    the result contains the VMAF. Takes one to four passes, and for a long video trials on ten seconds of samples.

    Raises `UnsupportedError` if libvmaf is not installed, `UsageError` for streams; else as `encode_file`.
    """
    if options.target_vmaf is None:
        raise ValueError("target_vmaf is not set")
    vmaf, options = options.target_vmaf, replace(options, target_vmaf=None)
    if missing := ffmpeg.why_not("filter", "libvmaf"):
        raise UnsupportedError(f"VMAF cannot be measured: {missing}")
    if source == STREAM or not Place(target).is_local:
        raise UsageError(
            "--target-vmaf needs several passes, and standard input can be read only once — use --target-psnr"
        )
    check_output(source, target, force=force, writes=[LVZ])
    started = time.monotonic()
    say = each_once(notice)
    job = _Job(source, options, origin, progress, say)
    with workspace(target) as folder:
        curve = _Curve(vmaf)
        if job.cuts:
            for _ in range(TRIES):
                quality = curve.next()
                if quality in curve.known:
                    break
                score = curve.add(quality, job.samples(folder / "sample.lvz", quality))
                say(f"samples: VMAF {score:.2f} at quality {quality:.1f}")
                if abs(score - vmaf) <= NEAR:
                    break
        best: EncodeResult | None = None
        for number in range(PASSES):
            quality = curve.next()
            if number and quality in curve.known:
                break
            trial = folder / "trial.lvz"
            result, score = job.whole(trial, quality)
            if number == 0:
                curve.shift(quality, score)
            curve.add(quality, score)
            if best is None or best.vmaf is None or abs(score - vmaf) < abs(best.vmaf - vmaf):
                os.replace(trial, folder / "best.lvz")
                best = replace(result, vmaf=round(score, 3), quality=round(quality, 3))
            if abs(score - vmaf) <= TOLERANCE:
                break
        if best is None or best.vmaf is None:
            raise MediaError("nothing was encoded — a bug in lvc")
        if abs(best.vmaf - vmaf) > TOLERANCE:
            say(f"VMAF is {best.vmaf:.2f} instead of {vmaf:g}: quality {best.quality:g} comes closest")
        publish_file(folder / "best.lvz", target, force=force)
    return replace(best, output=target, seconds=time.monotonic() - started)


class _Curve:
    """VMAF over quality, from the points known so far. VMAF saturates towards 100; its logarithmic distance from there
    is almost linear."""

    def __init__(self, target: float) -> None:
        self._target = _straight(target)
        self.known: dict[float, float] = {}
        self._guessed: set[float] = set()

    def add(self, quality: float, score: float) -> float:
        self.known[quality] = _straight(score)
        self._guessed.discard(quality)
        if len(self.known) - len(self._guessed) > 1:
            self.known = {q: s for q, s in self.known.items() if q not in self._guessed}
            self._guessed = set()
        return score

    def shift(self, quality: float, score: float) -> None:
        """Shift the points from samples to match the whole video's `score` at `quality`. They are dropped once two
        qualities of the whole video are known."""
        if self.known:
            by = _straight(score) - self._at(quality)
            self.known = {q: s + by for q, s in self.known.items()}
            self._guessed = set(self.known)

    def next(self) -> float:
        """Return the quality to try next."""
        if not self.known:
            return 50.0
        below = [q for q, s in self.known.items() if s <= self._target]
        above = [q for q, s in self.known.items() if s > self._target]
        if below and above and (low := max(below)) < (high := min(above)):
            share = (self._target - self.known[low]) / (self.known[high] - self.known[low])
            return low + (high - low) * min(max(share, 0.04), 0.96)
        near = sorted(self.known, key=lambda q: abs(self.known[q] - self._target))[:2]
        guess = near[0] + (self._target - self.known[near[0]]) / self._slope(near)
        return min(max(guess, 0.0), 100.0)

    def _at(self, quality: float) -> float:
        near = sorted(self.known, key=lambda q: abs(q - quality))[:2]
        return self.known[near[0]] + (quality - near[0]) * self._slope(near)

    def _slope(self, near: list[float]) -> float:
        if len(near) < 2:
            return USUAL_SLOPE
        rise = (self.known[near[1]] - self.known[near[0]]) / (near[1] - near[0])
        return min(max(rise, USUAL_SLOPE / 8), USUAL_SLOPE * 8)


def _straight(score: float) -> float:
    return -math.log(max(101 - score, 0.5))


class _Job:
    """A source and its options except the quality. `cuts`: starts of the samples in seconds; empty for a short
    video."""

    def __init__(
        self, source: str, options: EncodeOptions, origin: Origin | None, progress: Progress | None, say: Notice
    ) -> None:
        self.source, self._origin, self._progress, self._say = source, origin, progress, say
        self._options = options
        with about(source):
            with self._opened(options) as reader:
                self.video: VideoFormat = reader.video
                length = seconds_of(reader)
            if min(self.video.width, self.video.height) < ffmpeg.VMAF_MIN_SIDE:
                raise UsageError(f"VMAF needs at least {ffmpeg.VMAF_MIN_SIDE} rows and columns — use --target-psnr")
        self.cuts: list[float] = []
        if length is not None and length > SHORT:
            part = length / SAMPLES
            self.cuts = [(n + 0.5) * part - SECONDS / 2 for n in range(SAMPLES)]
        if not is_continuous(options.model):
            from lvc import models

            self._options = replace(options, model=loaded(models.tuned(options.model, options.tune)))

    def _opened(self, options: EncodeOptions) -> MediaReader:
        return MediaReader(
            self.source, resolution=options.resolution, fps=options.fps, start=options.start,
            duration=options.duration, audio="none", subtitles="none", threads=options.threads or 0,
            allow_playlists=options.allow_playlists, close_gaps=options.close_gaps, bit_depth=depth_of(options),
        )  # fmt: skip

    def samples(self, trial: Path, quality: float) -> float:
        """Encode the samples, one after another to `trial`, and return their mean VMAF."""
        scores: list[float] = []
        for cut in self.cuts:
            options = replace(
                self._options, quality=quality, start=(self._options.start or 0.0) + cut, duration=SECONDS,
                audio="none", subtitles="none", features=False, verify=False, embed_model=False,
            )  # fmt: skip
            encode_once(self.source, str(trial), options, force=True)
            scores += self._judged(trial, options)
        return sum(scores) / len(scores)

    def whole(self, trial: Path, quality: float) -> tuple[EncodeResult, float]:
        """Encode the whole video to `trial`. Returns the result and the mean VMAF."""
        options = replace(self._options, quality=quality)
        result = encode_once(
            self.source, str(trial), options, force=True, origin=self._origin, progress=self._progress,
            notice=self._say,
        )  # fmt: skip
        scores = self._judged(trial, options)
        score = sum(scores) / len(scores)
        self._say(f"VMAF {score:.2f} at quality {quality:.1f}, {result.bytes_out:,} bytes")
        return result, score

    def _judged(self, trial: Path, options: EncodeOptions) -> list[float]:
        def pairs() -> Iterator[tuple[Frame, Frame]]:
            with self._opened(options) as reader:
                sources = (item for item in reader if isinstance(item, Frame))
                frames = decode_frames(trial, model=options.model, threads=options.threads)
                with closing(cast(Generator[Frame, None, None], frames)) as decoded:
                    for mine, other in itertools.zip_longest(sources, decoded):
                        if mine is None or other is None:
                            raise MediaError("gave a different number of frames when it was read again — copy it first")
                        yield mine, other

        with about(self.source):
            video = self.video
            scores = ffmpeg.vmaf(pairs(), video.width, video.height, options.threads or 1, video.bit_depth)
        known = [s for s in scores if s is not None]
        if not known:
            raise MediaError("VMAF could not be computed for any frame — use --target-psnr")
        return known
