"""Video that is converted while it is watched: read by FFmpeg and PyAV, compared with what lvc decodes."""

from __future__ import annotations

import http.client
import io
import shutil
import socket
import subprocess
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import av
import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from lvc.serve import converting
from lvc.serve.converting import Conversions
from lvc.serve.library import Library
from tests.helpers.clips import Audio, Clip
from tests.helpers.server import Server, Starter, decoded, encode, picture_at

BUNNY = "trips/bunny.lvz"


def luma(frame: Any) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a.astype(float) - b.astype(float)).mean())))


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    return [(at, frame.y) for at, frame in decoded(path)]


def assert_same(
    shown: list[tuple[float, np.ndarray]], wanted: list[tuple[float, np.ndarray]], late: float = 0.0
) -> None:
    assert len(shown) == len(wanted)
    for (at, picture), (when, right) in zip(shown, wanted, strict=True):
        assert abs(at - (when - late)) < 0.002 and psnr(picture, right) > 33


def read(source: Any) -> list[tuple[float, np.ndarray]]:
    with av.open(source) as container:
        return [(float(frame.time), luma(frame).copy()) for frame in container.decode(video=0)]


def steps_of_sound(source: Any) -> tuple[list[float], int]:
    """The gaps between packets of sound in seconds, and how many there are."""
    with av.open(source) as container:
        stream = container.streams.audio[0]
        times = [
            (float(p.pts * p.time_base), float(p.duration * p.time_base))
            for p in container.demux(stream)
            if p.pts is not None
        ]
    return [b[0] - a[0] - a[1] for a, b in zip(times, times[1:], strict=False)], len(times)


@pytest.mark.parametrize("name", ["carphone.lvz", BUNNY])
def test_one_mp4(server: Server, tree: Path, name: str) -> None:
    answer = server.ask(f"/mp4/{name}.mp4")
    assert (answer.status, answer.headers["content-type"]) == (200, "video/mp4")
    assert_same(read(io.BytesIO(answer.body)), pictures(tree / name))
    with av.open(io.BytesIO(answer.body)) as container:
        kinds = [stream.codec_context.name for stream in container.streams]
    assert kinds == ["h264", "aac"][: len(kinds)] and len(kinds) == (2 if name == BUNNY else 1)


@pytest.mark.slow
def test_from_a_time(server: Server, tree: Path) -> None:
    wanted = [(at, picture) for at, picture in pictures(tree / BUNNY) if at >= 2.5]
    assert_same(read(io.BytesIO(server.ask(f"/mp4/{BUNNY}.mp4?start=2.5").body)), wanted, wanted[0][0])
    assert server.ask(f"/mp4/{BUNNY}.mp4?start=99").status == 416
    with pytest.raises(http.client.IncompleteRead):  # the header is whole, and the connection ends where the file does
        server.ask("/mp4/cut.lvz.mp4")
    assert server.ask("/mp4/junk.lvz.mp4").status == 422


@pytest.mark.parametrize("name", ["index", "mp4"])
def test_lists_play_from_end_to_end(server: Server, tree: Path, name: str) -> None:
    address = f"http://127.0.0.1:{server.port}/hls/{BUNNY}/{name}.m3u8"
    wanted = pictures(tree / BUNNY)
    assert_same(read(address), wanted)
    gaps, count = steps_of_sound(address)
    assert count > 200 and max(map(abs, gaps)) < 0.001
    listed = server.ask(f"/hls/{BUNNY}/{name}.m3u8").body.decode()
    lengths = [float(line[8:-1]) for line in listed.splitlines() if line.startswith("#EXTINF:")]
    assert len(lengths) > 1 and abs(sum(lengths) - 5.28) < 0.001 and listed.endswith("#EXT-X-ENDLIST\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index", "mp4"])
@pytest.mark.parametrize("at", [4.5, 0.5, 4.08, 3.0])
def test_seeking_finds_the_right_frame(server: Server, tree: Path, name: str, at: float) -> None:
    wanted = pictures(tree / BUNNY)
    with av.open(f"http://127.0.0.1:{server.port}/hls/{BUNNY}/{name}.m3u8") as container:
        container.seek(round(at * 1e6))
        frame = next(f for f in container.decode(video=0) if f.time >= at - 0.002)
    when, right = min(wanted, key=lambda item: abs(item[0] - frame.time))
    assert abs(when - frame.time) < 0.002 and at - 0.002 <= when < at + 0.05 and psnr(luma(frame), right) > 33


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_reads_and_seeks(server: Server, tree: Path) -> None:
    address = f"http://127.0.0.1:{server.port}/hls/{BUNNY}/index.m3u8"
    command = [
        "ffmpeg",
        "-v",
        "warning",
        "-ss",
        "4.2",
        "-i",
        address,
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, timeout=120)
    right = next(picture for at, picture in pictures(tree / BUNNY) if at >= 4.2 - 0.001)
    with av.open(address) as container:
        full = np.frombuffer(done.stdout, np.uint8).reshape(90, 160)
        assert container.streams.video[0].width == 160
    limited = full.astype(float) * 219 / 255 + 16
    assert psnr(limited, right) > 30 and done.stderr == b""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpv") is None, reason="mpv is not installed")
@pytest.mark.parametrize("address", [f"/hls/{BUNNY}/index.m3u8", f"/mp4/{BUNNY}.mp4?start=4.2"])
def test_mpv_reads_and_seeks(server: Server, tree: Path, tmp_path: Path, address: str) -> None:
    command = [
        "mpv", "--no-config", "--really-quiet", "--vo=image", "--vo-image-format=png", f"--vo-image-outdir={tmp_path}",
        "--ao=null", "--frames=1", "--hr-seek=yes", *([] if "start" in address else ["--start=4.2"]),
        f"http://127.0.0.1:{server.port}{address}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    shown = np.asarray(Image.open(tmp_path / "00000001.png").convert("L"))
    alike = {at: psnr(shown, (picture.astype(float) - 16) * 255 / 219) for at, picture in pictures(tree / BUNNY)}
    right = next(at for at in alike if at >= 4.2 - 0.001)
    assert max(alike, key=lambda at: alike[at]) == right and alike[right] > 28


@pytest.mark.slow
def test_segments_are_made_by_themselves(server: Server, tree: Path) -> None:
    """The last one first, as after a seek; and the same bytes when it is asked for again."""
    listed = server.ask(f"/hls/{BUNNY}/mp4.m3u8").body.decode().splitlines()
    names = [line for line in listed if line.endswith(".m4s")]
    head = server.ask(f"/hls/{BUNNY}/init.mp4")
    assert (
        head.headers["content-type"].startswith('video/mp4; codecs="avc1.')
        and "mp4a.40.2" in head.headers["content-type"]
    )
    last = server.ask(f"/hls/{BUNNY}/{names[-1]}").body
    shown = read(io.BytesIO(head.body + last))
    assert_same(shown, pictures(tree / BUNNY)[-len(shown) :])
    assert server.ask(f"/hls/{BUNNY}/{names[-1]}").body == last
    assert server.ask(f"/hls/{BUNNY}/{len(names)}.m4s").status == 404


@pytest.mark.slow
def test_long_groups_are_cut(started: Starter, tmp_path: Path, bunny: Path) -> None:
    """One GOP of five seconds, its sound in MP2, which browsers do not know."""
    source = tmp_path / "source.mkv"
    audio = Audio("mp2", 44100, "stereo", 9.0)
    Clip((64, 48), 225, audio=[audio], container="matroska").write(source)
    film = encode(source, tmp_path / "film.lvz", gop=60)
    server = started(tmp_path)
    wanted = pictures(film)
    for name, end in (("index", ".ts"), ("mp4", ".m4s")):
        address = f"http://127.0.0.1:{server.port}/hls/film.lvz/{name}.m3u8"
        assert (
            sum(line.endswith(end) for line in server.ask(f"/hls/film.lvz/{name}.m3u8").body.decode().splitlines()) == 2
        )
        assert_same(read(address), wanted)
        gaps, count = steps_of_sound(address)
        assert count > 380 and max(map(abs, gaps)) < 0.001  # whole although each segment was coded by itself


@pytest.mark.slow
def test_turned_pictures_come_upright(started: Starter, tmp_path: Path) -> None:
    source = tmp_path / "phone.mp4"
    Clip((96, 64), 12, rotation=-90).write(source)
    film = encode(source, tmp_path / "phone.lvz")
    server = started(tmp_path)
    right = picture_at(film, 0.2)
    with av.open(io.BytesIO(server.ask("/mp4/phone.lvz.mp4").body)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][5]
    assert shown.shape == right.shape == (96, 64, 3) and psnr(shown, right) > 26


@pytest.mark.slow
def test_times_that_come_irregularly(started: Starter, tmp_path: Path) -> None:
    """A still that lasts longer than a segment."""
    source = tmp_path / "slides.mp4"
    pts = [0, 1, 2, 300, 301, 302, 303]
    Clip((64, 48), 7, pts=pts, time_base=Fraction(1, 25), last_duration=100).write(source)
    film = encode(source, tmp_path / "slides.lvz", gop=60)
    server = started(tmp_path)
    wanted = pictures(film)
    listed = [
        line for line in server.ask("/hls/slides.lvz/index.m3u8").body.decode().splitlines() if line.endswith(".ts")
    ]
    assert len(listed) >= 3
    for name in ("index", "mp4"):
        shown = read(f"http://127.0.0.1:{server.port}/hls/slides.lvz/{name}.m3u8")
        for at, right in wanted:
            seen = [picture for when, picture in shown if when <= at + 0.002][-1]
            assert psnr(seen, right) > 30, (name, at)


@pytest.mark.slow
def test_two_at_a_time(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third waits, is told so, and has its turn when one of them ends."""
    said: list[str] = []

    async def scene() -> None:
        conversions = Conversions(Library([tree]), None, said.append)
        item = Library([tree]).find("carphone.lvz")
        assert item is not None and conversions.free == 2
        request = Request({"type": "http", "method": "GET", "headers": []}, anyio.sleep_forever)
        for owner in ("first", "second"):
            await conversions._turns.acquire_on_behalf_of(owner)
        monkeypatch.setattr(converting, "PATIENCE", 0.05)
        for wait in (conversions.segment(request, item, 0, "ts"), conversions.mp4(request, item, 0.0)):
            with pytest.raises(HTTPException) as told:
                await wait
            assert told.value.status_code == 503 and "waits for its turn" in told.value.detail
            assert told.value.headers is not None and int(told.value.headers["retry-after"]) > 0
        monkeypatch.setattr(converting, "PATIENCE", 200)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conversions.segment, request, item, 0, "ts")
            await anyio.sleep(0.1)
            assert not conversions._segments
            conversions._turns.release_on_behalf_of("first")
        assert conversions._segments and conversions.free == 1

    anyio.run(scene)
    assert len(said) == 3 and all(text.startswith("carphone.lvz waits: 2 videos") for text in said)


@pytest.mark.slow
def test_those_that_leave_give_their_turn_back(server: Server) -> None:
    for number in range(6):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            path = f"/mp4/{BUNNY}.mp4" if number % 2 else "/hls/carphone.lvz/0.ts"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert wait_for(lambda: server.ask("/api/conversions").body == b'{"free":2}')
    assert not [line for line in server.errors if "Stopped" in line]


def test_a_damaged_segment_is_refused(started: Starter, tmp_path: Path, silent: Path) -> None:
    data = bytearray(silent.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "film.lvz").write_bytes(data)
    server = started(tmp_path)
    answers = [server.ask(f"/hls/film.lvz/{number}.ts") for number in range(4)]
    assert [answer.status for answer in answers].count(422) == 1 and b"damaged" in b"".join(a.body for a in answers)
    assert not [line for line in server.errors if "Traceback" in line]


@pytest.mark.slow
def test_without_conversion(started: Starter, tree: Path) -> None:
    server = started(tree, "--no-transcode")
    for path in ("/mp4/carphone.lvz.mp4", "/hls/carphone.lvz/index.m3u8", "/hls/carphone.lvz/0.ts"):
        assert server.ask(path).status == 404
    assert b"In another player" not in server.ask("/watch/carphone.lvz").body


@pytest.mark.slow
def test_tokens_stand_in_lists(started: Starter, tree: Path) -> None:
    server = started(tree, "--host", "0.0.0.0")
    listed = server.ask(f"/hls/carphone.lvz/index.m3u8?token={server.token}").body.decode()
    assert f"0.ts?token={server.token}" in listed
    assert server.ask("/hls/carphone.lvz/0.ts").status == 403
    assert (
        sum(1 for _ in read(f"http://127.0.0.1:{server.port}/hls/carphone.lvz/index.m3u8?token={server.token}")) == 75
    )


def wait_for(condition: Any) -> bool:
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.1)
    return False
