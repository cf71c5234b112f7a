"""No encoder makes the process run before everything else on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
import numpy as np
from lvc.media import Frame, MediaWriter, VideoFormat

plane, half = np.zeros((64, 64), np.uint8), np.zeros((32, 32), np.uint8)
with MediaWriter(sys.argv[1], VideoFormat(64, 64, (1, 25), (25, 1)), codec="av1") as writer:
    for number in range(3):
        writer.write(Frame(plane, half, half, number, 1))
    tasks = [int(task) for task in os.listdir("/proc/self/task")]
    print(len(tasks), {os.sched_getscheduler(task) for task in tasks} == {os.SCHED_OTHER})
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir() or os.getuid() != 0, reason="only root's SVT-AV1 does that")
def test_svt_av1_stays_ordinary(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "a.mkv"], capture_output=True, text=True, check=True
    )
    count, ordinary = done.stdout.split()
    assert int(count) > 1 and ordinary == "True"


@pytest.mark.parametrize("frames", [1, 3])
def test_svt_av1_is_silent_where_a_video_is_given_up(tmp_path: Path, frames: int) -> None:
    program = PROGRAM.replace("range(3)", f"range({frames})").replace("tasks =", "raise KeyError\n    tasks =")
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.mkv"], capture_output=True, text=True, check=False
    )
    assert done.stderr.endswith("\nKeyError\n") and "Svt" not in done.stderr
