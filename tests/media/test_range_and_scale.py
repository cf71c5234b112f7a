"""`start`, `duration`, `fps`, `resolution`."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lvc.errors import MediaError, UsageError
from lvc.media import Frame
from lvc.media.scaling import target_rate, target_size
from lvc.media.timing import at_constant_rate
from tests.helpers.clips import BUNNY, Clip, Pipe, Read, real_clip

GOPS = {"g": "10", "bf": "2", "qp": "20"}


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "h264"])
@pytest.mark.parametrize("start", [0.0, 0.4, 1.0, 1.6])
def test_range_is_exact(container: str, start: float) -> None:
    data = Clip(frames=60, container=container, options=GOPS).bytes()
    whole = Read(data)
    part = Read(data, start=start, duration=0.4)
    assert len(part.frames) == 10
    first = round(start * 25)
    for got, want in zip(part.frames, whole.frames[first:], strict=False):
        assert np.array_equal(got.y, want.y)
    begin = whole.times[0] if start == 0 else 0
    assert part.times == [begin + Fraction(n, 25) for n in range(10)]


def test_range_of_a_pipe() -> None:
    data = Clip(frames=60, container="matroska", options=GOPS).bytes()
    assert len(Read(Pipe(data), start=2.0).frames) == 10
    assert len(Read(Pipe(data), start=1.0, duration=0.2).frames) == 5


@pytest.mark.slow
def test_sound_is_cut_to_the_range() -> None:
    path = real_clip(BUNNY)
    whole, part = Read(path), Read(path, start=2.0, duration=1.0)
    assert len(part.frames) == 25
    times = part.packet_times(0)
    assert -0.03 < times[0] <= 0
    assert 0.95 < times[-1] < 1.0
    stored = {p.data for p in whole.packets}
    assert all(p.data in stored for p in part.packets)
    assert part.reader.frame_count_hint == 25


def test_start_behind_the_end() -> None:
    with pytest.raises(MediaError, match="after the end"):
        Read(Clip(frames=10).bytes(), start=100)


@pytest.mark.parametrize("bad", [{"start": -1}, {"duration": 0}, {"fps": "fast"}, {"fps": 0}, {"resolution": "big"},
                                 {"audio": "mp3"}, {"subtitles": "all"}, {"audio": "opus:1k"}])  # fmt: skip
def test_wrong_settings(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="—"):
        Read(Clip(frames=2).bytes(), **bad)


def test_chapters_follow_the_range() -> None:
    chapters = [
        {"id": n, "start": n * 400, "end": n * 400 + 400, "time_base": Fraction(1, 1000), "metadata": {"title": str(n)}}
        for n in range(4)
    ]
    data = Clip(frames=40, container="matroska", chapters=chapters).bytes()
    cut = Read(data, start=0.6, duration=0.8).reader.chapters
    tick = Fraction(*cut[0].time_base)
    assert [(c.start * tick, c.end * tick, c.tags["title"]) for c in cut] == [
        (0, Fraction(1, 5), "1"),
        (Fraction(1, 5), Fraction(3, 5), "2"),
        (Fraction(3, 5), Fraction(4, 5), "3"),
    ]


def test_fps_drops_and_repeats() -> None:
    data = Clip(frames=50).bytes()
    slow, fast = Read(data, fps=12.5), Read(data, fps=50)
    assert slow.video.time_base == (2, 25)
    assert slow.video.frame_rate == (25, 2)
    assert len(slow.frames) == 25
    assert len(fast.frames) == 100
    assert fast.frames[0].y is fast.frames[1].y
    assert [f.pts for f in slow.frames] == list(range(25))
    ntsc = Read(data, fps="29.97")
    assert ntsc.video.frame_rate == (30000, 1001)
    assert len(ntsc.frames) in (59, 60)


def test_fps_of_variable_times() -> None:
    read = Read(Clip(pts=[0, 1, 3, 10, 11, 12, 40], last_duration=5).bytes(), fps=25)
    assert [f.pts for f in read.frames][:40] == list(range(40))


def test_constant_rate_of_one_short_frame() -> None:
    plane = np.zeros((2, 2), np.uint8)
    frame = Frame(plane, plane, plane, pts=7, duration=1)
    assert len(list(at_constant_rate([frame], Fraction(1, 1000), Fraction(25)))) == 1


@pytest.mark.parametrize(
    ("wanted", "size", "turned", "result"),
    [
        ("1280x720", (640, 480), False, (1280, 720)),
        ("720p", (1920, 1080), False, (1280, 720)),
        ("720p", (1080, 1920), False, (720, 1280)),
        ("720p", (1920, 1080), True, (1280, 720)),
        ("x240", (640, 480), False, (320, 240)),
        ("320x", (640, 480), False, (320, 240)),
        ("x480", (1920, 1080), False, (854, 480)),
        ("x320", (568, 320), True, (320, 180)),
        ("175x143", (640, 480), False, (176, 144)),
    ],
)
def test_sizes(wanted: str, size: tuple[int, int], turned: bool, result: tuple[int, int]) -> None:
    assert target_size(wanted, *size, turned=turned) == result


@pytest.mark.parametrize("bad", ["", "x", "p", "99999x2", "12", "-2x4"])
def test_wrong_sizes(bad: str) -> None:
    with pytest.raises(UsageError):
        target_size(bad, 640, 480)


def test_rates() -> None:
    assert target_rate(25) == 25
    assert target_rate("23.976") == Fraction(24000, 1001)
    assert target_rate("30000/1001") == Fraction(30000, 1001)
    assert target_rate(7.5) == Fraction(15, 2)


def test_resolution_scales_pictures_and_keeps_their_shape() -> None:
    data = Clip(size=(128, 96), frames=3, sar=Fraction(4, 3)).bytes()
    half = Read(data, resolution="x48")
    assert {f.y.shape for f in half.frames} == {(48, 64)}
    assert half.video.sar == (4, 3)
    squeezed = Read(data, resolution="64x96")
    assert squeezed.video.sar == (8, 3)
    whole = Read(data).frames[0].y.astype(float)
    small = whole.reshape(48, 2, 64, 2).mean(axis=(1, 3))
    assert np.abs(half.frames[0].y - small).mean() < 3
