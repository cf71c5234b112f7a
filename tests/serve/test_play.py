"""`lvc play`: what a player gets through its pipe, and what becomes of the command when the player ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.server import Server, decoded


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def play(path: Path, *arguments: object, input: bytes | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvc", "play", *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, "PATH": f"{path}:/usr/bin:/bin", **env},
        capture_output=True,
        input=input,
        timeout=200,
    )  # type: ignore[return-value]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with an mpv that keeps what it gets."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "mpv", f'printf "%s\\n" "$@" > {tmp_path}/arguments; exec cat > {tmp_path}/got.mkv')
    return folder


def test_the_very_pictures_and_the_sound(recorded: Path, tmp_path: Path, sounding: Path) -> None:
    done = play(recorded, sounding)
    assert done.returncode == 0, done.stderr
    wanted = decoded(sounding)
    with av.open(str(tmp_path / "got.mkv")) as got:
        assert [s.codec_context.name for s in got.streams] == ["rawvideo", "aac"]
        shown = list(got.decode(video=0))
    assert len(shown) == len(wanted)
    for frame, (when, right) in zip(shown, wanted, strict=True):
        assert abs(frame.time - when) < 1e-3
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)[:, : frame.width]
        assert (luma == right.y).all()
    assert (tmp_path / "arguments").read_text().splitlines()[-1] == "-"


@pytest.mark.slow
def test_from_a_time(recorded: Path, tmp_path: Path, silent: Path) -> None:
    assert play(recorded, silent, "--start", "1.5").returncode == 0
    with av.open(str(tmp_path / "got.mkv")) as got:
        assert sum(1 for _ in got.decode(video=0)) == 30
    aspect = re.search(r"--video-aspect-override=([\d.]+)", (tmp_path / "arguments").read_text())
    assert aspect is not None and abs(float(aspect[1]) - 176 * 128 / (144 * 117)) < 1e-3


@pytest.mark.slow
def test_of_an_address_and_of_a_pipe(recorded: Path, tmp_path: Path, server: Server, silent: Path) -> None:
    sizes = []
    for source, data in ((f"http://127.0.0.1:{server.port}/files/carphone.lvz", None), ("-", silent.read_bytes())):
        done = play(recorded, source, input=data)
        assert done.returncode == 0, done.stderr
        sizes.append((tmp_path / "got.mkv").stat().st_size)
    assert sizes[0] == sizes[1] > 75 * 176 * 144


@pytest.mark.slow
def test_a_player_that_is_closed(tmp_path: Path, sounding: Path) -> None:
    program(tmp_path, "mpv", "head -c 200000 > /dev/null")
    done = play(tmp_path, sounding)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_a_player_that_fails(tmp_path: Path, silent: Path) -> None:
    program(tmp_path, "mpv", "exit 2")
    done = play(tmp_path, silent)
    assert done.returncode == 3 and b"mpv ended with code 2" in done.stderr


@pytest.mark.slow
def test_a_damaged_file(recorded: Path, tmp_path: Path, silent: Path) -> None:
    (tmp_path / "cut.lvz").write_bytes(silent.read_bytes()[:-2000])
    done = play(recorded, tmp_path / "cut.lvz")
    assert done.returncode == 4 and b"cut.lvz" in done.stderr
    assert play(recorded, tmp_path / "nothing.lvz").returncode == 3
    assert play(recorded, silent, "--start", "100").returncode == 2


@pytest.mark.slow
def test_a_player_that_is_not_there(tmp_path: Path, silent: Path) -> None:
    done = play(tmp_path, silent, "--player", "mpv", PATH=str(tmp_path))
    assert done.returncode == 3 and b"mpv is not installed" in done.stderr
    far = play(tmp_path, "https://example.org/film.lvz", PATH=str(tmp_path))
    assert far.returncode == 3 and b"install mpv or ffplay" in far.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffplay") is None, reason="ffplay is not installed")
def test_ffplay(silent: Path) -> None:
    dummies = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    done = play(Path("/usr/bin"), silent, "--player", "ffplay", "--start", "2", **dummies)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_without_a_player_the_browser(tmp_path: Path, silent: Path) -> None:
    asked = tmp_path / "asked"
    browser = program(tmp_path, "browser", f'/bin/echo "$1" > {asked}')
    command = [sys.executable, "-m", "lvc", "play", str(silent), "--start", "1.5"]
    env = {**os.environ, "PATH": str(tmp_path), "BROWSER": f"{browser} %s"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(600):
                if asked.exists() and asked.read_text().endswith("\n"):
                    break
                time.sleep(0.1)
            address = asked.read_text().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/watch/carphone\.lvz#t=1\.5", address)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
