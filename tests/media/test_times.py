"""Times of frames: variable, missing, jumping; durations; the order of frames and packets."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import pytest

from lvc.media.reader import _frame_rate
from lvc.media.streams import ratio
from lvc.media.timing import FrameClock
from tests.helpers.clips import BUNNY, Audio, Clip, Read, real_clip

VFR = [0, 1, 3, 10, 11, 12, 40]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov", "mpegts"])
def test_variable_frame_rate(container: str) -> None:
    clip = Clip(pts=VFR, container=container, last_duration=5)
    read = Read(clip.bytes())
    first = read.times[0]
    assert [t - first for t in read.times] == clip.times()
    assert read.durations[:-1] == [Fraction(b - a, 25) for a, b in zip(VFR, VFR[1:], strict=False)]
    assert read.durations[-1] > 0
    assert all(frame.duration > 0 for frame in read.frames)


@pytest.mark.parametrize("bframes", ["0", "3"])
def test_reordered_frames_come_in_order(bframes: str) -> None:
    clip = Clip(frames=20, options={"bf": bframes, "qp": "30"}, container="mp4")
    assert Read(clip.bytes()).times == clip.times()


def test_a_bitstream_without_times() -> None:
    read = Read(Clip(container="h264", frames=12, options={"bf": "2"}).bytes())
    assert len(read.frames) == 12
    assert len({b - a for a, b in zip(read.times, read.times[1:], strict=False)}) == 1
    assert any("derived from the frame rate" in n for n in read.notices)


def test_one_frame_and_unknown_duration() -> None:
    read = Read(Clip(frames=1, container="matroska").bytes())
    assert len(read.frames) == 1
    assert read.frames[0].duration > 0
    live = Clip(frames=5, container="matroska", mux_options={"live": "1"}).bytes()
    read = Read(live)
    assert len(read.frames) == 5
    with av.open(io.BytesIO(live)) as container:
        assert container.duration is None


def test_joined_recordings_go_on_behind_each_other() -> None:
    part = Clip(container="mpegts", codec="mpeg2video", frames=30).bytes()
    read = Read(part + part)
    assert len(read.frames) == 60
    assert all(b > a for a, b in zip(read.times, read.times[1:], strict=False))
    assert read.times[-1] - read.times[0] < 3
    assert any("jump back" in n for n in read.notices)


def test_the_size_changes() -> None:
    first = Clip(container="mpegts", codec="mpeg2video", size=(64, 48), frames=10).bytes()
    second = Clip(container="mpegts", codec="mpeg2video", size=(96, 80), frames=10).bytes()
    read = Read(first + second)
    assert len(read.frames) >= 19  # FFmpeg's MPEG-2 decoder swallows the one that it held at the change
    assert {frame.y.shape for frame in read.frames} == {(48, 64)}
    assert any("size changes from 64x48 to 96x80" in n for n in read.notices)


def test_items_are_interleaved_by_time() -> None:
    read = Read(real_clip(BUNNY), duration=2)
    latest = Fraction(-1)
    for item in read.items:
        tick = read.video.seconds_per_tick if hasattr(item, "y") else Fraction(*read.copied[item.stream].time_base)
        assert item.pts * tick >= latest
        latest = item.pts * tick


def test_hint_is_exact_for_mp4() -> None:
    assert Read(Clip(frames=9).bytes()).reader.frame_count_hint == 9


def test_times_before_zero_survive() -> None:
    read = Read(Clip(audio=[Audio("aac")]).bytes())
    assert read.packets[0].pts == -1024
    assert read.frames[0].pts == 0


def test_clock() -> None:
    clock = FrameClock(Fraction(1, 1000), Fraction(25))
    given = [(0, 0, 40), (None, None, 40), (80, 80, 40), (80, None, 40), (79, None, 0)]
    assert [clock.stamp(*times) for times in given] == [0, 40, 80, 81, 82]
    assert (clock.derived, clock.moved, clock.jumps) == (1, 2, 0)
    assert clock.stamp(5000, None, 40) == 5000
    assert clock.stamp(100, None, 40) == 5040
    assert clock.stamp(140, None, 40) == 5080
    assert clock.jumps == 1


def test_standard_input() -> None:
    """A process of its own: `-` is read without Python's buffer, from a pipe."""
    data = Clip(frames=6, container="matroska").bytes()
    code = "from lvc.media import MediaReader; print(len(list(MediaReader('-'))))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False, cwd=root)
    assert (done.stdout.strip(), done.stderr) == (b"6", b"")


def test_encoders_are_silent() -> None:
    code = (
        "import io, numpy as np; from lvc.media import *\n"
        "p = np.zeros((64, 64), np.uint8)\n"
        "for codec in ('h264', 'hevc', 'av1', 'ffv1'):\n"
        "    with MediaWriter(io.BytesIO(), VideoFormat(64, 64, (1, 25)), container='mkv', codec=codec) as w:\n"
        "        w.write(Frame(p, p[:32, :32], p[:32, :32], 0, 1))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_unset_rates_are_tested_for_truth() -> None:
    """PyAV 18 gives None for an unset rate, PyAV 19 an object that is false."""
    for unset in (None, Fraction(0)):
        stream = SimpleNamespace(average_rate=unset, guessed_rate=unset)
        assert _frame_rate(stream) is None
        assert ratio(unset) == (0, 0)
        assert _frame_rate(SimpleNamespace(average_rate=unset, guessed_rate=Fraction(25))) == 25
