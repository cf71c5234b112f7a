"""Damaged, cut, forged and newer files: only lvc's own errors, of the right kind; salvage gives what can be decoded."""

from __future__ import annotations

import io
import random
import time
from dataclasses import replace

import pytest

from lvc.errors import CorruptError, LimitError, LvcError, MediaError, TruncatedError, UnsupportedError
from lvc.limits import DEFAULT
from lvc.lvz import PACKING_ZSTD, Clip, LvzReader, LvzWriter, PacketGroup, Record, Tail
from lvc.lvz import chunks as c
from lvc.lvz import fields as f
from lvc.lvz.clips import ClipGroup, pack_clips, unpack_clips
from lvc.lvz.descriptors import pack_copied, pack_head, pack_video
from lvc.lvz.index import pack_tail
from lvc.lvz.packets import pack_packets
from lvc.lvz.records import PACKING_RANS
from tests.helpers.lvz_build import AUDIO, HEADER, VIDEO, Pipe, clip, packet, small_file

SMALL = small_file(2, 2, size=8, chunk_bytes=0)


def read_all(data: bytes) -> list[Record]:
    return list(LvzReader(io.BytesIO(data)).records())


def outcome(data: bytes) -> object:
    try:
        return read_all(data)
    except LvcError as error:
        return type(error)


@pytest.mark.slow
def test_every_flipped_byte_is_noticed() -> None:
    started = time.process_time()
    for position in range(len(SMALL)):
        for flip in (1, 0x20, 0xFF):
            damaged = bytearray(SMALL)
            damaged[position] ^= flip
            assert isinstance(outcome(bytes(damaged)), type), f"byte {position} ^ {flip:#x} went unnoticed"
    assert time.process_time() - started < 60


@pytest.mark.slow
def test_every_cut_is_noticed() -> None:
    for length in range(len(SMALL)):
        assert outcome(SMALL[:length]) is TruncatedError, f"cut at {length}"
        with pytest.raises(TruncatedError):
            list(LvzReader(Pipe(SMALL[:length])).records())  # type: ignore[arg-type]


@pytest.mark.slow
def test_opening_and_seeking_in_damaged_files() -> None:
    whole = list(LvzReader(io.BytesIO(SMALL)).records_from(0.1, 0.2))
    for position in range(len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[position] ^= 0x41
        try:
            r = LvzReader(io.BytesIO(bytes(damaged)))
            _ = r.index, r.tail, r.metadata
            assert list(r.records_from(0.1, 0.2)) == whole or position < 400
        except LvcError:
            pass


@pytest.mark.slow
def test_salvage_of_every_flip_and_cut() -> None:
    good = {(r.first_frame, r.payload, tuple(r.pts)) for r in read_all(SMALL) if isinstance(r, Clip)}
    for position in range(len(SMALL)):
        flipped = bytearray(SMALL)
        flipped[position] ^= 0x10
        for damaged in (bytes(flipped), SMALL[:position]):
            try:
                r = LvzReader(io.BytesIO(damaged), salvage=True)
                found = [x for x in r.records() if isinstance(x, Clip)]
            except CorruptError:
                continue
            assert r.damage
            assert {(x.first_frame, x.payload, tuple(x.pts)) for x in found} <= good
            assert decodable([x.first_frame for x in found], clips=2)


def decodable(firsts: list[int], clips: int) -> bool:
    """First frames of clips of 4: of each GOP of so many clips nothing but its beginning, in order."""
    numbers = [first // 4 for first in firsts]
    return numbers == sorted(set(numbers)) and all(n % clips == 0 or n - 1 in numbers for n in numbers)


@pytest.mark.slow
def test_random_garbage() -> None:
    rng = random.Random(1)
    for _ in range(300):
        tail = rng.randbytes(rng.randrange(300))
        for data in (tail, c.SIGNATURE + tail, SMALL[:300] + tail, SMALL + tail):
            assert isinstance(outcome(data), type) or not tail


def long_file(gops: int = 6) -> tuple[bytes, list[tuple[int, int]]]:
    """A file of `gops` GOPs of 3 clips and where each GOP's chunks start and end."""
    data = small_file(gops, 3, size=600, chunk_bytes=700)
    index = LvzReader(io.BytesIO(data)).index
    assert index is not None
    starts = [g.offset for g in index.gops]
    return data, list(zip(starts, starts[1:] + [index.offset], strict=True))


def salvaged(data: bytes) -> tuple[list[int], LvzReader]:
    r = LvzReader(io.BytesIO(data), salvage=True)
    return [x.first_frame for x in r.records() if isinstance(x, Clip)], r


def test_a_cut_file_gives_every_clip_before_the_cut() -> None:
    data, _ = long_file()
    ends = clip_ends(data)
    for cut in range(len(data) // 3, len(data), 97):
        frames, r = salvaged(data[:cut])
        assert frames == [4 * i for i, end in enumerate(ends) if end <= cut]
        assert any(d.offset == cut for d in r.damage) and r.lost_frames == []


def clip_ends(data: bytes) -> list[int]:
    """Where each `CLIP` ends."""
    source = c.Source(io.BytesIO(data), DEFAULT)
    source.seek(len(c.SIGNATURE))
    ends = []
    while (chunk := source.read_chunk()) is not None:
        ends += [chunk.end] if chunk.type == c.CLIP else []
    return ends


@pytest.mark.parametrize(
    ("broken", "kept", "lost"),
    [
        ([6], [*range(6), *range(9, 18)], [(24, 36)]),
        ([7], [*range(7), *range(9, 18)], [(28, 36)]),
        ([8], [*range(8), *range(9, 18)], [(32, 36)]),
        ([1, 4], [0, 3, *range(6, 18)], [(4, 12), (16, 24)]),
        ([0], [*range(3, 18)], [(0, 12)]),
        ([2, 3], [0, 1, *range(6, 18)], [(8, 24)]),
        ([16], [*range(16)], [(64, 72)]),
    ],
)
def test_clips_before_the_damage_are_kept_and_frames_after_it_counted(
    broken: list[int], kept: list[int], lost: list[tuple[int, int]]
) -> None:
    data, _ = long_file()
    ends = clip_ends(data)
    damaged = bytearray(data)
    for number in broken:
        damaged[ends[number] - 100] ^= 1
    frames, r = salvaged(bytes(damaged))
    assert frames == [4 * number for number in kept]
    assert r.lost_frames == lost
    named = [f"{stop - start} frames, {start} to {stop - 1}, are lost" for start, stop in lost]
    assert [d.reason for d in r.damage if "lost" in d.reason] == [
        f"{text}, or cannot be decoded without those that are" for text in named
    ]
    assert any("CRC" in d.reason for d in r.damage)
    assert all(isinstance(offset, int) and isinstance(reason, str) for offset, reason in r.damage)


def test_what_a_lost_clip_cost_is_known_without_an_end_too() -> None:
    data, _ = long_file()
    ends = clip_ends(data)
    damaged = bytearray(data[: ends[-1]])
    damaged[ends[-3] - 100] ^= 1
    frames, r = salvaged(bytes(damaged))
    assert frames == list(range(0, 60, 4)) and r.lost_frames == [(60, 72)]


def test_a_tail_tells_of_lost_frames_once_and_costs_no_clip() -> None:
    """A recording that went on after its `TAIL`; then a `TAIL` that belongs to another file."""
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, chunk_bytes=0) as w:
        for number in range(6):
            if number == 3:
                w.checkpoint()
            w.write_clip(clip(4 * number, number % 3 == 0))
    data = bytearray(out.getvalue())
    data[clip_ends(out.getvalue())[1] - 8] ^= 1
    frames, r = salvaged(bytes(data))
    assert frames == [0, 12, 16, 20] and r.lost_frames == [(4, 12)]
    false = c.pack_chunk(c.TAIL, pack_tail(Tail(0, 1000, 9, 0, 0, bytes(32))))
    at = clip_ends(out.getvalue())[2]
    frames, r = salvaged(out.getvalue()[:at] + false + out.getvalue()[at:])
    assert frames == [0, 4, 8, 12, 16, 20]


def test_one_lost_frame_is_named_as_one() -> None:
    out = io.BytesIO()
    with LvzWriter(out, HEADER, VIDEO, chunk_bytes=0) as w:
        for number in range(3):
            w.write_clip(clip(number, number % 2 == 0, 1))
    data = bytearray(out.getvalue())
    data[clip_ends(bytes(data))[1] - 8] ^= 1
    frames, r = salvaged(bytes(data))
    assert frames == [0, 2] and any(d.reason.startswith("1 frame, 1, is lost") for d in r.damage)


def test_inserted_and_removed_bytes_and_repeated_gops() -> None:
    data, spans = long_file()
    a, b = spans[3]
    assert salvaged(data[:a] + b"CLIPjunk" * 50 + data[a:])[0] == list(range(0, 72, 4))
    assert salvaged(data[: a + 40] + data[a + 41 :])[0] == [*range(0, 36, 4), *range(48, 72, 4)]
    frames, r = salvaged(data[:b] + data[a:])
    assert frames == list(range(0, 72, 4)) and any("repeat" in d.reason for d in r.damage)


def test_salvage_of_a_pipe_and_without_head() -> None:
    data, _ = long_file(2)
    r = LvzReader(Pipe(data[: len(data) - 50]), salvage=True)  # type: ignore[arg-type]
    assert sum(isinstance(x, Clip) for x in r.records()) == 6
    with pytest.raises(CorruptError, match="lost"):
        LvzReader(io.BytesIO(data.replace(b"HEAD", b"HEAX")), salvage=True)
    wrong_signature = b"\x89LVZ\n\x1a\n" + data[8:]
    frames, r = salvaged(wrong_signature)
    assert len(frames) == 6 and "signature" in r.damage[0].reason


def test_packets_without_their_stream_are_left_out() -> None:
    data, _ = long_file(2)
    frames, r = salvaged(data.replace(b"CSTR", b"CSTX"))
    assert len(frames) == 6 and r.copied == () and any("description is lost" in d.reason for d in r.damage)


@pytest.mark.slow
def test_salvage_of_hostile_input_ends_soon() -> None:
    head = small_file(0, 0, audio=False)
    head = head[: head.index(b"INDX")]
    started = time.process_time()
    lies = b"CLIP\x00\x00\x08\x00" * (1 << 17)
    _, r = salvaged(head + lies)
    assert "too many" in r.damage[-2].reason or r.damage
    tiny = c.pack_chunk(b"abCd", b"") + b"\xff"
    _, r = salvaged(head + (c.pack_chunk(c.META, b"\0\0") + tiny) * 20000)
    assert len(r.damage) <= 1001
    assert time.process_time() - started < 20


def assemble(*chunks: tuple[bytes, bytes], end: bool = False) -> bytes:
    out = c.SIGNATURE + b"".join(c.pack_chunk(t, p) for t, p in chunks)
    return out


HEAD_CHUNK, VIDEO_CHUNK = (c.HEAD, pack_head(HEADER)), (c.VSTR, pack_video(VIDEO))


def clip_chunk(item: Clip) -> tuple[bytes, bytes]:
    return c.CLIP, pack_clips(ClipGroup([item], False), VIDEO)


SOUND_CHUNKS = [HEAD_CHUNK, VIDEO_CHUNK, (c.CSTR, pack_copied(0, AUDIO))]


def one_packet(
    marks: int = 3, flags: int = 1, duration: int = 1024, pts: int = 0, size: int = 4
) -> tuple[bytes, bytes]:
    """A group of one packet whose fields may break the rules."""
    times = f.ints([pts] * (marks & 1)) + f.ints([]) + f.ints([0] * (marks >> 1 & 1))
    head = f.uvarint(0) + f.uvarint(1) + f.ints([marks]) + f.ints([flags]) + f.ints([duration])
    return c.PKTS, head + times + f.ints([size]) + b"data"


def one_clip(differences: list[int], durations: list[int] | None = None, size: int = 4) -> tuple[bytes, bytes]:
    """A key clip whose fields may break the rules."""
    head = f.u8(1 if durations is None else 9) + f.uvarint(0) + f.uvarint(1) + f.ints([len(differences)])
    lengths = f.uvarint(1001) if durations is None else f.ints(durations)
    return c.CLIP, head + f.ints(differences) + lengths + f.uvarint(size) + b"data"[:size]


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ([*SOUND_CHUNKS, one_packet()], TruncatedError),  # whole, but for the end of the file
        ([*SOUND_CHUNKS, one_packet(marks=4)], UnsupportedError),
        ([*SOUND_CHUNKS, one_packet(flags=-1)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(flags=1 << 32)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(duration=-1)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(duration=1 << 61)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(pts=1 << 61)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(size=-1)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(size=5)], CorruptError),
        ([*SOUND_CHUNKS, one_packet(size=DEFAULT.max_packet + 1)], LimitError),
        ([HEAD_CHUNK, VIDEO_CHUNK, one_clip([0, 0, 0, 0])], TruncatedError),
        ([HEAD_CHUNK, VIDEO_CHUNK, one_clip([0, -1001, 0, 0])], CorruptError),  # two frames at one time
        ([HEAD_CHUNK, VIDEO_CHUNK, one_clip([1 << 61] * 2)], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, one_clip([0, 0], [1001, -1])], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, one_clip([0, 0], size=0)], CorruptError),
        ([(c.HEAD, pack_head(replace(HEADER, version=2)))], UnsupportedError),
        ([(c.HEAD, b"\x02\x00 entirely different")], UnsupportedError),
        ([(c.HEAD, pack_head(replace(HEADER, required_features=2)))], UnsupportedError),
        ([HEAD_CHUNK, (b"NEWC", b"")], UnsupportedError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (b"NEWC", b"")], UnsupportedError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (b"neWc", b"")], TruncatedError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (b"newC", b"")], UnsupportedError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.CLIP, b"\x40" + b"\0" * 20)], UnsupportedError),
        ([HEAD_CHUNK, (c.VSTR, b"\x09" + pack_video(VIDEO)[1:])], UnsupportedError),
        ([VIDEO_CHUNK], CorruptError),
        ([HEAD_CHUNK, clip_chunk(clip(0, True))], CorruptError),
        ([HEAD_CHUNK, HEAD_CHUNK], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, VIDEO_CHUNK], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.CLIP, b"\0" * 20)], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, clip_chunk(clip(0, False))], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, clip_chunk(clip(4, True))], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, clip_chunk(clip(0, True)), clip_chunk(clip(0, True))], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.PKTS, pack_packets(PacketGroup(0, [packet(1)])))], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.INDX, b""), (c.INDX, b"")], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.TAIL, b"")], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.INDX, b""), (c.TAIL, bytes(72))], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, HEAD_CHUNK], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.META, b"\x02\x01a\x00\x01a\x00\x00")], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.META, b"\x00\x00\x00")], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.CLIP, b"\x01\x00" + b"\xff" * 8 + b"\x7f\x01" + b"\0" * 30)], CorruptError),
        ([HEAD_CHUNK, VIDEO_CHUNK, (c.CLIP, b"\x01\x00\x01\x42\x00" + b"\0" * 30)], LimitError),
    ],
)
def test_the_kind_of_error(chunks: list[tuple[bytes, bytes]], error: type[LvcError]) -> None:
    with pytest.raises(error) as caught:
        read_all(assemble(*chunks))
    assert type(caught.value) is error


def test_unknown_ancillary_chunks_are_skipped_anywhere() -> None:
    out = io.BytesIO()
    w = LvzWriter(out, HEADER, VIDEO)
    w._emit(c.pack_chunk(b"neWc", b"?"))
    w.write_clip(clip(0, True))
    w.flush()
    w._emit(c.pack_chunk(b"neWc", b"?" * 100))
    w.write_clip(clip(4, False))
    w.close()
    r = LvzReader(io.BytesIO(out.getvalue()))
    assert r.verify().frames == 8 and r.index is not None
    assert len(list(r.records_from(0, 1))) == 2
    assert salvaged(out.getvalue())[0] == [0, 4]


def test_limits_are_checked_before_anything_is_read() -> None:
    for limits in (
        replace(DEFAULT, max_side=40),
        replace(DEFAULT, max_pixels=100),
        replace(DEFAULT, max_rans_frames=3),
        replace(DEFAULT, max_clip_symbols=100),
        replace(DEFAULT, max_index_entries=1),
        replace(DEFAULT, max_metadata=4),
        replace(DEFAULT, max_packet=4),
        replace(DEFAULT, max_streams=0),
        replace(DEFAULT, max_chunk=60),
    ):
        with pytest.raises(LimitError):
            list(LvzReader(io.BytesIO(SMALL), limits).records())


def test_huge_lengths_are_refused_without_reading() -> None:
    start = assemble(HEAD_CHUNK, VIDEO_CHUNK)
    for length in (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff" + b"\xff" * 7 + b"\x7f"):
        with pytest.raises(LimitError):
            read_all(start + c.CLIP + length)
    with pytest.raises(CorruptError, match="without need"):
        read_all(start + c.CLIP + b"\xff\xff\xff\xff\x05" + b"\0" * 20)
    with pytest.raises(TruncatedError):
        read_all(start + c.CLIP + b"\x00\x00\x00\x08")


def test_a_transfer_in_text_mode_is_named() -> None:
    with pytest.raises(CorruptError, match="text mode"):
        read_all(SMALL.replace(b"\r\n", b"\n"))
    with pytest.raises(CorruptError, match=r"not an \.lvz"):
        read_all(b"neither this nor that")
    with pytest.raises(MediaError, match="lvc encode"):
        read_all(b"\x00\x00\x00\x18ftypmp42")


def test_flipped_bits_in_a_large_payload_do_not_crash_salvage() -> None:
    rng = random.Random(3)
    data, _ = long_file(4)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 20)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            frames, _ = salvaged(bytes(damaged))
        except LvcError:
            continue
        assert decodable(frames, clips=3)


def test_the_layout_before_0_1_0_is_no_damage() -> None:
    """Four frames in clips of three, without times of their own; packed latents were written so."""
    table = (f.uvarint(5) + f.u32(9)) * 2
    early = f.u8(3) + f.uvarint(0) + f.uvarint(4) + f.uvarint(3) + f.ints([0] * 4) + f.uvarint(1) + table + bytes(10)
    video = replace(VIDEO, packing=PACKING_ZSTD)
    with pytest.raises(UnsupportedError, match=r"before 0\.1\.0"):
        unpack_clips(early, video, DEFAULT)
    for broken in (early[:-1], early + b"x", early[:3] + b"\x09" + early[4:]):
        with pytest.raises(CorruptError):
            unpack_clips(broken, video, DEFAULT)
    with pytest.raises(CorruptError):
        unpack_clips(early, replace(VIDEO, packing=PACKING_RANS), DEFAULT)
