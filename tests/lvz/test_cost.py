"""Small files that would cost much: refused before time or memory is spent, by both readers."""

from __future__ import annotations

import io
import random
import tracemalloc

import lvz_reader as second
import pytest

from lvc.errors import CorruptError, LimitError
from lvc.limits import DEFAULT
from lvc.lvz import (
    PACKING_RANS,
    Chapter,
    Clip,
    CopiedStream,
    Header,
    LvzReader,
    LvzWriter,
    Metadata,
    Origin,
    Packet,
    PlaneSpec,
    Sample,
    TensorSet,
    VideoDescriptor,
    clips_only,
    codec_planes,
)
from lvc.lvz import chunks as c
from lvc.lvz import fields as f
from lvc.lvz.descriptors import pack_metadata, unpack_metadata
from lvc.lvz.index import unpack_index
from lvc.lvz.tensors import pack_tensors, unpack_tensors

VIDEO = VideoDescriptor(16, 16, (PlaneSpec("z", "int8", 1, 16),), 5, time_base=(1, 25), frame_rate=(25, 1))
SOUND = CopiedStream("audio", "pcm_s16le", (1, 8000))


def written(*clips: Clip, packets: int = 0, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with LvzWriter(out, Header("x"), VIDEO, (SOUND,)) as writer:
        for clip in clips:
            writer.write_clip(clip)
        writer.write_packets(0, [Packet(n, n, 1, 0, data) for n in range(packets)])
    return out.getvalue()


def run(first: int, count: int, key: bool = False) -> Clip:
    return Clip(first, key, list(range(first, first + count)), [1] * count, None, b"\1")


def test_a_static_video_of_tiny_clips_is_split_into_chunks_that_readers_take() -> None:
    clips = [run(32 * n, 32, n == 0) for n in range(2200)]
    data = written(*clips)
    assert data.count(b"CLIP") == 2
    assert LvzReader(io.BytesIO(data)).verify().frames == 32 * 2200
    assert second.read_file(io.BytesIO(data))["counts"]["frames"] == 32 * 2200


@pytest.mark.slow
def test_clip_tables_of_many_frames_take_memory_in_proportion() -> None:
    """32 frames cost 2 bytes of a file: what is held is one chunk's, however long the file is."""
    data = written(*(run(32 * n, 32, n == 0) for n in range(16000)))
    tracemalloc.start()
    try:
        frames = sum(clip.n_frames for clip in clips_only(LvzReader(io.BytesIO(data)).records()))
        assert frames == 32 * 16000 and tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_too_many_frames_in_a_chunk_are_over_a_limit() -> None:
    data = written(run(0, 1, True))
    at = data.index(b"CLIP")
    for count, frames, what in ((2049, 32, "frames in a chunk"), ((1 << 16) + 1, 1, "clips in a chunk")):
        table = f.uvarint(1) * count
        head = f.u8(3) + f.uvarint(0) + f.uvarint(count) + f.ints([frames] * count) + f.ints([0, 0]) + f.uvarint(1)
        hostile = data[:at] + c.pack_chunk(c.CLIP, head + table + b"\1" * count)
        with pytest.raises(LimitError, match=what):
            list(LvzReader(io.BytesIO(hostile)).records())
        with pytest.raises(second.LimitError):
            second.read_file(io.BytesIO(hostile))


@pytest.mark.parametrize(("count", "data"), [(4096, b""), (5000, b"x"), (65, b""), (1, b"")])
def test_packets_that_lvc_writes_are_read_however_small_they_are(count: int, data: bytes) -> None:
    file = written(run(0, 1, True), packets=count, data=data)
    assert LvzReader(io.BytesIO(file)).verify().packets == (count,)
    assert second.read_file(io.BytesIO(file))["counts"]["packets"] == [count]


def hostile_metadata() -> dict[str, bytes]:
    count = (1 << 16) + 1
    return {
        "chapters": f.uvarint(0) + f.uvarint(count) + bytes((0, 0, 1, 1, 0)) * count,
        "tags": f.uvarint(count) + b"".join(f.text(f"{n:x}") + f.text("") for n in range(count)) + f.uvarint(0),
        "tags of chapters": f.uvarint(0) + f.uvarint(1) + bytes((0, 0, 1, 1)) + f.uvarint(count)
        + b"".join(f.text(f"{n:x}") + f.text("") for n in range(count)),
    }  # fmt: skip


@pytest.mark.parametrize("kind", hostile_metadata())
def test_metadata_have_a_limit_for_their_number_too(kind: str) -> None:
    payload = hostile_metadata()[kind]
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="chapters|tags"):
            unpack_metadata(payload, DEFAULT)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(second.LimitError):
        second.read_meta(payload)


def test_as_many_chapters_and_tags_as_films_have_are_read() -> None:
    metadata = Metadata({f"k{n}": "v" for n in range(1000)}, tuple(Chapter(n, n + 1, (1, 1)) for n in range(5000)))
    assert unpack_metadata(pack_metadata(metadata), DEFAULT) == metadata
    assert len(second.read_meta(pack_metadata(metadata))["chapters"]) == 5000


@pytest.mark.slow
def test_tensors_have_a_limit_for_their_number_and_for_that_of_their_tags() -> None:
    plane = PlaneSpec("latent", "int16", 4, 8, in_predicted=False)
    video = VideoDescriptor(64, 64, (plane,), 1, align=1, time_base=(1, 1))
    empty = pack_tensors(TensorSet("float32"))[:-1]
    sample = pack_tensors(TensorSet("float32", samples=(Sample("a", "CHW", 1, 1, 1),)))[len(empty) + 1 :]
    many = f.uvarint((1 << 10) + 1) + b"".join(f.text(f"{n:x}") + f.text("") for n in range((1 << 10) + 1))
    described = {plane: {"channels": 4, "rows": 8, "columns": 8, "in_key": True} for plane in ["latent"]}
    for payload in (
        empty + f.uvarint((1 << 18) + 1) + sample * ((1 << 18) + 1),
        empty + f.uvarint(1 << 10) + (sample[:-1] + many) * (1 << 10),
    ):
        with pytest.raises(LimitError):
            unpack_tensors(payload, video, DEFAULT)
        with pytest.raises(second.LimitError):
            second.read_ltnt(payload, {"packing": 1, "planes": list(described.values())})


def test_entries_of_an_index_are_not_closer_than_chunks() -> None:
    """4 bytes an entry: otherwise the index alone could ask for a hundred times its size."""
    payload = bytes((1, 13)) * 1000
    with pytest.raises(CorruptError, match="less than a chunk"):
        unpack_index(payload, 1 << 20, DEFAULT)
    with pytest.raises(second.CorruptError):
        second.read_index(payload, 1 << 20)
    assert len(unpack_index(bytes((1, 14)) * 1000, 1 << 20, DEFAULT).entries) == 1000


def test_the_container_takes_half_a_percent_at_49_kbit_s() -> None:
    """60 s at 25 frames a second: a key frame every 10 s, mini-GOPs of 16 frames, a check for every frame, and all that
    a file of lvc's codec says of itself."""
    rng = random.Random(1)
    video = VideoDescriptor(
        640, 360, codec_planes(192, 96, 128, 64), PACKING_RANS, time_base=(1, 12800), frame_rate=(25, 1),
        source_pix_fmt="yuv420p", gop_seconds=10.0, checks=True,
    )  # fmt: skip
    origin = Origin(10**8, bytes(32), {"effort": "4", "gop": "10", "quality": "40", "tune": "psnr"})
    gop_bytes, key_bytes = 49_000 // 8 * 10, 15_000
    out = io.BytesIO()
    with LvzWriter(out, Header("default", bytes(32), "lvc 1.0; quality 40, effort 4"), video, origin=origin) as writer:
        for start in range(0, 1500, 250):
            first = start
            for number, count in enumerate([1, *[16] * 15, 9]):
                share = (gop_bytes - key_bytes) * count // 249
                size = key_bytes if count == 1 else share * (2 + number % 3) // 3
                times = [512 * i for i in range(first, first + count)]
                checks = tuple(rng.randrange(1 << 32) for _ in times)
                writer.write_clip(Clip(first, count == 1, times, [512] * count, None, bytes(size), checks))
                first += count
    assert 48_000 < writer.bytes_written * 8 / 60 < 50_000
    assert writer.overhead_bytes / writer.bytes_written <= 0.005
    bits = {clip.check_bits for clip in clips_only(LvzReader(io.BytesIO(out.getvalue())).records())}
    assert 4 in bits and second.read_file(io.BytesIO(out.getvalue()))["counts"]["frames"] == 1500
