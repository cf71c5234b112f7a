"""`fEAT`: vectors in the file, found without reading clips. What is wrong with them is no damage."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lvc.errors import CorruptError, UsageError
from lvc.lvz import Clip, FeatureTrack, Header, LvzReader, LvzWriter, PlaneSpec, VideoDescriptor
from lvc.lvz.features import NUMBERS, PICTURE, SIGNS, SOUND, pack_features, unpack_features

VIDEO = VideoDescriptor(16, 16, (PlaneSpec("z", "int8", 1, 16),), 5, time_base=(1, 10))
TRACK = FeatureTrack(PICTURE, "frame64", bytes(range(8)), NUMBERS, 3, (1, 10), [-5, 5, 17], bytes(range(9)))
HEARD = FeatureTrack(SOUND, "signs", bytes(8), SIGNS, 16, (1, 1000), [-7, 993], bytes(range(4)))
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
    for tracks in ((TRACK,), (HEARD,), (TRACK, HEARD)):
        assert unpack_features(pack_features(tracks)) == tracks
    assert TRACK.id == "frame64:0001020304050607"


@pytest.mark.parametrize(
    "track",
    [
        replace(TRACK, pts=[]),
        replace(TRACK, pts=[0, 0, 1]),
        replace(TRACK, vectors=b"12345678"),
        replace(TRACK, fingerprint=b"short"),
        replace(TRACK, dimensions=0, vectors=b""),
        replace(TRACK, time_base=(0, 1)),
        replace(TRACK, form=2),
        replace(HEARD, dimensions=15),
        replace(HEARD, kind=PICTURE),
    ],
)
def test_what_breaks_the_rules_is_not_written(track: FeatureTrack) -> None:
    with pytest.raises(UsageError):
        pack_features((TRACK, track))
    with pytest.raises(UsageError):
        pack_features(())


@pytest.mark.parametrize("cut", [1, 5, 9, 15, -1])
def test_what_is_cut_is_corrupt(cut: int) -> None:
    with pytest.raises(CorruptError):
        unpack_features(pack_features((TRACK, HEARD))[:cut])
    with pytest.raises(CorruptError):
        unpack_features(pack_features((TRACK, HEARD)) + b"x")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x01\x01", "version 1"),
        (b"\x02\x00", "no track"),
        (b"\x02\x11", "17 is out of range"),
        (b"\x02\x01\x00\x01x" + bytes(8) + b"\x02\x08\x01\x01\x01\x00\x00\x00" + bytes(8), "1 vectors of 8 numbers"),
        (b"\x02\x01\x00\x01x" + bytes(8) + b"\x01\x0f\x01\x01\x01\x00\x00\x00" + bytes(8), "1 vectors of 15 numbers"),
        (b"\x02\x01\x00\x01x" + bytes(8) + b"\x00\x08\x01\x00\x01\x00\x00\x00" + bytes(8), "time base of 0"),
        # 16 million vectors of a byte would be a list of as many times
        (b"\x02\x01\x00\x01x" + bytes(8) + b"\x00\x01\x01\x01\xff\xff\xff\x07" + bytes(20), "do not fit"),
        (b"\x02\x01\x00\x01x" + bytes(8) + b"\x00\x01\x01\x01\x81\x80\x80\x08" + bytes(20), "out of range"),
    ],
)
def test_what_is_declared_is_checked_first(payload: bytes, reason: str) -> None:
    with pytest.raises(CorruptError, match=reason):
        unpack_features(payload)


def test_found_without_reading_clips() -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.bytes_read += len(data)
            return data

    file = Counting(written(TRACK))
    assert LvzReader(file).features == (TRACK,)
    assert file.bytes_read < 2000 < 40 * 3000
    assert LvzReader(io.BytesIO(written(None))).features == ()


def test_records_go_on_where_they_were() -> None:
    reader = LvzReader(io.BytesIO(written(TRACK)))
    records = reader.records()
    first = [next(records) for _ in range(3)]
    assert reader.features == (TRACK,)
    assert len(first) + len(list(records)) == 40


def test_a_broken_payload_is_no_features_and_no_damage() -> None:
    data = written(replace(TRACK, extractor="x" * 7))
    file = io.BytesIO()
    with LvzWriter(file, Header("none"), VIDEO, chunk_bytes=0) as writer:
        writer._features = pack_features((TRACK,))[:-1]
        writer.write_clip(Clip(0, True, [0], [1], 0, b"x"))
    assert LvzReader(io.BytesIO(file.getvalue())).features == ()
    assert LvzReader(io.BytesIO(file.getvalue())).verify().frames == 1
    assert LvzReader(io.BytesIO(data)).verify().frames == 40


def test_a_truncated_file_has_none() -> None:
    assert LvzReader(io.BytesIO(written(TRACK)[:-10])).features == ()


def test_the_second_reader_finds_them_too(tmp_path: Path) -> None:
    path = tmp_path / "a.lvz"
    path.write_bytes(written(TRACK))
    done = subprocess.run([sys.executable, READER, "--json", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (track,) = json.loads(done.stdout)["features"]
    assert (track["extractor"], track["count"], track["first"], track["last"]) == ("frame64", 3, -5, 17)
