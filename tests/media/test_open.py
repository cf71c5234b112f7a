"""One way to open media: nothing but the file that was named is opened, whatever it says about others."""

from __future__ import annotations

import ast
import http.server
import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvc.errors import LvcError, MediaError
from lvc.evaluation.source import Source
from lvc.interpolate import interpolate_file
from lvc.jobs.tree import find
from lvc.media import MediaReader
from lvc.media.open import FILES, access_to
from lvc.media.probe import frames_in, is_video
from lvc.search.sources import moments_of
from lvc.training.sources import frames_of
from tests.helpers.clips import Clip, Read

PACKAGE = Path(__file__).resolve().parents[2] / "lvc"
CONCAT = b"ffconcat version 1.0\nfile secret.mp4\n"
SDP = b"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=x
c=IN IP4 127.0.0.1
t=0 0
m=video 18932 RTP/AVP 96
a=rtpmap:96 H264/90000
"""


@pytest.mark.slow
def test_nothing_else_calls_av_open() -> None:
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("av", "av.container"):
                found += [(path.name, node.lineno) for alias in node.names if alias.name == "open"]
            if isinstance(node, ast.Attribute) and node.attr == "open" and isinstance(node.value, ast.Name):
                found += [(path.name, node.lineno)] if node.value.id == "av" else []
    assert {name for name, _ in found} == {"open.py"}
    assert len(found) == 2, "one for input, one for output"


class Server:
    """HTTP on loopback that notes what is asked of it, and has the files of a folder."""

    def __init__(self, folder: Path) -> None:
        asked: list[str] = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **more: object) -> None:
                super().__init__(*args, directory=str(folder), **more)  # type: ignore[arg-type]

            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    found = Server(folder)
    yield found
    found.http.shutdown()
    found.http.server_close()


def playlist(address: str) -> bytes:
    return (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:0.4,\n"
        f"{address}/private.ts\n#EXT-X-ENDLIST\n"
    ).encode()


@pytest.fixture
def hostile(tmp_path: Path, server: Server) -> Path:
    """A folder with a video, and files that lead to it or out of it, under honest and dishonest names."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    Clip(frames=6).write(folder / "secret.mp4")
    for name, data in (("concat", CONCAT), ("list", playlist(server.address)), ("session", SDP)):
        for ending in ("mp4", "m3u8", "sdp", "ffconcat", "mkv"):
            (folder / f"{name}.{ending}").write_bytes(data)
    return folder


def test_a_folder_is_looked_through_without_following(hostile: Path, server: Server) -> None:
    tree = find(str(hostile), "encode")
    disguised = {f"{name}.{ending}" for name in ("concat", "list", "session") for ending in ("mp4", "mkv")}
    assert {Path(path).name for path in tree.files} == {"secret.mp4", *disguised}  # these are the job's failures then
    assert server.asked == []


@pytest.mark.parametrize("kind", ["concat", "list", "session"])
@pytest.mark.parametrize("ending", ["mp4", "m3u8", "sdp", "ffconcat"])
def test_lists_are_refused_everywhere(hostile: Path, server: Server, tmp_path: Path, kind: str, ending: str) -> None:
    path = hostile / f"{kind}.{ending}"
    data = path.read_bytes()
    with pytest.raises(MediaError, match="--allow-playlists"):
        MediaReader(path)
    with pytest.raises(MediaError):
        MediaReader(io.BytesIO(data))
    assert not is_video(str(path), io.BytesIO(data))
    for attempt in (
        lambda: frames_in(str(path)),
        lambda: Source(path),
        lambda: moments_of(path),
        lambda: interpolate_file(path, tmp_path / "out.mkv"),
        lambda: list(frames_of(path)),
    ):
        with pytest.raises((LvcError, OSError)):
            attempt()
    assert server.asked == []
    assert not (tmp_path / "out.mkv").exists()


def test_no_socket_is_bound_for_a_session_description(hostile: Path) -> None:
    """The port stays free while the file is looked at: whoever bound it would be in the way."""
    import socket

    bound: list[object] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("127.0.0.1", 0))
        port = mine.getsockname()[1]
    path = hostile / "port.sdp"
    path.write_bytes(SDP.replace(b"18932", str(port).encode()))
    with pytest.raises(MediaError):
        MediaReader(path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("127.0.0.1", port))
        bound.append(mine)
    assert bound


def test_playlists_when_asked_for(hostile: Path, server: Server, tmp_path: Path) -> None:
    for name in ("concat.ffconcat", "concat.mp4"):
        with MediaReader(hostile / name, allow_playlists=True) as reader:
            assert len(list(reader)) == 6
    Clip(frames=6, container="mpegts").write(tmp_path / "served" / "private.ts")
    with MediaReader(hostile / "list.m3u8", allow_playlists=True) as reader:
        assert len(list(reader)) == 6
    assert set(server.asked) == {"/private.ts"}


def test_an_address_opens_no_file_and_no_playlist(hostile: Path, server: Server, tmp_path: Path) -> None:
    served = tmp_path / "served"
    Clip(frames=6).write(served / "film.mp4")
    Clip(frames=6, container="mpegts").write(served / "private.ts")
    (served / "list.m3u8").write_bytes(playlist(server.address))
    (served / "local.ffconcat").write_bytes(f"ffconcat version 1.0\nfile 'file:{hostile}/secret.mp4'\n".encode())
    assert len(Read(f"{server.address}/film.mp4").frames) == 6
    server.asked.clear()
    for name in ("list.m3u8", "local.ffconcat"):
        with pytest.raises(MediaError):
            MediaReader(f"{server.address}/{name}")
    assert "/private.ts" not in server.asked
    with MediaReader(f"{server.address}/list.m3u8", allow_playlists=True) as reader:
        assert len(list(reader)) == 6
    with pytest.raises(MediaError):
        MediaReader(f"{server.address}/local.ffconcat", allow_playlists=True)


@pytest.mark.parametrize("address", ["concat:a.mp4|b.mp4", "subfile,,start,0,end,9,,:a.mp4", "lavfi:testsrc", "data:x"])
def test_nested_protocols_are_no_addresses(hostile: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    shutil.copy("secret.mp4", "a.mp4")
    with pytest.raises(MediaError, match="no such file"):
        MediaReader(address)


def test_lists_of_formats() -> None:
    assert not {"hls", "dash", "concat", "sdp", "rtsp", "image2", "lavfi", "tty", "vobsub", "mlv"} & set(FILES)
    assert "file" not in access_to("rtsp://camera/1").protocols.split(",")
    assert "hls" not in access_to("https://a/b.mp4").formats.split(",")
    assert {"rtsp", "sdp"} <= set(access_to("rtsp://camera/1").formats.split(","))


def test_a_pattern_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="numbered pictures cannot be read"):
        MediaReader(tmp_path / "seq%04d.png")


def test_a_pattern_as_a_name_leads_to_no_other_picture(tmp_path: Path) -> None:
    Clip(frames=1, codec="png", container="image2pipe", pix_fmt="rgb24").write(tmp_path / "seq0001.png")
    (tmp_path / "seq%04d.png").write_bytes(b"no picture")
    with pytest.raises(MediaError):
        MediaReader(tmp_path / "seq%04d.png")


def test_animated_webp_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "moving.webp"
    chunk = b"VP8X" + (10).to_bytes(4, "little") + bytes([2, 0, 0, 0, 7, 0, 0, 7, 0, 0])
    path.write_bytes(b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk)
    with pytest.raises(MediaError, match="animated WebP"):
        MediaReader(path)


def test_text_is_called_text(tmp_path: Path) -> None:
    path = tmp_path / "notes.nfo"
    path.write_text("Just notes.\n" * 50)
    with pytest.raises(MediaError):
        MediaReader(path)
    assert not is_video(str(path), io.BytesIO(path.read_bytes()))


def test_a_deleted_working_directory_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(MediaError, match="working directory has been deleted"):
        MediaReader("holiday.mp4")
