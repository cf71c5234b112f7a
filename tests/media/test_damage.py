"""Files that are damaged, cut off, empty, or no video."""

from __future__ import annotations

import io
import random
from pathlib import Path

import av
import pytest

from lvc.errors import LvcError, MediaError
from tests.helpers.clips import CARPHONE, Audio, Clip, Pipe, Read, picture, real_clip


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        Read(tmp_path / "missing.mp4")
    with pytest.raises(MediaError, match="folder"):
        Read(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\0", b"hello world" * 100, bytes(range(256)) * 50])
def test_no_video_at_all(data: bytes) -> None:
    for source in (io.BytesIO(data), Pipe(data)):
        with pytest.raises(MediaError, match="—") as caught:
            Read(source)
        assert "<none>" not in str(caught.value)


def test_sound_only() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="wav") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
    with pytest.raises(MediaError, match="no video stream"):
        Read(buffer.getvalue())


def with_cover(video: bool) -> bytes:
    """An MP4 with sound, cover art (a PNG), and a video or not."""
    png = io.BytesIO()
    with av.open(png, "w", format="image2pipe") as out:
        still = out.add_stream("png", rate=1)
        still.width, still.height, still.pix_fmt = 32, 32, "rgb24"
        frame = av.VideoFrame.from_ndarray(picture(0, 32, 32), "rgb24")
        out.mux(still.encode(frame))
        out.mux(still.encode(None))
    source = av.open(io.BytesIO(Clip(frames=6, audio=[Audio("aac")], container="mp4").bytes()))
    cover = av.open(io.BytesIO(png.getvalue()), format="png_pipe")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        art = out.add_stream_from_template(cover.streams.video[0], opaque=True)
        art.disposition = 1 << 10
        used = {
            s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams if video or s.type != "video"
        }
        for packet in cover.demux():
            if packet.size:
                packet.stream = art
                out.mux(packet)
        for packet in source.demux():
            if packet.size and packet.stream.index in used:
                packet.stream = used[packet.stream.index]
                out.mux(packet)
    source.close()
    cover.close()
    return buffer.getvalue()


def test_cover_art_is_not_the_video() -> None:
    read = Read(with_cover(video=True))
    assert (read.video.width, len(read.frames)) == (64, 6)
    with pytest.raises(MediaError, match="no video stream"):
        Read(with_cover(video=False))


def test_several_videos() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        streams = []
        for size in ((64, 48), (96, 80)):
            stream = out.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            streams.append((stream, size))
        streams[1][0].disposition = 1
        for stream, size in streams:
            for frame in Clip(size=size, frames=3).av_frames():
                out.mux(stream.encode(frame))
    read = Read(buffer.getvalue())
    assert read.frames[0].y.shape in ((48, 64), (80, 96))
    assert len(read.frames) == 3
    assert any("2 video streams" in n for n in read.notices)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_cut_off(container: str) -> None:
    mux = {"movflags": "faststart"} if container == "mp4" else {}
    if container == "mp4":  # the index in front, as FFmpeg writes it for fragments
        mux = {"movflags": "frag_keyframe+empty_moov"}
    data = Clip(frames=60, size=(128, 96), container=container, mux_options=mux, options={"g": "10"}).bytes()
    read = Read(data[: len(data) // 2])
    assert 15 < len(read.frames) < 45


def test_cut_off_with_the_index_at_the_end() -> None:
    data = Clip(frames=20).bytes()
    assert data.find(b"moov") > data.find(b"mdat")
    with pytest.raises(MediaError, match="damaged, cut off"):
        Read(data[: len(data) // 2])


def test_cut_off_faststart(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    Read(real_clip(CARPHONE)).write(path, crf=30)
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    path.write_bytes(data[: len(data) // 2])
    read = Read(path)
    assert 30 < len(read.frames) < 100
    assert any("ends early" in n or "could not be read" in n for n in read.notices)


def test_flipped_bytes_never_crash() -> None:
    rng = random.Random(5)
    for container, codec in (("mp4", "libx264"), ("matroska", "libx264"), ("nut", "ffv1"), ("mpegts", "mpeg2video")):
        data = bytearray(Clip(frames=6, container=container, codec=codec, audio=[Audio("aac", seconds=0.2)]).bytes())
        for _ in range(12):
            broken = bytearray(data)
            for _ in range(rng.choice((1, 5, 40))):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            try:
                read = Read(bytes(broken[: rng.randrange(len(broken) // 2, len(broken) + 1)]))
            except LvcError:
                continue
            assert len(read.frames) < 500


def test_a_failing_file_object_is_no_crash() -> None:
    data = Clip(frames=100, size=(256, 192), container="matroska").bytes()

    class Broken(Pipe):
        def read(self, size: int = -1) -> bytes:
            if self._data.tell() > len(data) * 0.8:
                raise OSError(5, "Input/output error")
            return super().read(size)

    read = Read(Broken(data))
    assert 0 < len(read.frames) < 100
    assert any("could not be read" in n for n in read.notices)


def test_closing_early_frees_the_file() -> None:
    from lvc.media import MediaReader

    source = io.BytesIO(Clip(frames=20).bytes())
    with MediaReader(source) as reader:
        next(iter(reader))
    assert not source.closed
