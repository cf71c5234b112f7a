"""Packing `rans`: whole GOPs through a fake model and real networks, the second decoder, and hostile streams."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rans_reference import RansReader
from safetensors.numpy import load_file
from small_models import SMALL, codec, model, model_file

from lvc.codec.scales import Scales
from lvc.entropy.adaptive import learned
from lvc.entropy.clip import FrameLatents, Geometry, PlaneSpec, check_frames, latents_crc, pack_zstd, unpack_zstd
from lvc.entropy.rans import CompiledTables, GopCoder, Past, Tables, first_pass
from lvc.errors import CorruptError, LvcError
from lvc.models.load import planes_of
from lvc.training.tables import build_tables, integer_row

PLANES = planes_of(SMALL)
SIZES = [(16, 16), (176, 144), (33, 70), (16, 100), (130, 16)]


class FakeScales:
    """Indices by arithmetic on everything that the protocol hands over, so that any slip between both sides shows."""

    def indices1(self, kind: int, quality: int, hyper: np.ndarray, past: Past, skip: np.ndarray) -> tuple[Any, Any]:
        m, height, width = past.latent.shape
        m -= 5 * kind  # fewer channels in predicted frames
        wide = hyper.astype(np.int64).sum(0).repeat(4, 0).repeat(4, 1)[:height, :width]
        hold = wide + past.latent[:m] + 3 * past.skip + 5 * skip + quality + kind + np.arange(m)[:, None, None]
        self.where = skip.reshape(-1) == 0
        hold = hold.reshape(m, -1)[:, self.where]
        return (hold % 64).astype(np.uint8), hold

    def indices2(self, kind: int, hold: Any, first: np.ndarray) -> np.ndarray:
        known = np.abs(first.astype(np.int64)).sum(0).reshape(-1)
        at = np.flatnonzero(self.where)
        return ((hold + known[at] * 7 + kind) % 64).astype(np.uint8)


def tables() -> CompiledTables:
    made = {k.removeprefix("tables."): v.numpy() for k, v in build_tables(codec("sane")).items()}
    return Tables(**made).compile()


TABLES = tables()


class Fit:
    """Wraps a scale model and sets symbols of index 0 to zero, as the encoder does: makes random latents codable."""

    def __init__(self, inner: Any, frame: FrameLatents, past: Past) -> None:
        latent = frame.planes["latent"]
        skip = frame.planes["skip"][0] if frame.kind else np.zeros(latent.shape[1:], np.uint8)
        latent[:, skip == 1] = 0
        index, hold = inner.indices1(frame.kind, frame.quality, frame.planes["hyper"], past, skip)
        latent[len(index) :] = 0
        latent = latent[: len(index)]
        first = first_pass(latent.shape)

        def everywhere(index: np.ndarray) -> np.ndarray:
            out = np.ones(latent.shape, np.uint8)
            out[:, skip == 0] = index
            return out

        latent[first & (everywhere(index) == 0)] = 0
        index = inner.indices2(frame.kind, hold, np.where(first, latent, 0).astype(np.int16))
        latent[~first & (everywhere(index) == 0)] = 0


def random_gop(geometry: Geometry, scales: Any, kinds: list[int], seed: int, spread: float = 3.0) -> list[FrameLatents]:
    rng = np.random.default_rng(seed)
    shapes = {p.name: geometry.plane_shape(p) for p in geometry.planes}
    flat = np.zeros(shapes["skip"], np.uint8)
    zero = Past(np.zeros(shapes["latent"], np.int16), flat[0])
    past, out = zero, []
    for n, kind in enumerate(kinds):
        frame = FrameLatents(kind, int(rng.integers(0, 10001)) if n % 3 else 5000)
        if kind:
            skip = (rng.random(shapes["skip"]) < [0.5, 0.95, 1.0, 0.0][n % 4]).astype(np.uint8)
            frame.planes["skip"] = skip
            frame.planes["copy"] = skip * (rng.random(skip.shape) < 0.7).astype(np.uint8)
            limit = [0, 3, 300, 2048][rng.integers(4)]
            frame.planes["motion"] = rng.integers(-limit, limit + 1, shapes["motion"]).astype(np.int16)
        hyper = rng.integers(-31, 32, shapes["hyper"]).astype(np.int16)
        latent = np.round(rng.laplace(0, spread, shapes["latent"])).astype(np.int16)
        far = rng.random(shapes["latent"]) < 0.01
        latent[far] = rng.integers(-32767, 32768, int(far.sum()))
        if kind:
            rows, cols = hyper.shape[1:]
            alive = np.zeros((4 * rows, 4 * cols), bool)
            alive[: skip.shape[1], : skip.shape[2]] = skip[0] == 0
            hyper[:, ~alive.reshape(rows, 4, cols, 4).any((1, 3))] = 0
        frame.planes["hyper"], frame.planes["latent"] = hyper, latent
        Fit(scales, frame, past if kind else zero)
        past = Past(latent, skip[0]) if kind else zero
        out.append(frame)
    check_frames(out, geometry)
    return out


def same(a: list[FrameLatents], b: list[FrameLatents], geometry: Geometry) -> None:
    assert [(f.kind, f.quality) for f in a] == [(f.kind, f.quality) for f in b]
    for x, y in zip(a, b, strict=True):
        assert {k: (v.dtype, v.shape) for k, v in x.planes.items()} == {
            k: (v.dtype, v.shape) for k, v in y.planes.items()
        }
    check_frames(b, geometry)
    assert latents_crc(a, geometry) == latents_crc(b, geometry)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("real", [False, True], ids=["fake", "real"])
def test_a_gop_comes_back(size: tuple[int, int], real: bool) -> None:
    geometry = Geometry(*size, 16, PLANES)
    scales = Scales(model("wild")) if real else FakeScales()
    frames = random_gop(geometry, scales, [0, 1, 1, 1, 1, 1, 0, 1, 1], seed=sum(size))
    clips = [frames[:4], frames[4:5], frames[5:6], frames[6:]]
    coder = GopCoder(geometry, scales, TABLES)
    payloads = [coder.pack(c) for c in clips]
    coder = GopCoder(geometry, scales, TABLES)
    back = [coder.unpack(p, len(c)) for p, c in zip(payloads, clips, strict=True)]
    same(frames, [f for c in back for f in c], geometry)
    # the other packing holds the same integers
    same(frames, unpack_zstd(pack_zstd(frames, geometry), geometry, len(frames)), geometry)


def test_a_key_frame_forgets_all_before_it() -> None:
    geometry = Geometry(64, 48, 16, PLANES)
    frames = random_gop(geometry, FakeScales(), [0, 1, 1, 0, 1], seed=4)
    coder = GopCoder(geometry, FakeScales(), TABLES)
    coder.pack(frames[:3])
    later = coder.pack(frames[3:])
    assert later == GopCoder(geometry, FakeScales(), TABLES).pack(frames[3:])
    same(frames[3:], GopCoder(geometry, FakeScales(), TABLES).unpack(later, 2), geometry)


@pytest.mark.parametrize("kind", ["wild", "sane"])
@pytest.mark.parametrize("size", [(16, 16), (70, 35), (80, 144)], ids=str)
def test_the_reference_decoder_reads_the_same_integers(kind: str, size: tuple[int, int]) -> None:
    """`tests/rans_reference.py` is written from formats/lvz.md 8.3 and shares no code with lvc."""
    geometry, used = Geometry(*size, 16, PLANES), model(kind)
    kinds = [0, 1, 1, 1, 1] if size[1] < 100 else [0, 1]
    frames = random_gop(geometry, Scales(used), kinds, seed=size[0])
    clips = [frames[:2], frames[2:]] if len(kinds) > 2 else [frames]
    coder = GopCoder(geometry, Scales(used), used.tables)
    reader = RansReader(load_file(model_file(kind)), (geometry.padded_height // 16, geometry.padded_width // 16))
    for clip in clips:
        for frame, read in zip(clip, reader.clip(coder.pack(clip), len(clip)), strict=True):
            assert (read.pop("kind"), read.pop("quality")) == (frame.kind, frame.quality)
            assert set(read) == set(frame.planes)
            for name, plane in frame.planes.items():
                assert np.array_equal(read[name], plane), name


def test_every_table_and_the_escape_are_used_by_these_tests() -> None:
    geometry = Geometry(176, 144, 16, PLANES)
    seen = np.zeros(64, np.int64)
    for scales in (FakeScales(), Scales(model("wild"))):
        flat = np.zeros((9, 11), np.uint8)
        past = Past(np.zeros((32, 9, 11), np.int16), flat)
        for frame in random_gop(geometry, scales, [0], seed=1):
            index, _ = scales.indices1(0, frame.quality, frame.planes["hyper"], past, flat)
            seen += np.bincount(index.reshape(-1), minlength=64)
            assert (np.abs(frame.planes["latent"]) > 255).any()
    assert (seen > 0).all()


def test_a_still_scene_costs_a_few_bytes_a_frame() -> None:
    geometry = Geometry(848, 480, 16, PLANES)
    shapes = {p.name: geometry.plane_shape(p) for p in PLANES}
    ones = np.ones(shapes["skip"], np.uint8)
    still = FrameLatents(1, 5000, {"skip": ones, "copy": ones})
    for name in ("motion", "hyper", "latent"):
        still.planes[name] = np.zeros(shapes[name], np.int16)
    coder = GopCoder(geometry, FakeScales(), TABLES)
    coder.pack([still] * 8)
    assert len(coder.pack([still] * 16)) < 16 + 2 + 40


# --- frame heads ---


def packed(kinds: list[int], size: tuple[int, int] = (40, 30), seed: int = 0) -> tuple[Geometry, bytes]:
    geometry = Geometry(*size, 16, PLANES)
    return geometry, GopCoder(geometry, FakeScales(), TABLES).pack(random_gop(geometry, FakeScales(), kinds, seed))


def test_a_quality_that_stays_is_said_once() -> None:
    geometry = Geometry(16, 16, 16, PLANES)
    frames = random_gop(geometry, FakeScales(), [0, 1, 1], seed=1)
    for f, q in zip(frames, (700, 700, 9999), strict=True):
        f.quality = q
    frames[0].planes["latent"][:] = frames[1].planes["latent"][:] = frames[2].planes["latent"][:] = 0
    data = GopCoder(geometry, FakeScales(), TABLES).pack(frames)
    assert data[:7] == bytes([2, 700 % 256, 700 // 256, 1, 3, 9999 % 256, 9999 // 256])
    assert [f.quality for f in GopCoder(geometry, FakeScales(), TABLES).unpack(data, 3)] == [700, 700, 9999]


@pytest.mark.parametrize(
    "head",
    [b"", b"\0", b"\1", b"\2", b"\2\x10", b"\4\0\0", b"\x82\0\0", b"\2\x11\x27", b"\2\xff\xff", b"\2\0\0"],
    ids=bytes.hex,
)
def test_damaged_heads_are_corrupt(head: bytes) -> None:
    geometry = Geometry(16, 16, 16, PLANES)
    with pytest.raises(CorruptError):
        GopCoder(geometry, FakeScales(), TABLES).unpack(head, 2)


# --- hostile input ---


def unpack(geometry: Geometry, data: bytes, count: int, scales: Any) -> str:
    try:
        frames = GopCoder(geometry, scales, TABLES).unpack(data, count)
    except CorruptError:
        return "corrupt"
    check_frames(frames, geometry)  # whatever came out is in range and masked as it should be
    return "read"


@pytest.mark.parametrize("real", [False, True], ids=["fake", "real"])
def test_flipped_and_cut_streams_are_corrupt_or_other_integers(real: bool) -> None:
    scales = Scales(model("wild")) if real else FakeScales()
    geometry, data = packed([0, 1, 1], (40, 30), seed=6)
    step = 61 if real else 7
    results = [unpack(geometry, data[:n], 3, scales) for n in range(0, len(data), step)]
    results += [unpack(geometry, data[:-n], 3, scales) for n in range(1, 5)]
    for at in range(0, len(data), step):
        for flip in (0x01, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= flip
            results.append(unpack(geometry, bytes(damaged), 3, scales))
    results.append(unpack(geometry, data, 2, scales))
    results.append(unpack(geometry, data, 4, scales))
    assert results.count("corrupt") > 0.7 * len(results)  # the rest: flips within plain bits


def test_random_bytes_end_soon_with_lvcs_errors_only() -> None:
    rng = np.random.default_rng(8)
    geometry = Geometry(100, 60, 16, PLANES)
    start = time.monotonic()
    for n in range(60):
        count = int(rng.integers(1, 6))
        heads = b"".join(bytes([int(rng.integers(2, 4)), 0x88, 0x13]) for _ in range(count)) if n % 4 else b""
        data = heads + rng.bytes(4 * int(rng.integers(0, 300))) + (b"\1\0\0\1" if n % 2 else b"")
        try:
            check_frames(GopCoder(geometry, FakeScales(), TABLES).unpack(data, count), geometry)
        except LvcError:
            pass
    assert time.monotonic() - start < 20


def test_state_after_a_damaged_clip_does_not_reach_the_next_gop() -> None:
    geometry = Geometry(40, 30, 16, PLANES)
    frames = random_gop(geometry, FakeScales(), [0, 1, 1], seed=6)
    data = GopCoder(geometry, FakeScales(), TABLES).pack(frames)
    coder = GopCoder(geometry, FakeScales(), TABLES)
    with pytest.raises(CorruptError):
        coder.unpack(data[:-4] + bytes(4), 3)
    same(frames, coder.unpack(data, 3), geometry)


# --- tables ---


def test_integer_rows_are_valid() -> None:
    made = {k.removeprefix("tables."): v.numpy() for k, v in build_tables(codec("sane")).items()}
    latent, reach, hyper = made["latent"], made["reach"], made["hyper"]
    assert latent.dtype == reach.dtype == hyper.dtype == np.int32
    assert reach.shape == (64,) and hyper.shape == (2, SMALL.hyper, 63)
    assert reach.min() >= 2 and 2 * reach.max() + 2 <= latent.shape[1] and (np.diff(reach) >= 0).all()
    for row, r in zip(latent, reach, strict=True):
        used = row[: 2 * r + 2].astype(np.int64)
        assert used.min() >= 1 and not row[2 * r + 2 :].any()
        assert np.array_equal(used[:-1], used[:-1][::-1])  # symmetric, the escape last
        assert abs(used.sum() - 2**20) < 2**12
    assert hyper.min() >= 1
    assert integer_row(np.array([0.0, 1.0])).tolist() == [1, 2**20]


def test_counts_from_footage_shape_the_tables() -> None:
    net = codec("sane")
    plain_reach = build_tables(net)["tables.reach"].numpy()
    counts = np.zeros(2 * int(plain_reach[20]) + 2)
    counts[plain_reach[20]], counts[plain_reach[20] + 3], counts[-1] = 50_000, 50_000, 1000
    hyper_counts = np.zeros(63)
    hyper_counts[40] = 10**6
    found = build_tables(net, {("latent", 0, 20): counts, ("hyper", 1, 2): hyper_counts})
    made = {k.removeprefix("tables."): v.numpy() for k, v in found.items()}
    plain = build_tables(net)["tables.latent"].numpy()
    r = int(made["reach"][20])
    row = made["latent"][20, : 2 * r + 2]
    assert row[r + 3] == row[r - 3] > 5 * plain[20, r + 3] and row[-1] > plain[20, 2 * r + 1]
    assert np.array_equal(np.delete(made["latent"], 20, 0), np.delete(plain, 20, 0))
    assert made["hyper"][1, 2].argmax() == 40
    Tables(made["latent"], made["reach"], made["hyper"]).compile()


@pytest.mark.parametrize("wrong", ["reach", "low", "negative", "hyper", "zero", "short", "ranks"])
def test_tables_that_are_none_are_refused(wrong: str) -> None:
    made = {k.removeprefix("tables."): v.numpy().astype(np.int64) for k, v in build_tables(codec("sane")).items()}
    if wrong == "reach":
        made["reach"][3] = 256
    elif wrong == "low":
        made["reach"][3] = -1
    elif wrong == "negative":
        made["latent"][5, 1] = -1
    elif wrong == "hyper":
        made["hyper"] = made["hyper"][..., :-1]
    elif wrong == "zero":
        made["latent"][5] = 0
    elif wrong == "short":
        made["latent"] = made["latent"][:63]
    else:
        made["reach"] = made["reach"][:, None]
    with pytest.raises(ValueError):
        Tables(**made).compile()


def test_first_pass_is_a_checkerboard_with_swapped_halves() -> None:
    for m in (2, 5, 32):
        first = first_pass((m, 4, 7))
        assert first[0, 0, 0] and not first[0, 0, 1] and not first[-1, 0, 0]
        assert (first[: m // 2] == first[0]).all() and (first[m // 2 :] == ~first[0]).all()


def test_planes_are_those_of_the_contract() -> None:
    assert [p.name for p in PLANES] == ["skip", "copy", "motion", "hyper", "latent"]
    assert PLANES[0] == PlaneSpec("skip", "uint8", 1, 16, in_key=False)


def test_learned_constants_are_what_the_format_says() -> None:
    """Names, sizes and ranges of section "Learned constants"; every row can say everything."""
    text = (Path(__file__).resolve().parents[2] / "formats" / "lvz.md").read_text(encoding="utf-8")
    known = learned()
    said = {
        name: (int(rows), int(symbols))
        for name, rows, symbols in re.findall(r"^\| `(\w+)` \| (\d+) · (\d+) \|", text, re.M)
    }
    assert said == {k: np.shape(v["rows"] if isinstance(v, dict) else v) for k, v in known.items()}
    for value in known.values():
        rows = np.array(value["rows"] if isinstance(value, dict) else value)
        assert rows.min() >= 1 and rows.sum(1).max() <= 65536
        for name, part in value.items() if isinstance(value, dict) else ():
            assert name == "rows" or np.abs(part).max() < 1 << 12
