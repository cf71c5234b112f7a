"""`--strict`: a notice of a loss becomes exit code 9, and nothing is written."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from .conftest import Lvc, names


@pytest.fixture(scope="module")
def ten_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "ten.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25), options={"level": "3"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p10le"
        for number in range(5):
            picture = np.full((96, 64), 100 * number, np.uint16)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "yuv420p10le")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("target", [[], ["--target-size", "1M"]])
def test_encode(fake: Lvc, ten_bits: Path, target: list[str]) -> None:
    done = fake("encode", ten_bits, "a.lvz", "--json", *target)
    assert done.code == 0
    losses = [e for e in done.events if e["event"] == "notice"]
    assert len(losses) == 1 and losses[0]["loss"] and "10 bits" in losses[0]["message"]
    done = fake("encode", ten_bits, "b.lvz", "--strict", "--quiet", *target)
    assert done.code == 9 and "10 bits" in done.err and "--strict" in done.err
    assert names(fake.folder) == ["a.lvz"]


def test_encode_a_folder(fake: Lvc, ten_bits: Path, carphone: Path) -> None:
    source = fake.folder / "in"
    source.mkdir()
    (source / "ten.mkv").write_bytes(ten_bits.read_bytes())
    (source / "plain.mp4").write_bytes(carphone.read_bytes())
    done = fake("encode", "in", "--output-dir", "out", "--strict", "--jobs", 1)
    assert done.code == 9 and names(fake.folder / "out") == ["plain.lvz"]


def test_decode(fake: Lvc, with_sound: Path) -> None:
    done = fake("decode", with_sound, "a.y4m", "--strict", "--json")
    error = json.loads(done.text.splitlines()[-1])
    assert done.code == 9 and error["kind"] == "LossError" and "sound" in error["message"]
    assert names(fake.folder) == []
    assert fake("decode", with_sound, "a.mkv", "--strict").code == 0
    assert fake("decode", with_sound, "b.mkv", "--strict", "--salvage").code == 2


def test_interpolate(fake: Lvc, ten_bits: Path) -> None:
    done = fake("interpolate", ten_bits, "a.mkv", "--strict")
    assert done.code == 9 and names(fake.folder) == []
