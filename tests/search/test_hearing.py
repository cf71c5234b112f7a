"""Videos are found by what is heard in them: coded again, noisy, faster, beside another picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lvc import SearchIndex
from lvc.errors import MediaError, UsageError
from lvc.search.hearing import Sounds, agreement, place_in
from lvc.search.queries import Hit, query_both
from tests.helpers.clips import tune, write_sound

RATE = 16_000
SECONDS = 10


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of different tunes and pictures, and one that is silent."""
    folder = tmp_path_factory.mktemp("heard")
    (folder / "videos").mkdir()
    for number in range(6):
        write_sound(folder / "videos" / f"{number}.mp4", tune(100 + number, SECONDS), number=number)
    write_sound(folder / "videos" / "silent.mkv", np.zeros(4 * RATE, np.float32), number=7)
    with SearchIndex(folder / "db") as index:
        result = index.add(folder / "videos")
        assert (result.added, result.failed, result.heard) == (7, 0, 7)
    return folder


@pytest.fixture(scope="module")
def index(archive: Path) -> SearchIndex:
    return SearchIndex(archive / "db", create=False)


def excerpt(number: int, start: float, seconds: float = 4.0) -> np.ndarray:
    return tune(100 + number, SECONDS)[round(start * RATE) : round((start + seconds) * RATE)]


def best(hits: list[Hit]) -> tuple[str, float]:
    return Path(hits[0].path).name, hits[0].start


@pytest.mark.parametrize(("number", "start"), [(0, 0.0), (1, 3.37), (4, 5.8)])
def test_a_sound_file_and_its_place(index: SearchIndex, tmp_path: Path, number: int, start: float) -> None:
    samples = excerpt(number, start)
    noise = np.random.default_rng(1).standard_normal(len(samples)).astype(np.float32)
    noise *= 0.316 * np.sqrt(np.square(samples).mean() / np.square(noise).mean())
    write_sound(tmp_path / "a.mp3", samples, "libmp3lame", 48_000)
    write_sound(tmp_path / "noisy.wav", 0.2 * (samples + noise), "pcm_s16le")
    for name, least in (("a.mp3", 0.6), ("noisy.wav", 0.35)):
        hits = index.find(tmp_path / name)
        assert best(hits) == (f"{number}.mp4", pytest.approx(start, abs=0.1))
        assert hits[0].score > least and hits[0].by == "sound"
        assert hits[0].end - hits[0].start == pytest.approx(4, abs=0.4)
        assert len(hits) == 1 or hits[1].score < hits[0].score - 0.1


def test_faster(index: SearchIndex, tmp_path: Path) -> None:
    """Tempo and pitch here; a vector hears little of either."""
    samples = excerpt(2, 2.0, 6.0)
    fast = np.interp(np.arange(0, len(samples) - 1, 1.03), np.arange(len(samples)), samples).astype(np.float32)
    write_sound(tmp_path / "fast.wav", fast, "pcm_s16le")
    hits = index.find(tmp_path / "fast.wav")
    assert best(hits) == ("2.mp4", pytest.approx(2.0, abs=0.25)) and hits[0].speed == pytest.approx(1.03, abs=0.02)


@pytest.mark.slow
def test_other_picture_and_other_sound(index: SearchIndex, tmp_path: Path) -> None:
    write_sound(tmp_path / "mixed.mp4", excerpt(3, 5.0, 5.0), number=1)  # looks like 1, sounds like 3
    assert best(index.find(tmp_path / "mixed.mp4"))[0] == "1.mp4"
    assert best(index.find(tmp_path / "mixed.mp4", by="sound")) == ("3.mp4", pytest.approx(5.0, abs=0.1))
    both = index.find(tmp_path / "mixed.mp4", by="both")
    ways = {Path(hit.path).name: hit.by for hit in both}
    assert (ways["1.mp4"], ways["3.mp4"]) == ("picture", "sound")
    write_sound(tmp_path / "same.mp4", excerpt(3, 5.0, 5.0), number=3)
    assert best(index.find(tmp_path / "same.mp4", by="both"))[0] == "3.mp4"
    write_sound(tmp_path / "begin.mp4", excerpt(3, 0.0, 5.0), number=3)
    both = index.find(tmp_path / "begin.mp4", by="both")
    assert best(both) == ("3.mp4", pytest.approx(0, abs=0.1)) and both[0].by == "both" and both[0].score > 0.9


def test_a_part_of_a_video(index: SearchIndex, archive: Path) -> None:
    hits = index.find(archive / "videos" / "5.mp4", 4.2, 8.2, by="sound")
    assert best(hits) == ("5.mp4", pytest.approx(4.2, abs=0.1)) and hits[0].score > 0.8


def test_what_has_no_sound_says_so(index: SearchIndex, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="single moment"):
        index.find(archive / "videos" / "5.mp4", 4.0, by="sound")
    with pytest.raises(MediaError, match="no sound of 2.1 seconds"):
        index.find(archive / "videos" / "5.mp4", 4.0, 5.0, by="sound")
    assert index.find(archive / "videos" / "silent.mkv", by="sound") == []
    write_sound(tmp_path / "short.wav", tune(1, 1.0), "pcm_s16le")
    with pytest.raises(MediaError, match="no sound of"):
        index.find(tmp_path / "short.wav")
    with pytest.raises(MediaError, match="no picture"):
        index.find(tmp_path / "short.wav", by="both")


@pytest.mark.slow
def test_a_database_without_sound(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.wav", tune(1, 3.0), "pcm_s16le")
    with SearchIndex(tmp_path / "db") as empty, pytest.raises(UsageError, match="no video in the database has sound"):
        empty.find(tmp_path / "a.wav")


def test_agreement_counts_signs() -> None:
    one = np.random.default_rng(0).integers(0, 1 << 63, (3, 4), dtype=np.uint64)
    flipped = one.copy()
    flipped[:, 0] = ~flipped[:, 0]  # 64 of 256
    assert np.allclose(np.diag(agreement(one, one)), 1) and np.allclose(np.diag(agreement(one, ~one)), -1)
    assert np.allclose(np.diag(agreement(one, flipped)), 0.5)


def test_a_short_overlap_counts_less() -> None:
    vectors = np.random.default_rng(0).integers(0, 256, (10, 32), dtype=np.uint8)
    file = Sounds(np.arange(10.0), vectors, 12.0)
    whole = place_in(file, file)
    assert whole is not None and (whole.score, whole.start, whole.speed) == (1.0, 0.0, 1.0)
    other = np.random.default_rng(1).integers(0, 256, (10, 32), dtype=np.uint8)
    other[0] = vectors[-1]  # the end of one is the beginning of the other
    found = place_in(Sounds(np.arange(10.0), other, 12.0), file)
    assert found is not None and found.score < 0.3


def test_seen_and_heard_support_each_other() -> None:
    seen = [Hit("a", 5, 9, 0.8), Hit("b", 1, 5, 0.85)]
    heard = [replace(hit, score=0.6, by="sound") for hit in (seen[0], Hit("c", 3, 7, 0.6))]
    found = query_both(seen, heard, 10)
    assert [(hit.path, hit.by) for hit in found] == [("a", "both"), ("b", "picture"), ("c", "sound")]
    assert found[0].score > found[1].score > found[2].score > 0
    elsewhere = query_both(seen, [replace(heard[0], start=30.0)], 10)
    assert {hit.path: hit.by for hit in elsewhere}["a"] != "both"
