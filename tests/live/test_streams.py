"""Streams as they are: FFmpeg's TCP and UDP on loopback, an RTSP server, pipes; kills, followers, segments."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvc.lvz import Clip, LvzReader, PacketGroup
from lvc.media import Frame, MediaReader
from tests.helpers.command import FAKE, Done, Lvc, Process
from tests.helpers.waiting import PATIENCE, wait_for

SENDER, RTSP = FAKE.with_name("sender.py"), FAKE.with_name("rtsp_server.py")
CODED = ("--packing", "zstd", "--gop", "1", "--threads", "1")
RATE = 20


@pytest.fixture
def fake(tmp_path: Path) -> Lvc:
    return Lvc([str(FAKE)], tmp_path)


def port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def sending(address: str, frames: int, **kwargs: Any) -> Iterator[Process]:
    with Process([sys.executable, str(SENDER), address, "mpegts", str(frames), str(RATE)], **kwargs) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(number: int) -> bool:
    wanted = f":{number:04X} "
    return any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())


def clips(path: Path) -> list[Clip]:
    with path.open("rb") as file:
        return [record for record in LvzReader(file).records() if isinstance(record, Clip)]


def times(path: Path) -> list[int]:
    return [pts for clip in clips(path) for pts in clip.pts]


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def finish(process: Process, number: int | None = None, before: bytes = b"") -> Done:
    """`before`: what was read of its standard output."""
    if number is not None:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, before + out, err.decode())


@pytest.mark.slow
def test_tcp_over_an_interruption(fake: Lvc) -> None:
    number, out = port(), fake.folder / "a.lvz"
    address = f"tcp://127.0.0.1:{number}"
    with sending(address + "?listen=1", 30) as camera:
        wait_for(lambda: listening(number), camera)
        with fake.start("encode", address, "a.lvz", *CODED, "--json", bufsize=0) as recording:
            assert recording.stdout is not None
            said = b""
            while b"reconnecting" not in said:
                said += (line := recording.stdout.readline())
                assert line
            time.sleep(2)  # more than 30 frames take, even if they came in a rush on a busy machine
            with sending(address + "?listen=1", 2000):
                grown = size(out)
                wait_for(lambda: size(out) > grown + 20_000, recording)
                done = finish(recording, signal.SIGINT, said)
    assert done.code == 0, done.err
    messages = [e["message"] for e in done.events if e["event"] == "notice"]
    assert any("reconnecting" in m for m in messages) and any("reconnected" in m for m in messages)
    last = done.events[-1]
    assert last["event"] == "done" and last["connections"] == 2 and last["dropped"] == 0
    assert fake("verify", "a.lvz", "--full").code == 0
    pts = times(out)
    gaps = [b - a for a, b in zip(pts, pts[1:], strict=False)]
    assert len(pts) == last["frames"] and min(gaps) > 0
    # all that was sent before is there, and then the gap; a busy machine may make others
    assert gaps[29] > 400  # ms
    assert last["duration"] < (pts[-1] - pts[0]) / 1000  # time without pictures is not counted
    with out.open("rb") as file:
        reader = LvzReader(file)
        assert reader.copied[0].codec == "mp2" and reader.metadata.tags["creation_time"].endswith("Z")
        tick = reader.copied[0].seconds_per_tick
        sound = [
            float(p.time * tick) for r in reader.records() if isinstance(r, PacketGroup) for p in r.packets if p.time
        ]
    assert sound and -0.5 < sound[0] < 1 and abs(sound[-1] - pts[-1] / 1000) < 5


@pytest.mark.slow
def test_udp_in_segments(fake: Lvc) -> None:
    address = f"udp://127.0.0.1:{port(socket.SOCK_DGRAM)}"
    old, other = fake.folder / "u-20200101T000000.000000Z.lvz", fake.folder / "u-old.lvz"
    old.touch(), other.touch()

    def segments() -> list[Path]:
        return sorted(path for path in fake.folder.glob("u-*Z.lvz") if path != old)

    with sending(address + "?pkt_size=1316", 2000):
        args = ("encode", address, "u.lvz", *CODED, "--segment", "1s", "--keep", "1h", "--audio", "none", "--json")
        with fake.start(*args) as recording:
            wait_for(lambda: len(segments()) > 3, recording)
            done = finish(recording, signal.SIGTERM)
    assert done.code == 0 and len(done.events[-1]["files"]) == len(segments()) >= 4
    assert not old.exists() and other.exists()
    for path in segments()[:-1]:
        pts = times(path)
        assert pts[0] == 0 and pts[-1] < 1000  # how many frames come in a second is the machine's affair
    assert fake("verify", *segments()).code == 0


@pytest.mark.slow
def test_killed_and_followed(fake: Lvc) -> None:
    number, out = port(), fake.folder / "a.lvz"
    address = f"tcp://127.0.0.1:{number}"
    with sending(address + "?listen=1", 20000) as camera:
        wait_for(lambda: listening(number), camera)
        with fake.start("encode", address, "a.lvz", *CODED) as recording:
            wait_for(lambda: size(out) > 30_000, recording)
            with fake.start("decode", "a.lvz", "followed.mkv", "--follow") as follower:
                before = size(out)
                live = fake("info", "a.lvz", "--json")
                assert live.code == 0 and live.events[0]["complete"] is False
                assert live.events[0]["frames"] >= 16 and live.events[0]["gops"] >= 1
                wait_for(lambda: size(out) > before + 30_000, recording, follower)
                assert follower.poll() is None
                recording.kill()
                recording.wait()
                followed = finish(follower)
    assert followed.code == 4 and "cut off" in followed.err
    assert "being recorded, or was cut off" in fake("info", "a.lvz").err + fake("info", "a.lvz").text
    assert fake("decode", "a.lvz", "b.mkv").code == 4
    assert fake("decode", "a.lvz", "salvaged.mkv", "--salvage").code == 4
    with out.open("rb") as file:
        whole = sum(r.n_frames for r in LvzReader(file, salvage=True).records() if isinstance(r, Clip))
    for name in ("followed.mkv", "salvaged.mkv"):
        with MediaReader(fake.folder / name) as video:
            assert sum(isinstance(item, Frame) for item in video) >= whole >= 16


@pytest.mark.slow
def test_following_to_the_end(fake: Lvc) -> None:
    with sending("-", 20000, stdout=subprocess.PIPE) as camera:
        args = ("encode", "-", "a.lvz", *CODED, "--live", "--duration", "2", "--json")
        with fake.start(*args, stdin=camera.stdout) as recording:
            wait_for(lambda: size(fake.folder / "a.lvz") > 1000, recording)
            followed = fake("decode", "a.lvz", "a.mkv", "--follow", "--json")
            done = finish(recording)
    assert (done.code, followed.code) == (0, 0), (done.err, followed.err)
    assert done.events[-1]["frames"] == followed.events[-1]["frames"] >= 8
    assert done.events[-1]["duration"] < 3  # it is the duration that has ended it, the camera would have gone on


@pytest.mark.slow
def test_a_slow_encoder_drops_frames_and_says_so(fake: Lvc) -> None:
    with sending("-", 100, stdout=subprocess.PIPE) as camera:
        args = ("encode", "-", "a.lvz", *CODED, "--max-latency", "0.5s", "--json")
        with fake.start(*args, stdin=camera.stdout, env={"FAKE_DELAY": "1.2"}) as recording:
            done = finish(recording)
    last = done.events[-1]
    assert done.code == 0 and last["dropped"] > 10 and last["frames"] + last["dropped"] == 100
    assert any("falling behind" in e["message"] for e in done.events if e["event"] == "notice")
    assert times(fake.folder / "a.lvz")[-1] > 3500  # late frames are not made up for by a shorter video


@pytest.mark.slow
def test_a_slow_encoder_lowers_effort_within_a_file(fake: Lvc) -> None:
    """At effort 4 a clip of 8 frames takes a second, and 0.4 s of the camera; at 1, the next one that differs, 0.3 s.
    Whether it then keeps up is a matter of the machine, and of `test_parts.py`, which has a clock of its own."""
    with sending("-", 160, stdout=subprocess.PIPE) as camera:
        args = ("encode", "-", "a.lvz", *CODED, "--max-latency", "4s", "--json")
        env = {"FAKE_DELAY": "0.05", "FAKE_DELAY_EFFORT": "0.24"}
        with fake.start(*args, stdin=camera.stdout, env=env) as recording:
            done = finish(recording)
    messages = [e["message"] for e in done.events if e["event"] == "notice"]
    assert done.code == 0 and messages[0] == "the encoder is falling behind: lowering effort to 1"
    last = done.events[-1]
    assert last["frames"] + last["dropped"] == 160 and len(last["files"]) == 1


@pytest.mark.slow
def test_rtsp(fake: Lvc) -> None:
    number = port()
    with Process([sys.executable, str(RTSP), str(number), "20000", str(RATE)], stderr=subprocess.DEVNULL) as server:
        wait_for(lambda: listening(number), server)
        done = fake("encode", f"rtsp://127.0.0.1:{number}/camera", "a.lvz", *CODED, "--duration", "2", "--json")
        server.kill()
    assert done.code == 0, done.err
    assert done.events[-1]["frames"] >= 8 and done.events[-1]["duration"] < 3  # its end, and not the camera's
    assert fake("verify", "a.lvz").code == 0


@pytest.mark.slow
def test_what_makes_no_sense(fake: Lvc, carphone: Path) -> None:
    nobody = f"tcp://127.0.0.1:{port()}"
    for code, args in (
        (2, ("encode", carphone, "a.lvz", "--segment", "1s")),
        (2, ("encode", nobody, "a.lvz", "--keep", "1h")),
        (2, ("encode", nobody, "a.lvz", "--start", "1")),
        (2, ("encode", nobody, "a.lvz", "--resume")),
        (2, ("encode", nobody, "%H.lvz", "--segment", "1s")),
        (2, ("decode", "a.lvz", "--follow", "--salvage")),
        (3, ("encode", nobody, "a.lvz")),
    ):
        done = fake(*args)
        assert done.code == code and done.err.count("\n") == 1, (args, done.err)
    assert not list(fake.folder.iterdir())
