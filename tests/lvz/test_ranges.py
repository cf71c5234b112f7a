"""Reading a part touches only that part."""

from __future__ import annotations

import io

import pytest

from lvc.errors import CorruptError, TruncatedError
from lvc.lvz import Clip, LvzReader, LvzWriter, PacketGroup, Record, clips_only
from lvc.lvz import chunks as c
from lvc.lvz.index import pack_index, pack_tail, unpack_index
from lvc.lvz.records import GopEntry, Tail
from tests.helpers.lvz_build import AUDIO, CHECKED, HEADER, VIDEO, CountingFile, Pipe, small_file

DATA = small_file(20, 3, size=5000)
GOP_SECONDS = 12 * 1001 / 30000


def first_frames(records: list[Record]) -> list[int]:
    return [r.first_frame for r in clips_only(records)]


def times(records: list[Record]) -> list[int]:
    return [p.pts or 0 for r in records if isinstance(r, PacketGroup) for p in r.packets]


def test_header_and_index_do_not_read_the_file() -> None:
    file = CountingFile(DATA)
    r = LvzReader(file)
    assert r.header == HEADER and r.video == CHECKED
    assert file.bytes_read < 600
    assert r.index is not None and len(r.index.gops) == 20 and r.frame_count == 240
    assert file.bytes_read < 1500


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (0, 0.1, [0, 4, 8]),
        (0.41, 0.79, [12, 16, 20]),
        (0.39, 0.41, [0, 4, 8, 12, 16, 20]),
        (7.7, None, [228, 232, 236]),
        (7.7, 100, [228, 232, 236]),
        (100, None, []),
        (-5, 0, []),
        (-5, 0.01, [0, 4, 8]),
        (0.5, 0.5, []),
        (1, 0.5, []),
    ],
)
def test_only_the_needed_gops(start: float, end: float | None, frames: list[int]) -> None:
    file = CountingFile(DATA)
    r = LvzReader(file)
    assert r.index is not None
    before = file.bytes_read
    records = list(r.records_from(start, end))
    assert first_frames(records) == frames
    assert file.bytes_read - before < 6000 * max(1, len(frames)) + 1500 * 3
    scanned = list(LvzReader(Pipe(DATA)).records_from(start, end))  # type: ignore[arg-type]
    assert first_frames(scanned) == first_frames(records)


@pytest.mark.parametrize("start", [0, 1.9, 4.1])
def test_times_from_the_first_frame(start: float) -> None:
    """Which may be known at once, or when it has been read."""
    late = io.BytesIO()
    with LvzWriter(late, HEADER, VIDEO) as writer:
        for number in range(12):
            pts = 90_000 + 15_015 * number  # half a second each
            writer.write_clip(Clip(number, number % 2 == 0, [pts], [15_015], None, bytes(100)))
    data = late.getvalue()
    wanted = [n for n in range(12) if n // 2 == int(start)]
    for file in (io.BytesIO(data), Pipe(data)):
        reader = LvzReader(file)  # type: ignore[arg-type]
        assert first_frames(list(reader.records_from(start, start + 0.05, from_first=True))) == wanted
        own = 90_000 * float(VIDEO.seconds_per_tick)
        again = LvzReader(io.BytesIO(data)).records_from(own + start, own + start + 0.05)
        assert first_frames(list(again)) == wanted


def test_packets_of_the_range_come_with_it() -> None:
    records = list(LvzReader(io.BytesIO(DATA)).records_from(3, 4))
    ticks = times(records)
    assert min(ticks) <= 3 * 48000 and max(ticks) >= 4 * 48000 - 1024
    assert max(ticks) - min(ticks) < 4 * 48000, "about the range, give or take a group"
    assert len(set(ticks)) == len(ticks) and AUDIO.sample_rate == 48000


def test_the_whole_range_is_the_whole_file() -> None:
    r = LvzReader(io.BytesIO(DATA))
    assert list(r.records_from()) == list(r.records())


def test_two_readings_at_a_time_do_not_disturb_each_other() -> None:
    r = LvzReader(io.BytesIO(DATA))
    both = list(zip(r.records(), r.records_from(), strict=True))
    assert all(a == b for a, b in both)


def test_a_lost_index_means_scanning() -> None:
    cut = DATA[: DATA.rindex(b"INDX")]
    r = LvzReader(io.BytesIO(cut))
    assert r.index is None and r.frame_count is None
    found = []
    with pytest.raises(TruncatedError):
        for record in r.records_from(0.41, 0.79):
            found.append(record)
    assert first_frames(found) == [12, 16, 20]


def with_index(entries: list[object]) -> bytes:
    """The file with another index, and a `TAIL` that fits it."""
    at = DATA.rindex(b"INDX")
    body = DATA[:at] + c.pack_chunk(c.INDX, pack_index(entries))  # type: ignore[arg-type]
    return body + c.pack_chunk(c.TAIL, pack_tail(Tail(at, 240, 60, 0, 240 * 1001, bytes(32))))


def test_a_lying_index_is_found_out() -> None:
    entries = list(LvzReader(io.BytesIO(DATA)).index.entries)  # type: ignore[union-attr]
    gop = next(i for i, e in enumerate(entries) if isinstance(e, GopEntry) and e.first_frame == 12)
    e = entries[gop]
    assert isinstance(e, GopEntry)
    lies: list[list[object]] = [
        [*entries[:gop], *entries[gop + 1 :]],
        [*entries[:gop], GopEntry(e.offset, e.first_frame + 1, e.start_pts), *entries[gop + 1 :]],
        [*entries[:gop], GopEntry(e.offset, e.first_frame, e.start_pts - 1), *entries[gop + 1 :]],
        [*entries[:gop], GopEntry(e.offset + 1, e.first_frame, e.start_pts), *entries[gop + 1 :]],
    ]
    for lie in lies:
        r = LvzReader(io.BytesIO(with_index(lie)))
        assert r.index is not None
        with pytest.raises(CorruptError):
            list(r.records_from(0.2, 0.9))
        with pytest.raises(CorruptError):
            r.verify()


def test_offsets_must_strictly_increase() -> None:
    from lvc.limits import DEFAULT

    for payload, own in ((b"\0\0\0\0", 99), (b"\0\x14\0\0\0\0\x01\0", 99), (b"\0\x63\0\0", 99)):
        with pytest.raises(CorruptError):
            unpack_index(payload, own, DEFAULT)
