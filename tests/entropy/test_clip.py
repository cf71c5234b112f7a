"""Packing `zstd` and the latents' checksum: round trips, masks, escapes, and forged frames."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import zstandard

from lvc.entropy.clip import (
    FrameLatents,
    Geometry,
    PlaneSpec,
    latents_crc,
    pack_zstd,
    unpack_stacked,
    unpack_structured,
    unpack_verified,
    unpack_zstd,
)
from lvc.errors import CorruptError, LimitError, LvcError, UsageError
from lvc.limits import DEFAULT

CODEC = Geometry(
    70,
    35,
    planes=(
        PlaneSpec("skip", "uint8", 1, 16, in_key=False),
        PlaneSpec("motion", "int16", 2, 8, in_key=False),
        PlaneSpec("hyper", "int16", 3, 64),
        PlaneSpec("latent", "int16", 5, 16, masked=True),
    ),
)
FOREIGN = Geometry(64, 40, 8, (PlaneSpec("z", "int8", 4, 8, in_predicted=False),), temporal_stride=4, temporal_lead=1)


def random_clip(geometry: Geometry, kinds: list[int], seed: int = 0, spread: int = 300) -> list[FrameLatents]:
    rng = np.random.default_rng(seed)
    frames = []
    for kind in kinds:
        frame = FrameLatents(kind, int(rng.integers(0, 10001)))
        for spec in geometry.planes:
            if spec.present(kind):
                info = np.iinfo(spec.dtype)
                low, high = max(info.min, -spread), min(info.max, spread)
                if spec.name == "skip":
                    low, high = 0, 1
                plane = rng.integers(low, high, geometry.plane_shape(spec), dtype=spec.dtype, endpoint=True)
                if spec.masked and kind == 1:
                    plane[:, frame.planes["skip"][0] == 1] = 0
                frame.planes[spec.name] = plane
        frames.append(frame)
    return frames


def test_shapes_are_those_of_the_padded_picture() -> None:
    assert (CODEC.padded_width, CODEC.padded_height) == (80, 48)
    assert [CODEC.plane_shape(p) for p in CODEC.planes] == [(1, 3, 5), (2, 6, 10), (3, 1, 2), (5, 3, 5)]
    assert CODEC.symbols_per_frame(0) == 6 + 75
    assert CODEC.symbols_per_frame(1) == 15 + 120 + 6 + 75


def test_temporal_stride_counts_latent_frames() -> None:
    assert [FOREIGN.latent_frames(n) for n in (0, 1, 2, 5, 6, 81)] == [0, 1, 2, 2, 3, 21]
    whole = replace(FOREIGN, temporal_lead=4)
    assert [whole.latent_frames(n) for n in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert CODEC.latent_frames(7) == 7


@pytest.mark.parametrize("kinds", [[0], [1], [0, 1, 1], [1, 0, 1, 1]])
@pytest.mark.parametrize("spread", [3, 127, 32768])
def test_round_trip(kinds: list[int], spread: int) -> None:
    frames = random_clip(CODEC, kinds, spread=spread)
    back = unpack_zstd(pack_zstd(frames, CODEC), CODEC, len(kinds))
    for a, b in zip(frames, back, strict=True):
        assert (a.kind, a.quality) == (b.kind, b.quality)
        assert list(a.planes) == list(b.planes)
        for name, plane in a.planes.items():
            assert plane.dtype == b.planes[name].dtype
            np.testing.assert_array_equal(plane, b.planes[name])
    assert latents_crc(back, CODEC) == latents_crc(frames, CODEC)


def test_foreign_planes_round_trip_with_int8_minimum() -> None:
    frames = random_clip(FOREIGN, [0, 0])
    frames[0].planes["z"][:] = -128
    back = unpack_zstd(pack_zstd(frames, FOREIGN), FOREIGN, 2)
    np.testing.assert_array_equal(back[0].planes["z"], frames[0].planes["z"])


def test_key_frames_come_at_once_as_they_come_one_by_one() -> None:
    geometry = Geometry(64, 40, 8, (PlaneSpec("whole", "int16", 3, 8), PlaneSpec("rest", "int8", 3, 8)))
    frames = [replace(frame, quality=0) for frame in random_clip(geometry, [0] * 4, spread=1000)]
    data = pack_zstd(frames, geometry)
    stacked = unpack_stacked(data, geometry, 4)
    for spec in geometry.planes:
        np.testing.assert_array_equal(stacked[spec.name], [frame.planes[spec.name] for frame in frames])
    frames[2].quality = 1
    with pytest.raises(CorruptError, match="as one of a video"):
        unpack_stacked(pack_zstd(frames, geometry), geometry, 4)
    raw = zstandard.decompress(data)
    for wrong, message in ((raw + b"\0", "1 bytes after its last plane"), (raw[:-1], "inside the escapes")):
        with pytest.raises(CorruptError, match=message):
            unpack_stacked(zstandard.compress(wrong), geometry, 4)


def test_layout_is_the_spec_s() -> None:
    """The structure, headers of all frames, then plane by plane: int8 of all frames, then the escapes of that plane."""
    geometry = Geometry(16, 16, 16, (PlaneSpec("a", "int16", 2, 16), PlaneSpec("b", "uint8", 1, 16)))
    frames = [
        FrameLatents(0, 5000, {"a": np.array([[[1]], [[-300]]], np.int16), "b": np.array([[[255]]], np.uint8)}),
        FrameLatents(1, 7, {"a": np.array([[[128]], [[-127]]], np.int16), "b": np.array([[[3]]], np.uint8)}),
    ]
    raw = zstandard.ZstdDecompressor().decompress(pack_zstd(frames, geometry, structure=2))
    expected = struct.pack("<BBBHBBH", 2, 0, 0, 5000, 1, 0, 7)
    expected += struct.pack("<4b2h", 1, -128, -128, -127, -300, 128) + struct.pack("<2bh", -128, 3, 255)
    assert raw == expected
    assert unpack_structured(zstandard.compress(raw), geometry, 2)[0] == 2
    canonical = struct.pack("<BBH3h", 0, 0, 5000, 1, -300, 255) + struct.pack("<BBH3h", 1, 0, 7, 128, -127, 3)
    assert latents_crc(frames, geometry) == zlib.crc32(canonical)


def test_everything_skipped_costs_next_to_nothing() -> None:
    frame = random_clip(CODEC, [1])[0]
    for plane in frame.planes.values():
        plane[:] = 0
    frame.planes["skip"][:] = 1
    assert len(pack_zstd([frame], CODEC)) < 40


def test_unfit_arrays_are_refused() -> None:
    for change in ("dtype", "shape", "missing", "masked", "skip", "kind"):
        frame = random_clip(CODEC, [1])[0]
        if change == "dtype":
            frame.planes["latent"] = frame.planes["latent"].astype(np.int32)
        elif change == "shape":
            frame.planes["latent"] = frame.planes["latent"][:, :1]
        elif change == "missing":
            del frame.planes["motion"]
        elif change == "masked":
            frame.planes["skip"][:], frame.planes["latent"][:] = 1, 1
        elif change == "skip":
            frame.planes["skip"][0, 0, 0] = 2
        else:
            frame.kind = 2
        with pytest.raises(UsageError):
            pack_zstd([frame], CODEC)


@pytest.mark.parametrize(
    "planes",
    [
        (PlaneSpec("a", "int32", 1, 16),),
        (PlaneSpec("a", "int16", 0, 16),),
        (PlaneSpec("a", "int16", 1, 0),),
        (PlaneSpec("a", "int16", 1, 16), PlaneSpec("a", "int16", 1, 16)),
        (PlaneSpec("a", "int16", 1, 16, masked=True),),
        (PlaneSpec("skip", "uint8", 1, 8, in_key=False), PlaneSpec("a", "int16", 1, 16, masked=True)),
        (PlaneSpec("skip", "int16", 1, 16, in_key=False),),
        (PlaneSpec("a", "int16", 2, 16, scale=(1.0,), zero=(0.0,)),),
    ],
)
def test_senseless_tables_are_refused(planes: tuple[PlaneSpec, ...]) -> None:
    with pytest.raises(UsageError):
        Geometry(32, 32, 16, planes)


def forged(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


SMALL = Geometry(16, 16, 16, (PlaneSpec("a", "int16", 2, 16), PlaneSpec("b", "uint8", 1, 16)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x28\xb5\x2f\xfd",
        forged(b"\0" * (1 << 20)),
        forged(bytes([0, 0, 0, 0, 0, 1, 2])),
        forged(bytes([0, 0, 0, 0, 0, 1, 2, 3, 4])),
        forged(bytes([0, 2, 0, 0, 0, 1, 2, 3])),
        forged(bytes([0, 0, 1, 0, 0, 1, 2, 3])),
        forged(bytes([0, 0, 0, 0x11, 0x27, 1, 2, 3])),
        forged(bytes([0, 0, 0, 0, 0, 0x80, 2, 5, 0, 3])),
        forged(bytes([0, 0, 0, 0, 0, 1, 2, 0x80])),
        forged(bytes([0, 0, 0, 0, 0, 1, 2, 0xFF])),
        forged(bytes([0, 0, 0, 0, 0, 1, 2, 3])) + b"x",
        forged(bytes([0, 0, 0, 0, 0, 1, 2, 3])) * 2,
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes([0, 0, 0, 0, 0, 1, 2, 3])),
        b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
        b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\0\0",
        b"\x28\xb5\x2f\xfd\x40\xa8\x07\0" + b"\x01\0\0",
    ],
)
def test_forged_frames_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError):
        unpack_zstd(data, SMALL, 1)


def test_limits_come_before_the_data() -> None:
    with pytest.raises(LimitError):
        unpack_zstd(b"", CODEC, 65)
    with pytest.raises(LimitError):
        unpack_zstd(b"", CODEC, 2, replace(DEFAULT, max_clip_symbols=100))


def test_checksum_and_key_rule_are_verified() -> None:
    frames = random_clip(CODEC, [1, 1])
    data, crc = pack_zstd(frames, CODEC), latents_crc(frames, CODEC)
    unpack_verified(data, CODEC, 2, crc, key=False)
    with pytest.raises(CorruptError, match="key clip"):
        unpack_verified(data, CODEC, 2, crc, key=True)
    with pytest.raises(CorruptError, match="checksum"):
        unpack_verified(data, CODEC, 2, crc ^ 1, key=False)


def test_any_flipped_byte_gives_an_error_or_other_integers() -> None:
    frames = random_clip(CODEC, [0, 1], spread=200)
    data, crc = pack_zstd(frames, CODEC), latents_crc(frames, CODEC)
    for position in range(len(data)):
        for flip in (1, 0x80):
            damaged = bytearray(data)
            damaged[position] ^= flip
            try:
                unpack_verified(bytes(damaged), CODEC, 2, crc, key=True)
            except LvcError:
                continue
