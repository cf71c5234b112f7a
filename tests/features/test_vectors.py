"""Frames → vectors: what must not matter does not, and the network trained is the network that runs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lvc.errors import UnsupportedError
from lvc.features import DIMENSIONS, Extractor, FeatureSampler, default_extractor, quantise, shrink, thumbnail, unit
from lvc.features.thumbnail import without_bars
from scripts.features import train
from tests.helpers.clips import picture


def planes(number: int, width: int = 160, height: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rgb = picture(number, width, height)
    return rgb[..., 1].copy(), rgb[::2, ::2, 2].copy(), rgb[::2, ::2, 0].copy()


def vector(y: np.ndarray, u: np.ndarray, v: np.ndarray, rotation: int = 0, hflip: bool = False) -> np.ndarray:
    return default_extractor().embed([thumbnail(y, u, v, rotation, hflip)])[0]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 100), (7, 200)])
def test_shrink_takes_means_of_areas(height: int, width: int) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    fine = plane.astype(np.float64).repeat(10, 0).repeat(16, 1)
    expected = fine.reshape(10, height, 16, width).mean((1, 3))
    assert np.allclose(shrink(plane, 10, 16), expected, atol=1e-3)


def test_thumbnails_are_upright() -> None:
    y, u, v = planes(3)
    shown = thumbnail(np.rot90(y, 1), np.rot90(u, 1), np.rot90(v, 1), rotation=90)
    for a, b in zip(shown, thumbnail(y, u, v), strict=True):
        assert np.allclose(a, b, atol=1e-3)
    mirrored = thumbnail(y[:, ::-1], u[:, ::-1], v[:, ::-1], hflip=True)
    assert np.allclose(mirrored[0], thumbnail(y, u, v)[0], atol=1e-3)


@pytest.mark.parametrize(
    ("above", "below", "left", "right"),
    [(0, 0, 0, 0), (12, 12, 0, 0), (0, 0, 30, 30), (12, 12, 30, 30), (13, 11, 0, 0), (0, 0, 60, 60), (0, 0, 29, 31)],
)
@pytest.mark.parametrize("colour", [16, 0, 90, 235])
def test_bars_are_cut_off(above: int, below: int, left: int, right: int, colour: int) -> None:
    y, u, v = planes(3)
    around = (above, below), (left, right)
    barred = np.pad(y, around, constant_values=colour).astype(np.int16)
    noise = np.random.default_rng(1).integers(-2, 3, barred.shape)  # as coding leaves
    barred = (barred + noise).clip(0, 255).astype(np.uint8)
    rows, columns = without_bars(barred)
    assert (rows, columns) == (slice(above, above + 96), slice(left, left + 160))
    half = [[(n + 1) // 2 for n in pair] for pair in around]
    chroma = [np.pad(p, half, constant_values=128) for p in (u, v)]
    assert vector(barred, *chroma) @ vector(y, u, v) > 0.97


def test_what_is_no_bar_stays() -> None:
    y = planes(3)[0]
    whole = slice(0, 96), slice(0, 160)
    night = y.copy()
    night[:, :50] = 16  # dark on one side only
    subtitle = np.pad(y, ((0, 0), (30, 30)), constant_values=16)
    subtitle[::3, :25] = 220  # something is written into a bar
    other = y.copy()
    other[:20], other[-20:] = 16, 200  # a dark roof, a bright floor
    for picture_ in (y, night, other, np.full((96, 160), 16, np.uint8)):
        assert without_bars(picture_) == whole
    assert without_bars(subtitle) == (slice(0, 96), slice(0, 220))
    thin = np.pad(y, ((0, 0), (1, 1)), constant_values=16)
    assert without_bars(thin) == (slice(0, 96), slice(0, 162))


def test_brightness_and_contrast_hardly_matter() -> None:
    y, u, v = planes(5)
    darker = tuple(np.rint((p - z) * 0.7 + z).astype(np.uint8) for p, z in ((y, 16.0), (u, 128.0), (v, 128.0)))
    assert vector(y, u, v) @ vector(*darker) > 0.98


def test_a_flat_picture_matches_nothing() -> None:
    flat = np.full((96, 160), 80, np.uint8)
    assert not vector(flat, flat[::2, ::2], flat[::2, ::2]).any()
    assert not default_extractor().vectors([thumbnail(flat, flat[::2, ::2], flat[::2, ::2])]).any()


def test_int8_keeps_the_cosines() -> None:
    x = unit(np.random.default_rng(1).integers(-127, 128, (50, DIMENSIONS)).astype(np.int8))
    again = unit(quantise(x))
    assert np.abs((x @ x.T) - (again @ again.T)).max() < 0.01
    assert np.abs(quantise(x)).max(1).min() == 127


@pytest.mark.slow
def test_the_network_that_was_trained() -> None:
    import torch

    extractor = default_extractor()
    net = train.FeatureNet()
    net.load_state_dict({name: torch.from_numpy(value) for name, value in extractor._weights.items()})
    luma = torch.rand(3, 1, 128, 128) * 255
    chroma = torch.rand(3, 2, 64, 64) * 255
    with torch.inference_mode():
        expected = net(train.network_input(luma, chroma)).numpy()
    small = torch.nn.functional.avg_pool2d(luma, 2)[:, 0].numpy(), torch.nn.functional.avg_pool2d(chroma, 4).numpy()
    assert np.abs(extractor.embed(list(zip(*small, strict=True))) - expected).max() < 1e-4


@pytest.mark.slow
def test_training_learns() -> None:
    random = np.random.default_rng(0)
    y, c = (random.integers(0, 256, shape, dtype=np.uint8) for shape in ((8, 4, 128, 128), (8, 4, 2, 64, 64)))
    names = ("plain_y", "plain_c", "coded_y", "coded_c")
    clips = [
        {"times": np.arange(4.0), **dict(zip(names, (a, b, a, b), strict=True))} for a, b in zip(y, c, strict=True)
    ]
    moments = train.Moments(clips, 0)
    net = train.train(moments, 3, 0)
    a, b = moments.batch()
    assert [clip for clip, _ in a] == [clip for clip, _ in b]
    with_net = net(train.network_input(*moments.views(a, "plain")))
    assert with_net.shape == (len(a), DIMENSIONS)


def test_one_moment_a_second() -> None:
    sampler = FeatureSampler(default_extractor(), Fraction(1, 30))
    for number in range(100):
        if number != 30:  # a frame is missing: the next one takes its place
            sampler.add(*planes(number, 32, 32), pts=1000 + number)
    track = sampler.finish()
    assert track.pts == [1000, 1031, 1060, 1090]
    assert track.id == default_extractor().id and len(track.vectors) == 4 * DIMENSIONS
    assert FeatureSampler(default_extractor(), Fraction(1, 30)).finish().pts == []


def test_other_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "other.safetensors"
    save_file({"projection.weight": np.zeros((8, 16), np.float32)}, path)
    with pytest.raises(UnsupportedError, match="8 numbers"):
        Extractor(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UnsupportedError, match="does not contain"):
        Extractor(path)
