"""Frames to clips and back: keys, cuts, sizes, packings, errors; and the same integers whoever reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact_probe import crcs, scale_digest
from small_models import frame, model, model_file, video

import lvc.codec.video as codec_video
from lvc.codec import EncodedClip, EncodeSettings, decode, encode
from lvc.codec.control import LARGEST_RAISE, Constant
from lvc.codec.frames import FrameEncoder
from lvc.codec.video import pad_planes
from lvc.entropy.clip import Geometry, PlaneSpec
from lvc.errors import CorruptError, LvcError, UnsupportedError, UsageError
from lvc.lvz import VideoDescriptor
from lvc.media.types import Frame
from lvc.models import Model

PROBE = Path(__file__).resolve().parent.parent / "exact_probe.py"


def descriptor(height: int, width: int, used: Model, packing: str = "rans") -> VideoDescriptor:
    shape = vars(video(height, width))
    return VideoDescriptor(**shape, planes=used.planes, packing={"zstd": 1, "rans": 5}[packing], gop_seconds=10.0)


def clips_of(frames: list[Frame], used: Model, **settings: Any) -> list[EncodedClip]:
    height, width = frames[0].y.shape
    return list(encode(iter(frames), video(height, width), used, EncodeSettings(**settings)))


def pictures(clips: list[EncodedClip], height: int, width: int, used: Model, packing: str = "rans") -> list[Frame]:
    return list(decode(iter(clips), descriptor(height, width, used, packing), used))


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(
        (x.pts, x.duration) == (y.pts, y.duration)
        and all(np.array_equal(p, q) for p, q in ((x.y, y.y), (x.u, y.u), (x.v, y.v)))
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture
def recons(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """What encoders hold after every frame."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    original = FrameEncoder.encode

    def spy(self: FrameEncoder, *arguments: Any) -> Any:
        out = original(self, *arguments)
        assert self.recon is not None
        seen.append(self.recon)
        return out

    monkeypatch.setattr(FrameEncoder, "encode", spy)
    yield seen


@pytest.mark.parametrize("size", [(143, 175), (16, 16), (1, 1), (17, 130), (64, 48)], ids=str)
@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_every_size_and_packing(size: tuple[int, int], packing: str, recons: list[Any]) -> None:
    used = model()
    frames = [frame(3 * n, *size, shift=n / 8) for n in range(5)]
    clips = clips_of(frames, used, packing=packing, clip_frames=2)
    assert [len(c.pts) for c in clips] == [2, 2, 1] and clips[0].key
    shown = pictures(clips, *size, used, packing)
    assert [(f.pts, f.duration) for f in shown] == [(3 * n, 1) for n in range(5)]
    half = (-(-size[0] // 2), -(-size[1] // 2))
    for got, (y, uv) in zip(shown, recons, strict=True):
        assert got.y.shape == size and got.u.shape == got.v.shape == half
        assert np.array_equal(got.y, y[: size[0], : size[1]])
        assert np.array_equal(np.stack([got.u, got.v]), uv[:, : half[0], : half[1]])


def test_packings_and_groupings_hold_the_same_integers(recons: list[Any]) -> None:
    used, frames = model(), [frame(n, 48, 80, shift=n) for n in range(12)]
    shown = []
    for packing, size in (("rans", 12), ("rans", 5), ("rans", 1), ("zstd", 12), ("zstd", 7)):
        clips = clips_of(frames, used, packing=packing, clip_frames=size)
        assert [c.key for c in clips] == [True] + [False] * (len(clips) - 1)
        shown.append(pictures(clips, 48, 80, used, packing))
    assert all(same(shown[0], other) for other in shown[1:])
    by_packing = [[c.latents_crc for c in clips_of(frames, used, packing=p, clip_frames=4)] for p in ("rans", "zstd")]
    assert by_packing[0] == by_packing[1]


def test_one_frame_and_none() -> None:
    used = model()
    (clip,) = clips_of([frame(7, 40, 40)], used)
    assert clip.key and clip.pts == [7]
    assert len(pictures([clip], 40, 40, used)) == 1
    assert list(encode(iter([]), video(40, 40), used, EncodeSettings())) == []
    assert pictures([], 40, 40, used) == []


def test_scene_cut_is_a_key_frame() -> None:
    used = model()
    frames = [frame(n, 96, 96, shift=n / 4, seed=n // 6) for n in range(12)]
    clips = clips_of(frames, used, clip_frames=4)
    assert [(c.key, c.pts[0]) for c in clips] == [(True, 0), (False, 4), (True, 6), (False, 10)]
    # every GOP can be decoded without the one before
    assert same(pictures(clips[2:], 96, 96, used), pictures(clips, 96, 96, used)[6:])


def test_a_still_or_moving_scene_has_no_cuts() -> None:
    used = model()
    for speed in (0.0, 1.0, 3.0):
        clips = clips_of([frame(n, 96, 96, shift=n * speed) for n in range(10)], used)
        assert [c.key for c in clips] == [True]


@pytest.mark.parametrize(("gop", "expected"), [(0.2, [0, 5, 10]), (0.01, list(range(12))), (1.0, [0])])
def test_key_frames_come_at_least_every_gop(gop: float, expected: list[int]) -> None:
    used = model()
    clips = clips_of([frame(n, 32, 32, shift=n / 8) for n in range(12)], used, gop=gop, clip_frames=3)
    assert [c.pts[0] for c in clips if c.key] == expected
    assert all(len(c.pts) <= 3 for c in clips)


@pytest.mark.parametrize("effort", [0, 4])
def test_groups_side_by_side_give_the_same_clips(effort: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four groups on three threads, with next to no room for what waits, against one after the other."""
    used, frames = model(), [frame(n, 48, 64, shift=n / 2) for n in range(22)]
    one = clips_of(frames, used, gop=0.24, clip_frames=4, threads=1, effort=effort)
    running, most, original = 0, 0, FrameEncoder.encode

    def spy(self: FrameEncoder, *arguments: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            time.sleep(0.01)
            return original(self, *arguments)
        finally:
            running -= 1

    monkeypatch.setattr(FrameEncoder, "encode", spy)
    for room in (2, 600):
        monkeypatch.setattr(codec_video, "WAITING", room)
        assert clips_of(frames, used, gop=0.24, clip_frames=4, threads=3, effort=effort) == one
    assert most > 1 and sum(c.key for c in one) == 4


def test_a_group_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, original = 0, FrameEncoder.encode

    def failing(self: FrameEncoder, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise CorruptError("here")
        return original(self, *arguments)

    monkeypatch.setattr(FrameEncoder, "encode", failing)
    before = threading.active_count()
    with pytest.raises(CorruptError, match="here"):
        clips_of([frame(n, 16, 16, shift=n / 8) for n in range(40)], model(), gop=0.2, threads=3)
    assert threading.active_count() == before


def test_gop_counts_time_and_not_frames() -> None:
    used = model()
    frames = [replace(frame(0, 32, 32, shift=n / 8), pts=p) for n, p in enumerate([100, 101, 150, 151, 152, 175])]
    assert [c.pts[0] for c in clips_of(frames, used, gop=1.0) if c.key] == [100, 150, 175]


def test_an_unchanged_scene_costs_next_to_nothing() -> None:
    used, still = model(), frame(0, 144, 176)
    clips = clips_of([replace(still, pts=n) for n in range(33)], used, clip_frames=1)
    sizes = [len(c.payload) for c in clips]
    assert sum(c.key for c in clips) == 1
    # untrained, and the level changes from frame to frame: a few blocks are filtered again and again
    assert sum(sizes[10:]) / len(sizes[10:]) < 0.05 * sizes[0]
    shown = pictures(clips, 144, 176, used)
    assert max(np.abs(f.y.astype(int) - shown[10].y).mean() for f in shown[10:]) < 0.2


def test_key_frames_know_how_long_they_last() -> None:
    still, other = frame(0, 96, 96), frame(7, 96, 96)
    noise = np.random.default_rng(0)

    def noisy() -> Frame:
        return replace(still, y=noise.integers(0, 256, still.y.shape, dtype=np.uint8))

    scenes = [still] * 7 + [noisy() for _ in range(3)] + [other] * 2
    found = list(codec_video._search([replace(f, pts=n) for n, f in enumerate(scenes)], 96, 96, 1.0, 1e9))
    assert [item.time.pts for item in found] == list(range(12))
    keys = {item.time.pts: item.raised for item in found if item.key}
    assert {0, 7, 10} <= set(keys) and not any(item.raised for item in found if not item.key)
    assert keys[0] == keys[10] == LARGEST_RAISE and keys[7] < 0.1


def test_quality_and_settings_are_checked() -> None:
    for wrong in ({"quality": 101}, {"quality": -1}, {"gop": 0}, {"clip_frames": 0}, {"clip_frames": 65}):
        with pytest.raises(UsageError):
            EncodeSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        EncodeSettings(packing="zip")
    low, high = Constant(EncodeSettings(quality=0)), Constant(EncodeSettings(quality=100))
    assert all(0 <= s.code(n) <= 10000 for s in (low, high) for n in (0.0, 3.2))
    assert low.code(1.0) > low.code(0.0) and high.code(0.0) > low.code(0.0)


def test_effort_may_change_from_frame_to_frame() -> None:
    frames, asked = [frame(n, 48, 64, shift=3 * n) for n in range(6)], iter([9, 9, 0, 0, 9, 0])
    used = model("sane")
    slow, fast, mixed = (
        clips_of(frames, used, clip_frames=1, gop=0.1, **how)
        for how in ({"effort": 9}, {"effort": 0}, {"pace": lambda: next(asked)})
    )
    keys = [number for number, clip in enumerate(slow) if clip.key]
    assert keys == [0, 3] and [c.key for c in mixed] == [c.key for c in slow]
    crcs = [[clip.latents_crc for clip in clips] for clips in (slow, fast, mixed)]
    assert crcs[0][0] != crcs[1][0]  # what is searched for is found
    assert crcs[2][:2] == crcs[0][:2] and crcs[2][2] != crcs[0][2]
    assert crcs[2][3] == crcs[1][3] and crcs[2][4] not in (crcs[0][4], crcs[1][4])  # a key frame starts afresh
    shown = pictures(mixed, 48, 64, used)
    assert len(shown) == len(frames)


@pytest.mark.parametrize("threads", [1, 2])
def test_frames_are_taken_as_they_are_needed(threads: int) -> None:
    """Constant memory: the encoder does not read the video to its end first."""
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for n in range(3000):
            taken += 1
            yield frame(n, 16, 16)

    stream = encode(source(), video(16, 16), model(), EncodeSettings(clip_frames=2, threads=threads))
    next(stream)
    assert taken < (60 if threads == 1 else 750)
    stream.close()


def test_an_error_of_the_source_reaches_the_caller() -> None:
    def source() -> Iterator[Frame]:
        yield frame(0, 16, 16)
        raise CorruptError("input")

    with pytest.raises(CorruptError, match="input"):
        list(encode(source(), video(16, 16), model(), EncodeSettings()))


def test_padding_repeats_the_last_row_and_column() -> None:
    f = frame(0, 19, 33)
    y, uv = pad_planes(f)
    assert y.shape == (32, 48) and uv.shape == (2, 16, 24)
    assert np.array_equal(y[:19, :33], f.y) and (y[19:, :33] == f.y[-1]).all() and (y[:, 33:] == y[:, 32:33]).all()
    assert np.array_equal(uv[0, :10, :17], f.u) and (uv[1, :10, 17:] == f.v[:, -1:]).all()


# --- what a file may do to the decoder ---


def five(packing: str = "rans") -> tuple[Model, list[EncodedClip]]:
    used = model()
    return used, clips_of([frame(n, 40, 40, shift=n) for n in range(5)], used, clip_frames=2, packing=packing)


@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_wrong_checksums_kinds_and_order_are_corrupt(packing: str) -> None:
    used, clips = five(packing)
    wrong = [
        [replace(clips[0], latents_crc=clips[0].latents_crc ^ 1)],
        [clips[0], replace(clips[1], key=True)],
        clips[1:],
        [clips[0], replace(clips[1], payload=clips[1].payload[:-1])],
        [clips[0], replace(clips[1], payload=clips[1].payload + bytes(4))],
        [replace(clips[0], pts=[0, 1, 2], durations=[1, 1, 1])],
        [replace(clips[0], pts=[0], durations=[1])],
    ]
    if packing == "rans":
        wrong += [[clips[0], clips[2]], [clips[0], clips[1], clips[1]]]
    for case in wrong:
        with pytest.raises(CorruptError):
            pictures(case, 40, 40, used, packing)


@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_any_damage_is_an_error_of_lvcs_and_never_another_picture(packing: str) -> None:
    used, clips = five(packing)
    good = pictures(clips, 40, 40, used, packing)
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(40):
        n = int(rng.integers(len(clips)))
        data = bytearray(clips[n].payload)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        damaged = [replace(c, payload=bytes(data)) if i == n else c for i, c in enumerate(clips)]
        try:
            assert same(pictures(damaged, 40, 40, used, packing), good)
        except LvcError:
            errors += 1
    assert errors > 30


def test_planes_and_packings_of_another_codec_are_unsupported() -> None:
    used, clips = five()
    good = descriptor(40, 40, used)
    other = replace(good, planes=(PlaneSpec("z", "int8", 4, 8),))
    for wrong in (other, replace(good, planes=used.planes[:-1]), replace(good, align=32)):
        with pytest.raises(UnsupportedError):
            list(decode(iter(clips), wrong, used))
    with pytest.raises(UnsupportedError):
        list(decode(iter(clips), replace(good, packing=9), used))


def test_limits_are_checked_before_a_clip_is_unpacked() -> None:
    from lvc.errors import LimitError
    from lvc.limits import Limits

    used, clips = five()
    with pytest.raises(LimitError):
        list(decode(iter(clips), descriptor(40, 40, used), used, limits=Limits(max_clip_symbols=700)))


# --- the same integers everywhere ---


def test_threads_instruction_sets_and_processes_read_the_same_integers(tmp_path: Path) -> None:
    """One stream of a model whose integer networks are wild: one wrong table index changes all that follows."""
    used = model("wild")
    frames = [frame(n, 90, 200, shift=n) for n in range(5)]
    clips = clips_of(frames, used, clip_frames=3)
    job = {"width": 200, "height": 90, "clips": [(c.payload.hex(), len(c.pts)) for c in clips]}
    expected = {"scales": scale_digest(), "crcs": [c.latents_crc for c in clips]}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert crcs(str(model_file("wild")), job) == expected["crcs"]
        assert scale_digest() == expected["scales"]
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    slow = {"DNNL_MAX_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    command = [sys.executable, str(PROBE), "2", str(model_file("wild")), str(path)]
    done = subprocess.run(command, env={**os.environ, **slow}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("capability") in ("AVX2", "DEFAULT")
    assert found == expected


def test_the_geometry_is_the_descriptors() -> None:
    used = model()
    assert descriptor(90, 200, used).geometry == Geometry(200, 90, 16, used.planes)
    assert codec_video.SEARCH_CRF > 0
