"""Files that once came back with something missing (`tests/media/cases`): each kind with what is right for it."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvc.errors import MediaError, UsageError
from lvc.media import Attachment, CopiedPacket, Frame, MediaReader, MediaWriter, VideoSide
from lvc.media.containers import CONTAINERS
from lvc.media.fitting import way_out
from lvc.media.header import Crop, video_header
from lvc.media.planes import PlaneMaker
from lvc.media.timecode import advanced
from lvc.notices import Loss
from tests.helpers.clips import Audio, Clip, Pipe, Read, picture

CASES = Path(__file__).parent / "cases"
HDR = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


def case(name: str, **options: object) -> Read:
    return Read(CASES / name, **options)


def written(source: Read, path: Path, **options: object) -> Read:
    writer = source.write(path, preset="ultrafast", crf=40, **options)
    again = Read(path)
    again.notices[:0] = writer.notices
    return again


def losses(read: Read) -> list[str]:
    return [text for text in read.notices if isinstance(text, Loss)]


def content(read: Read, number: int = 0) -> str:
    return hashlib.sha256(b"".join(packet.data for packet in read.stream(number))).hexdigest()


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("name", ["avi_h264_bframes.avi", "asf_h264_bframes.asf"])
def test_frames_of_containers_that_know_decoding_times(name: str) -> None:
    read = case(name)
    assert read.times == [Fraction(n, 25) for n in range(15)]
    assert read.notices == []


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("container", ["avi", "asf"])
def test_decoding_times_whatever_the_distances(container: str, threads: int) -> None:
    """MPEG-4 with B-frames, as DivX and Xvid wrote it, and a rate that is no 25."""
    clip = Clip(
        frames=12, codec="mpeg4", container=container, rate=Fraction(24), time_base=Fraction(1, 24), options={"bf": "2"}
    )
    read = Read(clip.bytes(), threads=threads)
    assert read.times == pytest.approx([n / 24 for n in range(12)], abs=0.001)
    assert [f for f in read.notices if "time" in f] == []


def packed_bframes() -> bytes:
    """An AVI as old encoders wrote it: a B-frame rides in the packet of the frame after it, and its own place is taken
    by a frame that is not coded."""
    plain = Clip(frames=9, codec="mpeg4", container="avi", options={"bf": "1", "b_strategy": "0", "g": "100"}).bytes()
    out = io.BytesIO()
    with av.open(io.BytesIO(plain)) as source, av.open(out, "w", format="avi") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        data = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        kinds = [(packet[packet.index(b"\0\0\1\xb6") + 4]) >> 6 for packet in data]
        assert kinds[:5] == [0, 1, 2, 1, 2], "I P B P B"
        packets = []
        for position, packet in enumerate(data):
            if kinds[position] == 2:
                packets.append(b"\0\0\1\xb6\x51\xe0\0"[:7])  # not coded
            elif position + 1 < len(data) and kinds[position + 1] == 2:
                packets.append(packet + data[position + 1])
            else:
                packets.append(packet)
        packets[0] = b"\0\0\1\xb2DivX503b1393p" + packets[0]
        for number, payload in enumerate(packets):
            packet = av.Packet(payload)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0
            target.mux(packet)
    return out.getvalue()


def test_packed_bframes() -> None:
    read = Read(packed_bframes())
    assert len(read.times) >= 8
    assert {b - a for a, b in zip(read.times, read.times[1:], strict=False)} == {Fraction(1, 25)}
    assert [text for text in read.notices if "moved" in text] == []


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_a_video_that_begins_below_zero_is_shown_whole(tmp_path: Path, container: str) -> None:
    source = case("ts_pts_wrap.ts")
    assert source.times[0] < -1
    again = written(source, tmp_path / f"out.{container}")
    with av.open(str(tmp_path / f"out.{container}")) as file:
        shown = [frame.pts * frame.time_base for frame in file.decode(video=0)]
    assert len(shown) == 50 and shown[0] == 0
    before = source.packet_times(0)[0] - source.times[0]
    assert float(again.packet_times(0)[0] - again.times[0]) == pytest.approx(float(before), abs=0.002)
    assert len(again.stream(0)) == len(source.stream(0))


def test_packets_that_come_before_a_frame_below_zero_are_moved_with_it(tmp_path: Path) -> None:
    source = case("ts_pts_wrap.ts")
    video = source.reader.video
    with MediaWriter(tmp_path / "out.mkv", video, source.copied, preset="ultrafast") as writer:
        for item in [*source.packets[:20], *source.frames, *source.packets[20:]]:
            writer.write(item)
    again = Read(tmp_path / "out.mkv")
    assert again.times[0] == 0
    assert len(again.stream(0)) == len(source.stream(0))


def test_hidden_sound_stays_hidden(tmp_path: Path) -> None:
    source = case("mp4_editlist_cut_start.mp4")
    for container in ("mkv", "mp4"):
        again = written(source, tmp_path / f"out.{container}")
        assert float(again.packet_times(0)[0]) >= -0.065, "no more than what the decoder needs to get going"
        last = again.stream(0)[-1]
        end = (last.pts + last.duration) * Fraction(*again.copied[0].time_base)
        assert float(end) == pytest.approx(1.3, abs=0.03)


@pytest.mark.parametrize("name", ["mp4_editlist_trimmed_end.mp4", "mkv_starts_at_3s.mkv"])
def test_files_that_do_not_end_early(name: str) -> None:
    assert case(name).notices == []


@pytest.mark.parametrize("name", ["mkv_starts_at_3s.mkv", "mp4_editlist_cut_start.mp4"])
def test_files_that_do_end_early(name: str, tmp_path: Path) -> None:
    """The same files, cut: without their ends they are still called what they are. (An MP4's index stays in front.)"""
    if name.endswith(".mp4"):
        clip = Clip(frames=30, mux_options={"movflags": "faststart"})
        clip.write(tmp_path / name)
        data = (tmp_path / name).read_bytes()
    else:
        data = Clip(frames=100, container="matroska", options={"g": "5"}).bytes()
    with_half = data[: len(data) * 6 // 10]
    assert any("ends early" in text for text in losses(Read(with_half)))


def test_gaps_are_said_and_closed(tmp_path: Path) -> None:
    plain = case("ts_joined.ts")
    assert float(plain.times[-1]) > 50
    assert any("48.9 s" in text and "--close-gaps" in text for text in plain.notices)
    closed = case("ts_joined.ts", close_gaps=True)
    assert {b - a for a, b in zip(closed.times, closed.times[1:], strict=False)} == {Fraction(1, 25)}
    sound = closed.packet_times(0)
    assert len(closed.stream(0)) == len(plain.stream(0))
    assert sound == sorted(sound)
    assert abs(float(sound[-1] - closed.times[-1])) < 0.1
    assert any("taken out" in text for text in closed.notices)


def test_closed_gaps_in_sound_that_is_coded_again() -> None:
    closed = case("ts_joined.ts", close_gaps=True, audio="opus:32k")
    assert abs(float(closed.packet_times(0)[-1] - closed.times[-1])) < 0.3


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_slow_video_has_no_gaps(container: str) -> None:
    """One picture in ten seconds is a rate, not a gap."""
    clip = Clip(
        frames=5, pts=[0, 10, 20, 30, 40], time_base=Fraction(1), rate=Fraction(1, 10), last_duration=10,
        container=container,
    )  # fmt: skip
    assert Read(clip.bytes()).notices == []


# ---------------------------------------------------------------- sound


@pytest.mark.parametrize(
    "name, codec",
    [
        ("sound_dts.mkv", "dts"),
        ("sound_g711_alaw.mkv", "pcm_alaw"),
        ("sound_aac_latm.ts", "aac_latm"),
        ("sound_adpcm_ms.avi", "adpcm_ms"),
    ],
)
def test_sound_is_copied_and_comes_out(tmp_path: Path, name: str, codec: str) -> None:
    source = case(name)
    with av.open(str(CASES / name)) as file:
        original = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
    assert [packet.data for packet in source.stream(0)] == original
    assert source.copied[0].codec == codec
    assert losses(source) == []
    assert_comes_out(source, tmp_path)


def assert_comes_out(source: Read, tmp_path: Path) -> None:
    """As it is where a container holds it, which is said; and as FLAC, sample by sample, in Matroska."""
    advice = way_out(source.copied[0])
    held = []
    for container in ("mkv", "mp4", "mov"):
        again = written(source, tmp_path / f"copy.{container}")
        if again.copied:
            assert again.notices == []
            assert content(again) == content(source)
            held.append(container)
        else:
            assert f"--audio {CONTAINERS[container].any_sound}" in losses(again)[0]
    assert (advice is None) == (held[:2] == ["mkv", "mp4"])
    again = written(source, tmp_path / "flac.mkv", audio="flac")
    assert losses(again) == [] and again.copied[0].codec == "flac"
    assert again.copied[0].sample_rate == source.copied[0].sample_rate
    start, before = again.packet_times(0)[0] - again.times[0], source.packet_times(0)[0] - source.times[0]
    delay = 0.1 if source.copied[0].codec.startswith("wma") else 0.01  # its first packets give no sound
    assert float(start) == pytest.approx(float(before), abs=delay)


def samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono")
        parts = [p.to_ndarray() for frame in file.decode(audio=0) for p in resampler.resample(frame)]
    return np.concatenate(parts, axis=1)[0]


def test_flac_has_the_samples_of_g711(tmp_path: Path) -> None:
    written(case("sound_g711_alaw.mkv"), tmp_path / "out.mkv", audio="flac")
    assert np.array_equal(samples(tmp_path / "out.mkv"), samples(CASES / "sound_g711_alaw.mkv"))


@pytest.mark.parametrize("audio, codec, container", [("opus:48k", "opus", "mp4"), ("aac", "aac", "mov")])
def test_other_ways_out(tmp_path: Path, audio: str, codec: str, container: str) -> None:
    source = case("sound_aac_latm.ts")
    again = written(source, tmp_path / f"out.{container}", audio=audio)
    assert again.copied[0].codec == codec and losses(again) == []
    assert float(again.packet_times(0)[0]) == pytest.approx(float(source.packet_times(0)[0]), abs=0.05)
    assert written(source, tmp_path / "none.mkv", audio="none").copied == ()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("codec", ["flac", "opus", "aac"])
def test_sound_that_the_container_does_not_hold_is_refused_at_once(tmp_path: Path, codec: str, container: str) -> None:
    source, video = case("sound_g711_alaw.mkv"), CONTAINERS[container].codecs[0]
    target = tmp_path / f"out.{container}"
    if codec in CONTAINERS[container].sounds:
        writer = source.write(target, audio=codec, codec=video)
        assert writer.notices == [] and Read(target).copied[0].codec == codec
    else:
        with pytest.raises(UsageError, match=f"{container} cannot hold {codec} — use --audio"):
            source.write(target, audio=codec, codec=video)


def test_a_way_out_is_only_named_where_one_is_needed() -> None:
    assert "mov" in (way_out(case("sound_g711_alaw.mkv").copied[0]) or "")
    assert way_out(case("cover_art.mp4").copied[0]) is None
    assert way_out(case("sound_dts.mkv").copied[0]) is None


FROM_FFMPEG = {
    "truehd.mkv": ["-c:a", "truehd"],
    "mlp.mkv": ["-c:a", "mlp"],
    "wavpack.mkv": ["-c:a", "wavpack"],
    "lpcm.vob": ["-c:a", "pcm_dvd", "-c:v", "mpeg2video", "-r", "25"],
    "lpcm.m2ts": ["-c:a", "pcm_bluray", "-f", "mpegts", "-mpegts_m2ts_mode", "1"],
    "s302m.ts": ["-c:a", "s302m"],
    "dts.ts": ["-c:a", "dca"],
    "wma.asf": ["-c:a", "wmav2", "-c:v", "wmv2"],
    "g722.mkv": ["-c:a", "g722", "-ar", "16000", "-ac", "1"],
    "g726.mkv": ["-c:a", "g726", "-ar", "8000", "-ac", "1"],
    "ulaw.avi": ["-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"],
    "ima.avi": ["-c:a", "adpcm_ima_wav"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FROM_FFMPEG)
def test_sound_of_every_kind(tmp_path: Path, name: str) -> None:
    """Encoders that PyAV's build has not: the static FFmpeg of the extra `eval` has them."""
    import subprocess

    from lvc.media import ffmpeg

    program = ffmpeg.executable()
    if program is None:
        pytest.skip("needs the extra: pip install 'lvc[eval]'")
    path = tmp_path / name
    picture_, tone = "testsrc=size=64x48:rate=10:duration=0.4", "sine=440:duration=0.4:sample_rate=48000"
    command = [
        program,
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        picture_,
        "-f",
        "lavfi",
        "-i",
        tone,
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
    ]
    done = subprocess.run(
        [*command, "-ac", "2", *FROM_FFMPEG[name], "-strict", "-2", str(path)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"this FFmpeg cannot make it: {done.stderr[:200]}")
    source = Read(path)
    with av.open(str(path)) as file:
        original = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
    assert [packet.data for packet in source.stream(0)] == original
    assert losses(source) == []
    assert_comes_out(source, tmp_path)
    # and from a pipe, which cannot go back to the first packet
    if not name.endswith(".vob"):
        piped = Read(Pipe(path.read_bytes()))
        assert [packet.data for packet in piped.stream(0)] == original
        assert piped.times == source.times


def test_sound_that_cannot_be_copied_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc.media import streams

    monkeypatch.setattr(streams, "pack_params", lambda stream, packet=b"": None)
    with pytest.raises(
        MediaError, match="cannot be copied — choose what to do with the sound: --audio opus, flac or none"
    ):
        case("cover_art.mp4")
    assert case("cover_art.mp4", audio="none").copied == ()


def test_subtitles_that_cannot_be_copied_are_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc.media import streams

    data = Clip(frames=8, container="matroska", subtitles=[(0, 0.2, "x")]).bytes()
    monkeypatch.setattr(streams, "pack_params", lambda stream, packet=b"": None)
    assert any("cannot be copied" in text for text in losses(Read(data)))


def test_an_empty_track_of_sound_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc.media import streams

    data = Clip(frames=8, container="matroska", audio=[Audio("aac", seconds=0)]).bytes()
    monkeypatch.setattr(streams, "pack_params", lambda stream, packet=b"": None)
    read = Read(data)
    assert any("holds nothing" in text for text in read.notices)
    assert losses(read) == []


@pytest.mark.parametrize("audio", ["mp3", "opus:", "flac:48k", "opus:1k", "aac:9999k", "opus:²", "copy:1"])
def test_what_sound_cannot_become(audio: str) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        case("cover_art.mp4", audio=audio)


# ---------------------------------------------------------------- beside the picture


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_gopro_data(tmp_path: Path, container: str) -> None:
    source = case("gopro_gpmd.mp4")
    number = [stream.kind for stream in source.copied].index("data")
    again = written(source, tmp_path / f"out.{container}")
    assert [stream.kind for stream in again.copied] == ["audio", "data"]
    assert content(again, 1) == content(source, number)
    assert again.packet_times(1) == source.packet_times(number)
    assert b"gpmd" in (tmp_path / f"out.{container}").read_bytes()
    assert losses(again) == []


def test_data_that_a_container_cannot_hold_is_a_loss(tmp_path: Path) -> None:
    assert "cannot hold data" in losses(written(case("gopro_gpmd.mp4"), tmp_path / "out.mkv"))[0]


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_timecode(tmp_path: Path, container: str) -> None:
    source = case("timecode_tmcd.mov")
    assert source.reader.side.tags == {"timecode": "01:02:03:04"}
    assert losses(source) == []
    again = written(source, tmp_path / f"out.{container}")
    assert again.reader.side.tags == {"timecode": "01:02:03:04"}
    if container != "mkv":
        with av.open(str(tmp_path / f"out.{container}")) as file:
            assert [s.metadata.get("timecode") for s in file.streams if s.type == "data"] == ["01:02:03:04"]


def test_the_timecode_of_a_part(tmp_path: Path) -> None:
    assert case("timecode_tmcd.mov", start=0.4).reader.side.tags == {"timecode": "01:02:03:14"}
    assert case("timecode_tmcd.mov", fps=50).reader.side.tags == {"timecode": "01:02:03:08"}


@pytest.mark.parametrize(
    "begin, rate, seconds, then",
    [
        ("01:02:03:04", Fraction(25), Fraction(2), "01:02:05:04"),
        ("23:59:59:24", Fraction(25), Fraction(1, 25), "00:00:00:00"),
        ("00:00:59;29", Fraction(30000, 1001), Fraction(1001, 30000), "00:01:00;02"),
        ("00:09:59;29", Fraction(30000, 1001), Fraction(1001, 30000), "00:10:00;00"),
        ("00:00:59;59", Fraction(60000, 1001), Fraction(1001, 60000), "00:01:00;04"),
        ("00:01:00:02", Fraction(30000, 1001), Fraction(0), "00:01:00:02"),
    ],
)
def test_timecodes_count(begin: str, rate: Fraction, seconds: Fraction, then: str) -> None:
    assert advanced(begin, rate, seconds) == then
    assert advanced("not one", rate, seconds) is None


@pytest.mark.parametrize("timecode, rate", [("garbage", 25), ("99:99:99:99", 25), ("01:00:00:00", 1000), ("0;0", 25)])
def test_timecodes_from_files_that_no_track_can_count(tmp_path: Path, timecode: str, rate: int) -> None:
    source = Read(Clip(frames=3, rate=Fraction(rate), time_base=Fraction(1, rate)).bytes())
    for container, kept in (("mp4", {}), ("mov", {}), ("mkv", {"timecode": timecode})):
        again = written(source, tmp_path / f"out.{container}", side=VideoSide(tags={"timecode": timecode}))
        assert again.reader.side.tags == kept
        assert any("no place for the timecode" in text for text in losses(again)) == (not kept)


def test_dropped_numbers_are_never_counted() -> None:
    rate = Fraction(30000, 1001)
    codes = [advanced("00:00:00;00", rate, n / rate) for n in range(30 * 60 * 11)]
    assert len(set(codes)) == len(codes)
    assert [c for c in codes if c and c.endswith(("00;00", "00;01"))] == [
        "00:00:00;00", "00:00:00;01", "00:10:00;00", "00:10:00;01",
    ]  # fmt: skip


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_cover_art(tmp_path: Path, container: str) -> None:
    source = case("cover_art.mp4")
    (cover,) = source.reader.attachments
    assert (cover.mime, cover.cover, cover.data[:2]) == ("image/jpeg", True, b"\xff\xd8")
    again = written(source, tmp_path / f"out.{container}")
    assert [a.data for a in again.reader.attachments] == [cover.data]
    assert again.reader.attachments[0].cover
    assert losses(again) == []


@pytest.mark.parametrize("name", ["cover_art.mp4", "gopro_gpmd.mp4"])
def test_covers_and_data_through_a_pipe(name: str) -> None:
    """Both ways: a fragmented MP4 whose header cannot be written again."""
    source = Read(Pipe((CASES / name).read_bytes()))
    out = Pipe()
    assert source.write(out, container="mp4", preset="ultrafast").notices == []
    again = Read(out.taken.getvalue())
    assert [a.data for a in again.reader.attachments] == [a.data for a in source.reader.attachments]
    assert [len(again.stream(n)) for n in range(len(again.copied))] == [
        len(source.stream(n)) for n in range(len(source.copied))
    ]


def test_a_cover_without_a_place_is_a_loss(tmp_path: Path) -> None:
    assert "no place for the cover" in losses(written(case("cover_art.mp4"), tmp_path / "out.mov"))[0]


def test_fonts(tmp_path: Path) -> None:
    source = case("video_language_title.mkv")
    font = Attachment("a.ttf", "font/ttf", bytes(range(200)))
    source.write(tmp_path / "font.mkv", attachments=[font], preset="ultrafast")
    again = Read(tmp_path / "font.mkv")
    assert again.reader.attachments == (font,)
    assert again.notices == []
    assert "attachment a.ttf" in losses(written(again, tmp_path / "out.mp4"))[0]


@pytest.mark.parametrize("codec, container", [("h264", "mp4"), ("hevc", "mp4"), ("av1", "mkv")])
def test_hdr10(tmp_path: Path, codec: str, container: str) -> None:
    source = case("hdr10_mastering.mp4")
    assert source.reader.side.properties == {"mastering_display": HDR, "content_light": "1000,400"}
    source.write(tmp_path / f"out.{container}", codec=codec)
    assert Read(tmp_path / f"out.{container}").reader.side.properties == source.reader.side.properties


def test_hdr10_without_a_place_is_a_loss(tmp_path: Path) -> None:
    writer = case("hdr10_mastering.mp4").write(tmp_path / "out.mkv", codec="ffv1")
    assert sum(isinstance(text, Loss) and "cannot store" in text for text in writer.notices) == 2


@pytest.mark.parametrize("value", ["G(1,2):preset=placebo", "L(1,1)", "", "1000,400:log=x"])
def test_properties_from_files_are_no_options(tmp_path: Path, value: str) -> None:
    """What comes out of a `.lvz` never becomes an option of an encoder."""
    side = VideoSide(properties={"mastering_display": value, "content_light": value, "field_order": value})
    case("video_language_title.mkv").write(tmp_path / "out.mp4", side=side)
    assert set(Read(tmp_path / "out.mp4").reader.side.properties) <= {"field_order"}


@pytest.mark.parametrize("mode, name", [("left_right", "side_by_side"), ("bottom_top", "top_and_bottom-inverted")])
def test_stereo(tmp_path: Path, mode: str, name: str) -> None:
    plain = Read(Clip(frames=3).bytes())
    plain.write(tmp_path / "in.mkv", side=VideoSide(properties={"stereo3d": name}), preset="ultrafast")
    with av.open(str(tmp_path / "in.mkv")) as file:
        assert file.streams.video[0].metadata["stereo_mode"] == mode
    source = Read(tmp_path / "in.mkv")
    assert source.reader.side.properties == {"stereo3d": name}
    again = written(source, tmp_path / "out.mp4")
    if name.endswith("inverted"):
        assert "stereoscopic" in losses(again)[0]
    else:
        assert again.reader.side.properties == {"stereo3d": name}


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_language_and_title_of_the_video(tmp_path: Path, container: str) -> None:
    source = case("video_language_title.mkv")
    assert (source.reader.side.language, source.reader.side.tags) == ("jpn", {"title": "Main"})
    again = written(source, tmp_path / f"out.{container}")
    assert (again.reader.side.language, again.reader.side.tags) == ("jpn", {"title": "Main"})


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_names_of_sound_tracks(tmp_path: Path, container: str) -> None:
    """A name given by a person is kept, wherever a container keeps it; what programs write there is not."""
    data = Clip(frames=4, container="mp4", audio=[Audio(), Audio()]).bytes()
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(out, "w", format="mp4") as target:
        copies = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
        copies[1].metadata["handler_name"] = "Commentary by the director"
        copies[2].metadata["handler_name"] = "SoundHandler"
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    read = Read(out.getvalue())
    assert [stream.metadata for stream in read.copied] == [{"title": "Commentary by the director"}, {}]
    again = written(read, tmp_path / f"out.{container}")
    assert [stream.metadata for stream in again.copied] == [{"title": "Commentary by the director"}, {}]


def test_alpha_beside_the_picture_is_a_loss() -> None:
    assert "transparency is dropped" in losses(case("vp9_alpha.webm"))[0]


# ---------------------------------------------------------------- cropping and fields


def test_cropping_by_the_container(tmp_path: Path) -> None:
    read = case("crop_clap.mov")
    assert (read.video.width, read.video.height) == (112, 80)
    with av.open(str(CASES / "crop_clap.mov")) as file:
        whole = next(file.decode(video=0)).to_ndarray()
    assert np.array_equal(read.frames[0].y, whole[8:88, 8:120])
    again = written(read, tmp_path / "out.mp4")
    assert (again.video.width, again.video.height) == (112, 80)


def test_cropping_and_scaling() -> None:
    read = case("crop_clap.mov", resolution="56x40")
    assert read.frames[0].y.shape == (40, 56)
    large = case("crop_clap.mov").frames[0].y.astype(int)
    small = large.reshape(40, 2, 56, 2).mean(axis=(1, 3))
    assert np.abs(read.frames[0].y - small).mean() < 3


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "yuv444p", "rgb24", "gray"])
def test_odd_crops_of_every_format(pix_fmt: str) -> None:
    frame = av.VideoFrame.from_ndarray(picture(3, 64, 48), "rgb24").reformat(format=pix_fmt)
    crop = Crop(left=5, top=3, right=2, bottom=1)
    y, u, v = PlaneMaker(57, 44, crop).planes(frame)
    whole = PlaneMaker(64, 48).planes(frame)
    assert np.array_equal(y, whole[0][3:47, 5:62])
    assert u.shape == v.shape == (22, 29)


def test_a_crop_that_leaves_nothing_is_none() -> None:
    assert not Crop() and Crop(left=1)
    with av.open(str(CASES / "crop_clap.mov")) as file:
        assert video_header(file.streams.video[0]).crop == Crop(8, 8, 8, 8)


def interlaced(order: str, codec: str = "mpeg2video", container: str = "mpegts") -> bytes:
    first = {"tt": "1", "bb": "0"}[order]
    options = {"flags": "+ildct+ilme", "field_order": order, "top": first}
    if codec == "libx264":
        options = {"x264-params": "tff=1" if order == "tt" else "bff=1", "field_order": order}
    return Clip(frames=6, codec=codec, container=container, options=options).bytes()


@pytest.mark.parametrize("order", ["tt", "bb"])
@pytest.mark.parametrize("codec, container", [("h264", "mp4"), ("h264", "mkv"), ("hevc", "mkv"), ("ffv1", "mkv")])
def test_the_order_of_fields_is_kept_and_given_back(tmp_path: Path, order: str, codec: str, container: str) -> None:
    source = Read(interlaced(order, "libx264", "matroska"))
    assert source.reader.side.properties == {"field_order": order}
    assert any("fields stay woven; their order is kept" in text for text in source.notices)
    assert losses(source) == []
    source.write(tmp_path / f"out.{container}", codec=codec)
    with av.open(str(tmp_path / f"out.{container}")) as file:
        stream = file.streams.video[0]
        assert video_header(stream).field_order == order
        if codec == "h264":
            frames = list(file.decode(stream))
            assert all(frame.interlaced_frame for frame in frames)
            assert {first_field(frame) for frame in frames} == {order}


def first_field(frame: av.VideoFrame) -> str:
    """By a filter that takes fields apart, as PyAV does not tell."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("separatefields"), graph.add("buffersink")).configure()
    graph.push(frame)
    rows, field = frame.to_ndarray()[: frame.height], graph.pull().to_ndarray()[: frame.height // 2]
    assert not np.array_equal(rows[0::2], rows[1::2])
    return "tt" if np.array_equal(field, rows[0::2]) else "bb"


def test_fields_of_a_height_that_the_encoder_cannot_weave(tmp_path: Path) -> None:
    """486 rows, as of NTSC, are no multiple of 4."""
    source = Read(Clip(size=(64, 54), frames=3).bytes())
    again = written(source, tmp_path / "out.mp4", side=VideoSide(properties={"field_order": "bb"}))
    assert "cannot flag fields in pictures of 54 rows" in losses(again)[0]


def test_scaled_fields_are_a_loss() -> None:
    read = Read(interlaced("tt", "libx264", "matroska"), resolution="32x24")
    assert "fields are mixed" in losses(read)[0]
    assert read.reader.side.properties == {}


def test_progressive_video_says_nothing_of_fields() -> None:
    assert Read(Clip(frames=3).bytes()).reader.side.properties == {}


def test_fields_in_y4m() -> None:
    from lvc.media import Y4mWriter

    out = io.BytesIO()
    source = Read(Clip(frames=2).bytes())
    side = VideoSide(tags={"timecode": "00:00:00:00"}, properties={"field_order": "bb", "content_light": "1,1"})
    with Y4mWriter(out, source.video, side) as writer:
        writer.write(source.frames[0])
    assert b" Ib " in out.getvalue().split(b"\n")[0]
    assert "content_light, timecode" in writer.notices[0] and isinstance(writer.notices[0], Loss)


# ---------------------------------------------------------------- the reader itself


def test_a_second_iteration_is_an_error() -> None:
    with MediaReader(CASES / "cover_art.mp4") as reader:
        first = [item for item in reader if isinstance(item, (Frame, CopiedPacket))]
        assert first
        with pytest.raises(UsageError, match="open the file again"):
            iter(reader)
