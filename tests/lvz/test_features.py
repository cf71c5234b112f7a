"""`fEAT`: vectors in the file, found without reading clips, and passed over by who does not know them."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lvc.errors import CorruptError, UsageError
from lvc.lvz import Clip, FeatureTrack, Header, LvzReader, LvzWriter, PlaneSpec, VideoDescriptor
from lvc.lvz.features import pack_features, unpack_features

VIDEO = VideoDescriptor(16, 16, (PlaneSpec("z", "int8", 1, 16),), 5, time_base=(1, 10))
TRACK = FeatureTrack("frame64", bytes(range(8)), 3, [-5, 5, 17], bytes(range(9)))
READER = Path(__file__).resolve().parents[2] / "formats" / "lvz_reader.py"


def written(track: FeatureTrack | None, clips: int = 40) -> bytes:
    out = io.BytesIO()
    with LvzWriter(out, Header("none"), VIDEO, chunk_bytes=0) as writer:
        if track is not None:
            writer.write_features(track)
        for number in range(clips):
            writer.write_clip(Clip(number, number % 20 == 0, [number], [1], 0, bytes(3000)))
    return out.getvalue()


def test_round_trip() -> None:
    assert unpack_features(pack_features(TRACK)) == TRACK
    assert TRACK.id == "frame64:0001020304050607"


@pytest.mark.parametrize(
    "track",
    [
        replace(TRACK, pts=[]),
        replace(TRACK, pts=[0, 0, 1]),
        replace(TRACK, vectors=b"12345678"),
        replace(TRACK, fingerprint=b"short"),
        replace(TRACK, dimensions=0, vectors=b""),
    ],
)
def test_what_breaks_the_rules_is_not_written(track: FeatureTrack) -> None:
    with pytest.raises(UsageError):
        pack_features(track)


@pytest.mark.parametrize("cut", [1, 5, 9, 15, -1])
def test_what_is_cut_is_corrupt(cut: int) -> None:
    with pytest.raises(CorruptError):
        unpack_features(pack_features(TRACK)[:cut])
    with pytest.raises(CorruptError):
        unpack_features(pack_features(TRACK) + b"x")


def test_a_large_count_allocates_nothing() -> None:
    head = b"\x01x" + bytes(8) + b"\x01" + b"\xff\xff\xff\xff\x7f"
    with pytest.raises(CorruptError, match="do not fit"):
        unpack_features(head + bytes(20))


def test_found_without_reading_clips() -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.bytes_read += len(data)
            return data

    file = Counting(written(TRACK))
    assert LvzReader(file).features == TRACK
    assert file.bytes_read < 2000 < 40 * 3000
    assert LvzReader(io.BytesIO(written(None))).features is None


def test_records_go_on_where_they_were() -> None:
    reader = LvzReader(io.BytesIO(written(TRACK)))
    records = reader.records()
    first = [next(records) for _ in range(3)]
    assert reader.features == TRACK
    assert len(first) + len(list(records)) == 40


def test_a_broken_payload_is_no_features_and_no_damage() -> None:
    data = written(replace(TRACK, extractor="x" * 7))
    file = io.BytesIO()
    with LvzWriter(file, Header("none"), VIDEO, chunk_bytes=0) as writer:
        writer._features = pack_features(TRACK)[:-1]
        writer.write_clip(Clip(0, True, [0], [1], 0, b"x"))
    assert LvzReader(io.BytesIO(file.getvalue())).features is None
    assert LvzReader(io.BytesIO(file.getvalue())).verify().frames == 1
    assert LvzReader(io.BytesIO(data)).verify().frames == 40


def test_a_truncated_file_has_none() -> None:
    assert LvzReader(io.BytesIO(written(TRACK)[:-10])).features is None


def test_the_second_reader_passes_over_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lvz"
    path.write_bytes(written(TRACK))
    done = subprocess.run([sys.executable, READER, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
