#!/usr/bin/env python3
"""Search by sound, measured: excerpts are changed, coded, and looked for among the sounds of folders.

    python scripts/figures/sound_search.py FOLDER… [--each 25] [--seconds 4] [--seed 1]

Folders of sound files and videos; of every folder at most `--each` files, chosen by `--seed`, of each up to 20 s. The
archive is what `lvc search index` stores of them, one vector a second; queries are what `lvc search query` makes of
excerpts whose start lies anywhere. Prints recall@1 of the file, of the file with its place right within half a second,
and the scores of the right file and of the best wrong one: median, and the worst twentieth.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lvc.errors import LvcError
from lvc.features import SPACING, heard
from lvc.media.listen import listen
from lvc.media.types import SOUND_RATE, Sound
from lvc.search.database import Collection
from lvc.search.hearing import QUERY_SPACING, Sounds
from lvc.search.queries import query_sound

ROOT = Path(__file__).resolve().parents[2]
Samples = npt.NDArray[np.float32]
ENDINGS = {".ogg", ".oga", ".wav", ".mp3", ".flac", ".opus", ".mp4", ".mkv", ".mov", ".webm", ".avi"}
LEAST, MOST = 6.0, 20.0
"""Seconds of a file in the archive."""


@dataclass(frozen=True)
class Clip:
    name: str
    samples: Samples


def read(path: Path, rng: np.random.Generator) -> Samples | None:
    """A part of a file, or None if it has too little sound."""
    try:
        parts = [sound.samples for sound in listen(path, 0, 30)]
    except LvcError:
        return None
    samples = np.concatenate([np.zeros(0, np.float32), *parts])
    if len(samples) < LEAST * SOUND_RATE:
        return None
    start = int(rng.uniform(0, max(0.0, len(samples) - MOST * SOUND_RATE)))
    part = samples[start : start + int(MOST * SOUND_RATE)]
    return part if np.sqrt(np.square(part).mean()) > 1e-3 else None


def read_folders(folders: list[Path], each: int, rng: np.random.Generator) -> list[Clip]:
    clips = []
    for folder in folders:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and not p.is_symlink())
        found: list[Clip] = []
        for number in rng.permutation(len(files)):
            samples = read(files[number], rng)
            if samples is not None and not any(np.array_equal(samples, clip.samples) for clip in found):
                found.append(Clip(files[number].name, samples))
            if len(found) == each:
                break
        print(f"{folder}: {len(found)} files, {sum(len(c.samples) for c in found) / SOUND_RATE:.0f} s", flush=True)
        clips += found
    return clips


def coded(samples: Samples, codec: str, form: str, rate: int, bits: int) -> Samples:
    """Through an encoder and back."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bits
        frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        frame.sample_rate = SOUND_RATE
        resampler = av.AudioResampler(stream.codec_context.format.name, "mono", rate)
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            fifo.write(part)
        pts = 0
        while (part := fifo.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            part.pts, part.time_base = pts, Fraction(1, rate)
            pts += part.samples
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    file.seek(0)
    return np.concatenate([sound.samples for sound in listen(file)])


def filtered(samples: Samples, name: str, argument: str) -> Samples:
    """Through one of FFmpeg's filters."""
    graph = av.filter.Graph()
    source: Any = graph.add_abuffer(
        sample_rate=SOUND_RATE, format="flt", layout="mono", time_base=Fraction(1, SOUND_RATE)
    )
    steps = [graph.add(name, argument), graph.add("aformat", "sample_fmts=flt"), graph.add("abuffersink")]
    for before, after in zip([source, *steps], steps, strict=False):
        before.link_to(after)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
    frame.sample_rate, frame.pts = SOUND_RATE, 0
    graph.push(frame)
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray()[0])
        except (EOFError, av.error.BlockingIOError):
            return np.concatenate(parts)


def noisy(samples: Samples, rng: np.random.Generator, exponent: float) -> Samples:
    """With noise at 10 dB below it; its power falls with frequency to the power of `exponent`."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    noise = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1.0) ** (-exponent / 2), len(samples))
    noise *= np.sqrt(np.square(samples).mean() / np.square(noise).mean() / 10)
    return (samples + noise).astype(np.float32)


def changes(rng: np.random.Generator) -> dict[str, Callable[[Samples], Samples]]:
    return {
        "as it is": lambda x: x,
        "AAC 64 kbit/s": lambda x: coded(x, "aac", "mp4", 44100, 64_000),
        "Opus 32 kbit/s": lambda x: coded(x, "libopus", "ogg", 48000, 32_000),
        "white noise, 10 dB": lambda x: noisy(x, rng, 0),
        "pink noise, 10 dB": lambda x: noisy(x, rng, 1),
        "tempo −5 %": lambda x: filtered(x, "atempo", "0.95"),
        "tempo +5 %": lambda x: filtered(x, "atempo", "1.05"),
        "30 dB quieter": lambda x: np.asarray(x * np.float32(0.0316), np.float32),
        "MP3 32 kbit/s": lambda x: coded(x, "libmp3lame", "mp3", 44100, 32_000),
        "telephone, 300–3400 Hz": lambda x: filtered(filtered(x, "highpass", "f=300"), "lowpass", "f=3400"),
    }


def sounds_of(samples: Samples, spacing: Fraction) -> Sounds:
    track = heard([Sound(samples, Fraction(0))], spacing)
    vectors = np.frombuffer(track.vectors, np.uint8).reshape(-1, 32)
    return Sounds(np.array(track.pts) / 1000, vectors, len(samples) / SOUND_RATE)


def collection_of(clips: list[Clip]) -> Collection:
    parts = [sounds_of(clip.samples, SPACING) for clip in clips]
    begins = np.concatenate([[0], np.cumsum([len(part.times) for part in parts])])
    unseen = np.zeros(len(clips) + 1, np.int64), np.zeros(0, np.float32), np.zeros((0, 64), np.int8)
    times = np.concatenate([part.times for part in parts]).astype(np.float32)
    vectors = np.concatenate([part.vectors for part in parts])
    names = [str(number) for number in range(len(clips))]
    return Collection(names, np.array([part.seconds for part in parts]), *unseen, begins, times, vectors)


def excerpts(clips: list[Clip], seconds: float, rng: np.random.Generator) -> list[tuple[int, float, Samples]]:
    """Of every clip one part that is not much quieter than the whole: number, start, samples."""
    found = []
    for number, clip in enumerate(clips):
        loud = np.sqrt(np.square(clip.samples).mean())
        for _ in range(20):
            start = rng.uniform(0, len(clip.samples) / SOUND_RATE - seconds)
            part = clip.samples[int(start * SOUND_RATE) : int((start + seconds) * SOUND_RATE)]
            if np.sqrt(np.square(part).mean()) > 0.3 * loud:
                found.append((number, start, part))
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--each", type=int, default=25, help="files of a folder, at most")
    parser.add_argument("--seconds", type=float, default=4.0, help="of an excerpt")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    clips = read_folders(args.folders, args.each, rng)
    collection = collection_of(clips)
    asked = excerpts(clips, args.seconds, rng)
    seconds = sum(len(clip.samples) for clip in clips) / SOUND_RATE
    print(f"archive: {len(clips)} sounds, {seconds:.0f} s, {len(collection.sound_vectors)} vectors")
    print(f"{len(asked)} excerpts of {args.seconds:g} s\n")
    print("| | file | file and place | right | best wrong | time |\n|---|---|---|---|---|---|")
    for name, change in changes(rng).items():
        results = []
        began = time.process_time()
        for number, start, samples in asked:
            hits = query_sound(collection, sounds_of(change(samples), QUERY_SPACING), 10)
            right = next((hit for hit in hits if hit.path == str(number)), None)
            wrong = max((hit.score for hit in hits if hit.path != str(number)), default=0.0)
            first = bool(hits) and hits[0].path == str(number)
            placed = first and abs(hits[0].start - start) < 0.5
            results.append((first, placed, 0.0 if right is None else right.score, wrong))
        found, placed, right, wrong = np.array(results, float).T
        scores = " | ".join(f"{np.median(s):.2f}, {np.percentile(s, k):.2f}" for s, k in ((right, 5), (wrong, 95)))
        spent = (time.process_time() - began) / len(asked)
        print(f"| {name} | {found.mean():.3f} | {placed.mean():.3f} | {scores} | {1000 * spent:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
