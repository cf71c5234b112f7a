"""What is written comes back: descriptors, clips, times, packets, metadata; through files and pipes."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import replace
from fractions import Fraction

import pytest

from lvc.entropy.model_file import model_chunk, model_file
from lvc.errors import CorruptError, LimitError, UnsupportedError, UsageError
from lvc.limits import DEFAULT
from lvc.lvz import (
    Attachment,
    Clip,
    CopiedStream,
    GopEntry,
    Header,
    LvzReader,
    LvzWriter,
    Metadata,
    ModelChunk,
    Packet,
    PacketGroup,
    PacketsEntry,
    PlaneSpec,
    Side,
    VideoDescriptor,
    clips_only,
    codec_planes,
    fold,
    most_frames,
)
from tests.helpers.lvz_build import AUDIO, CHECKED, HEADER, METADATA, VIDEO, Pipe, checked, clip, packet, small_file


def written(video: VideoDescriptor, clips: list[Clip], **more: object) -> LvzReader:
    out = io.BytesIO()
    with LvzWriter(out, HEADER, video, **more) as w:  # type: ignore[arg-type]
        for c in clips:
            w.write_clip(c)
    return LvzReader(io.BytesIO(out.getvalue()))


def test_descriptors_and_metadata() -> None:
    r = LvzReader(io.BytesIO(small_file()))
    assert (r.header, r.video, r.copied, r.metadata) == (HEADER, CHECKED, (AUDIO,), METADATA)


def test_what_is_beside_the_picture() -> None:
    side = Side("jpn", 5, {"title": "Main", "timecode": "01:02:03:04"}, {"field_order": "tt", "unheard_of": "x"})
    files = [Attachment("cover.jpg", "image/jpeg", b"\xff\xd8", cover=True), Attachment("", "", b"", tags={"a": "b"})]
    for limits in (False, True):  # read from its front, and salvaged
        out = io.BytesIO()
        with LvzWriter(out, HEADER, VIDEO, side=side, attachments=files) as w:
            w.write_clip(clip(0, 2, True))
        reader = LvzReader(io.BytesIO(out.getvalue()), salvage=limits)
        assert (reader.side, reader.attachments) == (side, tuple(files))
    assert written(VIDEO, []).side == Side() and written(VIDEO, []).attachments == ()
    with pytest.raises(UsageError, match="1001 attachments"):
        LvzWriter(io.BytesIO(), HEADER, VIDEO, attachments=files[:1] * 1001)
    with pytest.raises(LimitError, match="aTTa"):
        LvzWriter(io.BytesIO(), HEADER, VIDEO, attachments=[Attachment("a", "b", bytes(16 << 20))])


def test_every_video_field() -> None:
    quantised = PlaneSpec("z", "int8", 3, 8, in_predicted=False, scale=(0.1, 2.0, 3.0), zero=(-1.5, 0.0, 1.0))
    video = VideoDescriptor(
        1919, 1081, (quantised, PlaneSpec("t", "uint8", 1, 500, error_bound=0.25)), 1, 8, (1001, 30000), (0, 0),
        (40, 33), 270, True, 9, 16, 9, 1, 2, 10, 422, "yuv422p10le", 0.1, 4, 1,
    )  # fmt: skip
    assert written(video, []).video == video


def test_foreign_model_needs_no_hash_and_no_name() -> None:
    out = io.BytesIO()
    LvzWriter(out, Header("", optional_features=1 << 31), VIDEO).close()
    assert LvzReader(io.BytesIO(out.getvalue())).header == Header("", optional_features=1 << 31)


@pytest.mark.parametrize("chunk_bytes", [0, 50, 16384])
def test_clips_come_back(chunk_bytes: int) -> None:
    clips = [clip(0, True), clip(4, False), clip(8, False, 3), clip(11, True, 1), clip(12, False, 4), clip(16, True)]
    r = written(VIDEO, clips, chunk_bytes=chunk_bytes)
    assert list(r.records()) == clips
    assert list(r.records()) == clips, "a seekable file can be read again"
    assert r.frame_count == 20 and r.duration_seconds == Fraction(20 * 1001, 30000)
    assert [(g.first_frame, g.start_pts) for g in r.index.gops] == [(0, 0), (11, 11011), (16, 16016)]  # type: ignore[union-attr]


def times_of_kind(kind: str, count: int) -> list[int]:
    rng = random.Random(kind)
    if kind == "matroska":
        return [round(i * 1001 / 30) for i in range(count)]
    if kind == "offset":
        return [-5000 + 1001 * i for i in range(count)]
    if kind == "variable":
        return sorted(rng.sample(range(10**7), count))
    return sorted(rng.sample(range(-(2**60), 2**60), count))


@pytest.mark.parametrize("kind", ["matroska", "offset", "variable", "wild"])
@pytest.mark.parametrize("rate", [(30000, 1001), (0, 0)])
def test_variable_frame_rates(kind: str, rate: tuple[int, int]) -> None:
    tick = (1, 1000) if kind == "matroska" else (1, 30000)
    video = replace(VIDEO, time_base=tick, frame_rate=rate)
    pts = times_of_kind(kind, 60)
    clips = [
        Clip(i, i % 24 == 0, pts[i : i + 8], [33 + (i % 3)] * len(pts[i : i + 8]), None, b"x" * 9)
        for i in range(0, 60, 8)
    ]
    r = written(video, clips)
    assert list(r.records()) == clips
    assert r.verify().end_pts == pts[-1] + clips[-1].durations[-1]


def test_constant_rate_costs_almost_nothing() -> None:
    """1,800 frames in clips of 8: at most 9 bytes of container a clip, all chunks, times and checksums in."""
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, (), METADATA) as w:
        for i in range(0, 1800, 8):
            w.write_clip(clip(i, i % 304 == 0, 8, 440))
    assert w.overhead_bytes / 225 < 9
    assert w.overhead_bytes == LvzReader(io.BytesIO(out.getvalue())).verify().overhead_bytes


def test_packets_come_back_and_are_joined() -> None:
    packets = [packet(i) for i in range(200)]
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, [AUDIO]) as w:
        for p in packets:
            w.write_packets(0, [p])
    groups = [g for g in LvzReader(io.BytesIO(out.getvalue())).records() if isinstance(g, PacketGroup)]
    assert [p for g in groups for p in g.packets] == packets
    assert 3 <= len(groups) <= 6


def test_packets_without_times_with_reordering_and_empty_ones() -> None:
    packets = [
        Packet(None, None, 0, 0, b""),
        Packet(5, None, 3, 1, b"a"),
        Packet(None, 7, 0, 5, b"bc"),
        Packet(-900, -1000, 10, 1, b"x" * 300),
        Packet(2**60, 0, 2**60, 2**32 - 1, b""),
        Packet(None, None, 1, 0, b"end"),
    ]
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, [AUDIO, replace(AUDIO, kind="subtitle"), replace(AUDIO, kind="data")]) as w:
        w.write_packets(1, packets)
        w.write_packets(2, packets[:1])
    r = LvzReader(io.BytesIO(out.getvalue()))
    found: dict[int, list[Packet]] = {}
    for g in r.records():
        assert isinstance(g, PacketGroup)
        found.setdefault(g.stream, []).extend(g.packets)
    assert found == {1: packets, 2: packets[:1]}
    assert r.verify().packets == (0, 6, 1)


def test_late_packets_of_a_sparse_stream_do_not_wait_for_the_end() -> None:
    subtitle = CopiedStream("subtitle", "subrip", (1, 1000))
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, [subtitle], chunk_bytes=0) as w:
        w.write_packets(0, [Packet(100, 100, 900, 1, b"hello")])
        for i in range(0, 400, 4):
            w.write_clip(clip(i, i % 40 == 0))
    kinds = ["p" if isinstance(x, PacketGroup) else "c" for x in LvzReader(io.BytesIO(out.getvalue())).records()]
    assert kinds.index("p") < 12


def test_a_pipe_in_and_a_pipe_out() -> None:
    pipe = Pipe()
    with LvzWriter(pipe, HEADER, VIDEO) as w:  # type: ignore[arg-type]
        clips = [clip(0, True, size=3000), clip(4, False, size=3000), clip(8, True)]
        for c in clips:
            w.write_clip(c)
    r = LvzReader(pipe)  # type: ignore[arg-type]
    assert r.index is None and r.tail is None and r.header == HEADER
    assert list(r.records()) == clips
    assert r.tail is not None and r.tail.frame_count == 12 and r.index is not None
    with pytest.raises(UsageError):
        list(r.records())


def test_a_file_inside_a_file() -> None:
    data = small_file()
    file = io.BytesIO(b"prefix" + data)
    file.seek(6)
    r = LvzReader(file)
    assert r.verify().frames == 24
    assert r.frame_count == 24 and len(list(clips_only(r.records_from(0.2, 0.3)))) > 0


def test_a_video_without_frames() -> None:
    r = written(VIDEO, [])
    assert list(r.records()) == [] and r.frame_count == 0
    assert r.verify().gops == 0 and list(r.records_from(0, 1)) == []


def test_later_metadata_replace_earlier_ones() -> None:
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, (), METADATA) as w:
        w.write_clip(clip(0, True))
        w.flush()
        w.write_metadata(Metadata({"title": "late"}))
    assert LvzReader(io.BytesIO(out.getvalue())).metadata == Metadata({"title": "late"})
    r = LvzReader(Pipe(out.getvalue()))  # type: ignore[arg-type]
    assert r.metadata == METADATA
    list(r.records())
    assert r.metadata == Metadata({"title": "late"})


def test_checkpoints_and_appending() -> None:
    out = io.BytesIO()
    w = LvzWriter(out, HEADER, VIDEO, [AUDIO], METADATA)
    w.write_clip(clip(0, True))
    w.write_packets(0, [packet(0)])
    w.checkpoint()
    assert LvzReader(io.BytesIO(out.getvalue())).verify().frames == 4
    w.write_clip(clip(4, False))
    w.close()
    assert LvzReader(io.BytesIO(out.getvalue())).verify().frames == 8
    again = LvzWriter.append_to(out)
    again.write_packets(0, [packet(1)])
    again.write_clip(clip(8, True))
    again.close()
    r = LvzReader(io.BytesIO(out.getvalue()))
    assert [c.first_frame for c in clips_only(r.records())] == [0, 4, 8]
    assert r.verify().packets == (2,) and r.verify().overhead_bytes == again.overhead_bytes
    assert [type(e) for e in r.index.entries[1:]] == [GopEntry, PacketsEntry, GopEntry, PacketsEntry]  # type: ignore[union-attr]
    assert [c.first_frame for c in clips_only(r.records_from(0, 0.1))] == [0, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        [clip(0, False)],
        [clip(4, True)],
        [clip(0, True), clip(0, False)],
        [clip(0, True), clip(4, False, pts=[3003, 4004, 5005, 6006])],
        [clip(0, True, pts=[0, 2, 2, 3])],
        [clip(0, True, pts=[])],
        [clip(0, True, 33)],
        [clip(0, True, size=0)],
        [replace(clip(0, True), durations=[1])],
        [replace(clip(0, True), durations=[-1] * 4)],
        [checked(clip(0, True))],
        [clip(0, True, pts=[0, 1, 2, 1 << 61])],
    ],
)
def test_clips_that_break_the_rules_are_refused(wrong: list[Clip]) -> None:
    with pytest.raises(UsageError):
        written(VIDEO, wrong)


@pytest.mark.parametrize(
    "video",
    [
        replace(VIDEO, packing=9),
        replace(VIDEO, width=0),
        replace(VIDEO, time_base=(0, 1)),
        replace(VIDEO, frame_rate=(1, 0)),
        replace(VIDEO, rotation=360),
        replace(VIDEO, primaries=300),
        replace(VIDEO, chroma=411),
        replace(VIDEO, gop_seconds=float("nan")),
        replace(VIDEO, temporal_stride=2, temporal_lead=3),
    ],
)
def test_descriptors_that_break_the_rules_are_refused(video: VideoDescriptor) -> None:
    out = io.BytesIO()
    with pytest.raises(UsageError):
        LvzWriter(out, HEADER, video)
    assert out.getvalue() == b""


def test_what_a_reader_would_refuse_is_not_written() -> None:
    with pytest.raises(LimitError):
        LvzWriter(io.BytesIO(), HEADER, replace(VIDEO, width=20000))
    with pytest.raises(UsageError):
        LvzWriter(io.BytesIO(), HEADER, VIDEO, [AUDIO] * 65)
    w = LvzWriter(io.BytesIO(), HEADER, VIDEO, [AUDIO])
    for p in (Packet(1 << 61, 0, 0, 0, b""), Packet(0, 0, -1, 0, b""), Packet(0, 0, 0, 1 << 32, b"")):
        with pytest.raises(UsageError):
            w.write_packets(0, [p])
    with pytest.raises(UsageError):
        w.write_packets(1, [])
    w.close()
    w.close()
    with pytest.raises(UsageError):
        w.write_clip(clip(0, True))


def test_an_exception_leaves_the_file_unfinished() -> None:
    out = io.BytesIO()
    with pytest.raises(RuntimeError), LvzWriter(out, HEADER, VIDEO) as w:
        w.write_clip(clip(0, True))
        raise RuntimeError
    assert b"TAIL" not in out.getvalue()


def test_checks_of_frames_take_a_four_hundredth_of_the_payload_at_most() -> None:
    """4 bits a frame at least, then as many as fit, for each chunk by itself; frames in display order."""
    for size, bits in ((1, 4), (1599, 4), (1600, 8), (3199, 8), (3200, 16), (6400, 32)):
        item = checked(clip(0, True, 4, size))
        (found,) = clips_only(written(CHECKED, [item]).records())
        assert found.check_bits == bits and item.checks is not None
        assert found.checks == tuple(fold(check, bits) for check in item.checks)
        assert replace(found, checks=None, check_bits=0) == clip(0, True, 4, size)
    assert [fold(0x12345678, bits) for bits in (32, 16, 8, 4)] == [0x12345678, 0x444C, 0x08, 0x8]
    assert fold(fold(0x12345678, 16), 4) == fold(0x12345678, 4)


def test_clips_of_different_lengths_share_a_chunk_and_its_checks() -> None:
    counts = (1, 16, 7, 32, 5)
    firsts = [sum(counts[:i]) for i in range(len(counts))]
    clips = [checked(clip(first, first == 0, count, 50)) for first, count in zip(firsts, counts, strict=True)]
    reader = written(CHECKED, clips)
    found = list(clips_only(reader.records()))
    for a, b in zip(found, clips, strict=True):
        assert a == replace(b, checks=tuple(fold(check, 4) for check in b.checks or ()), check_bits=4)


def test_what_was_read_is_written_again_with_checks_of_no_more_bits() -> None:
    (small,) = clips_only(written(CHECKED, [checked(clip(0, True, 4, 1600))]).records())
    again = list(clips_only(written(CHECKED, [small, checked(clip(4, False, 4, 9000))], chunk_bytes=1 << 20).records()))
    assert again[0] == small and again[1].check_bits == 8


@pytest.mark.parametrize(
    "wrong",
    [
        clip(0, True),
        replace(checked(clip(0, True)), checks=(1, 2, 3)),
        replace(checked(clip(0, True)), checks=(1, 2, 3, 1 << 32)),
        replace(checked(clip(0, True)), check_bits=7),
    ],
)
def test_checks_that_break_the_rules_are_refused(wrong: Clip) -> None:
    with pytest.raises(UsageError, match="check"):
        written(CHECKED, [wrong])


def test_other_packings_need_the_checksum_of_latents() -> None:
    zstd = replace(VIDEO, packing=1)
    for crc in (None, -1, 1 << 32):
        with pytest.raises(UsageError, match="latents_crc"):
            written(zstd, [replace(clip(0, True), latents_crc=crc)])
    (found,) = clips_only(written(zstd, [replace(clip(0, True, 64), latents_crc=7)]).records())
    assert found.latents_crc == 7 and found.n_frames == 64


def test_a_clip_with_more_values_than_a_reader_takes_is_not_written() -> None:
    few = replace(DEFAULT, max_clip_symbols=3 * VIDEO.geometry.max_clip_symbols(1))
    assert (most_frames(VIDEO), most_frames(VIDEO, few), most_frames(replace(VIDEO, packing=1))) == (32, 3, 64)
    assert most_frames(replace(VIDEO, width=7680, height=4320, planes=codec_planes(256, 96, 192, 64))) == 15
    assert most_frames(replace(VIDEO, packing=1, temporal_stride=4, temporal_lead=1), few) == 9
    with pytest.raises(UsageError, match="4 frames in a clip, at most 3"):
        written(VIDEO, [clip(0, True)], limits=few)
    assert len(list(written(VIDEO, [clip(0, True, 3)], limits=few).records())) == 1


def test_the_model_in_the_file() -> None:
    model, base = bytes(range(256)) * 20, bytes(reversed(range(256))) * 20 + bytes(range(200))
    header = replace(HEADER, model_sha256=hashlib.sha256(model).digest())
    for chunk in (model_chunk(model), model_chunk(model, base)):
        out = io.BytesIO()
        with LvzWriter(out, header, VIDEO, [AUDIO], METADATA, model_chunk=chunk) as w:
            w.write_clip(clip(0, True))
        for salvage in (False, True):
            reader = LvzReader(io.BytesIO(out.getvalue()), salvage=salvage)
            assert reader.model_chunk == chunk and len(list(reader.records())) == 1
            assert model_file(chunk, header.model_sha256, base) == model
        assert LvzReader(Pipe(out.getvalue())).model_chunk == chunk  # type: ignore[arg-type]
        again = LvzWriter.append_to(out)
        again.write_clip(clip(4, True))
        again.close()
        assert LvzReader(io.BytesIO(out.getvalue())).verify().frames == 8
        with pytest.raises(LimitError, match="MODL"):
            LvzReader(io.BytesIO(out.getvalue()), replace(DEFAULT, max_model=30))
    assert written(VIDEO, []).model_chunk is None


def test_a_delta_needs_its_base_and_makes_the_model_that_head_names() -> None:
    model, base = bytes(5000), bytes(range(250)) * 20
    chunk, sha256 = model_chunk(model, base), hashlib.sha256(model).digest()
    for missing in (None, base[:-1]):
        with pytest.raises(UnsupportedError, match=chunk.base_sha256.hex()):
            model_file(chunk, sha256, missing)
    with pytest.raises(CorruptError, match="HEAD"):
        model_file(chunk, bytes(32), base)
    with pytest.raises(LimitError, match="5000 bytes"):
        model_file(chunk, sha256, base, replace(DEFAULT, max_model=4999))
    for damaged in (b"", chunk.data[:3], chunk.data[:-1], chunk.data + b"x", b"\x50\x2a\x4d\x18\0\0\0\0", bytes(40)):
        with pytest.raises(CorruptError):
            model_file(replace(chunk, data=damaged), sha256, base)


@pytest.mark.parametrize("chunk", [ModelChunk(0, b"another"), ModelChunk(2, b""), ModelChunk(1, b"", bytes(31))])
def test_a_model_chunk_that_breaks_the_rules_is_refused(chunk: ModelChunk) -> None:
    with pytest.raises(UsageError, match="model"):
        written(VIDEO, [], model_chunk=chunk)
