"""What a person sees of sound, data, covers, gaps and playlists: through `lvc encode` and back.

The command line runs in the process of the tests: a process each would take longer than the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from lvc.cli import app
from tests.helpers import fakecodec
from tests.helpers.command import FAKE, Done, names
from tests.helpers.waiting import PATIENCE

CASES = Path(__file__).parents[1] / "media" / "cases"


class Here:
    """The command line in a folder, with the codec of a few lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *args: object) -> Done:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Done(result.exit_code, result.stdout_bytes, result.stderr)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    fakecodec.install_for_a_test(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path)


def notices(done) -> list[tuple[str, bool]]:  # type: ignore[no-untyped-def]
    return [(e["message"], bool(e.get("loss"))) for e in done.events if e["event"] == "notice"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "avi_h264_bframes.avi",
        "cover_art.mp4",
        "crop_clap.mov",
        "gopro_gpmd.mp4",
        "mkv_starts_at_3s.mkv",
        "mp4_editlist_cut_start.mp4",
        "mp4_editlist_trimmed_end.mp4",
        "sound_dts.mkv",
        "timecode_tmcd.mov",
        "ts_pts_wrap.ts",
        "video_language_title.mkv",
    ],
)
def test_strictly_nothing_is_lost(fake: Here, name: str) -> None:
    """There and back with `--strict`, and no word."""
    done = fake("encode", CASES / name, "a.lvz", "--strict", "--json")
    assert done.code == 0, done.err
    assert notices(done) == []
    done = fake("decode", "a.lvz", "b.mp4", "--strict", "--json")
    assert done.code == 0, done.text
    before = fake("info", "a.lvz", "--json").events[0]
    assert fake("encode", "b.mp4", "c.lvz", "--strict").code == 0
    after = fake("info", "c.lvz", "--json").events[0]
    for what in ("frames", "attachments"):
        assert after[what] == before[what]
    assert after["beside"]["tags"] == before["beside"]["tags"]
    assert [s["codec"] for s in after["streams"]] == [s["codec"] for s in before["streams"]]


def test_info_names_what_is_beside_the_picture(fake: Here) -> None:
    for name in ("cover_art.mp4", "timecode_tmcd.mov", "video_language_title.mkv", "hdr10_mastering.mp4"):
        assert fake("encode", CASES / name, name + ".lvz").code == 0
    shown = "".join(fake("info", name).text for name in names(fake.folder) if name.endswith(".lvz"))
    for part in ("cover.jpg, 2,161 bytes", "timecode: 01:02:03:04", "language: jpn", "title: Main"):
        assert part in shown
    assert "mastering display: G(13250,34500)" in shown and "content light: 1000,400" in shown


@pytest.mark.slow
def test_sound_without_a_container(fake: Here) -> None:
    done = fake("encode", CASES / "sound_g711_alaw.mkv", "a.lvz", "--strict", "--json")
    assert done.code == 0
    ((text, loss),) = notices(done)
    assert "kept bit for bit" in text and ".mov" in text and "--audio flac" in text and not loss
    assert fake("decode", "a.lvz", "a.mov", "--strict").code == 0
    done = fake("decode", "a.lvz", "a.mkv", "--strict")
    assert done.code == 9 and "--audio flac" in done.err
    for audio, codec in (("flac", "flac"), ("opus:32k", "opus"), ("aac", "aac")):
        assert fake("decode", "a.lvz", f"{codec}.mkv", "--strict", "--audio", audio).code == 0
        with av.open(str(fake.folder / f"{codec}.mkv")) as file:
            assert file.streams.audio[0].codec_context.codec.canonical_name == codec
    assert fake("decode", "a.lvz", "none.mkv", "--strict", "--audio", "none").code == 0
    assert fake("decode", "a.lvz", "none.y4m", "--strict", "--audio", "none").code == 0
    done = fake("decode", "a.lvz", "x.mkv", "--audio", "mp3")
    assert done.code == 2 and "is not understood" in done.err


def test_transparency_is_a_loss(fake: Here) -> None:
    done = fake("encode", CASES / "vp9_alpha.webm", "a.lvz", "--strict")
    assert done.code == 9 and "transparency" in done.err
    assert names(fake.folder) == []


def test_gaps(fake: Here) -> None:
    done = fake("encode", CASES / "ts_joined.ts", "a.lvz", "--json")
    assert any("48.9 s" in text and "--close-gaps" in text for text, _ in notices(done))
    assert fake("encode", CASES / "ts_joined.ts", "b.lvz", "--close-gaps").code == 0
    long, short = (fake("info", name, "--json").events[0]["duration"] for name in ("a.lvz", "b.lvz"))
    assert long > 50 and short == pytest.approx(3.0, abs=0.1)


def test_a_part_has_its_own_timecode(fake: Here) -> None:
    assert fake("encode", CASES / "timecode_tmcd.mov", "a.lvz").code == 0
    assert fake("decode", "a.lvz", "part.mov", "--start", "0.4").code == 0
    with av.open(str(fake.folder / "part.mov")) as file:
        assert file.streams.video[0].metadata["timecode"] == "01:02:03:14"


def test_a_disguised_playlist(fake: Here) -> None:
    secret = (CASES / "cover_art.mp4").read_bytes()
    (fake.folder / "secret.mp4").write_bytes(secret)
    (fake.folder / "film.mp4").write_bytes(b"ffconcat version 1.0\nfile secret.mp4\n")
    for command in (["encode", "film.mp4", "a.lvz"], ["interpolate", "film.mp4", "a.mkv"]):
        done = fake(*command)
        assert done.code == 3 and "--allow-playlists" in done.err
    assert names(fake.folder) == ["film.mp4", "secret.mp4"]
    assert fake("encode", "film.mp4", "a.lvz", "--allow-playlists").code == 0
    assert fake("info", "a.lvz", "--json").events[0]["frames"] == 25
    done = fake("encode", ".", "--output-dir", "out", "--allow-playlists")
    assert done.code == 2


@pytest.mark.slow
def test_a_folder_with_playlists_encodes_the_videos_alone(fake: Here) -> None:
    inside = fake.folder / "in"
    inside.mkdir()
    (inside / "a.mp4").write_bytes((CASES / "cover_art.mp4").read_bytes())
    (inside / "b.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    (inside / "c.sdp").write_text("v=0\nc=IN IP4 127.0.0.1\nm=video 18932 RTP/AVP 96\n")
    done = fake("encode", "in", "--output-dir", "out", "--jobs", 1)
    assert done.code == 0 and names(fake.folder / "out") == ["a.lvz"]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "out"), [("encode", "out.lvz"), ("decode", "out.mkv"), ("interpolate", "out.mkv")])
def test_a_deleted_working_directory(tmp_path: Path, command: str, out: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"import os, subprocess, sys; os.rmdir({str(gone)!r}); sys.exit(subprocess.call(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, sys.executable, str(FAKE), command, "holiday.mp4", out, "--json"],
        cwd=gone, capture_output=True, text=True, env=dict(os.environ), timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])
    assert "working directory has been deleted" in error["message"]


@pytest.mark.slow
def test_interlaced_video_there_and_back(fake: Here) -> None:
    options = {"x264-params": "tff=1", "field_order": "tt"}
    with av.open(str(fake.folder / "in.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height = 64, 64
        for number in range(4):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    done = fake("encode", "in.mkv", "a.lvz", "--strict", "--json")
    assert done.code == 0
    assert [text for text, _ in notices(done)] == [
        "interlaced video: lvc codes frames, fields stay woven; their order is kept"
    ]
    assert "field order: tt" in fake("info", "a.lvz").text
    assert fake("decode", "a.lvz", "b.mp4", "--strict").code == 0
    with av.open(str(fake.folder / "b.mp4")) as file:
        assert next(file.decode(video=0)).interlaced_frame
    assert fake("decode", "a.lvz", "b.y4m", "--strict").code == 0
    assert b" It " in (fake.folder / "b.y4m").read_bytes().split(b"\n")[0]
    done = fake("interpolate", "a.lvz", "c.mkv", "--strict")
    assert done.code == 0 and "made of whole ones, fields woven" in done.err
    with av.open(str(fake.folder / "c.mkv")) as file:
        pictures = list(file.decode(video=0))
    assert len(pictures) == 8 and all(picture.interlaced_frame for picture in pictures)
