"""Sound → signs: what must not matter does not, however the sound arrives."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lvc.features import SoundSampler, Watcher, heard
from lvc.features.sound import SECONDS, SIZE
from lvc.lvz import FeatureTrack
from lvc.media import MediaReader
from lvc.media.listen import has_only_sound, listen
from lvc.media.types import SOUND_RATE, Sound
from tests.helpers.clips import tune, write_sound


def described(samples: np.ndarray, start: float = 0.0, piece: int = 100_000) -> FeatureTrack:
    begin = Fraction(start)
    return heard(Sound(samples[k : k + piece], begin + Fraction(k, SOUND_RATE)) for k in range(0, len(samples), piece))


def agreement(one: FeatureTrack, other: FeatureTrack) -> float:
    """Of all signs, the mean of the vectors; 0.5 for unrelated sound."""
    a, b = (np.frombuffer(track.vectors, np.uint8).reshape(-1, SIZE) for track in (one, other))
    count = min(len(a), len(b))
    return 1 - float(np.unpackbits(a[:count] ^ b[:count]).mean())


def test_a_vector_a_second() -> None:
    track = described(tune(1, 6))
    assert track.pts == [0, 1000, 2000, 3000] and len(track.vectors) == 4 * SIZE
    assert described(tune(1, 6), start=0.25).pts == [250, 1250, 2250, 3250]
    assert described(tune(1, SECONDS - 0.01)).pts == []


def test_pieces_do_not_matter() -> None:
    whole = described(tune(2, 8))
    assert described(tune(2, 8), piece=777) == whole
    assert described(tune(2, 8), piece=40_001) == whole


def test_what_is_heard_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    sound = tune(3, 12)
    noise = rng.standard_normal(len(sound)).astype(np.float32)
    noise *= 0.316 * np.sqrt(np.square(sound).mean() / np.square(noise).mean())  # 10 dB below
    track = described(sound)
    assert agreement(track, described(0.05 * sound)) > 0.99  # -26 dB
    assert agreement(track, described(np.convolve(sound, [1, 0.6])[: len(sound)].astype(np.float32))) > 0.95
    assert agreement(track, described(sound + noise)) > 0.75
    assert agreement(track, described(tune(4, 12))) == pytest.approx(0.5, abs=0.06)


def test_silence_resembles_nothing() -> None:
    samples = tune(5, 10)
    samples[3 * SOUND_RATE : 7 * SOUND_RATE] = 0
    vectors = np.frombuffer(described(samples).vectors, np.uint8).reshape(-1, SIZE)
    assert vectors.any(1).tolist() == [True, True, True, False, False, True, True, True]


def test_gaps_are_silent_and_overlaps_are_cut() -> None:
    sound = tune(6, 9)
    parts = [(0, 3), (4, 9)]  # a second is missing
    sampler, silent = SoundSampler(), sound.copy()
    silent[3 * SOUND_RATE : 4 * SOUND_RATE] = 0
    for first, last in parts:
        sampler.add(Sound(sound[first * SOUND_RATE : last * SOUND_RATE], Fraction(first)))
    assert sampler.finish() == described(silent)
    sampler = SoundSampler()
    for first, last in [(0, 5), (4, 9)]:
        sampler.add(Sound(sound[first * SOUND_RATE : last * SOUND_RATE], Fraction(first)))
    assert sampler.finish() == described(sound)


def test_a_jump_begins_anew_without_filling_it() -> None:
    sampler = SoundSampler()
    sampler.add(Sound(tune(7, 4), Fraction(0)))
    sampler.add(Sound(tune(8, 4), Fraction(10**6)))
    sampler.add(Sound(tune(8, 4), Fraction(1 << 61)))  # as damaged packets say
    track = sampler.finish()
    assert track.pts == [0, 1000, 10**9, 10**9 + 1000]
    assert track.vectors[2 * SIZE :] == described(tune(8, 4)).vectors


@pytest.mark.parametrize(
    ("codec", "name", "least"),
    [("aac", "a.mp4", 0.9), ("libmp3lame", "a.mp3", 0.9), ("pcm_s16le", "a.wav", 0.98), ("libopus", "a.mkv", 0.85)],
)
def test_files_are_listened_to(tmp_path: Path, codec: str, name: str, least: float) -> None:
    samples = tune(9, 6)
    write_sound(tmp_path / name, samples, codec, 48_000)
    track = heard(listen(tmp_path / name))
    assert agreement(track, described(samples)) > least and has_only_sound(tmp_path / name)
    part = heard(listen(tmp_path / name, 2, 5))
    assert len(part.pts) == 1 and part.pts[0] == pytest.approx(2000, abs=1)


def test_packets_say_what_the_file_does(tmp_path: Path) -> None:
    """While it is encoded, a video's sound is described from the packets that are copied."""
    write_sound(tmp_path / "a.mp4", tune(10, 5), number=1)
    assert not has_only_sound(tmp_path / "a.mp4")
    with MediaReader(tmp_path / "a.mp4") as reader:
        watcher = Watcher(reader.video, reader.copied)
        assert len(list(watcher.watch(reader))) > 50
    seen, sound = watcher.finish()
    assert len(seen.pts) == 5 and len(sound.pts) == 3
    # the packets begin with what an encoder puts before the first sample
    assert sound.pts[0] == pytest.approx(0, abs=50) and agreement(sound, described(tune(10, 5))) > 0.85


def test_no_sound_and_damaged_sound(tmp_path: Path) -> None:
    file = io.BytesIO()
    write_sound(file, tune(11, 4), form="mp4", number=1)
    data = bytearray(file.getvalue())
    place = data.index(b"mdat")
    data[place + 3000 : place + 9000] = bytes(6000)
    (tmp_path / "a.mp4").write_bytes(data)
    assert heard(listen(tmp_path / "a.mp4")).pts in ([], [0], [0, 1000])
    with MediaReader(tmp_path / "a.mp4", audio="none") as reader:
        watcher = Watcher(reader.video, reader.copied)
        list(watcher.watch(reader))
    assert watcher.finish()[1].pts == []
