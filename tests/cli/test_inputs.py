"""A source is never lost: what is an input, what is an output, and what is never overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lvc.cli import inputs
from lvc.errors import UsageError
from lvc.kinds import LVZ, VIDEOS
from tests.helpers.command import Lvc, names

FAST = ("--packing", "zstd", "--resolution", "64x48", "--duration", "0.2", "--jobs", 1)


@pytest.mark.parametrize(
    ("words", "named", "writes", "expected"),
    [
        (["a.mp4"], None, [LVZ], (["a.mp4"], None)),
        (["a.mp4", "b.mp4"], None, [LVZ], (["a.mp4", "b.mp4"], None)),
        (["a.mp4", "b.lvz"], None, [LVZ], (["a.mp4"], "b.lvz")),
        (["a.mp4", "B.LVZ"], None, [LVZ], (["a.mp4"], "B.LVZ")),
        (["a.mp4", "-"], None, [LVZ], (["a.mp4"], "-")),
        (["-", "-"], None, [LVZ], (["-"], "-")),
        (["a.mp4", "s3://bucket/b"], None, [LVZ], (["a.mp4"], "s3://bucket/b")),
        (["s3://b/a.mp4", "s3://b/b.mp4"], None, [LVZ], (["s3://b/a.mp4", "s3://b/b.mp4"], None)),
        (["a.mp4", "https://x/b"], None, [LVZ], (["a.mp4", "https://x/b"], None)),
        (["a.mp4", "b.mp4", "c.lvz"], None, [LVZ], (["a.mp4", "b.mp4", "c.lvz"], None)),
        (["a.mp4", "b.lvz"], "c.lvz", [LVZ], (["a.mp4", "b.lvz"], "c.lvz")),
        (["a.lvz", "b.lvz"], None, VIDEOS, (["a.lvz", "b.lvz"], None)),
        (["a.lvz", "b.mkv"], None, VIDEOS, (["a.lvz"], "b.mkv")),
    ],
)
def test_words(words: list[str], named: str | None, writes: Any, expected: Any) -> None:
    assert inputs.split(words, named, writes) == expected


def test_where_the_output_comes_last() -> None:
    assert inputs.split_required(["a", "b", "c.lvz"], None, [LVZ]) == (["a", "b"], "c.lvz")
    with pytest.raises(UsageError, match=r"\.lvz"):
        inputs.split_required(["a", "b"], None, [LVZ])


@pytest.fixture
def two(fake: Lvc, carphone: Path) -> Lvc:
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(carphone, fake.folder / name)
    return fake


@pytest.mark.slow
def test_several_inputs_are_several_inputs(two: Lvc) -> None:
    before = (two.folder / "b.mp4").read_bytes()
    for force in ([], ["--force"]):
        done = two("encode", "a.mp4", "b.mp4", *FAST, *force)
        assert done.code == 0, done.err
        assert names(two.folder) == ["a.lvz", "a.mp4", "b.lvz", "b.mp4"]
    assert (two.folder / "b.mp4").read_bytes() == before
    done = two("decode", "a.lvz", "b.lvz", "--output-dir", "back", "--jobs", 1)
    assert done.code == 0 and names(two.folder / "back") == ["a.mp4", "b.mp4"]
    # beside them lie the sources: --force does not touch those either
    done = two("decode", "a.lvz", "b.lvz", "--force", "--jobs", 1)
    assert done.code == 6 and (two.folder / "b.mp4").read_bytes() == before
    done = two("decode", "a.lvz", "--force")
    assert done.code == 6 and "made from" in done.err and (two.folder / "a.mp4").read_bytes() == before
    assert two("encode", "a.mp4", "b.mp4", "-o", "in-here", "--resume", *FAST).code == 2  # no folder yet
    assert two("encode", "a.mp4", "b.mp4", "--output-dir", "in-here", *FAST).code == 0
    assert names(two.folder / "in-here") == ["a.lvz", "b.lvz"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["encode", "a.mp4", "out.mp4"], ["out.mp4", "no such file", ".lvz"]),
        (["encode", "a.mp4", "-o", "out.mp4"], ["out.mp4", "MP4", ".lvz"]),
        (["encode", "a.mp4", "-o", "b.mp4", "--force"], ["b.mp4", "MP4"]),
        (["encode", "a.mp4", "b.mp4", "-o", "c.lvz"], ["c.lvz", "2 inputs"]),
        (["encode", "a.mp4", "a.mov"], ["a.mp4 and a.mov", "a.lvz"]),
        (["encode", "a.mp4", "a.mp4"], ["a.lvz"]),
        (["encode", "a.mp4", "b.mp4", "50"], ["50", "-q 50"]),
        (["encode", "50", "a.mp4"], ["50", "-q 50"]),
        (["encode", "a.mp4", "."], ["folder", "--output-dir"]),
        (["encode", "a.mp4", "-", "b.mp4"], ["standard input"]),
        (["encode", "a.mp4", "b.mp4", "--watch"], ["--watch"]),
        (["encode", "a.mp4", "--quality", "50", "--target-size", "1M"], ["--quality", "--target-size"]),
        (["encode", "a.mp4", "b.mp4", "--segment", "10s"], ["one stream"]),
        (["encode", "rtsp://127.0.0.1:9/1", "a.mp4"], ["one stream"]),
        (["decode", "a.lvz", "b.lvz", "--follow"], ["--follow"]),
        (["decode", "a.lvz", "out.avi"], ["out.avi", ".mkv"]),
        (["decode", "a.lvz", "b.lvz", "-o", "c.mp4"], ["c.mp4", "2 inputs"]),
        (["unpack", "a.lvz", "b.lvz", "-o", "c"], ["2 inputs"]),
        (["pack", "a.safetensors"], [".lvz"]),
        (["pack", "a.mp4", "-o", "b.mp4", "--force"], ["b.mp4"]),
        (["train", "a.mp4", "-o", "b.mp4"], ["b.mp4", ".safetensors"]),
        (["features", "a.mp4", "-o", "b.mp4", "--force"], ["b.mp4", ".npz"]),
        (["features", "a.mp4", "b.mp4"], [".npz"]),
    ],
)
def test_2_before_any_work(two: Lvc, arguments: list[str], said: list[str]) -> None:
    shutil.copy(two.folder / "a.mp4", two.folder / "a.mov")
    (two.folder / "a.lvz").write_bytes(b"\x89LVZ\r\n\x1a\n")
    (two.folder / "b.lvz").write_bytes(b"\x89LVZ\r\n\x1a\n")
    before = {name: (two.folder / name).read_bytes() for name in names(two.folder)}
    done = two(*arguments)
    assert done.code == 2, done.err
    for text in said:
        assert text in done.err
    assert {name: (two.folder / name).read_bytes() for name in names(two.folder)} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [
        (["encode", "a.mp4", "out.lvz"], "out.lvz"),
        (["encode", "a.mp4", "b.mp4", "--jobs", "1"], "b.lvz"),
        (["encode", "a.mp4", "out.lvz", "--target-size", "1M"], "out.lvz"),
        (["decode", "c.lvz", "out.mkv"], "out.mkv"),
        (["decode", "folder", "--output-dir", "back"], "back/c.mp4"),
        (["encode", "folder", "--output-dir", "back"], "back/a.lvz"),
        (["interpolate", "c.lvz", "-o", "out.mp4"], "out.mp4"),
        (["interpolate", "a.mp4", "b.mp4"], "b.mp4"),
        (["pack", "a.safetensors", "out.lvz"], "out.lvz"),
        (["train", "a.mp4", "out.safetensors"], "out.safetensors"),
        (["features", "a.mp4", "out.npz"], "out.npz"),
    ],
)
def test_6_also_with_force_for_what_the_command_does_not_write(
    two: Lvc, with_sound: Path, arguments: list[str], theirs: str
) -> None:
    (two.folder / "folder").mkdir()
    (two.folder / "back").mkdir()
    shutil.copy(with_sound, two.folder / "c.lvz")
    shutil.copy(with_sound, two.folder / "folder" / "c.lvz")
    shutil.copy(two.folder / "a.mp4", two.folder / "folder" / "a.mp4")
    if theirs != "b.mp4":
        (two.folder / theirs).write_bytes(b"somebody's diary\n")
    before = (two.folder / theirs).read_bytes()
    done = two(*arguments, "--force")
    assert done.code == 6, done.err
    assert (two.folder / theirs).read_bytes() == before


@pytest.mark.slow
def test_a_model_of_another_training_is_not_overwritten(two: Lvc) -> None:
    model = two.folder / "mine.safetensors"
    model.write_bytes((2).to_bytes(8, "little") + b"{}")
    done = two("train", "a.mp4", "mine.safetensors")
    assert done.code == 6 and "--force" in done.err and names(two.folder) == ["a.mp4", "b.mp4", "mine.safetensors"]


@pytest.mark.slow
def test_q_is_quality_and_quiet_has_no_letter(fake: Lvc, carphone: Path) -> None:
    assert fake("encode", carphone, "a.lvz", "-q", "30", "--duration", "0.2").code == 0
    assert "frames" in fake("encode", carphone, "b.lvz", "-q", "30", "--duration", "0.2").err
    assert fake("encode", carphone, "c.lvz", "-q").code == 2
    assert fake("decode", "a.lvz", "a.mp4", "-q").code == 2
