"""`--strict`: a notice of a loss becomes exit code 9, and nothing is written."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.command import Lvc, names


@pytest.fixture(scope="module")
def full_chroma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "full.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25), options={"level": "3"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        for number in range(5):
            picture = np.full((3, 64, 64), 25 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "yuv444p")))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("target", [[], ["--target-size", "1M"]])
def test_encode(fake: Lvc, full_chroma: Path, target: list[str]) -> None:
    done = fake("encode", full_chroma, "a.lvz", "--json", *target)
    assert done.code == 0
    losses = [e for e in done.events if e["event"] == "notice"]
    assert len(losses) == 1 and losses[0]["loss"] and "4:2:0" in losses[0]["message"]
    done = fake("encode", full_chroma, "b.lvz", "--strict", "--quiet", *target)
    assert done.code == 9 and "4:2:0" in done.err and "--strict" in done.err
    assert names(fake.folder) == ["a.lvz"]


@pytest.mark.slow
def test_encode_a_folder(fake: Lvc, full_chroma: Path, carphone: Path) -> None:
    source = fake.folder / "in"
    source.mkdir()
    (source / "full.mkv").write_bytes(full_chroma.read_bytes())
    (source / "plain.mp4").write_bytes(carphone.read_bytes())
    done = fake("encode", "in", "--output-dir", "out", "--strict", "--jobs", 1)
    assert done.code == 9 and names(fake.folder / "out") == ["plain.lvz"]


@pytest.mark.slow
def test_decode(fake: Lvc, with_sound: Path) -> None:
    done = fake("decode", with_sound, "a.y4m", "--strict", "--json")
    error = json.loads(done.text.splitlines()[-1])
    assert done.code == 9 and error["kind"] == "LossError" and "sound" in error["message"]
    assert names(fake.folder) == []
    assert fake("decode", with_sound, "a.mkv", "--strict").code == 0
    assert fake("decode", with_sound, "b.mkv", "--strict", "--salvage").code == 2


@pytest.mark.slow
def test_interpolate(fake: Lvc, full_chroma: Path) -> None:
    done = fake("interpolate", full_chroma, "a.mkv", "--strict")
    assert done.code == 9 and names(fake.folder) == []
