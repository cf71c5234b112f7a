"""Sound and subtitles: the same packets at the same times, in whatever container can hold them."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lvc.errors import CorruptError, LvcError, MediaError
from lvc.media import CopiedPacket, CopiedStreamInfo, MediaWriter
from lvc.media.params import MAX_PARAMS, open_params
from tests.helpers.clips import BUNNY, Audio, Clip, Read, real_clip

SOURCES = {
    "aac": "mp4",
    "libopus": "matroska",
    "libmp3lame": "mp4",
    "pcm_s16le": "mov",
    "pcm_s24le": "matroska",
    "ac3": "mp4",
    "flac": "matroska",
    "alac": "mov",
    "mp2": "matroska",
}
# what a container refuses
REFUSED = {("mov", "libopus"), ("mov", "flac")}


def digest(packets: list[CopiedPacket]) -> str:
    return hashlib.sha256(b"".join(len(p.data).to_bytes(4, "big") + p.data for p in packets)).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("codec", SOURCES)
def test_packets_survive(tmp_path: Path, codec: str, container: str) -> None:
    clip = Clip(frames=14, container=SOURCES[codec], audio=[Audio(codec, language="fra")])
    first = Read(clip.bytes())
    path = tmp_path / f"clip.{container}"
    writer = first.write(path)
    again = Read(path)
    if (container, codec) in REFUSED:
        assert any("cannot hold audio" in n for n in writer.notices)
        assert again.copied == ()
        assert len(again.frames) == 14
        return
    assert writer.notices == []
    assert len(again.stream(0)) == len(first.stream(0)) > 2
    assert digest(again.stream(0)) == digest(first.stream(0))
    # Matroska counts in milliseconds; MP4 counts PCM in samples, which repairs what a Matroska source had rounded
    slack = Fraction(1, 1000) if container == "mkv" or codec == "pcm_s24le" else 0
    pairs = zip(first.packet_times(0), again.packet_times(0), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= slack
    assert again.times == first.times
    before, after = first.copied[0], again.copied[0]
    if (container, codec) != ("mp4", "mp2"):  # MP4 has one number for both, and FFmpeg calls it MP3
        assert after.codec == before.codec
    assert (after.sample_rate, after.channels) == (before.sample_rate, before.channels)
    with av.open(str(path)) as playable:
        assert sum(frame.samples for frame in playable.decode(audio=0)) > 0.4 * 48000


def test_sound_plays_the_same_samples(tmp_path: Path) -> None:
    """The decoder gets the same codec data and the same priming."""
    source, path = real_clip(BUNNY), tmp_path / "out.mp4"
    Read(source, duration=1).write(path, crf=35, preset="ultrafast")

    def samples(name: Path) -> list[bytes]:
        with av.open(str(name)) as container:
            return [f.to_ndarray().tobytes() for f, _ in zip(container.decode(audio=0), range(40), strict=False)]

    assert samples(source) == samples(path)


def test_several_streams_and_languages(tmp_path: Path) -> None:
    clip = Clip(
        frames=30,
        container="matroska",
        audio=[Audio("aac", language="eng"), Audio("libopus", language="jpn", start=Fraction(1, 2))],
        subtitles=[(0.1, 0.5, "Hello"), (0.6, 1.0, "Grüße")],
    )
    first = Read(clip.bytes())
    assert [(c.kind, c.codec, c.language) for c in first.copied] == [
        ("audio", "aac", "eng"),
        ("audio", "opus", "jpn"),
        ("subtitle", "subrip", ""),
    ]
    path = tmp_path / "all.mkv"
    assert first.write(path).notices == []
    again = Read(path)
    assert [(c.kind, c.codec, c.language) for c in again.copied] == [
        (c.kind, c.codec, c.language) for c in first.copied
    ]
    for number in range(3):
        assert digest(again.stream(number)) == digest(first.stream(number))
        assert again.packet_times(number) == first.packet_times(number)
    assert again.stream(2)[1].data.decode() == "Grüße"
    assert again.stream(2)[0].duration == 400

    mp4 = tmp_path / "all.mp4"
    assert any("cannot hold subtitle subrip" in n for n in first.write(mp4).notices)
    assert [c.codec for c in Read(mp4).copied] == ["aac", "opus"]


def test_mov_text_in_mp4(tmp_path: Path) -> None:
    first = Read(Clip(frames=30, subtitles=[(0.2, 0.8, "Hello")], subtitle_codec="mov_text").bytes())
    path = tmp_path / "text.mp4"
    assert first.write(path).notices == []
    again = Read(path)
    assert [p.data for p in again.packets] == [p.data for p in first.packets]
    assert again.packet_times(0) == first.packet_times(0)
    assert any("left out" in n for n in first.write(tmp_path / "text.mkv").notices)


def test_left_out_on_request() -> None:
    data = Clip(frames=5, container="matroska", audio=[Audio("aac")], subtitles=[(0, 0.1, "x")]).bytes()
    assert [c.kind for c in Read(data, audio="none").copied] == ["subtitle"]
    assert [c.kind for c in Read(data, subtitles="none").copied] == ["audio"]
    assert Read(data, audio="none", subtitles="none").packets == []


def test_adts_in_mpegts_plays_in_mp4(tmp_path: Path) -> None:
    """AAC in MPEG-TS has a header on every packet that MP4 must not have: the frames inside are the same."""
    first = Read(Clip(frames=30, container="mpegts", codec="mpeg2video", audio=[Audio("aac")]).bytes())
    path = tmp_path / "out.mp4"
    first.write(path)
    again = Read(path)
    assert [p.data for p in again.stream(0)] == [p.data[7:] for p in first.stream(0)]


@pytest.mark.parametrize("layout", ["mono", "5.1"])
def test_opus_on_request(tmp_path: Path, layout: str) -> None:
    data = Clip(frames=30, container="mov", audio=[Audio("pcm_s16le", rate=44100, layout=layout, seconds=1)]).bytes()
    read = Read(data, audio="opus:48k")
    info = read.copied[0]
    assert (info.codec, info.sample_rate, info.channels) == ("opus", 48000, 1 if layout == "mono" else 6)
    size = sum(len(p.data) for p in read.packets)
    assert 1000 < size < 12000
    times = read.packet_times(0)
    assert -0.01 < times[0] <= 0
    assert 0.95 < times[-1] < 1.05
    path = tmp_path / "opus.mkv"
    assert read.write(path).notices == []
    with av.open(str(path)) as container:
        assert 46000 < sum(f.samples for f in container.decode(audio=0)) < 50000
    again = Read(path)
    assert digest(again.stream(0)) == digest(read.stream(0))


def test_opus_of_a_range() -> None:
    read = Read(real_clip(BUNNY), audio="opus:64k", start=2, duration=1)
    times = read.packet_times(0)
    assert abs(times[0]) < 0.06
    assert 0.9 < times[-1] < 1.1


def test_damaged_descriptions_never_crash() -> None:
    source = Read(
        Clip(frames=2, container="matroska", audio=[Audio("aac"), Audio("libopus")], subtitles=[(0, 1, "x")]).bytes()
    )
    rng = random.Random(2)
    for info in source.copied:
        for _ in range(60):
            broken = bytearray(info.params)
            for _ in range(rng.choice((1, 3, 20))):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            blob = bytes(broken[: rng.choice((len(broken), rng.randrange(len(broken))))])
            try:
                with open_params(blob) as stream:
                    assert stream.type in ("audio", "subtitle", "data")
            except LvcError:
                pass


@pytest.mark.parametrize(
    "blob", [b"", b"MOV ", b"XXXX" + b"\0" * 100, b"MKV " + b"\0" * MAX_PARAMS, b"MOV " + b"\0" * 999]
)
def test_descriptions_that_are_none(blob: bytes) -> None:
    with pytest.raises(CorruptError), open_params(blob):
        pass


def test_a_damaged_description_is_a_clean_error_of_the_writer(tmp_path: Path) -> None:
    video = Read(Clip(frames=2).bytes()).video
    info = CopiedStreamInfo("audio", "aac", (1, 48000), params=b"MOV damaged")
    with pytest.raises(CorruptError):
        MediaWriter(tmp_path / "x.mp4", video, [info])


def test_packets_of_a_stream_that_does_not_exist(tmp_path: Path) -> None:
    source = Read(Clip(frames=2).bytes())
    with pytest.raises(MediaError, match="does not exist"), MediaWriter(tmp_path / "x.mp4", source.video) as writer:
        writer.write(CopiedPacket(3, 0, 0, 1, True, b"x"))


def test_opus_keeps_a_gap_of_the_source() -> None:
    """Half a second of sound, a second of nothing, half a second of sound."""
    first = Read(Clip(frames=60, container="matroska", audio=[Audio("pcm_s16le"), Audio("pcm_s16le")]).bytes())
    late = [replace(p, pts=p.pts + 1500, dts=p.dts + 1500) for p in first.stream(0)]
    buffer = io.BytesIO()
    reader = first.reader
    with MediaWriter(buffer, reader.video, reader.copied[:1], container="mkv", preset="ultrafast") as writer:
        for item in [*first.stream(0), *late, *first.frames]:
            writer.write(item)
    times = Read(buffer.getvalue(), audio="opus:48k").packet_times(0)
    assert 1.9 < times[-1] < 2.1


def test_opus_from_surround_with_side_channels() -> None:
    data = Clip(frames=10, container="matroska", audio=[Audio("ac3", layout="5.1(side)")]).bytes()
    read = Read(data, audio="opus:128k")
    assert read.copied[0].channels == 6
    assert len(read.packets) > 20
