"""Whole files: real clips, sound, .lvz, and what the command says."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lvc.errors import UsageError
from lvc.interpolate import interpolate_file, plan_file
from lvc.media import CopiedPacket, Frame, MediaReader, MediaWriter
from tests.helpers.clips import CARPHONE, Audio, Clip, real_clip
from tests.helpers.scenes import psnr
from tests.helpers.waiting import PATIENCE

MOVING = Clip(size=(96, 64), frames=6, audio=[Audio(seconds=0.24)])


def read(path: Path) -> tuple[list[Frame], list[CopiedPacket], MediaReader]:
    with MediaReader(path) as reader:
        items = list(reader)
    return [i for i in items if isinstance(i, Frame)], [i for i in items if isinstance(i, CopiedPacket)], reader


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    MOVING.write(tmp_path / "moving.mp4")
    return tmp_path / "moving.mp4"


@pytest.mark.slow
def test_what_was_left_out_of_a_real_clip_is_restored(tmp_path: Path) -> None:
    with MediaReader(real_clip(CARPHONE), duration=0.6) as reader:
        truth = [item for item in reader if isinstance(item, Frame)]
        with MediaWriter(tmp_path / "half.mkv", reader.video, codec="ffv1") as writer:
            for frame in truth[::2]:
                writer.write(frame)
    result = interpolate_file(tmp_path / "half.mkv", tmp_path / "whole.mkv", codec="ffv1", threads=1)
    made, _, _ = read(tmp_path / "whole.mkv")
    assert result.frames == len(made) == len(truth) and result.new == len(truth) // 2 - 1
    blend, lvc = [], []
    for k in range(1, len(truth) - 1, 2):
        assert np.array_equal(made[k - 1].y, truth[k - 1].y)
        both = (truth[k - 1].y.astype(np.uint16) + truth[k + 1].y + 1) // 2
        blend.append(psnr(both, truth[k].y))
        lvc.append(psnr(made[k].y, truth[k].y))
    assert np.mean(lvc) > np.mean(blend)


def test_sound_is_copied_and_times_are_exact(moving: Path, tmp_path: Path) -> None:
    result = interpolate_file(moving, tmp_path / "out.mp4", factor=4)
    before, sound, old = read(moving)
    after, copied, new = read(tmp_path / "out.mp4")
    assert [p.data for p in copied] == [p.data for p in sound] and len(sound) > 5
    assert new.copied[0].codec == old.copied[0].codec
    tick, finer = old.video.seconds_per_tick, new.video.seconds_per_tick
    assert [f.pts * finer for f in after] == [Fraction(k, 100) for k in range(24)]
    assert [f.pts * finer for f in after[::4]] == [f.pts * tick for f in before]
    assert sum(f.duration for f in after) * finer == sum(f.duration for f in before) * tick
    assert (result.frames, result.new, result.repeated, result.cuts) == (24, 15, 3, 0)
    assert result.duration == pytest.approx(0.24)


@pytest.mark.slow
def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    Clip(size=(96, 64), frames=4, pts=[0, 1, 4, 5], time_base=Fraction(1, 30), rate=Fraction(30)).write(
        tmp_path / "v.mp4"
    )
    interpolate_file(tmp_path / "v.mp4", tmp_path / "out.mp4")
    after, _, reader = read(tmp_path / "out.mp4")
    wanted = [Fraction(n, 60) for n in (0, 1, 2, 5, 8, 9, 10, 11)]
    assert [f.pts * reader.video.seconds_per_tick for f in after] == wanted


@pytest.mark.slow
def test_a_rate_is_constant_and_a_range_starts_at_zero(moving: Path, tmp_path: Path) -> None:
    interpolate_file(moving, tmp_path / "out.mp4", fps="60", start=0.08, end=0.2)
    after, _, reader = read(tmp_path / "out.mp4")
    assert [f.pts * reader.video.seconds_per_tick for f in after] == [Fraction(k, 60) for k in range(8)]


def test_an_lvz_is_decoded_on_the_way(moving: Path, tmp_path: Path) -> None:
    from lvc.files import decode_frames, encode_file

    encode_file(moving, tmp_path / "moving.lvz", effort=0)
    result = interpolate_file(tmp_path / "moving.lvz", tmp_path / "out.mkv", codec="ffv1")
    after, copied, _ = read(tmp_path / "out.mkv")
    decoded = list(decode_frames(tmp_path / "moving.lvz"))
    assert result.frames == 12 and all(np.array_equal(a.y, d.y) for a, d in zip(after[::2], decoded, strict=True))
    assert [p.data for p in copied] == [p.data for p in read(moving)[1]]


@pytest.mark.slow
def test_what_is_refused(moving: Path, tmp_path: Path) -> None:
    for settings in ({"factor": 3}, {"factor": 2, "fps": 60}, {"fps": "fast"}, {"start": 2.0, "end": 1.0}):
        with pytest.raises(UsageError):
            interpolate_file(moving, tmp_path / "out.mp4", **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot hold ffv1"):
        plan_file(moving, tmp_path / "out.mp4", codec="ffv1")
    assert not (tmp_path / "out.mp4").exists()


def lvc(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvc", "interpolate", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.slow
def test_the_command_plans_and_refuses(moving: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    planned = lvc(moving, out, "--fps", "50", "--dry-run", "--json")
    (event,) = [json.loads(line) for line in planned.stdout.splitlines()]
    assert planned.returncode == 0 and not out.exists()
    assert (event["frames_in"], event["frames_out"], event["fps_out"]) == (6, 12, 50.0)
    assert lvc(moving).returncode == 2
    assert lvc(moving, out, "--factor", "3").returncode == 2
    assert lvc(tmp_path, out).returncode == 2
    assert lvc(tmp_path / "missing.mp4", out).returncode == 3
    assert lvc(moving, moving, "--force").returncode == 2
    out.write_bytes(b"mine")
    assert lvc(moving, out).returncode == 6
    assert out.read_bytes() == b"mine" and sorted(p.name for p in tmp_path.iterdir()) == ["moving.mp4", "out.mp4"]


@pytest.mark.slow
def test_the_command_writes(moving: Path, tmp_path: Path) -> None:
    done = lvc(moving, tmp_path / "out.mp4", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "12 frames 96x64, 5 new, 1 repeated, no cut" in done.stderr
    assert len(read(tmp_path / "out.mp4")[0]) == 12
