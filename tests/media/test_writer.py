"""Written files give back every time, tag and sample; what a container cannot hold is named."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest

from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.media import Chapter, MediaWriter, Y4mWriter, encoders
from lvc.media.containers import CONTAINERS, container_for
from lvc.notices import Loss
from tests.helpers.clips import BIKES, Audio, Clip, Pipe, Read, real_clip

VFR = [0, 1, 3, 10, 11, 12, 40]


@pytest.fixture(autouse=True)
def what_ffmpeg_says() -> Iterator[None]:
    """FFmpeg's own words on standard error, which pytest shows with a failure: an error has no more than a number."""
    av.logging.restore_default_callback()
    yield
    av.logging.set_level(None)


@pytest.mark.parametrize(
    "time_base", [Fraction(1, 25), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 1000), Fraction(1, 3)]
)
@pytest.mark.parametrize("start", [0, 77])
def test_every_time_comes_back_from_mp4(tmp_path: Path, time_base: Fraction, start: int) -> None:
    source = Read(Clip(frames=7, audio=[Audio("aac")]).bytes())
    source.reader.video = replace(source.video, time_base=(time_base.numerator, time_base.denominator))
    for frame, pts, duration in zip(source.frames, VFR, [1, 2, 7, 1, 1, 28, 9], strict=True):
        frame.pts, frame.duration = pts + start, duration
    path = tmp_path / "clip.mp4"
    writer = source.write(path)
    again = Read(path)
    assert writer.notices == []
    assert again.times == [(pts + start) * time_base for pts in VFR]
    assert again.durations == [n * time_base for n in [1, 2, 7, 1, 1, 28, 9]]
    if time_base.numerator == 1:
        assert [f.pts for f in again.frames] == [pts + start for pts in VFR]
    assert again.packet_times(0) == source.packet_times(0)


@pytest.mark.parametrize(
    ("container", "codec"),
    [(c.name, codec) for c in CONTAINERS.values() for codec in c.codecs],
)
def test_codecs_and_containers(tmp_path: Path, container: str, codec: str) -> None:
    clip = Clip(
        pts=VFR, container="matroska", codec="ffv1", time_base=Fraction(1, 1000), last_duration=5, colour=(9, 16, 9, 2)
    )
    source = Read(clip.bytes())
    source.reader.video = replace(source.video, chroma_location=3, rotation=90)
    path = tmp_path / f"clip.{container}"
    writer = source.write(path, codec=codec)
    again = Read(path)
    assert writer.notices == []
    assert again.times == source.times
    assert again.durations == source.durations
    if codec == "raw":  # it is in the file, but the decoder of raw pictures does not hand it on
        again.video = replace(again.video, chroma_location=3)
    for name in ("width", "height", "primaries", "transfer", "matrix", "color_range", "chroma_location", "rotation"):
        assert getattr(again.video, name) == getattr(source.reader.video, name), name
    errors = [np.abs(a.y.astype(int) - b.y).mean() for a, b in zip(again.frames, source.frames, strict=True)]
    assert max(errors) < (1e-9 if codec in ("ffv1", "raw") else 6)


@pytest.mark.parametrize("size", [(64, 48), (175, 143), (17, 1)])
def test_ffv1_is_lossless(tmp_path: Path, size: tuple[int, int]) -> None:
    source = Read(Clip(codec="rawvideo", container="nut", size=size, frames=4).bytes())
    path = tmp_path / "clip.mkv"
    assert source.write(path, codec="ffv1").notices == []
    again = Read(path)
    for got, want in zip(again.frames, source.frames, strict=True):
        assert all(np.array_equal(getattr(got, p), getattr(want, p)) for p in "yuv")


def test_odd_sizes_are_padded_by_one(tmp_path: Path) -> None:
    source = Read(Clip(codec="rawvideo", container="nut", size=(175, 143), frames=2).bytes())
    path = tmp_path / "clip.mp4"
    writer = source.write(path, crf=0)
    again = Read(path)
    assert again.frames[0].y.shape == (144, 176)
    assert np.array_equal(again.frames[0].y[:143, :175], source.frames[0].y)
    assert np.array_equal(again.frames[0].y[:143, 175], source.frames[0].y[:, -1])
    assert any("175x143 becomes 176x144" in n for n in writer.notices)


def test_sample_aspect_ratio(tmp_path: Path) -> None:
    source = Read(Clip(sar=Fraction(64, 45), frames=2).bytes())
    for name in ("clip.mp4", "clip.mkv", "clip.mov"):
        source.write(tmp_path / name)
        assert Read(tmp_path / name).video.sar == (64, 45), name
    source.write(tmp_path / "av1.mp4", codec="av1")
    assert Read(tmp_path / "av1.mp4").video.sar == (64, 45)
    assert any("aspect" in n for n in source.write(tmp_path / "lossless.mkv", codec="ffv1").notices)


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_tags_and_chapters(tmp_path: Path, container: str) -> None:
    chapters = [
        {"id": 1, "start": 0, "end": 333, "time_base": Fraction(1, 1000), "metadata": {"title": "Début"}},
        {"id": 2, "start": 333, "end": 1001, "time_base": Fraction(1, 1000), "metadata": {"title": "Fin"}},
    ]
    tags = {"title": "Ein Titel", "artist": "somebody", "comment": "a; b=c"}
    clip = Clip(frames=30, container="matroska", chapters=chapters)
    source = Read(clip.bytes())
    source.reader.metadata = tags
    path = tmp_path / f"clip.{container}"
    source.write(path)
    again = Read(path)
    got = {key.lower(): value for key, value in again.reader.metadata.items()}
    assert {key: got.get(key) for key in tags} == tags
    found = again.reader.chapters
    assert [c.tags["title"] for c in found] == ["Début", "Fin"]
    assert [Fraction(*c.time_base) * c.start for c in found] == [0, Fraction(333, 1000)]
    assert Fraction(*found[1].time_base) * found[1].end == Fraction(1001, 1000)
    assert again.copied == ()
    source.reader.metadata = tags | {"com.example.key": "kept"}
    source.write(path)
    got = {key.lower(): value for key, value in Read(path).reader.metadata.items()}
    assert got["com.example.key"] == "kept"
    assert got["title"] == "Ein Titel"


@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_are_not_cut_into_slices(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "clip.mp4"
    Read(Clip(frames=5, size=(96, 288)).bytes()).write(path, threads=threads)  # of few rows they never are
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert [slices(packet) for packet in packets] == [1] * 5


@pytest.mark.parametrize("frames", [1, 2])
def test_hevc_of_few_frames(tmp_path: Path, frames: int) -> None:
    """x265 leaves decoding times of so few unset. What memory held was often refused by the muxer."""
    source = Read(Clip(frames=frames, size=(64, 48)).bytes())
    for _ in range(20):
        source.write(tmp_path / "clip.mp4", codec="hevc")
        with av.open(str(tmp_path / "clip.mp4")) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [packet.dts for packet in packets] == [packet.pts for packet in packets]
        assert len(Read(tmp_path / "clip.mp4").frames) == frames


def slices(packet: bytes) -> int:
    """How many slices of H.264 are in a packet of an MP4, whose units have their lengths before them."""
    count = 0
    while packet:
        length = int.from_bytes(packet[:4], "big")
        count += packet[4] & 31 in (1, 5)
        packet = packet[4 + length :]
    return count


def test_index_in_front_for_files(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    Read(Clip(frames=3).bytes()).write(path)
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_into_a_pipe(container: str) -> None:
    source = Read(Clip(pts=VFR, last_duration=4, audio=[Audio("aac")], rotation=90, container="mov").bytes())
    pipe = Pipe()
    source.write(pipe, container=container)
    data = pipe.taken.getvalue()
    for again in (Read(data), Read(Pipe(data))):
        slack = Fraction(1, 1000) if container == "mkv" else 0
        assert max(abs(a - b) for a, b in zip(again.times, source.times, strict=True)) <= slack
        assert [p.data for p in again.packets] == [p.data for p in source.packets]
        assert again.video.rotation == source.video.rotation


def test_mp4_with_its_index_at_the_end_through_a_pipe() -> None:
    data = Clip(frames=10, size=(320, 240)).bytes()
    assert data.find(b"moov") > data.find(b"mdat")
    read = Read(Pipe(data))
    assert len(read.frames) == 10
    assert any("temporary file" in n for n in read.notices)


def test_into_a_file_object() -> None:
    buffer = io.BytesIO()
    source = Read(Clip(frames=5, audio=[Audio("aac")]).bytes())
    source.write(buffer, container="mp4")
    assert not buffer.closed
    again = Read(buffer.getvalue())
    assert again.times == source.times


def test_temporary_names_and_odd_names(tmp_path: Path) -> None:
    source = Read(Clip(frames=2).bytes())
    for name in (".clip.1234.part.mp4", "a:b %03d 'x'.mp4", "-.mp4"):
        source.write(tmp_path / name)
        assert len(Read(tmp_path / name).frames) == 2


def test_quality_is_obeyed(tmp_path: Path) -> None:
    source = Read(real_clip(BIKES), duration=0.4)
    sizes = []
    for crf in (10, 17, 40):
        path = tmp_path / f"{crf}.mp4"
        source.write(path, crf=crf)
        sizes.append(path.stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]
    default = tmp_path / "default.mp4"
    source.write(default)
    assert abs(default.stat().st_size - sizes[1]) < 100


def test_wrong_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = Read(Clip(frames=2).bytes()).video
    with pytest.raises(UsageError, match="unknown"):
        MediaWriter(tmp_path / "x.mp4", video, codec="mpeg1")
    with pytest.raises(UsageError, match="cannot hold ffv1"):
        MediaWriter(tmp_path / "x.mp4", video, codec="ffv1")
    with pytest.raises(UsageError, match="ending"):
        MediaWriter(tmp_path / "x.docx", video)
    with pytest.raises(UsageError, match="ending"):
        MediaWriter(io.BytesIO(), video)
    with pytest.raises(UsageError, match="crf 99"):
        MediaWriter(tmp_path / "x.mp4", video, crf=99)
    monkeypatch.setattr(encoders.av, "codecs_available", {"ffv1"})
    with pytest.raises(UnsupportedError, match="built without libx264"):
        MediaWriter(tmp_path / "x.mp4", video)


def test_containers_by_name() -> None:
    assert container_for("a/b.M4V", None).name == "mp4"
    assert container_for("a.bin", "mkv").muxer == "matroska"


def test_times_that_do_not_grow(tmp_path: Path) -> None:
    source = Read(Clip(frames=2).bytes())
    with pytest.raises(MediaError, match="does not follow"), MediaWriter(tmp_path / "x.mp4", source.video) as writer:
        writer.write(source.frames[1])
        writer.write(source.frames[0])


def test_nothing_to_write(tmp_path: Path) -> None:
    video = Read(Clip(frames=2).bytes()).video
    with pytest.raises(MediaError, match="no frame"), MediaWriter(tmp_path / "x.mp4", video):
        pass


def test_a_full_disk_is_an_error() -> None:
    class Full(Pipe):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    source = Read(Clip(frames=30, size=(256, 192)).bytes())
    with pytest.raises((MediaError, OSError)):
        source.write(Full(), container="mkv", codec="ffv1")


def test_a_closed_pipe_is_an_error() -> None:
    class Closed(Pipe):
        def write(self, data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    source = Read(Clip(frames=30, size=(256, 192)).bytes())
    with pytest.raises((MediaError, OSError)):
        source.write(Closed(), container="mkv", codec="ffv1")


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    source = Read(Clip(frames=2).bytes())
    with pytest.raises((MediaError, OSError)):
        source.write(tmp_path / "missing" / "x.mp4")


# -------------------------------------------------------------------- y4m


def y4m(source: Read) -> tuple[bytes, list[str]]:
    buffer = io.BytesIO()
    with Y4mWriter(buffer, source.reader.video) as writer:
        for item in source.items:
            writer.write(item)
    return buffer.getvalue(), writer.notices


@pytest.mark.parametrize(("location", "tag"), [(0, "420jpeg"), (1, "420mpeg2"), (2, "420jpeg"), (3, "420paldv")])
@pytest.mark.parametrize("size", [(64, 48), (175, 143)])
def test_y4m(location: int, tag: str, size: tuple[int, int]) -> None:
    source = Read(Clip(codec="rawvideo", container="nut", size=size, frames=3).bytes())
    source.reader.video = replace(
        source.video, chroma_location=location, color_range=1, sar=(4, 3), frame_rate=(30000, 1001)
    )
    data, notices = y4m(source)
    header = data.split(b"\n", 1)[0].decode()
    assert header == f"YUV4MPEG2 W{size[0]} H{size[1]} F30000:1001 Ip A4:3 C{tag} XCOLORRANGE=LIMITED"
    again = Read(data)
    assert again.video.frame_rate == (30000, 1001)
    assert again.video.sar == (4, 3)
    for got, want in zip(again.frames, source.frames, strict=True):
        assert all(np.array_equal(getattr(got, p), getattr(want, p)) for p in "yuv")


def test_y4m_names_what_it_loses() -> None:
    source = Read(Clip(pts=VFR, rotation=90, last_duration=3).bytes())
    _, notices = y4m(source)
    assert any("rotation" in n for n in notices)
    assert any("constant frame rate" in n for n in notices)


def test_y4m_of_nothing_is_a_header() -> None:
    buffer = io.BytesIO()
    video = Read(Clip(frames=1).bytes()).video
    with Y4mWriter(buffer, replace(video, frame_rate=(0, 0))) as writer:
        pass
    assert buffer.getvalue().endswith(b"\n")
    assert any("frame rate" in n for n in writer.notices)


def test_pictures_play_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    Read(Clip(frames=3, pix_fmt="yuv420p").bytes()).write(path, codec="hevc")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
        assert container.streams.video[0].codec_context.pix_fmt in ("yuv420p", "yuvj420p")


STRANGE = (0, -1, 3, 14, 22, 255, 1 << 31, 1 << 63, 1 << 64)


@pytest.mark.parametrize("name", ["primaries", "transfer", "matrix", "color_range", "chroma_location"])
def test_tags_without_meaning_are_left_out(tmp_path: Path, name: str) -> None:
    source = Read(Clip(frames=2).bytes())
    for value in STRANGE:
        source.reader.video = replace(source.video, **{name: value})
        source.write(tmp_path / "x.mp4")


@pytest.mark.parametrize("name", ["time_base", "frame_rate", "sar"])
def test_ratios_without_meaning(tmp_path: Path, name: str) -> None:
    source = Read(Clip(frames=2).bytes())
    for value in [(a, b) for a in STRANGE for b in STRANGE[:3] + STRANGE[-2:]]:
        source.reader.video = replace(source.video, **{name: value})
        try:
            source.write(tmp_path / "x.mp4", preset="ultrafast")
        except MediaError:
            assert name == "time_base"


def test_times_and_texts_without_meaning(tmp_path: Path) -> None:
    source = Read(Clip(frames=2, audio=[Audio("aac", seconds=0.1)]).bytes())
    for value in STRANGE:
        for item in (source.frames[0], source.packets[0]):
            broken = replace(item, pts=value, duration=value)
            try:
                with MediaWriter(tmp_path / "x.mkv", source.video, source.copied, {"title": "\ud800\0"}) as writer:
                    writer.write(broken)
                    writer.write(source.frames[1])
            except MediaError:
                pass
    source.reader.chapters = [Chapter(5, 1, (1, 1000)), Chapter(0, 1 << 64, (1, 1)), Chapter(0, 9, (0, 0))]
    source.write(tmp_path / "x.mp4")
    assert Read(tmp_path / "x.mp4").reader.chapters == []


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mkv", "webm"])
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60), Fraction(60000, 1001)])
@pytest.mark.parametrize("clock", [None, 90000])
def test_matroska_keeps_a_constant_rate_beside_its_milliseconds(
    tmp_path: Path, rate: Fraction, container: str, clock: int | None
) -> None:
    """Nothing is lost then: `--strict` writes it. A transport stream's clock has rounded the times already."""
    tick = 1 / rate if clock is None else Fraction(1, clock)
    source = Read(Clip(frames=40).bytes())
    source.reader.video = replace(
        source.video, time_base=(tick.numerator, tick.denominator), frame_rate=(rate.numerator, rate.denominator)
    )
    for number, frame in enumerate(source.frames):
        frame.pts, frame.duration = round(number / rate / tick), round(1 / rate / tick)
    path = tmp_path / f"clip.{container}"
    writer = source.write(path, codec="av1" if container == "webm" else "h264")
    assert not [text for text in writer.notices if isinstance(text, Loss)]
    assert f"the frame rate of {rate} is kept" in " ".join(writer.notices)
    again = Read(path)
    assert Fraction(*again.video.frame_rate) == rate
    assert [round(time * rate) for time in again.times] == list(range(40))


def test_matroskas_milliseconds_lose_times_of_a_variable_rate(tmp_path: Path) -> None:
    source = Read(Clip(frames=7).bytes())
    source.reader.video = replace(source.video, time_base=(1, 90000), frame_rate=(30000, 1001))
    for frame, pts in zip(source.frames, [0, 3003, 6006, 7000, 9009, 9100, 12012], strict=True):
        frame.pts, frame.duration = pts, 50
    losses = [text for text in source.write(tmp_path / "clip.mkv").notices if isinstance(text, Loss)]
    assert losses == ["mkv counts in milliseconds: times are rounded to the nearest"]
