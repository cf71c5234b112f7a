"""A run that is told to stop: no process and no temporary file outlives it, and what was finished stays finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.waiting import PATIENCE, wait_for


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
def test_sigterm_leaves_nothing_behind_but_finished_points(carphone: Path, tmp_path: Path) -> None:
    temporary, work = tmp_path / "tmp", tmp_path / "work"
    temporary.mkdir()
    command = [sys.executable, "-m", "lvc", "eval", str(carphone), "--frames", "2", "--qualities", "20,30,40,50,60,70"]
    command += ["--anchors", "none", "--metrics", "psnr", "--work", str(work), "--json"]
    env = {**os.environ, "TMPDIR": str(temporary)}
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert running.stdout
    first = json.loads(running.stdout.readline())
    assert first["event"] == "point" and first["frames"] == 2
    running.send_signal(signal.SIGTERM)
    rest = running.communicate(timeout=PATIENCE)[0]
    assert running.returncode == 130 and '"done"' not in rest
    wait_for(lambda: not _alive(running.pid))  # a worker that was told to end needs a moment
    assert list(temporary.iterdir()) == []
    stored = [json.loads(path.read_text()) for path in (work / "points").glob("*.json")]
    assert 20 in {point["setting"] for point in stored} and len(stored) < 6
