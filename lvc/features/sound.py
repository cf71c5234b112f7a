"""Sound → vectors of signs: how the loudness of bands changes over two seconds, in a plain fixed projection.

    samples, 16 kHz ─▶ power in 32 mel bands, 32 times a second ─▶ logarithm, noise floor
                    ─▶ cosine transform over time and bands ─▶ the signs of 16 x 16 numbers: 32 bytes

The mean over time is left out, so that loudness, equalisers and microphones, which add a constant to the logarithm of a
band, do not matter. Nothing is learnt, so there are no weights: `NAME` says all of how it is done.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from lvc.lvz import FeatureTrack
from lvc.lvz.features import FINGERPRINT, SIGNS
from lvc.lvz.features import SOUND as HEARD
from lvc.media.types import SOUND_RATE as RATE
from lvc.media.types import Sound

NAME = "sound256-1"
ID = f"{NAME}:{bytes(FINGERPRINT).hex()}"
SIZE = 32
"""Bytes of a vector."""
SPACING = Fraction(1)
"""Seconds from one vector to the next, in files and databases."""
CLOCK = (1, 1000)
"""Seconds a tick of their times."""

WINDOW, HOP = 2048, 500
"""Samples that a spectrum is made of, and from one to the next."""
BANDS, LOWEST, HIGHEST = 32, 200.0, 6000.0
FRAMES = 64
"""Spectra that a vector is made of."""
OVER_TIME, OVER_BANDS = 16, 16
FLOOR = 1e-3
"""Of the mean power: what is quieter than that is noise, and is levelled."""
SILENCE = 1e-8
"""Mean power (of 1, -80 dB) below which nothing is heard: the vector is zeros, and resembles nothing."""
SECONDS = ((FRAMES - 1) * HOP + WINDOW) / RATE
"""From the beginning of a vector's sound to its end."""
_LONGEST_GAP = 2 * RATE
_FARTHEST = 1 << 40
"""Seconds: times beyond that are damage."""
_SLIP = RATE // 20
"""Samples by which times may differ from the count of samples: containers round."""

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@functools.cache
def _filters() -> Float:
    """[WINDOW / 2 + 1, BANDS]: triangles, evenly spaced on the mel scale, each with sum 1."""
    frequencies = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    below, middle, above = (edges[k : k + BANDS, None] for k in range(3))
    rising, falling = (frequencies - below) / (middle - below), (above - frequencies) / (above - middle)
    triangles = np.minimum(rising, falling).clip(0)
    filters: Float = (triangles / triangles.sum(1, keepdims=True)).T.astype(np.float32)
    return filters


@functools.cache
def _cosines(size: int, first: int, count: int) -> Float:
    """[count, size]: cosine waves of `first` half turns and more."""
    turns = np.arange(first, first + count)[:, None] * (np.arange(size) + 0.5)
    cosines: Float = (np.cos(np.pi / size * turns)).astype(np.float32)
    return cosines


def _spectra(samples: Float) -> Float:
    """float32 [N] → power [F, BANDS], of the F windows that fit."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    shape = np.hanning(WINDOW).astype(np.float32)
    parts = [
        (np.abs(np.fft.rfft(windows[k : k + 256] * shape, axis=1)) ** 2).astype(np.float32) @ _filters()
        for k in range(0, len(windows), 256)
    ]
    return np.concatenate(parts)


def describe(power: Float) -> Bytes:
    """Power [FRAMES, BANDS] → uint8 [SIZE], zeros for silence."""
    mean = float(power.mean())
    if mean < SILENCE * float((np.hanning(WINDOW) ** 2).sum()):
        return np.zeros(SIZE, np.uint8)
    loudness = np.log(power + FLOOR * mean)
    values = _cosines(FRAMES, 1, OVER_TIME) @ loudness @ _cosines(BANDS, 0, OVER_BANDS).T
    return np.packbits(values.ravel() > 0, bitorder="little")


class SoundSampler:
    """Takes sound in order, and makes a vector of each `SECONDS` that begin `spacing` seconds apart.

    Memory: 32 bytes for each vector, and some seconds of sound.
    """

    def __init__(self, spacing: Fraction = SPACING) -> None:
        self._step = round(spacing * RATE / HOP)
        self._times: list[int] = []
        self._vectors: list[bytes] = []
        self._restart(Fraction(0))
        self._started = False

    def _restart(self, start: Fraction) -> None:
        self._start, self._count = start, 0  # of the run of sound, and samples in it
        self._waiting: list[Float] = []
        self._power = np.zeros((0, BANDS), np.float32)
        self._first = 0  # number of the first spectrum in `_power`
        self._next = 0  # number of the spectrum at which the next vector begins

    def add(self, sound: Sound) -> None:
        """Sound that overlaps what came before is cut, gaps up to two seconds are silence."""
        samples = sound.samples
        if abs(sound.start) > _FARTHEST:
            return
        if not self._started:
            self._restart(sound.start)
            self._started = True
        gap = round((sound.start - self._start) * RATE) - self._count
        if gap > _LONGEST_GAP or gap < -_LONGEST_GAP:
            if gap < 0:
                return  # it goes back: what came before stands
            self._restart(sound.start)
        elif gap > _SLIP:
            self._put(np.zeros(gap, np.float32))
        elif gap < -_SLIP:
            samples = samples[-gap:]
        self._put(samples)

    def _put(self, samples: Float) -> None:
        self._waiting.append(samples)
        self._count += len(samples)
        if sum(map(len, self._waiting)) >= RATE + WINDOW:
            self._work()

    def _work(self) -> None:
        """Spectra of what waits, and the vectors that are complete."""
        samples = np.concatenate([np.zeros(0, np.float32), *self._waiting])
        if len(samples) >= WINDOW:
            power = _spectra(samples)
            self._waiting = [samples[len(power) * HOP :]]
            self._power = np.concatenate([self._power, power])
        while self._next + FRAMES <= self._first + len(self._power):
            at = self._next - self._first
            time = round((self._start + Fraction(self._next * HOP, RATE)) / Fraction(*CLOCK))
            if not self._times or time > self._times[-1]:
                self._times.append(time)
                self._vectors.append(describe(self._power[at : at + FRAMES]).tobytes())
            self._next += self._step
        done = min(self._next - self._first, len(self._power))
        self._power, self._first = self._power[done:], self._first + done

    def finish(self) -> FeatureTrack:
        """The vectors so far."""
        self._work()
        vectors = b"".join(self._vectors)
        return FeatureTrack(HEARD, NAME, bytes(FINGERPRINT), SIGNS, 8 * SIZE, CLOCK, list(self._times), vectors)


def heard(sounds: Iterable[Sound], spacing: Fraction = SPACING) -> FeatureTrack:
    """The vectors of sound, in order."""
    sampler = SoundSampler(spacing)
    for sound in sounds:
        sampler.add(sound)
    return sampler.finish()
