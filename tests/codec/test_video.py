"""Frames to clips and back: keys, cuts, sizes, packings, threads, errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lvc.codec import EncodedClip, EncodeSettings, decode, encode
from lvc.codec import payload as layout
from lvc.codec.frames import FrameEncoder
from lvc.codec.pyramid import CHAIN, INTRA, OLDER, PYRAMID
from lvc.engine import nets
from lvc.entropy.clip import PlaneSpec
from lvc.errors import CorruptError, LimitError, LvcError, UnsupportedError, UsageError
from lvc.limits import Limits
from lvc.lvz import fold
from lvc.media.types import Frame
from lvc.models.load import load_model
from tests.helpers.small_models import clips_of, crc, descriptor, frame, model, pictures, same, video, written


def error(a: Frame, b: Frame) -> float:
    return float(np.abs(a.y.astype(int) - b.y).mean())


@pytest.mark.parametrize("size", [(143, 175), (16, 16), (1, 1), (17, 130), (64, 48)], ids=str)
@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_every_size_and_packing(size: tuple[int, int], packing: str) -> None:
    frames = [replace(frame(3 * n, *size, shift=n / 8), duration=2) for n in range(6)]
    clips = clips_of(frames, packing=packing, clip_frames=4)
    assert [len(c.pts) for c in clips] == [1, 4, 1] and [c.key for c in clips] == [True, False, False]
    shown = pictures(clips, *size, packing)
    assert [(f.pts, f.duration) for f in shown] == [(3 * n, 2) for n in range(6)]
    half = (-(-size[0] // 2), -(-size[1] // 2))
    for got, source in zip(shown, frames, strict=True):
        assert got.y.shape == size and got.u.shape == got.v.shape == half
        assert got.y.dtype == np.uint8 and error(got, source) < 12
    assert [crc(f) for f in shown] == [c for clip in clips for c in clip.checks or ()], "what the encoder promised"


def test_packings_show_the_same() -> None:
    frames = [frame(n, 48, 80, shift=n) for n in range(12)]
    made = (clips_of(frames, packing=p, quality=10) for p in ("rans", "zstd"))  # without detail, which only `rans` says
    assert same(*(pictures(clips, 48, 80, p) for clips, p in zip(made, ("rans", "zstd"), strict=True)))


@pytest.mark.parametrize("clip_frames", [1, 2, 3, 8, 16, 32])
def test_clips_of_every_length(clip_frames: int) -> None:
    frames = [frame(n, 48, 64, shift=n / 2) for n in range(35)]
    clips = clips_of(frames, clip_frames=clip_frames)
    assert [len(c.pts) for c in clips[1:-1]] == [clip_frames] * (len(clips) - 2)
    said = [c.payload[0] for c in clips[1:]]
    assert said[0] in (PYRAMID, INTRA) and set(said[1:]) <= {OLDER, INTRA}
    assert max(map(error, pictures(clips, 48, 64), frames)) < 12


def test_an_anchor_that_nothing_predicts_is_coded_by_itself() -> None:
    """With the model that ships: that of these tests codes nothing well."""
    shipped = load_model(None)

    def structures(arrives: bool) -> list[int]:
        frames = [frame(n, 96, 128, shift=n / 4) for n in range(9)]
        for n, f in enumerate(frames[1:]):  # what comes into the picture from the right, and moves
            if arrives:
                other = frame(0, 96, 128, seed=9)
                f.y[:, 128 - 12 * n :] = other.y[:, : 12 * n]
                f.u[:, 64 - 6 * n :], f.v[:, 64 - 6 * n :] = other.u[:, : 6 * n], other.v[:, : 6 * n]
        settings = EncodeSettings(threads=1, clip_frames=8, quality=50)
        clips = list(encode(iter(frames), video(96, 128), shipped, settings))
        shown = decode(written(clips), descriptor(96, 128, shipped), shipped)
        assert [crc(f) for f in shown] == [c for clip in clips for c in clip.checks or ()]
        return [c.payload[0] for c in clips if not c.key]

    assert structures(arrives=False) == [PYRAMID]
    assert structures(arrives=True) == [INTRA]


def test_lively_scenes_have_shorter_clips() -> None:
    calm = [frame(n, 96, 128, shift=n / 8) for n in range(34)]
    lively = [frame(n, 96, 128, shift=n / 8) for n in range(34)]
    rng = np.random.default_rng(0)
    for f in lively:  # what nothing predicts
        f.y[:] = np.clip(f.y + rng.normal(0, 20, f.y.shape), 0, 255).astype(np.uint8)
    assert [len(c.pts) for c in clips_of(calm)] == [1, 32, 1]
    assert [len(c.pts) for c in clips_of(lively)] == [1, 16, 16, 1]


def test_one_frame_and_none() -> None:
    (clip,) = clips_of([frame(7, 40, 40)])
    assert clip.key and clip.pts == [7] and len(pictures([clip], 40, 40)) == 1
    assert list(encode(iter([]), video(40, 40), model(), EncodeSettings())) == []
    assert pictures([], 40, 40) == []


def test_a_scene_cut_is_a_key_frame() -> None:
    frames = [frame(n, 128, 160, shift=n / 4, seed=n // 6) for n in range(12)]
    clips = clips_of(frames, clip_frames=4)
    assert [(c.key, c.pts[0]) for c in clips] == [
        (True, 0), (False, 1), (False, 5), (True, 6), (False, 7), (False, 11),
    ]  # fmt: skip
    assert same(pictures(clips[3:], 128, 160), pictures(clips, 128, 160)[6:]), "nothing before it is needed"


def test_a_still_or_moving_scene_has_no_cuts() -> None:
    for speed in (0.0, 1.0, 3.0):
        clips = clips_of([frame(n, 128, 160, shift=n * speed) for n in range(10)])
        assert [c.key for c in clips] == [True, False]


@pytest.mark.parametrize(("gop", "expected"), [(0.2, [0, 5, 10]), (0.01, list(range(12))), (1.0, [0])])
def test_key_frames_come_at_least_every_gop(gop: float, expected: list[int]) -> None:
    clips = clips_of([frame(n, 32, 32, shift=n / 8) for n in range(12)], gop=gop, clip_frames=3)
    assert [c.pts[0] for c in clips if c.key] == expected


def test_gop_counts_time_and_not_frames() -> None:
    frames = [replace(frame(0, 32, 32, shift=n / 8), pts=p) for n, p in enumerate([100, 101, 150, 151, 152, 175])]
    assert [c.pts[0] for c in clips_of(frames, gop=1.0) if c.key] == [100, 150, 175]


def test_low_delay_is_a_chain() -> None:
    frames = [frame(n, 48, 64, shift=n / 2) for n in range(9)]
    clips = clips_of(frames, clip_frames=4, low_delay=True)
    assert [c.payload[0] for c in clips[1:]] == [CHAIN, CHAIN]
    assert max(map(error, pictures(clips, 48, 64), frames)) < 12


@pytest.mark.parametrize("length", [4, 16])
def test_threads_do_not_show(length: int) -> None:
    frames = [frame(n, 48, 64, shift=n / 2, seed=n // 11) for n in range(22)]
    one, three = (clips_of(frames, gop=0.24, clip_frames=length, threads=n) for n in (1, 3))
    assert one == three
    nets.set_threads(2)
    try:
        assert clips_of(frames, gop=0.24, clip_frames=length, threads=3) == one
        assert same(pictures(one, 48, 64, threads=3), pictures(one, 48, 64, threads=1))
    finally:
        nets.set_threads(1)


def test_a_clip_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, original = 0, FrameEncoder.predicted

    def failing(self: FrameEncoder, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise CorruptError("here")
        return original(self, *arguments)

    monkeypatch.setattr(FrameEncoder, "predicted", failing)
    before = threading.active_count()
    with pytest.raises(CorruptError, match="here"):
        clips_of([frame(n, 16, 16, shift=n / 8) for n in range(40)], clip_frames=4, threads=3)
    assert threading.active_count() == before


def test_an_unchanged_scene_costs_next_to_nothing() -> None:
    still = frame(0, 144, 176)
    clips = clips_of([replace(still, pts=n) for n in range(65)], clip_frames=16)
    sizes = [len(c.payload) for c in clips]
    assert sum(c.key for c in clips) == 1 and max(sizes[2:]) < 0.05 * sizes[0]
    shown = pictures(clips, 144, 176)
    assert max(error(f, shown[32]) for f in shown[32:]) < 0.3


def test_better_quality_costs_more_and_is_better() -> None:
    frames = [frame(n, 96, 128, shift=n / 2) for n in range(9)]
    sizes, errors = [], []
    for quality in (0, 25, 50, 75, 100):
        clips = clips_of(frames, quality=quality)
        sizes.append(sum(len(c.payload) for c in clips))
        errors.append(float(np.mean(list(map(error, pictures(clips, 96, 128), frames)))))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True) and sizes[-1] > 6 * sizes[0]


def test_settings_are_checked() -> None:
    for wrong in ({"quality": 101}, {"quality": -1}, {"gop": 0}, {"clip_frames": 0}, {"clip_frames": 33}):
        with pytest.raises(UsageError):
            EncodeSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        EncodeSettings(packing="zip")


def test_effort_may_change_from_clip_to_clip() -> None:
    frames, asked = [frame(n, 48, 64, shift=5 * n) for n in range(6)], iter([7, 7, 0, 0, 0])
    mixed = clips_of(frames, clip_frames=4, pace=lambda: next(asked))
    assert [len(c.pts) for c in mixed] == [1, 4, 1] and len(pictures(mixed, 48, 64)) == 6
    assert mixed[:2] == clips_of(frames, clip_frames=4, effort=7)[:2]


def test_frames_are_taken_as_they_are_needed() -> None:
    """Constant memory: the encoder does not read the video to its end first."""
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for n in range(3000):
            taken += 1
            yield frame(n, 16, 16)

    stream = encode(source(), video(16, 16), model(), EncodeSettings(clip_frames=2, threads=2))
    next(stream)
    assert taken < 40
    stream.close()


def test_an_error_of_the_source_reaches_the_caller() -> None:
    def source() -> Iterator[Frame]:
        yield frame(0, 16, 16)
        raise CorruptError("input")

    with pytest.raises(CorruptError, match="input"):
        list(encode(source(), video(16, 16), model(), EncodeSettings()))


@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_wanted_frames_are_those_of_the_whole(packing: str) -> None:
    frames = [frame(n, 48, 64, shift=n / 2) for n in range(30)]
    clips = clips_of(frames, gop=0.8, clip_frames=8, packing=packing)
    whole = pictures(clips, 48, 64, packing)
    for wanted in ({0}, {29}, {3, 4, 17}, set(range(0, 30, 4)), set(range(30)), set()):
        some = pictures(clips, 48, 64, packing, wanted=lambda number, pts, w=wanted: number in w and number == pts)
        assert same(some, [f for f in whole if f.pts in wanted])


def test_upper_levels_take_fewer_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc.codec.frames import FrameDecoder

    clips = clips_of([frame(n, 48, 64, shift=n / 2) for n in range(33)], clip_frames=16)
    made, original = [], FrameDecoder.predicted

    def counted(self: FrameDecoder, time: int, *arguments: Any) -> Any:
        made.append(time)
        return original(self, time, *arguments)

    monkeypatch.setattr(FrameDecoder, "predicted", counted)
    pictures(clips, 48, 64, wanted=lambda number, _: number % 4 == 0)
    assert sorted(made) == [*range(4, 33, 4)]
    made.clear()
    pictures(clips, 48, 64, wanted=lambda number, _: number == 32)
    assert sorted(made) == [16, 32]


# --- what a file may do to the decoder ---


def five(packing: str = "rans") -> list[EncodedClip]:
    return clips_of([frame(n, 40, 40, shift=n) for n in range(5)], clip_frames=2, packing=packing)


@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_wrong_checks_kinds_and_order_are_corrupt(packing: str) -> None:
    clips = five(packing)
    assert clips[1].checks is not None
    wrong = [
        [clips[0], replace(clips[1], checks=(clips[1].checks[0] ^ 1, clips[1].checks[1]))],
        [clips[0], replace(clips[1], key=True)],
        [clips[0], replace(clips[1], payload=clips[1].payload[:-1])],
        [clips[0], replace(clips[1], payload=clips[1].payload + bytes(4))],
        [replace(clips[0], pts=[0, 1, 2], durations=[1, 1, 1], checks=(clips[0].checks or ()) * 3)],
        [clips[0], replace(clips[1], pts=[1], durations=[1], checks=clips[1].checks[:1])],
        [clips[0], clips[2]],
        clips[1:],
    ]
    for case in wrong:
        with pytest.raises(CorruptError):
            pictures(case, 40, 40, packing)


@pytest.mark.parametrize("packing", ["rans", "zstd"])
def test_any_damage_is_an_error_of_lvcs_and_never_another_picture(packing: str) -> None:
    clips = five(packing)
    good = pictures(clips, 40, 40, packing)
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(60):
        n = int(rng.integers(len(clips)))
        data = bytearray(clips[n].payload)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        damaged = [replace(c, payload=bytes(data)) if i == n else c for i, c in enumerate(clips)]
        try:
            assert same(pictures(damaged, 40, 40, packing), good)
        except LvcError:
            errors += 1
    assert errors > 50


def test_folded_checks_are_compared_folded() -> None:
    clips = written(five())
    used = model()
    for bits in (4, 8, 16):
        short = [replace(c, checks=tuple(fold(k, bits) for k in c.checks or ()), check_bits=bits) for c in clips]
        assert len(list(decode(iter(short), descriptor(40, 40, used), used))) == 5


def test_qualities_out_of_range_are_corrupt() -> None:
    clips = five()
    for payload in (b"\x80" + clips[0].payload[1:], b""):
        with pytest.raises(CorruptError):
            pictures([replace(clips[0], payload=payload)], 40, 40)
    assert layout.quality_of(0.0) == 0


def test_planes_and_packings_of_another_codec_are_unsupported() -> None:
    clips, used = written(five()), model()
    good = descriptor(40, 40, used)
    other = replace(good, planes=(PlaneSpec("z", "int8", 4, 8),))
    for wrong in (other, replace(good, planes=used.planes[:-1]), replace(good, align=32), replace(good, packing=9)):
        with pytest.raises(UnsupportedError):
            list(decode(iter(clips), wrong, used))


def test_limits_are_checked_before_a_clip_is_unpacked() -> None:
    clips, used = written(five()), model()
    with pytest.raises(LimitError):
        list(decode(iter(clips), descriptor(40, 40, used), used, limits=Limits(max_clip_symbols=700)))
