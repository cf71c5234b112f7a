"""`--target-vmaf`: what it reaches is what the judge of `lvc eval` sees."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import lvc as library
from lvc.errors import UnsupportedError
from lvc.files import decode_frames, vmaf
from lvc.media import Frame, MediaReader, ffmpeg
from tests.helpers.command import Lvc, names

judged = pytest.mark.skipif(
    ffmpeg.why_not("filter", "libvmaf") is not None, reason=str(ffmpeg.why_not("filter", "libvmaf"))
)


def _score(source: Path, coded: Path, seconds: float, folder: Path) -> float:
    """As `lvc eval` does it: decoded pictures in a file."""
    decoded = list(decode_frames(coded))
    with MediaReader(source, duration=seconds, audio="none") as reader:
        shown = [item for item in reader if isinstance(item, Frame)]
    folder = folder / "judge"
    folder.mkdir()
    raw = folder / "raw.yuv"
    with raw.open("wb") as file:
        for frame in decoded:
            ffmpeg.write_picture(file, frame)
    with ffmpeg.Vmaf(raw, decoded[0].y.shape[1], decoded[0].y.shape[0], folder) as judge:
        for frame in shown:
            judge.write(frame)
    scores = [s for frame in judge.scores() if (s := frame["vmaf"]) is not None]
    assert len(scores) == len(decoded) == len(shown)
    return sum(scores) / len(scores)


@pytest.mark.slow
@judged
def test_the_target_is_reached_and_measured(lvc: Lvc, carphone: Path, tmp_path: Path) -> None:
    done = lvc("encode", carphone, "a.lvz", "--duration", "0.5", "--target-vmaf", "86", "--effort", "0", "--json")
    assert done.code == 0, done.err
    (result,) = [event for event in done.events if event["event"] == "done"]
    assert abs(result["vmaf"] - 86) <= 0.5 and 0 < result["quality"] < 100
    assert names(lvc.folder) == ["a.lvz"]
    assert result["vmaf"] == pytest.approx(_score(carphone, lvc.folder / "a.lvz", 0.5, tmp_path), abs=0.001)


@pytest.mark.slow
@judged
def test_samples_of_a_longer_video(carphone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmaf, "SHORT", 0.5)
    monkeypatch.setattr(vmaf, "SAMPLES", 2)
    monkeypatch.setattr(vmaf, "SECONDS", 0.2)
    told: list[str] = []
    settings: dict[str, Any] = {"start": 0.5, "duration": 1.0, "effort": 0, "threads": 1}
    result = library.encode_file(carphone, tmp_path / "a.lvz", target_vmaf=88, notice=told.append, **settings)
    assert result.frames == 30 and result.vmaf is not None and abs(result.vmaf - 88) <= 0.5
    assert [line.startswith("samples: ") for line in told] == sorted(
        (line.startswith("samples: ") for line in told), reverse=True
    )
    assert told[0].startswith("samples: ") and told[-1].startswith("VMAF ")


@pytest.mark.slow
@judged
def test_what_cannot_be_reached_is_said_and_folders_work(fake: Lvc, bunny: Path) -> None:
    """The codec of a few lines loses nothing, at whatever quality."""
    folder = fake.folder / "in"
    folder.mkdir()
    (folder / "bunny.mp4").symlink_to(bunny)
    options = ["--duration", "0.2", "--packing", "zstd", "--target-vmaf", "80"]
    done = fake("encode", folder, "--output-dir", "out", *options, "--json")
    assert done.code == 0, done.err
    (result,) = [event for event in done.events if event["event"] == "done"]
    assert result["vmaf"] > 95 and names(fake.folder) == ["in", "out"] and names(fake.folder / "out") == ["bunny.lvz"]
    assert any("comes closest" in event.get("message", "") for event in done.events)
    again = fake("encode", folder, "--output-dir", "out", *options, "--resume", "--json")
    assert [event["status"] for event in again.events if event["event"] == "done"] == ["skipped"]


@pytest.mark.slow
def test_without_the_judge(fake: Lvc, bunny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = fake("encode", bunny, "a.lvz", "--target-vmaf", "90", env={"IMAGEIO_FFMPEG_EXE": "/bin/false"})
    assert done.code == 5 and "VMAF" in done.err and done.err.count("\n") == 1
    assert names(fake.folder) == []
    monkeypatch.setattr(ffmpeg, "executable", lambda: None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lvc\[eval\]'"):
        library.encode_file(bunny, fake.folder / "a.lvz", target_vmaf=90)


@pytest.mark.slow
@pytest.mark.parametrize("other", [("--target-psnr", "38"), ("--target-size", "1M"), ("--target-bitrate", "1M")])
def test_one_target_at_a_time(fake: Lvc, bunny: Path, other: tuple[str, str]) -> None:
    assert fake("encode", bunny, "a.lvz", "--target-vmaf", "90", *other).code == 2
    assert fake("encode", bunny.parent, "--output-dir", "out", "--target-vmaf", "90", *other).code == 2


@pytest.mark.slow
@judged
def test_pipes_and_tiny_pictures_are_refused(fake: Lvc, bunny: Path) -> None:
    assert fake("encode", "-", "a.lvz", "--target-vmaf", "90", input=bunny.read_bytes()).code == 2
    assert fake("encode", bunny, "a.lvz", "--resolution", "28x16", "--target-vmaf", "90").code == 2


@pytest.mark.slow
@judged
def test_the_judge_dies(tmp_path: Path, carphone: Path) -> None:
    """An error among the pictures ends at once, with itself."""
    with MediaReader(carphone, duration=0.3) as reader:
        frames = [item for item in reader if isinstance(item, Frame)]

    def pairs() -> Any:
        yield from ((f, f) for f in frames)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ffmpeg.vmaf(pairs(), 176, 144)
    assert len(ffmpeg.vmaf([(f, f) for f in frames], 176, 144)) == len(frames)


@pytest.mark.parametrize("target", [20.0, 60.0, 93.0])
@pytest.mark.parametrize("misled", [0.0, 2.0, -2.0])
def test_the_search_is_short(target: float, misled: float) -> None:
    def truth(quality: float) -> float:
        return 98 - 90 * math.exp(-quality / 22)

    curve = vmaf._Curve(target)
    for _ in range(vmaf.TRIES):
        if abs(curve.add(quality := curve.next(), truth(quality)) - target) <= vmaf.NEAR:
            break
    else:
        pytest.fail("the samples took too long")
    for number in range(vmaf.PASSES - 1):
        quality = curve.next()
        score = truth(quality) + misled
        if not number:
            curve.shift(quality, score)
        curve.add(quality, score)
        if abs(score - target) <= vmaf.TOLERANCE:
            return
    pytest.fail("the whole took too long")


def test_the_search_stays_within_the_dial() -> None:
    curve = vmaf._Curve(99)
    curve.add(50, 40)
    assert curve.next() == 100
    curve.add(100, 60)
    assert curve.next() == 100
    low = vmaf._Curve(10)
    low.add(50, 90)
    low.add(0, 60)
    assert low.next() == 0
