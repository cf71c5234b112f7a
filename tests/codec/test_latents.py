"""What clips say of their frames: the same for both packings, and back to the same pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvc.codec import Given, LatentFrame, decode_changed, integers_of, latents
from lvc.errors import CorruptError
from lvc.lvz import Clip
from lvc.media.types import Frame
from tests.helpers.small_models import clips_of, descriptor, frame, model, pictures, same, written

SIZE = 47, 79


def source(count: int = 14) -> list[Frame]:
    return [frame(n, *SIZE, shift=1.5 * n, seed=n // 9) for n in range(count)]


def said(clips: list[Clip], packing: str = "rans", **options: bool) -> list[LatentFrame]:
    return list(latents(iter(clips), descriptor(*SIZE, model(), packing), model(), 2, **options))


def test_both_packings_say_the_same() -> None:
    settings = {"clip_frames": 6, "quality": 10}  # without detail, which only `rans` says
    rans, zstd = (said(written(clips_of(source(), packing=p, **settings)), p) for p in ("rans", "zstd"))
    assert [f.number for f in rans] == list(range(14)) and sum(f.key for f in rans) >= 1
    for a, b in zip(rans, zstd, strict=True):
        assert (a.pts, a.duration, a.key, a.quality, a.level, a.references) == (
            b.pts, b.duration, b.key, b.quality, b.level, b.references,
        )  # fmt: skip
        assert a.planes.keys() == b.planes.keys()
        assert all((a.planes[name] == b.planes[name]).all() for name in a.planes)
        assert (a.values == b.values).all() and (a.scale == b.scale).all()


@pytest.mark.parametrize("low_delay", [False, True])
def test_integers_take_no_model(low_delay: bool) -> None:
    clips = written(clips_of(source(), packing="zstd", clip_frames=5, low_delay=low_delay))
    frames = said(clips, "zstd")
    alone = list(integers_of(iter(clips), descriptor(*SIZE, model(), "zstd")))
    for a, b in zip(frames, alone, strict=True):
        for name in ("number", "pts", "duration", "time", "key", "quality", "level", "references"):
            assert getattr(a, name) == getattr(b, name), name
        assert a.planes.keys() == b.planes.keys()
        assert all((a.planes[name] == b.planes[name]).all() for name in a.planes)


def test_references_and_levels_are_those_of_the_pyramid() -> None:
    frames = said(written(clips_of([frame(n, *SIZE, shift=n / 4) for n in range(13)], clip_frames=4)))
    assert [f.references for f in frames[:9]] == [
        (-1, -1), (0, 2), (0, 4), (2, 4), (0, -1), (4, 6), (4, 8), (6, 8), (4, 0),
    ]  # fmt: skip
    assert [f.level for f in frames[:9]] == [0, 2, 1, 2, 0, 2, 1, 2, 0]
    assert [f.time for f in frames[:3]] == pytest.approx([0, 0.04, 0.08])


def test_values_are_symbols_around_what_is_expected() -> None:
    (key, *_) = frames = said(written(clips_of(source())))
    assert key.key and key.values.shape == key.planes["key_latent"].shape
    misses = key.values - 16 * key.planes["key_latent"].astype(int)  # the means, which no table of 64 puts far off
    assert 0 < np.abs(misses).mean() < 200
    assert key.dequantised.dtype == np.float32
    assert np.allclose(key.dequantised, key.values * key.scale[:, None, None] / 16)
    for f in frames:
        if not f.key:
            assert not f.values[:, f.planes["skip"][0] == 1].any(), "a block without latents has values"


@pytest.mark.parametrize("packing", ["rans", "zstd"])
@pytest.mark.parametrize("by_values", [False, True])
def test_unchanged_there_and_back(packing: str, by_values: bool) -> None:
    clips = clips_of(source(), packing=packing)
    used = descriptor(*SIZE, model(), packing)

    def same_again(f: LatentFrame) -> Given:
        return Given(f.planes, f.values if by_values else None, f.detail)

    back = list(decode_changed(iter(written(clips)), used, model(), same_again, threads=2))
    assert same(back, pictures(clips, *SIZE, packing))


def test_a_change_shows_where_it_was_made() -> None:
    clips = clips_of([frame(n, *SIZE) for n in range(6)])
    plain = pictures(clips, *SIZE)

    def darker(f: LatentFrame) -> Given:
        values = f.values.copy()
        if f.key:
            values[:, :, 3:] = 0
        return Given(f.planes, values)

    changed = list(decode_changed(iter(written(clips)), descriptor(*SIZE, model()), model(), darker))
    for a, b in zip(plain, changed, strict=True):
        apart = np.abs(a.y.astype(int) - b.y)
        assert apart[:, 64:].mean() > 10 and apart[:, :16].mean() < 1


def test_intra_latents_are_nearly_those_of_key_frames() -> None:
    frames = said(written(clips_of(source(), quality=80)), intra=True)
    for f in frames:
        assert f.intra is not None and f.intra_scale is not None and f.dequantised_intra is not None
        assert f.intra.shape == frames[0].values.shape and f.intra.dtype == np.int16
        if f.key:
            assert np.abs(f.intra.astype(int) - f.values).mean() < np.abs(f.values).mean() / 4
            assert (f.intra_scale == f.scale).all()
    assert frames[1].intra is not None and frames[1].intra.any()


def test_damage_is_noticed_before_anything_is_given() -> None:
    clips = written(clips_of(source(5)))
    clips[1] = replace(clips[1], checks=tuple(c ^ 1 for c in clips[1].checks or ()))
    with pytest.raises(CorruptError, match="checksum"):
        said(clips)


def test_a_key_frame_among_predicted_ones_is_damage() -> None:
    key, clip = written(clips_of([frame(n, *SIZE) for n in range(3)], packing="zstd"))[:2]
    used = descriptor(*SIZE, model(), "zstd")
    wrong = replace(key, first_frame=1, key=False, pts=clip.pts[:1])
    for read in (lambda: said([key, wrong], "zstd"), lambda: list(integers_of([key, wrong], used))):
        with pytest.raises(CorruptError, match="another kind"):
            read()
